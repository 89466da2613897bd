//! Debian's etcd in a sandbox: one member or three, with data in the sandbox's tmpfs.
//!
//! A member listens on ports 2379 and 2380 of an address, that of this host or of a namespace. This knows no client but
//! etcdctl.

use std::fs;
use std::io;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use netlink::Namespace;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::host::Namespaced;

/// Long enough for a loaded machine; nothing waits so long unless a test fails.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Runs a program, and returns what it writes.
#[allow(clippy::must_use_candidate, reason = "many are called for what they do")]
pub fn command(program: &str, args: &[&str]) -> String {
    let output =
        Command::new(program).args(args).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Waits until something holds.
pub fn until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// A member. It is killed on drop; its data stay.
#[derive(Debug)]
pub struct Server {
    host: String,
    /// The namespace that it is in, if that is not this host's.
    namespace: Option<PathBuf>,
    scheme: &'static str,
    args: Vec<String>,
    /// What etcdctl needs to be let in.
    flags: Vec<String>,
    child: Option<Child>,
}

impl Server {
    /// Starts the only member of a cluster, and waits for it.
    #[must_use]
    pub fn start(options: &[&str]) -> Self {
        let server = Self::begin(0, &["127.0.0.11"], options, "http");
        server.await_health();
        server
    }

    /// The same in a namespace, on an address that is there (an IPv6 one in brackets).
    #[must_use]
    pub fn start_in(namespace: &Namespaced, host: &str, options: &[&str]) -> Self {
        let server = Self::begin_in(Some(namespace), 0, &[host], options, "http");
        server.await_health();
        server
    }

    /// Starts all members of a cluster, and waits for them.
    #[must_use]
    pub fn three() -> Vec<Self> {
        let hosts = ["127.0.0.11", "127.0.0.12", "127.0.0.13"];
        let servers: Vec<Self> = (0..3).map(|index| Self::begin(index, &hosts, &[], "http")).collect();
        servers.iter().for_each(Self::await_health);
        servers
    }

    /// Starts one of the members at these addresses.
    #[must_use]
    pub fn begin(index: usize, hosts: &[&str], options: &[&str], scheme: &'static str) -> Self {
        Self::begin_in(None, index, hosts, options, scheme)
    }

    /// The same in a namespace.
    #[must_use]
    pub fn begin_in(
        namespace: Option<&Namespaced>,
        index: usize,
        hosts: &[&str],
        options: &[&str],
        scheme: &'static str,
    ) -> Self {
        let host = hosts[index];
        let members: Vec<String> = hosts.iter().map(|host| format!("{host}=http://{host}:2380")).collect();
        let (client, peer) = (format!("{scheme}://{host}:2379"), format!("http://{host}:2380"));
        let mut args = [
            ("--name", host.to_owned()),
            ("--data-dir", Self::folder_of(host).display().to_string()),
            ("--listen-client-urls", client.clone()),
            ("--advertise-client-urls", client),
            ("--listen-peer-urls", peer.clone()),
            ("--initial-advertise-peer-urls", peer),
            ("--initial-cluster", members.join(",")),
            // Elections within a second.
            ("--heartbeat-interval", "50".to_owned()),
            ("--election-timeout", "500".to_owned()),
            ("--grpc-keepalive-min-time", "300ms".to_owned()),
            ("--logger", "zap".to_owned()),
            ("--log-level", "error".to_owned()),
        ]
        .into_iter()
        .flat_map(|(name, value)| [name.to_owned(), value])
        .collect::<Vec<_>>();
        args.extend(options.iter().map(|option| (*option).to_owned()));
        let mut server = Self {
            host: host.to_owned(),
            namespace: namespace.map(|namespace| namespace.path().to_owned()),
            scheme,
            args,
            flags: Vec::new(),
            child: None,
        };
        server.restart();
        server
    }

    /// Starts it again, with the data that are there.
    pub fn restart(&mut self) {
        let mut command = Command::new("/usr/bin/etcd");
        command
            .args(&self.args)
            .env_clear()
            // Debian builds 3.4 for these as well.
            .env("ETCD_UNSUPPORTED_ARCH", "arm64")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = self.inside(|| command.spawn());
        self.child =
            Some(child.unwrap_or_else(|error| panic!("start etcd of Debian's etcd-server: {error}")));
    }

    /// Waits until it serves.
    pub fn await_health(&self) {
        until("etcd serves", || self.try_etcdctl(&["get", "health"]).is_ok());
    }

    /// The folder with its data.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        Self::folder_of(&self.host)
    }

    fn folder_of(host: &str) -> PathBuf {
        Path::new("/run").join(host)
    }

    /// Runs a function where the member is.
    fn inside<T: Send>(&self, function: impl FnOnce() -> T + Send) -> T {
        match &self.namespace {
            Some(path) => Namespace::open(path).unwrap().enter(function).unwrap(),
            None => function(),
        }
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Stops it, and waits until each of its threads has stopped.
    pub fn stop(&self) {
        self.signal(Signal::SIGSTOP);
        let is_stopped = |task: io::Result<fs::DirEntry>| {
            let stat = fs::read_to_string(task.unwrap().path().join("stat")).unwrap();
            stat.rsplit(") ").next().unwrap().starts_with('T')
        };
        let tasks = format!("/proc/{}/task", self.pid());
        until("all of etcd has stopped", || fs::read_dir(&tasks).unwrap().all(is_stopped));
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.pid()).unwrap()), signal).unwrap();
    }

    /// Kills it, and waits for its end.
    pub fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        until("its port is free", || {
            self.inside(|| TcpStream::connect(format!("{}:2379", self.host()))).is_err()
        });
    }

    /// Removes all of its data.
    pub fn wipe(&self) {
        fs::remove_dir_all(self.folder()).unwrap();
    }

    /// The address that it listens on.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Where clients find it: `http://ADDRESS:2379`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}:2379", self.scheme, self.host())
    }

    /// How etcdctl is let in from now on.
    pub fn etcdctl_with(&mut self, flags: &[&str]) {
        self.flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
    }

    /// Calls etcdctl, and returns what it writes.
    #[allow(clippy::must_use_candidate, reason = "many are called for what they do")]
    pub fn etcdctl(&self, args: &[&str]) -> String {
        self.try_etcdctl(args).unwrap_or_else(|error| panic!("etcdctl {args:?}: {error}"))
    }

    /// The same where it may fail.
    ///
    /// # Errors
    ///
    /// What etcdctl wrote.
    pub fn try_etcdctl(&self, args: &[&str]) -> Result<String, io::Error> {
        let mut command = Command::new("/usr/bin/etcdctl");
        command.args(["--endpoints", &self.url()]).args(&self.flags).args(args).env("ETCDCTL_API", "3");
        let output = self.inside(|| command.output())?;
        if output.status.success() {
            return Ok(String::from_utf8(output.stdout).unwrap());
        }
        Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()))
    }

    /// The member that leads, and the others.
    #[must_use]
    pub fn split(servers: Vec<Self>) -> (Self, Vec<Self>) {
        let leads = |server: &Self| {
            let status = server.etcdctl(&["endpoint", "status", "-w", "json"]);
            let status: serde_json::Value = serde_json::from_str(&status).unwrap();
            let status = &status[0]["Status"];
            status["leader"] == status["header"]["member_id"]
        };
        let (mut leaders, others): (Vec<_>, Vec<_>) = servers.into_iter().partition(leads);
        assert_eq!(leaders.len(), 1);
        (leaders.remove(0), others)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

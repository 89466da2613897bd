//! Debian's etcd in a sandbox: one member or three, on addresses of 127.0.0.0/8, with data in the sandbox's tmpfs.

use std::fs;
use std::io;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use etcd::{Change, Client, Config, Endpoint, Mirror, Put, Span, Timing};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Long enough for a loaded machine; nothing waits so long unless a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Bounds that are short, so that tests of them are.
pub(crate) const TIMING: Timing = Timing {
    call: Duration::from_secs(5),
    connect: Duration::from_secs(1),
    answer: Duration::from_millis(1500),
    ping: Duration::from_millis(500),
    pong: Duration::from_millis(700),
    silence: Duration::from_secs(45),
};

/// Runs an async test in a sandbox.
pub(crate) fn run(test: impl AsyncFnOnce()) {
    sandbox::isolated(|| {
        command("ip", &["link", "set", "lo", "up"]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(test());
    });
}

/// Runs a program, and returns what it writes.
pub(crate) fn command(program: &str, args: &[&str]) -> String {
    let output =
        Command::new(program).args(args).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Waits until something holds.
pub(crate) fn until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// A member.
#[derive(Debug)]
pub(crate) struct Server {
    host: String,
    scheme: &'static str,
    args: Vec<String>,
    /// What etcdctl needs to be let in.
    flags: Vec<String>,
    child: Option<Child>,
}

impl Server {
    /// Starts the only member of a cluster, and waits for it.
    pub(crate) fn start(options: &[&str]) -> Self {
        let server = Self::begin(0, &["127.0.0.11"], options, "http");
        server.await_health();
        server
    }

    /// Starts all members of a cluster, and waits for them.
    pub(crate) fn three() -> Vec<Self> {
        let hosts = ["127.0.0.11", "127.0.0.12", "127.0.0.13"];
        let servers: Vec<Self> = (0..3).map(|index| Self::begin(index, &hosts, &[], "http")).collect();
        servers.iter().for_each(Self::await_health);
        servers
    }

    /// Starts one of the members at these addresses.
    pub(crate) fn begin(index: usize, hosts: &[&str], options: &[&str], scheme: &'static str) -> Self {
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
        let mut server = Self { host: host.to_owned(), scheme, args, flags: Vec::new(), child: None };
        server.restart();
        server
    }

    /// Starts it again, with the data that are there.
    pub(crate) fn restart(&mut self) {
        let child = Command::new("/usr/bin/etcd")
            .args(&self.args)
            .env_clear()
            // Debian builds 3.4 for these as well.
            .env("ETCD_UNSUPPORTED_ARCH", "arm64")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.child =
            Some(child.unwrap_or_else(|error| panic!("start etcd of Debian's etcd-server: {error}")));
    }

    pub(crate) fn await_health(&self) {
        until("etcd serves", || self.try_etcdctl(&["get", "health"]).is_ok());
    }

    /// The folder with its data.
    pub(crate) fn folder(&self) -> PathBuf {
        Self::folder_of(&self.host)
    }

    fn folder_of(host: &str) -> PathBuf {
        Path::new("/run").join(host)
    }

    fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Stops it, and waits until each of its threads has stopped.
    pub(crate) fn stop(&self) {
        self.signal(Signal::SIGSTOP);
        let is_stopped = |task: io::Result<fs::DirEntry>| {
            let stat = fs::read_to_string(task.unwrap().path().join("stat")).unwrap();
            stat.rsplit(") ").next().unwrap().starts_with('T')
        };
        let tasks = format!("/proc/{}/task", self.pid());
        until("all of etcd has stopped", || fs::read_dir(&tasks).unwrap().all(is_stopped));
    }

    /// Lets it go on.
    pub(crate) fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.pid()).unwrap()), signal).unwrap();
    }

    /// Kills it, and waits for its end.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        until("its port is free", || TcpStream::connect((self.host(), 2379)).is_err());
    }

    /// Removes all of its data.
    pub(crate) fn wipe(&self) {
        fs::remove_dir_all(self.folder()).unwrap();
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn url(&self) -> String {
        format!("{}://{}:2379", self.scheme, self.host())
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        self.url().parse().unwrap()
    }

    /// How etcdctl is let in from now on.
    pub(crate) fn etcdctl_with(&mut self, flags: &[&str]) {
        self.flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
    }

    /// Calls etcdctl, and returns what it writes.
    pub(crate) fn etcdctl(&self, args: &[&str]) -> String {
        self.try_etcdctl(args).unwrap_or_else(|error| panic!("etcdctl {args:?}: {error}"))
    }

    pub(crate) fn try_etcdctl(&self, args: &[&str]) -> Result<String, io::Error> {
        let mut command = Command::new("/usr/bin/etcdctl");
        let output = command
            .args(["--endpoints", &self.url()])
            .args(&self.flags)
            .args(args)
            .env("ETCDCTL_API", "3")
            .output()?;
        if output.status.success() {
            return Ok(String::from_utf8(output.stdout).unwrap());
        }
        Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()))
    }

    /// The member that leads, and the others.
    pub(crate) fn split(servers: Vec<Self>) -> (Self, Vec<Self>) {
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

/// A client of these members, with the tests' bounds.
pub(crate) fn client<'a>(servers: impl IntoIterator<Item = &'a Server>) -> Client {
    Client::new(config(servers)).unwrap()
}

pub(crate) fn config<'a>(servers: impl IntoIterator<Item = &'a Server>) -> Config {
    let endpoints = servers.into_iter().map(Server::endpoint).collect();
    Config { timing: TIMING, ..Config::new(endpoints) }
}

/// The result of something that must not take so long.
pub(crate) async fn within<T>(bound: Duration, what: impl Future<Output = T>) -> T {
    tokio::time::timeout(bound, what).await.unwrap_or_else(|_| panic!("not within {bound:?}"))
}

/// A mirror of `/n/` with a watch, which has told all that was there.
pub(crate) async fn mirror(client: &Client) -> Mirror {
    let mut mirror = Mirror::new(client.clone(), Span::prefix("/n/"));
    changes(&mut mirror, |change| matches!(change, Change::Listed(_))).await;
    // Only a watch tells this.
    client.put(Put::new("/n/~", "")).await.unwrap();
    client.delete(&Span::key("/n/~")).await.unwrap();
    changes(&mut mirror, |change| short(change) == "deleted /n/~").await;
    mirror
}

/// The changes up to one that is sought, which is the last.
pub(crate) async fn changes(mirror: &mut Mirror, last: impl Fn(&Change) -> bool) -> Vec<Change> {
    let mut changes = Vec::new();
    loop {
        let next = tokio::time::timeout(PATIENCE, mirror.next()).await;
        changes.push(next.unwrap_or_else(|_| panic!("not within {PATIENCE:?}; until now {changes:#?}")));
        if last(changes.last().unwrap()) {
            return changes;
        }
    }
}

/// A change in short, for comparisons: `put a=1`, `deleted a`, `listed`.
pub(crate) fn short(change: &Change) -> String {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    match change {
        Change::Put(kv) => format!("put {}={}", text(&kv.key), text(&kv.value)),
        Change::Deleted { key, .. } => format!("deleted {}", text(key)),
        Change::Missing { key } => format!("missing {}", text(key)),
        Change::Listed(_) => "listed".to_owned(),
        Change::Resumed => "resumed".to_owned(),
        Change::Lost(_) => "lost".to_owned(),
        Change::Reset(_) => "reset".to_owned(),
    }
}

pub(crate) fn shorts(changes: &[Change]) -> Vec<String> {
    changes.iter().map(short).collect()
}

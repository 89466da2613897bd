//! A host of a network: a namespace on the wire with folders, a name and a machine ID of its own, and its agent.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::AtomicU16;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sandbox::{Namespaced, only, plug};
use serde_json::Value;

use crate::cluster::{NET, OUTSIDE};
use crate::programs::{agent, folder};

/// Long enough for a loaded machine; nothing waits so long unless a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Gives a process the folders and the name of a host, then becomes the command.
const ON_HOST: &str = r#"set -e; own=$1 name=$2; shift 2
    bind() { mkdir -p "$own/$1" "$2"; mount --bind "$own/$1" "$2"; }
    bind run /run/cleat; bind lib /var/lib/cleat; bind cni /var/lib/cni; bind etc /etc/cleat; bind etc-cni /etc/cni
    mount --bind "$own/machine-id" /etc/machine-id; hostname "$name"; exec "$@""#;

/// A host.
pub(crate) struct Host {
    pub(crate) number: usize,
    pub(crate) netns: Namespaced,
    folder: PathBuf,
    pub(crate) agent: Mutex<Option<Child>>,
    /// The port that its next container publishes.
    pub(crate) next: AtomicU16,
}

impl Host {
    pub(crate) fn new(number: usize) -> Self {
        let netns = Namespaced::new(&format!("host{number}"));
        plug(&netns, number);
        netns.enter(|| {
            for name in ["iptables", "ip6tables"] {
                fs::write(format!("/proc/sys/net/bridge/bridge-nf-call-{name}"), "0").unwrap();
            }
        });
        let folder = PathBuf::from(format!("/run/hosts/{number}"));
        fs::create_dir_all(folder.join("run")).unwrap();
        fs::create_dir_all(folder.join("etc/overlay")).unwrap();
        fs::write(folder.join("machine-id"), format!("{number:032x}\n")).unwrap();
        // Some machines have none, and it takes a file to mount one over.
        fs::OpenOptions::new().create(true).append(true).open("/etc/machine-id").unwrap();
        let host = Self { number, netns, folder, agent: Mutex::new(None), next: AtomicU16::new(8080) };
        let [v4, v6] = OUTSIDE;
        host.sh(&format!("ip route add default via {v4}; ip -6 route add default via {v6}"));
        host
    }

    /// Its name, which is that of its node.
    pub(crate) fn name(&self) -> String {
        format!("host{}", self.number)
    }

    /// Its address on the wire.
    pub(crate) fn address(&self) -> String {
        format!("198.51.100.{}", self.number)
    }

    /// Takes another address in the place of that which it has.
    pub(crate) fn moves_to(&self, number: usize) {
        let [v4, v6] = OUTSIDE;
        self.sh(&format!(
            "ip -4 addr flush dev eth0; ip addr add 198.51.100.{number}/24 dev eth0
             ip route add default via {v4}; ip -6 route replace default via {v6}"
        ));
    }

    /// The words before a command on this host, besides its namespace.
    pub(crate) fn words(&self) -> Vec<String> {
        let (own, name) = (self.folder.display().to_string(), self.name());
        let words = ["unshare", "--mount", "--uts", "sh", "-c", ON_HOST, "sh", &own, &name];
        words.map(str::to_owned).to_vec()
    }

    pub(crate) fn command(&self, program: &str, args: &[&str]) -> Command {
        let words = self.words();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg(program).args(args).env_clear().env("PATH", PATH);
        command.env("CNI_PATH", folder());
        command
    }

    /// Runs a program on this host with that on its standard input.
    pub(crate) fn run(&self, program: &str, args: &[&str], input: &str) -> Output {
        let mut command = self.command(program, args);
        self.netns.enter(|| sandbox::run(&mut command, input.as_bytes()))
    }

    /// Runs a shell line on this host, which must succeed, and returns what it prints.
    pub(crate) fn sh(&self, line: &str) -> String {
        let output = self.run("sh", &["-ec", line], "");
        assert!(output.status.success(), "{}: {line}: {}", self.name(), said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// A short command of the agent's program, which must succeed.
    pub(crate) fn overlay(&self, args: &[&str], input: &str) -> String {
        let output = self.run(agent(), args, input);
        assert!(output.status.success(), "{}: {args:?}: {}", self.name(), said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// One that must fail with one line, without having printed a result.
    pub(crate) fn refused(&self, args: &[&str], input: &str) -> String {
        let output = self.run(agent(), args, input);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(
            output.status.code() == Some(1) && output.stdout.is_empty(),
            "{args:?}: {}: {stderr}",
            output.status
        );
        let error: Vec<&str> = stderr.lines().filter(|line| !line.contains("waiting")).collect();
        assert_eq!(error.len(), 1, "{args:?}: {stderr}");
        error[0].to_owned()
    }

    /// A file of this host: below `run` (/run/cleat), `lib` (/var/lib/cleat), `etc` (/etc/cleat).
    pub(crate) fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.folder.join(path)
    }

    /// The file that bridge reads at ADD; `None` where there is none.
    pub(crate) fn run_file(&self) -> Option<Value> {
        let text = fs::read(self.path(format!("run/overlay/{NET}.json"))).ok()?;
        Some(serde_json::from_slice(&text).unwrap())
    }

    /// Writes the agent's file, which starts its part for the network.
    pub(crate) fn configure(&self, conf: &Value) {
        self.configure_as(NET, conf);
    }

    pub(crate) fn configure_as(&self, network: &str, conf: &Value) {
        let (path, new) = (self.path(format!("etc/overlay/{network}.json")), self.path("etc/new"));
        fs::write(&new, conf.to_string()).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).unwrap();
        fs::rename(new, path).unwrap();
    }

    /// Starts the agent with the one capability that it needs, as its unit does, and waits until it is ready.
    pub(crate) fn start(&self) {
        let notify = self.path("notify");
        let _ = fs::remove_file(&notify);
        let socket = UnixDatagram::bind(&notify).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        self.spawn(&notify);
        let mut buffer = [0; 512];
        loop {
            let count = socket
                .recv(&mut buffer)
                .unwrap_or_else(|error| panic!("{} is not ready: {error}\n{}", self.name(), self.log()));
            if String::from_utf8_lossy(&buffer[..count]).lines().any(|line| line == "READY=1") {
                return;
            }
        }
    }

    /// The same without waiting.
    pub(crate) fn spawn(&self, notify: &Path) {
        let mut running = self.agent.lock().unwrap();
        assert!(running.is_none(), "{} has an agent", self.name());
        let words = [only(&["net_admin"]), vec![agent().to_owned(), "run".to_owned()]].concat();
        let args: Vec<&str> = words[1..].iter().map(String::as_str).collect();
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path("log")).unwrap();
        let mut command = self.command(&words[0], &args);
        command.env("NOTIFY_SOCKET", notify).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        *running = Some(self.netns.enter(|| command.spawn()).unwrap());
    }

    /// Sends the agent a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let agent = self.agent.lock().unwrap();
        let pid = agent.as_ref().expect("an agent").id();
        kill(Pid::from_raw(i32::try_from(pid).unwrap()), signal).unwrap();
    }

    /// Kills the agent.
    pub(crate) fn kill(&self) {
        let agent = self.agent.lock().unwrap().take();
        if let Some(mut agent) = agent {
            let _ = agent.kill();
            agent.wait().unwrap();
        }
    }

    /// Ends the agent as systemd does.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::SIGTERM);
        let status = self.agent.lock().unwrap().take().unwrap().wait().unwrap();
        assert!(status.success(), "{}: {status}\n{}", self.name(), self.log());
    }

    /// Whether the agent runs.
    pub(crate) fn is_running(&self) -> bool {
        self.agent.lock().unwrap().as_mut().is_some_and(|agent| agent.try_wait().unwrap().is_none())
    }

    /// The agent's process.
    pub(crate) fn pid(&self) -> u32 {
        self.agent.lock().unwrap().as_ref().expect("an agent").id()
    }

    /// What the agent has written.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// What the agent answers: the status, and the body.
    pub(crate) fn ask(&self, method: &str, path: &str) -> Option<(u16, String)> {
        let mut stream = UnixStream::connect(self.path("run/overlay.sock")).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        write!(stream, "{method} {path} HTTP/1.1\r\nHost: cleat\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, body.to_owned()))
    }

    /// What the agent says of the network; null where it does not answer.
    pub(crate) fn health(&self) -> Value {
        let answer = self.ask("GET", &format!("/networks/{NET}"));
        answer.and_then(|(_, body)| serde_json::from_str(&body).ok()).unwrap_or(Value::Null)
    }

    /// A figure of the metrics, by the beginning of its line.
    pub(crate) fn metric(&self, name: &str) -> Option<f64> {
        let (_, text) = self.ask("GET", "/metrics")?;
        let line = text.lines().find(|line| line.starts_with(name))?;
        line.rsplit(' ').next()?.parse().ok()
    }

    /// Waits until the agent's part for the network is in a state.
    pub(crate) fn is(&self, state: &str) {
        self.says(state, |health| health["state"] == state);
    }

    /// Waits until the agent says something.
    pub(crate) fn says(&self, what: &str, is_it: impl Fn(&Value) -> bool) {
        let begin = Instant::now();
        loop {
            let health = self.health();
            if is_it(&health) {
                return;
            }
            assert!(begin.elapsed() < PATIENCE, "{}: {what}: {health:#}\n{}", self.name(), self.log());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until the agent has that many peers, all programmed.
    pub(crate) fn has_peers(&self, count: usize) {
        self.says(&format!("{count} peers"), |health| {
            let peers = health["peers"].as_array();
            peers.is_some_and(|peers| peers.len() == count && peers.iter().all(|peer| peer["state"] == "ok"))
        });
    }

    /// What the kernel has of the network, in lines that can be compared.
    pub(crate) fn kernel(&self) -> Vec<String> {
        let text = self.sh(
            "ip -d -o link show type vxlan | sed 's/^[0-9]*: //'; ip -o addr | sed -n '/vx-/ s/^[0-9]*: //p'
             bridge fdb show | sed -n '/dev vx-.* dst /p'; ip neigh show nud permanent; ip -6 neigh show nud permanent
             ip route show proto 76; ip -6 route show proto 76; nft -s list table inet cleat_overlay 2>/dev/null || true",
        );
        let mut lines: Vec<String> = text.lines().map(|line| line.trim().to_owned()).collect();
        lines.sort();
        lines
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Waits until something holds.
pub(crate) fn until(what: &str, condition: impl Fn() -> bool) -> Duration {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        thread::sleep(Duration::from_millis(5));
    }
    begin.elapsed()
}

/// All output of a program.
pub(crate) fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

//! A running agent.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

pub(crate) const AGENT: &str = env!("CARGO_BIN_EXE_cleat-overlay");
pub(crate) const FOLDER: &str = "/etc/cleat/overlay";
pub(crate) const SOCKET: &str = "/run/cleat/overlay.sock";
const NOTIFY: &str = "/run/notify";
const LOG: &str = "/run/log";
/// Long enough for a loaded machine; nothing waits so long unless a test fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// An agent, and what it tells its service manager.
pub(crate) struct Agent {
    child: Child,
    manager: UnixDatagram,
}

impl Agent {
    /// Starts it on a machine with an ID of its own.
    pub(crate) fn start() -> Self {
        Self::start_by(&[])
    }

    /// The same, by another program, whose words stand before the agent's.
    pub(crate) fn start_by(words: &[&str]) -> Self {
        prepare();
        let _ = fs::remove_file(NOTIFY);
        let manager = UnixDatagram::bind(NOTIFY).unwrap();
        manager.set_read_timeout(Some(PATIENCE)).unwrap();
        let words = [words, &[AGENT, "run"]].concat();
        let log = fs::File::create(LOG).unwrap();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).env("NOTIFY_SOCKET", NOTIFY).stdin(Stdio::null()).stderr(log);
        Self { child: command.spawn().unwrap(), manager }
    }

    /// Waits for a line to the service manager that begins so, and returns the line.
    pub(crate) fn tells(&self, begin: &str) -> String {
        let mut buffer = [0; 4096];
        loop {
            let count = self
                .manager
                .recv(&mut buffer)
                .unwrap_or_else(|error| panic!("no {begin}: {error}: {}", log()));
            let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
            if let Some(line) = text.lines().find(|line| line.starts_with(begin)) {
                return line.to_owned();
            }
        }
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    /// Sends a signal and waits for the end.
    pub(crate) fn end_by(mut self, signal: Signal) -> (ExitStatus, UnixDatagram) {
        kill(self.pid(), signal).unwrap();
        let status = self.child.wait().unwrap();
        let manager = self.manager.try_clone().unwrap();
        (status, manager)
    }

    /// Waits until it ends by itself.
    pub(crate) fn ends(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the agent needs of a host.
pub(crate) fn prepare() {
    fs::write("/etc/machine-id", "0123456789abcdef0123456789abcdef\n").unwrap();
    let up = Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap();
    assert!(up.success());
}

/// What it has logged.
pub(crate) fn log() -> String {
    fs::read_to_string(LOG).unwrap_or_default()
}

/// A short command.
pub(crate) fn run(args: &[&str]) -> Output {
    Command::new(AGENT).args(args).stdin(Stdio::null()).output().unwrap()
}

/// A network's file, whose engine nobody is.
pub(crate) fn conf(more: &Value) -> Value {
    let mut conf = json!({"engine": {"type": "etcd", "endpoints": ["http://127.0.0.1:9"]}, "node": "one"});
    for (key, value) in more.as_object().unwrap() {
        conf[key] = value.clone();
    }
    conf
}

/// Writes a file of the folder in one step, as `cleat network join` does.
pub(crate) fn write(name: &str, text: &str, mode: u32) {
    fs::create_dir_all(FOLDER).unwrap();
    let new = "/etc/cleat/new";
    fs::write(new, text).unwrap();
    fs::set_permissions(new, Permissions::from_mode(mode)).unwrap();
    fs::rename(new, format!("{FOLDER}/{name}")).unwrap();
}

/// What curl gets: the status, and the body. By the socket, unless the path has a scheme.
pub(crate) fn curl(args: &[&str], path: &str) -> (String, String) {
    let mut command = Command::new("curl");
    command
        .args(["--silent", "--show-error", "--max-time", "10", "--write-out", "\n%{http_code}"])
        .args(args);
    if path.starts_with('/') {
        command.args(["--unix-socket", SOCKET]).arg(format!("http://agent{path}"));
    } else {
        command.arg(path);
    }
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, status) = text.rsplit_once('\n').unwrap();
    (status.to_owned(), body.to_owned())
}

/// The names of the networks that the agent has.
pub(crate) fn networks() -> Vec<String> {
    let (_, body) = curl(&[], "/networks");
    let value: Value = serde_json::from_str(&body).unwrap_or(Value::Null);
    let all = value["networks"].as_array().cloned().unwrap_or_default();
    all.iter().map(|network| network["network"].as_str().unwrap().to_owned()).collect()
}

/// Waits until something holds.
pub(crate) fn until(what: &str, condition: impl Fn() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}: {}", log());
        thread::sleep(Duration::from_millis(10));
    }
}

//! Stands in for systemctl where no systemd runs, as in the sandbox of the tests: it starts and stops the real programs by
//! their packaged units.
//!
//! Of a unit it takes `Type`, `Environment`, `ExecStartPre` and `ExecStart`, from the unit's file and from its drop-ins. It waits as systemd does: for
//! `Type=notify` until the program says that it is ready. What a unit confines (capabilities, file systems, limits) it
//! leaves out, and it starts no program again that has ended.

#![allow(clippy::unwrap_used, clippy::panic, reason = "it serves tests")]
#![allow(clippy::print_stdout, reason = "it is a command line program")]
#![allow(clippy::disallowed_methods, reason = "it starts programs")]
#![allow(clippy::zombie_processes, reason = "the program outlives this one")]

use std::fs::{self, File};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const STATE: &str = "/run/units";
const FOLDERS: [&str; 3] = ["/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];
const PATIENCE: Duration = Duration::from_secs(30);

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["start", unit] | ["enable", "--now", unit] => start(unit),
        ["stop", unit] | ["disable", "--now", unit] => stop(unit),
        ["restart", unit] => {
            stop(unit);
            start(unit);
        }
        ["is-active", unit] => {
            let is_active = fs::read_to_string(pid_file(unit)).is_ok_and(|pid| is_alive(&pid));
            println!("{}", if is_active { "active" } else { "inactive" });
            std::process::exit(if is_active { 0 } else { 3 });
        }
        ["daemon-reload"] => (),
        ref words => panic!("this stand-in for systemctl does not know {words:?}"),
    }
}

/// The lines of a unit and its drop-ins.
fn lines(unit: &str) -> Vec<String> {
    let paths = FOLDERS.iter().map(|folder| Path::new(folder).join(format!("{unit}.service")));
    let path = paths.clone().find(|path| path.exists()).unwrap_or_else(|| panic!("there is no unit {unit}"));
    let mut files = vec![path];
    for folder in paths.map(|path| path.with_extension("service.d")).filter(|path| path.is_dir()) {
        files.extend(fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()));
    }
    files
        .iter()
        .flat_map(|file| fs::read_to_string(file).unwrap().lines().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

fn pid_file(unit: &str) -> PathBuf {
    fs::create_dir_all(STATE).unwrap();
    Path::new(STATE).join(unit)
}

fn start(unit: &str) {
    let lines = lines(unit);
    let values = |key: &str| {
        let prefix = format!("{key}=");
        lines.iter().filter_map(|line| line.strip_prefix(&prefix)).map(str::to_owned).collect::<Vec<_>>()
    };
    for before in values("ExecStartPre") {
        let (line, may_fail) = before.strip_prefix('-').map_or((before.as_str(), false), |line| (line, true));
        let ended = command(line, &values("Environment")).stderr(Stdio::null()).status();
        assert!(may_fail || ended.unwrap().success(), "{line}");
    }
    let socket = pid_file(unit).with_extension("notify");
    let _ = fs::remove_file(&socket);
    let notified = UnixDatagram::bind(&socket).unwrap();
    let log = File::options().create(true).append(true).open(format!("/var/log/{unit}.log")).unwrap();
    let child = command(&values("ExecStart")[0], &values("Environment"))
        .env("NOTIFY_SOCKET", &socket)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .process_group(0)
        .spawn()
        .unwrap_or_else(|error| panic!("start {unit}: {error}"));
    fs::write(pid_file(unit), child.id().to_string()).unwrap();
    if values("Type") == ["notify"] {
        await_ready(unit, &notified);
    }
}

fn await_ready(unit: &str, notified: &UnixDatagram) {
    notified.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut said = [0; 4096];
    loop {
        let length = notified.recv(&mut said).unwrap_or_else(|error| {
            let log = fs::read_to_string(format!("/var/log/{unit}.log")).unwrap_or_default();
            panic!("{unit} does not become ready: {error}\n{log}")
        });
        if String::from_utf8_lossy(&said[..length]).lines().any(|line| line == "READY=1") {
            return;
        }
    }
}

/// Ends the main process alone, as `KillMode=process` has it: containers go on.
fn stop(unit: &str) {
    let Ok(pid) = fs::read_to_string(pid_file(unit)) else { return };
    let _ = Command::new("kill").args(["-TERM", &pid]).stderr(Stdio::null()).status();
    let deadline = Instant::now() + PATIENCE;
    while is_alive(&pid) {
        assert!(Instant::now() < deadline, "{unit} does not end");
        thread::sleep(Duration::from_millis(20));
    }
    fs::remove_file(pid_file(unit)).unwrap();
}

/// Whether a process runs. One that has ended may stay as a zombie, as nobody here waits for it.
fn is_alive(pid: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    status.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// A command line of a unit, with the environment that systemd gives.
fn command(line: &str, environment: &[String]) -> Command {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().unwrap());
    command
        .args(words)
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    command.envs(environment.iter().filter_map(|pair| pair.trim_matches('"').split_once('=')));
    command
}

//! `make demo-overlay`: a network over three hosts, in a sandbox that needs no root, with the suite's own programs. One host
//! loses its agent, then etcd is killed, and nothing stops.
//!
//! Each step prints the command that a person would type on that host, runs exactly that, and prints its output; agents and etcd
//! are started and killed as the printed line would. If the output is not as expected, the demo fails.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a demo that cannot go on ends")]
#![allow(clippy::print_stdout, reason = "a demo prints")]
#![allow(clippy::disallowed_methods, reason = "it starts programs, as a person would")]
#![allow(dead_code, reason = "the tests use the rest")]

mod cluster;
mod containers;
mod host;
#[path = "../demo/http.rs"]
mod http;
mod ping;
mod programs;

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use cluster::{Cluster, ENGINE};
use host::{Host, PATIENCE, said};
use nix::sys::signal::Signal;
use sandbox::Namespaced;

/// Where the demo's commands are.
const PROGRAMS: &str = "/run/demo";
/// Requests of `knock`, and their pace.
const KNOCKS: u32 = 160;
const PACE: Duration = Duration::from_millis(50);

fn main() -> ExitCode {
    // Called by one of these names, this program is the server or a client of a container.
    let args: Vec<String> = std::env::args().collect();
    match Path::new(&args[0]).file_name().and_then(|name| name.to_str()) {
        Some("serve") => return http::serve(&args[1], &args[2]),
        Some("fetch") => return http::fetch(&args[1]),
        Some("knock") => return knock(&args[1]),
        _ => {}
    }
    match sandbox::isolated_program() {
        None => show(),
        Some(status) if status.success() => ExitCode::SUCCESS,
        Some(_) => ExitCode::FAILURE,
    }
}

/// Asks a server many times at a steady pace, and says how often it did not answer.
fn knock(url: &str) -> ExitCode {
    let (mut next, mut unanswered) = (Instant::now(), 0);
    for _ in 0..KNOCKS {
        unanswered += u32::from(http::get(url).is_err());
        next += PACE;
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    println!("{KNOCKS} requests to {url}, {unanswered} without an answer");
    if unanswered == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn show() -> ExitCode {
    let mut cluster = Cluster::bare();
    std::fs::create_dir_all(PROGRAMS).unwrap();
    let own = std::env::current_exe().unwrap();
    for name in ["serve", "fetch", "knock"] {
        symlink(&own, format!("{PROGRAMS}/{name}")).unwrap();
    }
    let hosts = cluster.hosts.clone();
    let [one, two, three] = hosts.each_ref().map(|host| Stage { host });
    println!(
        "A sandbox: three hosts, 198.51.100.1 to .3, on one wire; etcd at {ENGINE}, and a host outside, 198.51.100.9."
    );
    println!(
        "Nothing of it is the real network. serve, fetch and knock are a small HTTP server and clients."
    );
    let before = hosts.each_ref().map(|host| left(host));

    title(1, "Three hosts, one network");
    for host in [&one, &two, &three] {
        host.start_agent();
    }
    let engine = format!("--engine etcd://{ENGINE}:2379");
    one.run(&format!("cleat network create -d overlay {engine} --subnet 10.201.0.0/16 wide"), &[]);
    for host in [&two, &three] {
        host.run(&format!("cleat network join wide {engine}"), &[]);
    }
    for host in &hosts {
        host.has_peers(2);
    }
    one.run("cleat node ls wide", &["host1", "host2", "host3"]);

    title(2, "From container to container, on different hosts");
    let web = one.background("cleat run --network wide --name web -p 80:80 -- serve 80 'hello from web'");
    let address = one.await_container("web");
    two.run(
        &format!("cleat run --network wide -- fetch http://{address}/"),
        &["hello from web, you are 10.201."],
    );
    three.run(
        &format!("cleat run --network wide -- fetch http://{address}/"),
        &["hello from web, you are 10.201."],
    );
    outside(&cluster.outside, "fetch http://198.51.100.1/", "hello from web");

    title(3, "One host loses its agent, and etcd is killed: nothing stops");
    let knock = two.background(&format!("cleat run --network wide --name client -- knock http://{address}/"));
    two.await_container("client");
    println!("host1$ kill -9 $(pidof cleat-overlay)");
    hosts[0].kill();
    one.run(&format!("cleat run --network wide -- fetch http://{address}/"), &["hello from web"]);
    println!("etcd$ kill -9 $(pidof etcd)");
    cluster.engine.kill();
    three.run(&format!("cleat run --network wide -- fetch http://{address}/"), &["hello from web"]);
    println!("host3$ kill -9 $(pidof cleat-overlay)");
    hosts[2].kill();
    three.start_agent();
    three.run(&format!("cleat run --network wide -- fetch http://{address}/"), &["hello from web"]);
    knock.finish(&[", 0 without an answer"]);

    title(4, "Both are back");
    println!("etcd$ etcd &");
    cluster.engine.restart();
    cluster.engine.await_health();
    one.start_agent();
    for host in &hosts {
        host.is("watching");
        host.has_peers(2);
    }
    one.run("cleat node ls wide", &["host1", "host2", "host3"]);
    one.run("cleat check", &[]);

    title(5, "All taken down");
    web.interrupt();
    for host in [&three, &two, &one] {
        host.run("cleat network leave wide", &[]);
    }
    for (host, before) in hosts.iter().zip(before) {
        host.terminate();
        let now = left(host);
        if now != before {
            println!("FAILED: {} has now:\n{now}\nand had:\n{before}", host.name());
            return ExitCode::FAILURE;
        }
    }
    println!("\nEverything worked, no request was lost, and nothing is left behind.");
    ExitCode::SUCCESS
}

fn title(number: u32, text: &str) {
    println!("\n{number}. {text}");
}

/// What a network leaves in a host's kernel.
fn left(host: &Host) -> String {
    host.sh("ip -o link | sed 's/^[0-9]*: //; s/:.*//; s/@.*//'; ip route; ip -6 route | grep -v fe80; nft list tables")
}

/// Runs a command on the host outside.
fn outside(host: &Namespaced, line: &str, expected: &str) {
    println!("outside$ {line}");
    let mut command = Command::new("sh");
    command.args(["-c", line]).env("PATH", path());
    let output = host.enter(|| command.output()).unwrap();
    print(&said(&output), &[expected]);
}

/// Prints what a command has said, which must contain each text.
fn print(said: &str, expected: &[&str]) {
    for line in said.lines() {
        println!("    {line}");
    }
    if let Some(text) = expected.iter().find(|text| !said.contains(**text)) {
        println!("FAILED: it should have said {text:?}");
        std::process::exit(1);
    }
}

fn path() -> String {
    format!("{PROGRAMS}:{}:/usr/sbin:/usr/bin:/sbin:/bin", programs::folder().display())
}

/// A host on which commands are shown.
struct Stage<'a> {
    host: &'a Host,
}

/// A command in the background.
struct Running {
    line: String,
    child: Child,
}

impl Stage<'_> {
    fn command(&self, line: &str) -> Command {
        let words = self.host.words();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).args(["sh", "-c", line]).env_clear().env("PATH", path());
        command.env("CNI_PATH", programs::folder());
        command
    }

    fn start_agent(&self) {
        println!("{}$ cleat-overlay &", self.host.name());
        self.host.start();
    }

    /// Shows a command, which must succeed.
    fn run(&self, line: &str, expected: &[&str]) {
        println!("{}$ {line}", self.host.name());
        let mut command = self.command(line);
        let output = self.host.netns.enter(|| command.output()).unwrap();
        print(&said(&output), expected);
        if !output.status.success() {
            println!("FAILED: {}\n{}", output.status, self.host.log());
            std::process::exit(1);
        }
    }

    /// Shows a command that goes on.
    fn background(&self, line: &str) -> Running {
        println!("{}$ {line} &", self.host.name());
        let mut command = self.command(&format!("exec {line}"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = self.host.netns.enter(|| command.spawn()).unwrap();
        Running { line: line.to_owned(), child }
    }

    /// The address of a container that is being started.
    fn await_container(&self, name: &str) -> String {
        let begin = Instant::now();
        let line = format!("cleat inspect {name}");
        loop {
            let output = self.host.netns.enter(|| self.command(&line).output()).unwrap();
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let address = text.split_whitespace().find(|word| word.starts_with("10.201."));
            if let Some(address) = address.filter(|_| output.status.success()) {
                return address.split('/').next().unwrap().to_owned();
            }
            assert!(begin.elapsed() < PATIENCE, "{name} has no address: {}", said(&output));
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Running {
    /// Waits for its end, and shows what it has said.
    fn finish(self, expected: &[&str]) {
        let output = self.child.wait_with_output().unwrap();
        println!("    # {}", self.line.split(" -- ").last().unwrap_or_default());
        print(&said(&output), expected);
    }

    /// Ends it as Ctrl-C does.
    fn interrupt(mut self) {
        println!("host1$ kill -INT $!    # {}", self.line.split(" -- ").next().unwrap_or_default());
        let pid = i32::try_from(self.child.id()).unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGINT).unwrap();
        self.child.wait().unwrap();
    }
}

//! Runs the demo's commands, checks their output, and checks that nothing is left at the end.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use nftables::{Family, Socket, Table};
use sandbox::Host;

use crate::http;

const NETWORKS: &str = "/run/demo/net.d";
const PROGRAMS: &str = "/run/demo/bin";

/// The host on which a command runs.
#[derive(Clone, Copy)]
pub(crate) enum Place {
    Host,
    Outside,
}

pub(crate) struct Stage<'a> {
    host: &'a Host,
    plugins: String,
    before: BTreeSet<String>,
    titles: usize,
}

/// A command in the background.
pub(crate) struct Running {
    line: String,
    child: Child,
}

impl<'a> Stage<'a> {
    pub(crate) fn new(host: &'a Host) -> Self {
        let demo = std::env::current_exe().unwrap();
        // Cargo puts an example one folder below the programs.
        let plugins = demo.parent().and_then(Path::parent).unwrap().to_path_buf();
        for folder in [NETWORKS, PROGRAMS] {
            fs::create_dir_all(folder).unwrap();
        }
        let network = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/10-cleat.conflist");
        fs::copy(&network, format!("{NETWORKS}/10-cleat.conflist")).unwrap();
        for name in ["serve", "fetch"] {
            symlink(&demo, format!("{PROGRAMS}/{name}")).unwrap();
        }
        symlink(plugins.join("cleat"), format!("{PROGRAMS}/cleat")).unwrap();
        Self { host, plugins: plugins.display().to_string(), before: residue(), titles: 0 }
    }

    pub(crate) fn title(&mut self, text: &str) {
        self.titles += 1;
        println!("\n{}. {text}", self.titles);
    }

    /// Prints a command, runs it to its end, and prints its output. The output must contain each expected text; a text with
    /// bars (`a|b`) is a choice.
    pub(crate) fn run(&self, place: Place, line: &str, expected: &[&str]) {
        println!("{}$ {line}", name(place));
        let mut command = self.command(line);
        let output: Output = match place {
            Place::Host => command.output(),
            Place::Outside => self.host.outside.enter(|| command.output()),
        }
        .expect("start sh");
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        for text in said.lines() {
            println!("    {text}");
        }
        let missing = expected.iter().find(|text| !text.split('|').any(|one| said.contains(one)));
        if let Some(text) = missing {
            println!("FAILED: it should have said {text:?} ({})", output.status);
            std::process::exit(1);
        }
        if !output.status.success() {
            println!("FAILED: {}", output.status);
            std::process::exit(1);
        }
    }

    /// Starts a command in the background, and waits until it is ready: until this host's port answers, or, without a port,
    /// until the container is attached.
    pub(crate) fn start(&self, line: &str, port: &str) -> Running {
        println!("{}$ {line} &", name(Place::Host));
        let mut child = self.command(&format!("exec {line}")).spawn().expect("start sh");
        let leases = leases();
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let is_ready = match port {
                "" => leases_grew(leases),
                port => std::net::TcpStream::connect(format!("127.0.0.1:{port}")).is_ok(),
            };
            if is_ready {
                return Running { line: line.to_owned(), child };
            }
            if let Some(status) = child.try_wait().unwrap() {
                println!("FAILED: it ended: {status}");
                std::process::exit(1);
            }
            assert!(Instant::now() < deadline, "{line}: not ready within ten seconds");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends a background command with SIGINT, as Ctrl-C does.
    pub(crate) fn stop(&self, mut running: Running) {
        let pid = running.child.id();
        println!(
            "{}$ kill -INT {pid}    # {}",
            name(Place::Host),
            running.line.split(" -- ").next().unwrap_or_default()
        );
        let status = self.command(&format!("kill -INT {pid}")).status().expect("start sh");
        assert!(status.success());
        running.child.wait().unwrap();
    }

    pub(crate) fn serve_outside(&self, text: &'static str) {
        let listener = self.host.outside.enter(|| TcpListener::bind("0.0.0.0:80")).unwrap();
        thread::spawn(move || http::answer(&listener, text));
    }

    /// Prints what was not there at the start. Fails if there is anything, or if something is missing.
    pub(crate) fn assert_nothing_left(&self) {
        let now = residue();
        let left: Vec<_> = now.difference(&self.before).collect();
        println!("links, addresses, tables, leases and files that were not there before: {}", left.len());
        for line in &left {
            println!("    {line}");
        }
        if !left.is_empty() || now != self.before {
            println!("FAILED: something is left behind, or missing");
            std::process::exit(1);
        }
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new("sh");
        let path = format!("{PROGRAMS}:{}", std::env::var("PATH").unwrap_or_default());
        command
            .args(["-c", line])
            .env("PATH", path)
            .env("CNI_PATH", &self.plugins)
            .env("NETCONFPATH", NETWORKS);
        command
    }
}

fn name(place: Place) -> &'static str {
    match place {
        Place::Host => "host",
        Place::Outside => "outside",
    }
}

/// Everything that an attachment might leave, read from the kernel and the file system.
fn residue() -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    let names = |text: String| {
        text.lines()
            .filter_map(|line| line.split_once(':').map(|(name, _)| name.trim().to_owned()))
            .collect::<Vec<_>>()
    };
    lines.extend(
        names(fs::read_to_string("/proc/net/dev").unwrap()).into_iter().map(|name| format!("link {name}")),
    );
    lines.extend(fs::read_to_string("/proc/net/route").unwrap().lines().map(|line| format!("route {line}")));
    lines.extend(
        fs::read_to_string("/proc/net/if_inet6")
            .unwrap()
            .lines()
            .map(|line| format!("address {}", &line[..32])),
    );
    let mut socket = Socket::open().unwrap();
    for table in ["cleat_bridge", "cleat_host_port", "cleat_link_env"] {
        if socket.has_table(&Table::new(Family::Inet, table)).unwrap() {
            lines.insert(format!("table inet {table}"));
        }
    }
    for folder in ["/var/lib/cni", "/run"] {
        files(Path::new(folder), &mut lines);
    }
    lines
}

fn files(folder: &Path, lines: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        // host-local keeps these files for the network, to choose the next address; see docs/networks.md.
        let is_memory =
            ["last_reserved_ip.0", "lock", "boot_id", ".free"].iter().any(|kept| path.ends_with(kept));
        if path.is_dir() {
            files(&path, lines);
        } else if !is_memory {
            lines.insert(format!("file {}", path.display()));
        }
    }
}

fn leases() -> usize {
    fs::read_dir("/var/lib/cni/results").map_or(0, Iterator::count)
}

/// Whether a container was attached: a result is cached when the whole chain has succeeded.
fn leases_grew(before: usize) -> bool {
    leases() > before
}

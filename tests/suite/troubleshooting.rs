//! docs/troubleshooting.md: what it quotes of ours is in the sources; and of these symptoms each is produced, found as quoted, cured
//! by the commands of its section as they are written, and gone.

use std::fmt::Write;
use std::fs;
use std::io::Read;
use std::net::Ipv6Addr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use sandbox::traffic::{ask_tcp, serve_tcp};
use sandbox::{Host, Namespaced, OUTSIDE_V4, UPLINK_V4, advertise, isolated};

use crate::shared::programs::folder;
use crate::shared::shell::{said, shell};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn page() -> String {
    fs::read_to_string(root().join("docs/troubleshooting.md")).unwrap()
}

/// The blocks of a kind (`text`: our messages, `sh`: commands) in a part of the page.
fn blocks(part: &str, kind: &str) -> Vec<String> {
    let fence = format!("\n```{kind}\n");
    let opened = part.split(fence.as_str()).skip(1);
    opened.map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

/// The part of the page that is about one symptom.
struct Section(String);

impl Section {
    fn of(heading: &str) -> Self {
        let page = page();
        let (_, rest) = page
            .split_once(&format!("\n## {heading}\n"))
            .unwrap_or_else(|| panic!("docs/troubleshooting.md has no section {heading:?}"));
        Self(rest.split("\n## ").next().unwrap().to_owned())
    }

    /// The lines of its messages: all of them where `one_of` is empty, else those with one of these words.
    fn is_seen(&self, output: &str, one_of: &[&str]) {
        let lines = blocks(&self.0, "text").concat();
        let is_meant = |line: &&str| one_of.is_empty() || one_of.iter().any(|words| line.contains(words));
        let meant: Vec<&str> = lines.lines().filter(is_meant).collect();
        assert!(meant.len() >= one_of.len().max(1), "{lines}");
        for line in meant {
            assert!(matches(line, output), "{line:?} is not in {output}");
        }
    }

    /// Runs its commands, which must all succeed; returns what they wrote.
    fn cure(&self, variables: &[(&str, String)]) -> String {
        let commands = blocks(&self.0, "sh");
        assert!(!commands.is_empty(), "{}", self.0);
        let mut wrote = String::new();
        for block in commands {
            let mut command = cleat("sh");
            let output = command
                .args(["-eu", "-c", &block])
                .envs(variables.iter().map(|(name, value)| (name, value)))
                .output()
                .unwrap();
            assert!(output.status.success(), "{block}: {}", said(&output));
            wrote += &said(&output);
        }
        wrote
    }
}

/// Whether a text has a line as it is quoted, where `…` stands for anything.
fn matches(quoted: &str, text: &str) -> bool {
    text.lines().any(|line| {
        let mut rest = line;
        quoted.split('…').all(|part| match rest.find(part) {
            Some(at) => {
                rest = &rest[at + part.len()..];
                true
            }
            None => false,
        })
    })
}

/// What a command line writes, and whether it succeeds.
fn call(line: &str) -> (bool, String) {
    let output = cleat("sh").args(["-c", line]).output().unwrap();
    (output.status.success(), said(&output))
}

fn succeed(line: &str) -> String {
    let (is_ok, said) = call(line);
    assert!(is_ok, "{line}: {said}");
    said
}

fn fail(line: &str) -> String {
    let (is_ok, said) = call(line);
    assert!(!is_ok, "{line}: {said}");
    said
}

/// A command that finds `cleat`, the plugins and the networks.
fn cleat(program: &str) -> Command {
    let mut command = Command::new(program);
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("CNI_PATH", folder()).env("PATH", format!("{}:{path}:/usr/sbin:/sbin", folder().display()));
    command
}

const NETWORKS: &str = "/etc/cni/net.d";

/// A host whose only network is conf/10-cleat.conflist, with changes.
fn on_a_host(changes: &[(&str, &str)], test: impl FnOnce(&Host)) {
    isolated(|| {
        let host = Host::new();
        shell(&format!("mount -t tmpfs sandbox {NETWORKS}"));
        let mut network = fs::read_to_string(root().join("conf/10-cleat.conflist")).unwrap();
        for (old, new) in changes {
            assert!(network.contains(old), "{old}");
            network = network.replace(old, new);
        }
        fs::write(format!("{NETWORKS}/10-cleat.conflist"), network).unwrap();
        test(&host);
    });
}

/// A container that publishes port 8080, where `name` serves on port 80.
fn serve(name: &str) -> Namespaced {
    let netns = Namespaced::new(name);
    serve_tcp(Some(&netns), name, "[::]:80");
    succeed(&publish(name));
    netns
}

fn publish(name: &str) -> String {
    let mappings = r#"{"portMappings":[{"hostPort":8080,"containerPort":80}]}"#;
    format!("CAP_ARGS='{mappings}' cleat add cleat /run/netns/{name} --id {name}")
}

fn answers(host: &Host) -> bool {
    ask_tcp(Some(&host.outside), &format!("{UPLINK_V4}:8080")).is_ok()
}

#[test]
fn what_is_quoted_of_ours_is_in_the_sources() {
    let mut sources = String::new();
    for folder in ["cli", "lib", "plugins", "ipam"] {
        read(&root().join(folder), &mut sources);
    }
    // In a table, a message is between backticks.
    let mut quoted: Vec<String> = blocks(&page(), "text")
        .iter()
        .flat_map(|block| block.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    let in_tables = page();
    let cells =
        in_tables.lines().filter(|line| line.starts_with("| `")).filter_map(|line| line.split(" | ").next());
    quoted.extend(cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned));
    assert!(quoted.len() > 40, "{quoted:?}");
    let mut missing = String::new();
    for message in quoted {
        for part in message.split('…').map(|part| part.trim_matches([' ', ':', ',', '(', ')'])) {
            // Numbers may be written in.
            let is_there = sources.contains(&part.replace('"', "\\\"")) || sources.contains(part);
            if !is_there {
                writeln!(missing, "{part:?} of {message:?}").unwrap();
            }
        }
    }
    assert!(missing.is_empty(), "no source has:\n{missing}");
}

/// The texts of all sources of a folder, as the compiler joins their lines.
fn read(folder: &Path, sources: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(&path).unwrap();
            let mut lines = source.lines();
            while let Some(line) = lines.next() {
                match line.strip_suffix('\\') {
                    Some(begun) => {
                        sources.push_str(begun);
                        sources.push_str(lines.next().unwrap_or_default().trim_start());
                    }
                    None => sources.push_str(line),
                }
                sources.push('\n');
            }
        }
    }
}

#[test]
fn the_port_is_taken() {
    on_a_host(&[], |_| {
        let _web = serve("web");
        let _other = Namespaced::new("other");
        let section = Section::of("The port is taken");
        section.is_seen(&fail(&publish("other")), &["is published by"]);
        section.cure(&[]);
        succeed(&publish("other"));
    });
}

#[test]
fn a_published_port_does_not_answer() {
    on_a_host(&[], |host| {
        let _web = serve("web");
        assert!(answers(host));
        shell("nft flush ruleset");
        assert!(!answers(host));
        let section = Section::of("A published port does not answer");
        section.is_seen(&fail("cleat check"), &["is not masqueraded"]);
        section.is_seen(&fail("cleat repair --dry-run"), &[]);
        section.cure(&[]);
        assert!(answers(host));
    });
}

#[test]
fn the_firewall_drops_what_is_forwarded() {
    on_a_host(&[], |host| {
        serve_tcp(Some(&host.outside), "outside", "[::]:80");
        let web = serve("web");
        shell("iptables -P FORWARD DROP");
        let leaves = |netns: &Namespaced| ask_tcp(Some(netns), &format!("{OUTSIDE_V4}:80")).is_ok();
        assert!(!leaves(&web) && !answers(host));
        let section = Section::of("The firewall drops what is forwarded");
        for line in ["cleat status cleat", "cleat check", "cleat conf check"] {
            section.is_seen(&fail(line).replace(" (set", ": set"), &[]);
        }
        section.cure(&[]);
        assert!(leaves(&web) && answers(host), "with the rules");
        shell("iptables -F FORWARD");
        let new = Namespaced::new("new");
        succeed("cleat add cleat /run/netns/new --id new");
        assert!(leaves(&new), "by the configuration");
    });
}

#[test]
fn the_host_does_not_forward() {
    on_a_host(&[], |host| {
        let _web = serve("web");
        shell("sysctl -q -w net.ipv4.ip_forward=0");
        assert!(!answers(host));
        let section = Section::of("The host does not forward");
        section.is_seen(&fail("cleat check"), &[]);
        section.cure(&[]);
        assert!(answers(host));
    });
}

#[test]
fn ipv6_has_gone_on_the_host() {
    let both = "[{ \"subnet\": \"10.90.0.0/16\" }], [{ \"subnet\": \"fd00:90::/64\" }]";
    on_a_host(&[("[{ \"subnet\": \"10.90.0.0/16\" }]", both)], |host| {
        // Its default route comes from the router on the uplink, and from nobody else.
        shell("ip -6 route del default && sysctl -q -w net/ipv6/conf/uplink/accept_ra=1");
        let has_default = || !call("ip -6 route show default").1.is_empty();
        while !has_default() {
            let _ = advertise(Some(&host.outside), "eth0", Ipv6Addr::new(0x2001, 0xdb8, 7, 0, 0, 0, 0, 0));
            thread::sleep(Duration::from_millis(50));
        }
        let _web = serve("web");
        assert!(has_default());
        shell("sysctl -q -w net/ipv6/conf/uplink/accept_ra=1");
        let section = Section::of("IPv6 has gone on the host");
        section.is_seen(&fail("cleat check"), &[]);
        section.cure(&[("UPLINK", "uplink".to_owned())]);
    });
}

#[test]
fn no_address_is_free() {
    on_a_host(&[("10.90.0.0/16", "10.90.0.0/30")], |_| {
        let dead = Namespaced::new("dead");
        succeed("cleat add cleat /run/netns/dead --id dead");
        drop(dead);
        let _web = Namespaced::new("web");
        let section = Section::of("No address is free");
        section.is_seen(&fail("cleat add cleat /run/netns/web --id web"), &[]);
        section.cure(&[]);
        succeed("cleat add cleat /run/netns/web --id web");
    });
}

#[test]
fn two_networks_have_one_subnet() {
    on_a_host(&[], |host| {
        let _web = serve("web");
        shell("ip link add vpn0 type bridge; ip link set vpn0 up; ip address add 10.90.0.9/16 dev vpn0");
        let section = Section::of("Two networks have one subnet");
        section.is_seen(&fail("cleat status cleat"), &["of link"]);
        section.is_seen(&succeed("cleat check"), &["of link"]);
        section.is_seen(&fail("cleat conf check"), &["host's route"]);
        section.cure(&[]);
        let _new = Namespaced::new("new");
        succeed("cleat add cleat /run/netns/new --id new");
        assert!(answers(host), "the old one goes on");
    });
}

#[test]
fn the_bridge_has_another_address() {
    on_a_host(&[], |_| {
        shell("ip link add cleat0 type bridge; ip address add 10.90.0.1/24 dev cleat0");
        let _web = Namespaced::new("web");
        let section = Section::of("The bridge has another address");
        section.is_seen(&fail("cleat add cleat /run/netns/web --id web"), &[]);
        section.cure(&[]);
        succeed("cleat add cleat /run/netns/web --id web");
    });
}

#[test]
fn a_link_is_refused() {
    on_a_host(&[], |_| {
        let _containers = (Namespaced::new("db"), Namespaced::new("app"));
        let section = Section::of("A link is refused");
        let first = "CNI_ARGS='LINK_NAME=app;LINK_LINKS=db:webdb' cleat add cleat /run/netns/app --id app";
        section.is_seen(&fail(first), &[]);
        section.cure(&[]);
        let variables = fs::read_to_string("/run/cleat/containers/app/env").unwrap();
        assert!(variables.contains("WEBDB_PORT_5432_TCP_ADDR"), "{variables}");
        assert!(succeed("cleat inspect app").contains("webdb"));
    });
}

#[test]
fn a_container_is_attached_already() {
    on_a_host(&[], |_| {
        let _web = Namespaced::new("web");
        succeed("cleat add cleat /run/netns/web --id web");
        let section = Section::of("A container is attached already");
        section
            .is_seen(&fail("cleat add cleat /run/netns/web --id web"), &["the interface is there already"]);
        section.cure(&[]);
    });
}

#[test]
fn an_interface_is_gone() {
    on_a_host(&[], |host| {
        let _web = serve("web");
        shell("ip -n web link del eth0");
        let section = Section::of("An interface is gone");
        section.is_seen(&fail("cleat check"), &["link …"]);
        section.is_seen(&fail("cleat repair"), &["--force"]);
        section.cure(&[]);
        assert!(answers(host));
    });
}

#[test]
fn a_container_cannot_be_removed() {
    on_a_host(&[], |_| {
        drop(serve("web"));
        assert!(succeed("cleat gc").contains("10.90.0.2"));
        Section::of("A container cannot be removed").cure(&[]);
        assert_eq!(succeed("cleat gc --json").trim(), "[]");
    });
}

#[test]
fn a_lock_is_held() {
    on_a_host(&[], |_| {
        let _containers = (Namespaced::new("web"), Namespaced::new("other"));
        succeed("cleat add cleat /run/netns/web --id web");
        let mut holder = Command::new("flock")
            .args(["--close", "/var/lib/cni/networks/cleat/lock", "sh", "-c", "echo held; exec sleep 1"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        holder.stdout.as_mut().unwrap().read_exact(&mut [0; 5]).unwrap();
        shell(&format!("kill -STOP {}", holder.id()));
        let section = Section::of("A lock is held: try again, code 11");
        let told = fail("cleat add cleat /run/netns/other --id other");
        section.is_seen(&told, &[]);
        let (_, pid) = told.split_once("process ").unwrap();
        let pid = pid.split(' ').next().unwrap().to_owned();
        assert_eq!(pid, holder.id().to_string());
        section.cure(&[("PID", pid)]);
        succeed("cleat add cleat /run/netns/other --id other");
        holder.wait().unwrap();
    });
}

#[test]
fn status_fails() {
    on_a_host(&[], |_| {
        let _web = serve("web");
        let change = "s/\"isGateway\": true,/\"isGateway\": true, \"ingress\": \"published\",/";
        shell(&format!("sed -i '{change}' {NETWORKS}/10-cleat.conflist"));
        let section = Section::of("STATUS fails: codes 50 and 51");
        section.is_seen(&fail("cleat status cleat"), &[]);
        section.cure(&[]);
    });
}

#[test]
fn a_configuration_is_refused() {
    on_a_host(&[("\"isGateway\"", "\"isGatway\"")], |_| {
        let section = Section::of("A configuration is refused");
        section.is_seen(&fail("cleat conf check"), &["did you mean"]);
        section.cure(&[]);
    });
}

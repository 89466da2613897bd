//! `/etc/resolv.conf`, `/etc/hostname` and the host name of containers of `cleat run`.

use std::fs;
use std::path::PathBuf;

use sandbox::{Host, Snapshot, isolated};
use serde_json::Value;

use crate::shared::cleat::{DUAL, NETWORK, NETWORKS, call, install_networks, ok};
use crate::shared::shell::shell;

/// What a command in a container prints.
fn inside(args: &[&str], line: &str) -> String {
    ok(&[&["run"], args, &["--", "sh", "-c", line]].concat())
}

/// Has the host another resolver, and with `upstream` systemd-resolved's own file.
fn host_asks(own: &str, upstream: Option<&str>) {
    host_asks_nobody();
    fs::create_dir("/run/test").unwrap();
    fs::write("/run/test/resolv.conf", own).unwrap();
    shell("mount --bind /run/test/resolv.conf /etc/resolv.conf");
    if let Some(upstream) = upstream {
        fs::create_dir_all("/run/systemd/resolve").unwrap();
        fs::write("/run/systemd/resolve/resolv.conf", upstream).unwrap();
    }
}

/// Takes back what [`host_asks`] has put there.
fn host_asks_nobody() {
    shell("umount /etc/resolv.conf 2>/dev/null; rm -rf /run/systemd /run/test");
}

const READ: &str = "cat /etc/resolv.conf";

#[test]
fn a_container_never_asks_its_own_loopback() {
    isolated(|| {
        let _host = Host::new();
        install_networks();
        let (single, dual) = (["--network", NETWORK], ["--network", DUAL]);
        let before = Snapshot::take();
        let stub = "nameserver 127.0.0.53\noptions edns0\nsearch example.com\n";
        host_asks(stub, Some("nameserver 198.51.100.2\nnameserver 2001:db8::2\nsearch up.example\n"));
        assert_eq!(inside(&single, READ), "nameserver 198.51.100.2\nsearch up.example\n");
        let both = "nameserver 198.51.100.2\nnameserver 2001:db8::2\nsearch up.example\n";
        assert_eq!(inside(&dual, READ), both);
        // With the host's network, its loopback is there.
        assert_eq!(inside(&["--network", "host"], READ), stub);
        host_asks("nameserver 127.0.0.1\nnameserver 192.0.2.7\n", None);
        assert_eq!(inside(&single, READ), "nameserver 192.0.2.7\n");
        host_asks("nameserver ::1\nsearch a.example\n", None);
        assert_eq!(inside(&single, READ), "nameserver 8.8.8.8\nnameserver 8.8.4.4\nsearch a.example\n");
        assert!(inside(&dual, READ).contains("nameserver 2001:4860:4860::8888\n"));
        host_asks_nobody();
        before.assert_unchanged();
    });
}

#[test]
fn options_come_before_the_network_and_the_network_before_the_host() {
    isolated(|| {
        let _host = Host::new();
        install_networks();
        let before = Snapshot::take();
        host_asks("nameserver 192.0.2.7\nsearch host.example\noptions ndots:1\n", None);
        let file = named(NETWORK);
        let mut list: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        list["plugins"][0]["dns"] =
            serde_json::json!({"nameservers": ["10.1.0.53"], "search": ["net.example"]});
        fs::write(&file, list.to_string()).unwrap();
        let network = ["--network", NETWORK];
        assert_eq!(inside(&network, READ), "nameserver 10.1.0.53\nsearch net.example\noptions ndots:1\n");
        let options = ["--dns", "192.0.2.1", "--dns=2001:db8::1", "--dns-search", "a.example"];
        let more = ["--dns-search", "b.example", "--dns-option", "rotate", "--dns-opt", "timeout:1"];
        let wanted = "nameserver 192.0.2.1\nnameserver 2001:db8::1\nsearch a.example b.example\n\
            options rotate timeout:1\n";
        assert_eq!(inside(&[&network[..], &options, &more].concat(), READ), wanted);
        assert_eq!(
            inside(&["--network", "host", "--dns", "192.0.2.9", "--dns-search", "."], READ),
            "nameserver 192.0.2.9\noptions ndots:1\n"
        );
        assert!(!inside(&["--network", "none"], READ).contains("127."));
        for (option, value) in [("--dns", "resolver"), ("--dns-search", "a b"), ("--dns-opt", "")] {
            let (code, said) = call(&["run", "--network", NETWORK, option, value, "--", "true"]);
            assert_eq!(code, Some(125), "{option}: {said}");
        }
        host_asks_nobody();
        install_networks();
        before.assert_unchanged();
    });
}

/// The file of a network.
fn named(network: &str) -> PathBuf {
    let files = fs::read_dir(NETWORKS).unwrap().map(|entry| entry.unwrap().path());
    let is_its = |file: &PathBuf| {
        let list: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        list["name"] == network
    };
    files.into_iter().find(is_its).unwrap()
}

#[test]
fn h_is_the_host_name_as_with_docker() {
    isolated(|| {
        let _host = Host::new();
        install_networks();
        let before = Snapshot::take();
        let names = "uname -n; cat /etc/hostname; echo $HOSTNAME; grep -c '10.90.0.*first' /etc/hosts";
        assert_eq!(inside(&["-h", "first", "--network", NETWORK], names), "first\nfirst\nfirst\n1\n");
        let short = inside(&["--network", NETWORK], "cat /etc/hostname");
        assert!(
            short.len() == 13 && inside(&["--network", "none", "-h", "x"], "uname -n") == "x\n",
            "{short}"
        );
        // A network that knows no names has a hosts file all the same.
        let file = named(NETWORK);
        let mut list: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        list["plugins"].as_array_mut().unwrap().retain(|plugin| plugin["type"] != "link-env");
        fs::write(&file, list.to_string()).unwrap();
        let hosts = inside(&["--hostname=second", "--network", NETWORK], "cat /etc/hosts");
        assert!(hosts.starts_with("127.0.0.1\tlocalhost\n") && hosts.contains("\tsecond\n"), "{hosts}");
        // With the host's network the name is the host's.
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        assert_eq!(inside(&["--network", "host"], "uname -n"), host);
        let help = ok(&["run", "--help"]);
        assert!(help.contains("-h, --hostname"), "{help}");
        install_networks();
        before.assert_unchanged();
    });
}

//! Network lists that mix plugins of this suite and of the reference, in the orders that are in use: each plugin works after
//! the others, and breaks nothing that they did.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use sandbox::traffic::{ask_tcp, serve_tcp};
use sandbox::{Host, Namespaced, OUTSIDE_V4, Snapshot, UPLINK_V4, isolated};
use serde_json::{Value, json};

/// `CNI_PATH`: for each plugin type a link to our program or to the reference's, as the test chooses.
const PLUGINS: &str = "/run/plugins";
const NETWORKS: &str = "/run/net.d";
const MAC: &str = "02:00:00:00:00:42";

#[derive(Clone, Copy)]
enum Of {
    Us,
    Them,
}

use crate::shared::iptables::saved;
use crate::shared::programs::{CLEAT, REFERENCE, folder};
use crate::shared::shell::shell;
use Of::{Them, Us};

/// A plugin in a list: who made it, its type, its keys.
type Member = (Of, &'static str, Value);

fn bridge(of: Of) -> Member {
    let keys = json!({
        "bridge": "br0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}
    });
    (of, "bridge", keys)
}

fn firewall() -> Member {
    (Them, "firewall", json!({"backend": "iptables"}))
}

/// It changes what the bridge has set up, and reports that in its result.
fn tuning() -> Member {
    (Them, "tuning", json!({"sysctl": {"net.core.somaxconn": "500"}, "mac": MAC, "mtu": 1400}))
}

fn ports(of: Of, plugin: &'static str) -> Member {
    (of, plugin, json!({"capabilities": {"portMappings": true}}))
}

fn names() -> Member {
    (Us, "link-env", json!({"endpoint": {"name": "web", "expose": ["80/tcp"]}}))
}

fn install(members: &[Member]) {
    for folder in [PLUGINS, NETWORKS] {
        let _ = fs::remove_dir_all(folder);
        fs::create_dir(folder).unwrap();
    }
    let provide = |of: Of, plugin: &str| {
        let source = match of {
            Us => folder().join(plugin),
            Them => Path::new(REFERENCE).join(plugin),
        };
        symlink(source, Path::new(PLUGINS).join(plugin)).unwrap();
    };
    let plugins: Vec<Value> = members
        .iter()
        .map(|(of, plugin, keys)| {
            provide(*of, plugin);
            let mut conf = keys.clone();
            conf["type"] = json!(plugin);
            conf
        })
        .collect();
    // Each bridge delegates to the host-local of its own suite.
    provide(members[0].0, "host-local");
    let list = json!({"cniVersion": "1.0.0", "name": "mixed", "plugins": plugins});
    fs::write(format!("{NETWORKS}/mixed.conflist"), list.to_string()).unwrap();
}

/// What a verb that fails writes to standard error; `None` where it succeeds.
fn cleat(verb: &str, netns: &Namespaced) -> Option<String> {
    let mut command = Command::new(CLEAT);
    command.args([verb, "mixed", netns.path().to_str().unwrap()]);
    command.env("CNI_PATH", PLUGINS).env("NETCONFPATH", NETWORKS);
    command.env("CAP_ARGS", r#"{"portMappings":[{"hostPort":8080,"containerPort":80,"protocol":"tcp"}]}"#);
    let output = command.output().unwrap();
    (!output.status.success()).then(|| String::from_utf8(output.stderr).unwrap())
}

/// What is left of the container. The reference's bridge and the chains that its containers share stay, and do not count.
fn left() -> Vec<String> {
    let of_container = |line: &&str| {
        ["cleat", "link \"veth", "10.1.0.2/", "10.1.0.2\"", "mixed", "CNI-DN-"]
            .iter()
            .any(|word| line.contains(word))
            && !line.contains(NETWORKS)
            && !line.contains(PLUGINS)
    };
    let snapshot = Snapshot::take();
    let rules = saved("nft");
    snapshot.lines().chain(rules.iter().map(String::as_str)).filter(of_container).map(str::to_owned).collect()
}

fn works(members: &[Member]) {
    let host = Host::new();
    serve_tcp(Some(&host.outside), "outside", "0.0.0.0:80");
    install(members);
    let has = |plugin: &str| members.iter().any(|(_, member, _)| *member == plugin);
    // Twice: nothing that the first round leaves may break the second.
    for _ in 0..2 {
        let netns = Namespaced::new("web");
        assert_eq!(cleat("add", &netns), None);
        serve_tcp(Some(&netns), "web", "0.0.0.0:80");
        let answer = ask_tcp(Some(&netns), &format!("{OUTSIDE_V4}:80")).unwrap();
        assert_eq!(answer, format!("outside sees {UPLINK_V4}"));
        if has("host-port") || has("portmap") {
            let answer = ask_tcp(Some(&host.outside), &format!("{UPLINK_V4}:8080")).unwrap();
            assert_eq!(answer, "web sees 192.0.2.2");
        }
        if has("tuning") {
            netns.enter(|| {
                shell(&format!(
                    "ip link show eth0 | grep -q {MAC} && ip link show eth0 | grep -q 'mtu 1400'"
                ));
                shell("test $(cat /proc/sys/net/core/somaxconn) = 500");
            });
        }
        if has("link-env") {
            shell("grep -q '^10.1.0.2[[:space:]].*web' /run/cleat/containers/*/hosts");
        }
        match cleat("check", &netns) {
            // The reference's portmap 1.1.1 looks for rules of both families, whatever addresses there are. The plugins
            // before it in the list have passed.
            Some(said) => assert!(said.contains("plugin \"portmap\": could not check ipv6 dnat"), "{said}"),
            None => assert!(!has("portmap")),
        }
        for _ in 0..2 {
            assert_eq!(cleat("del", &netns), None);
        }
        drop(netns);
        assert_eq!(left(), Vec::<String>::new());
        fs::remove_dir_all("/var/lib/cni").unwrap();
    }
}

#[test]
fn host_port_and_link_env_behind_the_references_firewall_and_tuning() {
    isolated(|| works(&[bridge(Us), firewall(), tuning(), ports(Us, "host-port"), names()]));
}

/// The order in podman's own lists.
#[test]
fn the_references_firewall_and_tuning_behind_host_port_and_link_env() {
    isolated(|| works(&[bridge(Us), ports(Us, "host-port"), names(), firewall(), tuning()]));
}

#[test]
fn the_bridge_before_plugins_of_the_reference_only() {
    isolated(|| works(&[bridge(Us), ports(Them, "portmap"), firewall(), tuning()]));
}

#[test]
fn the_references_bridge_before_host_port_and_link_env() {
    isolated(|| works(&[bridge(Them), ports(Us, "host-port"), names()]));
}

#[test]
fn the_references_bridge_and_tuning_around_link_env() {
    isolated(|| works(&[bridge(Them), names(), firewall(), ports(Us, "host-port"), tuning()]));
}

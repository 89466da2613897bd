//! A node's links, as a shell script that makes them again with ip(8): bridges, containers' interfaces, addresses, routes, and
//! settings of the kernel.

use std::fs;
use std::path::Path;
use std::process::Command;

use sandbox::Namespaced;
use serde_json::Value;

/// The settings of a bridge that the programs change.
const BRIDGE: [&str; 2] = ["nf_call_iptables", "nf_call_ip6tables"];
/// The settings of a bridge port that the programs change.
const SLAVE: [&str; 5] = ["hairpin", "isolated", "learning", "neigh_suppress", "flood"];
/// The settings of the host that the programs change.
const HOST: [&str; 2] = ["ipv4/ip_forward", "ipv6/conf/all/forwarding"];
/// Files in a link's sysctl folder that the script leaves out. The MTU is set when the link is made.
const OTHERS: [&str; 2] = ["mtu", "stable_secret"];

/// The lines that make everything except the sandbox's own links and routes.
pub(super) fn script(containers: &[&Namespaced]) -> Vec<String> {
    let setting = |name: &&str| format!("echo {} >/proc/sys/net/{name}", value(name));
    let mut lines: Vec<String> = HOST.iter().map(setting).collect();
    let host = links(None);
    let of_kind = |kind: &'static str| {
        host.iter().filter(move |link| link["linkinfo"]["info_kind"] == kind && link["ifname"] != "uplink")
    };
    for bridge in of_kind("bridge") {
        let kind = settings(&bridge["linkinfo"]["info_data"], &BRIDGE);
        lines.push(format!("ip link add {} type bridge{kind}", new(bridge)));
        finish(None, bridge, &mut lines);
    }
    for port in of_kind("veth") {
        let is_peer = |(_, inner): &(&Namespaced, Value)| inner["link_index"] == port["ifindex"];
        let inner = containers.iter().map(|netns| (*netns, links(Some(netns.name()))));
        let inner = inner.flat_map(|(netns, all)| all.into_iter().map(move |link| (netns, link)));
        let Some((netns, inner)) = inner.into_iter().find(is_peer) else { panic!("no peer of {port}") };
        let name = netns.name();
        lines.push(format!("ip link add {} type veth peer {} netns {name}", new(port), new(&inner)));
        let slave = settings(&port["linkinfo"]["info_slave_data"], &SLAVE);
        lines.push(format!("ip link set {} master {}", text(port, "ifname"), text(port, "master")));
        lines.push(format!("ip link set {} type bridge_slave{slave}", text(port, "ifname")));
        netns.enter(|| finish(Some(name), &inner, &mut lines));
        finish(None, port, &mut lines);
        for family in ["-4", "-6"] {
            lines.extend(routes(Some(name), family, "main"));
        }
    }
    lines.extend(routes(None, "-6", "local").into_iter().chain(routes(None, "-4", "local")));
    lines
}

/// Adds the lines for a link's settings and addresses, and the one that sets it up. The calling thread is in its namespace.
fn finish(netns: Option<&str>, link: &Value, lines: &mut Vec<String>) {
    let (name, ip) = (text(link, "ifname"), ip(netns));
    if let Some(alias) = link["ifalias"].as_str() {
        lines.push(format!("{ip} link set {name} alias '{alias}'"));
    }
    let shell = netns.map_or_else(String::new, |netns| format!("ip netns exec {netns} "));
    for family in ["ipv4", "ipv6"] {
        let of = |link: &str| format!("{family}/conf/{link}");
        let Ok(all) = fs::read_dir(Path::new("/proc/sys/net").join(of(name))) else { continue };
        let mut names: Vec<String> =
            all.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        for setting in names.iter().filter(|setting| !OTHERS.contains(&setting.as_str())) {
            let [own, usual] = [of(name), of("default")].map(|folder| value(&format!("{folder}/{setting}")));
            if own != usual {
                lines.push(format!("{shell}sh -c 'echo {own} >/proc/sys/net/{}/{setting}'", of(name)));
            }
        }
    }
    lines.push(format!("{ip} link set {name} up"));
    for address in link["addr_info"].as_array().unwrap().iter().filter(|one| one["scope"] == "global") {
        let broadcast = address["broadcast"].as_str().map(|to| format!(" brd {to}")).unwrap_or_default();
        let nodad = if address["family"] == "inet6" { " nodad" } else { "" };
        let own = format!("{}/{}", text(address, "local"), address["prefixlen"]);
        lines.push(format!("{ip} addr add {own}{broadcast} dev {name}{nodad}"));
    }
}

/// Routes that the kernel did not make itself.
fn routes(netns: Option<&str>, family: &str, table: &str) -> Vec<String> {
    let listed = listed(&format!("{} {family} route show table {table}", ip(netns)));
    let is_made = |line: &&str| !line.contains("proto kernel") && !line.contains("dev uplink");
    let made = listed.lines().filter(is_made);
    made.map(|line| format!("{} {family} route add {} table {table}", ip(netns), line.trim())).collect()
}

/// `NAME address MAC mtu MTU`.
fn new(link: &Value) -> String {
    format!("{} address {} mtu {}", text(link, "ifname"), text(link, "address"), link["mtu"])
}

fn settings(of: &Value, names: &[&str]) -> String {
    let known = names.iter().filter(|name| !of[**name].is_null());
    let word = |value: &Value| match value {
        Value::Bool(is_on) => if *is_on { "on" } else { "off" }.to_owned(),
        number => number.to_string(),
    };
    known.flat_map(|name| [" ".to_owned(), (*name).to_owned(), " ".to_owned(), word(&of[*name])]).collect()
}

fn text<'a>(of: &'a Value, key: &str) -> &'a str {
    of[key].as_str().unwrap_or_else(|| panic!("no {key} in {of}"))
}

fn value(setting: &str) -> String {
    fs::read_to_string(format!("/proc/sys/net/{setting}")).unwrap_or_default().trim().to_owned()
}

fn ip(netns: Option<&str>) -> String {
    netns.map_or_else(|| "ip".to_owned(), |netns| format!("ip -n {netns}"))
}

fn links(netns: Option<&str>) -> Vec<Value> {
    // Each of the two commands shows fields that the other one lacks.
    let [mut links, addresses] = ["-d link", "addr"].map(|what| {
        let text = listed(&format!("{} -j {what}", ip(netns)));
        serde_json::from_str::<Vec<Value>>(&text).unwrap()
    });
    for link in &mut links {
        let own = addresses.iter().find(|one| one["ifindex"] == link["ifindex"]).unwrap();
        link["addr_info"] = own["addr_info"].clone();
    }
    links
}

fn listed(line: &str) -> String {
    let output = Command::new("sh").args(["-c", line]).output().unwrap();
    assert!(output.status.success(), "{line}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

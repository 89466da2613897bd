//! The network that is shipped for containers of tenants who do not trust each other.

use std::net::{Ipv4Addr, UdpSocket};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use netlink::Socket;
use sandbox::traffic::{ask_tcp, serve_tcp};
use sandbox::{Host, Namespaced, Snapshot, UPLINK_V4, isolated};
use serde_json::json;

use super::false_router::{follow, set};
use super::flood::{flood, learned};
use super::frames::{ETH_P_ARP, ETH_P_IP, ETH_P_IPV6, arp, frame, udp};
use super::{EVERYBODY, LOCKED, Member, PORT, neighbour, written};
use crate::shared::cleat::{cleat, install_networks, succeed};
use crate::shared::shell::shell;

const TENANTS: &str = "cleat-tenants";

/// `cleat` for a member of the shipped network.
fn on_tenants(verb: &str, netns: &Namespaced, says: &str) -> String {
    let path = netns.path().to_str().unwrap();
    let mut command = cleat(&[verb, TENANTS, path, "--id", netns.name()]);
    let ports = json!([{"hostPort": 8080, "containerPort": 80}]);
    let ports = if netns.name() == "db" { ports } else { json!([]) };
    command.env("CAP_ARGS", json!({ "portMappings": ports }).to_string());
    command.env("CNI_ARGS", format!("LINK_NAME={}{says}", netns.name()));
    succeed(&mut command)
}

fn tenant(name: &str, says: &str) -> Member {
    let netns = Namespaced::new(name);
    let result = serde_json::from_str(&on_tenants("add", &netns, says)).unwrap();
    Member::of(netns, result)
}

/// Whether a member's datagram reaches the host's 127.0.0.1.
fn reaches_localhost(evil: &Member) -> bool {
    let listener = UdpSocket::bind(("127.0.0.1", PORT)).unwrap();
    listener.set_read_timeout(Some(Duration::from_millis(400))).unwrap();
    let bridge = Socket::open().unwrap().get_link("cleat4").unwrap().unwrap().mac.unwrap().octets();
    for from in [evil.v4, Ipv4Addr::new(127, 0, 0, 2)] {
        let datagram = udp(from.into(), Ipv4Addr::LOCALHOST.into());
        evil.send(&frame(bridge, evil.mac, ETH_P_IP, &datagram));
    }
    listener.recv(&mut [0; 9]).is_ok()
}

/// The link, the published port and the outside are reached; no other port of a member is.
fn tenants_are_served(host: &Host, [db, app, evil]: [&Member; 3]) {
    let linked = format!("{}:5432", db.v4);
    let published = format!("{UPLINK_V4}:8080");
    assert!(ask_tcp(Some(&app.netns), &linked).is_ok());
    for (place, address) in [
        (Some(&host.outside), &published),
        (Some(&app.netns), &published),
        (Some(&evil.netns), &published),
        (None, &published),
        (None, &"127.0.0.1:8080".to_owned()),
        (Some(&evil.netns), &"192.0.2.2:80".to_owned()),
    ] {
        assert!(ask_tcp(place, address).is_ok(), "{place:?} {address}");
    }
    for (place, address) in [
        (&evil.netns, linked),
        (&evil.netns, format!("{}:80", db.v4)),
        (&app.netns, format!("{}:81", db.v4)),
        (&db.netns, format!("{}:5432", app.v4)),
    ] {
        assert!(ask_tcp(Some(place), &address).is_err(), "{place:?} {address}");
    }
}

/// No attack of `evil` succeeds.
fn tenants_are_safe([db, app, evil]: [&Member; 3]) {
    // From its own address and from that of `app`, which has the link, with either hardware address.
    for (mac, from) in [(evil.mac, evil.v4), (evil.mac, app.v4), (app.mac, app.v4), (app.mac, evil.v4)] {
        let datagram = udp(from.into(), db.v4.into());
        assert!(!db.gets(evil, &frame(db.mac, mac, ETH_P_IP, &datagram)), "{from}");
    }
    let link_local = udp(evil.link_local().into(), db.link_local().into());
    assert!(!db.gets(evil, &frame(db.mac, evil.mac, ETH_P_IPV6, &link_local)));
    // Neither the other members nor the host accept its claim to an address of theirs.
    let gateway: Ipv4Addr = "10.95.0.1".parse().unwrap();
    sleep(LOCKED);
    for claimed in [app.v4, gateway] {
        for operation in [1, 2] {
            let claim = arp(operation, (evil.mac, claimed), claimed);
            evil.send(&frame(EVERYBODY, evil.mac, ETH_P_ARP, &claim));
        }
    }
    sleep(Duration::from_millis(100));
    for claimed in [app.v4, gateway] {
        assert_ne!(neighbour(db, claimed.into()), written(evil.mac));
    }
    let known = Command::new("ip").args(["neigh", "show", &app.v4.to_string()]).output().unwrap();
    assert!(!String::from_utf8_lossy(&known.stdout).contains(&written(evil.mac)));
    assert_eq!(follow(&evil.netns, &db.netns), (false, false));
    flood(&evil.netns);
    assert!(learned("cleat4") <= 3, "{}", learned("cleat4"));
    assert!(!reaches_localhost(evil));
}

#[test]
fn the_network_for_tenants_withstands_one_of_them() {
    isolated(|| {
        let host = Host::new();
        install_networks();
        set("all/forwarding", "0");
        set("default/accept_ra", "1");
        let before = Snapshot::take();
        let db = tenant("db", ";LINK_EXPOSE=5432");
        let app = tenant("app", ";LINK_LINKS=db:db");
        let evil = tenant("evil", "");
        for port in [80, 81, 5432] {
            serve_tcp(Some(&db.netns), "db", &format!("0.0.0.0:{port}"));
        }
        serve_tcp(Some(&app.netns), "app", "0.0.0.0:5432");
        serve_tcp(Some(&host.outside), "outside", "0.0.0.0:80");
        let all = [&db, &app, &evil];
        tenants_are_served(&host, all);
        tenants_are_safe(all);
        succeed(&mut cleat(&["conf", "check", "--files-only"]));
        succeed(&mut cleat(&["check"]));
        // Another program flushes all rules: protection without rules holds, `check` reports the rest, and `repair` restores it.
        shell("nft flush ruleset");
        assert!(!reaches_localhost(&evil));
        assert_eq!(follow(&evil.netns, &db.netns), (false, false));
        let told = cleat(&["check"]).output().unwrap();
        assert!(!told.status.success(), "{told:?}");
        succeed(&mut cleat(&["repair"]));
        succeed(&mut cleat(&["check"]));
        tenants_are_served(&host, all);
        tenants_are_safe(all);
        for member in all {
            on_tenants("del", &member.netns, "");
        }
        drop((db, app, evil));
        before.assert_unchanged();
    });
}

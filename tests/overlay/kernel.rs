//! What others do to the device, its entries and the underlay: it is mended, and the MTU follows.

use std::time::Duration;

use sandbox::isolated;

use crate::cluster::{BOTH, Cluster, until_reached};
use crate::host::until;
use crate::ping::{none_is_lost, reaches};

#[test]
fn what_others_break_is_mended() {
    isolated(|| {
        let cluster = Cluster::new(BOTH);
        let [one, two, three] = cluster.containers();
        let (first, ping) = (&cluster.hosts[0], two.pings(&three));
        let device = first.run_file().unwrap()["device"].as_str().unwrap().to_owned();
        let before = first.kernel();
        for damage in [
            "ip link del DEV",
            "ip link set DEV down",
            "ip link set DEV address 02:11:22:33:44:55",
            "ip link set DEV mtu 1300",
            "ip route flush proto 76",
            "ip -6 route flush proto 76",
            "ip neigh flush dev DEV nud permanent; ip -6 neigh flush dev DEV nud permanent",
            "ip addr flush dev DEV",
            "bridge fdb show dev DEV | while read mac rest; do bridge fdb del $mac dev DEV dst ${rest#*dst } 2>/dev/null || bridge fdb del $mac dev DEV; done",
        ] {
            first.sh(&damage.replace("DEV", &device));
            until(damage, || first.kernel() == before);
            // The firewall of the network is its own; that of the containers is the plugins'.
            let took = until_reached(&one, &two);
            println!("{damage}: {took:?}");
        }
        // Of the firewall no event tells: it is compared once a minute, and when somebody asks.
        first.sh("nft flush ruleset");
        first.ask("POST", "/networks/wide/sync").unwrap();
        until("the firewall is there again", || first.kernel() == before);
        assert!(first.health()["repairs"].as_u64().unwrap() >= 8, "{}", first.health());
        none_is_lost([ping]);
        // What is somebody else's is left alone.
        first.sh(&format!("ip route add 10.201.77.0/24 dev {device} proto static; bridge fdb append 02:77:00:00:00:01 dev {device} dst 198.51.100.77"));
        first.ask("POST", "/networks/wide/sync").unwrap();
        std::thread::sleep(Duration::from_millis(500));
        assert!(first.sh("ip route").contains("10.201.77.0/24"));
    });
}

#[test]
fn the_mtu_follows_the_underlay() {
    isolated(|| {
        let cluster = Cluster::new(BOTH);
        let [one, two, _] = cluster.containers();
        let ping = one.pings(&two);
        let first = &cluster.hosts[0];
        let device = first.run_file().unwrap()["device"].as_str().unwrap().to_owned();
        for (underlay, mtu) in [(1400, 1350), (1500, 1450)] {
            first.sh(&format!("ip link set eth0 mtu {underlay}"));
            until("the device follows", || {
                first.sh(&format!("ip link show {device}")).contains(&format!("mtu {mtu} "))
            });
            until("the file follows", || first.run_file().is_some_and(|file| file["mtu"] == mtu));
            until("the record follows", || cluster.get("nodes/host1").unwrap()["mtu"] == mtu);
        }
        // Too small for IPv6: it is told, and what runs goes on as far as it can.
        first.sh("ip link set eth0 mtu 1300");
        first.says("what is wrong", |health| {
            health["reason"].as_str().is_some_and(|reason| reason.contains("1280"))
        });
        first.sh("ip link set eth0 mtu 1500");
        first.is("watching");
        until("the file is back", || first.run_file().is_some_and(|file| file["mtu"] == 1450));
        none_is_lost([ping]);
    });
}

#[test]
fn the_underlay_goes_down_and_comes_back() {
    isolated(|| {
        let cluster = Cluster::new(BOTH);
        let [one, two, _] = cluster.containers();
        let first = &cluster.hosts[0];
        first.sh("ip link set eth0 down");
        until("nothing gets through", || !reaches(&one.netns, &two.at(7)[0]));
        first.sh("ip link set eth0 up; ip addr replace 2001:db8:51::1/64 dev eth0 nodad; ip route replace default via 198.51.100.9");
        until_reached(&one, &two);
        until("the engine is back", || first.health()["engine"]["up"] == true);
        first.is("watching");
        first.has_peers(2);
    });
}

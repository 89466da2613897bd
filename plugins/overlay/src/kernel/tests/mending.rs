use super::*;

/// Undoes things one by one.
async fn each_is_mended(kernel: &mut Kernel, wanted: &Wanted, changes: &[&str]) {
    apply(kernel, wanted).await;
    let before = state("vx1");
    is_quiet(kernel, wanted).await;
    for change in changes {
        shell(change);
        assert_ne!(state("vx1"), before, "{change}");
        is_told(kernel, wanted, Event::Entries, change).await;
        let applied = apply(kernel, wanted).await;
        assert!(applied.made + applied.removed > 0, "{change}");
        assert_eq!(state("vx1"), before, "{change}");
        is_settled(kernel, wanted).await;
        // A neighbour that goes is told of twice, the second time after it was put back.
        drain(kernel, wanted).await;
    }
}

#[test]
fn each_entry_that_others_remove_is_put_back() {
    on_a_node(async |kernel| {
        let wanted = wanted(2);
        each_is_mended(
            kernel,
            &wanted,
            &[
                "bridge fdb del 02:00:00:00:00:02 dev vx1 dst 198.51.100.2",
                "ip neigh del 10.128.2.0 dev vx1",
                "ip neigh del fd00:201:2:: dev vx1",
                "ip route del 10.128.3.0/24",
                "ip -6 route del fd00:201:3::/48",
                "ip route del blackhole 10.128.0.0/9 metric 4294967295",
                "ip -6 route del blackhole fd00:201::/32 metric 4294967295",
                "ip addr del 10.128.1.0/32 dev vx1",
                "ip addr del fd00:201:1::/128 dev vx1",
            ],
        )
        .await;
    });
}

#[test]
fn each_entry_that_others_change_is_mended() {
    on_a_node(async |kernel| {
        let wanted = wanted(2);
        each_is_mended(
            kernel,
            &wanted,
            &[
                "bridge fdb replace 02:00:00:00:00:02 dev vx1 dst 198.51.100.99",
                "bridge fdb replace 02:00:00:00:00:02 dev vx1 dst 198.51.100.2 port 9999",
                "ip neigh replace 10.128.2.0 lladdr 02:00:00:00:00:77 dev vx1 nud permanent",
                "ip neigh replace fd00:201:2:: lladdr 02:00:00:00:00:77 dev vx1 nud permanent",
                "ip neigh replace 10.128.2.0 lladdr 02:00:00:00:00:02 dev vx1 nud stale",
                "ip route change 10.128.3.0/24 via 10.128.3.0 dev vx1 onlink mtu 1000 proto 76",
                "ip -6 route change fd00:201:3::/48 via fd00:201:3:: dev vx1 onlink mtu 1300 proto 76",
            ],
        )
        .await;
    });
}

#[test]
fn stale_entries_go() {
    on_a_node(async |kernel| {
        let wanted = wanted(2);
        each_is_mended(
            kernel,
            &wanted,
            &[
                "bridge fdb add 02:00:00:00:00:55 dev vx1 dst 198.51.100.55",
                "bridge fdb append 00:00:00:00:00:00 dev vx1 dst 198.51.100.55; bridge fdb append 00:00:00:00:00:00 dev vx1 dst 198.51.100.56",
                "ip neigh add 10.128.55.0 lladdr 02:00:00:00:00:55 dev vx1 nud permanent",
                "ip route add 10.128.55.0/24 via 10.128.55.0 dev vx1 onlink proto 76",
                "ip -6 route add fd00:201:55::/48 via fd00:201:55:: dev vx1 onlink proto 76",
                "ip route add 10.128.55.0/24 via 10.128.55.0 dev vx1 onlink proto 76 table 1000; ip route add 10.128.56.0/24 dev vx1 proto 76",
                "ip route add blackhole 10.128.0.0/16 proto 76",
                "ip addr add 10.128.55.0/32 dev vx1",
            ],
        )
        .await;
        let all = shell("ip route show table all proto 76");
        assert!(!all.contains("10.128.55.0"), "{all}");
    });
}

#[test]
fn what_others_made_stays() {
    on_a_node(async |kernel| {
        let wanted = wanted(2);
        apply(kernel, &wanted).await;
        shell(
            "ip route add 172.20.0.0/16 dev vx1
             ip route add 172.21.0.0/16 dev eth0 proto 76
             ip route add blackhole 10.64.0.0/16 metric 4294967295 proto 76
             ip route add blackhole 10.129.0.0/16
             ip route add 10.130.0.0/24 via 198.51.100.2 dev eth0
             ip addr add 172.22.0.1/24 dev vx1
             ip neigh add 198.51.100.9 lladdr 02:00:00:00:00:09 dev eth0 nud permanent
             ip link add br0 type bridge; ip link set br0 up; ip link add p0 type veth peer name p1; ip link set p0 master br0
             bridge fdb add 02:00:00:00:00:08 dev p0 master static",
        );
        is_settled(kernel, &wanted).await;
        is_quiet(kernel, &wanted).await;
    });
}

#[test]
fn a_route_of_others_in_the_way_is_named_and_kept() {
    on_a_node(async |kernel| {
        shell(
            "ip route add 10.128.2.0/24 via 198.51.100.7 dev eth0; ip -6 route add blackhole fd00:201::/32 metric 4294967295",
        );
        let applied = kernel.apply(&wanted(2)).await.unwrap();
        let mut said: Vec<String> =
            applied.refused.iter().map(|(name, error)| format!("{name}: {error}")).collect();
        said.sort();
        assert!(said[0].starts_with("fd00:201::/32: blackhole fd00:201::/32 is in the way"), "{said:?}");
        assert!(said[1].starts_with("node00002: 10.128.2.0/24 dev eth0 is in the way"), "{said:?}");
        assert_eq!(said.len(), 2);
        assert!(
            kernel
                .put_peer(&wanted(2).device, &peer(2), None)
                .await
                .unwrap_err()
                .to_string()
                .contains("in the way")
        );
        assert!(shell("ip route show 10.128.2.0/24").contains("via 198.51.100.7 dev eth0"));
        assert_eq!(json("ip -j route show 10.128.3.0/24").len(), 1);
        drain(kernel, &wanted(2)).await;
        shell("ip route del 10.128.2.0/24; ip -6 route del blackhole fd00:201::/32");
        assert_eq!(event(kernel, &wanted(2)).await, Event::Entries);
        apply(kernel, &wanted(2)).await;
        drain(kernel, &wanted(2)).await;
        shell("ip route replace 10.128.2.0/24 via 198.51.100.7 dev eth0");
        assert_eq!(event(kernel, &wanted(2)).await, Event::Entries);
        assert_eq!(kernel.apply(&wanted(2)).await.unwrap().refused.len(), 1);
    });
}

#[test]
fn the_second_time_nothing_is_written() {
    on_a_node(async |kernel| {
        let wanted = over_v6(wanted(20));
        apply(kernel, &wanted).await;
        let mut monitor =
            Command::new("ip").args(["monitor", "all"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        for _ in 0..3 {
            is_settled(kernel, &wanted).await;
        }
        // That it hears anything at all.
        shell("ip link add d0 type bridge");
        tokio::time::sleep(Duration::from_millis(200)).await;
        monitor.kill().unwrap();
        let said = String::from_utf8(monitor.wait_with_output().unwrap().stdout).unwrap();
        assert!(said.contains("d0") && !said.contains("vx1") && !said.contains("blackhole"), "{said}");
    });
}

#[test]
fn two_networks_leave_each_other_alone() {
    on_a_node(async |kernel| {
        let (one, mut two) = (wanted(2), wanted(0));
        (two.device.name, two.device.vni, two.device.mac) = ("vx2".to_owned(), 4712, mac(100));
        two.prefixes = vec!["10.64.0.0/16".parse().unwrap()];
        two.device.blocks = vec!["10.64.1.0/24".parse().unwrap()];
        let mut other = peer(2);
        other.blocks = vec!["10.64.2.0/24".parse().unwrap()];
        two.peers.insert("node00002".to_owned(), other);
        let mut second = Kernel::open().unwrap();
        second.underlay(Some("eth0"), None).await.unwrap();
        apply(kernel, &one).await;
        apply(&second, &two).await;
        is_settled(kernel, &one).await;
        is_settled(&second, &two).await;
        is_quiet(kernel, &one).await;
        is_quiet(&mut second, &two).await;
        let before =
            state("vx2").into_iter().filter(|line| !line.contains("10.128") && !line.contains("fd00"));
        let before: Vec<String> = before.collect();
        kernel.remove("vx1", &one.prefixes, None).await.unwrap();
        is_quiet(&mut second, &two).await;
        assert_eq!(state("vx2"), before);
    });
}

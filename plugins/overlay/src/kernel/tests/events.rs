use super::*;

#[test]
fn a_device_that_others_change_is_an_event() {
    on_a_node(async |kernel| {
        let wanted = wanted(2);
        apply(kernel, &wanted).await;
        is_quiet(kernel, &wanted).await;
        for change in [
            "ip link del vx1",
            "ip link set vx1 down",
            "ip link set vx1 address 02:00:00:00:00:99",
            "ip link set vx1 mtu 1400",
            "ip link set vx1 down; ip link set vx1 name vx2",
        ] {
            shell(change);
            // Entries that go with the device may be told first.
            is_told(kernel, &wanted, Event::Device, change).await;
            if change.ends_with("vx2") {
                shell("ip link del vx2");
            }
            apply(kernel, &wanted).await;
            // What is still to be told of the change leads to no work, and then there is quiet.
            while tokio::time::timeout(
                Duration::from_millis(300),
                kernel.event("vx1", wanted.device.underlay),
            )
            .await
            .is_ok()
            {
                is_settled(kernel, &wanted).await;
            }
        }
    });
}

#[test]
fn a_change_of_the_underlay_is_an_event() {
    on_a_node(async |kernel| {
        let wanted = wanted(2);
        apply(kernel, &wanted).await;
        shell("ip addr add 2001:db8:51::77/64 dev eth0 nodad valid_lft 1000 preferred_lft 1000");
        kernel.underlay(Some("eth0"), None).await.unwrap();
        for change in [
            "ip link set eth0 mtu 1400",
            "ip addr add 203.0.113.2/24 dev eth0",
            "ip addr del 203.0.113.2/24 dev eth0",
            "ip addr change 2001:db8:51::77/64 dev eth0 nodad valid_lft 1000 preferred_lft 0",
            "ip route add default via 198.51.100.9",
            "ip route del default",
            "ip link del eth0",
        ] {
            while tokio::time::timeout(
                Duration::from_millis(200),
                kernel.event("vx1", wanted.device.underlay),
            )
            .await
            .is_ok()
            {}
            shell(change);
            is_told(kernel, &wanted, Event::Underlay, change).await;
        }
        // It comes back as another interface.
        drain(kernel, &wanted).await;
        shell("ip link add eth0 type veth peer name wire; ip addr add 198.51.100.1/24 dev eth0");
        assert_eq!(event(kernel, &wanted).await, Event::Underlay);
    });
}

#[test]
fn what_does_not_concern_the_network_is_no_event() {
    on_a_node(async |kernel| {
        let wanted = wanted(2);
        apply(kernel, &wanted).await;
        is_quiet(kernel, &wanted).await;
        shell(
            "ip link add br0 type bridge; ip addr add 10.128.1.1/24 dev br0; ip link set br0 up
             ip netns add c1; ip link add c1 type veth peer name eth0 netns c1; ip link set c1 master br0 up
             ip -n c1 link set eth0 up; ip -n c1 addr add 10.128.1.2/24 dev eth0; ip -n c1 route add default via 10.128.1.1
             ip neigh add 10.128.1.2 lladdr 02:00:00:00:00:44 dev br0 nud permanent
             ip addr change 2001:db8:51::1/64 dev eth0 nodad valid_lft 5000 preferred_lft 5000
             ip link set eth0 master br0; ip link set eth0 nomaster
             ip link del c1; ip netns del c1; ip link del br0",
        );
        is_quiet(kernel, &wanted).await;
    });
}

#[test]
fn own_changes_are_no_events() {
    on_a_node(async |kernel| {
        let mut all = wanted(3);
        apply(kernel, &all).await;
        is_quiet(kernel, &all).await;
        let (old, mut new) = (peer(2), peer(2));
        (new.address, new.identity) = ([198, 51, 100, 20].into(), Identity::Mac(mac(20)));
        kernel.put_peer(&all.device, &new, Some(&old)).await.unwrap();
        kernel.put_peer(&all.device, &peer(9), None).await.unwrap();
        kernel.remove_peer(&all.device, &peer(3)).await.unwrap();
        is_quiet(kernel, &all).await;
        all.peers.clear();
        apply(kernel, &all).await;
        is_quiet(kernel, &all).await;
    });
}

#[test]
fn more_than_the_socket_holds_is_told() {
    on_a_node(async |kernel| {
        let wanted = wanted(2);
        apply(kernel, &wanted).await;
        is_quiet(kernel, &wanted).await;
        shell(
            r#"seq 0 4999 | awk '{printf "route add 172.%d.%d.0/24 dev eth0\n", 16 + $1 / 250, $1 % 250}' | ip -batch -"#,
        );
        assert_eq!(event(kernel, &wanted).await, Event::Missed);
        is_settled(kernel, &wanted).await;
        is_quiet(kernel, &wanted).await;
    });
}

#[test]
fn an_event_is_not_lost_where_waiting_is_given_up() {
    on_a_node(async |kernel| {
        let wanted = wanted(1);
        apply(kernel, &wanted).await;
        is_quiet(kernel, &wanted).await;
        for (change, expected) in
            [("ip neigh del 10.128.2.0 dev vx1", Event::Entries), ("ip link set vx1 mtu 1400", Event::Device)]
        {
            shell(change);
            let (mut told, mut tries) = (None, 0);
            while told != Some(expected) {
                assert!(tries < 1000, "{change}: {told:?}");
                let waiting = kernel.event("vx1", wanted.device.underlay);
                told = tokio::time::timeout(Duration::from_micros(500), waiting).await.ok();
                tries += 1;
            }
        }
    });
}

/// Packets that begin or end change neighbours all the time: the agent is not to wake up for them.
#[test]
fn neighbours_at_other_interfaces_are_not_even_received() {
    on_a_node(async |kernel| {
        const QUIET: Duration = Duration::from_millis(300);
        let wanted = wanted(2);
        apply(kernel, &wanted).await;
        while tokio::time::timeout(QUIET, kernel.events.next()).await.is_ok() {}
        let change = |device: &str| {
            shell(&format!(
                "ip neigh add 198.51.100.77 lladdr 02:00:00:00:00:77 dev {device}; ip neigh del 198.51.100.77 dev {device}"
            ));
        };
        change("eth0");
        let received = tokio::time::timeout(QUIET, kernel.events.next()).await;
        assert!(received.is_err(), "{received:?}");
        change("vx1");
        assert!(tokio::time::timeout(QUIET, kernel.events.next()).await.is_ok());
    });
}

use super::*;
use crate::kernel::Error;

#[test]
fn a_device_is_made_as_it_is_wanted() {
    on_a_node(async |kernel| {
        let wanted = wanted(2);
        apply(kernel, &wanted).await;
        let link = &json("ip -j -d link show vx1")[0];
        assert_eq!(link["mtu"], 1450);
        assert_eq!(link["address"], "02:00:00:00:00:01");
        assert_eq!(link["inet6_addr_gen_mode"], "none");
        assert!(link["flags"].as_array().unwrap().contains(&"UP".into()), "{link}");
        let data = &link["linkinfo"]["info_data"];
        assert_eq!(data["id"], 4711);
        assert_eq!(data["port"], 4789);
        assert_eq!(data["local"], "198.51.100.1");
        assert_eq!(data["link"], "eth0");
        assert_eq!(data["learning"], false);
        let addresses = json("ip -j addr show dev vx1");
        let addresses: Vec<String> = addresses[0]["addr_info"]
            .as_array()
            .unwrap()
            .iter()
            .map(|info| format!("{}/{}", info["local"].as_str().unwrap(), info["prefixlen"]))
            .collect();
        assert_eq!(addresses, ["10.128.1.0/32", "fd00:201:1::/128"]);
        assert_eq!(json("ip -j -6 route show dev vx1 proto kernel").len(), 0);
        is_settled(kernel, &wanted).await;
    });
}

#[test]
fn entries_are_as_programs_show_them() {
    on_a_node(async |kernel| {
        apply(kernel, &wanted(1)).await;
        let fdb = &json("bridge -j fdb show dev vx1")[0];
        assert_eq!((&fdb["mac"], &fdb["dst"]), (&"02:00:00:00:00:02".into(), &"198.51.100.2".into()));
        assert_eq!(fdb["state"], "permanent");
        for (line, address) in [("ip -j", "10.128.2.0"), ("ip -j -6", "fd00:201:2::")] {
            let neighbour = &json(&format!("{line} neigh show dev vx1 nud permanent"))[0];
            assert_eq!(
                (&neighbour["dst"], &neighbour["lladdr"]),
                (&address.into(), &"02:00:00:00:00:02".into())
            );
            let route = &json(&format!("{line} route show dev vx1 proto 76"))[0];
            assert_eq!(route["gateway"], address);
            assert!(route["flags"].as_array().unwrap().contains(&"onlink".into()), "{route}");
        }
        for (line, prefix) in [("ip -j", "10.128.0.0/9"), ("ip -j -6", "fd00:201::/32")] {
            let route = &json(&format!("{line} route show type blackhole proto 76"))[0];
            assert_eq!((&route["dst"], &route["metric"]), (&prefix.into(), &4_294_967_295_u32.into()));
        }
    });
}

#[test]
fn a_device_that_others_changed_is_mended() {
    on_a_node(async |kernel| {
        let wanted = wanted(3);
        apply(kernel, &wanted).await;
        let before = state("vx1");
        for change in [
            "ip link del vx1",
            "ip link set vx1 down",
            "ip link set vx1 address 02:00:00:00:00:99",
            "ip link set vx1 mtu 1400",
            "ip link set vx1 type vxlan learning",
            "ip link set vx1 type vxlan local 198.51.100.77",
            "ip link set vx1 down; ip link set vx1 mtu 1300 address 02:00:00:00:00:98",
            // IPv6 is gone from a device with a smaller MTU, and so are its IPv6 addresses.
            "ip link set vx1 mtu 1200",
        ] {
            shell(change);
            assert_ne!(state("vx1 2>/dev/null || true; :"), before, "{change}");
            let applied = apply(kernel, &wanted).await;
            assert!(applied.made > 0, "{change}");
            assert_eq!(state("vx1"), before, "{change}");
            is_settled(kernel, &wanted).await;
        }
    });
}

#[test]
fn a_device_is_taken_over() {
    on_a_node(async |kernel| {
        let wanted = wanted(1);
        shell(
            "ip link add vx1 type vxlan id 4711 dstport 4789 local 198.51.100.1 dev eth0 nolearning
             ip link set vx1 up; ip -6 addr show dev vx1 | grep fe80
             bridge fdb append 02:00:00:00:00:02 dev vx1 dst 198.51.100.2",
        );
        let index = json("ip -j link show vx1")[0]["ifindex"].clone();
        apply(kernel, &wanted).await;
        assert_eq!(json("ip -j link show vx1")[0]["ifindex"], index);
        assert!(!state("vx1").concat().contains("fe80"));
        is_settled(kernel, &wanted).await;
    });
}

#[test]
fn an_own_device_of_another_family_or_vni_is_replaced() {
    on_a_node(async |kernel| {
        let first = wanted(2);
        apply(kernel, &first).await;
        let wanted = over_v6(first);
        apply(kernel, &wanted).await;
        let link = &json("ip -j -d link show vx1")[0];
        assert_eq!(link["linkinfo"]["info_data"]["local6"], "2001:db8:51::1");
        is_settled(kernel, &wanted).await;
        let mut wanted = wanted;
        wanted.device.vni = 4712;
        apply(kernel, &wanted).await;
        assert_eq!(json("ip -j -d link show vx1")[0]["linkinfo"]["info_data"]["id"], 4712);
        is_settled(kernel, &wanted).await;
    });
}

#[test]
fn a_device_of_others_is_refused_and_kept() {
    on_a_node(async |kernel| {
        let wanted = wanted(1);
        for (other, is) in [
            ("ip link add vx1 type bridge", "a device of the kind bridge"),
            ("ip link add vx1 type vxlan id 9 dstport 4789 dev eth0", "VNI 9 and UDP port 4789"),
            ("ip link add vx1 type vxlan id 4711 dstport 8472 dev eth0", "UDP port 8472"),
            ("ip link add vx1 type vxlan external dstport 4789", "for many VNIs"),
        ] {
            shell(other);
            let before = shell("ip -d -o link show vx1");
            let error = kernel.apply(&wanted).await.unwrap_err();
            assert!(matches!(error, Error::NotOurs { .. }), "{error}");
            let text = error.to_string();
            assert!(text.contains("vx1") && text.contains(is) && text.contains("ip link del vx1"), "{text}");
            assert_eq!(shell("ip -d -o link show vx1"), before);
            shell("ip link del vx1");
        }
    });
}

#[test]
fn a_vni_in_use_names_the_device_that_uses_it() {
    on_a_node(async |kernel| {
        shell("ip link add flannel.1 type vxlan id 4711 dstport 4789 dev eth0");
        let error = kernel.apply(&wanted(1)).await.unwrap_err().to_string();
        assert!(error.contains("flannel.1 has VNI 4711 at UDP port 4789 already"), "{error}");
    });
}

#[test]
fn an_mtu_beyond_the_underlays_is_told() {
    on_a_node(async |kernel| {
        let mut wanted = wanted(1);
        apply(kernel, &wanted).await;
        wanted.device.mtu = 1490;
        let applied = kernel.apply(&wanted).await.unwrap();
        let (name, error) = &applied.refused[0];
        assert!(name == "vx1" && error.to_string().contains("MTU 1490"), "{error}");
        shell("ip link del vx1");
        assert_eq!(kernel.apply(&wanted).await.unwrap().refused.len(), 1);
    });
}

#[test]
fn a_network_goes_with_all_that_is_its() {
    on_a_node(async |kernel| {
        let wanted = wanted(2);
        let before = shell("ip -o link; ip route show table all; ip -6 route show table all");
        shell("ip route add blackhole 10.64.0.0/16 metric 4294967295 proto 76");
        let before = before + &shell("ip route show proto 76");
        apply(kernel, &wanted).await;
        for _ in 0..2 {
            kernel.remove("vx1", &wanted.prefixes, None).await.unwrap();
            let after =
                shell("ip -o link; ip route show table all | grep -v 10.64; ip -6 route show table all");
            assert_eq!(after + &shell("ip route show proto 76"), before);
        }
        shell("ip link add vx1 type bridge");
        let error = kernel.remove("vx1", &wanted.prefixes, None).await.unwrap_err().to_string();
        assert!(error.contains("bridge"), "{error}");
    });
}

#[test]
fn networks_of_one_family() {
    on_a_node(async |kernel| {
        for place in [1, 0] {
            let mut all = wanted(2);
            all.prefixes = vec![all.prefixes[place]];
            all.device.blocks = vec![all.device.blocks[place]];
            for peer in all.peers.values_mut() {
                peer.blocks = vec![peer.blocks[place]];
            }
            if place == 0 {
                shell(
                    "echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6; echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6",
                );
                // Too small for IPv6.
                all.device.mtu = 1000;
            }
            apply(kernel, &all).await;
            is_settled(kernel, &all).await;
            let shown = shown(&all);
            assert_eq!([shown["routes"], shown["routes6"]], [[2, 0], [0, 2]][place]);
            shell("ip link set vx1 down; ip link set vx1 mtu 1400");
            apply(kernel, &all).await;
            is_settled(kernel, &all).await;
            kernel.remove("vx1", &all.prefixes, None).await.unwrap();
        }
    });
}

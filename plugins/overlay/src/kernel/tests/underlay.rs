use super::*;

#[test]
fn the_underlay_is_what_the_default_route_leads_to() {
    on_a_node(async |kernel| {
        let error = kernel.underlay(None, None).await.unwrap_err().to_string();
        assert!(error.contains("no default route") && error.contains("\"interface\""), "{error}");
        shell(
            "ip link add eth1 type veth peer name wire1; ip link set eth1 up
             ip addr add 203.0.113.1/24 dev eth1; ip addr add 203.0.113.2/24 dev eth1
             ip route add default via 203.0.113.9 metric 100; ip route add default via 198.51.100.9 metric 200",
        );
        let found = kernel.underlay(None, None).await.unwrap();
        assert_eq!((found.name.as_str(), found.mtu), ("eth1", 1500));
        assert_eq!(found.addresses, ["203.0.113.1".parse::<std::net::IpAddr>().unwrap()]);
        shell("ip route del default metric 100");
        let found = kernel.underlay(None, None).await.unwrap();
        let both = ["198.51.100.1", "2001:db8:51::1"].map(|address| address.parse().unwrap());
        assert_eq!((found.name.as_str(), found.addresses), ("eth0", both.to_vec()));
        let found = kernel.underlay(None, "203.0.113.2".parse().ok()).await.unwrap();
        assert_eq!((found.name.as_str(), found.addresses.len()), ("eth1", 1));
        assert_eq!(found.addresses[0].to_string(), "203.0.113.2");
    });
}

#[test]
fn an_underlay_that_is_not_there_is_named() {
    on_a_node(async |kernel| {
        shell("ip link add eth1 type veth peer name wire1; ip link set eth1 up");
        let said = async |name: Option<&str>, address: Option<&str>| {
            let address = address.map(|address| address.parse().unwrap());
            kernel.underlay(name, address).await.unwrap_err().to_string()
        };
        assert!(said(Some("eth9"), None).await.starts_with("no interface eth9; set"));
        assert!(said(Some("eth1"), None).await.starts_with("interface eth1 has no address"));
        assert!(said(None, Some("192.0.2.7")).await.starts_with("no interface has the address 192.0.2.7"));
        let said = said(Some("eth1"), Some("198.51.100.1")).await;
        assert!(said.starts_with("198.51.100.1 is an address of eth0, not of eth1"), "{said}");
    });
}

#[test]
fn addresses_that_do_not_last_are_passed_over() {
    on_a_node(async |kernel| {
        shell(
            "ip addr flush dev eth0
             ip addr add 2001:db8:51::7/64 dev eth0 nodad preferred_lft 0
             ip addr add 2001:db8:51::8/64 dev eth0 nodad
             ip addr add 169.254.1.1/16 dev eth0 scope link; ip addr add 198.51.100.8/24 dev eth0",
        );
        let found = kernel.underlay(Some("eth0"), None).await.unwrap();
        let both: [std::net::IpAddr; 2] =
            ["198.51.100.8", "2001:db8:51::8"].map(|address| address.parse().unwrap());
        assert_eq!(found.addresses, both);
    });
}

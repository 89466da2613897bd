use super::*;

#[test]
fn routes_of_the_host_that_a_network_meets_are_named() {
    on_a_node(async |kernel| {
        let wanted = wanted(3);
        apply(kernel, &wanted).await;
        let said = async || kernel.conflicts(&wanted.prefixes, &wanted.device.blocks, "vx1").await.unwrap();
        shell(
            "ip route add default via 198.51.100.9; ip route add 10.0.0.0/8 via 198.51.100.9
             ip link add br-own type veth peer name own; ip link set own up; ip link set br-own up
             ip addr add 10.128.1.1/24 dev br-own; ip addr add fd00:201:1::1/48 dev br-own nodad",
        );
        assert_eq!(said().await, Vec::<String>::new());
        shell(
            "ip addr add 10.201.0.1/24 dev br-own; ip route add 10.202.0.0/16 via 198.51.100.9
             ip route add blackhole 10.203.0.0/16; ip -6 addr add fd00:201:99::1/48 dev br-own nodad",
        );
        assert_eq!(
            said().await,
            [
                "10.201.0.0/24 dev br-own",
                "10.202.0.0/16 dev eth0",
                "blackhole 10.203.0.0/16",
                "fd00:201:99::/48 dev br-own"
            ]
        );
        // A network in the middle of a local one.
        let inside = ["198.51.100.128/25".parse().unwrap(), "2001:db8:51:0:1::/80".parse().unwrap()];
        let said = kernel.conflicts(&inside, &[], "vx1").await.unwrap();
        assert_eq!(said, ["198.51.100.0/24 dev eth0", "2001:db8:51::/64 dev eth0"]);
    });
}

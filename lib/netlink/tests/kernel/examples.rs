//! The crate's examples do what they say, and leave nothing in the namespace that they are started in.

use sandbox::Snapshot;

use crate::fixture::{Container, link, sandboxed};

fn example(name: &str, arguments: &[&str]) -> String {
    sandbox::example(env!("CARGO_MANIFEST_DIR"), name, arguments)
}

sandboxed! {
    fn bridge_connects_a_container_and_leaves_nothing() {
        let before = Snapshot::take();
        let printed = example("bridge", &[]);
        let expected = "\
host: demo0 (bridge)
host: demo0 has 10.88.0.1/24
host: veth0 (veth)
container: eth0 (veth)
container: eth0 has 10.88.0.2/24
container: 0.0.0.0/0 by 10.88.0.1
host: connection from 10.88.0.2
host: add bridge demo0: file exists (is_exists: true)
container: eth0 is there: false
";
        assert_eq!(printed, expected);
        assert_eq!(Snapshot::take(), before);
    }

    fn list_shows_a_namespace_by_its_path() {
        let container = Container::start();
        let path = format!("/proc/{}/ns/net", container.id());
        let mut inside = container.namespace.socket().unwrap();
        let lo = link(&mut inside, "lo").index;
        inside.set_up(lo).unwrap();
        inside.add_address(lo, "10.9.8.7/32".parse().unwrap(), netlink::AddressFlags::default()).unwrap();
        let printed = example("list", &[&path]);
        let mut lines = printed.lines();
        assert_eq!(lines.next(), Some("lo: device, up, mtu 65536, address 00:00:00:00:00:00"));
        assert!(lines.any(|line| line == "    10.9.8.7/32"), "{printed}");
        assert!(!example("list", &[]).contains("10.9.8.7"));
    }
}

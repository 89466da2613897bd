//! A container on several networks: when it leaves the network that serves its ports, another of its networks takes them over.

use sandbox::traffic::{Datagrams, ask_tcp, serve_tcp, serve_udp};
use sandbox::{UPLINK_V4, UPLINK_V6, isolated};
use serde_json::{Value, json};

use crate::world::{Container, World, nft, ruleset};

fn mappings() -> Value {
    json!([
        {"hostPort": 8080, "containerPort": 80},
        {"hostPort": 8081, "containerPort": 80, "hostIP": "127.0.0.1"},
        {"hostPort": 8082, "containerPort": 80, "hostIP": "::1"},
        {"hostPort": 5353, "containerPort": 53, "protocol": "udp"},
    ])
}

/// The attachments of the container `web`: each has a server of its own, which answers with its number.
fn attachments(world: &World, count: u8) -> Vec<Container> {
    let ifnames = ["eth0", "eth1", "eth2"];
    (0..count)
        .map(|at| {
            let number = 11 + at;
            let made = world.container(&format!("n{number}"), number);
            serve_tcp(Some(&made.namespace), &format!("n{number}"), "[::]:80");
            serve_udp(Some(&made.namespace), &format!("n{number}"), &format!("10.1.0.{number}:53"));
            Container { id: "web".to_owned(), ifname: ifnames[usize::from(at)], ..made }
        })
        .collect()
}

fn is_served_by(world: &World, number: u8, flow: &Datagrams) {
    let outside = Some(&world.host.outside);
    for (from, address) in [
        (outside, format!("{UPLINK_V4}:8080")),
        (outside, format!("[{UPLINK_V6}]:8080")),
        (None, "127.0.0.1:8080".to_owned()),
        (None, "127.0.0.1:8081".to_owned()),
        (None, "[::1]:8080".to_owned()),
        (None, "[::1]:8082".to_owned()),
    ] {
        let said = ask_tcp(from, &address).expect(&address);
        assert!(said.starts_with(&format!("n{number} sees ")), "{address}: {said}");
    }
    assert!(flow.ask().unwrap().starts_with(&format!("n{number} sees ")));
}

/// Each published port, preceded by the container's interface that serves it.
fn served() -> Vec<String> {
    let all = host_port::published(&mut nftables::Socket::open().unwrap()).unwrap();
    all.iter().map(|published| format!("{} {}", published.ifname, published.port)).collect()
}

fn all_by(ifname: &str) -> Vec<String> {
    [
        "0.0.0.0:5353/udp",
        "[::]:5353/udp",
        "0.0.0.0:8080/tcp",
        "[::]:8080/tcp",
        "127.0.0.1:8081/tcp",
        "[::1]:8082/tcp",
    ]
    .map(|port| format!("{ifname} {port}"))
    .to_vec()
}

#[test]
fn a_port_goes_on_by_the_next_network() {
    isolated(|| {
        let world = World::new(false);
        let all = attachments(&world, 3);
        for attachment in &all {
            attachment.add(&mappings(), &json!({})).unwrap();
        }
        // A flow that is never idle: unless it is deleted, the kernel keeps sending it to the network that served it first.
        let flow = Datagrams::new(Some(&world.host.outside), &format!("{UPLINK_V4}:5353"));
        for (at, attachment) in all.iter().enumerate() {
            for still in &all[at..] {
                still.check(&mappings(), &json!({})).unwrap();
            }
            assert_eq!(served(), all_by(attachment.ifname));
            is_served_by(&world, attachment.number, &flow);
            attachment.del();
        }
        assert!(flow.ask().is_err());
        assert_eq!(ruleset(), "");
    });
}

#[test]
fn networks_are_left_and_joined_in_any_order() {
    isolated(|| {
        let world = World::new(false);
        let all = attachments(&world, 3);
        let [first, second, third] = &all[..] else { unreachable!() };
        let flow = Datagrams::new(Some(&world.host.outside), &format!("{UPLINK_V4}:5353"));
        for attachment in &all {
            attachment.add(&mappings(), &json!({})).unwrap();
        }
        // An attachment on standby is removed and added again, more often than the record has room for heirs.
        for _ in 0..9 {
            second.del();
            second.add(&mappings(), &json!({})).unwrap();
        }
        is_served_by(&world, 11, &flow);
        first.del();
        is_served_by(&world, if served()[0].starts_with("eth1") { 12 } else { 13 }, &flow);
        // A repeated ADD keeps every port published, whether its network serves the ports or is on standby.
        for attachment in [second, third, second] {
            attachment.add(&mappings(), &json!({})).unwrap();
            second.check(&mappings(), &json!({})).unwrap();
            third.check(&mappings(), &json!({})).unwrap();
            assert_eq!(served().len(), 6, "{:?}", served());
        }
        first.add(&mappings(), &json!({})).unwrap();
        second.del();
        third.del();
        is_served_by(&world, 11, &flow);
        first.del();
        assert_eq!(ruleset(), "");
    });
}

#[test]
fn many_ports_go_on_though_no_record_has_room_for_them() {
    isolated(|| {
        let world = World::new(false);
        let all = attachments(&world, 3);
        let many = json!([{"hostPort": 20_000, "containerPort": 80, "range": 300}]);
        for attachment in &all {
            attachment.add(&many, &json!({})).unwrap();
        }
        let mut left: Vec<&Container> = all.iter().collect();
        while !left.is_empty() {
            for attachment in &left {
                attachment.check(&many, &json!({})).unwrap();
            }
            // The record has no room to name the heirs in order; one of them takes over all ports.
            let served = served();
            let at = left.iter().position(|one| served[0].starts_with(one.ifname)).unwrap();
            let serving = left.remove(at);
            assert_eq!(served.iter().filter(|port| port.starts_with(serving.ifname)).count(), 600);
            assert_eq!(served.len(), 600);
            let said = ask_tcp(Some(&world.host.outside), &format!("{UPLINK_V4}:20000")).unwrap();
            assert!(said.starts_with(&format!("n{} ", serving.number)), "{said}");
            serving.del();
        }
        assert_eq!(ruleset(), "");
    });
}

#[test]
fn a_container_whose_interface_has_gone_leaves_its_ports_to_its_other_network() {
    isolated(|| {
        let world = World::new(false);
        let all = attachments(&world, 2);
        for attachment in &all {
            attachment.add(&mappings(), &json!({})).unwrap();
        }
        assert!(netlink::Socket::open().unwrap().del_link_by_name("veth11").unwrap());
        // The next ADD that asks for one of its ports finds that the interface is gone.
        let next = world.container("next", 14);
        let error = next.add(&json!([{"hostPort": 8080, "containerPort": 80}]), &json!({})).unwrap_err();
        assert_eq!(error.message(), "port 0.0.0.0:8080/tcp is published by container web on network net");
        assert_eq!(served(), all_by("eth1"));
        all[1].del();
        assert_eq!(ruleset(), "");
    });
}

/// Rewrites an attachment's record as an earlier version wrote it, without heirs and without ports on standby.
fn make_old(attachment: &Container) {
    let key = format!("p{}", &attachment.attachment().token()[..14]);
    let all = ruleset();
    let (_, rest) = all.split_once(&format!("\"{key}\" comment \"")).unwrap();
    let (text, rest) = rest.split_once("\" : ").unwrap();
    let chain = rest.split([',', ' ', '\n']).nth(1).unwrap();
    let words: Vec<&str> = text.split(' ').filter(|word| !word.starts_with(['~', '+'])).collect();
    let owners = "element inet cleat_host_port owners";
    let element = format!("\"{key}\" comment \"{}\" : goto {chain}", words.join(" "));
    nft(&format!("delete {owners} {{ \"{key}\" }}; add {owners} {{ {element} }}"));
}

#[test]
fn a_port_that_an_earlier_version_kept_no_standby_for_is_named_and_repaired() {
    isolated(|| {
        let world = World::new(false);
        let all = attachments(&world, 2);
        let [first, second] = &all[..] else { unreachable!() };
        for attachment in &all {
            attachment.add(&mappings(), &json!({})).unwrap();
        }
        all.iter().for_each(make_old);
        nft("delete map inet cleat_host_port spare4; delete map inet cleat_host_port spare6");
        first.check(&mappings(), &json!({})).unwrap();
        let error = second.check(&mappings(), &json!({})).unwrap_err();
        assert_eq!(
            error.message(),
            "port 0.0.0.0:8080/tcp would end with network net: map spare4 has no element for it"
        );
        second.add(&mappings(), &json!({})).unwrap();
        for attachment in &all {
            attachment.check(&mappings(), &json!({})).unwrap();
        }
        first.del();
        assert_eq!(served(), all_by("eth1"));
        second.del();
        assert_eq!(ruleset(), "");
    });
}

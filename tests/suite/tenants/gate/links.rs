//! A link opens a port to its recipient's own bridge port alone, whatever packets other members send.

use std::net::UdpSocket;
use std::time::Duration;

use sandbox::traffic::Datagrams;
use sandbox::{Namespaced, Snapshot, isolated};
use serde_json::json;

use super::packets::{addresses, datagram, frame, mac, too_big};
use super::shell_says;
use crate::shared::frames::send;
use crate::shared::members::{Member, Network, assert_closed, assert_open, host, ways};
use crate::shared::programs::{BRIDGE, LINK_ENV};
use crate::shared::shell::shell;

/// Runs a test with `db`, `web`, which has a link to it, and `eve`, which has none.
fn play(scene: impl Fn([&Namespaced; 3], [&Member; 3])) {
    isolated(|| {
        let _host = host();
        let names = ["db1", "web1", "eve1"].map(Namespaced::new);
        let before = Snapshot::take();
        let shop = Network { name: "shop", subnet: 7, keys: json!({"icc": false}) };
        let members = [
            shop.add(&names[0], &json!({"name": "db", "expose": ["5432", "5432/udp"]})),
            shop.add(&names[1], &json!({"name": "web", "links": ["db:webdb"]})),
            shop.add(&names[2], &json!({"name": "eve"})),
        ];
        scene(names.each_ref(), members.each_ref());
        for member in &members {
            member.check(BRIDGE).silent();
            member.check(LINK_ENV).silent();
            member.del();
        }
        drop(members);
        before.assert_unchanged();
    });
}

fn listener(netns: &Namespaced, port: u16) -> UdpSocket {
    let listener = netns.enter(|| UdpSocket::bind(("::", port)).unwrap());
    listener.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    listener
}

#[test]
fn who_sends_from_the_address_of_a_recipient_does_not_get_in() {
    play(|[db, web, eve], [source, recipient, other]| {
        let heard = listener(db, 5432);
        let double = [0x88, 0xa8, 0, 0, 0x81, 0x00, 0, 0];
        let tags: [&[u8]; 4] = [&[], &[0x81, 0x00, 0, 0], &double, &[0x81, 0x00, 0, 0, 0x81, 0x00, 0, 0]];
        // Directly, and through the host, which would route it.
        let ways_in = [mac(source, 2), mac(source, 0)];
        for (from, to) in addresses(recipient).into_iter().zip(addresses(source)) {
            let packet = datagram(from, to, [4000, 5432]);
            for (way, to_mac) in ways_in.into_iter().enumerate() {
                for tag in tags {
                    eve.enter(|| send("eth7", &frame(to_mac, mac(other, 2), tag, &packet)));
                    // Also from the recipient's hardware address.
                    eve.enter(|| send("eth7", &frame(to_mac, mac(recipient, 2), tag, &packet)));
                    assert!(heard.recv(&mut [0]).is_err(), "{from} to {to} by way {way}, tag {tag:?}");
                }
                // The recipient's own packet arrives: nothing else keeps the forged ones out.
                web.enter(|| send("eth7", &frame(to_mac, mac(recipient, 2), &[], &packet)));
                assert!(heard.recv(&mut [0]).is_ok(), "{from} to {to} by way {way}");
            }
        }
    });
}

#[test]
fn who_lures_what_is_for_a_source_does_not_get_it() {
    play(|[db, web, eve], [source, _, other]| {
        let heard = listener(eve, 5432);
        let lured = mac(other, 2).map(|byte| format!("{byte:02x}")).join(":");
        eve.enter(|| {
            shell("ip addr add 10.7.0.2/32 dev eth7; ip -6 addr add fd00:7::2/128 dev eth7 nodad");
        });
        web.enter(|| {
            for address in ["10.7.0.2", "fd00:7::2"] {
                shell(&format!("ip neigh replace {address} dev eth7 lladdr {lured}"));
            }
        });
        for address in source.at(5432) {
            let _ = Datagrams::new(Some(web), &address).ask();
            assert!(heard.recv(&mut [0]).is_err(), "{address}");
            // With the check disabled it arrives: nothing else keeps it away.
            shell("nft insert rule bridge cleat_gate post accept");
            let _ = Datagrams::new(Some(web), &address).ask();
            assert!(heard.recv(&mut [0]).is_ok(), "{address}");
            shell(
                "nft delete rule bridge cleat_gate post handle $(nft -a list chain bridge cleat_gate post | grep -o 'accept # handle [0-9]*$' | cut -d' ' -f4)",
            );
        }
        eve.enter(|| shell("ip addr del 10.7.0.2/32 dev eth7; ip -6 addr del fd00:7::2/128 dev eth7"));
        web.enter(|| shell("ip neigh del 10.7.0.2 dev eth7; ip neigh del fd00:7::2 dev eth7"));
        source.serve(5432);
        assert_open(&ways(Some(web), &source.at(5432)));
        assert_closed(&ways(Some(eve), &source.at(5432)));
        let _ = db;
    });
}

/// ICMP errors about a link's packets are accepted from the link's source alone.
#[test]
fn errors_of_third_parties_do_not_get_in_and_those_of_a_source_do() {
    play(|[db, web, eve], [source, recipient, other]| {
        source.serve(5432);
        let flow = Datagrams::new(Some(web), &source.at(5432)[0]);
        flow.ask().unwrap();
        let port = shell_port(web);
        let ([to, _], [from, _], [third, _]) = (addresses(recipient), addresses(source), addresses(other));
        let sent = datagram(to, from, [port, 5432]);
        let known = || web.enter(|| shell_says("ip route get 10.7.0.2")).contains("mtu 600");
        for claimed in [third, from] {
            let error = too_big(claimed, to, 600, &sent);
            eve.enter(|| send("eth7", &frame(mac(recipient, 2), mac(other, 2), &[], &error)));
            eve.enter(|| send("eth7", &frame(mac(recipient, 0), mac(other, 2), &[], &error)));
            std::thread::sleep(Duration::from_millis(200));
            assert!(!known(), "from {claimed}");
        }
        db.enter(|| {
            send("eth7", &frame(mac(recipient, 2), mac(source, 2), &[], &too_big(from, to, 600, &sent)));
        });
        std::thread::sleep(Duration::from_millis(200));
        assert!(known());
        // The socket reports the error once.
        let _ = flow.ask();
        flow.ask().unwrap();
    });
}

/// The local port of the container's only UDP socket.
fn shell_port(netns: &Namespaced) -> u16 {
    let table = netns.enter(|| std::fs::read_to_string("/proc/thread-self/net/udp").unwrap());
    let local = table.lines().nth(1).unwrap().split_whitespace().nth(1).unwrap();
    u16::from_str_radix(local.split(':').nth(1).unwrap(), 16).unwrap()
}

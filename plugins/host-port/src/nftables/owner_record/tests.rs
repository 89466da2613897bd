//! Records as text, and the places that their words stand for.

use cni::Protocol;

use super::super::table::{LOCAL4, LOCAL6};
use super::*;

fn owner(digits: &str) -> Owner {
    Owner::from_digits(digits).unwrap()
}

fn record(text: &str) -> Record {
    Record { owner: owner("0123456789abcd"), chain: "hair".to_owned(), text: text.to_owned() }
}

fn places_of(text: &str) -> Vec<Place> {
    let mut places = Vec::new();
    record(text).add_places(&mut places);
    places
}

fn written(locals: &[String], words: impl IntoIterator<Item = String>) -> String {
    Record::new(&owner("0123456789abcd"), "hair", locals, words).text
}

fn published(host_ip: Option<&str>, host_port: u16, container: &str) -> Port {
    Port {
        host_ip: host_ip.map(|text| text.parse().unwrap()),
        host_port,
        protocol: Protocol::Tcp,
        container: container.parse().unwrap(),
    }
}

#[test]
fn every_place_is_remembered() {
    let hair: Vec<IpAddr> = vec!["10.1.0.11".parse().unwrap(), "fd00::11".parse().unwrap()];
    let ports = [
        published(None, 8080, "10.1.0.11:80"),
        published(None, 8080, "[fd00::11]:80"),
        published(Some("127.0.0.1"), 81, "10.1.0.11:80"),
        published(Some("2001:db8::1"), 82, "[fd00::11]:80"),
        published(Some("::1"), 83, "[fd00::11]:80"),
    ];
    let locals = ["cni0", "lo"].map(str::to_owned);
    let words = hair.iter().map(ToString::to_string).chain(ports.iter().map(|port| word("", port)));
    let text = written(&locals, words);
    assert_eq!(text, "cni0/lo 10.1.0.11 fd00::11 tcp/8080 127.0.0.1/tcp/81 2001:db8::1/tcp/82 ::1/tcp/83");
    assert_eq!(record(&text).locals(), locals);
    let found = places_of(&text);
    for place in hair.into_iter().map(hair_place).chain(ports.iter().map(Port::place)) {
        assert!(found.contains(&place), "{place:?}");
    }
    for number in [8080, 83] {
        assert!(found.contains(&(&LOCAL6, place_of(None, false, Protocol::Tcp, number).1)));
    }
    assert!(found.contains(&(&LOCAL4, ports[0].place().1)));
    assert!(found.contains(&(&AT4, ports[2].place().1)));
    assert_eq!(found.len(), 11);
}

#[test]
fn ports_of_iptables_are_of_localhost_alone() {
    let port = published(None, 8080, "10.1.0.11:80");
    let localhost = port.localhost().unwrap();
    let locals = ["127.0.0.1".to_owned()];
    let text = written(&locals, [word(BY_IPTABLES, &port)]);
    assert_eq!(text, "127.0.0.1 =tcp/8080");
    assert!(!record(&text).has_ports());
    assert!(places_of(&text).contains(&localhost));
    assert!(!places_of(&text).contains(&port.place()));
    let waits = written(&locals, [&port, &port.waiting()].map(|port| word(BY_IPTABLES, port)));
    assert_eq!(waits, "127.0.0.1 =tcp/8080 =10.1.0.11/tcp/8080");
    assert_eq!(places_of("- =10.1.0.11/tcp/8080"), [(&AT4, port.waiting().place().1)]);
    assert!(record(&waits).publishes(&localhost));
    assert!(!record("127.0.0.1 ~tcp/8080").publishes(&localhost));
}

#[test]
fn what_has_no_room_is_marked() {
    let ports = (1..60).map(|number| published(None, number, "10.1.0.11:80"));
    let text = written(&[], ports.map(|port| word("", &port)));
    assert!(text.len() <= COMMENT_MAX && text.ends_with(" tcp/18 ..."), "{text}");
    assert!(record(&text).locals().is_empty() && !record(&text).is_whole());
}

#[test]
fn standby_and_heirs_are_remembered_once() {
    let (own, heir) = (owner("0123456789abcd"), owner("00000000000001"));
    let port = published(None, 8080, "10.1.0.11:80");
    let text = written(&[], [word(STANDBY, &port)]);
    assert_eq!(text, "- ~tcp/8080");
    let found = places_of(&text);
    assert!(found.contains(&port.place()));
    assert!(found.contains(&standby_of(&own, &port.place()).unwrap()));
    let named = record(&text).with_heirs(&[heir.clone(), own]).unwrap();
    assert_eq!(named.text, "- ~tcp/8080 +00000000000001");
    assert_eq!(named.heirs(), std::slice::from_ref(&heir));
    assert_eq!(record("- +00000000000001").with_heirs(std::slice::from_ref(&heir)), None);
    // Where an heir does not fit, `...` says that the maps are to be searched.
    let full = "x".repeat(COMMENT_MAX - 8);
    let named = record(&full).with_heirs(std::slice::from_ref(&heir)).unwrap();
    assert_eq!(named.text, format!("{full} ..."));
    assert_eq!(record("- ...").with_heirs(&[heir]), None);
}

#[test]
fn a_port_of_one_family_that_the_other_has_on_standby_has_each_place_once() {
    let places = places_of("- tcp/8080 ~tcp/8080");
    for (at, place) in places.iter().enumerate() {
        assert!(!places[at + 1..].contains(place), "{place:?}");
    }
    assert!(places.len() > 3, "{places:?}");
}

#[test]
fn words_of_others_lead_nowhere() {
    for word in ["", "-", "tcp", "tcp/x", "x/tcp/1", "icmp/1", "~", "~x", "+0123456789abcd"] {
        assert!(places_of(&format!("- {word}")).is_empty(), "{word}");
    }
}

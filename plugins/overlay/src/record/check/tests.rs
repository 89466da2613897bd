use super::*;

fn network() -> Network {
    Network {
        id: "6f1f3a53-8a5e-4b52-9d1c-3c9a6e0d7a11".to_owned(),
        prefixes: vec!["10.201.0.0/16".parse().unwrap(), "fd00:201::/48".parse().unwrap()],
        block_lengths: vec![24, 64],
        backend: Backend::Vxlan,
        vni: 4711,
        port: 4789,
        mtu: 0,
    }
}

fn record() -> Record {
    Record {
        machine: "0123456789abcdef0123456789abcdef".to_owned(),
        addresses: vec!["192.0.2.1".parse().unwrap()],
        mac: Some(Mac([2, 0, 0, 0, 0, 1])),
        key: None,
        blocks: vec!["10.201.7.0/24".parse().unwrap(), "fd00:201:0:7::/64".parse().unwrap()],
        mtu: 1450,
        version: "0.2.0".to_owned(),
        incarnation: 1,
    }
}

#[test]
fn networks_that_cannot_be_are_refused() {
    network().check().unwrap();
    let with = |prefix: &str, length| Network {
        prefixes: vec![prefix.parse().unwrap()],
        block_lengths: vec![length],
        ..network()
    };
    with("198.18.0.0/15", 30).check().unwrap();
    for (prefix, length, why) in [
        ("10.201.0.1/16", 24, "is an address in 10.201.0.0/16"),
        ("0.0.0.0/0", 24, "too large"),
        ("::/0", 64, "too large"),
        ("127.0.0.0/16", 24, "meets 127.0.0.0/8"),
        ("169.254.1.0/24", 26, "meets 169.254.0.0/16"),
        ("224.0.0.0/8", 24, "meets 224.0.0.0/4"),
        ("112.0.0.0/4", 24, "meets 127.0.0.0/8"),
        ("fe80::/48", 64, "meets fe80::/10"),
        ("ff00::/48", 64, "meets ff00::/8"),
        ("10.201.0.0/16", 15, "no block of /15 fits"),
        ("10.201.0.0/16", 31, "no addresses for containers"),
        ("fd00::/48", 127, "no addresses for containers"),
        ("fd00::/48", 200, "no addresses for containers"),
    ] {
        let error = with(prefix, length).check().unwrap_err();
        assert!(error.contains(why), "{prefix} {length}: {error}");
    }
    for bad in [
        Network { id: "net".to_owned(), ..network() },
        Network { id: network().id.to_uppercase(), ..network() },
        Network { prefixes: Vec::new(), block_lengths: Vec::new(), ..network() },
        Network { block_lengths: vec![24], ..network() },
        Network { prefixes: vec![network().prefixes[0]; 2], ..network() },
        Network { vni: 0, ..network() },
        Network { vni: 1 << 24, ..network() },
        Network { port: 0, ..network() },
        Network { mtu: 500, ..network() },
        Network { mtu: 1279, ..network() },
        Network { mtu: 70_000, ..network() },
    ] {
        bad.check().unwrap_err();
    }
}

#[test]
fn records_that_cannot_be_are_refused() {
    record().check(&network()).unwrap();
    let addresses = |texts: &[&str]| Record {
        addresses: texts.iter().map(|text| text.parse().unwrap()).collect(),
        ..record()
    };
    let blocks = |texts: &[&str]| Record {
        blocks: texts.iter().map(|text| text.parse().unwrap()).collect(),
        ..record()
    };
    addresses(&["192.0.2.1", "2001:db8::1"]).check(&network()).unwrap();
    blocks(&["10.201.7.0/24", "10.201.8.0/25"]).check(&network()).unwrap();
    for bad in [
        addresses(&[]),
        addresses(&["192.0.2.1", "192.0.2.2"]),
        addresses(&["127.0.0.1"]),
        addresses(&["0.0.0.0"]),
        addresses(&["224.0.0.1"]),
        addresses(&["255.255.255.255"]),
        addresses(&["::"]),
        addresses(&["::1"]),
        addresses(&["::ffff:127.0.0.1"]),
        addresses(&["ff02::1"]),
        addresses(&["fe80::1"]),
        addresses(&["10.201.9.9"]),
        blocks(&[]),
        blocks(&["10.201.7.1/24"]),
        blocks(&["10.202.7.0/24"]),
        blocks(&["10.0.0.0/8"]),
        blocks(&["10.201.7.0/24", "10.201.7.128/25"]),
        blocks(&["10.201.7.0/24"; 2]),
        Record { blocks: (0..17).map(|n| format!("10.201.{n}.0/24").parse().unwrap()).collect(), ..record() },
        Record { mac: None, ..record() },
        Record { mac: Some(Mac([3, 0, 0, 0, 0, 1])), ..record() },
        Record { mac: Some(Mac([0xff; 6])), ..record() },
        Record { mac: Some(Mac([0; 6])), ..record() },
        Record { machine: String::new(), ..record() },
        Record { machine: "m".repeat(65), ..record() },
        Record { version: "0.2\n".to_owned(), ..record() },
        Record { mtu: 68, ..record() },
        Record { mtu: 1 << 20, ..record() },
    ] {
        bad.check(&network()).unwrap_err();
    }
    let wireguard = Network { backend: Backend::Wireguard, ..network() };
    record().check(&wireguard).unwrap_err();
    for (key, is_good) in [("A".repeat(43) + "=", true), ("é".repeat(22), false), ("A".repeat(44), false)] {
        let record = Record { key: Some(key), mac: None, ..record() };
        assert_eq!(record.check(&wireguard).is_ok(), is_good, "{record:?}");
    }
}

#[test]
fn a_block_has_one_key() {
    for (block, key) in [("10.201.7.0/24", "10.201.7.0-24"), ("fd00:201:0:7::/64", "fd00:201:0:7::-64")] {
        let block: IpNetwork = block.parse().unwrap();
        assert_eq!(block_key(block), key);
        assert_eq!(block_of_key(key), Some(block));
    }
    for bad in [
        "",
        "-",
        "10.201.7.0",
        "10.201.7.1-24",
        "10.201.7.0-024",
        "10.201.7.0-33",
        "FD00::-64",
        "fd00:0::-64",
    ] {
        assert_eq!(block_of_key(bad), None, "{bad}");
    }
}

#[test]
fn names_of_nodes_are_those_of_hosts() {
    let long = vec!["a".repeat(63); 4].join(".");
    for good in ["a", "n1", "node-1.example.org", "1", &long[..253]] {
        assert!(is_node_name(good), "{good}");
    }
    for bad in ["", ".", "a.", "-a", "a-", "A", "a_b", "a/b", "a..b", "ä", &"a".repeat(64), &long] {
        assert!(!is_node_name(bad), "{bad}");
    }
}

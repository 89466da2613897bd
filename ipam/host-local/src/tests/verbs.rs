//! What each verb does in a folder of its own.

use super::*;

#[test]
fn a_lease_is_the_references_byte_for_byte() {
    let network = Network::new(json!({
        "ranges": [[{"subnet": "10.88.7.0/24"}], [{"subnet": "fd00:88:7::/64"}]],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
    }));
    let result = add(&network.request(&json!({})), &target("c1"), BOOT).unwrap();
    // The answer of the reference to the same configuration.
    assert_eq!(
        result.to_value(cni::Version::V1_0_0).unwrap(),
        json!({
            "cniVersion": "1.0.0",
            "ips": [
                {"address": "10.88.7.2/24", "gateway": "10.88.7.1"},
                {"address": "fd00:88:7::2/64", "gateway": "fd00:88:7::1"},
            ],
            "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
            "dns": {},
        })
    );
    for (name, content) in [
        ("10.88.7.2", "c1\r\neth0"),
        ("fd00:88:7::2", "c1\r\neth0"),
        ("last_reserved_ip.0", "10.88.7.2"),
        ("last_reserved_ip.1", "fd00:88:7::2"),
        ("lock", ""),
    ] {
        let file = network.folder().join(name);
        assert_eq!(fs::read_to_string(&file).unwrap(), content, "{name}");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
    }
    assert!(!network.names().contains(".writing"));
    network.del("c1", &["10.88.7.2/24", "fd00:88:7::2/64"]);
    network.assert_empty();
    assert_eq!(network.add("c2", "").unwrap(), ["10.88.7.3", "fd00:88:7::3"], "round robin");
    assert_eq!(network.add("c3", "10.88.7.77").unwrap(), ["10.88.7.77", "fd00:88:7::4"]);
}

#[test]
fn a_repeated_add_is_refused_unless_it_asks_for_another_address() {
    let network = Network::single("10.1.0.0/24");
    network.add("c1", "").unwrap();
    let error = network.add("c1", "").unwrap_err();
    assert_eq!(error.code(), 102);
    assert!(error.message().ends_with("it has 10.1.0.2 already"), "{error}");
    let error = network.add("c2", "10.1.0.2").unwrap_err();
    assert_eq!(error.code(), 102);
    assert!(error.message().ends_with("in use by container c1 interface eth0"), "{error}");
    network.add("c1", "10.1.0.9").unwrap();
    network.del("c1", &["10.1.0.9/24"]);
    network.assert_empty();
}

#[test]
fn a_later_set_that_fails_releases_the_earlier_ones() {
    let network = Network::new(json!({"ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "10.2.0.0/30"}]]}));
    network.add("c1", "").unwrap();
    let mut before = network.names();
    let error = network.add("c2", "").unwrap_err();
    before.insert(".free".to_owned());
    assert_eq!(error.code(), 50);
    assert!(error.message().contains("range set 1 (10.2.0.1-10.2.0.2): 1 of 1 addresses"), "{error}");
    assert_eq!(network.names(), before);
    network.del("c1", &[]);
    assert_eq!(network.add("c2", "").unwrap(), ["10.1.0.3", "10.2.0.2"]);
}

#[test]
fn check_compares_the_leases_with_the_attachment() {
    let network = Network::new(json!({"ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00::/64"}]]}));
    network.add("c1", "").unwrap();
    network.add("c2", "").unwrap();
    let check = |addresses: &[&str]| {
        check(&network.request(&previous_result(addresses)), &target("c1")).map_err(cni::Error::from)
    };
    check(&["10.1.0.2/24", "fd00::2/64", "192.168.0.1/24"]).unwrap();
    for (addresses, words) in [
        (&["10.1.0.2/24", "fd00::3/64"][..], "but that of container c2 interface eth0"),
        (&["10.1.0.9/24"], "check the lease of 10.1.0.9 in"),
        (&["192.168.0.1/24"], "no address of any configured subnet"),
    ] {
        let error = check(addresses).unwrap_err();
        assert_eq!(error.code(), 101);
        assert!(error.message().contains(words), "{error}");
    }
}

#[test]
fn gc_removes_what_is_not_valid_and_nothing_without_a_list() {
    let network = Network::single("10.1.0.0/24");
    for id in ["c1", "c2", "c3"] {
        network.add(id, "").unwrap();
    }
    for (name, content) in
        [("10.1.0.20", ""), ("10.1.0.21", "c1"), ("10.1.0.22", "c9"), ("10.1.0.23", "c1\r\neth9")]
    {
        network.put(name, content);
    }
    let before = network.names();
    gc(&network.request(&json!({}))).unwrap();
    assert_eq!(network.names(), before);
    let valid = json!([{"containerID": "c1", "ifname": "eth0"}, {"containerID": "c3", "ifname": "eth0"}]);
    let list = network.request(&json!({"cni.dev/valid-attachments": valid}));
    gc(&list).unwrap();
    gc(&list).unwrap();
    assert_eq!(network.leases(), ["10.1.0.2", "10.1.0.21", "10.1.0.4"]);
    gc(&network.request(&json!({"cni.dev/valid-attachments": null}))).unwrap();
    network.assert_empty();
}

#[test]
fn a_folder_that_cannot_be_is_named() {
    let network = Network::single("10.1.0.0/24");
    fs::write(network.root.path().join("networks"), "").unwrap();
    let error = network.add("c1", "").unwrap_err();
    assert_eq!(error.code(), 5);
    assert!(error.message().contains("/networks/net: "), "{error}");
    let mut network = Network::single("10.1.0.0/24");
    network.ipam["resolvConf"] = "/nowhere/resolv.conf".into();
    let error = network.add("c1", "").unwrap_err();
    assert_eq!((error.code(), error.message().contains("read resolvConf /nowhere/resolv.conf")), (5, true));
    assert!(!network.folder().exists());
}

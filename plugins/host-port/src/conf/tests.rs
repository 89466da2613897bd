//! Configurations as callers write them.

use serde_json::{Value, json};

use super::*;

fn read(mut conf: Value) -> Result<Conf, cni::Error> {
    conf["cniVersion"] = json!("1.0.0");
    conf["name"] = json!("net");
    conf["type"] = json!("portmap");
    let conf = cni::Conf::from_slice(conf.to_string().as_bytes())?;
    let request = Request { command: cni::Command::Add, conf, path: vec![] };
    Ok(Conf::new(&request)?)
}

fn mapping(mapping: &Value) -> Result<Vec<Mapping>, cni::Error> {
    read(json!({"runtimeConfig": {"portMappings": [mapping]}})).map(|conf| conf.mappings)
}

#[test]
fn keys_come_in_the_case_of_either_caller() {
    let expected = [Mapping {
        index: 0,
        host_ip: Some("127.0.0.1".parse().unwrap()),
        host_port: Some(8080),
        container_port: 80,
        protocol: Protocol::Udp,
    }];
    let crio = json!({"hostPort": 8080, "containerPort": 80, "protocol": "UDP", "hostIP": "127.0.0.1"});
    let containerd = json!({"HostPort": 8080, "ContainerPort": 80, "Protocol": "udp", "HostIP": "127.0.0.1"});
    assert_eq!(mapping(&crio).unwrap(), expected);
    assert_eq!(mapping(&containerd).unwrap(), expected);
}

/// What the schema says is the default makes no difference where it is written.
#[test]
fn a_default_that_is_written_changes_nothing() {
    let schema = cni::schema::of::<Keys>();
    let defaults = |schema: &Value| {
        let keys = schema["properties"].as_object().unwrap().clone();
        keys.into_iter()
            .filter_map(|(key, schema)| Some((key, schema.get("default")?.clone())))
            .collect::<Vec<_>>()
    };
    for (key, default) in defaults(&schema) {
        let conf = |conf: Conf| {
            let bit = conf.iptables.mark_bit.unwrap_or(MARK_BIT);
            format!("{:?} {bit}", Conf { iptables: IptablesKeys::default(), ..conf })
        };
        assert_eq!(conf(read(json!({ &key: default })).unwrap()), conf(read(json!({})).unwrap()), "{key}");
    }
    let of_mapping = &schema["properties"]["runtimeConfig"]["properties"]["portMappings"]["items"];
    let plain = json!({ "hostPort": 80, "containerPort": 80 });
    for (key, default) in defaults(of_mapping) {
        let mut written = plain.clone();
        written[&key] = default;
        assert_eq!(mapping(&written).unwrap(), mapping(&plain).unwrap(), "{key}");
    }
}

#[test]
fn defaults_are_the_references() {
    let conf = read(json!({"markMasqBit": 7})).unwrap();
    assert!(conf.snat && !conf.masq_all && !conf.check_listeners && conf.mappings.is_empty());
    let plain = mapping(&json!({"hostPort": 80, "containerPort": 80})).unwrap();
    assert_eq!((plain[0].protocol, plain[0].host_ip), (Protocol::Tcp, None));
    let free = mapping(&json!({"hostPort": 0, "containerPort": 80})).unwrap();
    assert_eq!(free[0].host_port, None);
}

#[test]
fn the_range_of_free_ports_is_read() {
    let range = |text: &str| read(json!({"freePorts": text})).map(|conf| conf.free_ports);
    assert_eq!(range("49000-49900").unwrap(), Some(49_000..=49_900));
    assert_eq!(range("").unwrap(), None);
    for bad in ["1", "0-5", "9-8", "1-65536", "a-b"] {
        assert_eq!(range(bad).unwrap_err().code(), 7, "{bad}");
    }
}

#[test]
fn ranges_are_written_out() {
    let all = mapping(&json!({"hostPort": 8000, "containerPort": 80, "range": 3})).unwrap();
    let pairs: Vec<_> = all.iter().map(|mapping| (mapping.host_port, mapping.container_port)).collect();
    assert_eq!(pairs, [(Some(8000), 80), (Some(8001), 81), (Some(8002), 82)]);
}

#[test]
fn what_is_wrong_is_named() {
    for (bad, words) in [
        (json!({"hostPort": 80, "containerPort": 70000}), "containerPort 70000"),
        (json!({"hostPort": 80}), "containerPort 0"),
        (json!({"hostPort": -1, "containerPort": 80}), "hostPort -1"),
        (json!({"hostPort": 65535, "containerPort": 80, "range": 2}), "hostPort 65535"),
        (json!({"hostPort": 80, "containerPort": 80, "range": 0}), "range 0"),
        (json!({"hostPort": 80, "containerPort": 80, "protocol": "icmp"}), "protocol \"icmp\""),
        (json!({"hostPort": 80, "containerPort": 80, "hostIP": "localhost"}), "hostIP \"localhost\""),
    ] {
        let error = mapping(&bad).unwrap_err();
        assert_eq!(error.code(), 7, "{error}");
        assert!(error.to_string().contains(&format!("portMappings[0].{words}")), "{error}");
    }
}

#[test]
fn keys_that_only_iptables_has_choose_it_or_are_refused() {
    let iptables = Some(Backend::Iptables);
    for (keys, backend) in [
        (json!({}), None),
        (json!({"backend": null, "conditionsV4": []}), None),
        (json!({"markMasqBit": 7}), None),
        (json!({"backend": "iptables"}), iptables),
        (json!({"backend": "nftables"}), Some(Backend::Nftables)),
        (json!({"conditionsV4": ["-s", "10.0.0.0/8"]}), iptables),
        (json!({"conditionsV6": ["!", "-s", "fd00::/8"]}), iptables),
        (json!({"externalSetMarkChain": "KUBE-MARK-MASQ"}), iptables),
    ] {
        assert_eq!(read(keys.clone()).unwrap().backend, backend, "{keys}");
    }
    for (keys, code) in [
        (json!({"backend": "nftables", "conditionsV4": ["-s", "10.0.0.0/8"]}), 2),
        (json!({"conditionsV4": ["ip saddr 10.0.0.0/8"]}), 2),
        (json!({"backend": "nftables", "externalSetMarkChain": "KUBE-MARK-MASQ"}), 2),
        (json!({"backend": "iptables", "conditionsV6": ["ip6 saddr fd00::/8"]}), 7),
        (json!({"backend": "ipfw"}), 7),
        (json!({"markMasqBit": 32}), 7),
        (json!({"markMasqBit": -1}), 7),
        (json!({"markMasqBit": 3, "externalSetMarkChain": "X"}), 7),
    ] {
        assert_eq!(read(keys.clone()).unwrap_err().code(), code, "{keys}");
    }
}

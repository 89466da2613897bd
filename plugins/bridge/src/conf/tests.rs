use cni::{Args, Attachment, Command, ContainerId};
use serde_json::{Value, json};

use super::*;

fn conf(extra: &Value, args: &str) -> Result<Conf, cni::Error> {
    let mut value = json!({"cniVersion": "1.0.0", "name": "net", "type": "bridge"});
    for (key, extra) in extra.as_object().unwrap() {
        value[key] = extra.clone();
    }
    let conf = cni::Conf::from_slice(value.to_string().as_bytes()).unwrap();
    let target = Target {
        attachment: Attachment {
            network: conf.network.clone(),
            container_id: ContainerId::new("c").unwrap(),
            ifname: IfName::new("eth0").unwrap(),
        },
        netns: None,
        args: Args::parse(args).unwrap(),
        raw_args: args.into(),
    };
    let request = Request { command: Command::Add, conf, path: vec![] };
    Conf::new(&request, Some(&target)).map_err(Into::into)
}

#[test]
fn defaults_are_the_references() {
    let conf = conf(&json!({}), "").unwrap();
    assert_eq!(conf.bridge.as_str(), "cni0");
    assert!(
        conf.ipam.is_none()
            && !conf.gateway
            && !conf.keys.ip_masq
            && conf.mtu.is_none()
            && conf.mac.is_none()
    );
}

/// What the schema says is the default makes no difference where it is written.
#[test]
fn a_default_that_is_written_changes_nothing() {
    let read = |extra: &Value| {
        // With VLANs, of which two keys have a default only then.
        let mut value = json!({ "vlan": 5 });
        value.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        // What is left as it was read is in the type's own defaults.
        let conf = Conf { keys: Keys::default(), ..conf(&value, "").unwrap() };
        format!("{conf:?}")
    };
    let schema = cni::schema::of::<Keys>();
    let defaults =
        schema["properties"].as_object().unwrap().iter().filter(|(_, key)| !key["default"].is_null());
    let written: Vec<Value> = defaults.map(|(key, schema)| json!({ key: schema["default"] })).collect();
    assert!(written.len() > 15, "{written:?}");
    for value in written {
        assert_eq!(read(&value), read(&json!({})), "{value}");
    }
}

#[test]
fn the_hardware_address_has_three_sources() {
    let all =
        json!({"runtimeConfig": {"mac": "02:00:00:00:00:01"}, "args": {"cni": {"mac": "02:00:00:00:00:02"}}});
    let mac = |extra: &Value| conf(extra, "MAC=02:00:00:00:00:03").unwrap().mac.unwrap().to_string();
    assert_eq!(mac(&all), "02:00:00:00:00:01");
    assert_eq!(mac(&json!({"args": {"cni": {"mac": "02:00:00:00:00:02"}}})), "02:00:00:00:00:02");
    assert_eq!(mac(&json!({})), "02:00:00:00:00:03");
}

#[test]
fn a_gate_is_there_where_something_is_closed() {
    for (keys, wanted) in [
        (json!({}), None),
        (json!({"icc": true, "ingress": "any"}), None),
        (json!({"icc": false}), Some(Gate { edge: Edge::Open, apart: true })),
        (json!({"icc": false, "ingress": "published"}), Some(Gate { edge: Edge::Published, apart: true })),
        (json!({"internal": true}), Some(Gate { edge: Edge::Internal, apart: false })),
    ] {
        let conf = conf(&keys, "").unwrap();
        assert_eq!(
            (conf.gate, conf.keeps_apart()),
            (wanted, wanted.is_some_and(|gate| gate.apart)),
            "{keys}"
        );
    }
}

#[test]
fn the_gateway_of_a_vlan_is_a_link_of_its_own() {
    let link = |extra: &Value| conf(extra, "").unwrap().host_link().to_string();
    assert_eq!(link(&json!({"vlan": 100, "isGateway": true})), "cni0.100");
    assert_eq!(link(&json!({"vlan": 100, "isDefaultGateway": true})), "cni0.100");
    // No link of its own: the bridge itself is on VLAN 1, and so are the untagged frames of a trunk; the third has no gateway.
    for keys in [
        json!({"vlan": 1, "isGateway": true}),
        json!({"vlanTrunk": [{"id": 5}], "isGateway": true}),
        json!({"vlan": 100}),
    ] {
        assert_eq!(link(&keys), "cni0");
    }
}

#[test]
fn contradictions_are_refused_with_the_key() {
    for (extra, code, words) in [
        (json!({"hairpinMode": true, "promiscMode": true}), 7, "exclude each other"),
        (
            json!({"disableContainerInterface": true, "ipam": {"type": "host-local"}}),
            7,
            "disableContainerInterface",
        ),
        (json!({"mtu": 20}), 7, "mtu 20"),
        (json!({"mtu": "x"}), 7, "mtu: invalid type"),
        (json!({"mtu": -1}), 7, "mtu: invalid value"),
        (json!({"bridge": "a-name-of-sixteen"}), 7, "a-name-of-sixteen"),
        (json!({"runtimeConfig": {"mac": "zz"}}), 7, "\"zz\""),
        (json!({"runtimeConfig": {"mac": "01:00:00:00:00:00"}}), 7, "multicast"),
        (json!({"ingress": "some"}), 7, "\"some\""),
        (json!({"forward": "yes"}), 7, "\"yes\""),
        (json!({"icc": "no"}), 7, "icc: invalid type"),
        (json!({"vlan": 4095}), 7, "4095"),
        (json!({"vlan": 7, "icc": false}), 7, "br_netfilter"),
        (json!({"vlan": 100, "bridge": "a-long-bridge", "isGateway": true}), 7, "a-long-bridge.100"),
        (json!({"ipMasqBackend": "ipchains"}), 7, "\"ipchains\""),
    ] {
        let error = conf(&extra, "").unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn a_network_that_the_firewall_is_opened_for_lets_in_what_it_publishes() {
    let of = |keys: &Value| {
        let conf = conf(keys, "").unwrap();
        (conf.forward, conf.gate.map(|gate| gate.edge))
    };
    assert_eq!(of(&json!({"forward": "host"})), (false, None));
    assert_eq!(of(&json!({"forward": "accept"})), (true, Some(Edge::Published)));
    assert_eq!(of(&json!({"forward": "accept", "ingress": "any"})), (true, None));
    assert_eq!(of(&json!({"forward": "accept", "internal": true})), (true, Some(Edge::Internal)));
}

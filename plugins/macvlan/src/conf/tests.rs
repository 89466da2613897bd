use cni::{Args, Attachment, Command, ContainerId};
use serde_json::{Value, json};

use super::*;

fn conf(family: Family, extra: &Value, args: &str) -> Result<Conf, cni::Error> {
    let mut value = json!({"cniVersion": "1.0.0", "name": "net", "type": family.kind()});
    for (key, extra) in extra.as_object().unwrap() {
        value[key] = extra.clone();
    }
    let conf = cni::Conf::from_slice(value.to_string().as_bytes()).unwrap();
    let attachment = Attachment {
        network: conf.network.clone(),
        container_id: ContainerId::new("c").unwrap(),
        ifname: IfName::new("eth0").unwrap(),
    };
    let target = Target { attachment, netns: None, args: Args::parse(args).unwrap(), raw_args: args.into() };
    let request = Request { command: Command::Add, conf, path: vec![] };
    Conf::new(family, &request, Some(&target)).map_err(Into::into)
}

#[test]
fn defaults_are_the_references() {
    let macvlan = conf(Family::Macvlan, &json!({}), "").unwrap();
    let expected = UpperKind::Macvlan { mode: MacvlanMode::Bridge, mac: None, bc_queue_len: None };
    assert_eq!(macvlan.kind, expected);
    assert!(macvlan.master.is_none() && macvlan.mtu.is_none() && macvlan.ipam.is_none());
    assert!(macvlan.accepts_ra && !macvlan.in_container);
    let ipvlan = conf(Family::Ipvlan, &json!({}), "").unwrap();
    assert_eq!(ipvlan.kind, UpperKind::Ipvlan { mode: IpvlanMode::L2 });
}

/// What the schema says is the default makes no difference where it is written.
#[test]
fn a_default_that_is_written_changes_nothing() {
    for family in [Family::Macvlan, Family::Ipvlan] {
        let read = |extra: &Value| format!("{:?}", conf(family, extra, "").unwrap());
        let schema = schema(family);
        let keys = schema["properties"].as_object().unwrap();
        let written = keys.iter().filter(|(_, key)| !key["default"].is_null());
        let written: Vec<Value> = written.map(|(key, schema)| json!({ key: schema["default"] })).collect();
        assert!(written.len() > 3, "{written:?}");
        for value in written {
            assert_eq!(read(&value), read(&json!({})), "{value}");
        }
    }
}

#[test]
fn the_hardware_address_of_the_runtime_comes_first() {
    let mac = |extra: &Value, args| conf(Family::Macvlan, extra, args).unwrap().mac().unwrap().to_string();
    let own = json!({"mac": "02:00:00:00:00:01"});
    assert_eq!(mac(&own, ""), "02:00:00:00:00:01");
    assert_eq!(mac(&own, "MAC=02:00:00:00:00:02"), "02:00:00:00:00:02");
    let mut all = own;
    all["args"] = json!({"cni": {"mac": "02:00:00:00:00:03"}});
    assert_eq!(mac(&all, "MAC=02:00:00:00:00:02"), "02:00:00:00:00:03");
    all["runtimeConfig"] = json!({"mac": "02:00:00:00:00:04"});
    assert_eq!(mac(&all, "MAC=02:00:00:00:00:02"), "02:00:00:00:00:04");
}

#[test]
fn every_mode_has_its_word() {
    for word in ["bridge", "private", "vepa", "passthru"] {
        conf(Family::Macvlan, &json!({"mode": word}), "").unwrap();
    }
    for word in ["l2", "l3", "l3s"] {
        conf(Family::Ipvlan, &json!({"mode": word}), "").unwrap();
    }
}

#[test]
fn what_cannot_be_is_refused_with_the_key() {
    for (family, keys, words) in [
        (Family::Macvlan, json!({"mode": "l2"}), "mode \"l2\" is unknown (use \"bridge\""),
        (Family::Ipvlan, json!({"mode": "bridge"}), "mode \"bridge\" is unknown (use \"l2\""),
        (
            Family::Macvlan,
            json!({"hostAccess": true, "mode": "vepa"}),
            "hostAccess needs macvlan in mode bridge",
        ),
        (Family::Ipvlan, json!({"hostAccess": true}), "hostAccess needs macvlan in mode bridge"),
        (Family::Macvlan, json!({"mtu": 67}), "mtu 67 is out of range"),
        (Family::Macvlan, json!({"mac": "02:00"}), "\"02:00\" is no MAC address"),
        (Family::Macvlan, json!({"mac": "03:00:00:00:00:01"}), "is a multicast address"),
        (Family::Ipvlan, json!({"master": "a/b"}), "master: "),
        (Family::Macvlan, json!({"master": "sixteen-bytes-00"}), "master: "),
    ] {
        let error = conf(family, &keys, "").unwrap_err();
        assert_eq!(error.code(), 7, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
}

//! Configurations and addresses, and the elements that come of them, as `nft` writes them.

use std::fmt::Write as _;

use cni::{Command, ContainerId, IfName, NetworkName, Request};
use nftables::{Data, Field, key};
use serde_json::{Value, json};

use super::*;

fn conf(mappings: &Value, mut keys: Value) -> Conf {
    keys["cniVersion"] = json!("1.0.0");
    keys["name"] = json!("net");
    keys["type"] = json!("host-port");
    keys["runtimeConfig"] = json!({"portMappings": mappings});
    let conf = cni::Conf::from_slice(keys.to_string().as_bytes()).unwrap();
    let request = Request { command: Command::Add, conf, path: vec![] };
    Conf::new(&request).unwrap()
}

fn networks(texts: &[&str]) -> Vec<IpNetwork> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn plan(conf: &Conf, addresses: &[&str]) -> Result<Plan, Error> {
    let attachment = Attachment {
        network: NetworkName::new("net").unwrap(),
        container_id: ContainerId::new("web").unwrap(),
        ifname: IfName::new("eth0").unwrap(),
    };
    let local = needs_localhost(conf, &networks(addresses)).then(|| "cni0".to_owned());
    Plan::new(&attachment, conf, &networks(addresses), "veth0", local)
}

fn words(fields: &[Field]) -> String {
    fields.iter().map(Field::to_string).collect::<Vec<_>>().join(" . ")
}

/// One line an element, comments left out; those of `owners` by their comment.
fn written(plan: &Plan) -> String {
    let mut text = String::new();
    for ((map, key), element) in plan.elements() {
        let data = match element.data.unwrap() {
            Data::Value(bytes) => words(&key::decode(map.data.unwrap(), &bytes).unwrap()),
            Data::Verdict(verdict) => verdict.to_string(),
        };
        writeln!(text, "{} {} : {data}", map.name, words(&key)).unwrap();
    }
    let memory = plan.memory().unwrap().comment.unwrap();
    writeln!(text, "owners {memory}").unwrap();
    text.replace(&plan.chain.name, "CHAIN")
}

const DUAL: [&str; 2] = ["10.1.0.11/24", "fd00:1::11/64"];

#[test]
fn a_port_without_host_address_is_published_in_every_family() {
    let conf = conf(&json!([{"hostPort": 8080, "containerPort": 80}]), json!({}));
    let plan = plan(&conf, &DUAL).unwrap();
    assert_eq!(
        written(&plan),
        "port4 tcp . 8080 : 10.1.0.11 . 80\n\
         port6 tcp . 8080 : fd00:1::11 . 80\n\
         hair4 10.1.0.11 : goto CHAIN\n\
         hair6 fd00:1::11 : goto CHAIN\n\
         owners cni0 10.1.0.11 fd00:1::11 tcp/8080\n"
    );
    assert_eq!(plan.chain.subnets, networks(&["10.1.0.0/24", "fd00:1::/64"]));
}

#[test]
fn host_addresses_narrow_to_themselves_or_to_their_family() {
    let mappings = json!([
        {"hostPort": 80, "containerPort": 80, "hostIP": "127.0.0.1"},
        {"hostPort": 80, "containerPort": 81, "hostIP": "0.0.0.0"},
        {"hostPort": 80, "containerPort": 82, "hostIP": "::"},
        {"hostPort": 53, "containerPort": 53, "hostIP": "2001:db8::1", "protocol": "UDP"},
    ]);
    assert_eq!(
        written(&plan(&conf(&mappings, json!({})), &DUAL).unwrap()),
        "host4 127.0.0.1 . tcp . 80 : 10.1.0.11 . 80\n\
         port4 tcp . 80 : 10.1.0.11 . 81\n\
         port6 tcp . 80 : fd00:1::11 . 82\n\
         host6 2001:db8::1 . udp . 53 : fd00:1::11 . 53\n\
         hair4 10.1.0.11 : goto CHAIN\n\
         hair6 fd00:1::11 : goto CHAIN\n\
         owners cni0 10.1.0.11 fd00:1::11 127.0.0.1/tcp/80 tcp/80 2001:db8::1/udp/53\n"
    );
}

#[test]
fn without_snat_nobody_is_masqueraded() {
    let conf = conf(&json!([{"hostPort": 80, "containerPort": 80}]), json!({"snat": false}));
    assert_eq!(
        written(&plan(&conf, &DUAL[..1]).unwrap()),
        "port4 tcp . 80 : 10.1.0.11 . 80\nowners - tcp/80\n"
    );
}

#[test]
fn localhost_is_left_alone_where_no_port_needs_it() {
    let on_address = json!([{"hostPort": 80, "containerPort": 80, "hostIP": "192.0.2.1"}]);
    let on_v6 = json!([{"hostPort": 80, "containerPort": 80, "hostIP": "::"}]);
    for mappings in [on_address, on_v6] {
        assert_eq!(plan(&conf(&mappings, json!({})), &DUAL).unwrap().chain.local, None);
    }
}

#[test]
fn what_would_be_published_twice_or_nowhere_is_refused() {
    let twice = json!([
        {"hostPort": 80, "containerPort": 80},
        {"hostPort": 80, "containerPort": 81, "hostIP": "0.0.0.0"},
    ]);
    let nowhere = json!([{"hostPort": 80, "containerPort": 80, "hostIP": "2001:db8::1"}]);
    for (mappings, text) in [
        (twice, "runtimeConfig.portMappings[0] and [1] both publish 0.0.0.0:80/tcp"),
        (
            nowhere,
            "runtimeConfig.portMappings[0].hostIP 2001:db8::1 is IPv6, and the container has no IPv6 address",
        ),
    ] {
        let error = plan(&conf(&mappings, json!({})), &DUAL[..1]).unwrap_err();
        assert_eq!(error.to_string(), text);
    }
}

#[test]
fn chains_differ_by_what_their_rules_depend_on() {
    let mappings = json!([{"hostPort": 80, "containerPort": 80}]);
    let name = |keys: Value, addresses: &[&str]| plan(&conf(&mappings, keys), addresses).unwrap().chain.name;
    let all = [
        name(json!({}), &DUAL),
        name(json!({}), &DUAL[..1]),
        name(json!({"masqAll": true}), &DUAL),
        name(json!({"snat": false}), &DUAL),
    ];
    let different: std::collections::BTreeSet<_> = all.iter().collect();
    assert_eq!(different.len(), all.len());
    assert_eq!(name(json!({}), &["10.1.0.12/24"]), name(json!({}), &["10.1.0.13/24"]));
}

#[test]
fn the_host_interface_is_the_last_before_the_containers() {
    let result = |names: &[(&str, &str)]| {
        let interfaces = names.iter().map(|(name, sandbox)| cni::Interface {
            name: (*name).to_owned(),
            sandbox: (*sandbox).to_owned(),
            ..cni::Interface::default()
        });
        AddResult { interfaces: interfaces.collect(), ..AddResult::default() }
    };
    let behind_bridge = result(&[("cni0", ""), ("veth0", ""), ("eth0", "/run/netns/a")]);
    assert_eq!(host_interface(&behind_bridge, "eth0"), Some("veth0"));
    assert_eq!(host_interface(&result(&[("eth0", "/run/netns/a")]), "eth0"), None);
    assert_eq!(host_interface(&result(&[("veth0", "")]), "eth0"), None);
}

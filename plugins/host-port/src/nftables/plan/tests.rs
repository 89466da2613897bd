//! Configurations and addresses, and the elements that follow from them, as `nft` writes them.

use std::fmt::Write as _;

use cni::{AddResult, Attachment, Command, ContainerId, IfName, NetworkName, Request};
use nftables::{Data, Field, key};
use serde_json::{Value, json};

use super::*;
use crate::conf::Conf;
use crate::container::Container;
use crate::plan::{host_interface, needs_localhost};

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
    let needs = |is_ipv4| needs_localhost(conf, &networks(addresses), is_ipv4);
    let locals = [needs(true).then_some("cni0"), needs(false).then_some("lo")];
    let locals = locals.into_iter().flatten().map(str::to_owned).collect();
    let container =
        Container { addresses: networks(addresses), interface: "veth0".to_owned(), ..Container::default() };
    let wanted = Wanted { attachment: &attachment, conf: conf.clone(), container };
    Plan::new(&wanted, &conf.mappings, locals, false)
}

fn words(fields: &[Field]) -> String {
    fields.iter().map(Field::to_string).collect::<Vec<_>>().join(" . ")
}

/// One line for each element, without its comment; for an element of `owners`, only its comment.
fn written(plan: &Plan) -> String {
    let mut text = String::new();
    for ((map, key), element, _) in plan.elements() {
        let data = match element.data {
            Some(Data::Value(bytes)) => {
                format!(" : {}", words(&key::decode(map.data.unwrap(), &bytes).unwrap()))
            }
            Some(Data::Verdict(verdict)) => format!(" : {verdict}"),
            None => String::new(),
        };
        writeln!(text, "{} {}{data}", map.name, words(&key)).unwrap();
    }
    let record = plan.record().element().unwrap().comment.unwrap();
    writeln!(text, "owners {record}").unwrap();
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
         local6 tcp . 8080\n\
         hair4 10.1.0.11 : goto CHAIN\n\
         hair6 fd00:1::11 : goto CHAIN\n\
         owners cni0/lo 10.1.0.11 fd00:1::11 tcp/8080\n"
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
        {"hostPort": 83, "containerPort": 83, "hostIP": "::1"},
    ]);
    assert_eq!(
        written(&plan(&conf(&mappings, json!({})), &DUAL).unwrap()),
        "host4 127.0.0.1 . tcp . 80 : 10.1.0.11 . 80\n\
         port4 tcp . 80 : 10.1.0.11 . 81\n\
         port6 tcp . 80 : fd00:1::11 . 82\n\
         host6 2001:db8::1 . udp . 53 : fd00:1::11 . 53\n\
         host6 fd63:6c65:6174::34c3 . tcp . 83 : fd00:1::11 . 83\n\
         local6 tcp . 80\n\
         local6 tcp . 83\n\
         hair4 10.1.0.11 : goto CHAIN\n\
         hair6 fd00:1::11 : goto CHAIN\n\
         owners cni0/lo 10.1.0.11 fd00:1::11 127.0.0.1/tcp/80 tcp/80 2001:db8::1/udp/53 ::1/tcp/83\n"
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
    for (host_ip, locals) in [
        ("192.0.2.1", &[][..]),
        ("2001:db8::1", &[]),
        ("::", &["lo"]),
        ("::1", &["lo"]),
        ("0.0.0.0", &["cni0"]),
        ("127.0.0.5", &["cni0"]),
        ("", &["cni0", "lo"]),
    ] {
        let mappings = json!([{"hostPort": 80, "containerPort": 80, "hostIP": host_ip}]);
        assert_eq!(plan(&conf(&mappings, json!({})), &DUAL).unwrap().chain.locals, locals, "{host_ip}");
    }
}

#[test]
fn what_contradicts_itself_is_refused() {
    let twice = json!([
        {"hostPort": 80, "containerPort": 80},
        {"hostPort": 80, "containerPort": 81, "hostIP": "0.0.0.0"},
    ]);
    let error = plan(&conf(&twice, json!({})), &DUAL[..1]).unwrap_err();
    assert_eq!(error.to_string(), "runtimeConfig.portMappings[0] and [1] both publish 0.0.0.0:80/tcp");
}

#[test]
fn a_container_without_addresses_publishes_nothing() {
    let one = json!([{"hostPort": 80, "containerPort": 80}]);
    assert!(plan(&conf(&one, json!({})), &[]).unwrap().ports.is_empty());
}

#[test]
fn what_is_said_twice_is_published_once() {
    let mappings = json!([
        {"hostPort": 80, "containerPort": 80},
        {"hostPort": 80, "containerPort": 80, "hostIP": "0.0.0.0"},
        {"hostPort": 80, "containerPort": 80, "hostIP": "::"},
        {"hostPort": 79, "containerPort": 79, "range": 2},
        {"hostPort": 81, "containerPort": 80, "hostIP": "127.0.0.1"},
        {"hostPort": 81, "containerPort": 80, "hostIP": "::ffff:127.0.0.1"},
    ]);
    let plan = plan(&conf(&mappings, json!({})), &DUAL).unwrap();
    let ports: Vec<String> = plan.ports.iter().map(|(at, port)| format!("{at} {port}")).collect();
    assert_eq!(
        ports,
        ["0 0.0.0.0:80/tcp", "0 [::]:80/tcp", "3 0.0.0.0:79/tcp", "3 [::]:79/tcp", "5 127.0.0.1:81/tcp"]
    );
}

#[test]
fn a_host_address_of_a_family_that_the_container_lacks_publishes_nothing() {
    let mappings = json!([
        {"hostPort": 80, "containerPort": 80, "hostIP": "0.0.0.0"},
        {"hostPort": 80, "containerPort": 80, "hostIP": "::"},
        {"hostPort": 81, "containerPort": 80, "hostIP": "2001:db8::1"},
    ]);
    let text = written(&plan(&conf(&mappings, json!({})), &DUAL[..1]).unwrap());
    assert_eq!(
        text,
        "port4 tcp . 80 : 10.1.0.11 . 80\nhair4 10.1.0.11 : goto CHAIN\nowners cni0 10.1.0.11 tcp/80\n"
    );
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

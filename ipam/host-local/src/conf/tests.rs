use cni::Command;
use serde_json::{Value, json};

use super::*;

fn request(conf: Value) -> Request {
    let mut conf = conf;
    for (key, value) in [("cniVersion", "1.0.0"), ("name", "net"), ("type", "bridge")] {
        conf.as_object_mut().unwrap().entry(key).or_insert_with(|| value.into());
    }
    let conf = cni::Conf::from_slice(conf.to_string().as_bytes()).unwrap();
    Request { command: Command::Add, conf, path: vec![] }
}

fn read(conf: Value, args: &str) -> Result<Conf, cni::Error> {
    Conf::read(&request(conf), Some(&Args::read(args))).map_err(Into::into)
}

fn shown(conf: &Conf) -> Vec<String> {
    let show = |demand: &Demand| {
        let requested = demand.requested.map(|address| format!(" {address}")).unwrap_or_default();
        format!("{}{requested}", demand.set)
    };
    conf.demands.iter().map(show).collect()
}

#[test]
fn sets_come_in_the_references_order() {
    let conf = read(
        json!({
            "ipam": {
                "subnet": "10.2.0.0/24", "RangeStart": "10.2.0.10", "rangeEnd": "10.2.0.20", "gateway": "10.2.0.254",
                "ranges": [[{"subnet": "10.3.0.0/30"}, {"subnet": "10.4.0.0/30", "gateway": ""}], [{"subnet": "fd00::/126"}]],
                "routes": [{"dst": "0.0.0.0/0", "gw": "10.2.0.9", "mtu": 1400, "advmss": 1360, "priority": 5, "table": 9, "scope": 0}],
                "resolvConf": "/etc/resolv.conf",
            },
            "runtimeConfig": {"IPRanges": [[{"Subnet": "10.1.0.0/30", "Gateway": null}]]},
        }),
        "",
    )
    .unwrap();
    assert_eq!(
        shown(&conf),
        [
            "10.1.0.1-10.1.0.2",
            "10.2.0.10-10.2.0.20",
            "10.3.0.1-10.3.0.2,10.4.0.1-10.4.0.2",
            "fd00::1-fd00::3"
        ]
    );
    assert_eq!(conf.demands[1].set.ranges()[0].gateway.to_string(), "10.2.0.254");
    let route = &conf.routes[0];
    assert_eq!((route.mtu, route.advmss, route.priority), (Some(1400), Some(1360), Some(5)));
    assert_eq!((route.table, route.scope), (Some(9), Some(0)));
    assert_eq!(conf.resolver.as_deref(), Some(Path::new("/etc/resolv.conf")));
}

#[test]
fn requests_come_from_all_sources_and_none_is_dropped() {
    let conf = |runtime: &[&str], args: &[&str]| {
        json!({
            "ipam": {"ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00::/64"}]]},
            "runtimeConfig": {"ips": runtime},
            "args": {"cni": {"ips": args}, "other": 1},
        })
    };
    let (v4, v6) = ("10.1.0.1-10.1.0.254", "fd00::1-fd00::ffff:ffff:ffff:ffff");
    for (runtime, args, env, wanted) in [
        (&[][..], &[][..], "IgnoreUnknown=1", [v4.to_owned(), v6.to_owned()]),
        (&[], &[], "IP=10.1.0.7", [format!("{v4} 10.1.0.7"), v6.to_owned()]),
        (&[], &[], "IP= fd00::7/64,10.1.0.7/24", [format!("{v4} 10.1.0.7"), format!("{v6} fd00::7")]),
        (&[], &["fd00::8/64"], "IP=10.1.0.7", [format!("{v4} 10.1.0.7"), format!("{v6} fd00::8")]),
        (&["fd00::8"], &[], "x;IP=10.1.0.7", [format!("{v4} 10.1.0.7"), format!("{v6} fd00::8")]),
        (
            &["10.1.0.9", "10.1.0.9/24", "fd00:0::9"],
            &["::ffff:10.1.0.9"],
            "IP=10.1.0.9",
            [format!("{v4} 10.1.0.9"), format!("{v6} fd00::9")],
        ),
        (&["::ffff:10.1.0.9"], &[], "", [format!("{v4} 10.1.0.9"), v6.to_owned()]),
    ] {
        assert_eq!(shown(&read(conf(runtime, args), env).unwrap()), wanted);
    }
    for (runtime, args, env) in [
        (&["10.1.0.9"][..], &[][..], "IP=10.1.0.7"),
        (&["10.1.0.9"], &["10.1.0.7"], ""),
        (&[], &["10.1.0.9"], "IP=10.1.0.7"),
    ] {
        let error = read(conf(runtime, args), env).unwrap_err();
        assert!(error.message().contains("10.1.0.9 and 10.1.0.7: both are of range set 0"), "{error}");
    }
    assert_eq!(read(conf(&[], &[]), "IP:10.1.0.7").unwrap_err().code(), 4);
    for (ips, words) in [
        (&["10.1.0"][..], "runtimeConfig.ips: \"10.1.0\" is no IP address"),
        (&["10.1.0.9/33"], "\"10.1.0.9/33\" is no IP address"),
        (&[""], "\"\" is no IP address"),
        (&["10.2.0.1"], "10.2.0.1: it is in no configured subnet"),
        (&["10.1.0.255"], "it is in no configured subnet, or no host's address there"),
        (&["10.1.0.1"], "10.1.0.1: it is the gateway"),
        (&["10.1.0.5", "10.1.0.6"], "10.1.0.5 and 10.1.0.6: both are of range set 0"),
    ] {
        let error = read(conf(ips, &[]), "").unwrap_err();
        assert_eq!(error.code(), 7, "{error}");
        assert!(error.message().contains(words), "{error}");
    }
}

#[test]
fn addresses_beside_the_ranges_go_to_a_set_of_their_subnet() {
    let conf = |ips: &[&str]| {
        json!({
            "ipam": {"ranges": [
                [{"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.10", "rangeEnd": "10.1.0.20", "gateway": "10.1.0.254"}],
                [{"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.30", "rangeEnd": "10.1.0.40"}],
                [{"subnet": "fd00::/64", "rangeStart": "fd00::10"}],
            ]},
            "runtimeConfig": {"ips": ips},
        })
    };
    let sets = ["10.1.0.10-10.1.0.20", "10.1.0.30-10.1.0.40", "fd00::10-fd00::ffff:ffff:ffff:ffff"];
    for (ips, wanted) in [
        (&["10.1.0.5", "fd00::5"][..], [" 10.1.0.5", "", " fd00::5"]),
        // An address in a range is leased from that range, whatever the order of the requests.
        (&["10.1.0.5", "10.1.0.11"], [" 10.1.0.11", " 10.1.0.5", ""]),
        (&["10.1.0.5", "10.1.0.31"], [" 10.1.0.5", " 10.1.0.31", ""]),
        (&["10.1.0.50", "10.1.0.51"], [" 10.1.0.50", " 10.1.0.51", ""]),
    ] {
        let wanted: Vec<String> = sets.iter().zip(wanted).map(|(set, ip)| format!("{set}{ip}")).collect();
        assert_eq!(shown(&read(conf(ips), "").unwrap()), wanted, "{ips:?}");
    }
    for (ips, words) in [
        (&["10.1.0.1"][..], "10.1.0.1: it is the gateway"),
        (&["10.1.0.254"], "10.1.0.254: it is the gateway"),
        (&["fd00::1"], "fd00::1: it is the gateway"),
        (&["10.1.0.0"], "no host's address"),
        (&["10.1.0.255"], "no host's address"),
        (&["fd00::"], "no host's address"),
        (&["10.1.0.5", "10.1.0.11", "10.1.0.31"], "10.1.0.11 and 10.1.0.5: both are of range set 0"),
    ] {
        let error = read(conf(ips), "").unwrap_err();
        assert!(error.message().contains(words), "{ips:?}: {error}");
    }
    let conf = read(conf(&[]), "").unwrap();
    for (address, set) in
        [("10.1.0.35", Some(1)), ("10.1.0.5", Some(0)), ("fd00::5", Some(2)), ("10.2.0.1", None)]
    {
        assert_eq!(conf.set_of(address.parse().unwrap()), set, "{address}");
    }
}

#[test]
fn bad_configurations_are_refused_by_name() {
    for (conf, words) in [
        (json!({}), "no \"ipam\""),
        (json!({"ipam": {}}), "ipam: it has no ranges"),
        (json!({"ipam": {"ranges": [[]]}}), "ipam.ranges[0]: the range set is empty"),
        (json!({"ipam": {"subnet": "10.1.0.0"}}), "ipam.subnet: \"10.1.0.0\" has no prefix length"),
        (
            json!({"ipam": {"subnet": "10.1.2.3/24"}}),
            "ipam: subnet 10.1.2.3/24 has host bits: write 10.1.2.0/24",
        ),
        (
            json!({"ipam": {"subnet": "10.1.0.0/24", "rangeStart": "x"}}),
            "ipam.rangeStart: \"x\" is no IP address",
        ),
        (
            json!({"ipam": {"ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "10.2.0.0/31"}]]}}),
            "ipam.ranges[1][0]: subnet 10.2.0.0/31 is too small",
        ),
        (
            json!({"ipam": {"ranges": [[{"rangeStart": "10.1.0.1"}]]}}),
            "ipam.ranges[0][0]: missing field `subnet`",
        ),
        (json!({"ipam": {"ranges": [{"subnet": "10.1.0.0/24"}]}}), "ipam.ranges[0]"),
        (
            json!({"ipam": {"ranges": [[{"subnet": "10.1.0.0/24"}, {"subnet": "fd00::/64"}]]}}),
            "different address families",
        ),
        (json!({"ipam": {"subnet": "10.1.0.0/24", "ranges": [[{"subnet": "10.1.0.0/16"}]]}}), "overlap"),
        (
            json!({"ipam": {"subnet": "10.1.0.0/24"}, "runtimeConfig": {"ipRanges": [[{"subnet": "10.9.0.1/24"}]]}}),
            "runtimeConfig.ipRanges[0][0]: subnet",
        ),
        (json!({"ipam": {"subnet": "10.1.0.0/24", "routes": [{"dst": "10.0.0.0"}]}}), "ipam.routes[0].dst"),
        (
            json!({"cniVersion": "0.2.0", "ipam": {"ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "10.2.0.0/24"}]]}}),
            "one address per family",
        ),
    ] {
        let error = read(conf, "").unwrap_err();
        assert_eq!(error.code(), 7, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn ranges_that_nobody_could_compare_are_refused() {
    let ranges: Vec<_> = (0..=MAX_RANGES)
        .map(|index| json!([{"subnet": format!("10.{}.{}.0/24", index / 256, index % 256)}]))
        .collect();
    let error = read(json!({"ipam": {"ranges": ranges}}), "").unwrap_err();
    assert!(error.to_string().contains("more than 1024 ranges"), "{error}");
}

#[test]
fn the_folder_is_found_in_a_configuration_that_is_wrong_otherwise() {
    let folder = |conf| super::folder(&request(conf));
    let broken = json!({"ipam": {"dataDir": "/d", "subnet": 7, "ranges": "x"}, "runtimeConfig": 1});
    assert_eq!(folder(broken), Path::new("/d/net"));
    for conf in [json!({}), json!({"ipam": {"dataDir": ""}}), json!({"ipam": {"dataDir": null}})] {
        assert_eq!(folder(conf), Path::new("/var/lib/cni/networks/net"));
    }
}

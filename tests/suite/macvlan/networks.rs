//! Networks of `cleat network create -d macvlan`: as Docker's users write them, with names, and refused with the reason where they
//! cannot be.

use std::fs;

use sandbox::traffic::{ask_tcp, serve_tcp};
use sandbox::{Call, Host, Namespaced, Snapshot, isolated};
use serde_json::{Value, json};

use super::lan;
use crate::shared::cleat::{NETWORKS, cleat, ok};
use crate::shared::programs::HOST_PORT;
use crate::shared::shell::{said, shell};

fn refused(args: &[&str]) -> String {
    let output = cleat(args).output().unwrap();
    assert!(!output.status.success(), "{args:?}");
    said(&output)
}

fn inspected(network: &str) -> Value {
    let output = cleat(&["network", "inspect", network, "--json"]).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    serde_json::from_slice::<Value>(&output.stdout).unwrap()[0].clone()
}

#[test]
fn a_network_on_an_interface_of_the_host() {
    isolated(|| {
        let host = Host::new();
        fs::create_dir_all(NETWORKS).unwrap();
        let before = Snapshot::take();
        ok(&[
            "network",
            "create",
            "-d",
            "macvlan",
            "-o",
            "parent=uplink",
            "--subnet",
            "192.0.2.0/24",
            "--gateway",
            "192.0.2.2",
            "--ip-range",
            "192.0.2.64/26",
            "lan",
        ]);
        ok(&["conf", "check", &format!("{NETWORKS}/zz-lan.conflist")]);
        let network = inspected("lan");
        assert_eq!(network["Driver"], "macvlan");
        assert_eq!(network["Options"], json!({"parent": "uplink", "macvlan_mode": "bridge"}));
        assert_eq!(
            network["IPAM"]["Config"],
            json!([{"Subnet": "192.0.2.0/24", "Gateway": "192.0.2.2", "IPRange": "192.0.2.64/26"}])
        );
        let add = |name: &str, netns: &Namespaced| {
            serve_tcp(Some(netns), name, "0.0.0.0:80");
            let path = netns.path().to_str().unwrap();
            let mut command = cleat(&["add", "lan", path, "--id", name]);
            let output = command.env("CNI_ARGS", format!("LINK_NAME={name}")).output().unwrap();
            assert!(output.status.success(), "{}", said(&output));
        };
        let (web, db) = (Namespaced::new("web"), Namespaced::new("db"));
        add("web", &web);
        add("db", &db);
        // Names are link-env's, as on a bridge.
        let hosts = fs::read_to_string("/run/cleat/containers/web/hosts").unwrap();
        assert!(hosts.contains("192.0.2.65\tdb"), "{hosts}");
        assert!(ask_tcp(Some(&web), "192.0.2.65:80").unwrap().starts_with("db sees 192.0.2.64"));
        assert!(ask_tcp(Some(&host.outside), "192.0.2.64:80").unwrap().starts_with("web"));
        assert!(refused(&["network", "rm", "lan"]).contains("are on it"));
        ok(&["check"]);
        ok(&["status", "lan"]);
        let graph = said(&cleat(&["graph"]).output().unwrap());
        assert!(graph.contains("lan"), "{graph}");
        // What is gone of a container is put right in place.
        web.enter(|| shell("ip addr flush dev eth0"));
        assert!(!cleat(&["check"]).output().unwrap().status.success());
        let repaired = said(&cleat(&["repair"]).output().unwrap());
        assert!(repaired.contains("put right"), "{repaired}");
        ok(&["check"]);
        assert!(ask_tcp(Some(&host.outside), "192.0.2.64:80").unwrap().starts_with("web"));
        for (name, netns) in [("web", &web), ("db", &db)] {
            ok(&["del", "lan", netns.path().to_str().unwrap(), "--id", name]);
        }
        ok(&["network", "rm", "lan"]);
        drop((web, db));
        before.assert_unchanged();
    });
}

/// The addresses of other machines, which no container gets: on a bridge, too.
#[test]
fn auxiliary_addresses_are_not_leased() {
    isolated(|| {
        let _host = Host::new();
        fs::create_dir_all(NETWORKS).unwrap();
        let asked = |driver: &[&'static str], subnet: &'static str, aux: &'static str, name: &'static str| {
            let fixed = ["network", "create", "--subnet", subnet, "--aux-address", aux];
            let args: Vec<&str> = fixed.into_iter().chain(driver.iter().copied()).chain([name]).collect();
            ok(&args);
            ok(&["conf", "check", &format!("{NETWORKS}/zz-{name}.conflist")]);
        };
        asked(&["-d", "macvlan", "-o", "parent=uplink"], "10.7.0.0/24", "nas=10.7.0.3", "lan");
        asked(&[], "10.8.0.0/24", "nas=10.8.0.3", "plain");
        for (name, subnet) in [("lan", "10.7.0"), ("plain", "10.8.0")] {
            let config = &inspected(name)["IPAM"]["Config"];
            let expected = json!({"nas": format!("{subnet}.3")});
            assert_eq!(config.as_array().unwrap().len(), 1, "{config}");
            assert_eq!(config[0]["AuxiliaryAddresses"], expected);
            assert_eq!(config[0]["Subnet"], format!("{subnet}.0/24"));
            for (number, wanted) in [2, 4].into_iter().enumerate() {
                let netns = Namespaced::new(&format!("{name}-{number}"));
                let added = ok(&["add", name, netns.path().to_str().unwrap(), "--id", netns.name()]);
                assert!(added.contains(&format!("{subnet}.{wanted}/24")), "{added}");
            }
        }
        for (aux, words) in
            [("nas=10.9.0.3", "in none of the subnets"), ("nas=10.9", "no IP address"), ("nas", "NAME=IP")]
        {
            let text =
                refused(&["network", "create", "--subnet", "10.10.0.0/24", "--aux-address", aux, "no"]);
            assert!(text.contains(words), "{text}");
        }
    });
}

/// Every row: options of `network create`, and words of the refusal.
#[test]
fn what_cannot_be_is_refused_with_the_reason() {
    isolated(|| {
        let _host = Host::new();
        fs::create_dir_all(NETWORKS).unwrap();
        let create = |options: &str| {
            let args: Vec<&str> = ["network", "create"].into_iter().chain(options.split(' ')).collect();
            refused(&args)
        };
        for (options, words) in [
            ("-d macvlan lan", "no parent is named"),
            ("-d macvlan -o parent=eth9 lan", "there is no interface eth9"),
            ("-d macvlan -o parent=eth9.50 lan", "there is no interface eth9"),
            (
                "-d macvlan -o parent=uplink -o macvlan_mode=l2 lan",
                "macvlan_mode l2 is unknown\n  there are bridge",
            ),
            (
                "-d macvlan -o parent=uplink -o ipvlan_mode=l2 lan",
                "ipvlan_mode is not an option of driver macvlan",
            ),
            ("-d macvlan -o parent=uplink --icc=false lan", "--icc is of a bridge"),
            ("-d macvlan -o parent=uplink --internal lan", "--internal is of a bridge"),
            ("-d macvlan -o parent=uplink --mtu 9000 lan", "MTU 9000 is larger than the 1500 of uplink"),
            ("-d macvlan -o parent=uplink -o host_access=maybe lan", "host_access is true or false"),
            ("-d ipvlan -o parent=uplink -o host_access=true lan", "host_access needs driver macvlan"),
            ("-o parent=uplink lan", "parent is of no use with driver bridge"),
            ("-d overlay -o parent=uplink lan", "parent is of no use with driver overlay"),
            ("-d macvlan -o parent=uplink -o vni=5 lan", "is of no use with driver macvlan"),
            ("-d macvln -o parent=uplink lan", "did you mean macvlan?"),
            ("-d ovrlay lan", "did you mean overlay?"),
            ("-d host lan", "only one instance of driver host is allowed"),
            ("-d null lan", "only one instance of driver null is allowed"),
            ("-d none lan", "only one instance of driver none is allowed"),
        ] {
            let text = create(options);
            assert!(text.contains(words), "{options}: {text}");
            assert_eq!(fs::read_dir(NETWORKS).unwrap().count(), 0, "{options}");
        }
        ok(&["network", "create", "-d", "macvlan", "-o", "parent=uplink", "lan"]);
        let text = create("-d ipvlan -o parent=uplink other");
        assert!(text.contains("network lan has uplink for macvlan in mode bridge"), "{text}");
        // A second one in the same mode is well.
        ok(&[
            "network",
            "create",
            "-d",
            "macvlan",
            "-o",
            "parent=uplink",
            "-o",
            "host_access=true",
            "second",
        ]);
        assert_eq!(inspected("second")["Options"]["host_access"], "true");
        let published = refused(&["run", "--network", "lan", "-p", "80:80", "true"]);
        assert!(published.contains("where all of their ports are theirs"), "{published}");
    });
}

/// A list of another program with a plugin that publishes ports: host-port says why it cannot.
#[test]
fn a_port_of_a_container_beside_the_host_is_not_published() {
    isolated(|| {
        let _host = Host::new();
        let container = lan::Container::start("a", lan::conf(&json!({})));
        let mut conf = json!({"cniVersion": "1.1.0", "name": "lan", "type": "host-port",
            "prevResult": container.result, "runtimeConfig": {"portMappings": [{"hostPort": 8080, "containerPort": 80}]}});
        let call = |conf: &Value| Call::new(HOST_PORT, "ADD", conf).of("a", &container.netns, "eth0").run();
        let (code, said) = call(&conf).error();
        assert_eq!(code, 7, "{said}");
        assert!(said.contains("interface eth0 is a macvlan, which the host does not reach"), "{said}");
        conf["runtimeConfig"] = json!({});
        assert_eq!(call(&conf).result()["ips"], container.result["ips"]);
        container.stop();
    });
}

#[test]
fn the_networks_that_every_host_has_are_described() {
    isolated(|| {
        fs::create_dir_all(NETWORKS).unwrap();
        for (name, driver) in [("host", "host"), ("none", "null")] {
            let network = inspected(name);
            assert_eq!((&network["Name"], &network["Driver"]), (&json!(name), &json!(driver)));
            assert_eq!(network["Options"], json!({}));
            ok(&["network", "inspect", name]);
        }
    });
}

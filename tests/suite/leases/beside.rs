//! Static addresses: outside the range of the dynamic leases, and asked for in several ways at once.

use std::fs;

use sandbox::traffic::ask_tcp;
use sandbox::{Host, Snapshot, isolated};
use serde_json::{Value, json};

use super::{FOLDER, Network, Them, Us, addresses, assert_empty, assert_leased, last_reserved, requests};
use crate::shared::cleat::{cleat, install_networks, succeed};
use crate::shared::containers::{add, del};

fn part() -> Network {
    Network::new(&json!([
        [{"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.128", "rangeEnd": "10.1.0.130"}],
        [{"subnet": "fd00:1::/64", "rangeStart": "fd00:1::80"}]
    ]))
}

fn first(result: &Value) -> String {
    addresses(result)[0].to_string()
}

#[test]
fn an_address_beside_the_range_is_leased_to_a_container_that_asks_for_it() {
    isolated(|| {
        let network = part();
        assert_eq!(first(&network.add(Us, "plain")), "10.1.0.128");
        for (way, keys, args) in requests("10.1.0.5") {
            let last = last_reserved(0);
            let result = network.call(Us, "ADD", "asks", &keys, &args).result();
            assert_eq!(first(&result), "10.1.0.5", "{way}");
            assert_eq!(result["ips"][0]["address"], "10.1.0.5/24");
            assert_eq!(result["ips"][0]["gateway"], "10.1.0.1");
            assert_leased(addresses(&result)[0], "asks");
            assert_eq!(last_reserved(0), last, "the last reserved address stays");
            for of in [Us, Them] {
                network.check(of, "asks", &result).silent();
            }
            // Neither our host-local nor the reference's leases it a second time.
            let (code, said) = network.call(Us, "ADD", "late", &keys, &args).error();
            assert!(code == 102 && said.contains("10.1.0.5: it is in use by container asks "), "{said}");
            assert!(!network.call(Them, "ADD", "late", &keys, &args).output().status.success());
            // DEL of either program releases it, and so does GC. From then on CHECK fails.
            match way {
                "args" => network.del(Them, "asks", Some(&result)),
                "CNI_ARGS" => network.del(Us, "asks", None),
                _ => {
                    let valid = |ids: &[&str]| {
                        let valid = ids.iter().map(|id| json!({"containerID": id, "ifname": "eth0"}));
                        json!({"cniVersion": "1.1.0", "cni.dev/valid-attachments": valid.collect::<Vec<_>>()})
                    };
                    network.call(Us, "GC", "", &valid(&["plain", "asks"]), "").silent();
                    network.check(Us, "asks", &result).silent();
                    network.call(Us, "GC", "", &valid(&["plain"]), "").silent();
                }
            }
            let (code, said) = network.check(Us, "asks", &result).error();
            assert!(code == 101 && said.contains("check the lease of 10.1.0.5 "), "{said}");
        }
        // An attachment has one address of a range set, whether inside or outside the range.
        let (_, keys, args) = requests("10.1.0.5").into_iter().next().unwrap();
        assert_eq!(first(&network.call(Us, "ADD", "asks", &keys, &args).result()), "10.1.0.5");
        let (code, said) = network.call(Us, "ADD", "asks", &json!({}), "").error();
        assert!(code == 102 && said.contains("it has 10.1.0.5 already"), "{said}");
        // Addresses outside a full range can still be leased.
        for id in ["second", "third"] {
            assert!(["10.1.0.129", "10.1.0.130"].contains(&first(&network.add(Us, id)).as_str()));
        }
        let status = network.call(Us, "STATUS", "", &json!({"cniVersion": "1.1.0"}), "").error();
        assert!(status.0 == 50 && status.1.contains("3 of 3 addresses are in use"), "{}", status.1);
        let beside = network.call(Us, "ADD", "beside", &json!({}), "IP=10.1.0.254").result();
        assert_eq!(first(&beside), "10.1.0.254");
        network.del(Us, "asks", None);
        let (code, said) = network.call(Us, "ADD", "more", &json!({}), "").error();
        assert_eq!(code, 50, "{said}");
        for id in ["plain", "second", "third", "beside"] {
            network.del(Us, id, None);
        }
        assert_empty();
    });
}

#[test]
fn what_must_stay_free_is_not_given_to_anybody() {
    isolated(|| {
        let network = part();
        for (address, code, words) in [
            ("10.1.0.1", 7, "it is the gateway"),
            ("10.1.0.0", 7, "no host's address"),
            ("10.1.0.255", 7, "no host's address"),
            ("10.2.0.5", 7, "in no configured subnet"),
            ("fd00:1::", 7, "no host's address"),
            ("10.1.0.5,10.1.0.6", 7, "both are of range set 0"),
            ("10.1.0.05", 7, "\"10.1.0.05\" is no IP address"),
        ] {
            let (found, said) = network.call(Us, "ADD", "c1", &json!({}), &format!("IP={address}")).error();
            assert!(found == code && said.contains(words), "{address}: {said}");
        }
        assert!(fs::read_dir(FOLDER).is_err(), "nothing was made");
    });
}

#[test]
fn all_ways_to_ask_count_together() {
    isolated(|| {
        let network = Network::new(&json!([[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00:1::/64"}]]));
        let both = ["10.1.0.50", "fd00:1::50"];
        for (keys, args) in [
            (json!({"runtimeConfig": {"ips": [both[1]]}}), "IgnoreUnknown=1;IP=10.1.0.50"),
            (json!({"args": {"cni": {"ips": ["fd00:1::50/64"]}}}), "IP=10.1.0.50"),
            (json!({"runtimeConfig": {"ips": [both[0]]}, "args": {"cni": {"ips": [both[1]]}}}), ""),
            (json!({"runtimeConfig": {"ips": both}, "args": {"cni": {"ips": both}}}), "IP=10.1.0.50"),
        ] {
            for of in [Us, Them] {
                let result = network.call(of, "ADD", "c1", &keys, args).result();
                let given: Vec<String> = addresses(&result).iter().map(ToString::to_string).collect();
                assert_eq!(given, both, "{of:?} {keys} {args}");
                network.del(Us, "c1", Some(&result));
            }
        }
        let contradiction = json!({"runtimeConfig": {"ips": ["10.1.0.50"]}});
        for of in [Us, Them] {
            let answer = network.call(of, "ADD", "c1", &contradiction, "IP=10.1.0.51");
            assert!(!answer.output().status.success(), "{of:?}: {answer:?}");
        }
        assert_empty();
    });
}

/// As Docker's manual recommends: `--ip-range` for dynamic addresses, and fixed ones (`--ip`) outside of it.
#[test]
fn run_and_connect_give_addresses_beside_ip_range() {
    isolated(|| {
        let _host = Host::new();
        install_networks();
        let before = Snapshot::take();
        let ok = |line: &str| succeed(&mut cleat(&line.split(' ').collect::<Vec<_>>()));
        ok("network create mine --subnet 10.77.0.0/24 --ip-range 10.77.0.128/25");
        let shown = ok("run --network mine --ip 10.77.0.7 -- ip -o -4 addr show eth0");
        assert!(shown.contains("10.77.0.7/24"), "{shown}");
        let web = add("web", "cleat", 8080);
        ok("network connect --ip 10.77.0.8 mine web");
        let answer = ask_tcp(None, "10.77.0.8:80").unwrap();
        assert!(answer.contains("web"), "{answer}");
        let refused = |line: &str| {
            let output = cleat(&line.split(' ').collect::<Vec<_>>()).output().unwrap();
            assert!(!output.status.success());
            String::from_utf8(output.stderr).unwrap()
        };
        let said = refused("run --network mine --ip 10.77.0.8 -- true");
        assert!(said.contains("10.77.0.8: it is in use by container "), "{said}");
        let said = refused("run --network mine --ip 10.77.0.1 -- true");
        assert!(said.contains("10.77.0.1: it is the gateway"), "{said}");
        ok(&format!("del mine {} --id web", web.path().display()));
        del("cleat", web);
        ok("network rm mine");
        before.assert_unchanged();
    });
}

/// The cached `CNI_ARGS` may have an `IP` that the container does not have: earlier versions silently ignored `IP` where the
/// `ips` capability asked for an address as well.
#[test]
fn repair_leases_again_what_the_container_has() {
    isolated(|| {
        let _host = Host::new();
        install_networks();
        let before = Snapshot::take();
        let web = add("web", "cleat", 8080);
        let entry = "/var/lib/cni/results/cleat-web-eth0";
        let mut kept: Value = serde_json::from_slice(&fs::read(entry).unwrap()).unwrap();
        let address = first(&kept["result"]);
        kept["cniArgs"] = json!([["IP", address.replace(".0.", ".9.")]]);
        fs::write(entry, kept.to_string()).unwrap();
        let lease = format!("/var/lib/cni/networks/cleat/{address}");
        fs::remove_file(&lease).unwrap();
        let said = succeed(&mut cleat(&["repair"]));
        assert_eq!(fs::read_to_string(&lease).unwrap(), "web\r\neth0", "{said}");
        del("cleat", web);
        before.assert_unchanged();
    });
}

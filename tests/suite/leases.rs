//! The reference's host-local and ours use one folder of leases at the same time; and ADDs that request an address while others
//! may get it.

mod beside;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::{Barrier, Mutex};
use std::thread;

use sandbox::{Answer, Call, Namespaced, isolated};
use serde_json::{Value, json};

const FOLDER: &str = "/var/lib/cni/networks/net";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    Us,
    Them,
}

use crate::shared::programs::{HOST_LOCAL, REFERENCE};
use Of::{Them, Us};

impl Of {
    /// Ours and theirs in turn.
    fn turn(number: usize) -> Self {
        if number.is_multiple_of(2) { Us } else { Them }
    }

    fn other(self) -> Self {
        if self == Us { Them } else { Us }
    }
}

/// A network with host-local. Its containers share one namespace, as host-local does not use it.
struct Network {
    conf: Value,
    netns: Namespaced,
}

impl Network {
    fn new(ranges: &Value) -> Self {
        let conf = json!({
            "cniVersion": "1.0.0", "name": "net", "type": "bridge",
            "ipam": {"type": "host-local", "ranges": ranges}
        });
        Self { conf, netns: Namespaced::new("c") }
    }

    fn call(&self, of: Of, command: &str, id: &str, keys: &Value, args: &str) -> Answer {
        let program = match of {
            Us => HOST_LOCAL.to_owned(),
            Them => Path::new(REFERENCE).join("host-local").display().to_string(),
        };
        let mut conf = self.conf.clone();
        conf.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        Call::new(&program, command, &conf).of(id, &self.netns, "eth0").env("CNI_ARGS", args).run()
    }

    fn add(&self, of: Of, id: &str) -> Value {
        self.call(of, "ADD", id, &json!({}), "").result()
    }

    fn check(&self, of: Of, id: &str, result: &Value) -> Answer {
        self.call(of, "CHECK", id, &json!({"prevResult": result}), "")
    }

    /// DEL, with the result of ADD where the runtime has kept it.
    fn del(&self, of: Of, id: &str, result: Option<&Value>) {
        let keys = result.map_or_else(|| json!({}), |result| json!({"prevResult": result}));
        self.call(of, "DEL", id, &keys, "").silent();
    }
}

fn addresses(result: &Value) -> Vec<IpAddr> {
    let of = |ip: &Value| ip["address"].as_str().unwrap().split_once('/').unwrap().0.parse().unwrap();
    result["ips"].as_array().unwrap().iter().map(of).collect()
}

/// The names of the files in the network's folder, and of those in `.owners` as `.owners/<name>`.
fn names() -> BTreeSet<String> {
    let list = |folder: &str, before: &str| -> Vec<String> {
        let entries = fs::read_dir(folder).into_iter().flatten();
        entries.map(|entry| format!("{before}{}", entry.unwrap().file_name().display())).collect()
    };
    list(FOLDER, "").into_iter().chain(list(&format!("{FOLDER}/.owners"), ".owners/")).collect()
}

fn leases() -> BTreeMap<IpAddr, String> {
    let content = |name: String| {
        let address = name.parse().ok()?;
        Some((address, fs::read_to_string(Path::new(FOLDER).join(name)).unwrap()))
    };
    names().into_iter().filter_map(content).collect()
}

/// Asserts that a lease has the content that both programs write. (The mode differs: it is 0600 with ours and the
/// reference's of today, and 0644 with the reference 1.1.)
fn assert_leased(address: IpAddr, id: &str) {
    let file = Path::new(FOLDER).join(address.to_string());
    assert_eq!(fs::read_to_string(&file).unwrap(), format!("{id}\r\neth0"), "{address}");
}

fn last_reserved(set: usize) -> IpAddr {
    fs::read_to_string(format!("{FOLDER}/last_reserved_ip.{set}")).unwrap().parse().unwrap()
}

/// Asserts that no lease is left, only the files of the network itself.
fn assert_empty() {
    let kept = |name: &String| name.starts_with("last_reserved_ip.") || name == ".free";
    let left: Vec<String> = names().into_iter().filter(|name| !kept(name)).collect();
    assert_eq!(left, [".owners", "boot_id", "lock"]);
}

#[test]
fn either_program_checks_and_releases_what_the_other_leased() {
    isolated(|| {
        let network = Network::new(&json!([[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00:1::/64"}]]));
        // The folder is made by ours first, then by the reference's.
        for first in [Us, Them] {
            let mut host = 1;
            for (turn, with_result) in [(0, true), (1, true), (2, false), (3, false)] {
                let maker = if first == Us { Of::turn(turn) } else { Of::turn(turn).other() };
                let id = format!("{maker:?}-{with_result}");
                let result = network.add(maker, &id);
                host += 1;
                let wanted = [format!("10.1.0.{host}"), format!("fd00:1::{host:x}")];
                assert_eq!(addresses(&result), wanted.map(|address| address.parse::<IpAddr>().unwrap()));
                for (set, address) in addresses(&result).into_iter().enumerate() {
                    assert_leased(address, &id);
                    assert_eq!(last_reserved(set), address);
                }
                for of in [Us, Them] {
                    network.check(of, &id, &result).silent();
                    let previous = with_result.then_some(&result);
                    // The DEL of another container, even with this result, removes nothing.
                    network.del(of, "stranger", previous);
                }
                assert_eq!(leases().len(), 2);
                network.del(maker.other(), &id, with_result.then_some(&result));
                assert_eq!(leases(), BTreeMap::new());
                assert!(!network.check(maker, &id, &result).output().status.success());
                // A second DEL by either program succeeds.
                for of in [Us, Them] {
                    network.del(of, &id, with_result.then_some(&result));
                }
                // DEL keeps the last reserved address, after which either program goes on.
                assert_eq!(last_reserved(0), addresses(&result)[0]);
            }
            assert_empty();
            fs::remove_dir_all(FOLDER).unwrap();
        }
    });
}

#[test]
fn both_programs_at_once_lease_no_address_twice_and_leave_nothing() {
    const PROCESSES: usize = 50;
    isolated(|| {
        // 61 addresses for 50 containers: the order wraps round while neighbours come and go.
        let network = Network::new(&json!([[{"subnet": "10.1.0.0/26"}], [{"subnet": "fd00:1::/122"}]]));
        let held: Mutex<BTreeMap<IpAddr, String>> = Mutex::default();
        let barrier = Barrier::new(PROCESSES);
        thread::scope(|scope| {
            for worker in 0..PROCESSES {
                let (network, held, barrier) = (&network, &held, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    for round in 0..4 {
                        let id = format!("c{worker}-{round}");
                        let maker = Of::turn(worker + round);
                        // In round 2 the same program releases the lease, in the others the other one; in rounds 1 and 3 without
                        // the result.
                        let remover = if round < 2 { maker.other() } else { Of::turn(worker) };
                        let result = network.add(maker, &id);
                        let own = addresses(&result);
                        assert_eq!(own.len(), 2);
                        for address in &own {
                            assert_leased(*address, &id);
                            let former = held.lock().unwrap().insert(*address, id.clone());
                            assert_eq!(former, None, "{address} of {id}, leased by {maker:?}");
                        }
                        if round == 1 {
                            network.check(remover, &id, &result).silent();
                        }
                        held.lock().unwrap().retain(|address, _| !own.contains(address));
                        network.del(remover, &id, round.is_multiple_of(2).then_some(&result));
                        for address in own {
                            let left = fs::read_to_string(Path::new(FOLDER).join(address.to_string()));
                            assert_ne!(left.unwrap_or_default(), format!("{id}\r\neth0"), "{remover:?}");
                        }
                    }
                });
            }
        });
        assert_empty();
        // Either program leases the address after the last reserved one.
        for of in [Us, Them, Us] {
            let (before, result) = (last_reserved(0), network.add(of, "next"));
            let next = match before {
                IpAddr::V4(last) if last != Ipv4Addr::new(10, 1, 0, 62) => {
                    Ipv4Addr::from_bits(last.to_bits() + 1)
                }
                _ => Ipv4Addr::new(10, 1, 0, 2),
            };
            assert_eq!(addresses(&result)[0], next);
            network.del(of.other(), "next", None);
        }
        assert_empty();
    });
}

/// How an address can be asked for: a key of the configuration, or `CNI_ARGS`.
fn requests(address: &str) -> [(&'static str, Value, String); 3] {
    [
        ("runtimeConfig", json!({"runtimeConfig": {"ips": [format!("{address}/24")]}}), String::new()),
        ("args", json!({"args": {"cni": {"ips": [address]}}}), String::new()),
        ("CNI_ARGS", json!({}), format!("IgnoreUnknown=1;IP={address}")),
    ]
}

#[test]
fn of_all_who_ask_for_an_address_at_once_one_gets_it() {
    const PLAIN: usize = 30;
    const ASKING: usize = 6;
    isolated(|| {
        // 40 addresses: 30 for the ADDs that request none, and some more to show that no address is lost.
        let range = json!([[{"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.11", "rangeEnd": "10.1.0.50"}]]);
        let network = Network::new(&range);
        // An address that ADDs without a request may get, and one that they do not reach.
        for (address, is_contested) in [("10.1.0.20", true), ("10.1.0.48", false)] {
            for (way, keys, args) in requests(address) {
                let barrier = Barrier::new(PLAIN + ASKING);
                let told: Vec<Result<IpAddr, (u64, String)>> = thread::scope(|scope| {
                    let (network, barrier, keys, args) = (&network, &barrier, &keys, &args);
                    let workers: Vec<_> = (0..PLAIN + ASKING)
                        .map(|worker| {
                            scope.spawn(move || {
                                barrier.wait();
                                if worker >= ASKING {
                                    let result = network.add(Of::turn(worker), &format!("c{worker}"));
                                    return Ok(addresses(&result)[0]);
                                }
                                let answer = network.call(Us, "ADD", &format!("c{worker}"), keys, args);
                                if answer.output().status.success() {
                                    Ok(addresses(&answer.result())[0])
                                } else {
                                    Err(answer.error())
                                }
                            })
                        })
                        .collect();
                    workers.into_iter().map(|worker| worker.join().unwrap()).collect()
                });
                let wanted: IpAddr = address.parse().unwrap();
                let given: Vec<&IpAddr> = told.iter().flatten().collect();
                assert_eq!(given.iter().collect::<BTreeSet<_>>().len(), given.len(), "{way}: {given:?}");
                let holder = told.iter().position(|told| *told == Ok(wanted)).unwrap();
                assert!(is_contested || holder < ASKING, "{way}: c{holder} did not ask");
                assert_leased(wanted, &format!("c{holder}"));
                for told in told.iter().take(ASKING).enumerate().filter(|(asking, _)| *asking != holder) {
                    let (code, said) = told.1.as_ref().unwrap_err();
                    assert_eq!(*code, 102, "{said}");
                    let words =
                        format!("lease requested address {address}: it is in use by container c{holder} ");
                    assert!(said.contains(&words), "{way}: {said}");
                }
                // Refused ADDs leave no lease, and the rest of the range can still be leased.
                assert_eq!(leases().len(), given.len());
                for further in given.len()..40 {
                    network.add(Of::turn(further), &format!("d{further}"));
                }
                let (code, said) = network.call(Us, "ADD", "d40", &json!({}), "").error();
                assert_eq!((code, said.contains("40 of 40 addresses are in use")), (50, true), "{said}");
                for content in leases().into_values() {
                    network.del(Us, content.split_once("\r\n").unwrap().0, None);
                }
                assert_empty();
                fs::remove_dir_all(FOLDER).unwrap();
            }
        }
    });
}

//! Moving a live node from the reference plugins: the programs are replaced while pods run, and the pods' traffic goes on.

use std::process::Command;

use runtimes::cri::{ContainerSpec, Cri, Pod, PodSpec};
use runtimes::{Containerd, Machine, Release, eventually, machine, run};
use sandbox::Snapshot;
use sandbox::traffic::ask_tcp;
use serde_json::{Value, json};

use crate::cri::{await_network, end};

/// The plugins of the reference that the suite replaces.
const REPLACED: [&str; 4] = ["bridge", "host-local", "loopback", "portmap"];

/// A node with the plugins of the reference, on a network with `more` plugins in its list. The snapshot is of the node
/// without pods.
fn start(machine: &Machine, more: &[Value]) -> (Containerd, Cri, Snapshot) {
    let conflist = include_str!("../../data/conflists/containerd-net.conflist");
    let mut conflist: Value = serde_json::from_str(conflist).unwrap();
    conflist["plugins"].as_array_mut().unwrap().extend_from_slice(more);
    let others = more.iter().map(|plugin| plugin["type"].as_str().unwrap());
    machine.reference(&REPLACED.into_iter().chain(["firewall"]).chain(others).collect::<Vec<_>>());
    machine.network("10-containerd-net.conflist", &conflist);
    let containerd = Containerd::start(Release::Debian12);
    let cri = Cri::new(containerd.socket());
    await_network(&cri);
    // What the reference makes for the first pod and keeps belongs to the state before.
    let first = serve(&cri, "first", 8079);
    await_addresses();
    end(&cri, &first);
    let before = machine.snapshot();
    (containerd, cri, before)
}

#[test]
fn pods_of_the_reference_live_on_and_go_without_a_trace() {
    machine(|machine| {
        let (_containerd, cri, before) = start(machine, &[]);

        let old = serve(&cri, "old", 8080);
        let ask =
            |address: String| eventually("an answer", || ask_tcp(Some(&machine.host.outside), &address));
        assert_eq!(ask("192.0.2.1:8080".to_owned()).trim(), "old");
        machine.ours(&REPLACED);
        assert_eq!(ask("192.0.2.1:8080".to_owned()).trim(), "old");
        let new = serve(&cri, "new", 8081);
        assert_eq!(ask("192.0.2.1:8081".to_owned()).trim(), "new");
        assert_eq!(ask("192.0.2.1:8080".to_owned()).trim(), "old");
        let [old_address, new_address] = [&old, &new].map(|pod| cri.addresses(pod)[0].clone());
        assert_ne!(old_address, new_address);

        // Our plugins remove the pod that the reference set up.
        end(&cri, &old);
        assert_eq!(ask("192.0.2.1:8081".to_owned()).trim(), "new");
        ask_tcp(Some(&machine.host.outside), "192.0.2.1:8080").unwrap_err();
        end(&cri, &new);
        assert_gone(machine, &before);
    });
}

/// `cleat` recognises the reference's layout: `check` finds nothing broken, `repair` changes nothing, and `gc` removes
/// nothing.
#[test]
fn pods_of_the_reference_are_judged_as_theirs() {
    machine(|machine| {
        let tuning = json!({ "type": "tuning", "sysctl": { "net.ipv4.conf.all.log_martians": "1" } });
        let (_containerd, cri, before) = start(machine, &[tuning]);
        let pods = [("web", 8080), ("db", 8081)].map(|(name, port)| (name, port, serve(&cri, name, port)));
        let all_answer = || {
            for (name, port, pod) in &pods {
                let ask = |place, address: String| eventually("an answer", || ask_tcp(place, &address));
                assert_eq!(ask(Some(&machine.host.outside), format!("192.0.2.1:{port}")).trim(), *name);
                assert_eq!(ask(None, format!("{}:80", cri.addresses(pod)[0])).trim(), *name);
            }
        };
        all_answer();
        machine.ours(&REPLACED);
        let during = machine.snapshot();
        let json = |args: &[&str]| -> Value {
            serde_json::from_str(&run(machine.cleat().args(args).arg("--json"))).unwrap()
        };
        let checked = json(&["check"]);
        let states = checked.as_array().unwrap().iter().filter(|row| row["interface"] == "eth0");
        let states: Vec<&Value> = states.map(|row| &row["state"]).collect();
        assert_eq!(states, ["ok", "ok"], "{checked:#}");
        for repair in [&["repair"][..], &["repair", "--dry-run"], &["repair", "--force"]] {
            assert_eq!(json(repair), json!([]));
        }
        run(machine.cleat().args(["gc", "--force"]));
        during.assert_unchanged();
        let rows = json(&["ps"]);
        assert_eq!(rows.as_array().unwrap().len(), 2, "{rows:#}");
        for row in rows.as_array().unwrap() {
            assert_eq!(
                (&row["runtime"], &row["ports"][0]["containerPort"]),
                (&json!("containerd"), &json!(80))
            );
        }
        all_answer();

        // If the rules are lost, `repair` makes them anew in our layout.
        run(Command::new("nft").args(["flush", "ruleset"]));
        let output = machine.cleat().arg("check").output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let repaired = json(&["repair"]);
        let states: Vec<&Value> = repaired.as_array().unwrap().iter().map(|row| &row["state"]).collect();
        assert_eq!(states, ["repaired", "repaired"], "{repaired:#}");
        assert_eq!(json(&["repair", "--force"]), json!([]));
        all_answer();
        for (_, _, pod) in &pods {
            end(&cri, pod);
        }
        assert_gone(machine, &before);
    });
}

pub(crate) fn await_addresses() {
    eventually("the bridge's addresses are no longer tentative", || {
        let tentative = run(Command::new("ip").args(["-6", "addr", "show", "dev", "cni0", "tentative"]));
        if tentative.is_empty() { Ok(()) } else { Err(tentative) }
    });
}

/// Nothing was added since. Something may be missing: our plugins may remove what the reference keeps for all its pods.
fn assert_gone(machine: &Machine, before: &Snapshot) {
    let known: Vec<&str> = before.lines().collect();
    eventually("nothing of the pods is left", || {
        let now = machine.snapshot();
        let left: Vec<String> = now.lines().filter(|line| !known.contains(line)).map(str::to_owned).collect();
        if left.is_empty() { Ok(()) } else { Err(left) }
    });
}

/// A pod that answers with its name on a published port.
fn serve(cri: &Cri, name: &str, port: u16) -> Pod {
    let pod = cri
        .run_pod(&PodSpec { name: name.to_owned(), ports: vec![(port, 80)], ..PodSpec::default() })
        .unwrap();
    let command = ["nc", "-ll", "-p", "80", "-e", "hostname"];
    cri.run_container(&pod, &ContainerSpec { command: &command, ..ContainerSpec::default() }).unwrap();
    pod
}

//! Pods through containerd's CRI, as a kubelet runs them: with Debian 12's containerd, and with the newest.

use runtimes::cri::{ContainerSpec, Cri, Pod, PodSpec};
use runtimes::{Containerd, Machine, Release, eventually, machine};
use sandbox::traffic::{ask_tcp, serve_tcp};
use serde_json::{Value, json};

const SERVE: [&str; 6] = ["nc", "-ll", "-p", "80", "-e", "hostname"];

#[test]
fn our_chain_under_debians_containerd() {
    machine(|machine| {
        machine.network("10-pods.conflist", &offered());
        pods_live_and_leave_nothing(machine, Release::Debian12);
    });
}

#[test]
fn our_chain_under_the_newest_containerd() {
    machine(|machine| {
        let mut network = offered();
        network["cniVersion"] = json!("1.1.0");
        machine.network("10-pods.conflist", &network);
        pods_live_and_leave_nothing(machine, Release::Newest);
    });
}

#[test]
fn our_plugins_among_the_references_under_debians_containerd() {
    machine(|machine| {
        mixed(machine);
        pods_live_and_leave_nothing(machine, Release::Debian12);
    });
}

#[test]
fn our_plugins_among_the_references_under_the_newest_containerd() {
    machine(|machine| {
        mixed(machine);
        pods_live_and_leave_nothing(machine, Release::Newest);
    });
}

/// The plugins' answer to STATUS decides whether the node is ready.
#[test]
fn a_node_without_free_addresses_says_so() {
    machine(|machine| {
        let mut network = offered();
        network["cniVersion"] = json!("1.1.0");
        // A /30 has two addresses; one of them is the gateway's.
        network["plugins"][0]["ipam"]["ranges"] = json!([[{ "subnet": "10.94.0.0/30" }]]);
        network["plugins"][0]["ipam"]["routes"] = json!([{ "dst": "0.0.0.0/0" }]);
        machine.network("10-pods.conflist", &network);
        let containerd = Containerd::start(Release::Newest);
        let cri = Cri::new(containerd.socket());
        let is_ready = |wanted: bool| {
            eventually("the network's status", || {
                let (ready, message) = cri.network_status().map_err(|status| status.to_string())?;
                if ready == wanted { Ok(message) } else { Err(format!("{ready}: {message}")) }
            })
        };
        is_ready(true);
        let pod = cri.run_pod(&pod("only")).unwrap();
        let message = is_ready(false);
        assert!(message.contains("1 of 1 addresses are in use"), "{message}");
        let refused = cri.run_pod(&PodSpec { name: "second".to_owned(), ..PodSpec::default() }).unwrap_err();
        assert!(refused.message().contains("1 of 1 addresses are in use"), "{refused}");
        end(&cri, &pod);
        is_ready(true);
    });
}

/// The network configuration that conf/ has for containerd.
fn offered() -> Value {
    serde_json::from_str(include_str!("../../../conf/containerd/10-containerd-net.conflist")).unwrap()
}

/// Adds the same network with plugins of the reference in the chain.
fn mixed(machine: &Machine) {
    machine.reference(&["firewall", "tuning", "bandwidth"]);
    let mut network = offered();
    network["plugins"][1]["type"] = json!("portmap");
    network["plugins"].as_array_mut().unwrap().extend([
        json!({ "type": "firewall" }),
        json!({ "type": "tuning", "sysctl": { "net.ipv4.conf.all.log_martians": "1" } }),
        json!({ "type": "bandwidth", "capabilities": { "bandwidth": true } }),
    ]);
    machine.network("10-pods.conflist", &network);
}

fn pod(name: &str) -> PodSpec {
    PodSpec {
        name: name.to_owned(),
        annotations: vec![("kubernetes.io/ingress-bandwidth".to_owned(), "100M".to_owned())],
        ports: vec![(8080, 80)],
        ..PodSpec::default()
    }
}

/// The outside reaches a published pod by IPv4 and IPv6. A pod reaches the outside and another pod. All this still works
/// after a restart of containerd. When both pods have ended, nothing is left.
fn pods_live_and_leave_nothing(machine: &Machine, release: Release) {
    serve_tcp(Some(&machine.host.outside), "outside", "[::]:80");
    let mut containerd = Containerd::start(release);
    let cri = Cri::new(containerd.socket());
    await_network(&cri);
    // The reference's firewall makes chains for the first pod and keeps them: they belong to the state before.
    end(&cri, &cri.run_pod(&pod("first")).unwrap());
    let before = machine.snapshot();

    let web = cri.run_pod(&pod("web")).unwrap();
    cri.run_container(&web, &ContainerSpec { command: &SERVE, ..ContainerSpec::default() }).unwrap();
    let client = cri.run_pod(&PodSpec { name: "client".to_owned(), ..PodSpec::default() }).unwrap();
    let inside = cri.run_container(&client, &ContainerSpec::default()).unwrap();

    let from_outside = |address: &str| {
        let outside = Some(&machine.host.outside);
        let answer = eventually("web answers the outside", || ask_tcp(outside, address));
        assert_eq!(answer.trim(), "web");
    };
    let reach_all = |cri: &Cri| {
        let from_client = |address: &str, port: &str| {
            let ask = ["nc", "-w", "5", address, port];
            eventually("an answer to the client", || cri.exec(&inside, &ask))
        };
        from_outside("192.0.2.1:8080");
        from_outside("[2001:db8::1]:8080");
        for address in cri.addresses(&web) {
            assert_eq!(from_client(&address, "80").trim(), "web");
        }
        assert_eq!(from_client("192.0.2.1", "8080").trim(), "web", "by the host's address, from a pod");
        assert_eq!(from_client("192.0.2.2", "80"), "outside sees 192.0.2.1", "masqueraded");
        assert_eq!(from_client("2001:db8::2", "80"), "outside sees 2001:db8::1", "masqueraded");
    };
    assert_eq!(cri.addresses(&web).len(), 2);
    reach_all(&cri);
    containerd.restart();
    let cri = Cri::new(containerd.socket());
    reach_all(&cri);
    let refused = cri.run_pod(&PodSpec { name: "late".to_owned(), ..pod("late") }).unwrap_err();
    assert!(refused.message().contains("8080"), "the port is web's: {refused}");

    end(&cri, &client);
    end(&cri, &web);
    before.assert_unchanged();
}

/// Waits until the runtime has loaded the network.
pub(crate) fn await_network(cri: &Cri) {
    eventually("the network is ready", || match cri.network_status() {
        Ok((true, _)) => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

/// Stops and removes a pod. It is stopped twice, as kubelets do.
pub(crate) fn end(cri: &Cri, pod: &Pod) {
    cri.stop(pod);
    cri.stop(pod);
    cri.remove(pod);
}

//! Moving a live node from the reference plugins: their programs are replaced while pods run, and no pod notices.

use std::process::Command;

use runtimes::cri::{ContainerSpec, Cri, Pod, PodSpec};
use runtimes::{Containerd, Release, eventually, machine, run};
use sandbox::traffic::ask_tcp;

use crate::cri::{await_network, end};

/// What the suite has in the place of plugins of the reference.
const REPLACED: [&str; 4] = ["bridge", "host-local", "loopback", "portmap"];

#[test]
fn pods_of_the_reference_live_on_and_go_without_a_trace() {
    machine(|machine| {
        machine.reference(&REPLACED);
        machine.reference(&["firewall"]);
        let conflist = include_str!("../../data/conflists/containerd-net.conflist");
        machine.network("10-containerd-net.conflist", &serde_json::from_str(conflist).unwrap());
        let containerd = Containerd::start(Release::Debian12);
        let cri = Cri::new(containerd.socket());
        await_network(&cri);
        // What the reference makes once and keeps is there from the first pod on.
        let first = serve(&cri, "first", 8079);
        eventually("the bridge's addresses are no longer tentative", || {
            let tentative = run(Command::new("ip").args(["-6", "addr", "show", "dev", "cni0", "tentative"]));
            if tentative.is_empty() { Ok(()) } else { Err(tentative) }
        });
        end(&cri, &first);
        let before = machine.snapshot();

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

        // The one that the reference set up is taken down by ours.
        end(&cri, &old);
        assert_eq!(ask("192.0.2.1:8081".to_owned()).trim(), "new");
        ask_tcp(Some(&machine.host.outside), "192.0.2.1:8080").unwrap_err();
        end(&cri, &new);
        // What the reference keeps for all its pods may go with the last of them.
        let known: Vec<&str> = before.lines().collect();
        eventually("nothing of the pods is left", || {
            let now = machine.snapshot();
            let left: Vec<String> =
                now.lines().filter(|line| !known.contains(line)).map(str::to_owned).collect();
            if left.is_empty() { Ok(()) } else { Err(left) }
        });
    });
}

/// A pod that tells its name on a published port.
fn serve(cri: &Cri, name: &str, port: u16) -> Pod {
    let pod = cri
        .run_pod(&PodSpec { name: name.to_owned(), ports: vec![(port, 80)], ..PodSpec::default() })
        .unwrap();
    let command = ["nc", "-ll", "-p", "80", "-e", "hostname"];
    cri.run_container(&pod, &ContainerSpec { command: &command, ..ContainerSpec::default() }).unwrap();
    pod
}

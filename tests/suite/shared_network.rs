//! `--network container:X` and `--add-host NAME:host-gateway` of `cleat run`.

use sandbox::{Host, Namespaced, Snapshot, isolated};

use crate::shared::cleat::{NETWORK, call, cleat, install_networks, ok, succeed};

#[test]
fn a_container_has_the_network_of_another_one() {
    isolated(|| {
        let _host = Host::new();
        install_networks();
        let before = Snapshot::take();
        let line = "exec busybox nc -ll -p 80 -e echo hello";
        ok(&[
            "run",
            "-d",
            "--network",
            NETWORK,
            "--name",
            "web",
            "-h",
            "front",
            "--dns",
            "192.0.2.1",
            "--",
            "sh",
            "-c",
            line,
        ]);
        let seen = "ip -o -4 addr show eth0 | grep -c 10.90.0.2; uname -n; grep -c front /etc/hosts; cat /etc/resolv.conf /etc/hostname; until busybox nc 127.0.0.1 80 </dev/null 2>/dev/null; do :; done";
        let said = ok(&["run", "--network", "container:web", "--", "sh", "-c", seen]);
        assert!(
            said.starts_with("1\nfront\n1\nnameserver 192.0.2.1\n") && said.ends_with("front\nhello\n"),
            "{said}"
        );
        // It is there as long as somebody has it; nothing of it is detached with the guest.
        assert_eq!(ok(&["exec", "web", "cat", "/sys/class/net/lo/ifindex"]), "1\n");
        // Of any runtime.
        let pod = Namespaced::new("pod");
        succeed(&mut cleat(&["add", NETWORK, pod.path().to_str().unwrap(), "--id", "pod-1"]));
        let said = ok(&[
            "run",
            "--network=container:pod-1",
            "--",
            "sh",
            "-c",
            "ip -o -4 addr show eth0 | grep -c 10.90.0.3; uname -n",
        ]);
        assert_eq!(said, "1\npod-1\n");
        ok(&["del", NETWORK, pod.path().to_str().unwrap(), "--id", "pod-1"]);
        for (args, words) in [
            (&["--network", "container:web", "-p", "80"][..], "use -p with --network container:web"),
            (&["--network", "container:web", "-h", "x"], "use -h with"),
            (&["--network", "container:nobody"], "nobody"),
            (&["--network", "container:web", "--network", NETWORK], "no other network"),
        ] {
            let (code, said) = call(&[&["run"], args, &["--", "true"]].concat());
            assert!(code == Some(125) && said.contains(words), "{args:?}: {code:?} {said}");
        }
        ok(&["rm", "-f", "web"]);
        drop(pod);
        before.assert_unchanged();
    });
}

#[test]
fn host_gateway_is_the_host_on_the_network() {
    isolated(|| {
        let _host = Host::new();
        install_networks();
        let args = ["run", "--network", NETWORK, "--add-host", "host.docker.internal:host-gateway", "--"];
        let said = ok(&[&args[..], &["grep", "host.docker.internal", "/etc/hosts"]].concat());
        assert!(said.starts_with("10.90.0.1\thost.docker.internal"), "{said}");
    });
}

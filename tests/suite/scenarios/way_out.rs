//! From a container to the outside.

use sandbox::traffic::serve_tcp;
use sandbox::{OUTSIDE_V4, UPLINK_V4};

use super::{asks, cleat, down, eventually, inside, json, refused, run, said, serving, story, up};

/// `docker run --name app_service busybox`, inside it `ping` and `wget`
#[test]
fn other_machines_are_reached_and_see_the_host() {
    story(|host| {
        serve_tcp(Some(&host.outside), "outside", "0.0.0.0:80");
        up("--name app_service", "exec sleep 1000");
        let (answered, text) = inside("app_service", &format!("busybox ping -c 1 -W 5 {OUTSIDE_V4}"));
        assert!(answered, "{text}");
        assert_eq!(asks("app_service", OUTSIDE_V4, 80), format!("outside sees {UPLINK_V4}"));
        down("app_service");
    });
}

/// A published port of a container on the same host, by the host's address
#[test]
fn a_neighbours_published_port_by_the_hosts_address() {
    story(|_| {
        up("--name web -p 8080:80", &serving(80, "web"));
        up("--name client", "exec sleep 1000");
        eventually("the neighbour", || asks("client", UPLINK_V4, 8080) == "web");
        // The container itself reaches it, too.
        assert_eq!(asks("web", UPLINK_V4, 8080), "web");
        // `pid: host` changes nothing about this: localhost is the container's own.
        assert_eq!(asks("client", "127.0.0.1", 8080), "");
        down("web client");
    });
}

/// `network_mode: host`, `network_mode: none`
#[test]
fn the_hosts_network_and_none() {
    story(|_| {
        up("--name web -p 8080:80", &serving(80, "web"));
        let ask = "exec timeout 5 busybox nc 127.0.0.1 8080 </dev/null";
        eventually("localhost", || run("--network host", ask) == (true, "web\n".to_owned()));
        let (alone, text) =
            run("--network none", "ip -o link; ! timeout 2 busybox nc 127.0.0.1 8080 </dev/null");
        assert!(alone && text.contains("lo:") && !text.contains("eth0"), "{text}");
        assert!(refused("run --network host -p 80:80 -- true").contains("use -p with --network host"));
        assert!(refused("run --network host:bridge -- true").contains("name it alone"));
        assert_eq!(json("ps").as_array().unwrap().len(), 1);
        // The command's exit code is `cleat`'s, also without a network.
        let output = cleat(&["run", "--network", "none", "--", "sh", "-c", "exit 7"]).output().unwrap();
        assert_eq!(output.status.code(), Some(7), "{}", said(&output));
        down("web");
    });
}

//! Networks: made, listed, described, removed.

use std::fs;
use std::process::Command;

use sandbox::{Namespaced, UPLINK_V4};
use serde_json::json as value;

use super::{asks, cleat, down, eventually, inside, json, ok, refused, run, said, serving, story, up};
use crate::shared::cleat::NETWORKS;
use crate::shared::programs::folder;

fn subnet(network: &str) -> String {
    json(&format!("network inspect {network}"))[0]["IPAM"]["Config"][0]["Subnet"].as_str().unwrap().to_owned()
}

/// `docker network create -d bridge my-bridge`, `docker network create -d bdidge my-bridge2`, `docker network ls`
#[test]
fn a_network_gets_a_free_subnet_and_a_mistake_a_hint() {
    story(|_| {
        // A subnet to which the host has a route is not free.
        let route = ["route", "add", "172.18.0.0/16", "via", "192.0.2.2"];
        assert!(Command::new("ip").args(route).status().unwrap().success());
        let id = ok("network create -d bridge my-bridge");
        assert_eq!(id.trim().len(), 64);
        ok("network create --ipv6 dual");
        assert_eq!(
            (subnet("my-bridge").as_str(), subnet("dual").as_str()),
            ("172.19.0.0/16", "172.20.0.0/16")
        );
        let text = refused("network create -d bdidge my-bridge2");
        assert!(
            text.contains("plugin \"bdidge\" not found") && text.contains("did you mean bridge?"),
            "{text}"
        );
        let listed = ok("network ls");
        for (name, driver) in [
            ("bridge", "bridge"),
            ("host", "host"),
            ("none", "null"),
            ("my-bridge", "bridge"),
            ("dual", "bridge"),
        ] {
            let row = |line: &str| {
                let words: Vec<&str> = line.split_whitespace().collect();
                words.get(1..4) == Some(&[name, driver, "local"])
            };
            assert!(listed.lines().any(row), "no {name} in {listed}");
        }
        assert!(!listed.contains('\u{1b}'), "colours are for terminals");
        // The bridge is made with the first container and removed with the last.
        let (up, text) = run("--network my-bridge", "ip route; busybox ping -c 1 -W 5 172.19.0.1");
        assert!(up && text.contains("default via 172.19.0.1"), "{text}");
        for (wrong, words) in [
            ("my-bridge", "it is there already"),
            ("other --subnet 172.19.5.0/24", "overlaps with network my-bridge"),
            ("other --subnet 192.0.2.0/25", "this host"),
            ("other --subnet 10.5.0.9/24", "its subnet is 10.5.0.0/24"),
            ("other --subnet 10.5.0.0/24 --gateway 10.6.0.1", "outside"),
            ("other --bridge docker0", "bridge docker0 is network bridge's"),
            ("other -d overlay", "need an engine that they share"),
            ("other -d macvlam", "\"macvlam\" not found"),
            ("host", "another name"),
            ("../x", "../x"),
        ] {
            let text = refused(&format!("network create {wrong}"));
            assert!(text.contains(words), "{wrong}: {text}");
        }
        let route = ["route", "del", "172.18.0.0/16"];
        assert!(Command::new("ip").args(route).status().unwrap().success());
        assert_eq!(ok("network rm my-bridge dual"), "my-bridge\ndual\n");
        assert_eq!(fs::read_dir(NETWORKS).unwrap().count(), 1);
    });
}

/// `docker network inspect my-net`, and the options of the default bridge
#[test]
fn inspect_has_dockers_shape() {
    story(|_| {
        ok("network create my-net --subnet 10.77.0.0/24 --gateway 10.77.0.254 --ip-range 10.77.0.128/25 \
            -o com.docker.network.bridge.name=mine0 -o com.docker.network.driver.mtu=1400");
        let id = up("--name db --network my-net --ip 10.77.0.200 --network-alias store", "exec sleep 1000");
        let shown = json("network inspect my-net")[0].clone();
        for key in [
            "Name",
            "Id",
            "Created",
            "Scope",
            "Driver",
            "EnableIPv6",
            "IPAM",
            "Internal",
            "Containers",
            "Options",
        ] {
            assert!(shown.get(key).is_some(), "no {key} in {shown}");
        }
        assert_eq!(
            shown["IPAM"]["Config"][0],
            value!({"Subnet": "10.77.0.0/24", "IPRange": "10.77.0.128/25", "Gateway": "10.77.0.254"})
        );
        assert_eq!((&shown["Internal"], &shown["EnableIPv6"]), (&value!(false), &value!(false)));
        let member = &shown["Containers"][&id];
        assert_eq!((&member["Name"], &member["IPv4Address"]), (&value!("db"), &value!("10.77.0.200/24")));
        assert_eq!(member["EndpointID"].as_str().unwrap().len(), 64);
        assert_eq!(member["Aliases"], value!(["store"]));
        // The kernel has the same values.
        let (_, link) = inside("db", "ip -o link show eth0");
        assert!(link.contains(member["MacAddress"].as_str().unwrap()) && link.contains("mtu 1400"), "{link}");
        let host = member["HostInterface"].as_str().unwrap();
        let port = Command::new("ip").args(["-o", "link", "show", host]).output().unwrap();
        assert!(said(&port).contains("master mine0"), "{}", said(&port));
        let options = &shown["Options"];
        assert_eq!(options["com.docker.network.bridge.name"], "mine0");
        assert_eq!(options["com.docker.network.driver.mtu"], "1400");
        assert_eq!(options["com.docker.network.bridge.enable_icc"], "true");
        assert_eq!(options["com.docker.network.bridge.enable_ip_masquerade"], "true");
        assert_eq!(options["com.docker.network.bridge.host_binding_ipv4"], "0.0.0.0");
        assert!(ok("network inspect my-net").contains("10.77.0.200/24"));
        assert!(refused("network inspect my-ney").contains("did you mean my-net?"));
        down("db");
        ok("network rm my-net");
    });
}

/// `docker network rm` of a used network and of an unused one; `docker network prune`
#[test]
fn networks_in_use_stay() {
    story(|_| {
        for name in ["used", "unused", "idle"] {
            ok(&format!("network create {name}"));
        }
        up("--name web --network used", "exec sleep 1000");
        let text = refused("network rm used unused");
        assert!(text.contains("web is on it") && text.contains("unused"), "{text}");
        // Without a terminal, no confirmation is possible.
        assert!(refused("network prune").contains("nobody to ask"));
        assert_eq!(ok("network prune --force"), "idle\n");
        // Only what was created here is pruned: the default network is the administrator's.
        assert_eq!(ok("network ls --quiet"), "bridge\nused\n");
        down("web");
        assert_eq!(ok("network prune -f"), "used\n");
    });
}

/// `ip a show docker0`, `ip a`
#[test]
fn one_bridge_and_one_pair_a_container() {
    story(|_| {
        up("--name one", "exec sleep 1000");
        up("--name two", "exec sleep 1000");
        let links = said(&Command::new("ip").args(["-o", "link"]).output().unwrap());
        assert_eq!(links.matches("master docker0").count(), 2, "{links}");
        assert_eq!(links.matches(": docker0:").count(), 1, "{links}");
        let (_, inner) = inside("one", "ip -o -4 addr");
        assert!(inner.contains("eth0") && inner.contains("172.17.0.2/16"), "{inner}");
        down("one two");
    });
}

/// The driver macvlan: a list that was written by hand, as for the reference's plugin, and link-env
#[test]
fn macvlan_with_names() {
    story(|_| {
        let text = refused("network create -d macvlan lan");
        assert!(text.contains("-o parent=eth0"), "{text}");
        let list = value!({"cniVersion": "1.0.0", "name": "lan", "plugins": [
            {"type": "macvlan", "master": "uplink", "mode": "bridge",
             "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.66.0.0/24"}]]}},
            {"type": "link-env"}]});
        fs::write(format!("{NETWORKS}/20-lan.conflist"), list.to_string()).unwrap();
        let path = format!("{}:/usr/lib/cni", folder().display());
        let (one, two) = (Namespaced::new("one"), Namespaced::new("two"));
        let call = |verb: &str, netns: &Namespaced| {
            let mut command = cleat(&[verb, "lan", netns.path().to_str().unwrap(), "--id", netns.name()]);
            command
                .env("CNI_PATH", &path)
                .env("CNI_ARGS", format!("IgnoreUnknown=1;LINK_NAME={}", netns.name()));
            let output = command.output().unwrap();
            assert!(output.status.success(), "{}", said(&output));
        };
        call("add", &one);
        call("add", &two);
        let hosts = fs::read_to_string("/run/cleat/containers/one/hosts").unwrap();
        assert!(hosts.contains("two.lan"), "{hosts}");
        sandbox::traffic::serve_tcp(Some(&two), "two", "0.0.0.0:80");
        assert_eq!(sandbox::traffic::ask_tcp(Some(&one), "10.66.0.3:80").unwrap(), "two sees 10.66.0.2");
        assert_eq!(json("network inspect lan")[0]["Driver"], "macvlan");
        assert!(refused("network rm lan").contains("one, two are on it"));
        call("del", &one);
        call("del", &two);
        let rm = cleat(&["network", "rm", "lan"]).env("CNI_PATH", &path).output().unwrap();
        assert!(rm.status.success(), "{}", said(&rm));
    });
}

/// A key-value store; each connection sends one line, `SET key value` or `GET key`.
const STORE: &str = r#"mkdir -p /run/kv
echo 'read verb key value
case $verb in SET) echo "$value" >/run/kv/$key; echo OK;; GET) cat /run/kv/$key;; esac' >/run/kv/serve
exec busybox nc -ll -p 6379 -e sh /run/kv/serve"#;

/// A web application: `/cgi-bin/app?SET+key+value`, `/cgi-bin/app?GET+key`.
const APP: &str = r#"mkdir -p /run/app/cgi-bin
echo '#!/bin/sh
echo "Content-Type: text/plain"; echo
echo "$QUERY_STRING" | tr + " " | timeout 5 busybox nc redis 6379' >/run/app/cgi-bin/app
chmod 755 /run/app/cgi-bin/app; exec busybox httpd -f -p 5000 -h /run/app"#;

/// The application `web` (5000) and `redis` on a network of their own
#[test]
fn an_application_and_its_store() {
    story(|host| {
        ok("network create app");
        up("--name redis --network app", STORE);
        up("--name web --network app -p 5000:5000", APP);
        let get = |query: &str| {
            let url = format!("http://{UPLINK_V4}:5000/cgi-bin/app?{query}");
            let ask = || Command::new("busybox").args(["wget", "-q", "-O", "-", &url]).output().unwrap();
            said(&host.outside.enter(ask))
        };
        eventually("the application", || get("SET+colour+green") == "OK\n");
        assert_eq!(get("GET+colour"), "green\n");
        // The store is reached neither from outside nor from other networks.
        assert!(sandbox::traffic::ask_tcp(Some(&host.outside), &format!("{UPLINK_V4}:6379")).is_err());
        up("--name other", &serving(80, "other"));
        assert_eq!(asks("other", "redis", 6379), "");
        down("web redis other");
        ok("network rm app");
        for folder in ["/run/kv", "/run/app"] {
            fs::remove_dir_all(folder).unwrap();
        }
    });
}

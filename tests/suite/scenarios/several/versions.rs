//! Containers of the previous version, and containers on no network.

use std::fs;

use serde_json::{Value, json as value};

use super::super::{asks, down, eventually, inside, json, ok, refused, serving, story};
use super::{address_on, gone, process, stays};

/// The previous version's record has the command line (`arguments`) instead of what the container is to be (`spec`)
#[test]
fn a_container_of_the_version_before_is_connected_and_restarted() {
    story(|_| {
        ok("network create n");
        ok("network create m");
        let id = stays("--name web --network n --network-alias www", &serving(80, "web"));
        let file = format!("/run/cleat/runs/{id}/run.json");
        let command = serving(80, "web");
        let line = ["cleat", "run", "-d", "--name", "web", "--network", "n", "--network-alias", "www"];
        let line = line.into_iter().chain(["--", "sh", "-c", &command]);
        let line: Vec<Value> = line.map(|word| value!({"Unix": word.as_bytes()})).collect();
        let as_it_was = || {
            let mut record: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
            let keys = record.as_object_mut().unwrap();
            assert!(keys.remove("spec").is_some());
            keys.insert("arguments".to_owned(), value!(line));
            let keys: Vec<&str> = keys.keys().map(String::as_str).collect();
            let wanted = [
                "arguments",
                "command",
                "containerID",
                "created",
                "detached",
                "environment",
                "exitCode",
                "folder",
                "keeper",
                "name",
                "networks",
                "process",
                "vanishes",
            ];
            assert_eq!(keys, wanted, "the keys of the previous version's record");
            fs::write(&file, record.to_string()).unwrap();
        };
        as_it_was();
        assert_eq!(json("inspect web")[0]["Id"], id);
        assert!(json("ps").as_array().unwrap().iter().any(|row| row["name"] == "web"));
        assert!(!fs::exists(format!("/run/cleat/runs/{id}/networks.json")).unwrap());
        ok("network connect m web");
        ok("stop -t 1 web");
        // Its keeper process was of the previous version as well.
        as_it_was();
        assert!(json("ps --all").as_array().unwrap().iter().any(|row| row["name"] == "web"));
        ok("restart -t 1 web");
        for network in ["n", "m"] {
            assert!(!address_on("web", network).is_empty(), "{network}");
        }
        assert_eq!(json("inspect web")[0]["NetworkSettings"]["Networks"]["n"]["Aliases"], value!(["www"]));
        gone("web");
        ok("network rm n m");
    });
}

/// moby#26220: disconnected from the last network, and connected to another one; `--network none`, `--network host` in the
/// background
#[test]
fn a_container_on_no_network_is_there_all_the_same() {
    story(|_| {
        ok("network create n");
        ok("network create m");
        let db = stays("--name db --network m", &serving(5432, "db"));
        // A name is preferred to another container's ID that begins with it.
        let name = &db[..4];
        let id = stays(&format!("--name {name} --network none"), "exec sleep 1000");
        assert_eq!(json(&format!("inspect {name}"))[0]["Id"], id);
        gone(name);
        assert_eq!(json(&format!("inspect {name}"))[0]["Id"], db);
        for options in ["--network n", "--network none"] {
            let id =
                stays(&format!("--name a {options}"), "echo started; exec busybox nc -ll -p 80 -e echo a");
            if options == "--network n" {
                ok("network disconnect n a");
            } else {
                ok("network disconnect none a");
            }
            let shown = &json("inspect a")[0];
            assert_eq!((&shown["Id"], &shown["Name"]), (&value!(id), &value!("/a")));
            assert!(ok("inspect a").contains("/proc/"));
            eventually("the log", || ok("logs a") == "started\n");
            assert_eq!(ok("port a"), "");
            assert!(refused("network disconnect n a").contains("it is on no network"));
            assert!(refused("rm a").contains("it runs"));
            assert!(refused("run -d --name a --network m -- true").contains("has that name"));
            assert!(refused("network connect none a").contains("private (none) mode"));
            ok("network connect m a --alias other");
            // Names work in both directions: the container reads its current hosts file.
            eventually("the container", || asks("db", "other", 80) == "a");
            assert_eq!(asks("a", "db", 5432), "db");
            assert!(inside("a", "getent hosts a").0);
            ok("check");
            ok("network disconnect m a");
            let process = format!("/proc/{}", process("a"));
            assert!(fs::exists(&process).unwrap());
            ok("stop -t 1 a");
            assert!(!fs::exists(&process).unwrap(), "it is stopped");
            ok("rm a");
        }
        stays("--name h --network host", "exec sleep 1000");
        assert_eq!(json("inspect h")[0]["HostConfig"]["NetworkMode"], "host");
        for line in ["network connect m h", "network disconnect host h"] {
            let text = refused(line);
            assert!(
                text.contains("cannot be disconnected from host network or connected to host network"),
                "{text}"
            );
        }
        down("h");
        gone("h db");
        ok("network rm n m");
    });
}

//! Standard input and the environment.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use hostile::extremes;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use sandbox::{Host, Namespaced, Snapshot, isolated};
use serde_json::json;

use super::{Call, raw};
use crate::shared::programs::{CLEAT, PLUGINS, program};

/// The environment of a call for a container.
fn call(what: &str, program: &str, verb: &str, netns: &Namespaced) -> Call {
    Call::new(&format!("{program} {verb} with {what}"), program, &[])
        .env("CNI_COMMAND", verb)
        .env("CNI_CONTAINERID", "c1")
        .env("CNI_IFNAME", "eth0")
        .env("CNI_NETNS", netns.path())
}

/// Sets `lo` up again, which a DEL of loopback has set down.
fn set_up(netns: &Namespaced) {
    let conf = json!({"cniVersion": "1.0.0", "name": "lo", "type": "loopback"}).to_string();
    assert!(call("nothing", program("loopback"), "ADD", netns).run(conf.as_bytes()).success);
}

/// The first inputs are tried with every verb, the others with ADD alone: all verbs read their input in the same way.
fn verbs(input: usize) -> &'static [&'static str] {
    if input < 6 { &["ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION"] } else { &["ADD"] }
}

#[test]
fn no_input_brings_a_plugin_down() {
    isolated(|| {
        let _host = Host::new();
        let netns = Namespaced::new("c");
        let before = Snapshot::take();
        let inside = netns.enter(Snapshot::take);
        for (place, extreme) in extremes().into_iter().enumerate() {
            for (_, program) in PLUGINS {
                for verb in verbs(place) {
                    let ended = call(extreme.name, program, verb, &netns).run(&extreme.bytes);
                    if ended.expect_contract() && *verb == "ADD" {
                        call(extreme.name, program, "DEL", &netns).run(&extreme.bytes).expect_contract();
                    }
                }
            }
        }
        before.assert_unchanged();
        set_up(&netns);
        assert_eq!(inside, netns.enter(Snapshot::take));
    });
}

/// Hostile values of an environment variable. The kernel accepts at most 128 KiB for one.
fn values() -> Vec<OsString> {
    let mut values: Vec<OsString> =
        ["", "=", ";;;;", "a", "\u{a0}", "../../../etc/passwd", "-", "a b", "K=", "\n", "é=é;é"]
            .map(OsString::from)
            .into();
    values.extend([
        raw(b"\xff\xfe"),
        raw(b"MAC=\xc0\x80"),
        "K=v;".repeat(30_000).into(),
        ";".repeat(120_000).into(),
        "x".repeat(120_000).into(),
        "LINK_LINKS=".to_owned().into(),
        format!("LINK_LINKS={}", "a:b,".repeat(25_000)).into(),
        format!("IP={}", "10.1.0.5,".repeat(13_000)).into(),
        "/a:".repeat(40_000).into(),
        "IP=999.1.1.1;MAC=ff:ff:ff:ff:ff:ff;LINK_EXPOSE=70000,0/x,9-1".into(),
    ]);
    values
}

#[test]
fn no_environment_brings_a_plugin_down() {
    const VARIABLES: [&str; 6] =
        ["CNI_ARGS", "CNI_IFNAME", "CNI_CONTAINERID", "CNI_NETNS", "CNI_PATH", "CNI_COMMAND"];
    isolated(|| {
        let _host = Host::new();
        let netns = Namespaced::new("c");
        let before = Snapshot::take();
        let inside = netns.enter(Snapshot::take);
        for (name, program) in PLUGINS {
            let conf = json!({"cniVersion": "1.0.0", "name": "net", "type": name,
                "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24"}]]},
                "runtimeConfig": {"portMappings": [{"hostPort": 8080, "containerPort": 80}]},
                "prevResult": {"cniVersion": "1.0.0", "ips": [{"address": "10.1.0.2/24"}]}});
            let conf = conf.to_string();
            for variable in VARIABLES {
                for value in values() {
                    let shown: String = value.to_string_lossy().chars().take(20).collect();
                    let run = |verb: &str| {
                        let what = format!("{variable}={shown:?}");
                        let call = call(&what, program, verb, &netns).env(variable, &value);
                        // Without a command a plugin prints what it is on standard error, for people.
                        if variable == "CNI_COMMAND" && value.is_empty() {
                            return call.run(conf.as_bytes()).success;
                        }
                        call.run(conf.as_bytes()).expect_contract()
                    };
                    if run("ADD") && variable != "CNI_COMMAND" {
                        run("DEL");
                    }
                }
            }
        }
        before.assert_unchanged();
        set_up(&netns);
        assert_eq!(inside, netns.enter(Snapshot::take));
    });
}

/// Paths that are not those of a network namespace.
#[test]
fn no_namespace_brings_a_plugin_down() {
    isolated(|| {
        let _host = Host::new();
        let netns = Namespaced::new("c");
        let folder = Path::new("/run/places");
        fs::create_dir(folder).unwrap();
        mkfifo(&folder.join("fifo"), Mode::S_IRWXU).unwrap();
        fs::write(folder.join("file"), "text").unwrap();
        std::os::unix::fs::symlink("loop", folder.join("loop")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", folder.join("link")).unwrap();
        let before = Snapshot::take();
        let long = "/a".repeat(50_000);
        let places = ["fifo", "file", "loop", "link", "", "gone"].map(|name| format!("/run/places/{name}"));
        for (name, program) in PLUGINS {
            let conf = json!({"cniVersion": "1.0.0", "name": "net", "type": name, "ipMasq": true,
                "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24"}]]},
                "prevResult": {"cniVersion": "1.0.0", "ips": [{"address": "10.1.0.2/24"}]}});
            let others = ["/dev/zero", "/dev/null", "/proc/self/ns/mnt", "/proc/kmsg", "relative", &long];
            for place in places.iter().map(String::as_str).chain(others) {
                for verb in ["ADD", "CHECK", "DEL"] {
                    let what = format!("CNI_NETNS={}", place.chars().take(20).collect::<String>());
                    let call = call(&what, program, verb, &netns).env("CNI_NETNS", place);
                    call.run(conf.to_string().as_bytes()).expect_contract();
                }
                call(place, program, "DEL", &netns).run(conf.to_string().as_bytes()).expect_contract();
            }
        }
        before.assert_unchanged();
    });
}

/// The same input as a network's configuration, and the same values in the variables that `cleat` reads.
#[test]
fn no_network_brings_cleat_down() {
    isolated(|| {
        let _host = Host::new();
        let netns = Namespaced::new("c");
        let networks = Path::new("/run/networks");
        fs::create_dir(networks).unwrap();
        let good = r#"{"cniVersion":"1.1.0","name":"good","plugins":[{"type":"loopback","capabilities":{"portMappings":true}}]}"#;
        fs::write(networks.join("00-good.conflist"), good).unwrap();
        let before = Snapshot::take();
        let file = networks.join("10-bad.conflist");
        let cleat = |what: &str, args: &[&str]| {
            Call::new(&format!("cleat {args:?} with {what}"), CLEAT, args).env("NETCONFPATH", networks)
        };
        let namespace = netns.path().to_str().unwrap();
        for extreme in extremes() {
            fs::write(&file, &extreme.bytes).unwrap();
            for args in [
                &["conf", "check"][..],
                &["conf", "check", "--json"],
                &["network", "ls"],
                &["status", "net"],
                &["ps"],
            ] {
                cleat(extreme.name, args).run(b"").expect_words();
            }
            let listed = cleat(extreme.name, &["network", "ls"]).run(b"");
            assert!(String::from_utf8_lossy(&listed.stdout).contains("good"), "{}", listed.what);
        }
        fs::remove_file(&file).unwrap();
        for value in values()
            .into_iter()
            .chain(["[".repeat(120_000).into(), format!("[{}0]", "{},".repeat(40_000)).into()])
        {
            for variable in ["CNI_ARGS", "CAP_ARGS", "CNI_IFNAME", "CNI_PATH", "NETCONFPATH"] {
                // Without it plugins of others are found in the default folders, which these limits are not for.
                if variable == "CNI_PATH" && value.is_empty() {
                    continue;
                }
                let shown: String = value.to_string_lossy().chars().take(20).collect();
                let what = format!("{variable}={shown:?}");
                for verb in ["add", "check", "del"] {
                    let call = cleat(&what, &[verb, "good", namespace]).env(variable, &value);
                    call.run(b"").expect_words();
                }
            }
        }
        cleat("nothing", &["del", "good", namespace]).run(b"").expect_words();
        before.assert_unchanged();
    });
}

//! Bounds on a pod's annotations: they are checked before anything is written, and a pod at its bounds costs others little.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use sandbox::{Snapshot, isolated};
use serde_json::{Value, json};

use super::attacks::Network;
use super::link_env::{Pods, sees};
use crate::shared::programs::{LINK_ENV, folder};

/// The API server's limit for all annotations of a pod together, in bytes.
const ANNOTATIONS: usize = 256 << 10;
/// The limit for a process's data segment, in bytes.
const MEMORY: u64 = 64 << 20;

fn list(count: usize, item: impl Fn(usize) -> String) -> String {
    (0..count).map(item).collect::<Vec<_>>().join(",")
}

/// Everything below the state folder, with its length.
fn state() -> BTreeMap<String, u64> {
    fn walk(folder: &Path, found: &mut BTreeMap<String, u64>) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let metadata = fs::symlink_metadata(entry.path()).unwrap();
            if metadata.is_dir() {
                walk(&entry.path(), found);
            } else {
                found.insert(entry.path().display().to_string(), metadata.len());
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(Path::new("/run/cleat"), &mut found);
    found
}

/// Variables of so many bytes, in lines of `KEY=value`.
fn variables(bytes: usize) -> String {
    const EACH: usize = 1024;
    let mut text = String::new();
    for number in 0..bytes / EACH {
        let key = format!("V{number:04}");
        let _ = writeln!(text, "{key}={}", "\u{1}".repeat(EACH - key.len() - 2));
    }
    text
}

#[test]
fn what_is_beyond_a_bound_is_refused_by_its_key_and_changes_nothing() {
    isolated(|| {
        let pods = Pods::new(json!({}));
        pods.add("old", "10.1.0.2");
        let before = state();
        let long = "x".repeat(200);
        for (key, text, words) in [
            ("aliases", list(17, |number| format!("a{number}")), "17 aliases, more than 16"),
            ("aliases", "abcd,".repeat(ANNOTATIONS / 5), "52428 aliases, more than 16"),
            ("links", list(33, |number| format!("old:a{number}")), "33 links, more than 32"),
            ("expose", "1-1024,2000".to_owned(), "1025 exposed ports, more than 1024"),
            ("expose", "1-65535,1-65535/udp".to_owned(), "131070 exposed ports, more than 1024"),
            ("expose", "8080,".repeat(ANNOTATIONS / 5), "52428 exposed ports, more than 1024"),
            (
                "env",
                format!("{}A=", variables(64 << 10)),
                "65539 bytes of variables offered, more than 65536",
            ),
            ("env", list(1000, |_| long.clone()).replacen('x', "A=", 1), "201001 bytes of variables"),
        ] {
            let began = Instant::now();
            let (code, error) = pods.annotated("evil", "10.1.0.66", &[(key, &text)]).error();
            assert_eq!(code, 7, "{error}");
            assert!(error.contains(&format!("pod annotation link-env.cni/{key}: {words}")), "{error}");
            assert!(began.elapsed() < Duration::from_secs(2), "{key}: {:?}", began.elapsed());
            assert_eq!(state(), before, "{key}");
        }
        // The operator's configuration has the same bounds, as the same programs read the result.
        let extra: Vec<String> = (0..4000).map(|number| format!("name-{number}:192.0.2.9")).collect();
        let by_list = Pods::new(json!({"endpoint": {"extraHosts": extra}}));
        let (code, error) = by_list.call("ADD", "evil", "10.1.0.66", &json!({})).error();
        assert!(code == 7 && error.contains("endpoint.extraHosts: 78890 bytes of extra hosts"), "{error}");
        let aliases: Vec<String> = (0..17).map(|number| format!("a{number}")).collect();
        let (code, error) = pods.call("ADD", "evil", "10.1.0.66", &json!({"aliases": aliases})).error();
        assert!(code == 7 && error.contains("runtimeConfig.aliases: 17 aliases"), "{error}");
        assert_eq!(state(), before);
        pods.del("evil");
        pods.del("old");
        assert!(!Path::new("/run/cleat").exists());
    });
}

/// Each byte of these values takes six in JSON. A recipient gets variables by links up to a bound, and can read all of them.
#[test]
fn links_give_no_more_variables_than_a_process_can_be_started_with() {
    isolated(|| {
        let pods = Pods::new(json!({"names": "links"}));
        for number in 1..=3 {
            let (id, address) = (format!("s{number}"), format!("10.1.0.{number}"));
            let _ = pods.annotated(&id, &address, &[("env", &variables(60 << 10))]).result();
        }
        let before = state();
        let (code, error) = pods.annotated("evil", "10.1.0.66", &[("links", "s1,s2,s3")]).error();
        assert!(code == 7 && error.contains("link to s3 with its 0 ports, and those before"), "{error}");
        assert!(error.contains("bytes of variables by links, more than 131072"), "{error}");
        assert_eq!(state(), before);
        let _ = pods.annotated("good", "10.1.0.67", &[("links", "s1,s2")]).result();
        let text = fs::read("/run/cleat/containers/good/env.json").unwrap();
        let environment: BTreeMap<String, String> = serde_json::from_slice(&text).unwrap();
        assert_eq!(environment.values().filter(|value| value.starts_with('\u{1}')).count(), 120);
        pods.check("good", "10.1.0.67");
        // The bound holds for all of a source's ports together.
        let _ = pods.annotated("many", "10.1.0.68", &[("expose", "1-1024")]).result();
        let (_, error) = pods.annotated("evil", "10.1.0.66", &[("links", "many:with-a-long-name")]).error();
        assert!(error.contains("link to many with its 1024 ports"), "{error}");
        for id in ["good", "many", "evil", "s1", "s2", "s3"] {
            pods.del(id);
        }
        assert!(!Path::new("/run/cleat").exists());
    });
}

/// The registry of an earlier version without bounds, with pods beyond today's bounds.
#[test]
fn members_beyond_the_bounds_that_a_version_before_took_come_to_no_harm_and_do_none() {
    isolated(|| {
        let before = Snapshot::take();
        let pods = Pods::new(json!({}));
        pods.add("old", "10.1.0.2");
        pods.add("evil", "10.1.0.66");
        pods.add("worse", "10.1.0.67");
        let file = |id: &str| format!("/run/cleat/registry/pods/members/{id}:eth0");
        let mut member: Value = serde_json::from_slice(&fs::read(file("evil")).unwrap()).unwrap();
        let aliases: Vec<String> = (0..20_000).map(|number| format!("a{number}")).collect();
        for alias in &aliases {
            fs::write(format!("/run/cleat/registry/pods/index/n:{alias}"), "evil:eth0\n").unwrap();
        }
        let env: BTreeMap<String, String> =
            (0..30).map(|number| (format!("V{number}"), "\u{1}".repeat(10_000))).collect();
        member["aliases"] = json!(aliases);
        member["env"] = json!(env);
        member["expose"] = json!(["1-65535/tcp"]);
        fs::write(file("evil"), member.to_string()).unwrap();
        // A member's file that is too long to be read.
        let mut member: Value = serde_json::from_slice(&fs::read(file("worse")).unwrap()).unwrap();
        member["env"] = json!({"A": "x".repeat(17 << 20)});
        fs::write(file("worse"), member.to_string()).unwrap();
        fs::remove_file("/run/cleat/registry/pods/all").unwrap();
        fs::remove_file("/run/cleat/registry/pods/settled").unwrap();

        let began = Instant::now();
        pods.add("new", "10.1.0.9");
        assert!(sees("old", "new"));
        for (id, address) in [("old", "10.1.0.2"), ("new", "10.1.0.9"), ("evil", "10.1.0.66")] {
            pods.check(id, address);
        }
        let (code, error) = pods.annotated("next", "10.1.0.10", &[("links", "evil")]).error();
        assert!(code == 7 && error.contains("link to evil with its 65535 ports"), "{error}");
        pods.del("new");
        for id in ["evil", "worse", "next"] {
            pods.del(id);
        }
        pods.check("old", "10.1.0.2");
        pods.del("old");
        assert!(began.elapsed() < Duration::from_mins(1), "{:?}", began.elapsed());
        drop(pods);
        before.assert_unchanged();
    });
}

/// Each verb succeeds with little memory while one member is at all its bounds.
#[test]
fn no_program_takes_much_memory_beside_a_pod_at_all_its_bounds() {
    isolated(|| {
        let network = Network::new(Path::new(LINK_ENV));
        network.fill(50);
        network.beside_full(|| {
            let pods = Pods::on("tenants", json!({}));
            for (verb, id, address) in [
                ("ADD", "new", "10.1.0.9"),
                ("CHECK", "new", "10.1.0.9"),
                ("CHECK", "evil", "10.1.0.66"),
                ("DEL", "new", "10.1.0.9"),
                ("DEL", "evil", "10.1.0.66"),
            ] {
                let mut command = Command::new("prlimit");
                command.env_clear().arg(format!("--data={MEMORY}")).args(["--", LINK_ENV]);
                command.env("CNI_COMMAND", verb).env("CNI_CONTAINERID", id).env("CNI_IFNAME", "eth0");
                command.env("CNI_NETNS", pods.netns.path()).env("CNI_PATH", folder());
                let conf = pods.conf(address, &json!({})).to_string();
                let output = sandbox::run(&mut command, conf.as_bytes());
                assert!(output.status.success(), "{verb} of {id}: {output:?}");
            }
        });
        network.clear();
    });
}

//! libcni's cache entries as several runtimes wrote them. libcni before 1.2.0 stores no namespace in them. Where the namespace
//! of a container is not certain, `cleat` does not guess: it neither calls the container broken, nor repairs nor removes it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use sandbox::traffic::ask_tcp;
use sandbox::{Host, Namespaced, Snapshot, UPLINK_V4, isolated};
use serde_json::{Value, json};

use crate::shared::cleat::{NETWORK, call, cleat, install_networks, json_of, ok, states, succeed};
use crate::shared::containers::{add, del, inner};
use crate::shared::programs::folder;
use crate::shared::shell::{said, shell};

/// A change of a cache entry.
type Change = dyn Fn(&mut Value);

const RESULTS: &str = "/var/lib/cni/results";

fn file(network: &str, id: &str, ifname: &str) -> PathBuf {
    Path::new(RESULTS).join(format!("{network}-{id}-{ifname}"))
}

/// Changes an entry to what another libcni would have written; `netns` is removed, as old ones do not write it.
fn rewrite(network: &str, id: &str, change: impl FnOnce(&mut Value)) {
    let file = file(network, id, "eth0");
    let mut entry: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    entry.as_object_mut().unwrap().remove("netns");
    change(&mut entry);
    fs::write(file, entry.to_string()).unwrap();
}

/// Writes a recorded entry into the cache.
fn keep(recorded: &str) -> Value {
    let entry: Value = serde_json::from_str(recorded).unwrap();
    let text = |key: &str| entry[key].as_str().unwrap();
    fs::create_dir_all(RESULTS).unwrap();
    fs::write(file(text("networkName"), text("containerId"), text("ifName")), recorded).unwrap();
    entry
}

/// Makes the namespace that an entry names, with the interface that the entry describes.
fn sandbox_of(entry: &Value) -> Namespaced {
    let told = entry["result"]["interfaces"].as_array().unwrap().last().unwrap();
    let netns =
        Namespaced::new(Path::new(told["sandbox"].as_str().unwrap()).file_name().unwrap().to_str().unwrap());
    netns.enter(|| {
        shell(&format!(
            "ip link add eth0 address {} type veth peer name other",
            told["mac"].as_str().unwrap()
        ));
    });
    netns
}

struct Process(Child);

impl Process {
    /// A process in a namespace of its own, with an interface.
    fn apart(mac: &str) -> Self {
        let script = format!("ip link add eth0 address {mac} type veth peer name other; echo; exec sleep 60");
        let mut command = Command::new("unshare");
        command.args(["-n", "sh", "-c", &script]).stdout(std::process::Stdio::piped());
        let mut child = command.spawn().unwrap();
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0]).unwrap();
        Self(child)
    }

    fn netns(&self) -> String {
        format!("/proc/{}/ns/net", self.0.id())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn containers_are_listed_by_what_their_runtimes_keep() {
    isolated(|| {
        let web = keep(include_str!("../data/caches/containerd-1.6.json"));
        keep(include_str!("../data/caches/containerd-1.6-loopback.json"));
        keep(include_str!("../data/caches/containerd-2.1.json"));
        keep(include_str!("../data/caches/containerd-2.1-loopback.json"));
        let podman = keep(include_str!("../data/caches/podman-4.3.json"));
        let cnitool = keep(include_str!("../data/caches/libcni-1.1.json"));
        keep(include_str!("../data/caches/ctr-1.6.json"));
        let task = Process::apart("46:3a:d5:6a:2f:ab");
        rewrite("ctr", "default-web", |entry| {
            entry["result"]["interfaces"][2]["sandbox"] = task.netns().into();
        });
        let namespaces = [sandbox_of(&web), sandbox_of(&podman), sandbox_of(&cnitool)];
        let rows = json_of(&["ps"]);
        let rows: Vec<[&Value; 4]> = rows
            .as_array()
            .unwrap()
            .iter()
            .map(|row| ["runtime", "network", "interface", "gone"].map(|key| &row[key]))
            .collect();
        let row = |runtime: &str, network: &str, gone: bool| json!([runtime, network, "eth0", gone]);
        assert_eq!(
            json!(rows),
            json!([
                // A pod is one row. The path of its namespace shows that one of them has ended.
                row("containerd", "containerd-net", false),
                row("containerd", "containerd-net", true),
                row("cnitool", "containerd-net", false),
                row("ctr", "ctr", false),
                row("podman", "podman", false),
            ])
        );
        // The runtimes asked for ports, but the kernel has no rules for them: none is listed.
        assert!(json_of(&["ps"]).as_array().unwrap().iter().all(|row| row["ports"] == json!([])));
        let told = ok(&["ps"]);
        assert!(!told.contains(" lo ") && told.lines().count() == 6, "{told}");
        // Of ports that another program publishes only the request is known, so that is listed; not a request to loopback.
        let id = web["containerId"].as_str().unwrap();
        rewrite("containerd-net", id, |entry| {
            let list = json!({"cniVersion": "1.0.0", "name": "containerd-net", "plugins": [{"type": "bridge"},
                {"type": "portmap", "capabilities": {"portMappings": true}}]});
            entry["config"] = encoded(&list).into();
        });
        let listed = json_of(&["ps"]);
        let mut ports =
            listed.as_array().unwrap().iter().map(|row| (&row["id"], row["ports"][0]["hostPort"].clone()));
        assert_eq!(ports.find(|(of, _)| *of == id).unwrap().1, 8080);
        drop(namespaces);
        let listed = json_of(&["ps"]);
        let is_over = |row: &Value| (row["runtime"] == "ctr") != (row["gone"] == true);
        assert!(listed.as_array().unwrap().iter().all(is_over), "{listed}");
    });
}

/// In Base64, as Go writes bytes in JSON.
fn encoded(list: &Value) -> String {
    let output = Command::new("sh").args(["-c", "printf %s \"$0\" | base64 -w0", &list.to_string()]).output();
    String::from_utf8(output.unwrap().stdout).unwrap()
}

#[test]
fn a_namespace_that_only_the_result_tells_is_enough() {
    isolated(|| {
        let host = Host::new();
        install_networks();
        let before = Snapshot::take();
        let web = add("web", NETWORK, 8080);
        rewrite(NETWORK, "web", |_| {});
        let kept = inner(&web);
        assert_eq!(states(&["check"]), ["ok"]);
        shell("nft flush ruleset; ip link del cleat0");
        assert_eq!(states(&["check"]), ["broken"]);
        let repaired = json_of(&["repair"]);
        assert_eq!((repaired.as_array().unwrap().len(), &repaired[0]["state"]), (1, &json!("repaired")));
        assert_eq!(json_of(&["repair", "--force"]), json!([]));
        assert_eq!(inner(&web), kept);
        assert!(ask_tcp(Some(&host.outside), &format!("{UPLINK_V4}:8080")).is_ok());
        let leases = json_of(&["leases", NETWORK]);
        assert_eq!((&leases[0]["stale"], &leases[0]["used"][0]["name"]), (&json!(0), &json!("web")));
        for gc in [&["gc", "--force"][..], &["gc", NETWORK]] {
            ok(gc);
            assert_eq!(states(&["check"]), ["ok"]);
        }
        ok(&["network", "connect", "cleat-dual-stack", "web"]);
        assert_eq!(states(&["check"]), ["ok", "ok"]);
        ok(&["network", "disconnect", "cleat-dual-stack", "web"]);
        // A container that is gone is recognised all the same.
        drop(web);
        assert_eq!(states(&["check"]), ["gone"]);
        ok(&["gc", "--force"]);
        before.assert_unchanged();
    });
}

/// A result of before 0.3.0.
fn old(version: &str) -> Value {
    json!({"cniVersion": version, "ip4": {"ip": "10.90.0.2/16", "gateway": "10.90.0.1"}, "dns": {}})
}

/// A container is `unknown` and left alone where its result does not lead to its namespace.
#[test]
fn what_nothing_tells_is_unknown_and_left_alone() {
    isolated(|| {
        let host = Host::new();
        install_networks();
        let before = Snapshot::take();
        let web = add("web", "cleat", 8080);
        let recorded = fs::read(file("cleat", "web", "eth0")).unwrap();
        let (own, other) =
            (format!("/proc/{}/ns/net", std::process::id()), Process::apart("02:00:00:00:00:07"));
        // The registry does not name the namespace either, as if link-env were not in the chain.
        let members = Path::new("/run/cleat/registry/cleat/members/web:eth0");
        let mut member: Value = serde_json::from_slice(&fs::read(members).unwrap()).unwrap();
        let registered = fs::read(members).unwrap();
        member.as_object_mut().unwrap().remove("netns");
        let sandbox = |path: &str| {
            let path = path.to_owned();
            move |entry: &mut Value| entry["result"]["interfaces"][2]["sandbox"] = path.clone().into()
        };
        let without_interfaces = |version: &'static str| {
            move |entry: &mut Value| {
                entry["result"]["cniVersion"] = version.into();
                entry["result"].as_object_mut().unwrap().remove("interfaces");
                entry["result"]["ips"][0].as_object_mut().unwrap().remove("interface");
            }
        };
        let changes: [(&str, Box<Change>); 10] = [
            ("the host's own", Box::new(sandbox(&own))),
            ("another container's", Box::new(sandbox(&other.netns()))),
            ("no path", Box::new(sandbox("web"))),
            (
                "another hardware address",
                Box::new(|entry| entry["result"]["interfaces"][2]["mac"] = "02:00:00:00:00:09".into()),
            ),
            ("0.1.0", Box::new(|entry| entry["result"] = old("0.1.0"))),
            ("0.2.0", Box::new(|entry| entry["result"] = old("0.2.0"))),
            ("0.3.1", Box::new(without_interfaces("0.3.1"))),
            ("0.4.0", Box::new(without_interfaces("0.4.0"))),
            ("of the future", Box::new(|entry| entry["result"] = json!({"cniVersion": "7.0.0"}))),
            ("no result", Box::new(|entry| entry["result"] = Value::Null)),
        ];
        for (what, change) in changes {
            fs::write(members, member.to_string()).unwrap();
            rewrite("cleat", "web", |entry| change(entry));
            let kept = [inner(&web), format!("{:?}", Snapshot::take())];
            assert_eq!(states(&["check"]), ["unknown"], "{what}");
            assert_eq!(call(&["check"]).0, Some(0), "{what}");
            for repair in [&["repair"][..], &["repair", "--force"]] {
                let rows = json_of(repair);
                assert_eq!(
                    (rows.as_array().unwrap().len(), &rows[0]["state"]),
                    (1, &json!("unknown")),
                    "{what}"
                );
                assert_eq!(call(repair).0, Some(0), "{what}");
            }
            for gc in [&["gc"][..], &["gc", "--force"], &["gc", "cleat"]] {
                let (code, text) = call(gc);
                assert!(code == Some(0) && text.contains("kept container web"), "{what}: {text}");
            }
            assert_eq!(
                (json_of(&["ps"])[0]["gone"].clone(), json_of(&["ps"])[0]["netns"].clone()),
                (json!(false), json!("")),
                "{what}"
            );
            let (code, text) = call(&["network", "connect", "cleat-dual-stack", "web"]);
            assert!(code != Some(0) && !text.contains("has gone"), "{what}: {text}");
            assert_eq!([inner(&web), format!("{:?}", Snapshot::take())], kept, "{what}");
            assert!(ask_tcp(Some(&host.outside), &format!("{UPLINK_V4}:8080")).is_ok(), "{what}");
            // The registry's namespace is used if the interface in it has the recorded hardware address.
            fs::write(members, &registered).unwrap();
            let netns = json_of(&["ps"])[0]["netns"].clone();
            assert_eq!(netns == "/run/netns/web", what != "another hardware address", "{what}: {netns}");
            assert_eq!(call(&["check"]).0, Some(0), "{what}");
            fs::write(file("cleat", "web", "eth0"), &recorded).unwrap();
        }
        drop(other);
        del("cleat", web);
        before.assert_unchanged();
    });
}

/// The process ID in a namespace's path may now be that of another container's process.
#[test]
fn the_namespace_of_another_container_is_not_taken_for_the_own() {
    isolated(|| {
        let _host = Host::new();
        install_networks();
        let before = Snapshot::take();
        let web = add("web", NETWORK, 8080);
        let other = Process::apart("02:00:00:00:00:07");
        rewrite(NETWORK, "web", |entry| entry["netns"] = other.netns().into());
        shell("nft flush ruleset");
        assert_eq!(states(&["check"]), ["unknown"]);
        ok(&["repair", "--force"]);
        shell(&format!("nsenter --net={} ip link show eth0", other.netns()));
        drop(other);
        rewrite(NETWORK, "web", |_| {});
        ok(&["repair"]);
        del(NETWORK, web);
        before.assert_unchanged();
    });
}

#[test]
fn networks_without_a_check_are_not_broken() {
    isolated(|| {
        let _host = Host::new();
        install_networks();
        for (name, keys) in [
            ("old", json!({"cniVersion": "0.3.1"})),
            ("asks", json!({"cniVersion": "1.0.0", "disableCheck": true})),
        ] {
            let mut list: Value =
                serde_json::from_slice(&fs::read("/run/net.d/10-cleat.conflist").unwrap()).unwrap();
            list["name"] = name.into();
            for (key, value) in keys.as_object().unwrap() {
                list[key] = value.clone();
            }
            fs::write("/run/net.d/10-cleat.conflist", list.to_string()).unwrap();
            let before = Snapshot::take();
            let web = add("web", name, 8080);
            rewrite(name, "web", |_| {});
            shell("nft flush ruleset");
            assert_eq!(states(&["check"]), ["unknown"]);
            assert_eq!(call(&["check"]).0, Some(0));
            let kept = inner(&web);
            assert_eq!(json_of(&["repair", "--force"]), json!([]));
            assert_eq!(inner(&web), kept);
            del(name, web);
            before.assert_unchanged();
        }
    });
}

/// `cleat repair --force` does not call DEL where the ADD after it is certain to fail.
#[test]
fn nobody_is_taken_off_the_network_for_want_of_an_add() {
    isolated(|| {
        let _host = Host::new();
        install_networks();
        let before = Snapshot::take();
        let web = add("web", NETWORK, 8080);
        let entry = fs::read(file(NETWORK, "web", "eth0")).unwrap();
        let lease = Path::new("/var/lib/cni/networks/cleat/10.90.0.2");
        let veth = json_of(&["ps"])[0]["hostInterface"].as_str().unwrap().to_owned();
        shell(&format!("ip link del {veth}"));

        // A program of the chain is missing.
        let some = Path::new("/run/some-plugins");
        fs::create_dir(some).unwrap();
        for name in ["bridge", "host-port", "link-env"] {
            symlink(folder().join(name), some.join(name)).unwrap();
        }
        let force = |path: &Path| cleat(&["repair", "--force"]).env("CNI_PATH", path).output().unwrap();
        let unchanged = || lease.exists() && fs::read(file(NETWORK, "web", "eth0")).unwrap() == entry;
        let output = force(some);
        assert!(
            output.status.code() == Some(1) && said(&output).contains("no plugin \"host-local\""),
            "{}",
            said(&output)
        );
        assert!(unchanged());

        // The configuration is one that ADD would refuse.
        rewrite(NETWORK, "web", |entry| {
            let list =
                json!({"cniVersion": "1.0.0", "name": NETWORK, "plugins": [{"type": "bridge", "mtu": -1}]});
            entry["netns"] = "/run/netns/web".into();
            entry["config"] = encoded(&list).into();
        });
        let changed = fs::read(file(NETWORK, "web", "eth0")).unwrap();
        let output = force(folder());
        assert!(
            output.status.code() == Some(1) && said(&output).contains("not made anew"),
            "{}",
            said(&output)
        );
        assert!(lease.exists() && fs::read(file(NETWORK, "web", "eth0")).unwrap() == changed);

        // If ADD fails nevertheless, `repair` can be called again.
        fs::write(file(NETWORK, "web", "eth0"), &entry).unwrap();
        let broken = some.join("host-port");
        fs::remove_file(&broken).unwrap();
        let output = cleat(&["check"]).env("CNI_PATH", some).output().unwrap();
        let told = said(&output);
        assert!(output.status.success() && told.contains("unknown   no plugin \"host-port\""), "{told}");
        symlink(folder().join("host-local"), some.join("host-local")).unwrap();
        let script = "#!/bin/sh\n[ $CNI_COMMAND != ADD ] && exit 0\necho '{\"code\": 11, \"msg\": \"not now\"}'; exit 1\n";
        fs::write(&broken, script).unwrap();
        shell("chmod +x /run/some-plugins/host-port");
        let output = force(some);
        assert!(output.status.code() == Some(1) && said(&output).contains("not now"), "{}", said(&output));
        succeed(&mut cleat(&["repair", "--force"]));
        assert_eq!(states(&["check"]), ["ok"]);
        fs::remove_dir_all(some).unwrap();
        del(NETWORK, web);
        before.assert_unchanged();
    });
}

#[test]
fn a_running_container_on_no_network_is_listed() {
    isolated(|| {
        let _host = Host::new();
        install_networks();
        ok(&["run", "-d", "--network", NETWORK, "--name", "web", "--", "sleep", "60"]);
        assert_eq!(json_of(&["ps"]).as_array().unwrap().len(), 1);
        ok(&["network", "disconnect", NETWORK, "web"]);
        let rows = json_of(&["ps"]);
        assert_eq!(rows.as_array().unwrap().len(), 1, "{rows}");
        assert_eq!(
            (&rows[0]["name"], &rows[0]["runtime"], &rows[0]["addresses"]),
            (&json!("web"), &json!("cleat"), &json!([]))
        );
        let told = ok(&["ps"]);
        assert!(told.lines().count() == 2 && told.contains("cleat"), "{told}");
        ok(&["stop", "web"]);
        assert_eq!(json_of(&["ps"]), json!([]));
        assert_eq!(json_of(&["ps", "-a"])[0]["exitCode"], 143);
    });
}

//! Locks. While a stopped process holds one, other calls fail soon, name the process ID, and change nothing. An ordinary user
//! of the host cannot hold a lock that matters.

use std::fs::{self, File, Permissions};
use std::io::{IoSlice, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use nix::unistd::Pid;
use sandbox::{Answer, Call, Host, Namespaced, Snapshot, isolated};
use serde_json::{Value, json};

use crate::shared::cleat::{NETWORKS, cleat, install_networks, succeed};
use crate::shared::iptables::{LEGACY, PATH, choose_legacy, prime};
use crate::shared::members::Network;
use crate::shared::programs::{BRIDGE, HOST_LOCAL, LINK_ENV, REFERENCE};
use crate::shared::shell::said;

/// The time within which every call has to answer.
const BOUND: Duration = Duration::from_secs(10);
const STATE: &str = "/run/cleat";
const LEASES: &str = "/var/lib/cni/networks/shop";

/// A call that fails; returns its code and message.
type Answers<'a> = dyn Fn() -> (u64, String) + Sync + 'a;

/// A stopped process that holds a lock; killed when dropped.
struct Stopped {
    process: Child,
    path: String,
}

impl Stopped {
    /// Takes the lock by flock(1), which makes a file where there is none.
    fn with(mode: &str, path: &str) -> Self {
        let command = ["--close", mode, path, "sh", "-c", "echo held; exec sleep 600"];
        let mut process = Command::new("flock").args(command).stdout(Stdio::piped()).spawn().unwrap();
        process.stdout.as_mut().unwrap().read_exact(&mut [0; 5]).unwrap();
        let stopped = Self { process, path: path.to_owned() };
        kill(stopped.pid(), Signal::SIGSTOP).unwrap();
        let state = format!("/proc/{}/stat", stopped.process.id());
        while !fs::read_to_string(&state).unwrap().contains(") T ") {
            thread::yield_now();
        }
        stopped
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.process.id()).unwrap())
    }

    /// Makes all calls at the same time. Each fails soon with its code, names the process, and says how to continue it.
    fn is_told(&self, calls: &[(&str, u64, &Answers<'_>)]) {
        let before = Snapshot::take();
        let pid = self.process.id();
        let words = [
            format!("lock {}: process {pid} (flock, stopped) has held it", self.path),
            format!("kill -CONT {pid}"),
        ];
        thread::scope(|scope| {
            for (what, expected, call) in calls {
                let words = &words;
                scope.spawn(move || {
                    let start = Instant::now();
                    let (code, text) = call();
                    let taken = start.elapsed();
                    assert!(taken < BOUND, "{what} took {taken:?}: {text}");
                    assert_eq!(code, *expected, "{what}: {text}");
                    for word in words {
                        assert!(text.contains(word), "{what}: {text}\nlacks {word}");
                    }
                });
            }
        });
        before.assert_unchanged();
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

fn shop() -> Network {
    Network { name: "shop", subnet: 7, keys: json!({}) }
}

fn valid(id: &str, ifname: &str) -> Value {
    json!([{"containerID": id, "ifname": ifname}])
}

/// The exit code of a command, and its output.
fn code_of(command: &mut Command) -> (u64, String) {
    let output = command.output().unwrap();
    (output.status.code().unwrap().try_into().unwrap(), said(&output))
}

fn done(answer: &Answer) {
    assert!(answer.output().status.success(), "{answer:?}");
}

fn mode(path: &str) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn set_mode(path: &str, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_stopped_holder_of_the_registry_is_told_to_every_verb_of_link_env() {
    isolated(|| {
        let _host = Host::new();
        let (a, b) = (Namespaced::new("a"), Namespaced::new("b"));
        let member = shop().add(&a, &json!({}));
        let mut other = member.conf[2].clone();
        other["prevResult"]["ips"] = json!([{"address": "10.7.0.99/24", "interface": 2}]);
        let mut collected = member.conf[2].clone();
        collected["cni.dev/valid-attachments"] = valid("a", "eth7");
        let add = || Call::new(LINK_ENV, "ADD", &other).of("b", &b, "eth7").run();
        let verb = |verb: &str| member.call(2, verb).run();
        let gc = || Call::new(LINK_ENV, "GC", &collected).run();
        let status = || Call::new(LINK_ENV, "STATUS", &member.conf[2]).run();
        let stopped = Stopped::with("--exclusive", STATE);
        stopped.is_told(&[
            ("ADD", 11, &|| add().error()),
            ("DEL", 11, &|| verb("DEL").error()),
            ("CHECK", 11, &|| verb("CHECK").error()),
            ("GC", 11, &|| gc().error()),
            ("STATUS", 50, &|| status().error()),
        ]);
        drop(stopped);
        done(&add());
        verb("CHECK").silent();
        gc().silent();
        status().silent();
        member.del();
        assert!(!fs::exists(STATE).unwrap());
    });
}

#[test]
fn a_stopped_holder_of_a_networks_leases_is_told_to_every_verb_that_changes_them() {
    isolated(|| {
        let _host = Host::new();
        let (a, b) = (Namespaced::new("a"), Namespaced::new("b"));
        let member = shop().add(&a, &json!({}));
        let mut conf = member.conf[0].clone();
        let by = |program: &str, verb: &str, conf: &Value| {
            let call = Call::new(program, verb, conf);
            match verb {
                "GC" | "STATUS" => call,
                "ADD" => call.of("b", &b, "eth0"),
                _ => call.of("a", &a, "eth7"),
            }
            .run()
        };
        conf["cni.dev/valid-attachments"] = valid("a", "eth7");
        let stopped = Stopped::with("--exclusive", &format!("{LEASES}/lock"));
        let call = |verb: &'static str| by(HOST_LOCAL, verb, &conf).error();
        stopped.is_told(&[
            ("ADD", 11, &|| call("ADD")),
            ("DEL", 11, &|| call("DEL")),
            ("GC", 11, &|| call("GC")),
            ("STATUS", 50, &|| call("STATUS")),
            ("ADD of bridge", 11, &|| by(BRIDGE, "ADD", &conf).error()),
            ("GC of bridge", 11, &|| by(BRIDGE, "GC", &conf).error()),
            ("STATUS of bridge", 50, &|| by(BRIDGE, "STATUS", &conf).error()),
        ]);
        by(HOST_LOCAL, "CHECK", &conf).silent();
        drop(stopped);
        for verb in ["GC", "STATUS", "CHECK"] {
            by(BRIDGE, verb, &conf).silent();
        }
        done(&by(BRIDGE, "ADD", &conf));
        Call::new(BRIDGE, "DEL", &conf).of("b", &b, "eth0").run().silent();
        member.del();
    });
}

/// A DEL that is stopped while it removes the bridge makes an ADD fail. While an ADD is stopped, a DEL leaves the bridge, also
/// where that ADD is of the previous version, which locked the namespace.
#[test]
fn a_stopped_holder_of_a_bridge_is_told_and_a_del_leaves_the_bridge_to_an_add() {
    isolated(|| {
        let _host = Host::new();
        let (a, b) = (Namespaced::new("a"), Namespaced::new("b"));
        let before = Snapshot::take();
        let member = shop().add(&a, &json!({}));
        let conf = &member.conf[0];
        let add = || Call::new(BRIDGE, "ADD", conf).of("b", &b, "eth0").run();
        let stopped = Stopped::with("--exclusive", "/run/cleat.br-shop.lock");
        stopped.is_told(&[("ADD", 11, &|| add().error())]);
        drop(stopped);
        done(&add());
        Call::new(BRIDGE, "DEL", conf).of("b", &b, "eth0").run().silent();
        for lock in ["/run/cleat.br-shop.lock", "/proc/self/ns/net"] {
            let adding = Stopped::with("--shared", lock);
            member.del();
            assert!(has_link("br-shop"), "{lock}");
            drop(adding);
            member.call(0, "DEL").run().silent();
            assert!(!has_link("br-shop"), "{lock}");
            before.assert_unchanged();
            if lock != "/proc/self/ns/net" {
                done(&member.call(0, "ADD").run());
            }
        }
    });
}

fn has_link(name: &str) -> bool {
    netlink::Socket::open().unwrap().get_link(name).unwrap().is_some()
}

#[test]
fn a_stopped_holder_of_a_container_or_the_cache_is_told_by_cleat() {
    isolated(|| {
        let _host = Host::new();
        install_networks();
        let netns = Namespaced::new("a");
        let path = netns.path().to_str().unwrap();
        let run = |verb: &str| cleat(&[verb, "cleat", path, "--id", "a"]);
        succeed(&mut run("add"));
        let held = format!("/var/lib/cni/.{}", cni::token(&["a"]));
        // The lock file, as flock(1) makes it; nothing else may be left.
        fs::write(&held, "").unwrap();
        Stopped::with("--exclusive", &held)
            .is_told(&[("add", 1, &|| code_of(&mut run("add"))), ("del", 1, &|| code_of(&mut run("del")))]);
        let results = "/var/lib/cni/results";
        Stopped::with("--shared", results).is_told(&[
            ("gc", 1, &|| code_of(&mut cleat(&["gc", "cleat"]))),
            ("repair", 1, &|| code_of(&mut cleat(&["repair"]))),
        ]);
        Stopped::with("--exclusive", results).is_told(&[("del", 1, &|| code_of(&mut run("del")))]);
        // A command of the previous version locks this folder.
        Stopped::with("--shared", "/var/lib/cni")
            .is_told(&[("gc", 1, &|| code_of(&mut cleat(&["gc", "cleat"])))]);
        succeed(&mut run("del"));
        succeed(&mut cleat(&["gc", "cleat"]));
        assert!(!fs::exists(&held).unwrap());
    });
}

#[test]
fn a_stopped_network_create_is_told_by_the_next() {
    isolated(|| {
        let _host = Host::new();
        install_networks();
        let create = || cleat(&["network", "create", "shop"]);
        let lock = format!("{NETWORKS}/.cleat.lock");
        let stopped = Stopped::with("--exclusive", &lock);
        stopped.is_told(&[("create", 1, &|| code_of(&mut create()))]);
        drop(stopped);
        // Any user who can open the folder can lock it, which delays nothing.
        let user = Stopped::with("--exclusive", NETWORKS);
        succeed(&mut create());
        succeed(&mut cleat(&["network", "rm", "shop"]));
        drop(user);
        assert!(!fs::exists(lock).unwrap());
    });
}

#[test]
fn a_stopped_holder_of_iptables_lock_is_told() {
    isolated(|| {
        let _host = Host::new();
        choose_legacy();
        prime("legacy");
        let netns = Namespaced::new("a");
        let network = Network { name: "shop", subnet: 7, keys: json!({"ipMasqBackend": "iptables"}) };
        let add = || {
            let call = Call::new(BRIDGE, "ADD", &network.bridge()).of("a", &netns, "eth0");
            call.env("PATH", &format!("{LEGACY}:{PATH}")).run()
        };
        fs::create_dir_all(LEASES).unwrap();
        let stopped = Stopped::with("--exclusive", "/run/xtables.lock");
        let before = links();
        let start = Instant::now();
        let (code, text) = add().error();
        assert!(start.elapsed() < BOUND + Duration::from_secs(1), "{:?}: {text}", start.elapsed());
        assert!(code == 11 && text.contains("lock /run/xtables.lock: process "), "{code} {text}");
        assert!(text.contains("(flock, stopped)"), "{text}");
        assert_eq!(links(), before);
        drop(stopped);
        done(&add());
        let call = Call::new(BRIDGE, "DEL", &network.bridge()).of("a", &netns, "eth0");
        call.env("PATH", &format!("{LEGACY}:{PATH}")).run().silent();
    });
}

fn links() -> String {
    String::from_utf8(Command::new("ip").args(["-o", "link"]).output().unwrap().stdout).unwrap()
}

/// Locks a file by an open file that is only in a socket's queue, so that the plugin finds no process that holds the lock.
fn locked_by_a_stranger(mode: &str, path: &str) -> [UnixStream; 2] {
    let file = File::open(path).unwrap();
    // The lock belongs to the open file; the process that took it has ended.
    let taken =
        Command::new("flock").args(["--nonblock", mode, "0"]).stdin(file.try_clone().unwrap()).status();
    assert!(taken.unwrap().success());
    let (to, from) = UnixStream::pair().unwrap();
    let descriptors = [file.as_raw_fd()];
    let rights = [ControlMessage::ScmRights(&descriptors)];
    sendmsg::<()>(to.as_raw_fd(), &[IoSlice::new(b"x")], &rights, MsgFlags::empty(), None).unwrap();
    [to, from]
}

#[test]
fn a_lock_on_the_namespace_holds_up_neither_add_nor_del_and_no_bridge_is_left() {
    isolated(|| {
        let _host = Host::new();
        let netns = Namespaced::new("a");
        let before = Snapshot::take();
        for mode in ["--exclusive", "--shared"] {
            let strangers = [
                locked_by_a_stranger(mode, "/proc/self/ns/net"),
                locked_by_a_stranger(mode, netns.path().to_str().unwrap()),
            ];
            let start = Instant::now();
            let member = shop().add(&netns, &json!({}));
            member.check(BRIDGE).silent();
            member.del();
            before.assert_unchanged();
            // Earlier versions locked the namespace, which delayed ADD and each DEL by half a second.
            assert!(start.elapsed() < Duration::from_secs(5), "{mode}: {:?}", start.elapsed());
            drop(strangers);
        }
    });
}

#[test]
fn a_lock_on_folders_that_all_may_open_holds_nobody_up() {
    isolated(|| {
        let _host = Host::new();
        install_networks();
        let netns = Namespaced::new("a");
        let path = netns.path().to_str().unwrap();
        succeed(&mut cleat(&["add", "cleat", path, "--id", "a"]));
        let open = ["/run", "/var/lib/cni", "/var/lib/cni/networks", NETWORKS];
        let _strangers = open.map(|folder| locked_by_a_stranger("--exclusive", folder));
        for folder in open {
            // Older versions, other programs and packages make them with this mode.
            set_mode(folder, 0o755);
        }
        let start = Instant::now();
        for args in [
            &["del", "cleat", path, "--id", "a"][..],
            &["gc", "cleat"],
            &["network", "create", "x"],
            &["network", "rm", "x"],
        ] {
            succeed(&mut cleat(args));
        }
        assert!(start.elapsed() < BOUND, "{:?}", start.elapsed());
    });
}

#[test]
fn what_is_locked_is_closed_to_others_and_the_reference_goes_on() {
    isolated(|| {
        let _host = Host::new();
        install_networks();
        let [a, b, c] = ["a", "b", "c"].map(Namespaced::new);
        let conf = shop().bridge();
        let leased = |folder: &str, verb: &str, netns: &Namespaced| -> Answer {
            Call::new(&format!("{folder}/host-local"), verb, &old(&conf))
                .of(netns.name(), netns, "eth0")
                .run()
        };
        // As the reference makes the folder, and with a mode that an administrator may have set.
        done(&leased(REFERENCE, "ADD", &a));
        set_mode(LEASES, 0o755);
        set_mode(&format!("{LEASES}/lock"), 0o644);
        let ours = Path::new(HOST_LOCAL).parent().unwrap().to_str().unwrap();
        done(&leased(ours, "ADD", &b));
        assert_eq!((mode(LEASES), mode(&format!("{LEASES}/lock"))), (0o700, 0o600));
        done(&leased(REFERENCE, "ADD", &c));
        for netns in [&a, &b, &c] {
            leased(REFERENCE, "DEL", netns).silent();
        }
        assert_eq!(mode(LEASES), 0o700);

        let path = a.path().to_str().unwrap();
        succeed(&mut cleat(&["add", "cleat", path, "--id", "a"]));
        for folder in [STATE, "/var/lib/cni/results"] {
            assert_eq!(mode(folder), 0o700);
            set_mode(folder, 0o755);
        }
        succeed(&mut cleat(&["add", "cleat", b.path().to_str().unwrap(), "--id", "b"]));
        for folder in [STATE, "/var/lib/cni/results", "/var/lib/cni/networks/cleat"] {
            assert_eq!(mode(folder), 0o700, "{folder}");
        }
        assert_eq!(mode("/run/cleat.cleat0.lock"), 0o600);
        for netns in [&a, &b] {
            succeed(&mut cleat(&["del", "cleat", netns.path().to_str().unwrap(), "--id", netns.name()]));
        }
        assert!(!fs::exists("/run/cleat.cleat0.lock").unwrap());
    });
}

/// The reference before 1.6 does not know version 1.1.0 of the specification.
fn old(conf: &Value) -> Value {
    let mut conf = conf.clone();
    conf["cniVersion"] = json!("1.0.0");
    conf
}

#[test]
fn those_who_wait_come_to_their_turn_once_the_holder_goes_on() {
    const WAITING: usize = 30;
    isolated(|| {
        let _host = Host::new();
        let netns = Namespaced::new("a");
        let conf = shop().bridge();
        fs::create_dir_all(LEASES).unwrap();
        let add = |number: usize| {
            Call::new(HOST_LOCAL, "ADD", &conf).of(&format!("c{number}"), &netns, "eth0").run()
        };
        let stopped = Stopped::with("--exclusive", &format!("{LEASES}/lock"));
        let mut addresses: Vec<String> = thread::scope(|scope| {
            let waiting: Vec<_> =
                (0..WAITING).map(|number| scope.spawn(move || add(number).result())).collect();
            thread::sleep(Duration::from_secs(2));
            assert!(waiting.iter().all(|thread| !thread.is_finished()));
            drop(stopped);
            let result = waiting.into_iter().map(|thread| thread.join().unwrap());
            result.map(|result| result["ips"][0]["address"].as_str().unwrap().to_owned()).collect()
        });
        addresses.sort();
        addresses.dedup();
        assert_eq!(addresses.len(), WAITING);
    });
}

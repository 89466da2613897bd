//! `cleat-nri` with hostile pods. The tests are the runtime's side of NRI; the program is the real one.

mod runtime;

use std::fs;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use sandbox::nri::{annotation, env, mount};
use sandbox::{Answer, Call, Host, Namespaced, Snapshot, isolated};
use serde_json::{Value, json};

use crate::shared::cleat::{cleat, install_networks, succeed};
use crate::shared::programs::{LINK_ENV, folder};
use runtime::{NRI, Runtime, synchronized};

const SHARE: &str = "link-env.cni/share-env";
const HOSTS: &str = "/etc/hosts";

fn link_env(verb: &str, id: &str, netns: &Namespaced, address: &str, annotations: &Value) -> Answer {
    let counts = json!(["links", "expose", "aliases", "name", "env", "share-env", "allow-from"]);
    of_network(verb, id, netns, address, annotations, &counts)
}

/// The same on a network that accepts these annotations.
fn of_network(
    verb: &str,
    id: &str,
    netns: &Namespaced,
    address: &str,
    annotations: &Value,
    counts: &Value,
) -> Answer {
    let conf = json!({
        "cniVersion": "1.0.0", "name": "pods", "type": "link-env", "netnsDir": "",
        "annotations": counts,
        "prevResult": {
            "cniVersion": "1.0.0",
            "interfaces": [{"name": "eth0", "sandbox": netns.path()}],
            "ips": [{"address": address, "interface": 0}],
        },
        "capabilities": {"io.kubernetes.cri.pod-annotations": true},
        "runtimeConfig": {"io.kubernetes.cri.pod-annotations": annotations},
    });
    let args =
        format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME={id};K8S_POD_INFRA_CONTAINER_ID={id}");
    Call::new(LINK_ENV, verb, &conf).of(id, netns, "eth0").env("CNI_ARGS", &args).run()
}

/// Where the operator does not let pods share their environment, nothing is shared, and the pod's row in `cleat check` says
/// why.
#[test]
fn what_the_network_does_not_let_a_pod_say_is_not_done() {
    isolated(|| {
        let netns = Namespaced::new("x");
        let add = |id: &str, address: &str, annotations: &Value, counts: &Value| {
            let _ = of_network("ADD", id, &netns, address, annotations, counts).result();
        };
        let shares = json!({SHARE: "true"});
        let mut runtime = Runtime::new();
        for (counts, is_offered) in [(json!(["links"]), false), (json!(["links", "share-env"]), true)] {
            add("db", "10.1.0.66/16", &shares, &counts);
            runtime.create("db", "db", &annotation(SHARE, "true"), &env(&["PG=17"]));
            add("web", "10.1.0.3/16", &json!({"link-env.cni/links": "db"}), &counts);
            let answer = runtime.create("web", "web", &[], &[]);
            assert_eq!(contains(&answer, b"DB_ENV_PG"), is_offered);
            let notes = fs::read_to_string("/run/cleat/containers/db/notes").unwrap_or_default();
            assert_eq!(notes.contains("link-env.cni/share-env is ignored"), !is_offered, "{notes}");
            for (id, address) in [("web", "10.1.0.3/16"), ("db", "10.1.0.66/16")] {
                of_network("DEL", id, &netns, address, &json!({}), &counts).silent();
            }
        }
        runtime.end();
    });
}

/// ADD and DEL of another tenant's pod are not delayed.
fn others_come_and_go(netns: &Namespaced) {
    let began = Instant::now();
    let _ = link_env("ADD", "other", netns, "10.1.0.3/16", &json!({})).result();
    link_env("DEL", "other", netns, "10.1.0.3/16", &json!({})).silent();
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

/// The size of the state folder in bytes.
fn kept() -> u64 {
    let output = Command::new("du").args(["-sb", "/run/cleat"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn what_a_pod_shares_and_writes_into_its_hosts_file_is_bounded() {
    isolated(|| {
        let netns = Namespaced::new("x");
        let before = Snapshot::take();
        let _ = link_env("ADD", "evil", &netns, "10.1.0.66/16", &json!({SHARE: "true"})).result();
        let mut runtime = Runtime::new();
        // Eight containers with three megabytes of variables each. Each byte takes six in JSON.
        for container in 0..8 {
            let values: Vec<String> =
                (0..30).map(|number| format!("K{container}_{number}={}", "\u{1}".repeat(100_000))).collect();
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            let small = env(&["SMALL=1"]);
            runtime.create("evil", "evil", &annotation(SHARE, "true"), &[small, env(&values)].concat());
            others_come_and_go(&netns);
        }
        // A hosts file of kubelet to which a container has added about a mebibyte of names on one line.
        let names: Vec<String> = (0..130_000).map(|number| format!("n{number}")).collect();
        let text = format!("# Kubernetes-managed hosts file.\n192.0.2.9 {}\n", names.join(" "));
        fs::create_dir_all("/run/pods/1-2").unwrap();
        fs::write("/run/pods/1-2/etc-hosts", text).unwrap();
        let answer = runtime.create("evil", "evil", &[], &mount(HOSTS, "/run/pods/1-2/etc-hosts"));
        assert!(contains(&answer, b"/run/cleat/containers/evil/hosts"), "{answer:?}");
        others_come_and_go(&netns);
        let hosts = fs::read_to_string("/run/cleat/containers/evil/hosts").unwrap();
        let has_first = hosts.lines().any(|line| line.split_whitespace().eq(["192.0.2.9", "n0"]));
        assert!(has_first && hosts.len() < 100_000, "{} bytes: {:.200}", hosts.len(), hosts);
        assert!(kept() < 1 << 20, "{}", kept());
        assert!(runtime.peak() < 64 << 10, "{} KiB", runtime.peak());
        fs::remove_dir_all("/run/pods").unwrap();
        let log = runtime.end();
        assert!(log.contains("pod evil offers more than 65536 bytes of environment"), "{log}");
        assert!(log.contains("kubelet's hosts file has too many entries"), "{log}");
        link_env("DEL", "evil", &netns, "10.1.0.66/16", &json!({})).silent();
        before.assert_unchanged();
    });
}

/// Such a file is not even opened: a FIFO, a file that begins like kubelet's, a device.
#[test]
fn a_file_that_an_author_mounts_over_etc_hosts_stays_and_gains_nothing() {
    isolated(|| {
        let netns = Namespaced::new("x");
        let _ = link_env("ADD", "evil", &netns, "10.1.0.66/16", &json!({})).result();
        let folder = "/run/pods/1-2/volume-subpaths/files/app";
        fs::create_dir_all(folder).unwrap();
        let file = format!("{folder}/0");
        fs::write(&file, "# Kubernetes-managed hosts file.\n192.0.2.9 printer\n").unwrap();
        assert!(Command::new("mkfifo").arg(format!("{folder}/1")).status().unwrap().success());
        let mut runtime = Runtime::new();
        for place in [file.as_str(), &format!("{folder}/1"), "/dev/zero", "/nonexistent\u{1b}[2J"] {
            let answer = runtime.create("evil", "evil", &[], &mount(HOSTS, place));
            assert!(!contains(&answer, b"containers/evil/hosts"), "{place}: {answer:?}");
        }
        assert!(!fs::read_to_string("/run/cleat/containers/evil/hosts").unwrap().contains("printer"));
        let log = runtime.end();
        assert!(log.contains("keeps its own /etc/hosts, /nonexistent\\u{1b}[2J"), "{log}");
        link_env("DEL", "evil", &netns, "10.1.0.66/16", &json!({})).silent();
    });
}

/// The registry's lock is never released, and a pod has megabytes of variables from a version without bounds.
#[test]
fn a_thousand_requests_under_a_lock_that_is_held_take_no_threads_and_no_time() {
    isolated(|| {
        let netns = Namespaced::new("x");
        let _ = link_env("ADD", "evil", &netns, "10.1.0.66/16", &json!({})).result();
        let _ = link_env("ADD", "other", &netns, "10.1.0.3/16", &json!({})).result();
        let large: Value =
            (0..12).map(|number| (format!("V{number}"), Value::from("x".repeat(126_000)))).collect();
        fs::write("/run/cleat/containers/evil/env.json", large.to_string()).unwrap();
        fs::write("/run/cleat/containers/other/env.json", json!({"DB_NAME": "/other/db"}).to_string())
            .unwrap();
        let holder = Holder::of("/run/cleat");
        let mut runtime = Runtime::new();
        let (threads, files) = (runtime.threads(), runtime.files());
        let began = Instant::now();
        for number in 0..1000 {
            let (id, has) = if number % 2 == 0 { ("evil", false) } else { ("other", true) };
            let asked = Instant::now();
            let answer = runtime.create(id, id, &[], &[]);
            // This is how long the runtime waits.
            assert!(asked.elapsed() < Duration::from_secs(2), "{number}: {:?}", asked.elapsed());
            assert_eq!(contains(&answer, b"/other/db"), has, "{number}");
            assert!(contains(&answer, format!("/run/cleat/containers/{id}/hosts").as_bytes()));
            // Four threads for requests, each with a second one that waits for the lock, and one more that is about to end.
            let now = (runtime.threads(), runtime.files());
            assert!(now.0 <= threads + 9 && now.1 <= files + 24, "{number}: {now:?} of {threads}, {files}");
        }
        assert!(began.elapsed() < Duration::from_mins(2), "{:?}", began.elapsed());
        assert!(runtime.peak() < 64 << 10, "{} KiB", runtime.peak());
        drop(holder);
        // The waiting threads end soon.
        let began = Instant::now();
        while runtime.threads() > threads {
            assert!(began.elapsed() < Duration::from_secs(10), "{} threads", runtime.threads());
            thread::sleep(Duration::from_millis(10));
        }
        let answer = runtime.create("other", "other", &[], &[]);
        assert!(!contains(&answer, b"/other/db"), "its links give no variables now");
        let log = runtime.end();
        assert!(log.contains("starts without the variables of its links: they take"), "{log}");
        assert!(log.contains("4 requests before still wait for the registry"), "{log}");
        for (id, address) in [("evil", "10.1.0.66/16"), ("other", "10.1.0.3/16")] {
            link_env("DEL", id, &netns, address, &json!({})).silent();
        }
    });
}

#[test]
fn a_second_one_refuses_to_run_and_the_next_takes_its_place() {
    isolated(|| {
        let mut first = Runtime::new();
        first.create("nobody", "nobody", &[], &[]);
        // As the runtime would start it, and as a systemd unit would.
        for second in [Runtime::start(), Command::new(NRI).stderr(Stdio::piped()).spawn().unwrap()] {
            let process = first.process();
            let output = second.wait_with_output().unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(75), "{said}");
            assert!(
                said.contains(&format!("another cleat-nri, process {process}, serves /run/cleat")),
                "{said}"
            );
        }
        first.create("nobody", "nobody", &[], &[]);
        // With `--standby`, a second plugin does not connect before the first one ends.
        let socket = UnixListener::bind("/run/nri.sock").unwrap();
        let standby = ["--standby", "--socket", "/run/nri.sock"];
        let mut standby = Command::new(NRI).args(standby).stderr(Stdio::null()).spawn().unwrap();
        socket.set_nonblocking(true).unwrap();
        thread::sleep(Duration::from_millis(1500));
        assert!(socket.accept().is_err() && standby.try_wait().unwrap().is_none());
        first.kill();
        socket.set_nonblocking(false).unwrap();
        let mut taken = Runtime::over(socket.accept().unwrap().0);
        taken.create("nobody", "nobody", &[], &[]);
        // The runtime is restarted, and starts its own plugin before it listens: the standby waits again.
        drop(socket);
        fs::remove_file("/run/nri.sock").unwrap();
        drop(taken);
        let mut own = Runtime::new();
        own.create("nobody", "nobody", &[], &[]);
        assert!(standby.try_wait().unwrap().is_none());
        standby.kill().unwrap();
        standby.wait().unwrap();
        own.end();
    });
}

#[test]
fn names_reach_the_log_as_text() {
    isolated(|| {
        let netns = Namespaced::new("x");
        let _ = link_env("ADD", "evil", &netns, "10.1.0.66/16", &json!({SHARE: "true"})).result();
        let mut runtime = Runtime::new();
        let pod = format!("web\n\u{1b}[2J\u{202e}{}", "x".repeat(100_000));
        let large = format!("K\u{1b}]0;owned\u{7}={}", "x".repeat(70_000));
        runtime.create("evil", &pod, &annotation(SHARE, "true"), &env(&[&large]));
        runtime.create("gone\n", &pod, &[], &env(&[&large]));
        runtime.call("Nothing\u{1b}[2J\n", &[]);
        let log = runtime.end();
        assert!(
            log.contains("pod web\\n\\u{1b}[2J\\u{202e}xxx") && log.contains("K\\u{1b}]0;owned\\u{7}"),
            "{log}"
        );
        assert!(log.lines().all(|line| line.starts_with("cleat-nri: ") && line.len() < 20_000), "{log}");
        assert!(!log.contains(|character: char| character.is_control() && character != '\n'), "{log}");
        let notes = fs::read_to_string("/run/cleat/containers/evil/notes").unwrap();
        assert!(!notes.contains('\u{1b}'), "{notes}");
        link_env("DEL", "evil", &netns, "10.1.0.66/16", &json!({})).silent();
    });
}

/// containerd starts the program without standard error: its messages go to the node's log.
#[test]
fn without_standard_error_the_nodes_log_is_told() {
    isolated(|| {
        let shell = "mkdir /run/dev && touch /run/dev/null && mount --bind /dev/null /run/dev/null && \
                     mount --rbind /run/dev /dev";
        assert!(Command::new("sh").args(["-c", shell]).status().unwrap().success());
        let log = UnixDatagram::bind("/dev/log").unwrap();
        log.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut runtime = Runtime::with(Stdio::null());
        let mut line = [0; 4096];
        let mut next = || {
            let length = log.recv(&mut line).unwrap();
            String::from_utf8(line[..length].to_vec()).unwrap()
        };
        assert_eq!(
            next(),
            format!("<28>cleat-nri[{}]: joined the runtime as 10-cleat-nri", runtime.process())
        );
        let netns = Namespaced::new("x");
        let _ = link_env("ADD", "evil", &netns, "10.1.0.66/16", &json!({})).result();
        runtime.create("evil", "evil", &[], &mount(HOSTS, "/srv/mine"));
        let line = next();
        assert!(line.ends_with("container app of pod evil keeps its own /etc/hosts, /srv/mine"), "{line}");
        runtime.kill();
        link_env("DEL", "evil", &netns, "10.1.0.66/16", &json!({})).silent();
    });
}

#[test]
fn check_names_the_pods_that_were_made_while_it_was_away() {
    isolated(|| {
        let _host = Host::new();
        install_networks();
        let before = Snapshot::take();
        let pods = ["early", "late", "fresh"].map(Namespaced::new);
        for pod in &pods {
            let name = pod.name();
            let args = format!(
                "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME={name};K8S_POD_INFRA_CONTAINER_ID={name}"
            );
            let path = pod.path().to_str().unwrap();
            succeed(cleat(&["add", "cleat", path, "--id", name]).env("CNI_ARGS", args));
        }
        let why = |name: &str| {
            let told: Value = serde_json::from_str(&succeed(&mut cleat(&["check", "--json"]))).unwrap();
            let row = told.as_array().unwrap().iter().find(|row| row["id"] == name).unwrap().clone();
            assert_eq!(row["state"], "ok", "{row}");
            row["why"].as_str().unwrap().to_owned()
        };
        let inside = |name: &str| {
            let words = ["netns", "exec", name, "sleep", "1000"];
            let process = Command::new("ip").args(words).spawn().unwrap();
            thread::sleep(Duration::from_millis(200));
            Process(process)
        };
        let _containers = [inside("early"), inside("late")];
        assert_eq!(why("late"), "", "NRI is not in use");
        let mut runtime = Runtime::new();
        runtime.create("early", "early", &[], &[]);
        assert_eq!(why("early"), "");
        assert!(why("late").contains("its containers were made while cleat-nri was away"), "{}", why("late"));
        // Its containers are not made yet.
        assert_eq!(why("fresh"), "");
        runtime.kill();
        assert!(why("early").contains("cleat-nri is away: containers that are made now"), "{}", why("early"));

        // The runtime sends the next plugin the containers that exist.
        let mut runtime = Runtime::new();
        let ours = mount(HOSTS, "/run/cleat/containers/early/hosts");
        let over = [4 << 3, 4];
        let containers =
            [("early", &ours[..]), ("late", &[][..]), ("early", &over[..]), ("../late", &[][..])];
        runtime.call("Synchronize", &synchronized(&containers));
        let began = Instant::now();
        while !why("late").contains("container app was made while cleat-nri was away") {
            assert!(began.elapsed() < Duration::from_secs(10), "{}", why("late"));
        }
        assert_eq!(why("early"), "");
        // After the container is made again, nothing is reported.
        runtime.create("late", "late", &[], &[]);
        assert_eq!(why("late"), "");
        runtime.end();
        for pod in &pods {
            succeed(&mut cleat(&["del", "cleat", pod.path().to_str().unwrap(), "--id", pod.name()]));
        }
        drop(pods);
        assert!(folder().is_dir() && before.differences().iter().all(|line| !line.contains("/run/cleat/")));
    });
}

/// A stopped process that holds a lock.
struct Holder(Process);

struct Process(Child);

impl Holder {
    fn of(path: &str) -> Self {
        let command = "echo held; kill -STOP $$; sleep 1000";
        let mut flock = Command::new("flock");
        let mut child = flock.args([path, "sh", "-c", command]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = [0; 5];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
        Self(Process(child))
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // flock waits for its command, which has the lock as well.
        let children = format!("pkill -KILL -P {}", self.0.0.id());
        let _ = Command::new("sh").args(["-c", &children]).status();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

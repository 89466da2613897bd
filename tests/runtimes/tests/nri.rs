//! Links in the containers of pods: what the NRI plugin puts into their environment and /etc/hosts.

use std::fs;
use std::process::Command;

use runtimes::cri::{ContainerSpec, Cri, Pod, PodSpec};
use runtimes::{Containerd, Machine, Release, eventually, machine};
use serde_json::{Value, json};

use crate::cri::{await_network, end};

/// A server that answers with its own address, so that the client sees which pod it reached.
const DATABASE: [&str; 8] = ["nc", "-ll", "-p", "5432", "-e", "sh", "-c", "hostname -i"];

/// A running pod with one container.
pub(crate) struct Running {
    pub(crate) pod: Pod,
    pub(crate) container: String,
}

#[test]
fn a_plugin_that_the_runtime_starts() {
    machine(|machine| {
        machine.nri_plugin();
        links_reach_the_containers(machine, |_| ());
    });
}

#[test]
fn a_plugin_that_runs_by_itself() {
    machine(|machine| {
        // The runtime is started later: the service waits for it.
        let service = machine.nri_service();
        links_reach_the_containers(machine, |times| service.await_joined(times));
    });
}

/// Starts a runtime with NRI, on the network of the pods.
fn start(machine: &Machine) -> (Containerd, Cri) {
    machine.network("10-pods.conflist", &network());
    let containerd = Containerd::start(Release::Newest);
    let cri = Cri::new(containerd.socket());
    await_network(&cri);
    (containerd, cri)
}

/// `await_joined` waits until the plugin has joined the runtime this many times.
fn links_reach_the_containers(machine: &Machine, await_joined: impl Fn(usize)) {
    let (mut containerd, cri) = start(machine);
    await_joined(1);
    let before = machine.snapshot();

    let db = database(&cri, "db");
    let web = run(
        &cri,
        &linked("web"),
        &ContainerSpec { env: &[("WEBDB_NAME", "mine")], ..ContainerSpec::default() },
    );
    let address = cri.addresses(&db.pod)[0].clone();
    let variable =
        |name: &str| cri.exec(&web.container, &["printenv", name]).map(|value| value.trim().to_owned());
    assert_eq!(variable("WEBDB_PORT_5432_TCP_ADDR"), Ok(address.clone()));
    assert_eq!(variable("WEBDB_PORT"), Ok(format!("tcp://{address}:5432")));
    assert_eq!(variable("WEBDB_NAME"), Ok("mine".to_owned()), "the container's own variables win");
    assert_eq!(variable("WEBDB_ENV_PG_VERSION"), Ok("17".to_owned()), "db's pod offers its environment");
    variable("WEBDB_ENV_HOSTNAME").unwrap_err();
    let hosts = cri.exec(&web.container, &["cat", "/etc/hosts"]).unwrap();
    let mut lines = hosts.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    assert!(lines.any(|words| words[0] == address && words.contains(&"webdb")), "{hosts}");
    let ask = |cri: &Cri, container: &str, target: &str| {
        let command = format!("nc -w 5 {target} 5432");
        eventually("the database answers", || cri.exec(container, &["sh", "-c", &command])).trim().to_owned()
    };
    assert_eq!(ask(&cri, &web.container, "webdb"), address);
    assert_eq!(ask(&cri, &web.container, "$WEBDB_PORT_5432_TCP_ADDR"), address);
    // A link goes one way: the database has none to web.
    let env = cri.exec(&db.container, &["printenv"]).unwrap();
    assert!(!env.contains("WEB"), "{env}");

    // A new pod named db has another address. web finds it without a restart.
    end(&cri, &db.pod);
    let other =
        run(&cri, &PodSpec { name: "other".to_owned(), ..PodSpec::default() }, &ContainerSpec::default());
    let db = database(&cri, "db");
    let moved = cri.addresses(&db.pod)[0].clone();
    assert_ne!(moved, address);
    assert_eq!(ask(&cri, &web.container, "webdb"), moved);

    // The runtime is restarted: the pods keep running, and the plugin joins again for new ones.
    containerd.restart();
    let cri = Cri::new(containerd.socket());
    assert_eq!(ask(&cri, &web.container, "webdb"), moved);
    await_joined(2);
    let late = run(&cri, &linked("late"), &ContainerSpec::default());
    assert_eq!(ask(&cri, &late.container, "$WEBDB_PORT_5432_TCP_ADDR"), moved);
    for running in [late, other, web, db] {
        end(&cri, &running.pod);
    }
    before.assert_unchanged();
}

/// The runtime does not start a plugin again that has ended. One that is started as a service takes its place, and `check`
/// names the containers that were made in between.
#[test]
fn where_it_ends_one_that_stands_by_goes_on_and_check_names_the_pods_in_between() {
    machine(|machine| {
        machine.nri_plugin();
        let (_containerd, cri) = start(machine);
        let db = database(&cri, "db");
        let web = run(&cri, &linked("web"), &ContainerSpec::default());
        let variable = |running: &Running| cri.exec(&running.container, &["printenv", "WEBDB_PORT"]);
        variable(&web).unwrap();
        let why = |running: &Running| {
            let output = machine.cleat().args(["check", "--json"]).output().unwrap();
            let told: Value = serde_json::from_slice(&output.stdout).unwrap();
            let rows = told.as_array().unwrap().iter();
            let mut rows = rows.filter(|row| row["id"] == running.pod.id.as_str() && row["state"] == "ok");
            rows.next().unwrap_or_else(|| panic!("{told}"))["why"].as_str().unwrap().to_owned()
        };
        assert_eq!(why(&web), "");

        end_plugin();
        let lost = run(&cri, &linked("lost"), &ContainerSpec::default());
        variable(&lost).unwrap_err();
        assert!(why(&web).contains("cleat-nri is away"), "{}", why(&web));
        assert!(why(&lost).contains("its containers were made while cleat-nri was away"), "{}", why(&lost));

        let service = machine.nri_service();
        service.await_joined(1);
        let named = || match why(&lost) {
            why if why.contains("container main was made while cleat-nri was away") => Ok(()),
            why => Err(why),
        };
        eventually("the pod is named", named);
        assert_eq!(why(&web), "", "web's container has its links");
        let late = run(&cri, &linked("late"), &ContainerSpec::default());
        variable(&late).unwrap();
        assert_eq!(why(&late), "");
        for running in [late, lost, web, db] {
            end(&cri, &running.pod);
        }
    });
}

/// Kills the plugin that the runtime has started.
fn end_plugin() {
    let is_plugin = |process: &fs::DirEntry| {
        let program = fs::read_link(process.path().join("exe"));
        program.is_ok_and(|program| program.ends_with("opt/nri/plugins/10-cleat-nri"))
    };
    let mut processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap()).filter(is_plugin);
    let process = processes.next().expect("the runtime has started it").file_name();
    let status = Command::new("kill").arg("-KILL").arg(process).status().unwrap();
    assert!(status.success());
}

/// A kubelet writes a hosts file for each pod and mounts it. The pod keeps the entries of that file.
#[test]
fn entries_of_kubelets_hosts_file_stay() {
    machine(|machine| {
        machine.nri_plugin();
        let (_containerd, cri) = start(machine);
        let kubelets = "/run/etc-hosts";
        fs::write(
            kubelets,
            "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n\n# Entries added by HostAliases.\n192.0.2.9\tprinter\n",
        )
        .unwrap();
        let db = database(&cri, "db");
        let mounts = [(kubelets, "/etc/hosts")];
        let web = run(&cri, &linked("web"), &ContainerSpec { mounts: &mounts, ..ContainerSpec::default() });
        let hosts = |running: &Running| cri.exec(&running.container, &["cat", "/etc/hosts"]).unwrap();
        let has_printer = |text: &str| text.lines().any(|line| line.trim_end() == "192.0.2.9\tprinter");
        assert!(has_printer(&hosts(&web)) && hosts(&web).contains("webdb"), "{}", hosts(&web));
        // The entries stay when link-env rewrites the file, and no other pod gets them.
        end(&cri, &db.pod);
        assert!(has_printer(&hosts(&web)) && !hosts(&web).contains("webdb"), "{}", hosts(&web));
        let db = database(&cri, "db");
        assert!(has_printer(&hosts(&web)) && hosts(&web).contains("webdb"), "{}", hosts(&web));
        assert!(!has_printer(&hosts(&db)));
        // A hosts file that is not a kubelet's, but mounted by the pod's author, is not changed.
        fs::write("/run/own", "127.0.0.1\tlocalhost\n192.0.2.8\tmine\n").unwrap();
        let own = [("/run/own", "/etc/hosts")];
        let own = run(&cri, &linked("own"), &ContainerSpec { mounts: &own, ..ContainerSpec::default() });
        assert_eq!(hosts(&own), fs::read_to_string("/run/own").unwrap());
    });
}

pub(crate) fn network() -> Value {
    json!({
        "cniVersion": "1.1.0",
        "name": "pods",
        "plugins": [
            {
                "type": "bridge", "bridge": "cleat0", "isGateway": true, "ipMasq": true,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{ "subnet": "10.95.0.0/24" }]],
                    "routes": [{ "dst": "0.0.0.0/0" }],
                },
            },
            { "type": "link-env", "capabilities": { "io.kubernetes.cri.pod-annotations": true } },
        ],
    })
}

pub(crate) fn database(cri: &Cri, name: &str) -> Running {
    let annotations = [("link-env.cni/expose", "5432"), ("link-env.cni/share-env", "true")];
    let spec = PodSpec { name: name.to_owned(), annotations: annotated(&annotations), ..PodSpec::default() };
    run(
        cri,
        &spec,
        &ContainerSpec { command: &DATABASE, env: &[("PG_VERSION", "17")], ..ContainerSpec::default() },
    )
}

pub(crate) fn linked(name: &str) -> PodSpec {
    let annotations = annotated(&[("link-env.cni/links", "db:webdb")]);
    PodSpec { name: name.to_owned(), annotations, ..PodSpec::default() }
}

fn annotated(annotations: &[(&str, &str)]) -> Vec<(String, String)> {
    annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

pub(crate) fn run(cri: &Cri, pod: &PodSpec, container: &ContainerSpec<'_>) -> Running {
    let pod = cri.run_pod(pod).unwrap();
    let container = cri.run_container(&pod, container).unwrap();
    Running { pod, container }
}

//! Five attacks that one pod can keep up, and the time that ADD and DEL of pods of another namespace take meanwhile. The bench
//! measures the same with optimised programs (`BENCH=tenants make bench`).

use std::path::Path;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use sandbox::{Call, Namespaced, only};
use serde_json::{Value, json};

/// The least time in which a runtime starts or removes a pod: the sandbox's process and its cgroups.
const PACE: Duration = Duration::from_millis(50);
/// The most links that a pod may have.
const SOURCES: usize = 32;
const HOSTS: &str = "/run/cleat/containers/evil/hosts";

/// A network of link-env alone, with ordinary members and an attacker.
pub(crate) struct Network {
    program: String,
    netns: Namespaced,
}

/// An attack of one pod.
#[derive(Clone, Copy)]
pub(crate) enum Attack {
    /// The pod is added and deleted again and again, with these annotations.
    Annotations(fn(usize) -> Value),
    /// A process of its container runs this program and script on its hosts file.
    Process(&'static str, &'static str),
}

/// All attacks, each with a description.
pub(crate) const ATTACKS: [(&str, Attack); 5] = [
    ("aliases at the bound, coming and going", Attack::Annotations(aliases)),
    ("links at the bound, coming and going", Attack::Annotations(links)),
    ("variables at the bound, coming and going", Attack::Annotations(variables)),
    (
        "a hosts file that is leased again and again",
        Attack::Process(
            "perl",
            r#"$SIG{IO} = "IGNORE"; while (1) { open(F, "<", $ARGV[0]) and fcntl(F, 1024, 0); select(undef, undef, undef, 0.01) }"#,
        ),
    ),
    (
        "a hosts file that is filled and written anew",
        Attack::Process(
            "perl",
            r#"while (1) { open(F, ">", $ARGV[0]) and print F "192.0.2.1 a b c\n" x 100000; close F; select(undef, undef, undef, 0.01) }"#,
        ),
    ),
];

fn aliases(_: usize) -> Value {
    let name = |number| format!("{}{number}", "y".repeat(60));
    json!({"link-env.cni/aliases": (0..16).map(name).collect::<Vec<_>>().join(",")})
}

fn links(_: usize) -> Value {
    json!({"link-env.cni/links": (0..SOURCES).map(|number| format!("m{number}:s{number}")).collect::<Vec<_>>().join(",")})
}

fn variables(_: usize) -> Value {
    let line = |number| format!("V{number}={}\n", "\u{1}".repeat(1000));
    json!({"link-env.cni/env": (0..64).map(line).collect::<String>()})
}

/// A process that is killed when dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Network {
    pub(crate) fn new(program: &Path) -> Self {
        Self { program: program.display().to_string(), netns: Namespaced::new("tenants") }
    }

    /// Calls the plugin for a pod, which must succeed.
    fn call(
        &self,
        verb: &str,
        (namespace, id): (&str, &str),
        address: &str,
        annotations: &Value,
        keys: &Value,
    ) {
        let mut conf = json!({
            "cniVersion": "1.1.0", "name": "tenants", "type": "link-env", "netnsDir": "",
            "runtimeConfig": {"io.kubernetes.cri.pod-annotations": annotations},
            "prevResult": {"cniVersion": "1.1.0", "ips": [{"interface": 0, "address": format!("{address}/16")}],
                "interfaces": [{"name": "eth0", "mac": "02:00:00:00:00:01", "sandbox": self.netns.path()}]},
        });
        conf.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        let args = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={id}");
        let call = Call::new(&self.program, verb, &conf).of(id, &self.netns, "eth0");
        let answer = call.env("CNI_ARGS", &args).run();
        assert!(answer.output().status.success(), "{verb} of {id}: {answer:?}");
    }

    /// Adds ordinary members in namespace `prod`, and in `evil` the sources to which the attacker's links lead.
    pub(crate) fn fill(&self, members: usize) {
        let annotations = json!({"link-env.cni/expose": "5432"});
        let add = |namespace: &str, id: &str, address: &str| {
            self.call("ADD", (namespace, id), address, &annotations, &json!({}));
        };
        (0..members).for_each(|number| add("prod", &format!("p{number}"), &format!("10.1.1.{number}")));
        (0..SOURCES).for_each(|number| add("evil", &format!("m{number}"), &format!("10.1.2.{number}")));
    }

    /// The times in which a container of namespace `prod` is added and deleted, `rounds` times.
    pub(crate) fn others(&self, rounds: usize) -> Vec<Duration> {
        let one = |verb| {
            let began = Instant::now();
            self.call(verb, ("prod", "other"), "10.1.0.9", &json!({}), &json!({}));
            began.elapsed()
        };
        (0..rounds).map(|_| one("ADD") + one("DEL")).collect()
    }

    /// The same during an attack.
    pub(crate) fn others_under(&self, attack: Attack, rounds: usize) -> Vec<Duration> {
        let evil = |verb, annotations: &Value| {
            self.call(verb, ("evil", "evil"), "10.1.0.66", annotations, &json!({}));
        };
        let is_over = AtomicBool::new(false);
        match attack {
            Attack::Annotations(annotations) => thread::scope(|scope| {
                let attacker = scope.spawn(|| {
                    let mut round = 0;
                    while !is_over.load(Ordering::Relaxed) {
                        for verb in ["ADD", "DEL"] {
                            evil(verb, &annotations(round));
                            thread::sleep(PACE);
                        }
                        round += 1;
                    }
                });
                let times = self.others(rounds);
                is_over.store(true, Ordering::Relaxed);
                attacker.join().unwrap();
                times
            }),
            Attack::Process(program, script) => {
                evil("ADD", &json!({}));
                let words = only(&[]);
                let mut command = Command::new(&words[0]);
                command.args(&words[1..]).args([program, "-e", script, HOSTS]);
                let process = Process(command.spawn().unwrap());
                thread::sleep(PACE);
                let times = self.others(rounds);
                drop(process);
                evil("DEL", &json!({}));
                times
            }
        }
    }

    /// Runs `act` while one pod is at all its bounds at once. Extra hosts of a pod come from `cleat-nri`; here they are in the
    /// operator's configuration.
    pub(crate) fn beside_full<R>(&self, act: impl FnOnce() -> R) -> R {
        let name = "x".repeat(50);
        let extra: Vec<String> =
            (0..900).map(|number| format!("{name}-{number:03}:192.0.2.{}", number % 250)).collect();
        let mut all = json!({"link-env.cni/expose": "1-1024"});
        for one in [aliases(0), links(0), variables(0)] {
            all.as_object_mut().unwrap().extend(one.as_object().unwrap().clone());
        }
        self.call("ADD", ("evil", "evil"), "10.1.0.66", &all, &json!({"endpoint": {"extraHosts": extra}}));
        let outcome = act();
        self.call("DEL", ("evil", "evil"), "10.1.0.66", &json!({}), &json!({}));
        outcome
    }

    /// Removes all members by GC.
    pub(crate) fn clear(&self) {
        let conf = json!({"cniVersion": "1.1.0", "name": "tenants", "type": "link-env", "netnsDir": "", "cni.dev/valid-attachments": []});
        Call::new(&self.program, "GC", &conf).run().silent();
        assert!(!Path::new("/run/cleat").exists());
    }
}

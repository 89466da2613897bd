//! `make bench`: the same attachments made and removed by this suite and by the reference plugins, in turn, in one
//! sandbox. It prints medians, 95th percentiles and ratios; the reference comes from the Debian package
//! containernetworking-plugins (and iptables, which it runs). `QUICK=1` takes fewer rounds.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a measurement that cannot go on ends"
)]
#![allow(clippy::print_stdout, reason = "it prints figures")]
#![allow(clippy::disallowed_methods, reason = "it starts programs and reads QUICK")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use sandbox::{Answer, Call, Host, Namespaced};
use serde_json::{Value, json};

const REFERENCE: &str = "/usr/lib/cni";

/// A suite under measurement: the folder of its plugins, its networks, its times.
struct Suite {
    name: &'static str,
    folder: PathBuf,
    subnet: &'static str,
    times: [Vec<Duration>; 4],
}

const STEPS: [&str; 4] = ["bridge ADD", "portmap ADD", "portmap DEL", "bridge DEL"];

fn main() -> ExitCode {
    match sandbox::isolated_program() {
        None => measure(),
        Some(status) if status.success() => ExitCode::SUCCESS,
        Some(_) => ExitCode::FAILURE,
    }
}

fn measure() -> ExitCode {
    if !Path::new(REFERENCE).join("bridge").exists() {
        println!(
            "make bench: no reference plugins in {REFERENCE}; as root: apt-get install containernetworking-plugins iptables"
        );
        return ExitCode::FAILURE;
    }
    let rounds = if std::env::var_os("QUICK").is_some_and(|value| value != "0") { 10 } else { 50 };
    let _host = Host::new();
    let own = std::env::current_exe().unwrap().parent().and_then(Path::parent).unwrap().to_path_buf();
    let suite = |name, folder, subnet| Suite { name, folder, subnet, times: Default::default() };
    let mut suites =
        [suite("cleat", own, "10.1.0.0/16"), suite("reference", REFERENCE.into(), "10.2.0.0/16")];
    // The first round makes tables and bridges, which the others find; one container of each stays throughout.
    let stay: Vec<Namespaced> =
        suites.iter().map(|suite| Namespaced::new(&format!("stay-{}", suite.name))).collect();
    for (suite, netns) in suites.iter_mut().zip(&stay) {
        suite.attach(netns, 1);
        suite.times = Default::default();
    }
    for round in 0..rounds {
        for suite in &mut suites {
            let netns = Namespaced::new(&format!("c{round}-{}", suite.name));
            let result = suite.attach(&netns, 8080);
            suite.detach(&netns, &result, 8080);
        }
    }
    report(&suites, rounds);
    ExitCode::SUCCESS
}

impl Suite {
    fn attach(&mut self, netns: &Namespaced, port: u16) -> Value {
        let result = self.call(0, "bridge", "ADD", netns, &self.bridge()).result();
        self.call(1, "portmap", "ADD", netns, &portmap(&result, port)).result()
    }

    fn detach(&mut self, netns: &Namespaced, result: &Value, port: u16) {
        self.call(2, "portmap", "DEL", netns, &portmap(result, port)).silent();
        let mut bridge = self.bridge();
        bridge["prevResult"] = result.clone();
        self.call(3, "bridge", "DEL", netns, &bridge).silent();
    }

    fn bridge(&self) -> Value {
        json!({
            "cniVersion": "1.0.0", "name": self.name, "type": "bridge", "bridge": format!("{}0", self.name),
            "isGateway": true, "ipMasq": true, "hairpinMode": true,
            "ipam": {"type": "host-local", "ranges": [[{"subnet": self.subnet}]], "routes": [{"dst": "0.0.0.0/0"}]}
        })
    }

    fn call(&mut self, step: usize, plugin: &str, command: &str, netns: &Namespaced, conf: &Value) -> Answer {
        let own = if plugin == "portmap" && self.name == "cleat" { "host-port" } else { plugin };
        let program = self.folder.join(own).display().to_string();
        // The reference finds iptables by its PATH.
        let call = Call::new(&program, command, conf)
            .of(netns.name(), netns, "eth0")
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        let start = Instant::now();
        let answer = call.run();
        self.times[step].push(start.elapsed());
        answer
    }
}

fn portmap(result: &Value, port: u16) -> Value {
    json!({
        "cniVersion": "1.0.0", "name": "bench", "type": "portmap", "prevResult": result,
        "runtimeConfig": {"portMappings": [{"hostPort": port, "containerPort": 80, "protocol": "tcp"}]}
    })
}

/// The time that a share of all stays below, in milliseconds.
fn quantile(times: &[Duration], percent: usize) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort();
    sorted[(sorted.len() - 1) * percent / 100].as_secs_f64() * 1000.0
}

fn report(suites: &[Suite; 2], rounds: usize) {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    println!("whole processes, {rounds} rounds in turn, kernel {}, milliseconds", kernel.trim());
    println!(
        "{:12} {:>12} {:>8} {:>16} {:>8} {:>8}",
        "", "cleat median", "p95", "reference median", "p95", "ratio"
    );
    for (step, name) in STEPS.iter().enumerate() {
        let [ours, theirs] = [&suites[0].times[step], &suites[1].times[step]];
        println!(
            "{name:12} {:12.2} {:8.2} {:16.2} {:8.2} {:7.1}x",
            quantile(ours, 50),
            quantile(ours, 95),
            quantile(theirs, 50),
            quantile(theirs, 95),
            quantile(theirs, 50) / quantile(ours, 50)
        );
    }
}

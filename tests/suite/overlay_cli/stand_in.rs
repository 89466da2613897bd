//! A program in the place of `cleat-overlay` that logs its calls and prints recorded answers, and a thread in the place of the agent.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

use crate::shared::cleat::NETWORKS;
use crate::shared::programs::{CLEAT, folder};
use crate::shared::shell::{said, shell};

pub(super) const ID: &str = "6f1c1d1e-5d0a-4c63-9a6e-0f8a5d3f7b21";
pub(super) const CONF: &str = "/etc/cleat/overlay/shop.json";
pub(super) const CONFLIST: &str = "/run/net.d/zz-shop.conflist";
pub(super) const RUN_FILE: &str = "/run/cleat/overlay/shop.json";
const BIN: &str = "/run/bin";
const ANSWERS: &str = "/run/answers";
const LOG: &str = "/run/calls";

/// Both stand-ins.
pub(super) struct StandIn {
    health: Arc<Mutex<Value>>,
}

impl StandIn {
    /// The program alone, beside `cleat`.
    pub(super) fn install() {
        for folder in [BIN, ANSWERS, NETWORKS, "/run/cleat/overlay"] {
            fs::create_dir_all(folder).unwrap();
        }
        fs::copy(CLEAT, format!("{BIN}/cleat")).unwrap();
        let program = format!("{BIN}/cleat-overlay");
        let text = format!(
            "#!/bin/sh\necho \"$*\" >>{LOG}\n[ -p /dev/stdin ] && cat >{ANSWERS}/$1.in\n\
             [ -e {ANSWERS}/$1.error ] && {{ cat {ANSWERS}/$1.error >&2; exit 1; }}\n\
             [ -e {ANSWERS}/$1 ] && cat {ANSWERS}/$1\nexit 0\n"
        );
        fs::write(&program, text).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let network = json!({"id": ID, "prefixes": ["10.201.0.0/16"], "blockLengths": [24], "backend": "vxlan",
            "vni": 4711, "port": 4789, "mtu": 0});
        Self::answers("create", &network);
        Self::answers("show", &network);
        Self::answers(
            "nodes",
            &json!({"network": network, "revision": 7, "nodes": [
            {"name": "n1", "alive": true, "since": "2026-01-01T00:00:00Z", "machine": "a", "addresses": ["192.0.2.1"],
             "mac": "02:00:00:00:00:01", "blocks": ["10.201.7.0/24"], "mtu": 1450, "version": "0.3.0", "incarnation": 1},
            {"name": "n2", "alive": false, "since": null, "machine": "b", "addresses": ["192.0.2.2"],
             "mac": "02:00:00:00:00:02", "blocks": ["10.201.8.0/24"], "mtu": 1450, "version": "0.3.0", "incarnation": 3}]}),
        );
    }

    /// Both: the agent answers on its socket, and writes the run file of network `shop` when `cleat` has written its conf.
    pub(super) fn start() -> Self {
        Self::install();
        let health = json!({"network": "shop", "id": ID, "state": "watching", "reason": null,
            "since": "2026-01-01T00:00:00Z", "engine": {"up": true, "staleSince": null, "revision": 7, "error": null},
            "device": "vx-6f1c1d1e", "mtu": 1450, "local": "192.0.2.1", "blocks": ["10.201.7.0/24"], "held": [],
            "peers": [{"name": "n2", "address": "192.0.2.2", "blocks": ["10.201.8.0/24"], "mtu": 1450, "state": "ok"}],
            "repairs": 0});
        let stand_in = Self { health: Arc::new(Mutex::new(health)) };
        let listener = UnixListener::bind("/run/cleat/overlay.sock").unwrap();
        let health = Arc::clone(&stand_in.health);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, mut request) = (stream.unwrap(), Vec::new());
                let mut bytes = [0; 1024];
                while !request.ends_with(b"\r\n\r\n") {
                    let read = stream.read(&mut bytes).unwrap();
                    request.extend_from_slice(&bytes[..read]);
                }
                let request = String::from_utf8(request).unwrap();
                let line = request.lines().next().unwrap().to_owned();
                log(&line);
                let (status, body) = match line.split(' ').nth(1).unwrap().strip_prefix("/networks/shop") {
                    Some("" | "/sync" | "/sync?force=true") if Path::new(CONF).exists() => {
                        let health = health.lock().unwrap().clone();
                        if health["state"] == "watching" {
                            write_run_file();
                        }
                        ("200 OK", health.to_string())
                    }
                    _ => ("404 Not Found", String::new()),
                };
                let answer = format!("HTTP/1.0 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        stand_in
    }

    /// What the agent says from now on.
    pub(super) fn says(&self, key: &str, value: Value) {
        self.health.lock().unwrap()[key] = value;
    }

    /// What the program prints from now on.
    pub(super) fn answers(verb: &str, answer: &Value) {
        fs::write(format!("{ANSWERS}/{verb}"), answer.to_string()).unwrap();
    }

    /// What the program fails with from now on; `None`: it does not.
    pub(super) fn fails(verb: &str, error: Option<&str>) {
        let file = format!("{ANSWERS}/{verb}.error");
        match error {
            Some(error) => fs::write(file, format!("cleat-overlay: {error}\n")).unwrap(),
            None => fs::remove_file(file).unwrap(),
        }
    }

    /// What the program read.
    pub(super) fn was_given(verb: &str) -> Value {
        serde_json::from_slice(&fs::read(format!("{ANSWERS}/{verb}.in")).unwrap()).unwrap()
    }
}

fn log(line: &str) {
    fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(LOG)
        .unwrap()
        .write_all(format!("{line}\n").as_bytes())
        .unwrap();
}

/// The calls of the program, and the orders to the agent, since the last look.
pub(super) fn calls() -> Vec<String> {
    let text = fs::read_to_string(LOG).unwrap_or_default();
    let _ = fs::remove_file(LOG);
    text.lines().filter(|line| !line.starts_with("GET ")).map(str::to_owned).collect()
}

/// What the agent writes once this node has a block, and makes in the kernel.
fn write_run_file() {
    if Path::new(RUN_FILE).exists() {
        return;
    }
    let file = json!({"version": 1, "id": ID, "prefixes": ["10.201.0.0/16"], "blocks": [{"subnet": "10.201.7.0/24"}],
        "device": "vx-6f1c1d1e", "mtu": 1450});
    shell(
        "ip link show vx-6f1c1d1e 2>/dev/null || { ip link add vx-6f1c1d1e mtu 1450 type vxlan id 4711 dstport 4789 \
        local 192.0.2.1 nolearning && ip link set vx-6f1c1d1e up && ip addr add 10.201.7.0/32 dev vx-6f1c1d1e \
        && ip route add blackhole 10.201.0.0/16 metric 4294967295 proto 76; }",
    );
    fs::write(format!("{RUN_FILE}.new"), file.to_string()).unwrap();
    fs::rename(format!("{RUN_FILE}.new"), RUN_FILE).unwrap();
}

/// What `cleat-overlay remove` leaves behind: nothing.
pub(super) fn remove_part() {
    let _ = fs::remove_file(RUN_FILE);
    shell("ip link del vx-6f1c1d1e 2>/dev/null; ip route del blackhole 10.201.0.0/16 2>/dev/null; true");
}

/// The `cleat` that has the stand-in beside it. Returns its exit code and its output.
pub(super) fn call(line: &str) -> (Option<i32>, String) {
    let output = command(line).output().unwrap();
    (output.status.code(), said(&output))
}

pub(super) fn command(line: &str) -> Command {
    let mut command = Command::new(format!("{BIN}/cleat"));
    command.args(line.split(' ')).env("CNI_PATH", folder()).env("NETCONFPATH", NETWORKS);
    command
}

pub(super) fn ok(line: &str) -> String {
    let (code, text) = call(line);
    assert_eq!(code, Some(0), "cleat {line}: {text}");
    text
}

/// Fails unless `cleat` does, with those words; returns all it said.
pub(super) fn refused(line: &str, words: &str) -> String {
    let (code, text) = call(line);
    assert!(code == Some(1) && text.contains(words), "cleat {line}: {code:?} {text}, and not {words}");
    text
}

pub(super) fn json_of(line: &str) -> Value {
    let output = command(&format!("{line} --json")).output().unwrap();
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{line}: {error}: {}", said(&output)))
}

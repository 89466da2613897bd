//! `CLEAT_TRACE`: each plugin's decisions, one line each. A trace that cannot be written never fails a call.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use sandbox::{Call, Host, Namespaced, isolated};
use serde_json::{Value, json};

use crate::shared::programs::{BRIDGE, HOST_PORT, LINK_ENV};

const FILE: &str = "/run/decisions";

fn bridge() -> Value {
    json!({
        "cniVersion": "1.1.0", "name": "net", "type": "bridge", "bridge": "br0", "isGateway": true, "ipMasq": true,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24"}]]}
    })
}

fn traced(program: &str, command: &str, conf: &Value, netns: &Namespaced) -> Call {
    Call::new(program, command, conf).of(netns.name(), netns, "eth0").env("CLEAT_TRACE", FILE)
}

/// Reads the decisions since the last time, each without its time, and empties the file.
fn decisions() -> Vec<String> {
    let text = fs::read_to_string(FILE).unwrap();
    fs::write(FILE, "").unwrap();
    let line = |line: &str| {
        let (time, rest) = line.split_once(" us=").unwrap();
        assert!(time.strip_prefix("time=").unwrap().parse::<f64>().unwrap() > 1.7e9, "{line}");
        let (_, rest) = rest.split_once(" plugin=").unwrap();
        rest.to_owned()
    };
    text.lines().map(line).collect()
}

fn has(lines: &[String], plugin: &str, decision: &str) {
    let is_it = |line: &&String| line.starts_with(plugin) && line.contains(&format!(" decision={decision}"));
    assert!(lines.iter().any(|line| is_it(&line)), "no {decision:?} of {plugin} in {lines:#?}");
}

#[test]
fn each_plugin_says_what_it_decided() {
    isolated(|| {
        let _host = Host::new();
        let (first, second) = (Namespaced::new("c1"), Namespaced::new("c2"));
        let result = traced(BRIDGE, "ADD", &bridge(), &first).run().result();
        assert_eq!(fs::metadata(FILE).unwrap().permissions().mode() & 0o777, 0o600);
        let said = decisions();
        let call = "bridge command=ADD network=net container=c1 ifname=eth0";
        assert!(said.iter().all(|line| line.starts_with(call)), "{said:#?}");
        has(&said, "bridge", "bridge name=br0 is=made");
        has(&said, "bridge", "lease address=10.1.0.2/24 why=next");
        has(&said, "bridge", "masquerade backend=nftables");
        assert_eq!(said.last().unwrap(), &format!("{call} decision=outcome is=done"));

        let _ = traced(BRIDGE, "ADD", &bridge(), &second).run().result();
        let said = decisions();
        has(&said, "bridge", "bridge name=br0 is=found");
        has(&said, "bridge", "lease address=10.1.0.3/24 why=next");

        // A failed call records its error and its code.
        let (code, _) = traced(BRIDGE, "ADD", &bridge(), &second).run().error();
        let said = decisions();
        has(&said, "bridge", &format!("outcome is=failed code={code} error=\""));

        let mut conf = json!({"cniVersion": "1.1.0", "name": "net", "type": "host-port", "prevResult": result,
            "runtimeConfig": {"portMappings": [{"hostPort": 0, "containerPort": 80}]}});
        let _ = traced(HOST_PORT, "ADD", &conf, &first).run().result();
        let said = decisions();
        has(&said, "host-port", "backend is=nftables");
        has(&said, "host-port", "port container=80/tcp host=");

        conf["type"] = "link-env".into();
        conf["endpoint"] = json!({"name": "web"});
        let _ = traced(LINK_ENV, "ADD", &conf, &first).run().result();
        has(&decisions(), "link-env", "name is=web");
        traced(LINK_ENV, "DEL", &conf, &first).run().silent();
        has(&decisions(), "link-env command=DEL", "outcome is=done");
        traced(HOST_PORT, "DEL", &conf, &first).run().silent();
        for netns in [&first, &second] {
            traced(BRIDGE, "DEL", &bridge(), netns).run().silent();
        }
        has(&decisions(), "bridge command=DEL", "bridge name=br0 is=removed");
    });
}

/// A symbolic link is not followed. The call does its work, and the reason is on standard error, for the runtime's log.
#[test]
fn a_trace_that_cannot_be_written_fails_nobody() {
    isolated(|| {
        let _host = Host::new();
        let netns = Namespaced::new("c1");
        symlink("/run/elsewhere", FILE).unwrap();
        for file in [FILE, "/run", "/nowhere/file"] {
            let add = traced(BRIDGE, "ADD", &bridge(), &netns).env("CLEAT_TRACE", file).run();
            let _ = add.result();
            let said = String::from_utf8_lossy(&add.output().stderr).into_owned();
            assert!(said.contains("CLEAT_TRACE") && said.contains(file), "{said:?}");
            let del = traced(BRIDGE, "DEL", &bridge(), &netns).env("CLEAT_TRACE", file);
            assert!(del.run().output().status.success());
        }
        assert!(fs::symlink_metadata("/run/elsewhere").is_err());
        // Without the variable nothing is said.
        let silent = traced(BRIDGE, "ADD", &bridge(), &netns).without("CLEAT_TRACE").run();
        assert!(silent.output().stderr.is_empty());
        let _ = silent.result();
        traced(BRIDGE, "DEL", &bridge(), &netns).without("CLEAT_TRACE").run().silent();
    });
}

//! How many system calls each program makes on a node whose network is in use: no more than its budget, and no more beside
//! sixty containers than beside five. One call costs little, but a number that grows is how a loop over containers shows.

use std::fs;

use nix::libc;
use sandbox::tracer::{Job, Outcome, SystemCall};
use sandbox::{Call, Host, Namespaced, isolated};
use serde_json::{Value, json};

use crate::shared::cleat::NETWORKS;
use crate::shared::programs::{CLEAT, folder, program};
use crate::shared::shell::shell;

/// How many system calls each program may make, threads and started programs included: as many as it made when this was
/// written. `rt_sigaction(2)` does not count: the C library decides how often it resets signals for a program that it starts.
const BUDGETS: [(&str, usize); 16] = [
    ("loopback ADD", 55),
    ("host-local ADD", 69),
    ("host-local DEL", 52),
    ("bridge ADD", 144),
    ("host-port ADD", 57),
    ("link-env ADD", 164),
    ("link-env DEL", 165),
    ("host-port DEL", 73),
    ("host-port ADD of UDP", 62),
    ("host-port DEL of UDP", 75),
    ("bridge DEL", 164),
    ("macvlan ADD", 119),
    ("macvlan DEL", 134),
    ("loopback DEL", 50),
    ("cleat add", 505),
    ("cleat del", 522),
];
/// The end of the names of calls with a UDP port.
const UDP: &str = " of UDP";
/// How many calls more are allowed: how often a thread waits for another one, or asks for memory, differs a little.
const ALLOWANCE: usize = 4;
/// So many runs are made, and the fewest calls of one run count: on a busy machine some runs wait more often.
const ROUNDS: usize = 5;
/// Up to so many runs are made where a program makes too many calls.
const MOST_ROUNDS: usize = 20;

#[test]
fn system_calls_stay_within_their_budgets() {
    isolated(|| {
        let mut node = Node::new();
        node.fill(5);
        let counts = node.counts(BUDGETS.map(|(_, budget)| budget + ALLOWANCE));
        let over: Vec<String> = BUDGETS
            .iter()
            .zip(counts)
            .filter(|((_, budget), count)| *count > budget + ALLOWANCE)
            .map(|((name, budget), count)| {
                format!("{name} makes {count} system calls, its budget is {budget} and {ALLOWANCE} more")
            })
            .collect();
        assert!(
            over.is_empty(),
            "{over:#?}: do without them (strace -f shows which), or say in the commit what they are for and change \
             BUDGETS in {}; all counts: {counts:?}",
            file!()
        );
    });
}

#[test]
fn system_calls_do_not_grow_with_the_containers() {
    isolated(|| {
        let mut node = Node::new();
        node.fill(5);
        let few = node.counts([usize::MAX; BUDGETS.len()]);
        node.fill(60);
        let many = node.counts(few.map(|few| few + ALLOWANCE));
        for (((name, _), few), many) in BUDGETS.iter().zip(few).zip(many) {
            assert!(
                many <= few + ALLOWANCE,
                "{name} makes {few} system calls beside 5 containers and {many} beside 60"
            );
        }
    });
}

/// For a UDP port, host-port asks the kernel for flows, not for the addresses of each link.
#[test]
fn system_calls_for_udp_do_not_grow_with_the_links() {
    isolated(|| {
        let mut node = Node::new();
        node.fill(5);
        let few = node.counts([usize::MAX; BUDGETS.len()]);
        for number in 0..100 {
            shell(&format!("ip link add many{number} type veth peer name more{number}"));
            shell(&format!("ip addr add 10.9.{number}.1/24 dev many{number} && ip link set many{number} up"));
        }
        let many = node.counts(few.map(|few| few + ALLOWANCE));
        for (((name, _), few), many) in BUDGETS.iter().zip(few).zip(many) {
            assert!(
                !name.contains("host-port") || many <= few + ALLOWANCE,
                "{name} makes {few} system calls beside few links and {many} beside 200 more"
            );
        }
    });
}

/// The rules of an attachment are added in one transaction, and removed in one.
#[test]
fn all_rules_of_an_attachment_come_and_go_in_one_transaction() {
    isolated(|| {
        let _host = Host::new();
        let conf = json!({"cniVersion": "1.0.0", "name": "whole", "type": "bridge", "bridge": "whole0",
            "isGateway": true, "ipMasq": true, "ipMasqBackend": "nftables", "macspoofchk": true, "ipspoofchk": true,
            "ingress": "published", "forward": "accept", "ipam": {"type": "host-local",
                "ranges": [[{"subnet": "10.1.0.0/16"}], [{"subnet": "fd00:1::/64"}]]}});
        let netns = Namespaced::new("whole");
        let count = |verb: &str, id: &str| {
            let call = Call::new(program("bridge"), verb, &conf);
            let outcome = call.of(id, &netns, &format!("to-{id}")).job().watch();
            let said =
                [outcome.stdout, outcome.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
            assert_eq!(outcome.code, Some(0), "{verb} of {id}: {said:?}");
            let count =
                |is_it: fn(&SystemCall) -> bool| outcome.calls.iter().filter(|call| is_it(call)).count();
            (count(SystemCall::opens_netfilter), count(SystemCall::sends_batch))
        };
        // The first ADD makes the tables, and the last DEL removes them.
        for (verb, id) in [("ADD", "first"), ("ADD", "second"), ("DEL", "second"), ("DEL", "first")] {
            assert_eq!(count(verb, id), (1, 1), "sockets and transactions of {verb} of {id}");
        }
    });
}

/// A host with a network on which containers come and go.
struct Node {
    conf: Value,
    crowd: Vec<Namespaced>,
    _host: Host,
}

impl Node {
    fn new() -> Self {
        let conf = json!({"cniVersion": "1.0.0", "name": "calls", "plugins": [
            {"type": "bridge", "bridge": "calls0", "isGateway": true, "ipMasq": true, "hairpinMode": true, "ipam": {
                "type": "host-local", "ranges": [[{"subnet": "10.1.0.0/16"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
            {"type": "host-port", "capabilities": {"portMappings": true}},
            // With names for all members instead of links, each ADD would change a file of every container.
            {"type": "link-env", "names": "links", "capabilities": {"portMappings": true}},
        ]});
        fs::create_dir_all(NETWORKS).unwrap();
        fs::write(format!("{NETWORKS}/calls.conflist"), conf.to_string()).unwrap();
        Self { conf, crowd: Vec::new(), _host: Host::new() }
    }

    /// Adds containers until there are as many as asked for.
    fn fill(&mut self, count: usize) {
        for number in self.crowd.len()..count {
            let netns = Namespaced::new(&format!("crowd-{number}"));
            let done = chain("add", &format!("c{number}"), &netns, number).run();
            assert_eq!(done.code, Some(0), "{}", String::from_utf8_lossy(&done.stderr));
            self.crowd.push(netns);
        }
    }

    /// The calls of each of [`BUDGETS`]: the fewest of all rounds, with more rounds while there are more than `most`.
    fn counts(&self, most: [usize; BUDGETS.len()]) -> [usize; BUDGETS.len()] {
        let mut counts = [usize::MAX; BUDGETS.len()];
        for round in 0..MOST_ROUNDS {
            let is_within = counts.iter().zip(most).all(|(count, most)| *count <= most);
            if round >= ROUNDS && is_within {
                break;
            }
            let netns = Namespaced::new("measured");
            for (least, count) in counts.iter_mut().zip(self.life(&netns)) {
                *least = count.min(*least);
            }
        }
        counts
    }

    /// Attaches and removes one more container, program by program, and returns the calls of each.
    fn life(&self, netns: &Namespaced) -> Vec<usize> {
        let mut counts = Vec::new();
        let mut made = |name: &str, outcome: Outcome| {
            assert_eq!(BUDGETS[counts.len()].0, name, "the order of the table");
            let said = String::from_utf8_lossy(&outcome.stderr);
            assert_eq!(outcome.code, Some(0), "{name}: {}{said}", String::from_utf8_lossy(&outcome.stdout));
            counts.push(outcome.calls.iter().filter(|call| call.number != libc::SYS_rt_sigaction).count());
            serde_json::from_slice(&outcome.stdout).unwrap_or_default()
        };
        let mut call = |plugin: &str, verb: &str, result: &Value| -> Value {
            let mut conf = self.conf_of(plugin, result);
            let verb_alone = verb.trim_end_matches(UDP);
            if verb_alone != verb {
                conf["runtimeConfig"]["portMappings"][0]["protocol"] = json!("udp");
            }
            let call = Call::new(program(plugin), verb_alone, &conf);
            made(&format!("{plugin} {verb}"), call.of("measured", netns, "eth0").job().watch())
        };
        call("loopback", "ADD", &Value::Null);
        let leased = call("host-local", "ADD", &Value::Null);
        call("host-local", "DEL", &leased);
        let result = call("bridge", "ADD", &Value::Null);
        call("host-port", "ADD", &result);
        call("link-env", "ADD", &result);
        call("link-env", "DEL", &result);
        for verb in ["DEL", "ADD of UDP", "DEL of UDP"] {
            call("host-port", verb, &result);
        }
        call("bridge", "DEL", &result);
        let result = call("macvlan", "ADD", &Value::Null);
        call("macvlan", "DEL", &result);
        call("loopback", "DEL", &result);
        for verb in ["add", "del"] {
            made(&format!("cleat {verb}"), chain(verb, "measured", netns, 1000).watch());
        }
        counts
    }

    /// The configuration that a runtime gives a plugin.
    fn conf_of(&self, plugin: &str, result: &Value) -> Value {
        let plugins = self.conf["plugins"].as_array().unwrap();
        // host-local gets the configuration of the plugin that delegates to it.
        let found = plugins.iter().find(|conf| conf["type"] == plugin).or(plugins.first());
        let mut conf = found.unwrap().clone();
        if plugin == "macvlan" {
            conf = json!({"type": plugin, "master": "uplink", "ipam": conf["ipam"]});
        }
        conf["cniVersion"] = self.conf["cniVersion"].clone();
        conf["name"] = self.conf["name"].clone();
        if !result.is_null() {
            conf["prevResult"] = result.clone();
        }
        conf["runtimeConfig"] = json!({"portMappings": ports(1000)});
        conf["args"] = json!({"cni": {"link-env": {"links": ["c0:db"]}}});
        conf
    }
}

fn ports(number: usize) -> Value {
    json!([{"hostPort": 10_000 + number, "containerPort": 80, "protocol": "tcp"}])
}

/// Calls all plugins by the command line tool.
fn chain(verb: &str, id: &str, netns: &Namespaced, number: usize) -> Job {
    let args = [verb, "calls", netns.path().to_str().unwrap(), "--id", id].map(str::to_owned).to_vec();
    let env = [
        ("CNI_PATH", folder().display().to_string()),
        ("NETCONFPATH", NETWORKS.to_owned()),
        ("CAP_ARGS", json!({ "portMappings": ports(number) }).to_string()),
        ("CNI_ARGS", format!("LINK_NAME={id}")),
    ];
    let env = env.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Job { program: CLEAT.to_owned(), args, env, input: Vec::new() }
}

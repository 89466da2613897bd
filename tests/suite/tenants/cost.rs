//! A pod's ADD and DEL make as many system calls beside many pods of another namespace as beside few.

use nix::libc;
use sandbox::isolated;
use sandbox::tracer::Outcome;
use serde_json::json;

use super::pods::{Pods, args_of, hosts};

/// The number of calls that allocate memory differs a little between runs.
const ALLOWANCE: usize = 4;

fn calls(outcome: &Outcome) -> usize {
    let said = String::from_utf8_lossy(&outcome.stdout);
    assert_eq!(outcome.code, Some(0), "{said}{}", String::from_utf8_lossy(&outcome.stderr));
    outcome.calls.iter().filter(|call| call.number != libc::SYS_rt_sigaction).count()
}

/// The system calls of a pod's ADD and DEL, the fewest of some runs.
fn life(pods: &Pods) -> [usize; 2] {
    let mut fewest = [usize::MAX; 2];
    for _ in 0..3 {
        for (least, verb) in fewest.iter_mut().zip(["ADD", "DEL"]) {
            let annotations = [("links", "db:db,db.infra:other"), ("allow-from", "shop")];
            let call = pods.call(verb, "measured", "10.1.0.2", &args_of("prod/web"), &annotations);
            *least = calls(&call.job().watch()).min(*least);
        }
    }
    fewest
}

#[test]
fn other_namespaces_cost_a_pod_nothing() {
    isolated(|| {
        for names in ["network", "links"] {
            let pods = Pods::new("pods", json!({"names": names, "waitForLinks": true}));
            pods.add("prod/db", "10.1.0.3", &[]);
            pods.add("infra/db", "10.1.0.4", &[("allow-from", "prod")]);
            let mut crowd = 0..60;
            let mut fill = |count: usize| {
                for number in crowd.by_ref().take(count) {
                    // Each has annotations that could concern the measured pod, but shows itself to no namespace.
                    let said =
                        [("links", "db.prod:x,web.prod:y"), ("aliases", "db,web"), ("allow-from", "nobody")];
                    pods.add(&format!("evil/x{number}"), &format!("10.2.0.{}", number + 1), &said);
                }
            };
            fill(3);
            let few = life(&pods);
            fill(57);
            let many = life(&pods);
            for ((verb, few), many) in ["ADD", "DEL"].iter().zip(few).zip(many) {
                assert!(
                    many <= few + ALLOWANCE,
                    "names {names}: {verb} makes {few} system calls beside 3 pods of another namespace, {many} beside 60"
                );
            }
            assert!(!hosts("db-of-prod").contains_key("10.2.0.1"));
            for number in 0..60 {
                pods.del(&format!("x{number}-of-evil"));
            }
            pods.del("db-of-prod");
            pods.del("db-of-infra");
            assert!(!std::fs::exists("/run/cleat").unwrap());
        }
    });
}

//! Many ports and many containers.

use std::process::Command;
use std::thread;

use sandbox::isolated;
use serde_json::json;

use crate::world::World;

/// The ruleset without the elements of its maps.
fn rules() -> String {
    let output = Command::new("nft").args(["--terse", "list", "ruleset"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn five_thousand_ports_have_the_rules_of_one() {
    isolated(|| {
        let world = World::new(false);
        let one = world.container("one", 9);
        one.add(&json!([{"hostPort": 80, "containerPort": 80}]), &json!({})).unwrap();
        let rules_of_one = rules();
        let many: Vec<_> = (10..20).map(|number| world.container(&format!("c{number}"), number)).collect();
        for (at, container) in many.iter().enumerate() {
            let mappings = json!([{"hostPort": 10_000 + at * 500, "containerPort": 1, "range": 500}]);
            container.add(&mappings, &json!({})).unwrap();
            container.check(&mappings, &json!({})).unwrap();
        }
        let all = host_port::published(&mut nftables::Socket::open().unwrap()).unwrap();
        assert_eq!(all.len(), 2 * 5_001);
        assert_eq!(rules(), rules_of_one);
        for container in many.iter().chain([&one]) {
            container.del();
        }
        assert_eq!(rules(), "");
    });
}

#[test]
fn a_crowd_that_takes_free_ports_gets_one_each() {
    isolated(|| {
        let world = World::new(false);
        let containers: Vec<_> =
            (10..60).map(|number| world.container(&format!("c{number}"), number)).collect();
        // Only ten ports more than containers.
        let keys = json!({"freePorts": "49000-49059"});
        thread::scope(|scope| {
            for container in &containers {
                scope.spawn(|| {
                    container.add(&json!([{"hostPort": 0, "containerPort": 80}]), &keys).unwrap();
                });
            }
        });
        let all = host_port::published(&mut nftables::Socket::open().unwrap()).unwrap();
        let ports: std::collections::BTreeSet<u16> =
            all.iter().map(|published| published.port.host_port).collect();
        assert_eq!((ports.len(), all.len()), (50, 100));
    });
}

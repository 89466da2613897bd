//! What the key costs: no question to another machine, and a few system calls.

use std::path::Path;

use nix::libc;
use sandbox::{Call, Host, Namespaced, isolated};
use serde_json::{Value, json};

use super::cluster::NET;
use crate::shared::programs::program;
use crate::shared::shell::shell;

/// So many system calls more than the same network has without the key: the file (4), the chain that guards the device, the
/// maps that lead there, and the exceptions of masquerading.
const MORE: usize = 14;
/// And DEL, with that chain and these maps.
const MORE_OF_DEL: usize = 4;
/// How many calls more are allowed: how often a thread waits for another one differs a little.
const ALLOWANCE: usize = 4;
/// How often each is tried, of which the fewest count.
const ROUNDS: usize = 5;

fn conf(keys: &Value) -> Value {
    let mut conf = json!({"cniVersion": "1.1.0", "name": "net", "type": "bridge", "bridge": "br0", "isGateway": true,
        "ipMasq": true, "ingress": "published", "ipam": {"type": "host-local", "routes": [{"dst": "0.0.0.0/0"}]}});
    conf.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    conf
}

/// The fewest system calls of ADD and of DEL beside another container; and how many sockets they open.
fn counts(conf: &Value) -> ([usize; 2], usize) {
    let other = Namespaced::new("other");
    let call = |verb: &str, netns: &Namespaced| {
        let outcome = Call::new(program("bridge"), verb, conf).of(netns.name(), netns, "eth0").job().watch();
        assert_eq!(outcome.code, Some(0), "{}", String::from_utf8_lossy(&outcome.stdout));
        let count =
            |is_it: &dyn Fn(i64) -> bool| outcome.calls.iter().filter(|call| is_it(call.number)).count();
        (count(&|number| number != libc::SYS_rt_sigaction), count(&|number| number == libc::SYS_socket))
    };
    call("ADD", &other);
    let (mut least, mut sockets) = ([usize::MAX; 2], usize::MAX);
    for _ in 0..ROUNDS {
        let netns = Namespaced::new("measured");
        let [add, del] = ["ADD", "DEL"].map(|verb| call(verb, &netns));
        least = [least[0].min(add.0), least[1].min(del.0)];
        sockets = sockets.min(add.1 + del.1);
    }
    call("DEL", &other);
    (least, sockets)
}

#[test]
fn an_overlay_network_costs_a_few_system_calls() {
    isolated(|| {
        let _host = Host::new();
        let mut plain = conf(&json!({}));
        plain["ipam"]["ranges"] = json!([[{"subnet": "10.201.1.0/24"}]]);
        let ([add, del], sockets) = counts(&plain);
        shell(
            "ip link add vx1 mtu 1450 type vxlan id 4711 dstport 4789 dev uplink nolearning && ip link set vx1 up",
        );
        let folder = Path::new("/run/cleat/overlay");
        std::fs::create_dir_all(folder).unwrap();
        let file = json!({"version": 1, "id": "x", "prefixes": ["10.201.0.0/16"], "blocks": [{"subnet": "10.201.1.0/24"}],
            "device": "vx1", "mtu": 1450});
        std::fs::write(folder.join(format!("{NET}.json")), file.to_string()).unwrap();
        let ([more_add, more_del], more_sockets) = counts(&conf(&json!({ "overlay": NET })));
        let within = |more: usize, calls: usize, budget: usize| more <= calls + budget + ALLOWANCE;
        assert!(
            within(more_add, add, MORE),
            "ADD makes {more_add} system calls with the key, and {add} without"
        );
        assert!(within(more_del, del, MORE_OF_DEL), "DEL makes {more_del} with the key, and {del} without");
        assert_eq!(more_sockets, sockets, "nobody else is asked");
    });
}

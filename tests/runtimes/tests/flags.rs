//! A hosts file with the flags immutable or append-only, which keep even root from writing to it. A container can set them
//! if its root has `CAP_LINUX_IMMUTABLE` on the host.

use std::path::Path;
use std::process::Command;

use runtimes::{machine, run};
use serde_json::json;

#[test]
fn an_immutable_hosts_file_is_written_all_the_same_and_goes_with_its_container() {
    machine(|machine| {
        machine.network(
            "10-shop.conflist",
            &json!({"cniVersion": "1.0.0", "name": "shop", "plugins": [
                {"type": "bridge", "isGateway": true, "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.7.0.0/24"}]]}},
                {"type": "link-env"},
            ]}),
        );
        let add = |name: &str| {
            run(Command::new("ip").args(["netns", "add", name]));
            let netns = format!("/run/netns/{name}");
            run(machine.cleat().args(["add", "shop", &netns, "--id", name]));
        };
        let del = |name: &str| {
            run(machine.cleat().args(["del", "shop", &format!("/run/netns/{name}"), "--id", name]));
            run(Command::new("ip").args(["netns", "del", name]));
        };
        let hosts = |name: &str| format!("/run/cleat/containers/{name}/hosts");
        add("old");
        add("evil");
        let sees_new = || {
            let text = std::fs::read_to_string(hosts("evil")).unwrap();
            text.lines().any(|line| !line.starts_with('#') && line.contains("\tnew.shop new"))
        };
        for flag in ["+i", "+a"] {
            run(Command::new("chattr").args([flag, &hosts("evil")]));
            add("new");
            assert!(sees_new(), "{flag}");
            run(Command::new("chattr").args([flag, &hosts("evil")]));
            del("new");
            assert!(!sees_new(), "{flag}");
            run(Command::new("chattr").args([flag, &hosts("evil")]));
        }
        for name in ["evil", "old"] {
            del(name);
        }
        assert!(!Path::new("/run/cleat").exists());
    });
}

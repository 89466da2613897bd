//! loopback, alone and after another plugin.

use sandbox::{Call, Host, Namespaced, isolated};
use serde_json::json;

use crate::shared::programs::LOOPBACK;

#[test]
fn loopback_goes_up_and_down() {
    isolated(|| {
        let _host = Host::new();
        let netns = Namespaced::new("c");
        let conf = json!({"cniVersion": "0.4.0", "name": "cni-loopback", "type": "loopback"});
        let call = |command: &str| Call::new(LOOPBACK, command, &conf).of("c", &netns, "lo");
        call("DEL").run().silent();
        assert_eq!(call("CHECK").run().error(), (101, "interface lo is down ()".into()));
        let path = netns.path().display().to_string();
        let wanted = json!({
            "cniVersion": "0.4.0",
            "interfaces": [{"name": "lo", "mac": "00:00:00:00:00:00", "sandbox": path}],
            "ips": [{"version": "4", "interface": 0, "address": "127.0.0.1/8"},
                    {"version": "6", "interface": 0, "address": "::1/128"}],
            "dns": {}
        });
        assert_eq!(call("ADD").run().result(), wanted);
        call("CHECK").run().silent();
        assert_eq!(call("ADD").run().result(), wanted);
        call("DEL").run().silent();
        call("DEL").run().silent();
        assert_eq!(call("CHECK").run().error().0, 101);
    });
}

#[test]
fn behind_another_plugin_its_result_is_handed_on() {
    isolated(|| {
        let netns = Namespaced::new("c");
        let previous = json!({"cniVersion": "1.0.0", "ips": [{"address": "10.1.0.2/24"}], "dns": {}});
        let conf = json!({"cniVersion": "1.0.0", "name": "n", "type": "loopback", "prevResult": previous});
        assert_eq!(Call::new(LOOPBACK, "ADD", &conf).of("c", &netns, "lo").run().result(), previous);
    });
}

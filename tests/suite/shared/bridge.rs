//! The bridge plugin as a runtime calls it, on one network.

use sandbox::{Call, Namespaced};
use serde_json::{Value, json};

use crate::shared::programs::BRIDGE;

pub(crate) fn conf() -> Value {
    json!({
        "cniVersion": "1.0.0", "name": "net", "type": "bridge", "bridge": "br0",
        "isGateway": true, "ipMasq": true, "hairpinMode": true,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00:1::/64"}]],
            "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]
        }
    })
}

pub(crate) fn call(command: &str, conf: &Value, id: &str, netns: &Namespaced) -> Call {
    Call::new(BRIDGE, command, conf).of(id, netns, "eth0")
}

pub(crate) fn add(conf: &Value, id: &str, netns: &Namespaced) -> Value {
    call("ADD", conf, id, netns).run().result()
}

pub(crate) fn with_result(result: &Value) -> Value {
    let mut conf = conf();
    conf["prevResult"] = result.clone();
    conf
}

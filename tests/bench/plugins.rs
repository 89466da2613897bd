//! The calls of CNI plugins: the same configuration for every suite, but for the option that chooses nftables.

use sandbox::Call;
use serde_json::{Value, json};

use crate::host::{Container, Host};
use crate::suites::Suite;

impl Host {
    /// A call of a plugin for a container, with `prevResult` if there is one.
    pub(crate) fn prepare(
        &self,
        plugin: &str,
        command: &str,
        container: Container,
        result: Option<&Value>,
    ) -> Call {
        let program = self.suite.program(plugin).display().to_string();
        let mut conf = self.conf(plugin, container);
        if let Some(result) = result {
            conf["prevResult"] = result.clone();
        }
        Call::new(&program, command, &conf)
            .of(&format!("{}-{}", self.name, container.number), container.netns, container.ifname)
            // The reference looks for iptables and nft in it.
            .env("PATH", self.suite.path())
    }

    /// A plugin's configuration of the network that a container is attached to.
    fn conf(&self, plugin: &str, container: Container) -> Value {
        let number = container.number;
        let network = self.network(number);
        let mut conf = match plugin {
            "portmap" => json!({"runtimeConfig": {
                "portMappings": [{"hostPort": 10_000 + number, "containerPort": 80, "protocol": self.protocol}]
            }}),
            "link-env" => json!({"names": "links", "endpoint": {"expose": ["80"]}}),
            _ => json!({
                "bridge": format!("br{network}"), "isGateway": true, "ipMasq": true, "hairpinMode": true,
                "ipam": {
                    "type": "host-local", "ranges": [[{"subnet": format!("10.{network}.0.0/16")}]],
                    "routes": [{"dst": "0.0.0.0/0"}]
                }
            }),
        };
        if self.suite == Suite::Newest {
            let option = if plugin == "portmap" { "backend" } else { "ipMasqBackend" };
            conf[option] = json!("nftables");
        }
        for (key, value) in
            [("cniVersion", "1.0.0"), ("name", &format!("{}-{network}", self.name)), ("type", plugin)]
        {
            conf[key] = json!(value);
        }
        conf
    }
}

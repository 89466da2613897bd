//! netavark, podman's network tool: one program that does the work of bridge and portmap. Its times are without IPAM,
//! because podman leases the addresses and passes them in.

use sandbox::tracer::Job;
use serde_json::{Value, json};

use crate::host::{Container, Host};
use crate::suites::Suite;

impl Host {
    /// A call of netavark for a container.
    pub(crate) fn netavark(&self, verb: &str, container: Container) -> Job {
        let mut words = Suite::netavark().into_iter();
        let program = words.next().unwrap();
        let args =
            ["--config", &format!("/run/{}", self.name), verb, &container.netns.path().display().to_string()]
                .map(str::to_owned);
        let env = [("PATH", self.suite.path()), ("NETAVARK_FW", "nftables")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let input = self.options(container).to_string().into_bytes();
        Job { program, args: words.chain(args).collect(), env: env.into(), input }
    }

    /// What podman writes to its standard input for a container.
    fn options(&self, container: Container) -> Value {
        let Container { number, ifname, .. } = container;
        let id = format!("{number:064x}");
        let address = format!("10.0.{}.{}", (number + 2) / 256, (number + 2) % 256);
        // The default routes of one namespace must differ in something.
        let metric = ifname.strip_prefix("eth").and_then(|digits| digits.parse::<usize>().ok()).unwrap() + 1;
        json!({
            "container_id": id, "container_name": format!("c{number}"),
            "networks": {&self.name: {"static_ips": [address], "interface_name": ifname}},
            "network_info": {&self.name: {
                "name": self.name, "id": "0".repeat(64), "driver": "bridge", "network_interface": "br0",
                "subnets": [{"subnet": "10.0.0.0/16", "gateway": "10.0.0.1"}],
                "ipv6_enabled": false, "internal": false, "dns_enabled": false, "ipam_options": {"driver": "host-local"},
                "options": {"metric": metric.to_string()}
            }},
            "port_mappings": [{"host_ip": "", "host_port": 10_000 + number, "container_port": 80, "range": 1,
                "protocol": self.protocol}]
        })
    }
}

//! The reference's `dhcp` as IPAM: its daemon asks a DHCP server on the bridge through the container's own interface.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use sandbox::traffic::{ask_tcp, serve_tcp};
use sandbox::{Call, Host, Namespaced, Snapshot, isolated};
use serde_json::{Value, json};

use crate::shared::programs::{BRIDGE, REFERENCE};
use crate::shared::shell::shell;

/// A program that is killed at the end of the test.
struct Daemon(Child);

impl Daemon {
    fn start(command: &mut Command, ready: &Path) -> Self {
        let daemon =
            Self(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        let deadline = Instant::now() + Duration::from_secs(10);
        while !ready.exists() {
            assert!(Instant::now() < deadline, "{command:?} is not ready");
            thread::sleep(Duration::from_millis(10));
        }
        daemon
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A LAN on the bridge, with one machine that is the DHCP server and the router.
fn serve_dhcp(lan: &Namespaced) -> Daemon {
    let path = lan.path().display();
    shell("ip link add br0 type bridge && ip link set br0 up && ip link add lan type veth peer name far");
    shell(&format!("ip link set far netns {path} && ip link set lan master br0 up"));
    lan.enter(|| shell("ip addr add 10.7.0.1/24 dev far && ip link set far up"));
    fs::write(
        "/run/udhcpd.conf",
        "start 10.7.0.50\nend 10.7.0.59\ninterface far\nlease_file /run/udhcpd.leases\npidfile /run/udhcpd.pid\n\
         option subnet 255.255.255.0\noption router 10.7.0.1\noption lease 600\n",
    )
    .unwrap();
    fs::write("/run/udhcpd.leases", "").unwrap();
    let mut server = Command::new("nsenter");
    server.args([&format!("--net={path}"), "busybox", "udhcpd", "-f", "/run/udhcpd.conf"]);
    Daemon::start(&mut server, Path::new("/run/udhcpd.pid"))
}

#[test]
fn addresses_come_from_a_dhcp_server_on_the_bridge() {
    isolated(|| {
        let _host = Host::new();
        let lan = Namespaced::new("lan");
        let _server = serve_dhcp(&lan);
        let socket = Path::new("/run/cni/dhcp.sock");
        let daemon = Daemon::start(Command::new(format!("{REFERENCE}/dhcp")).arg("daemon"), socket);
        let links = || {
            let links = |line: &&str| line.starts_with("link ");
            Snapshot::take().lines().filter(links).map(str::to_owned).collect::<Vec<_>>()
        };
        let before = links();
        let conf = json!({"cniVersion": "1.0.0", "name": "lan", "type": "bridge", "bridge": "br0", "ipam": {"type": "dhcp"}});
        let netns = Namespaced::new("c");
        let call = |verb: &str, conf: &Value| {
            Call::new(BRIDGE, verb, conf).of("c", &netns, "eth0").env("CNI_PATH", REFERENCE).run()
        };
        let start = Instant::now();
        let result = call("ADD", &conf).result();
        // The DHCP client repeats a lost request only after four seconds: the first one must arrive.
        assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
        assert!(result["ips"][0]["address"].as_str().unwrap().starts_with("10.7.0.5"), "{result}");
        assert_eq!(
            (&result["ips"][0]["gateway"], &result["ips"][0]["interface"]),
            (&json!("10.7.0.1"), &json!(2))
        );
        serve_tcp(Some(&lan), "lan", "0.0.0.0:80");
        let address = result["ips"][0]["address"].as_str().unwrap().trim_end_matches("/24");
        assert_eq!(ask_tcp(Some(&netns), "10.7.0.1:80").unwrap(), format!("lan sees {address}"));

        let mut check = conf.clone();
        check["prevResult"] = result.clone();
        call("CHECK", &check).silent();
        call("DEL", &check).silent();
        call("DEL", &conf).silent();
        assert_eq!(links(), before);
        // An ADD fails without the daemon, and leaves nothing.
        drop(daemon);
        let (code, said) = call("ADD", &conf).error();
        assert!(code >= 100 && said.contains("plugin \"dhcp\""), "{code}: {said}");
        assert_eq!(links(), before);
    });
}

/// What a delegate is given: the verb, the attachment where there is one, and the whole configuration.
#[test]
fn every_verb_reaches_the_delegate_with_the_whole_configuration() {
    isolated(|| {
        let _host = Host::new();
        fs::create_dir("/run/plugins").unwrap();
        fs::write(
            "/run/plugins/told",
            "#!/bin/sh\n{ echo \"$CNI_COMMAND $CNI_CONTAINERID $CNI_IFNAME $CNI_PATH\"; cat; echo; } >>/run/told\n\
             [ $CNI_COMMAND != ADD ] || echo '{\"cniVersion\": \"1.1.0\", \"ips\": [{\"address\": \"10.7.0.9/24\"}]}'\n\
             [ ! -e /run/refuse ] || { echo '{\"cniVersion\": \"1.1.0\", \"code\": 50, \"msg\": \"no more\"}'; exit 1; }\n",
        )
        .unwrap();
        shell("chmod +x /run/plugins/told");
        let netns = Namespaced::new("c");
        let conf = json!({
            "cniVersion": "1.1.0", "name": "net", "type": "bridge", "bridge": "br0", "runtimeConfig": {"mac": "02:00:00:00:00:07"},
            "ipam": {"type": "told", "key": {"of": ["its", "own"]}}
        });
        let call = |verb: &str, extra: &Value| {
            let mut conf = conf.clone();
            conf.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            let call = Call::new(BRIDGE, verb, &conf).env("CNI_PATH", "/run/plugins");
            let call = if matches!(verb, "GC" | "STATUS") { call } else { call.of("c", &netns, "eth0") };
            (call.run(), conf)
        };
        let told = |who: &str, conf: &Value| {
            let text = fs::read_to_string("/run/told").unwrap();
            fs::remove_file("/run/told").unwrap();
            let (first, rest) = text.split_once('\n').unwrap();
            assert_eq!(first, format!("{who} /run/plugins"));
            assert_eq!(&serde_json::from_str::<Value>(rest).unwrap(), conf);
        };
        let (answer, given) = call("ADD", &json!({}));
        let result = answer.result();
        told("ADD c eth0", &given);
        let with_result = json!({"prevResult": result});
        let valid = json!({"cni.dev/valid-attachments": [{"containerID": "c", "ifname": "eth0"}]});
        for (verb, who, extra) in [
            ("CHECK", "CHECK c eth0", &with_result),
            ("STATUS", "STATUS  ", &json!({})),
            ("GC", "GC  ", &valid),
            ("DEL", "DEL c eth0", &with_result),
        ] {
            let (answer, given) = call(verb, extra);
            answer.silent();
            told(who, &given);
            fs::write("/run/refuse", "").unwrap();
            let (code, said) = call(verb, extra).0.error();
            assert_eq!((code, said.contains("no more")), (50, true), "{verb}: {said}");
            fs::remove_file("/run/refuse").unwrap();
            fs::remove_file("/run/told").unwrap();
        }
    });
}

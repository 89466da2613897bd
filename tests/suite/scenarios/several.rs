//! A container on several networks, or on none: which one has the default route, which one publishes the ports, and what a
//! restart keeps.

mod ports;
mod versions;

use std::process::Command;

use sandbox::traffic::{ask_tcp, serve_tcp};
use sandbox::{Host, OUTSIDE_V4, OUTSIDE_V6, UPLINK_V4, UPLINK_V6};
use serde_json::json as value;

use super::{asks, cleat, eventually, json, ok, refused, said, serving, story, words};

fn published_on(name: &str) -> Vec<(String, Vec<String>)> {
    let all = json("ps");
    let mut rows: Vec<(String, Vec<String>)> = Vec::new();
    for row in all.as_array().unwrap().iter().filter(|row| row["name"] == name) {
        let ports = row["ports"].as_array().unwrap().iter();
        let ports: Vec<String> =
            ports.map(|port| format!("{}/{}", port["hostPort"], port["protocol"])).collect();
        if !ports.is_empty() {
            rows.push((row["network"].as_str().unwrap().to_owned(), ports));
        }
    }
    rows
}

/// The ports are published on one network, and are reached from outside and from this host.
fn is_served_by(host: &Host, name: &str, network: &str, ports: &str) {
    let on: Vec<String> = published_on(name).into_iter().map(|(network, _)| network).collect();
    assert_eq!(on, [network], "{}", ok("ps"));
    assert_eq!(ok(&format!("port {name}")), ports);
    eventually("from outside", || {
        ask_tcp(Some(&host.outside), &format!("{UPLINK_V4}:8080")).is_ok_and(|said| said.trim() == name)
    });
    for address in ["127.0.0.1", UPLINK_V4] {
        assert_eq!(ask_tcp(None, &format!("{address}:8080")).unwrap().trim(), name, "{address}");
    }
    ok("check");
}

/// A container in the background that can be started again.
fn stays(options: &str, line: &str) -> String {
    let mut command = cleat(&["run", "-d"]);
    let output = command.args(words(options)).args(["--", "sh", "-c", line]).output().unwrap();
    assert!(output.status.success(), "cleat run -d {options}: {}", said(&output));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn gone(names: &str) {
    ok(&format!("rm -f -t 1 {names}"));
}

/// The ID of a container's process, also of a container on no network.
fn process(name: &str) -> String {
    let key = json(&format!("inspect {name}"))[0]["NetworkSettings"]["SandboxKey"].clone();
    key.as_str().unwrap().split('/').nth(2).unwrap().to_owned()
}

/// Runs a shell line inside a container, also inside one on no network; returns its output.
fn within(name: &str, line: &str) -> String {
    let mut command = Command::new("nsenter");
    command.args(["--target", &process(name), "--net", "--mount", "--uts", "--", "sh", "-c", line]);
    said(&command.output().unwrap())
}

/// The interface by which packets to the outside leave a container.
fn leaves_by(name: &str, address: &str) -> String {
    let route = within(name, &format!("ip route get {address}"));
    let mut all = route.split_whitespace().skip_while(|word| *word != "dev");
    all.nth(1).unwrap_or_default().to_owned()
}

fn interface_on(name: &str, network: &str) -> String {
    let all = json(&format!("inspect {name}"));
    all[0]["NetworkSettings"]["Networks"][network]["Interface"].as_str().unwrap_or_default().to_owned()
}

fn address_on(name: &str, network: &str) -> String {
    let all = json(&format!("inspect {name}"));
    all[0]["NetworkSettings"]["Networks"][network]["IPAddress"].as_str().unwrap_or_default().to_owned()
}

/// Packets of both families to the outside leave by this network, and are answered.
fn goes_out_by(name: &str, network: &str) {
    let interface = interface_on(name, network);
    assert!(!interface.is_empty(), "{name} is not on {network}");
    for address in [OUTSIDE_V4, OUTSIDE_V6] {
        assert_eq!(
            leaves_by(name, address),
            interface,
            "{address}: {}",
            within(name, "ip route; ip -6 route")
        );
        let ask = format!("timeout 3 busybox nc {address} 80 </dev/null");
        assert!(within(name, &ask).starts_with("outside sees "), "{address} from {name} by {network}");
    }
    ok("check");
}

/// cli#2909, moby#20179: after the first network is disconnected, the next one has the default route; `--gw-priority`
#[test]
fn the_way_out_is_the_preferred_network() {
    story(|host| {
        for address in ["0.0.0.0:80", "[2001:db8::2]:80"] {
            serve_tcp(Some(&host.outside), "outside", address);
        }
        for name in ["n", "m", "o"] {
            ok(&format!("network create --ipv6 {name}"));
        }
        stays("--name web --network n:m -p 8080:80", &serving(80, "web"));
        goes_out_by("web", "n");
        ok("network disconnect n web");
        goes_out_by("web", "m");
        ok("network connect n web");
        goes_out_by("web", "m");
        // The network with the highest priority has the default route, whenever it is connected. The ports move there, too.
        ok("network connect o web --gw-priority 10");
        goes_out_by("web", "o");
        let ports = ok("port web");
        is_served_by(host, "web", "o", &ports);
        ok("network disconnect o web");
        goes_out_by("web", "m");
        is_served_by(host, "web", "m", &ports);
        ok("network connect o web --gw-priority -1");
        goes_out_by("web", "m");
        ok("network disconnect m web");
        goes_out_by("web", "n");
        ok("network disconnect n web");
        goes_out_by("web", "o");
        // A restart keeps priorities, those of `network connect` as well as those of `run`.
        ok("network connect n web");
        goes_out_by("web", "n");
        ok("restart -t 1 web");
        goes_out_by("web", "n");
        gone("web");
        stays("--name web --network n --network name=m,gw-priority=1 -p 8080:80", &serving(80, "web"));
        goes_out_by("web", "m");
        is_served_by(host, "web", "m", &ports);
        assert!(ask_tcp(Some(&host.outside), &format!("[{UPLINK_V6}]:8080")).is_ok());
        ok("restart -t 1 web");
        goes_out_by("web", "m");
        is_served_by(host, "web", "m", &ports);
        // Routes that were lost are put back in their order.
        within("web", "ip route flush default; ip -6 route flush default");
        assert!(refused("check").contains("does not have the route"));
        ok("repair");
        goes_out_by("web", "m");
        let text = refused("run --network name=m,gw-priority=high -- true");
        assert!(text.contains("invalid gw-priority (high)"), "{text}");
        gone("web");
        ok("network rm n m o");
    });
}

/// moby#18535: a restart connects a container to all its networks again, with the same addresses, names and links
#[test]
fn a_restart_keeps_the_networks_that_a_container_has() {
    story(|_| {
        ok("network create n");
        ok("network create m --subnet 10.77.0.0/24");
        stays("--name db --network m", &serving(5432, "db"));
        stays("--name web --network n -p 8080:80", &serving(80, "web"));
        ok("network connect m web --alias www --ip 10.77.0.55 --link db:store");
        let is_as_it_was = || {
            assert_eq!(address_on("web", "m"), "10.77.0.55");
            // The hardware address is the same as well: neighbours have it in their tables.
            let mac = json("inspect web")[0]["NetworkSettings"]["Networks"]["m"]["MacAddress"].clone();
            assert_eq!(mac, "02:42:0a:4d:00:37");
            eventually("the alias", || asks("db", "www", 80) == "web");
            eventually("the link", || asks("web", "store", 5432) == "db");
            ok("check");
        };
        is_as_it_was();
        ok("restart -t 1 web");
        is_as_it_was();
        assert_eq!(interface_on("web", "n"), "eth0");
        eventually("the port", || ask_tcp(None, "127.0.0.1:8080").is_ok());
        // A network that was disconnected stays so.
        ok("network disconnect n web");
        ok("restart -t 1 web");
        is_as_it_was();
        let networks = json("inspect web")[0]["NetworkSettings"]["Networks"].clone();
        assert_eq!(networks.as_object().unwrap().len(), 1, "{networks}");
        eventually("the port on the other network", || ask_tcp(None, "127.0.0.1:8080").is_ok());
        // The same without any network.
        ok("network disconnect m web");
        ok("restart -t 1 web");
        assert_eq!(json("inspect web")[0]["NetworkSettings"]["Networks"], value!({}));
        ok("network connect n web");
        eventually("the port again", || ask_tcp(None, "127.0.0.1:8080").is_ok());
        // `ps --all` shows the networks that an ended container was on.
        ok("stop -t 1 web");
        let ended = json("ps --all");
        let ended = ended.as_array().unwrap().iter().find(|row| row["name"] == "web").unwrap();
        assert_eq!(ended["networks"], value!(["n"]));
        gone("web db");
        ok("network rm n m");
    });
}

/// Docker's manual on `--ip-range`: fixed addresses outside the range of the dynamic ones
#[test]
fn a_fixed_address_may_be_beside_the_range() {
    story(|_| {
        ok("network create n --subnet 10.77.0.0/24 --ip-range 10.77.0.128/25");
        ok("network create m");
        stays("--name a --network n --ip 10.77.0.5", &serving(80, "a"));
        stays("--name b --network m", "exec sleep 1000");
        ok("network connect n b --ip 10.77.0.6");
        assert_eq!(
            (address_on("a", "n"), address_on("b", "n")),
            ("10.77.0.5".to_owned(), "10.77.0.6".to_owned())
        );
        eventually("by name", || asks("b", "a", 80) == "a");
        ok("check");
        let leases = &json("leases n")[0];
        assert_eq!((leases["used"].as_array().unwrap().len(), &leases["free"]), (2, &leases["size"]));
        ok("restart -t 1 a b");
        assert_eq!(
            (address_on("a", "n"), address_on("b", "n")),
            ("10.77.0.5".to_owned(), "10.77.0.6".to_owned())
        );
        eventually("after a restart", || asks("b", "a", 80) == "a");
        assert!(refused("network connect n b --ip 10.77.0.7").contains("already"));
        assert!(refused("run --network n --ip 10.77.0.5 -- true").contains("10.77.0.5"));
        assert!(refused("run --network n --ip 10.78.0.5 -- true").contains("10.78.0.5"));
        // `run` exits with 125 for a mistake on its command line, so that it is not taken for the command's exit code.
        for line in
            ["run --ip x -- true", "run -p 99999:80 -- true", "run --network n: -- true", "run --nope"]
        {
            assert_eq!(cleat(&words(line)).output().unwrap().status.code(), Some(125), "{line}");
        }
        assert_eq!(cleat(&words("ps --nope")).output().unwrap().status.code(), Some(1));
        gone("a b");
        ok("network rm n m");
    });
}

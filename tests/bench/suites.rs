//! The measured suites: each has a host of its own, which is a network namespace, with any number of containers. The
//! containers that exist throughout share namespaces, because a namespace takes longer to make than an attachment.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use netlink::{Namespace, Peer, Socket, Veth, sysctl};
use nix::sys::wait::wait;
use sandbox::{Answer, Call, Namespaced};
use serde_json::{Value, json};

/// Where Debian's package containernetworking-plugins installs the reference plugins.
pub(crate) const REFERENCE: &str = "/usr/lib/cni";

/// Where the reference finds iptables and nft.
pub(crate) const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Where `tests/tools/newer` puts the newest reference: beside the folders of the build.
pub(crate) fn newest_reference() -> PathBuf {
    let built = Suite::cleat().folder;
    built.join("../../debian-newer/containernetworking-plugins/usr/lib/cni")
}

/// How many lasting containers a network gets: a Linux bridge has 1,023 ports at most.
pub(crate) const NETWORK_MAX: usize = 1000;
/// How many lasting containers share a namespace, with an interface each.
pub(crate) const NAMESPACE_MAX: usize = 50;

/// Waits for processes that outlive the plugin that started them, so that they do not disturb the next measurement. They
/// have become children of this process, because it is the first of its PID namespace.
pub(crate) fn settle() {
    while wait().is_ok() {}
}

/// A namespace without IPv6 for containers that exist throughout. The kernel sends the announcements of new IPv6 addresses
/// to all ports of the bridge for half a minute. Those of a thousand new containers would slow down every measured call.
pub(crate) fn quiet(name: &str) -> Namespaced {
    let netns = Namespaced::new(name);
    netns.enter(|| sysctl::set("net/ipv6/conf/default/disable_ipv6", "1").unwrap());
    netns
}

/// Waits until the kernel has removed all abandoned network namespaces, which it does in the background and in order. A
/// last namespace shows when that is done: with it goes its peer link in this namespace.
pub(crate) fn wait_for_namespaces() {
    const LINK: &str = "last";
    let last = Namespaced::new(LINK);
    let namespace = Namespace::open(last.path()).unwrap();
    let peer = Peer { name: "eth0", mac: None, namespace: namespace.as_fd() };
    let mut socket = Socket::open().unwrap();
    socket.add_veth(&Veth { name: LINK, mac: None, mtu: None, master: None, alias: None, peer }).unwrap();
    drop((namespace, last));
    let start = Instant::now();
    while socket.get_link(LINK).unwrap().is_some() {
        assert!(start.elapsed() < Duration::from_mins(5), "the kernel does not clear namespaces away");
        thread::sleep(Duration::from_millis(10));
    }
}

/// What is measured of one container, in the order of a life.
pub(crate) const STEPS: [&str; 6] =
    ["bridge ADD", "portmap ADD", "bridge CHECK", "portmap CHECK", "portmap DEL", "bridge DEL"];
/// The steps of an ADD, of a CHECK and of a DEL.
pub(crate) const VERBS: [(&str, [usize; 2]); 3] = [("ADD", [0, 1]), ("CHECK", [2, 3]), ("DEL", [4, 5])];

/// The time that each step took.
pub(crate) type Times = [Duration; STEPS.len()];

/// A suite of plugins.
#[derive(Clone, Debug)]
pub(crate) struct Suite {
    /// Its name in the tables.
    pub name: &'static str,
    folder: PathBuf,
    portmap: &'static str,
}

impl Suite {
    /// cleat: the programs that were built together with this one.
    pub(crate) fn cleat() -> Self {
        let own = std::env::current_exe().unwrap();
        let folder = own.parent().and_then(Path::parent).unwrap().to_path_buf();
        Self { name: "cleat", folder, portmap: "host-port" }
    }

    /// The reference plugins that Debian has installed.
    pub(crate) fn reference() -> Self {
        Self { name: "reference", folder: REFERENCE.into(), portmap: "portmap" }
    }

    /// The newest reference plugins that Debian has, unpacked by `tests/tools/newer`.
    pub(crate) fn newest_reference() -> Self {
        Self { name: "newest reference", folder: newest_reference(), portmap: "portmap" }
    }

    /// The program of a plugin.
    pub(crate) fn program(&self, plugin: &str) -> PathBuf {
        self.folder.join(if plugin == "portmap" { self.portmap } else { plugin })
    }
}

/// A container from the view of a runtime.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Container<'a> {
    /// Its number, from which its ID, network and host port follow.
    pub number: usize,
    /// Its namespace.
    pub netns: &'a Namespaced,
    /// Its interface.
    pub ifname: &'a str,
}

/// A host where one suite attaches the containers.
#[derive(Debug)]
pub(crate) struct Host {
    /// The suite.
    pub suite: Suite,
    name: String,
    netns: Namespaced,
    /// The namespaces of the containers that exist throughout.
    crowd: Vec<Namespaced>,
    /// How many containers exist throughout.
    pub count: usize,
    /// Containers with a higher number than this are attached to the network of this one.
    pub last: usize,
}

impl Host {
    /// A host without containers.
    pub(crate) fn new(suite: Suite, name: &str) -> Self {
        let name = format!("{name}-{}", suite.name);
        Self { suite, netns: Namespaced::new(&name), name, crowd: Vec::new(), count: 0, last: usize::MAX }
    }

    /// Runs a function on this host.
    pub(crate) fn enter<T: Send>(&self, function: impl FnOnce() -> T + Send) -> T {
        self.netns.enter(function)
    }

    /// Attaches containers until there are as many as asked for.
    pub(crate) fn fill(&mut self, count: usize) {
        for number in self.count..count {
            if number % NAMESPACE_MAX == 0 {
                self.crowd.push(quiet(&format!("{}-{number}", self.name)));
            }
            let ifname = format!("eth{}", number % NAMESPACE_MAX);
            let container = Container { number, netns: self.crowd.last().unwrap(), ifname: &ifname };
            self.attach(container, &mut Times::default());
        }
        self.count = count;
    }

    /// One container's life.
    pub(crate) fn round(&self, number: usize) -> Times {
        let netns = Namespaced::new(&format!("{}-c{number}", self.name));
        let container = Container { number, netns: &netns, ifname: "eth0" };
        let mut times = Times::default();
        let result = self.attach(container, &mut times);
        self.call("bridge", "CHECK", container, Some(&result), &mut times[2]).silent();
        let check = self.call("portmap", "CHECK", container, Some(&result), &mut times[3]);
        if self.suite.name == "cleat" {
            // Debian's portmap 1.1.1 looks for IPv6 chains that its ADD did not make.
            check.silent();
        }
        self.call("portmap", "DEL", container, Some(&result), &mut times[4]).silent();
        self.call("bridge", "DEL", container, Some(&result), &mut times[5]).silent();
        times
    }

    /// ADD by bridge and then portmap. Returns the result of portmap.
    pub(crate) fn attach(&self, container: Container, times: &mut Times) -> Value {
        let result = self.call("bridge", "ADD", container, None, &mut times[0]).result();
        self.call("portmap", "ADD", container, Some(&result), &mut times[1]).result()
    }

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
            // The reference looks for iptables in it.
            .env("PATH", PATH)
    }

    /// The number of the network that a container is attached to.
    pub(crate) fn network(&self, number: usize) -> usize {
        number.min(self.last) / NETWORK_MAX
    }

    /// A plugin's configuration of the network that a container is attached to.
    fn conf(&self, plugin: &str, container: Container) -> Value {
        let number = container.number;
        let network = self.network(number);
        let mut conf = match plugin {
            "portmap" => json!({"runtimeConfig": {
                "portMappings": [{"hostPort": 10_000 + number, "containerPort": 80, "protocol": "tcp"}]
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
        for (key, value) in
            [("cniVersion", "1.0.0"), ("name", &format!("{}-{network}", self.name)), ("type", plugin)]
        {
            conf[key] = json!(value);
        }
        conf
    }

    fn call(
        &self,
        plugin: &str,
        command: &str,
        container: Container,
        result: Option<&Value>,
        time: &mut Duration,
    ) -> Answer {
        let call = self.prepare(plugin, command, container, result);
        let (answer, took) = self.enter(|| {
            let start = Instant::now();
            (call.run(), start.elapsed())
        });
        *time = took;
        answer
    }
}

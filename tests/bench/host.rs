//! Hosts, each a network namespace where one suite attaches any number of containers. Those that exist throughout share
//! namespaces, because a namespace takes longer to make than an attachment.

use std::time::{Duration, Instant};

use netlink::Socket;
use sandbox::Namespaced;
use sandbox::tracer::Job;
use serde_json::Value;

use crate::background::{quiet, settle};
use crate::suites::Suite;

/// How many lasting containers a network gets: a Linux bridge has 1,023 ports at most.
pub(crate) const NETWORK_MAX: usize = 1000;
/// How many lasting containers share a namespace, with an interface each.
const NAMESPACE_MAX: usize = 50;

/// What is measured of one container, in the order of a life. The last step ends with the last process that the calls before
/// have left behind.
pub(crate) const STEPS: [&str; 7] = [
    "bridge ADD",
    "portmap ADD",
    "bridge CHECK",
    "portmap CHECK",
    "portmap DEL",
    "bridge DEL",
    "left running",
];

/// The time that each step took. What netavark does in one call counts as the first step of ADD and the last one of DEL.
pub(crate) type Times = [Duration; STEPS.len()];

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
    /// Its name, which begins that of its networks.
    pub name: String,
    netns: Namespaced,
    /// The namespaces of the containers that exist throughout.
    crowd: Vec<Namespaced>,
    /// How many containers exist throughout.
    pub count: usize,
    /// Containers with a higher number than this are attached to the network of this one.
    pub last: usize,
    /// The protocol of the published ports.
    pub protocol: &'static str,
}

impl Host {
    /// A host without containers.
    pub(crate) fn new(suite: Suite, name: &str) -> Self {
        let name = format!("{name}-{}", suite.name());
        let netns = Namespaced::new(&name);
        Self { suite, name, netns, crowd: Vec::new(), count: 0, last: usize::MAX, protocol: "tcp" }
    }

    /// Runs a function on this host.
    pub(crate) fn enter<T: Send>(&self, function: impl FnOnce() -> T + Send) -> T {
        self.netns.enter(function)
    }

    /// The number of the network that a container is attached to.
    pub(crate) fn network(&self, number: usize) -> usize {
        number.min(self.last) / NETWORK_MAX
    }

    /// Attaches containers until there are as many as asked for.
    pub(crate) fn fill(&mut self, count: usize) {
        for number in self.count..count {
            if number % NAMESPACE_MAX == 0 {
                self.crowd.push(quiet(&format!("{}-{number}", self.name)));
            }
            let ifname = format!("eth{}", number % NAMESPACE_MAX);
            let container = Container { number, netns: self.crowd.last().unwrap(), ifname: &ifname };
            self.enter(|| self.add(container, &mut Times::default())).unwrap();
        }
        self.count = count;
    }

    /// One container's ADD, CHECK and DEL. Waits for all that they leave running.
    pub(crate) fn round(&self, number: usize) -> Times {
        self.enter(|| {
            let netns = self.new_namespace(number);
            let container = Container { number, netns: &netns, ifname: "eth0" };
            let mut times = Times::default();
            let result = self.add(container, &mut times).unwrap();
            self.check(container, &result, &mut times);
            self.del(container, Some(&result), &mut times).unwrap();
            let start = Instant::now();
            settle();
            times[6] = start.elapsed();
            times
        })
    }

    /// One container's life as a runtime leads it: makes its namespace, ADD, DEL, removes the namespace. Must be called on this
    /// host, and waits for nothing that the calls leave running.
    pub(crate) fn life(&self, number: usize) -> Result<(), String> {
        let netns = self.new_namespace(number);
        let container = Container { number, netns: &netns, ifname: "eth0" };
        let mut times = Times::default();
        let added = self.add(container, &mut times);
        let deleted = self.del(container, added.as_ref().ok(), &mut times);
        added.and(deleted).map(drop)
    }

    /// The namespace of a container.
    pub(crate) fn new_namespace(&self, number: usize) -> Namespaced {
        Namespaced::new(&format!("{}-c{number}", self.name))
    }

    /// Removes the bridge, which the reference leaves for ever, so that the next ADD is a first one.
    pub(crate) fn remove_left_bridge(&self) {
        if matches!(self.suite, Suite::Reference | Suite::Newest) {
            self.enter(|| Socket::open().unwrap().del_link_by_name("br0").unwrap());
        }
    }

    /// ADD of all plugins. Returns the last result.
    fn add(&self, container: Container, times: &mut Times) -> Result<Value, String> {
        if self.suite == Suite::Netavark {
            return call(&self.netavark("setup", container), &mut times[0]);
        }
        let result = call(&self.prepare("bridge", "ADD", container, None).job(), &mut times[0])?;
        call(&self.prepare("portmap", "ADD", container, Some(&result)).job(), &mut times[1])
    }

    /// CHECK of all plugins; netavark has none.
    fn check(&self, container: Container, result: &Value, times: &mut Times) {
        if self.suite == Suite::Netavark {
            return;
        }
        for (step, plugin) in [(2, "bridge"), (3, "portmap")] {
            let checked =
                call(&self.prepare(plugin, "CHECK", container, Some(result)).job(), &mut times[step]);
            // The reference's portmap 1.1.1 looks for IPv6 chains that its ADD did not make.
            assert!(self.suite == Suite::Reference || checked.is_ok(), "{checked:?}");
        }
    }

    /// DEL of all plugins. Returns the first error, as a runtime goes on.
    fn del(&self, container: Container, result: Option<&Value>, times: &mut Times) -> Result<Value, String> {
        if self.suite == Suite::Netavark {
            return call(&self.netavark("teardown", container), &mut times[5]);
        }
        let ports = call(&self.prepare("portmap", "DEL", container, result).job(), &mut times[4]);
        ports.and(call(&self.prepare("bridge", "DEL", container, result).job(), &mut times[5]))
    }
}

/// Runs a program, and returns what it printed, or why it failed.
fn call(job: &Job, time: &mut Duration) -> Result<Value, String> {
    let start = Instant::now();
    let outcome = job.run();
    *time = start.elapsed();
    if outcome.code == Some(0) {
        return Ok(serde_json::from_slice(&outcome.stdout).unwrap_or_default());
    }
    let said = [outcome.stdout, outcome.stderr].map(|text| String::from_utf8_lossy(&text).trim().to_owned());
    Err(said.concat())
}

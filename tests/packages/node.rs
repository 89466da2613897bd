//! A node in the small Debian: a network of the package's examples, a container with a published port, and what must hold while
//! the plugins are replaced.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};

use sandbox::traffic::{ask_tcp, serve_tcp};
use sandbox::{Host, Namespaced, UPLINK_V4};

use crate::root::sh;

/// The names of the plugins.
pub(crate) const PLUGINS: [&str; 8] =
    ["bridge", "host-local", "host-port", "ipvlan", "link-env", "loopback", "macvlan", "portmap"];
/// Those of them that the reference has as well.
pub(crate) const SHARED: [&str; 6] = ["bridge", "host-local", "ipvlan", "loopback", "macvlan", "portmap"];
const NETWORK: &str = "/etc/cni/net.d/10-cleat.conflist";

/// A host whose runtime has the network.
pub(crate) struct Node {
    pub(crate) host: Host,
    plugins: &'static str,
}

/// A container on it, whose port is published.
pub(crate) struct Container {
    netns: Namespaced,
    port: u16,
    name: String,
}

impl Node {
    /// Enables a network as the manual says: by copying the package's example. `plugins` is the runtime's `bin_dir`.
    pub(crate) fn new(plugins: &'static str) -> Self {
        Self::with(plugins, "/usr/share/doc/cleat/examples/10-cleat.conflist")
    }

    /// The same with an example that lies elsewhere.
    pub(crate) fn with(plugins: &'static str, example: &str) -> Self {
        let host = Host::new();
        fs::create_dir_all(Path::new(NETWORK).parent().unwrap()).unwrap();
        fs::copy(example, NETWORK).unwrap();
        Self { host, plugins }
    }

    fn cleat(&self, verb: &str, container: &Container) -> String {
        let ports = format!(
            r#"CAP_ARGS={{"portMappings":[{{"hostPort":{},"containerPort":80,"protocol":"tcp"}}]}}"#,
            container.port
        );
        let path = format!("CNI_PATH={}", self.plugins);
        sh(&["env", &path, &ports, "cleat", verb, "cleat", &container.netns.path().display().to_string()])
    }

    /// ADD of a container with a server that others reach at a port of the host.
    pub(crate) fn add(&self, name: &str, port: u16) -> Container {
        let container = Container { netns: Namespaced::new(name), port, name: name.to_owned() };
        self.cleat("add", &container);
        serve_tcp(Some(&container.netns), name, "0.0.0.0:80");
        self.reaches(&container);
        container
    }

    /// CHECK, and a request from outside.
    pub(crate) fn check(&self, container: &Container) {
        self.cleat("check", container);
        self.reaches(container);
    }

    fn reaches(&self, container: &Container) {
        let answer = ask_tcp(Some(&self.host.outside), &format!("{UPLINK_V4}:{}", container.port)).unwrap();
        assert!(answer.starts_with(&format!("{} sees", container.name)), "{answer}");
    }

    /// DEL, after which nobody answers.
    pub(crate) fn del(&self, container: Container) {
        self.cleat("del", &container);
        ask_tcp(Some(&self.host.outside), &format!("{UPLINK_V4}:{}", container.port)).unwrap_err();
        drop(container);
    }

    /// Runs a function while somebody outside asks the container all the time, and while there must be programs of these names
    /// all the time.
    pub(crate) fn meanwhile(&self, container: &Container, names: &'static [&str], change: impl FnOnce()) {
        let ended = Arc::new(AtomicBool::new(false));
        let watch = watch(self.plugins, names, Arc::clone(&ended));
        let mut asked = 0;
        thread::scope(|scope| {
            let ended = &ended;
            let client = scope.spawn(|| {
                let mut asked = 0;
                while !ended.load(Relaxed) {
                    self.reaches(container);
                    asked += 1;
                }
                asked
            });
            change();
            ended.store(true, Relaxed);
            asked = client.join().expect("the container answers all the time");
        });
        assert!(asked > 10, "only {asked} requests while the plugins were replaced");
        let looks = watch.join().expect("every plugin is there all the time");
        assert!(looks > 100, "only {looks} looks at the plugins");
    }
}

/// Looks again and again whether each program is there, and whole.
fn watch(folder: &'static str, names: &'static [&str], ended: Arc<AtomicBool>) -> JoinHandle<usize> {
    thread::spawn(move || {
        let mut looks = 0;
        while !ended.load(Relaxed) {
            for name in names {
                let meta = fs::metadata(Path::new(folder).join(name));
                let meta = meta.unwrap_or_else(|error| panic!("{folder}/{name}: {error}"));
                assert!(meta.len() > 100_000, "{folder}/{name} has {} bytes", meta.len());
            }
            looks += 1;
        }
        looks
    })
}

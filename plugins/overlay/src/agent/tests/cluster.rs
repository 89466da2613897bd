//! The hosts.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command as Process;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use sandbox::Namespaced;
use sandbox::etcd::Server;
use tokio::sync::{mpsc, watch};

use crate::agent::status::PeerState;
use crate::agent::{Command, State, Status, run};
use crate::conf::{Conf, Engine, Etcd};
use crate::record::{Backend, Network};

/// Long enough for an emulated machine, too.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);
pub(super) const ID: &str = "6f1c1d1e-5d0a-4c63-9a6e-0f8a5d3f7b21";
pub(super) const OTHER: &str = "0b5e7c1d-5d0a-4c63-9a6e-0f8a5d3f7b21";
pub(super) const DEVICE: &str = "vx-6f1c1d1e";

/// A network's configuration, with blocks of this length.
pub(super) fn network(id: &str, length: u8) -> String {
    serde_json::to_string(&conf(id, length)).unwrap()
}

/// The same with WireGuard.
pub(super) fn encrypted() -> String {
    let network = Network { backend: Backend::Wireguard, port: 51820, ..conf(ID, 24) };
    serde_json::to_string(&network).unwrap()
}

fn conf(id: &str, length: u8) -> Network {
    Network {
        id: id.to_owned(),
        prefixes: vec!["10.201.0.0/16".parse().unwrap()],
        block_lengths: vec![length],
        backend: Backend::Vxlan,
        vni: 4711,
        port: 4789,
        mtu: 0,
    }
}

/// The wire, and etcd at 198.51.100.100.
pub(super) struct Cluster {
    pub(super) etcd: Server,
    _host: Namespaced,
}

impl Cluster {
    pub(super) fn new() -> Self {
        sandbox::wire();
        let host = Namespaced::new("engine");
        sandbox::plug(&host, 100);
        let etcd = Server::start_in(&host, "198.51.100.100", &[]);
        let cluster = Self { etcd, _host: host };
        cluster.create(24);
        cluster
    }

    /// Makes the network, with blocks of this length.
    pub(super) fn create(&self, length: u8) {
        self.put("config", &network(ID, length));
    }

    pub(super) fn put(&self, key: &str, value: &str) {
        self.etcd.etcdctl(&["put", &format!("/cleat/v1/wide/{key}"), value]);
    }

    pub(super) fn keys(&self) -> Vec<String> {
        let keys = self.etcd.etcdctl(&["get", "--prefix", "--keys-only", "/cleat/v1/wide/"]);
        keys.lines().filter_map(|key| key.strip_prefix("/cleat/v1/wide/")).map(str::to_owned).collect()
    }

    pub(super) fn delete(&self, key: &str) {
        self.etcd.etcdctl(&["del", "--prefix", &format!("/cleat/v1/wide/{key}")]);
    }
}

/// A host, with its task.
pub(super) struct Host {
    pub(super) number: usize,
    pub(super) namespace: Namespaced,
    pub(super) status: watch::Receiver<Status>,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) task: Option<JoinHandle<()>>,
}

impl Host {
    pub(super) fn new(number: usize) -> Self {
        let mut host = Self::without_task(number);
        host.start();
        host
    }

    pub(super) fn without_task(number: usize) -> Self {
        let host = Namespaced::new(&format!("host{number}"));
        sandbox::plug(&host, number);
        sandbox::traffic::serve_tcp(Some(&host), "node", "[::]:80");
        let (status, commands) = (watch::channel(Status::default()).1, mpsc::channel(1).0);
        Self { number, namespace: host, status, commands, task: None }
    }

    pub(super) fn folder(&self) -> PathBuf {
        PathBuf::from(format!("/run/hosts/{}", self.number))
    }

    pub(super) fn start(&mut self) {
        self.start_with(|_| {});
    }

    pub(super) fn start_with(&mut self, change: impl FnOnce(&mut Conf)) {
        let etcd = Etcd {
            endpoints: vec!["http://198.51.100.100:2379".to_owned()],
            ca: None,
            cert: None,
            key: None,
            user: None,
            password_file: None,
            prefix: None,
        };
        let mut conf = Conf {
            engine: Engine::Etcd(etcd),
            id: Some(ID.to_owned()),
            node: None,
            interface: Some("eth0".to_owned()),
            address: None,
            public: None,
            device: None,
            mtu: None,
            metrics: None,
        };
        change(&mut conf);
        let (publish, status) = watch::channel(Status::default());
        let (commands, receive) = mpsc::channel(4);
        (self.status, self.commands) = (status, commands);
        let (path, folder) = (self.namespace.path().to_owned(), self.folder());
        let (node, machine) = (format!("node{}", self.number), format!("{:032x}", self.number));
        self.task = Some(thread::spawn(move || {
            netlink::Namespace::open(&path)
                .unwrap()
                .enter(|| {
                    unshare(CloneFlags::CLONE_NEWNS).unwrap();
                    for place in ["/run/cleat", "/var/lib/cleat", "/var/lib/cni"] {
                        let own = folder.join(place.trim_start_matches('/'));
                        fs::create_dir_all(&own).unwrap();
                        fs::create_dir_all(place).unwrap();
                        mount(Some(&own), place, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
                    }
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                    let network = cni::NetworkName::new("wide").unwrap();
                    runtime.block_on(run(network, conf, node, machine, publish, receive));
                })
                .unwrap();
        }));
    }

    pub(super) fn stop(&mut self) {
        self.commands.blocking_send(Command::Stop).unwrap();
        self.task.take().unwrap().join().unwrap();
    }

    pub(super) fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    pub(super) fn until(&self, what: &str, condition: impl Fn(&Status) -> bool) -> Status {
        let start = Instant::now();
        loop {
            let status = self.status();
            if condition(&status) {
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "{what}: {status:#?}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until it knows so many peers.
    pub(super) fn joined(&self, peers: usize) -> Status {
        let is_ok = |status: &Status| status.peers.iter().filter(|peer| peer.state == PeerState::Ok).count();
        self.until("joined", |status| status.state == State::Watching && is_ok(status) == peers)
    }

    pub(super) fn run(&self, line: &str) -> bool {
        let start = || Process::new("sh").args(["-c", line]).output().unwrap();
        self.namespace.enter(start).status.success()
    }

    /// Whether the other's own address answers.
    pub(super) fn reaches(&self, other: &Self) -> bool {
        let there = SocketAddr::new(other.status().blocks[0].network(), 80);
        self.namespace.enter(|| TcpStream::connect_timeout(&there, Duration::from_secs(1)).is_ok())
    }

    pub(super) fn run_file(&self) -> PathBuf {
        self.folder().join("run/cleat/overlay/wide.json")
    }
}

pub(super) fn all_reach(hosts: &[Host]) {
    for (from, to) in hosts.iter().flat_map(|from| hosts.iter().map(move |to| (from, to))) {
        if from.number != to.number {
            assert!(from.reaches(to), "{} does not reach {}", from.number, to.number);
        }
    }
}

pub(super) fn eventually(what: &str, condition: impl Fn() -> bool) {
    sandbox::etcd::until(what, condition);
}

pub(super) fn three() -> (Cluster, [Host; 3]) {
    let cluster = Cluster::new();
    let hosts = [1, 2, 3].map(Host::new);
    for host in &hosts {
        host.joined(2);
    }
    (cluster, hosts)
}

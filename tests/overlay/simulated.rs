//! Nodes that are records alone: what etcd has of hosts that are not there.

use std::collections::BTreeSet;
use std::process::Command;

use etcd::{Client, Config, Operation, Put, Span, Txn};
use sandbox::Namespaced;
use sandbox::etcd::Server;
use serde_json::{Value, json};

use crate::cluster::{Cluster, NET};
use crate::host::Host;

/// A prefix with blocks for 16,384 nodes.
pub(crate) const WIDE: &str = "10.64.0.0/10";
/// Nodes in one transaction: etcd takes 128 operations in one.
const AT_ONCE: usize = 60;

/// A node that is a record alone, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Simulated(pub(crate) u32);

impl Simulated {
    pub(crate) fn name(self) -> String {
        format!("simulated{}", self.0)
    }

    /// Its block: the last ones of the prefix come first.
    pub(crate) fn block(self) -> String {
        let block = (1 << 14) - 1 - self.0;
        format!("10.{}.{}.0", 64 + (block >> 8), block & 255)
    }

    fn record(self) -> Value {
        let [_, high, mid, low] = self.0.to_be_bytes();
        json!({
            "machine": format!("{:032x}", 0x1000 + self.0),
            // For tests of devices (RFC 2544).
            "addresses": [format!("198.18.{mid}.{low}")],
            "mac": format!("02:ff:00:{high:02x}:{mid:02x}:{low:02x}"),
            "blocks": [format!("{}/24", self.block())],
            "mtu": 1450, "version": "0", "incarnation": 1
        })
    }

    /// The keys that it has in the engine, with their values.
    fn keys(self) -> [(String, Value); 2] {
        let record = self.record();
        let claim = json!({"node": self.name(), "machine": record["machine"]});
        [
            (format!("/cleat/v1/{NET}/blocks/{}-24", self.block()), claim),
            (format!("/cleat/v1/{NET}/nodes/{}", self.name()), record),
        ]
    }

    fn joins(self, txn: Txn) -> Txn {
        self.keys()
            .into_iter()
            .fold(txn, |txn, (key, value)| txn.then(Operation::Put(Put::new(key, value.to_string()))))
    }

    fn leaves(self, txn: Txn) -> Txn {
        let [claim, record] = self.keys().map(|(key, _)| Span::key(key));
        txn.then(Operation::Delete(record)).then(Operation::Delete(claim))
    }
}

/// The first of those whose blocks no node has.
pub(crate) fn of(cluster: &Cluster, count: usize) -> Vec<Simulated> {
    let taken: BTreeSet<String> = cluster.keys().into_iter().collect();
    let is_free = |node: &Simulated| !taken.contains(&format!("blocks/{}-24", node.block()));
    (0..1 << 14).map(Simulated).filter(is_free).take(count).collect()
}

/// A client, for a runtime of a thread that is in the client's namespace.
pub(crate) fn client(engine: &Server) -> Client {
    Client::new(Config::new(vec![engine.url().parse().unwrap()])).unwrap()
}

/// Runs a future in a namespace.
pub(crate) fn block_on<T: Send>(place: &Namespaced, task: impl AsyncFnOnce() -> T + Send) -> T {
    place.enter(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(task())
    })
}

/// Makes some join and others leave.
pub(crate) async fn change(client: &Client, joining: &[Simulated], leaving: &[Simulated]) {
    let joins = joining.chunks(AT_ONCE).map(|some| some.iter().fold(Txn::new(), |txn, one| one.joins(txn)));
    let leaves = leaving.chunks(AT_ONCE).map(|some| some.iter().fold(Txn::new(), |txn, one| one.leaves(txn)));
    for txn in joins.chain(leaves) {
        client.txn(txn).await.unwrap();
    }
}

/// Has them all join.
pub(crate) fn join(cluster: &Cluster, nodes: &[Simulated]) {
    block_on(&cluster.engine_host, async || change(&client(&cluster.engine), nodes, &[]).await);
}

/// How many blocks of others the kernel has routes to.
pub(crate) fn routes(host: &Host) -> usize {
    let text = host.netns.enter(|| std::fs::read_to_string("/proc/thread-self/net/route").unwrap());
    // With a gateway and by the device.
    text.lines().filter(|line| line.starts_with("vx-") && line.split('\t').nth(2) != Some("00000000")).count()
}

/// A block, and the MAC address and address of the node that has it.
type Entry = [String; 3];

/// What the kernel of a host is to have, from the records in the engine.
pub(crate) fn wanted(cluster: &Cluster, host: &Host) -> BTreeSet<Entry> {
    let prefix = format!("/cleat/v1/{NET}/nodes/");
    let text = cluster.engine.etcdctl(&["get", "--prefix", &prefix]);
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
    let others = lines.chunks(2).filter(|pair| pair[0] != format!("{prefix}{}", host.name()));
    let entry = |pair: &[&str]| {
        let record: Value = serde_json::from_str(pair[1]).unwrap();
        assert_eq!(record["blocks"].as_array().unwrap().len(), 1);
        [&record["blocks"][0], &record["mac"], &record["addresses"][0]]
            .map(|text| text.as_str().unwrap().to_owned())
    };
    others.map(entry).collect()
}

/// What it has, if routes, neighbours and forwarding entries belong together.
pub(crate) fn found(host: &Host) -> Result<BTreeSet<Entry>, String> {
    let device = host.health()["device"].as_str().unwrap_or_default().to_owned();
    let lines = |program: &str, args: &str| -> Vec<Vec<String>> {
        let mut command = Command::new(program);
        command.args(args.split(' ')).args(["dev", &device]);
        let output = host.netns.enter(|| command.output()).unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
    };
    let routes = lines("ip", "-4 route show proto 76");
    let neighbours = lines("ip", "-4 neigh show nud permanent");
    let fdb = lines("bridge", "fdb show");
    if routes.len() != neighbours.len() || routes.len() != fdb.len() {
        return Err(format!("{} routes, {} neighbours, {} MACs", routes.len(), neighbours.len(), fdb.len()));
    }
    let second = |all: &[Vec<String>], first: &str, name: &str| {
        let line = all.iter().find(|line| line[0] == first && line[1] == name);
        line.map(|line| line[2].clone()).ok_or_else(|| format!("{first} has no {name}"))
    };
    let entry = |route: Vec<String>| {
        let mac = second(&neighbours, &route[2], "lladdr")?;
        let address = second(&fdb, &mac, "dst")?;
        Ok([route[0].clone(), mac, address])
    };
    routes.into_iter().map(entry).collect()
}

//! Clients of the etcd of a sandbox, and what they tell.

use std::time::Duration;

use etcd::{Change, Client, Config, Endpoint, Mirror, Put, Span, Timing};
pub(crate) use sandbox::etcd::{PATIENCE, Server, command};

/// Bounds that are short, so that tests of them are.
pub(crate) const TIMING: Timing = Timing {
    call: Duration::from_secs(5),
    connect: Duration::from_secs(1),
    answer: Duration::from_millis(1500),
    ping: Duration::from_millis(500),
    pong: Duration::from_millis(700),
    silence: Duration::from_secs(45),
};

/// Runs an async test in a sandbox.
pub(crate) fn run(test: impl AsyncFnOnce()) {
    sandbox::isolated(|| {
        command("ip", &["link", "set", "lo", "up"]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(test());
    });
}

/// A client of these members, with the tests' bounds.
pub(crate) fn client<'a>(servers: impl IntoIterator<Item = &'a Server>) -> Client {
    Client::new(config(servers)).unwrap()
}

pub(crate) fn config<'a>(servers: impl IntoIterator<Item = &'a Server>) -> Config {
    let endpoints = servers.into_iter().map(endpoint).collect();
    Config { timing: TIMING, ..Config::new(endpoints) }
}

pub(crate) fn endpoint(server: &Server) -> Endpoint {
    server.url().parse().unwrap()
}

/// The result of something that must not take so long.
pub(crate) async fn within<T>(bound: Duration, what: impl Future<Output = T>) -> T {
    tokio::time::timeout(bound, what).await.unwrap_or_else(|_| panic!("not within {bound:?}"))
}

/// A mirror of `/n/` with a watch, which has told all that was there.
pub(crate) async fn mirror(client: &Client) -> Mirror {
    let mut mirror = Mirror::new(client.clone(), Span::prefix("/n/"));
    changes(&mut mirror, |change| matches!(change, Change::Listed(_))).await;
    // Only a watch tells this.
    client.put(Put::new("/n/~", "")).await.unwrap();
    client.delete(&Span::key("/n/~")).await.unwrap();
    changes(&mut mirror, |change| short(change) == "deleted /n/~").await;
    mirror
}

/// The changes up to one that is sought, which is the last.
pub(crate) async fn changes(mirror: &mut Mirror, last: impl Fn(&Change) -> bool) -> Vec<Change> {
    let mut changes = Vec::new();
    loop {
        let next = tokio::time::timeout(PATIENCE, mirror.next()).await;
        changes.push(next.unwrap_or_else(|_| panic!("not within {PATIENCE:?}; until now {changes:#?}")));
        if last(changes.last().unwrap()) {
            return changes;
        }
    }
}

/// A change in short, for comparisons: `put a=1`, `deleted a`, `listed`.
pub(crate) fn short(change: &Change) -> String {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    match change {
        Change::Put(kv) => format!("put {}={}", text(&kv.key), text(&kv.value)),
        Change::Deleted { key, .. } => format!("deleted {}", text(key)),
        Change::Missing { key } => format!("missing {}", text(key)),
        Change::Listed(_) => "listed".to_owned(),
        Change::Resumed => "resumed".to_owned(),
        Change::Lost(_) => "lost".to_owned(),
        Change::Reset(_) => "reset".to_owned(),
    }
}

pub(crate) fn shorts(changes: &[Change]) -> Vec<String> {
    changes.iter().map(short).collect()
}

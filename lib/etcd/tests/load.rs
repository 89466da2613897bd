//! Many keys, many changes, and a server that is killed in the middle of them.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::rc::Rc;
use std::time::Duration;

use etcd::{Change, Client, Kind, Mirror, Operation, Put, Span, Txn};

use crate::server::{Server, changes, client, mirror, run, short};

/// A view that follows the changes, as a caller keeps it. It asserts that each one changes something.
#[derive(Debug, Default)]
struct View(BTreeMap<Vec<u8>, (Vec<u8>, i64)>);

impl View {
    fn follow(&mut self, change: Change) {
        match change {
            Change::Put(kv) => {
                let before = self.0.insert(kv.key.clone(), (kv.value, kv.modified));
                assert!(before.is_none_or(|before| before.1 < kv.modified), "{:?} was told twice", kv.key);
            }
            Change::Deleted { key, .. } | Change::Missing { key } => {
                assert!(self.0.remove(&key).is_some(), "{key:?} was not there");
            }
            Change::Reset(reset) => panic!("{reset:?}"),
            Change::Listed(_) | Change::Resumed | Change::Lost(_) => {}
        }
    }
}

/// Puts and deletes until it is told to stop, and counts the writes of which it does not know whether they were executed.
async fn load(client: Client, stop: Rc<Cell<bool>>) -> (u32, u32) {
    let (mut known, mut unknown) = (0, 0);
    // No random numbers: a walk that meets all keys, and each in another order than before.
    for number in 0_u32.. {
        if stop.get() {
            break;
        }
        let key = format!("/n/{}", number.wrapping_mul(2_654_435_761) >> 25);
        let result = if number % 5 == 4 {
            client.delete(&Span::key(key)).await.map(drop)
        } else {
            client.put(Put::new(key, number.to_string())).await.map(drop)
        };
        match result {
            Ok(()) => known += 1,
            Err(error) if matches!(error.kind, Kind::Unknown(_)) => unknown += 1,
            Err(error) if matches!(error.kind, Kind::Unreachable(_)) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
    (known, unknown)
}

#[test]
fn a_mirror_has_what_the_store_has_however_often_the_server_is_killed() {
    run(async || {
        let mut server = Server::start(&[]);
        let mut mirror = mirror(&client([&server])).await;
        let mut view = View::default();
        let stop = Rc::new(Cell::new(false));
        let local = tokio::task::LocalSet::new();
        let writer = local.spawn_local(load(client([&server]), stop.clone()));
        let mut kills = 0;
        local
            .run_until(async {
                while kills < 6 {
                    // Each life is of another length.
                    for _ in 0..150 + 97 * kills {
                        view.follow(mirror.next().await);
                    }
                    if kills == 3 {
                        // What the mirror has not seen is compacted while there is no server that could tell it.
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                    server.kill();
                    server.restart();
                    server.await_health();
                    if kills == 3 {
                        let status = server.etcdctl(&["endpoint", "status", "-w", "json"]);
                        let status: serde_json::Value = serde_json::from_str(&status).unwrap();
                        let revision = status[0]["Status"]["header"]["revision"].to_string();
                        server.etcdctl(&["compaction", &revision]);
                    }
                    kills += 1;
                }
                stop.set(true);
                let (known, unknown) = writer.await.unwrap();
                assert!(known > 1000 && unknown <= kills, "{known} known, {unknown} unknown");
                let last = client([&server]);
                last.put(Put::new("/n/end", "")).await.unwrap();
                while !view.0.contains_key(&b"/n/end"[..]) {
                    view.follow(mirror.next().await);
                }
                let found = last.list(&Span::prefix("/n/")).await.unwrap().kvs;
                let found: BTreeMap<_, _> =
                    found.into_iter().map(|kv| (kv.key, (kv.value, kv.modified))).collect();
                assert!(view.0 == found, "{:?}\n{found:?}", view.0);
            })
            .await;
    });
}

/// What this process has in memory, in bytes.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[test]
fn a_mirror_of_ten_thousand_keys_is_small_and_does_not_grow() {
    run(async || {
        let server = Server::start(&[]);
        let writer = client([&server]);
        let write = async |value: u8| {
            for hundred in 0..100 {
                let puts =
                    (0..100).map(|n| Put::new(format!("/n/{:05}", hundred * 100 + n), vec![value; 300]));
                let txn = puts.fold(Txn::new(), |txn, put| txn.then(Operation::Put(put)));
                writer.txn(txn).await.unwrap();
            }
        };
        write(b'0').await;
        let before = resident();
        let mut mirror = Mirror::new(client([&server]), Span::prefix("/n/"));
        let list = changes(&mut mirror, |change| matches!(change, Change::Listed(_))).await;
        assert_eq!(list.len(), 10_001);
        drop(list);
        let listed = resident();
        // 1.5 MB of keys and revisions, and what the allocator keeps of a list of 4 MB and of this test's.
        assert!(listed - before < 24 << 20, "{} kB", (listed - before) / 1024);
        let mut sizes = Vec::new();
        for round in b'1'..=b'6' {
            write(round).await;
            let wanted = format!("put /n/09999={}", String::from_utf8(vec![round; 300]).unwrap());
            while short(&mirror.next().await) != wanted {}
            sizes.push(resident());
        }
        // The first round fills the buffers of the watch.
        let grown = sizes[5].saturating_sub(sizes[0]);
        assert!(grown < 2 << 20, "{} kB more after 50,000 changes: {sizes:?}", grown / 1024);
    });
}

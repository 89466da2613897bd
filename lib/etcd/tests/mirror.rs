//! A mirror over what befalls a single server: restarts, compaction, pauses.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use etcd::{Change, Client, Config, Mirror, Put, Span, Timing};

use crate::server::{PATIENCE, Server, TIMING, changes, client, config, mirror, run, short, shorts, within};

fn is_listed(change: &Change) -> bool {
    matches!(change, Change::Listed(_))
}

fn is(wanted: &str) -> impl Fn(&Change) -> bool {
    move |change| short(change) == wanted
}

#[test]
fn a_mirror_lists_and_then_watches() {
    run(async || {
        let server = Server::start(&[]);
        server.etcdctl(&["put", "/n/1", "one"]);
        server.etcdctl(&["put", "/n/2", "two"]);
        server.etcdctl(&["put", "/m", "no"]);
        let mut mirror = Mirror::new(client([&server]), Span::prefix("/n/"));
        let list = changes(&mut mirror, is_listed).await;
        assert_eq!(shorts(&list), ["put /n/1=one", "put /n/2=two", "listed"]);
        server.etcdctl(&["put", "/n/3", "three"]);
        server.etcdctl(&["del", "/n/1"]);
        server.etcdctl(&["put", "/n/2", "2"]);
        let wanted = ["put /n/3=three", "deleted /n/1", "put /n/2=2"];
        assert_eq!(shorts(&changes(&mut mirror, is("put /n/2=2")).await), wanted);
        assert_eq!(mirror.seen().unwrap().revision, 7);
    });
}

/// Writes numbers to some keys, and retries what failed: what is in the store in the end is known.
async fn write(client: Client, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let put = || Put::new(format!("/n/{}", number % 7), number.to_string());
        while client.put(put()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[test]
fn a_killed_server_costs_a_mirror_no_change_and_doubles_none() {
    run(async || {
        let mut server = Server::start(&[]);
        let mut mirror = mirror(&client([&server])).await;
        let first = mirror.seen().unwrap().revision + 1;
        let mut told: Vec<(Vec<u8>, i64)> = Vec::new();
        for round in 0..3 {
            // The server is killed while it tells what was written.
            let writer = tokio::spawn(write(client([&server]), round * 100..round * 100 + 100));
            let half = format!("put /n/{}={}", (round * 100 + 50) % 7, round * 100 + 50);
            let mut seen = changes(&mut mirror, is(&half)).await;
            server.kill();
            seen.extend(changes(&mut mirror, is("lost")).await);
            server.restart();
            let last = format!("put /n/{}={}", (round * 100 + 99) % 7, round * 100 + 99);
            seen.extend(changes(&mut mirror, is(&last)).await);
            within(PATIENCE, writer).await.unwrap();
            assert_eq!(seen.iter().filter(|change| is("resumed")(change)).count(), 1, "{:?}", shorts(&seen));
            assert!(
                !seen.iter().any(|change| is_listed(change) || is("reset")(change)),
                "{:?}",
                shorts(&seen)
            );
            told.extend(seen.into_iter().filter_map(|change| match change {
                Change::Put(kv) => Some((kv.value, kv.modified)),
                _ => None,
            }));
        }
        // Every revision is there once: all of them are of this prefix.
        let revisions: Vec<i64> = told.iter().map(|(_, revision)| *revision).collect();
        let wanted: Vec<i64> = (first..first + i64::try_from(revisions.len()).unwrap()).collect();
        assert_eq!(revisions, wanted);
        let mut values: Vec<String> =
            told.into_iter().map(|(value, _)| String::from_utf8(value).unwrap()).collect();
        values.dedup();
        assert_eq!(values, (0..300).map(|number| number.to_string()).collect::<Vec<_>>());
    });
}

#[test]
fn a_compaction_while_a_mirror_is_away_costs_a_list() {
    run(async || {
        let mut server = Server::start(&[]);
        for (key, value) in [("/n/stays", "1"), ("/n/goes", "1"), ("/n/changes", "1"), ("/n/returns", "1")] {
            server.etcdctl(&["put", key, value]);
        }
        let mut mirror = mirror(&client([&server])).await;
        // The mirror is not polled meanwhile, and its watch does not survive the restart.
        server.kill();
        server.restart();
        server.await_health();
        for args in [
            &["put", "/n/changes", "2"][..],
            &["del", "/n/goes"],
            &["del", "/n/returns"],
            &["put", "/n/returns", "1"],
            &["put", "/n/new", "1"],
            &["compaction", "12"],
        ] {
            server.etcdctl(args);
        }
        let seen = changes(&mut mirror, is_listed).await;
        // Values that did not change are not told again. What was deleted and made again was changed.
        let wanted = [
            "lost",
            "resumed",
            "put /n/changes=2",
            "put /n/new=1",
            "put /n/returns=1",
            "missing /n/goes",
            "listed",
        ];
        assert_eq!(shorts(&seen), wanted);
        server.etcdctl(&["put", "/n/changes", "3"]);
        assert_eq!(shorts(&changes(&mut mirror, |_| true).await), ["put /n/changes=3"]);
    });
}

#[test]
fn a_stopped_server_is_told_once_and_gone_on_with() {
    run(async || {
        let server = Server::start(&[]);
        let timing = Timing { call: Duration::from_millis(1500), ..TIMING };
        let client = Client::new(Config { timing, ..config([&server]) }).unwrap();
        let mut mirror = mirror(&client).await;
        server.stop();
        let lost = within(2 * (timing.ping + timing.pong), mirror.next()).await;
        assert_eq!(short(&lost), "lost");
        // It goes on trying; the reason changes once, from a watch that broke to calls that are not answered.
        let quiet = tokio::time::timeout(2 * timing.call, async {
            let Change::Lost(error) = mirror.next().await else { panic!() };
            assert!(error.to_string().contains("no endpoint could serve it"), "{error}");
            mirror.next().await
        });
        if let Ok(change) = quiet.await {
            panic!("{change:?}");
        }
        server.resume();
        server.etcdctl(&["put", "/n/1", "one"]);
        assert_eq!(shorts(&changes(&mut mirror, is("put /n/1=one")).await), ["resumed", "put /n/1=one"]);
    });
}

/// A caller of a mirror waits for other things as well, and drops its future each time one of them happens.
#[test]
fn a_mirror_that_is_interrupted_all_the_time_loses_nothing() {
    run(async || {
        let server = Server::start(&[]);
        let writer = client([&server]);
        for number in 0..3000 {
            writer.put(Put::new(format!("/n/{number}"), "1")).await.unwrap();
        }
        let mut mirror = Mirror::new(client([&server]), Span::prefix("/n/"));
        let task = tokio::spawn(write(writer, 0..300));
        let mut view: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        let mut interruptions = 0;
        while view.get(&b"/n/5"[..]).is_none_or(|value| value != b"299") {
            match tokio::time::timeout(Duration::from_micros(200), mirror.next()).await {
                Ok(Change::Put(kv)) => drop(view.insert(kv.key, kv.value)),
                Ok(Change::Listed(_)) => assert_eq!(view.len(), 3000),
                Ok(change) => panic!("{change:?}"),
                Err(_) => interruptions += 1,
            }
        }
        task.await.unwrap();
        assert!(interruptions > 10, "{interruptions}");
        let found = client([&server]).list(&Span::prefix("/n/")).await.unwrap();
        assert_eq!(view, found.kvs.into_iter().map(|kv| (kv.key, kv.value)).collect());
    });
}

/// Of what a compaction overtakes while nobody reads, etcd 3.4.23 says nothing where its buffer is full when it looks.
#[test]
fn a_mirror_that_reads_late_misses_nothing_in_the_end() {
    run(async || {
        let server = Server::start(&[]);
        let timing = Timing { call: Duration::from_secs(2), ..TIMING };
        let client = Client::new(Config { timing, ..config([&server]) }).unwrap();
        let mut mirror = mirror(&client).await;
        let key = |number: usize| format!("/n/{number:04}");
        let mut revision = 0;
        // More than all buffers between etcd and the watch take: the sockets', and 1,024 messages in etcd.
        for number in 0..1500 {
            let size = if number < 30 { 1 << 20 } else { 1 };
            revision = client.put(Put::new(key(number), vec![0; size])).await.unwrap().revision;
        }
        server.etcdctl(&["compaction", &revision.to_string()]);
        // So that etcd's buffer takes one more, and is full at the next look, at most 100 ms later.
        for number in 0..5 {
            let change = within(PATIENCE, mirror.next()).await;
            assert_eq!(short(&change).split('=').next(), Some(format!("put {}", key(number)).as_str()));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        let mut missing: BTreeSet<String> = (5..1500).map(key).collect();
        while !missing.is_empty() {
            if let Change::Put(kv) = within(PATIENCE, mirror.next()).await {
                missing.remove(std::str::from_utf8(&kv.key).unwrap());
            }
        }
    });
}

#[test]
fn connections_that_are_given_up_are_made_anew_at_once() {
    run(async || {
        let server = Server::start(&[]);
        // Without it, the next ping would be in a minute.
        let timing = Timing { ping: Duration::from_mins(1), silence: Duration::from_mins(2), ..TIMING };
        let client = Client::new(Config { timing, ..config([&server]) }).unwrap();
        let mut mirror = mirror(&client).await;
        client.reconnect();
        server.etcdctl(&["put", "/n/1", "one"]);
        let seen = within(Duration::from_secs(3), changes(&mut mirror, is("put /n/1=one"))).await;
        assert_eq!(shorts(&seen)[0], "lost");
        within(Duration::from_secs(1), client.put(Put::new("/n/2", "two"))).await.unwrap();
        // A call under way ends, too, where the server says nothing.
        server.stop();
        let asking = tokio::spawn({
            let client = client.clone();
            async move { client.put(Put::new("/n/3", "three")).await }
        });
        tokio::time::sleep(Duration::from_millis(200)).await;
        client.reconnect();
        let error = within(Duration::from_secs(1), asking).await.unwrap().unwrap_err();
        assert!(error.to_string().contains("given up"), "{error}");
        server.resume();
        within(Duration::from_secs(3), client.put(Put::new("/n/3", "3"))).await.unwrap();
    });
}

//! Watches: from a revision, progress, compaction, and what ends them.

use std::time::{Duration, Instant};

use etcd::{Client, Config, Event, Kind, Put, Span, Timing};

use crate::relay::Relay;
use crate::server::{PATIENCE, Server, TIMING, client, config, run, within};

fn short(event: &Event) -> String {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    match event {
        Event::Put(kv) => format!("{} put {}={}", kv.modified, text(&kv.key), text(&kv.value)),
        Event::Delete { key, revision } => format!("{revision} delete {}", text(key)),
        Event::Progress(revision) => format!("{revision} progress"),
    }
}

#[test]
fn a_watch_tells_what_happened_since_a_revision() {
    run(async || {
        let server = Server::start(&[]);
        let client = client([&server]);
        for args in [&["put", "/a", "1"][..], &["put", "/b", "2"], &["put", "/c", "3"], &["del", "/a"]] {
            server.etcdctl(args);
        }
        let mut watch = client.watch(&Span::prefix("/"), Some(3)).await.unwrap();
        server.etcdctl(&["put", "/d", "4"]);
        server.etcdctl(&["put", "other", "5"]);
        server.etcdctl(&["put", "/b", "6"]);
        let wanted = ["3 put /b=2", "4 put /c=3", "5 delete /a", "6 put /d=4", "8 put /b=6"];
        for wanted in wanted {
            assert_eq!(short(&within(PATIENCE, watch.next()).await.unwrap()), wanted);
        }
        let mut now = client.watch(&Span::key("/d"), None).await.unwrap();
        assert_eq!(now.header().revision, 8);
        server.etcdctl(&["put", "/d2", "7"]);
        server.etcdctl(&["put", "/d", "8"]);
        assert_eq!(short(&within(PATIENCE, now.next()).await.unwrap()), "10 put /d=8");
    });
}

#[test]
fn a_quiet_watch_tells_its_progress() {
    run(async || {
        let server = Server::start(&["--experimental-watch-progress-notify-interval", "100ms"]);
        let client = client([&server]);
        let mut watch = client.watch(&Span::prefix("/quiet/"), None).await.unwrap();
        for _ in 0..3 {
            let revision = client.put(Put::new("/busy", "")).await.unwrap().revision;
            let start = Instant::now();
            while within(PATIENCE, watch.next()).await.unwrap() != Event::Progress(revision) {
                assert!(start.elapsed() < PATIENCE);
            }
        }
    });
}

/// The server's own notices come every ten minutes.
#[test]
fn a_silent_watch_asks_for_a_sign_of_life() {
    run(async || {
        let server = Server::start(&[]);
        let silence = Duration::from_millis(50);
        // No ping tells: the watch must find out.
        let timing = Timing { silence, answer: 4 * silence, ping: PATIENCE, ..TIMING };
        let client = Client::new(Config { timing, ..config([&server]) }).unwrap();
        let mut watch = client.watch(&Span::prefix("/quiet/"), None).await.unwrap();
        let quiet = tokio::time::timeout(20 * silence, watch.next()).await;
        assert!(quiet.is_err(), "{quiet:?}");
        server.stop();
        let error = within(Duration::from_secs(2), watch.next()).await.unwrap_err();
        assert!(matches!(&error.kind, Kind::Broken(failure) if failure.why.contains("silent")), "{error}");
        server.resume();
    });
}

#[test]
fn a_stopped_server_ends_a_watch_within_seconds() {
    run(async || {
        let server = Server::start(&[]);
        let client = client([&server]);
        let mut watch = client.watch(&Span::prefix("/"), None).await.unwrap();
        server.stop();
        let error = within(TIMING.ping + TIMING.pong + TIMING.connect, watch.next()).await.unwrap_err();
        assert!(error.to_string().contains("does not answer a ping"), "{error}");
        server.resume();
    });
}

/// etcd counts pings that come too often, or without a call, and ends the connection at the third.
#[test]
fn pings_are_not_too_many() {
    run(async || {
        let server = Server::start(&[]);
        let relay = Relay::start(&server).await;
        // The tests' servers take one every 300 ms.
        let timing = Timing { ping: Duration::from_millis(350), ..TIMING };
        let client = Client::new(Config { timing, ..Config::new(vec![relay.endpoint()]) }).unwrap();
        client.get("/a").await.unwrap();
        tokio::time::sleep(5 * timing.ping).await;
        let mut watch = client.watch(&Span::prefix("/"), None).await.unwrap();
        let quiet = tokio::time::timeout(5 * timing.ping, watch.next()).await;
        assert!(quiet.is_err(), "{quiet:?}");
        assert_eq!(relay.connections(), 1);
    });
}

#[test]
fn a_watch_from_a_compacted_revision_says_which_one_is_left() {
    run(async || {
        let server = Server::start(&[]);
        let client = client([&server]);
        for value in ["1", "2", "3", "4"] {
            client.put(Put::new("/a", value)).await.unwrap();
        }
        server.etcdctl(&["compaction", "4"]);
        let mut watch = client.watch(&Span::prefix("/"), Some(2)).await.unwrap();
        let error = within(PATIENCE, watch.next()).await.unwrap_err();
        assert!(matches!(error.kind, Kind::Compacted { revision: Some(4), .. }), "{error}");
        let mut watch = client.watch(&Span::prefix("/"), Some(4)).await.unwrap();
        assert_eq!(short(&within(PATIENCE, watch.next()).await.unwrap()), "4 put /a=3");
    });
}

#[test]
fn large_revisions_come_whole() {
    run(async || {
        let server = Server::start(&["--max-txn-ops", "1000"]);
        let client = client([&server]);
        let mut watch = client.watch(&Span::prefix("/"), None).await.unwrap();
        let put = |number: u32| etcd::Operation::Put(Put::new(format!("/{number:03}"), vec![0; 1400]));
        let txn = (0..1000).map(put).fold(etcd::Txn::new(), etcd::Txn::then);
        let revision = client.txn(txn).await.unwrap().header.revision;
        for number in 0..1000 {
            let Event::Put(kv) = within(PATIENCE, watch.next()).await.unwrap() else { panic!() };
            assert_eq!((kv.key, kv.modified), (format!("/{number:03}").into_bytes(), revision));
        }
    });
}

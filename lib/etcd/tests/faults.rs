//! Connections that are cut after each byte, and servers that are none: what a call returns is true.

use std::collections::BTreeMap;
use std::time::Duration;

use etcd::{Change, Client, Condition, Config, Kind, Mirror, Operation, Put, Span, Timing, Txn};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use crate::relay::Relay;
use crate::server::{PATIENCE, Server, TIMING, client, run, short, within};

fn through(relay: &Relay) -> Client {
    Client::new(Config { timing: TIMING, ..Config::new(vec![relay.endpoint()]) }).unwrap()
}

/// One claim over a connection that is cut, and what became of it.
async fn claim(relay: &Relay, key: &str) -> Result<bool, Kind> {
    let txn = Txn::new().when(Condition::absent(key)).then(Operation::Put(Put::new(key, "mine")));
    let outcome = within(PATIENCE, through(relay).txn(txn)).await;
    outcome.map(|outcome| outcome.succeeded).map_err(|error| error.kind)
}

#[test]
fn a_claim_that_is_cut_off_at_any_byte_is_told_truly() {
    run(async || {
        let server = Server::start(&[]);
        let relay = Relay::start(&server).await;
        let direct = client([&server]);
        let (mut done, mut unknown, mut not_sent) = (0, [0, 0], 0);
        // A claim takes some 230 bytes of requests and 175 of answers: the last ones are not cut any more.
        let requests = (0..270).map(|bytes| (bytes, usize::MAX));
        let answers = (0..200).map(|bytes| (usize::MAX, bytes));
        for (number, (requests, answers)) in requests.chain(answers).enumerate() {
            relay.cut_after(requests, answers);
            let key = format!("/claims/{number}");
            let told = claim(&relay, &key).await;
            let is_there = direct.get(key.as_str()).await.unwrap().is_some();
            match told {
                Ok(succeeded) => {
                    assert!(succeeded && is_there, "{requests} {answers}");
                    done += 1;
                }
                Err(Kind::Unknown(_)) => unknown[usize::from(is_there)] += 1,
                Err(Kind::Unreachable(failures)) => {
                    assert!(!is_there, "{requests} {answers}: {failures:?}");
                    not_sent += 1;
                }
                Err(kind) => panic!("{requests} {answers}: {kind}"),
            }
            // It was executed once at most.
            let version = direct.get(key).await.unwrap().map_or(1, |kv| kv.version);
            assert_eq!(version, 1, "{requests} {answers}");
        }
        // Each of the cases was met.
        assert!(done > 0 && unknown[0] > 0 && unknown[1] > 0, "{done} {unknown:?} {not_sent}");
    });
}

/// The connection is cut after a number of bytes that grows from one to the next, while the keys change.
#[test]
fn a_mirror_over_connections_that_are_cut_has_what_the_store_has() {
    run(async || {
        let server = Server::start(&[]);
        let relay = Relay::start(&server).await;
        let writer = client([&server]);
        for number in 0..30 {
            writer.put(Put::new(format!("/n/{number}"), "first")).await.unwrap();
        }
        let mut mirror = Mirror::new(through(&relay), Span::prefix("/n/"));
        let mut view: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
        let mut resumed = 0;
        for round in 0_u32.. {
            if resumed >= 6 {
                break;
            }
            relay.cut_after(usize::MAX, 1500 + 97 * usize::try_from(round).unwrap());
            for number in 0..10 {
                let key = format!("/n/{}", (round * 7 + number) % 30);
                if number == 3 {
                    writer.delete(&Span::key(key)).await.unwrap();
                } else {
                    writer.put(Put::new(key, round.to_string())).await.unwrap();
                }
                while let Ok(change) = tokio::time::timeout(Duration::from_millis(5), mirror.next()).await {
                    resumed += i32::from(short(&change) == "resumed");
                    follow(&mut view, change);
                }
            }
        }
        relay.cut_after(usize::MAX, usize::MAX);
        writer.put(Put::new("/n/end", "")).await.unwrap();
        while !view.contains_key(&b"/n/end"[..]) {
            follow(&mut view, within(PATIENCE, mirror.next()).await);
        }
        let found = writer.list(&Span::prefix("/n/")).await.unwrap().kvs;
        assert_eq!(view, found.into_iter().map(|kv| (kv.key, kv.modified)).collect());
    });
}

fn follow(view: &mut BTreeMap<Vec<u8>, i64>, change: Change) {
    match change {
        Change::Put(kv) => {
            let before = view.insert(kv.key, kv.modified);
            assert!(before.is_none_or(|before| before < kv.modified));
        }
        Change::Deleted { key, .. } | Change::Missing { key } => assert!(view.remove(&key).is_some()),
        Change::Reset(reset) => panic!("{reset:?}"),
        Change::Listed(_) | Change::Resumed | Change::Lost(_) => {}
    }
}

/// Frames of HTTP/2 and messages of gRPC that are not what they should be.
#[test]
fn a_server_that_talks_nonsense_is_an_error() {
    run(async || {
        let settings: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
        // Stream 1: ":status: 200" and no more; a message that is no protobuf; one that says to be of 4 GB.
        let headers: &[u8] = &[0, 0, 1, 1, 4, 0, 0, 0, 1, 0x88];
        let garbage: &[u8] = &[0, 0, 8, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 3, 0xff, 0xff, 0xff];
        let huge: &[u8] = &[0, 0, 5, 0, 1, 0, 0, 0, 1, 0, 0xff, 0xff, 0xff, 0xff];
        let answers = [
            b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
            b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(),
            vec![0xff; 4096],
            [settings, headers, garbage].concat(),
            [settings, headers, huge].concat(),
            [settings, &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1][..]].concat(),
        ];
        for answer in answers {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let shown = answer.escape_ascii().to_string();
            let server = tokio::spawn(async move {
                loop {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    stream.write_all(&answer).await.unwrap();
                    // Kept open: the client must not wait for its end.
                    std::mem::forget(stream);
                }
            });
            let endpoint = format!("http://127.0.0.1:{port}").parse().unwrap();
            let timing = Timing { call: Duration::from_millis(500), ..TIMING };
            let client = Client::new(Config { timing, ..Config::new(vec![endpoint]) }).unwrap();
            let error = within(timing.call + timing.connect, client.get("/a")).await.unwrap_err();
            let is_told =
                matches!(error.kind, Kind::Unreachable(_) | Kind::Unknown(_) | Kind::AnswerTooLarge(_));
            assert!(is_told, "{shown}: {error}");
            server.abort();
        }
    });
}

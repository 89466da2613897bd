//! Ranges, writes and transactions.

use std::time::Instant;

use crate::relay::Relay;
use crate::server::{PATIENCE, Server, TIMING, client, run, within};
use etcd::{
    Answer, Client, Condition, Config, Error, Event, Found, Kind, Operation, Put, Range, Span, Timing, Txn,
};

#[test]
fn values_are_written_read_and_deleted() {
    run(async || {
        let server = Server::start(&[]);
        let client = client([&server]);
        let header = client.put(Put::new("/a/1", "one")).await.unwrap();
        assert_eq!(server.etcdctl(&["get", "/a/1"]), "/a/1\none\n");
        server.etcdctl(&["put", "/a/1", "two"]);
        server.etcdctl(&["put", "/b", "three"]);
        let kv = client.get("/a/1").await.unwrap().unwrap();
        assert_eq!((kv.value.as_slice(), kv.version, kv.lease), (&b"two"[..], 2, None));
        assert_eq!((kv.created, kv.modified), (header.revision, header.revision + 1));
        let old = client.range(&Range::new(Span::prefix("/a/")).revision(header.revision)).await.unwrap();
        assert_eq!(old.kvs[0].value, b"one");
        assert_eq!(old.header.cluster_id, header.cluster_id);
        let keys = client.range(&Range::new(Span::prefix("/")).keys_only()).await.unwrap();
        assert!(keys.count == 2 && keys.kvs.iter().all(|kv| kv.value.is_empty()), "{keys:?}");
        assert_eq!(client.delete(&Span::prefix("/a/")).await.unwrap(), 1);
        assert_eq!(client.get("/a/1").await.unwrap(), None);
        assert_eq!(server.etcdctl(&["get", "--prefix", "/"]), "/b\nthree\n");
        // An empty prefix is not taken for everything.
        let error = client.delete(&Span::prefix("")).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("etcd: delete *: {}: refused: key is not provided", server.url())
        );
    });
}

#[test]
fn the_second_claimant_is_refused() {
    run(async || {
        let server = Server::start(&[]);
        let claims = (0..20).map(|number| {
            let client = client([&server]);
            tokio::spawn(async move {
                let txn = Txn::new()
                    .when(Condition::absent("/block"))
                    .then(Operation::Put(Put::new("/block", number.to_string())))
                    .otherwise(Operation::Range(Range::new(Span::key("/block"))));
                (number, client.txn(txn).await.unwrap())
            })
        });
        let claims: Vec<_> = claims.collect();
        let (mut winners, mut owners) = (Vec::new(), Vec::new());
        for claim in claims {
            let (number, outcome) = claim.await.unwrap();
            match &outcome.answers[..] {
                [Answer::Put] if outcome.succeeded => winners.push(number),
                [Answer::Range(Found { kvs, .. })] => owners.push(kvs[0].value.clone()),
                answers => panic!("{answers:?}"),
            }
        }
        let [winner] = winners[..] else { panic!("{winners:?}") };
        assert_eq!(owners, vec![winner.to_string().into_bytes(); 19]);
    });
}

#[test]
fn conditions_are_those_of_the_key() {
    run(async || {
        let server = Server::start(&[]);
        let client = client([&server]);
        let header = client.put(Put::new("/k", "1")).await.unwrap();
        for (condition, holds) in [
            (Condition::absent("/k"), false),
            (Condition::absent("/other"), true),
            (Condition::unchanged("/k", header.revision), true),
            (Condition::unchanged("/k", header.revision - 1), false),
            (Condition::value("/k", "1"), true),
            (Condition::value("/k", "2"), false),
        ] {
            let txn = Txn::new().when(condition.clone()).when(Condition::value("/k", "1"));
            assert_eq!(client.txn(txn).await.unwrap().succeeded, holds, "{condition:?}");
        }
        let txn =
            Txn::new().then(Operation::Delete(Span::key("/k"))).then(Operation::Put(Put::new("/l", "")));
        let outcome = client.txn(txn).await.unwrap();
        assert!(matches!(outcome.answers[..], [Answer::Delete(1), Answer::Put]), "{outcome:?}");
        assert_eq!(outcome.header.revision, header.revision + 1);
    });
}

#[test]
fn a_list_is_of_one_revision_however_many_pages_it_has() {
    run(async || {
        let server = Server::start(&[]);
        let client = client([&server]);
        for hundred in 0..50 {
            let puts = (0..100).map(|n| Put::new(format!("/n/{:04}", hundred * 100 + n), "before"));
            let txn = puts.fold(Txn::new(), |txn, put| txn.then(Operation::Put(put)));
            client.txn(txn).await.unwrap();
        }
        let span = Span::prefix("/n/");
        let mut found = client.range(&Range::new(span.clone()).limit(700)).await.unwrap();
        let revision = found.header.revision;
        assert_eq!((found.more, found.count), (true, 5000));
        let mut kvs = found.kvs;
        while found.more {
            // What changes between two pages is in none of them.
            client.put(Put::new(format!("/n/{:04}x", kvs.len()), "after")).await.unwrap();
            client.delete(&Span::key(format!("/n/{:04}", kvs.len() + 10))).await.unwrap();
            let range = Range::new(span.clone()).limit(700).revision(revision);
            found = client.range(&range.after(&kvs.last().unwrap().key)).await.unwrap();
            kvs.append(&mut found.kvs);
        }
        let keys: Vec<String> = kvs.iter().map(|kv| String::from_utf8(kv.key.clone()).unwrap()).collect();
        assert_eq!(keys, (0..5000).map(|n| format!("/n/{n:04}")).collect::<Vec<_>>());
        assert!(kvs.iter().all(|kv| kv.value == b"before"));
        let whole = client.list(&span).await.unwrap();
        assert_eq!((whole.kvs.len(), whole.count, whole.more), (5000, 5000, false));
        assert!(whole.kvs.is_sorted_by(|one, next| one.key < next.key));
    });
}

#[test]
fn a_list_of_large_values_takes_smaller_pages() {
    run(async || {
        let server = Server::start(&[]);
        let client = client([&server]);
        for number in 10..50 {
            client.put(Put::new(format!("/large/{number}"), vec![number; 1 << 20])).await.unwrap();
        }
        let whole = client.list(&Span::prefix("/large/")).await.unwrap();
        let first: Vec<u8> = whole.kvs.iter().map(|kv| kv.value[0]).collect();
        assert_eq!(first, (10..50).collect::<Vec<u8>>());
        let error = client.range(&Range::new(Span::prefix("/large/"))).await.unwrap_err();
        assert!(matches!(error.kind, Kind::AnswerTooLarge(_)), "{error}");
    });
}

#[test]
fn refusals_say_what_to_do() {
    run(async || {
        let server = Server::start(&["--quota-backend-bytes", "4194304"]);
        let client = client([&server]);
        let error = client.put(Put::new("/large", vec![0; 2 << 20])).await.unwrap_err();
        let wanted =
            format!("etcd: put /large: {}: the request is larger than the server takes", server.url());
        assert!(error.to_string().starts_with(&wanted), "{error}");

        let revision = client.put(Put::new("/small", "1")).await.unwrap().revision;
        client.put(Put::new("/small", "2")).await.unwrap();
        server.etcdctl(&["compaction", &(revision + 1).to_string()]);
        let error = client.range(&Range::new(Span::key("/small")).revision(revision)).await.unwrap_err();
        assert!(matches!(error.kind, Kind::Compacted { revision: None, .. }), "{error}");

        let full = loop {
            if let Err(error) = client.put(Put::new("/fill", vec![0; 1 << 20])).await {
                break error;
            }
        };
        assert!(
            matches!(full.kind, Kind::NoSpace(_)) && full.to_string().contains("etcdctl alarm disarm"),
            "{full}"
        );
        // It still reads.
        assert!(client.get("/small").await.unwrap().is_some());
    });
}

#[test]
fn a_write_whose_answer_is_lost_is_unknown_and_not_repeated() {
    run(async || {
        let server = Server::start(&[]);
        let relay = Relay::start(&server).await;
        let timing = Timing { call: 2 * (TIMING.ping + TIMING.pong), ..TIMING };
        let client = Client::new(Config { timing, ..Config::new(vec![relay.endpoint()]) }).unwrap();
        client.put(Put::new("/count", "0")).await.unwrap();
        relay.swallow_answers();
        let start = Instant::now();
        let error = within(PATIENCE, client.put(Put::new("/count", "1"))).await.unwrap_err();
        assert!(start.elapsed() < TIMING.ping + TIMING.pong + TIMING.connect, "{:?}", start.elapsed());
        assert!(matches!(error.kind, Kind::Unknown(_)), "{error}");
        assert!(error.to_string().contains("does not answer a ping"), "{error}");
        // It was executed, and only once.
        let fields = server.etcdctl(&["get", "/count", "-w", "fields"]);
        assert!(fields.contains("\"Value\" : \"1\"") && fields.contains("\"Version\" : 2"), "{fields}");
        // A read is tried again, and ends when the time is over.
        let error = within(timing.call + timing.connect, client.get("/count")).await.unwrap_err();
        assert!(matches!(error.kind, Kind::Unreachable(_)), "{error}");
    });
}

#[test]
fn a_write_that_was_never_sent_is_not_unknown() {
    run(async || {
        let mut server = Server::start(&[]);
        let client = client([&server]);
        client.put(Put::new("/count", "0")).await.unwrap();
        server.kill();
        client.get("/count").await.unwrap_err();
        let error = client.put(Put::new("/count", "1")).await.unwrap_err();
        let Error { kind: Kind::Unreachable(failures), .. } = &error else { panic!("{error}") };
        assert_eq!(failures[0].to_string(), format!("{}: connection refused", server.url()));
        server.restart();
        server.await_health();
        client.put(Put::new("/count", "2")).await.unwrap();
        assert_eq!(client.get("/count").await.unwrap().unwrap().version, 2);
    });
}

#[test]
fn a_range_of_keys_is_what_lies_between_its_ends() {
    run(async || {
        let server = Server::start(&[]);
        let client = client([&server]);
        for key in ["/r/a", "/r/b", "/r/c/1", "/r/d", "/r/e"] {
            client.put(Put::new(key, "1")).await.unwrap();
        }
        let span = Span::range("/r/b", "/r/e");
        let found = client.list(&span).await.unwrap();
        let keys: Vec<Vec<u8>> = found.kvs.into_iter().map(|kv| kv.key).collect();
        assert_eq!(keys, [&b"/r/b"[..], b"/r/c/1", b"/r/d"]);
        let mut watch = client.watch(&span, None).await.unwrap();
        for key in ["/r/a", "/r/e", "/r/d"] {
            client.put(Put::new(key, "2")).await.unwrap();
        }
        let Ok(Event::Put(kv)) = within(PATIENCE, watch.next()).await else { panic!() };
        assert_eq!(kv.key, b"/r/d");
        assert_eq!(client.delete(&span).await.unwrap(), 3);
        assert!(client.list(&Span::range("/r/e", "/r/b")).await.unwrap().kvs.is_empty());
    });
}

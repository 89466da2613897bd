//! Leases: kept alive, expired, revoked.

use std::time::{Duration, Instant};

use etcd::{Event, Kind, LeaseId, Put, Span};

use crate::server::{PATIENCE, Server, client, run, within};

#[test]
fn a_lease_lives_as_long_as_it_is_kept_alive() {
    run(async || {
        let server = Server::start(&[]);
        let client = client([&server]);
        let lease = client.grant(Duration::from_secs(1)).await.unwrap();
        let header = client.put(Put::new("/alive/n", "here").lease(lease.id)).await.unwrap();
        assert!(server.etcdctl(&["lease", "list"]).contains(&lease.id.to_string()));
        let mut watch = client.watch(&Span::prefix("/alive/"), Some(header.revision + 1)).await.unwrap();
        let start = Instant::now();
        while start.elapsed() < 2 * lease.ttl {
            assert_eq!(client.keep_alive(lease.id).await.unwrap(), lease.ttl);
            // The watch tells nothing meanwhile.
            let early = tokio::time::timeout(lease.ttl / 3, watch.next()).await;
            assert!(early.is_err(), "{early:?}");
        }
        assert_eq!(client.get("/alive/n").await.unwrap().unwrap().lease, Some(lease.id));
        let Event::Delete { key, .. } = within(PATIENCE, watch.next()).await.unwrap() else { panic!() };
        assert_eq!(key, b"/alive/n");
        let error = client.keep_alive(lease.id).await.unwrap_err();
        assert!(matches!(error.kind, Kind::LeaseGone(_)), "{error}");
        let error = client.put(Put::new("/alive/n", "here").lease(lease.id)).await.unwrap_err();
        assert!(matches!(error.kind, Kind::LeaseGone(_)), "{error}");
    });
}

#[test]
fn a_revoked_lease_takes_its_keys_along() {
    run(async || {
        let server = Server::start(&[]);
        let client = client([&server]);
        let lease = client.grant(Duration::from_mins(1)).await.unwrap();
        assert_eq!(lease.ttl, Duration::from_mins(1));
        for key in ["/1", "/2"] {
            client.put(Put::new(key, "").lease(lease.id)).await.unwrap();
        }
        client.revoke(lease.id).await.unwrap();
        assert_eq!(server.etcdctl(&["get", "--prefix", "/"]), "");
        // Once more is no error, and neither is one that never was.
        client.revoke(lease.id).await.unwrap();
        client.revoke(LeaseId(4711)).await.unwrap();
    });
}

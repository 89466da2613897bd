use super::*;

#[test]
fn a_sign_of_life_ends_with_its_lease_and_comes_back() {
    run(async || {
        let server = Server::start(&[]);
        let engine = engine(&server);
        let ttl = Duration::from_secs(2);
        let mut lease = None;
        engine.keep_alive_for("n1", &mut lease, ttl).await.unwrap();
        let (first, revision) = (lease, engine.nodes().await.unwrap().revision);
        let alive = engine.alive().await.unwrap();
        assert!(humantime::parse_rfc3339(&alive["n1"].since).is_ok(), "{alive:?}");
        // What is renewed is not written again.
        for _ in 0..4 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            engine.keep_alive_for("n1", &mut lease, ttl).await.unwrap();
        }
        assert_eq!((lease, engine.nodes().await.unwrap().revision), (first, revision));
        assert_eq!(engine.alive().await.unwrap(), alive);
        let expired = async {
            while !engine.alive().await.unwrap().is_empty() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        within(expired).await;
        engine.keep_alive_for("n1", &mut lease, ttl).await.unwrap();
        assert_ne!(lease, first);
        // Somebody removes the key, and the lease stays.
        let _ = server.etcdctl(&["del", "/cleat/v1/web/alive/n1"]);
        engine.keep_alive_for("n1", &mut lease, Duration::from_mins(1)).await.unwrap();
        assert_eq!(engine.alive().await.unwrap().len(), 1);
        let _ = server.etcdctl(&["put", "/cleat/v1/web/alive/n2", "nonsense"]);
        let _ = server.etcdctl(&["put", "/cleat/v1/web/alive/n_3", "{}"]);
        let alive = engine.alive().await.unwrap();
        assert_eq!(alive.keys().collect::<Vec<_>>(), ["n1", "n2"]);
    });
}

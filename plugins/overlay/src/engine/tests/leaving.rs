use super::*;

#[test]
fn who_leaves_takes_only_what_is_its_own() {
    run(async || {
        let server = Server::start(&[]);
        let engine = engine(&server);
        engine.create(&network()).await.unwrap();
        for number in [1, 2] {
            engine.claim(&network(), &me(number), &[]).await.unwrap();
            engine.publish(&format!("n{number}"), &record(number)).await.unwrap();
            engine.keep_alive(&format!("n{number}"), &mut None).await.unwrap();
        }
        assert_eq!(keys(&server).len(), 9);
        // A machine that has no part in it.
        engine.leave("n1", &me(3)).await.unwrap();
        assert_eq!(keys(&server).len(), 9);
        engine.leave("n1", &me(1)).await.unwrap();
        assert_eq!(keys(&server).len(), 5);
        assert!(!keys(&server).iter().any(|key| key.ends_with("/n1")));
        engine.leave("n1", &me(1)).await.unwrap();
        engine.delete().await.unwrap();
        assert!(keys(&server).is_empty());
    });
}

#[test]
fn a_node_that_is_removed_while_it_publishes_is_whole_or_gone() {
    run(async || {
        let server = Server::start(&[]);
        let (one, two) = (engine(&server), engine(&server));
        one.create(&network()).await.unwrap();
        let (mut before, mut after) = (0, 0);
        for round in 0..60 {
            let me = me(1);
            let Claimed::Own(blocks) = one.claim(&network(), &me, &[]).await.unwrap() else { panic!() };
            let mine = Record { blocks, incarnation: round, ..record(1) };
            one.publish("n1", &mine).await.unwrap();
            let newer = Record { incarnation: round + 1000, ..mine.clone() };
            let wait = Duration::from_micros(50 * (round % 30));
            let (published, removed) = tokio::join!(one.publish("n1", &newer), async {
                tokio::time::sleep(wait).await;
                two.remove_node("n1").await
            });
            published.unwrap();
            let removed = removed.unwrap();
            assert_eq!(removed.blocks, mine.blocks);
            // The removed record is the new one, or the new one came after; a claim is never left behind.
            let listing = one.nodes().await.unwrap();
            assert!(one.view().await.unwrap().claims.is_empty(), "{listing:?}");
            match listing.nodes.get("n1") {
                None => {
                    assert_eq!(removed.record, Some(newer));
                    after += 1;
                }
                Some(record) => {
                    assert_eq!((record, removed.record), (&newer, Some(mine)));
                    before += 1;
                }
            }
        }
        assert_eq!(before + after, 60);
    });
}

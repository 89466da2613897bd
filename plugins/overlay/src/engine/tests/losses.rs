//! Connections that are cut in the middle of a call, and data that are lost.

use etcd::Kind;

use super::*;

/// Runs a call over connections that are cut after ever more bytes of requests or of answers.
async fn cut(server: &Server, most: usize, mut test: impl AsyncFnMut(usize, Engine)) {
    let requests = (0..most).step_by(61).map(|bytes| (bytes, usize::MAX));
    let answers = (0..most).step_by(31).map(|bytes| (usize::MAX, bytes));
    for (number, (requests, answers)) in requests.chain(answers).enumerate() {
        let url = relay::start(server.host(), requests, answers);
        within(test(number, with_conf(conf(&url)))).await;
    }
}

/// Calls again while a call was not executed. What is unknown the engine finds out by itself.
async fn again<T>(mut call: impl AsyncFnMut() -> Result<T, Error>) -> T {
    loop {
        match call().await {
            Ok(value) => return value,
            Err(Error::Etcd(etcd::Error { kind: Kind::Unreachable(_), .. })) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_lost_answer_of_a_claim_costs_no_second_block() {
    run(async || {
        let server = Server::start(&[]);
        let direct = engine(&server);
        cut(&server, 900, async |number, engine| {
            let me = Claim { node: format!("n{number}"), machine: format!("m{number}") };
            let claimed = again(async || engine.claim(&network(), &me, &[]).await).await;
            let Claimed::Own(blocks) = claimed else { panic!("{number}: {claimed:?}") };
            let claims = direct.view().await.unwrap().claims;
            let own =
                claims.iter().filter(|(_, claim)| claim.value.as_ref() == Ok(&me)).map(|(block, _)| *block);
            assert_eq!(own.collect::<Vec<_>>(), blocks, "{number}");
            direct.leave("none", &me).await.unwrap();
        })
        .await;
    });
}

#[test]
fn lost_answers_of_a_network_and_a_record_are_read_back() {
    run(async || {
        let server = Server::start(&[]);
        let version = |key: &str| {
            let found = server.etcdctl(&["get", "-w", "json", &format!("/cleat/v1/web/{key}")]);
            let found: serde_json::Value = serde_json::from_str(&found).unwrap();
            found["kvs"][0]["version"].as_u64().unwrap()
        };
        cut(&server, 1400, async |number, engine| {
            assert!(again(async || engine.create(&network()).await).await, "{number}");
            let published = again(async || engine.publish("n1", &record(1)).await).await;
            assert_eq!(published, Published::Put, "{number}");
            assert_eq!((version("config"), version("nodes/n1")), (1, 1), "{number}");
            again(async || engine.delete().await).await;
            assert!(keys(&server).is_empty(), "{number}");
        })
        .await;
    });
}

#[test]
fn lost_answers_of_removals_are_read_back() {
    run(async || {
        let server = Server::start(&[]);
        let direct = engine(&server);
        direct.create(&network()).await.unwrap();
        cut(&server, 1400, async |number, engine| {
            for name in [1, 2] {
                direct.claim(&network(), &me(name), &[]).await.unwrap();
                direct.publish(&format!("n{name}"), &record(name)).await.unwrap();
            }
            again(async || engine.leave("n1", &me(1)).await).await;
            let removed = again(async || engine.remove_node("n2").await).await;
            assert_eq!((removed.record, removed.blocks.len()), (Some(record(2)), 2), "{number}");
            assert_eq!(keys(&server), ["config"], "{number}");
        })
        .await;
    });
}

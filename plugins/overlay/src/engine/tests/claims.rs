use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;

use super::*;

fn own(claimed: Claimed) -> Vec<IpNetwork> {
    match claimed {
        Claimed::Own(blocks) => blocks,
        other => panic!("{other:?}"),
    }
}

/// How many transactions the server has had, as its own metrics say.
fn transactions(server: &Server) -> u32 {
    let mut stream = TcpStream::connect((server.host(), 2379)).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let is_it =
        |line: &&str| line.starts_with("grpc_server_handled_total{grpc_code=\"OK\",grpc_method=\"Txn\"");
    let line = text.lines().find(is_it).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn a_claim_is_kept_and_found_again_without_state() {
    run(async || {
        let server = Server::start(&[]);
        let engine = engine(&server);
        let network = network();
        let blocks = own(engine.claim(&network, &me(1), &[]).await.unwrap());
        assert_eq!(blocks.len(), 2);
        for (block, prefix) in blocks.iter().zip(&network.prefixes) {
            assert_eq!(network.prefix_of(*block), Some(*prefix));
        }
        let before = keys(&server);
        assert_eq!(before.len(), 2);
        assert_eq!(own(engine.claim(&network, &me(1), &blocks).await.unwrap()), blocks);
        assert_eq!(own(engine.claim(&network, &me(1), &[]).await.unwrap()), blocks);
        assert_eq!(keys(&server), before);
        // The data are lost: the block is the node's all the same.
        let _ = server.etcdctl(&["del", "--prefix", "/cleat/"]);
        assert_eq!(own(engine.claim(&network, &me(1), &blocks).await.unwrap()), blocks);
        assert_eq!(keys(&server), before);
        // Another machine of the same name gets others.
        let other = Claim { machine: "other".to_owned(), ..me(1) };
        assert_ne!(own(engine.claim(&network, &other, &[]).await.unwrap()), blocks);
    });
}

#[test]
fn a_block_that_is_anothers_is_a_conflict_and_nothing_changes() {
    run(async || {
        let server = Server::start(&[]);
        let engine = engine(&server);
        let blocks = own(engine.claim(&network(), &me(1), &[]).await.unwrap());
        let before = keys(&server);
        // The first of the two is free, and is not taken either.
        let earlier = [net("10.201.0.0/24"), blocks[1]];
        let earlier = if blocks[0] == earlier[0] { [net("10.201.1.0/24"), blocks[1]] } else { earlier };
        let wanted = Claimed::Conflict { block: blocks[1], holder: me(1) };
        assert_eq!(engine.claim(&network(), &me(2), &earlier).await.unwrap(), wanted);
        assert_eq!(keys(&server), before);
    });
}

#[test]
fn two_claimants_of_one_block_do_not_both_get_it() {
    run(async || {
        let server = Server::start(&[]);
        let earlier = [net("10.201.7.0/24"), net("fd00:201:0:7::/64")];
        for _ in 0..20 {
            let network = network();
            let (one, two) = (engine(&server), engine(&server));
            let (first, second) = (me(1), me(2));
            let (one, two) =
                tokio::join!(one.claim(&network, &first, &earlier), two.claim(&network, &second, &earlier));
            let results = [one.unwrap(), two.unwrap()];
            let owners = results.iter().filter(|claimed| matches!(claimed, Claimed::Own(_))).count();
            let losers = results.iter().filter(|claimed| matches!(claimed, Claimed::Conflict { .. })).count();
            assert_eq!((owners, losers), (1, 1), "{results:?}");
            let _ = server.etcdctl(&["del", "--prefix", "/cleat/"]);
        }
    });
}

#[test]
fn a_hundred_claimants_at_once_get_different_blocks_of_a_small_prefix() {
    run(async || {
        let server = Server::start(&[]);
        let network = Network { prefixes: vec![net("10.201.0.0/17")], block_lengths: vec![24], ..network() };
        let tasks: Vec<_> = (0..100)
            .map(|number| {
                let (engine, network) = (engine(&server), network.clone());
                tokio::spawn(async move { engine.claim(&network, &me(number), &[]).await })
            })
            .collect();
        let mut blocks = BTreeSet::new();
        for task in tasks {
            blocks.extend(own(within(task).await.unwrap().unwrap()));
        }
        assert_eq!(blocks.len(), 100);
        assert_eq!(keys(&server).len(), 100);
        // With a choice of the free blocks nodes seldom meet, even where but a few are left.
        let tries = transactions(&server);
        assert!((100..=200).contains(&tries), "{tries}");
    });
}

#[test]
fn a_full_prefix_is_told_with_the_cure() {
    run(async || {
        let server = Server::start(&[]);
        let engine = engine(&server);
        let network = Network {
            prefixes: vec![net("fd00:201::/48"), net("10.201.0.0/22")],
            block_lengths: vec![64, 24],
            ..network()
        };
        for number in 0..4 {
            own(engine.claim(&network, &me(number), &[]).await.unwrap());
        }
        let before = keys(&server);
        let prefix = network.prefixes[1];
        assert_eq!(engine.claim(&network, &me(9), &[]).await.unwrap(), Claimed::Full { prefix });
        // No half of a claim is left of it.
        assert_eq!(keys(&server), before);
        let text = claim::full(&network, prefix);
        assert!(text.contains("10.201.0.0/22 has 4 of /24"), "{text}");
        assert!(text.contains("`cleat node ls`") && text.contains("`cleat node rm`"), "{text}");
        // Who has a block keeps it.
        own(engine.claim(&network, &me(2), &[]).await.unwrap());
        engine.leave("n3", &me(3)).await.unwrap();
        own(engine.claim(&network, &me(9), &[]).await.unwrap());
    });
}

#[test]
fn a_claim_that_cannot_be_read_is_still_a_claim() {
    run(async || {
        let server = Server::start(&[]);
        let engine = engine(&server);
        let network = Network { prefixes: vec![net("10.201.0.0/23")], block_lengths: vec![24], ..network() };
        let key = "/cleat/v1/web/blocks/10.201.0.0-24";
        let _ = server.etcdctl(&["put", key, "nonsense"]);
        let blocks = own(engine.claim(&network, &me(1), &[]).await.unwrap());
        assert_eq!(blocks, [net("10.201.1.0/24")]);
        let error = engine.claim(&network, &me(2), &[net("10.201.0.0/24")]).await.unwrap_err();
        assert!(error.to_string().contains(&format!("etcdctl del {key}")), "{error}");
        let wrong = Claim { node: "a/b".to_owned(), ..me(3) };
        assert!(matches!(engine.claim(&network, &wrong, &[]).await, Err(Error::Bad(_))));
    });
}

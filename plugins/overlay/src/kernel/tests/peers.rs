use std::time::Instant;

use super::*;
use crate::kernel::Error;

#[test]
fn a_peer_comes_changes_and_goes() {
    on_a_node(async |kernel| {
        let mut all = wanted(2);
        apply(kernel, &all).await;
        let before = state("vx1");
        kernel.put_peer(&all.device, &peer(9), None).await.unwrap();
        // Once more is no error.
        kernel.put_peer(&all.device, &peer(9), None).await.unwrap();
        all.peers.insert("node00009".to_owned(), peer(9));
        is_settled(kernel, &all).await;
        let mut changed = peer(9);
        (changed.address, changed.blocks) = ([198, 51, 100, 90].into(), blocks(90));
        changed.identity = Identity::Mac(mac(90));
        kernel.put_peer(&all.device, &changed, Some(&peer(9))).await.unwrap();
        all.peers.insert("node00009".to_owned(), changed.clone());
        is_settled(kernel, &all).await;
        for _ in 0..2 {
            kernel.remove_peer(&all.device, &changed).await.unwrap();
            assert_eq!(state("vx1"), before);
        }
        shell("ip link del vx1");
        kernel.remove_peer(&all.device, &changed).await.unwrap();
        assert!(kernel.put_peer(&all.device, &peer(9), None).await.is_err());
    });
}

#[test]
fn a_block_that_became_another_peers_stays_with_it() {
    on_a_node(async |kernel| {
        let mut all = wanted(2);
        apply(kernel, &all).await;
        let (mut loser, mut winner) = (peer(2), peer(3));
        loser.blocks.clear();
        winner.blocks.extend(blocks(2));
        kernel.put_peer(&all.device, &winner, Some(&peer(3))).await.unwrap();
        kernel.put_peer(&all.device, &loser, Some(&peer(2))).await.unwrap();
        all.peers.insert("node00002".to_owned(), loser);
        all.peers.insert("node00003".to_owned(), winner);
        is_settled(kernel, &all).await;
        kernel.remove_peer(&all.device, &peer(2)).await.unwrap();
        all.peers.remove("node00002");
        is_settled(kernel, &all).await;
    });
}

#[test]
fn of_two_peers_with_one_block_the_first_by_name_gets_it() {
    on_a_node(async |kernel| {
        let mut all = wanted(2);
        let (mut same_block, mut same_mac) = (peer(7), peer(8));
        same_block.blocks = vec!["10.128.3.128/25".parse().unwrap()];
        same_mac.identity = Identity::Mac(mac(2));
        all.peers.insert("z-block".to_owned(), same_block);
        all.peers.insert("z-mac".to_owned(), same_mac);
        let applied = kernel.apply(&all).await.unwrap();
        let said: Vec<String> =
            applied.refused.iter().map(|(name, error)| format!("{name}: {error}")).collect();
        assert_eq!(
            said,
            [
                "z-block: block 10.128.3.128/25 meets 10.128.3.0/24 of node00003",
                "z-mac: MAC address 02:00:00:00:00:02 is that of node00002"
            ]
        );
        assert_eq!(
            shown(&all),
            BTreeMap::from([("fdb", 2), ("neigh", 2), ("neigh6", 2), ("routes", 2), ("routes6", 2)])
        );
        let applied = kernel.apply(&all).await.unwrap();
        assert_eq!((applied.made, applied.removed, applied.refused.len()), (0, 0, 2));
    });
}

#[test]
fn a_peer_that_would_lead_packets_astray_is_refused() {
    on_a_node(async |kernel| {
        let mut all = wanted(1);
        apply(kernel, &all).await;
        let with = |change: fn(&mut Peer)| {
            let mut peer = peer(9);
            change(&mut peer);
            peer
        };
        for peer in [
            with(|peer| peer.blocks = vec!["0.0.0.0/0".parse().unwrap()]),
            with(|peer| peer.blocks = vec!["192.0.2.0/24".parse().unwrap()]),
            with(|peer| peer.blocks = blocks(1)),
            with(|peer| peer.identity = Identity::Mac(mac(1))),
            with(|peer| peer.identity = Identity::Mac(Mac([1, 0, 0, 0, 0, 1]))),
            with(|peer| peer.identity = Identity::Mac(Mac([0; 6]))),
            with(|peer| peer.identity = Identity::Key(crate::key::PublicKey([7; 32]))),
            with(|peer| peer.address = [198, 51, 100, 1].into()),
            with(|peer| peer.address = [239, 0, 0, 1].into()),
            with(|peer| peer.address = [127, 0, 0, 1].into()),
            with(|peer| peer.address = "2001:db8::9".parse().unwrap()),
        ] {
            let error = kernel.put_peer(&all.device, &peer, None).await.unwrap_err();
            assert!(!matches!(error, Error::Refused { .. }), "{error}");
            all.peers.insert("nodex".to_owned(), peer);
            let applied = kernel.apply(&all).await.unwrap();
            assert_eq!((applied.made, applied.removed, applied.refused.len()), (0, 0, 1));
        }
    });
}

#[test]
fn a_thousand_peers() {
    on_a_node(async |kernel| {
        let all = wanted(1000);
        let start = Instant::now();
        apply(kernel, &all).await;
        let first = start.elapsed();
        assert_eq!(
            shown(&all),
            BTreeMap::from([
                ("fdb", 1000),
                ("neigh", 1000),
                ("neigh6", 1000),
                ("routes", 1000),
                ("routes6", 1000)
            ])
        );
        let start = Instant::now();
        is_settled(kernel, &all).await;
        eprintln!("1000 peers of both families: {first:?}, again {:?}", start.elapsed());
        shell("ip link set vx1 down");
        let start = Instant::now();
        apply(kernel, &all).await;
        eprintln!("after down: {:?}", start.elapsed());
        let mut none = all.clone();
        none.peers.clear();
        let start = Instant::now();
        apply(kernel, &none).await;
        eprintln!("none: {:?}", start.elapsed());
        assert!(first < Duration::from_secs(2), "{first:?}");
        assert_eq!(shown(&all).values().sum::<usize>(), 0);
        is_settled(kernel, &none).await;
    });
}

//! Data that are not those that were seen: wiped, or restored from a snapshot.

use etcd::{Change, Mirror};

use crate::server::{Server, changes, client, mirror, run, short, shorts};

fn is_listed(change: &Change) -> bool {
    matches!(change, Change::Listed(_))
}

/// The changes after a reset, and the reset.
async fn after_reset(mirror: &mut Mirror) -> (etcd::Reset, Vec<String>) {
    let before = changes(mirror, |change| matches!(change, Change::Reset(_))).await;
    // Nothing of the new data is told before the reset.
    assert!(before.iter().all(|change| matches!(short(change).as_str(), "lost" | "reset")), "{before:?}");
    let Some(Change::Reset(reset)) = before.last() else { panic!("{before:?}") };
    (*reset, shorts(&changes(mirror, is_listed).await))
}

#[test]
fn wiped_data_are_told_as_a_reset() {
    run(async || {
        let mut server = Server::start(&[]);
        for (key, value) in [("/n/1", "old"), ("/n/2", "old"), ("/n/3", "old")] {
            server.etcdctl(&["put", key, value]);
        }
        let mut mirror = mirror(&client([&server])).await;
        server.kill();
        server.wipe();
        server.restart();
        server.await_health();
        // At the revision of the key that was seen, and with another value.
        server.etcdctl(&["put", "/n/1", "new"]);
        let (reset, told) = after_reset(&mut mirror).await;
        // The ID is made of addresses and a token, so it is the same.
        assert!(!reset.is_other_cluster(), "{reset:?}");
        assert_eq!((reset.before.revision, reset.now.revision), (6, 2));
        assert_eq!(told, ["put /n/1=new", "missing /n/2", "missing /n/3", "listed"]);
        server.etcdctl(&["put", "/n/4", "new"]);
        let told = changes(&mut mirror, |change| short(change) == "put /n/4=new").await;
        assert_eq!(shorts(&told), ["resumed", "put /n/4=new"]);
    });
}

#[test]
fn a_restored_snapshot_is_told_as_a_reset() {
    run(async || {
        let mut server = Server::start(&[]);
        server.etcdctl(&["put", "/n/1", "one"]);
        server.etcdctl(&["snapshot", "save", "/run/snapshot"]);
        server.etcdctl(&["put", "/n/2", "two"]);
        let mut mirror = mirror(&client([&server])).await;
        server.kill();
        server.wipe();
        let peer = format!("http://{}:2380", server.host());
        let folder = server.folder().display().to_string();
        server.etcdctl(&[
            "snapshot",
            "restore",
            "/run/snapshot",
            "--name",
            server.host(),
            "--data-dir",
            &folder,
            "--initial-cluster",
            &format!("{}={peer}", server.host()),
            "--initial-advertise-peer-urls",
            &peer,
        ]);
        server.restart();
        server.await_health();
        let (reset, told) = after_reset(&mut mirror).await;
        assert_eq!((reset.before.revision, reset.now.revision), (5, 2));
        assert_eq!(told, ["put /n/1=one", "missing /n/2", "listed"]);
    });
}

/// A store that has grown beyond the revision that was seen is known by its term, which elections increase.
#[test]
fn wiped_data_are_told_even_if_there_are_more_of_them() {
    run(async || {
        let mut server = Server::start(&[]);
        server.etcdctl(&["put", "/n/1", "old"]);
        // Each start is an election.
        server.kill();
        server.restart();
        server.await_health();
        let mut mirror = mirror(&client([&server])).await;
        server.kill();
        server.wipe();
        server.restart();
        server.await_health();
        for value in ["1", "2", "3", "4", "5", "6"] {
            server.etcdctl(&["put", "/n/2", value]);
        }
        let (reset, told) = after_reset(&mut mirror).await;
        assert!(
            reset.now.revision > reset.before.revision && reset.now.term < reset.before.term,
            "{reset:?}"
        );
        assert_eq!(told, ["put /n/2=6", "missing /n/1", "listed"]);
    });
}

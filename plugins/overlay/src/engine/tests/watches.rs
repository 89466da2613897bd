use super::*;

/// The changes up to one that is sought, which is the last.
async fn changes(watch: &mut Watch, last: impl Fn(&Change) -> bool) -> Vec<Change> {
    let mut changes = Vec::new();
    loop {
        let next = tokio::time::timeout(PATIENCE, watch.next()).await;
        changes.push(next.unwrap_or_else(|_| panic!("not within {PATIENCE:?}; until now {changes:#?}")));
        if last(changes.last().unwrap()) {
            return changes;
        }
    }
}

fn is_listed(change: &Change) -> bool {
    matches!(change, Change::Listed { .. })
}

fn node(number: u8, record: &Record) -> Change {
    Change::Node { name: format!("n{number}"), record: Ok(record.clone()) }
}

fn put(server: &Server, key: &str, value: &impl serde::Serialize) {
    let value = serde_json::to_string(value).unwrap();
    let _ = server.etcdctl(&["put", &format!("/cleat/v1/web/{key}"), &value]);
}

async fn ready(server: &Server) -> Engine {
    let engine = engine(server);
    engine.create(&network()).await.unwrap();
    engine.publish("n1", &record(1)).await.unwrap();
    put(server, "blocks/10.201.1.0-24", &me(1));
    engine
}

#[test]
fn a_watch_tells_records_and_their_changes() {
    run(async || {
        let server = Server::start(&[]);
        let engine = ready(&server).await;
        let mut watch = engine.watch();
        let claim = |claim| Change::Claim { block: net("10.201.1.0/24"), claim };
        let list = changes(&mut watch, is_listed).await;
        assert_eq!(list[..3], [claim(Some(me(1))), Change::Config(Some(network())), node(1, &record(1))]);
        assert_eq!(list.len(), 4);

        // Signs of life and keys of later versions are not told.
        engine.keep_alive("n1", &mut None).await.unwrap();
        put(&server, "members/n1/c:eth0", &"{}");
        put(&server, "nodes/n2", &record(2));
        assert_eq!(changes(&mut watch, |_| true).await, [node(2, &record(2))]);
        put(&server, "nodes/n2", &serde_json::json!({}));
        let told = watch.next().await;
        assert!(matches!(&told, Change::Node { name, record: Err(_) } if name == "n2"), "{told:?}");
        put(&server, "nodes/N_2", &serde_json::json!({}));
        assert!(matches!(watch.next().await, Change::Unreadable { .. }));
        for (key, wanted) in [
            ("nodes/n2", Change::NodeDeleted("n2".to_owned())),
            ("blocks/10.201.1.0-24", claim(None)),
            ("config", Change::Config(None)),
        ] {
            let _ = server.etcdctl(&["del", &format!("/cleat/v1/web/{key}")]);
            assert_eq!(within(watch.next()).await, wanted);
        }
        // A record that comes before the configuration is told again after it.
        put(&server, "nodes/n3", &record(3));
        assert!(matches!(watch.next().await, Change::Node { record: Err(_), .. }));
        let other = Network { id: "00000000-0000-4000-8000-000000000000".to_owned(), ..network() };
        put(&server, "config", &other);
        let told = [within(watch.next()).await, within(watch.next()).await];
        assert_eq!(told, [Change::Config(Some(other)), node(3, &record(3))]);
    });
}

#[test]
fn a_compaction_while_a_watch_sleeps_is_a_list() {
    run(async || {
        let mut server = Server::start(&[]);
        let engine = ready(&server).await;
        put(&server, "nodes/n2", &record(2));
        let mut watch = engine.watch();
        changes(&mut watch, is_listed).await;
        server.kill();
        server.restart();
        server.await_health();
        put(&server, "nodes/n3", &record(3));
        let _ = server.etcdctl(&["del", "/cleat/v1/web/nodes/n2"]);
        let revision = engine.nodes().await.unwrap().revision.to_string();
        let _ = server.etcdctl(&["compaction", &revision]);
        let told = changes(&mut watch, is_listed).await;
        assert!(told.contains(&node(3, &record(3))), "{told:?}");
        // It is missing, which is less than deleted.
        assert!(told.contains(&Change::NodeMissing("n2".to_owned())), "{told:?}");
        assert!(!told.contains(&Change::Reset), "{told:?}");
    });
}

#[test]
fn wiped_data_are_told_as_other_data() {
    run(async || {
        let mut server = Server::start(&[]);
        let engine = ready(&server).await;
        let mut watch = engine.watch();
        changes(&mut watch, is_listed).await;
        server.kill();
        server.wipe();
        server.restart();
        server.await_health();
        let told = changes(&mut watch, is_listed).await;
        let reset = told.iter().position(|change| *change == Change::Reset).unwrap();
        let gone = |change: &Change| *change == Change::NodeMissing("n1".to_owned());
        assert!(told.iter().position(gone).unwrap() > reset, "{told:?}");
        assert!(told.contains(&Change::Config(None)), "{told:?}");
        assert!(!told.iter().any(|change| matches!(change, Change::NodeDeleted(_))), "{told:?}");
        // The nodes put it back.
        assert!(engine.create(&network()).await.unwrap());
        engine.publish("n1", &record(1)).await.unwrap();
        let told = changes(&mut watch, |change| *change == node(1, &record(1))).await;
        assert!(told.contains(&Change::Config(Some(network()))), "{told:?}");
    });
}

#[test]
fn a_restored_snapshot_is_told_as_other_data() {
    run(async || {
        let mut server = Server::start(&[]);
        let engine = ready(&server).await;
        let _ = server.etcdctl(&["snapshot", "save", "/run/snapshot"]);
        put(&server, "nodes/n2", &record(2));
        let mut watch = engine.watch();
        changes(&mut watch, is_listed).await;
        server.kill();
        server.wipe();
        let (folder, host) = (server.folder().display().to_string(), server.host().to_owned());
        let (peer, member) = (format!("http://{host}:2380"), format!("{host}=http://{host}:2380"));
        let _ = server.etcdctl(&[
            "snapshot",
            "restore",
            "/run/snapshot",
            "--data-dir",
            &folder,
            "--name",
            &host,
            "--initial-cluster",
            &member,
            "--initial-advertise-peer-urls",
            &peer,
        ]);
        server.restart();
        server.await_health();
        let told = changes(&mut watch, is_listed).await;
        assert!(told.contains(&Change::Reset), "{told:?}");
        assert!(told.contains(&node(1, &record(1))), "{told:?}");
        assert!(told.contains(&Change::NodeMissing("n2".to_owned())), "{told:?}");
    });
}

/// The network is made anew while nobody watches, and the store has grown: a look at the revisions shows nothing.
#[test]
fn another_network_after_a_break_is_told_before_the_watch_goes_on() {
    run(async || {
        let mut server = Server::start(&[]);
        let engine = ready(&server).await;
        let mut watch = engine.watch();
        changes(&mut watch, is_listed).await;
        server.kill();
        changes(&mut watch, |change| matches!(change, Change::Lost(_))).await;
        server.restart();
        server.await_health();
        let other = Network { id: "00000000-0000-4000-8000-000000000000".to_owned(), ..network() };
        put(&server, "config", &other);
        let told = changes(&mut watch, |change| *change == Change::Resumed).await;
        assert!(told.contains(&Change::Config(Some(other))), "{told:?}");
    });
}

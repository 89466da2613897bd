use super::*;

async fn ready(server: &Server) -> Engine {
    let engine = engine(server);
    assert!(engine.create(&network()).await.unwrap());
    engine
}

#[test]
fn a_record_is_written_when_it_differs() {
    run(async || {
        let server = Server::start(&[]);
        let engine = engine(&server);
        let error = engine.publish("n1", &record(1)).await.unwrap_err();
        assert_eq!(error, Error::NoNetwork("web".to_owned()));
        assert!(engine.create(&network()).await.unwrap());
        assert!(!engine.create(&Network { vni: 1, ..network() }).await.unwrap());
        assert_eq!(engine.network().await.unwrap(), Some(network()));
        assert_eq!(engine.publish("n1", &record(1)).await.unwrap(), Published::Put);
        assert_eq!(engine.publish("n1", &record(1)).await.unwrap(), Published::Same);
        let changed = Record { incarnation: 2, mtu: 1400, ..record(1) };
        assert_eq!(engine.publish("n1", &changed).await.unwrap(), Published::Put);
        let listing = engine.nodes().await.unwrap();
        assert_eq!(listing.id, Some(network().id));
        assert_eq!(listing.nodes, BTreeMap::from([("n1".to_owned(), changed)]));
        let bad = Record { addresses: Vec::new(), ..record(1) };
        assert!(matches!(engine.publish("n1", &bad).await, Err(Error::Bad(_))));
        assert!(matches!(engine.publish("N 1", &record(1)).await, Err(Error::Bad(_))));
    });
}

#[test]
fn what_only_one_node_can_have_is_refused_to_the_later_one() {
    run(async || {
        let server = Server::start(&[]);
        let engine = ready(&server).await;
        engine.publish("n1", &record(1)).await.unwrap();
        let with_key = |number| Record { key: Some("A".repeat(43) + "="), ..record(number) };
        engine.publish("n3", &with_key(3)).await.unwrap();
        let before = server.etcdctl(&["get", "--prefix", "/"]);
        let refused = async |name: &str, record: &Record| match engine.publish(name, record).await.unwrap() {
            Published::Refused { reason } => reason,
            other => panic!("{other:?}"),
        };
        let machine = me(1).machine;
        assert_eq!(refused("n1", &record(2)).await, Taken::Name { machine });
        let address = Record { addresses: record(1).addresses, ..record(2) };
        let taken = Taken::Address { node: "n1".to_owned(), address: record(1).addresses[0] };
        assert_eq!(refused("n2", &address).await, taken);
        assert!(taken.to_string().contains("cleat node rm n1"), "{taken}");
        let mac = Record { mac: record(1).mac, ..record(2) };
        assert_eq!(refused("n2", &mac).await, Taken::Mac { node: "n1".to_owned() });
        assert_eq!(refused("n2", &with_key(2)).await, Taken::Key { node: "n3".to_owned() });
        assert_eq!(server.etcdctl(&["get", "--prefix", "/"]), before);

        // Somebody who does not look wrote the same: the first one goes on, and the second gives way.
        let twin = serde_json::to_string(&address).unwrap();
        let _ = server.etcdctl(&["put", "/cleat/v1/web/nodes/n2", &twin]);
        let newer = Record { incarnation: 2, ..record(1) };
        assert_eq!(engine.publish("n1", &newer).await.unwrap(), Published::Put);
        let newer = Record { incarnation: 2, ..address };
        assert_eq!(refused("n2", &newer).await, taken);
    });
}

#[test]
fn unreadable_records_are_told_and_end_nothing() {
    run(async || {
        let server = Server::start(&[]);
        let engine = ready(&server).await;
        engine.publish("n1", &record(1)).await.unwrap();
        let loopback = Record { addresses: vec!["127.0.0.1".parse().unwrap()], ..record(3) };
        let later = serde_json::json!({"colour": "red"});
        let mut known = serde_json::to_value(record(4)).unwrap();
        known["colour"] = "red".into();
        for (key, value) in [
            ("nodes/n2", "{".to_owned()),
            ("nodes/n3", serde_json::to_string(&loopback).unwrap()),
            ("nodes/n4", known.to_string()),
            ("nodes/n5", "x".repeat(100_000)),
            ("nodes/Not_A_Name", "{}".to_owned()),
            ("blocks/10.201.9.0-24", "[]".to_owned()),
            ("blocks/10.201.9.1-24", "{}".to_owned()),
            ("members/n1/web:eth0", later.to_string()),
            ("later/n1", later.to_string()),
        ] {
            let _ = server.etcdctl(&["put", &format!("/cleat/v1/web/{key}"), &value]);
        }
        let listing = engine.nodes().await.unwrap();
        // A key of a later version does not matter.
        assert_eq!(listing.nodes.keys().collect::<Vec<_>>(), ["n1", "n4"]);
        let mut told: Vec<_> =
            listing.unreadable.iter().map(|(key, _)| key.trim_start_matches("/cleat/v1/web/")).collect();
        told.sort_unstable();
        let wanted = [
            "blocks/10.201.9.0-24",
            "blocks/10.201.9.1-24",
            "nodes/Not_A_Name",
            "nodes/n2",
            "nodes/n3",
            "nodes/n5",
        ];
        assert_eq!(told, wanted);
        let why = &listing.unreadable.iter().find(|(key, _)| key.ends_with("/n3")).unwrap().1;
        assert!(why.contains("nobody can send to 127.0.0.1"), "{why}");

        // The own one is written anew.
        let _ = server.etcdctl(&["put", "/cleat/v1/web/nodes/n1", "{"]);
        assert_eq!(engine.publish("n1", &record(1)).await.unwrap(), Published::Put);

        let damaged = serde_json::json!({"id": network().id, "prefixes": 1}).to_string();
        let _ = server.etcdctl(&["put", "/cleat/v1/web/config", &damaged]);
        assert!(matches!(engine.network().await, Err(Error::Unreadable { .. })));
        let listing = engine.nodes().await.unwrap();
        assert_eq!((listing.id, listing.network), (Some(network().id), None));
    });
}

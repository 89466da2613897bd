use super::super::commands::{self, Wish};
use super::*;

fn wish(text: &str) -> Wish {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_wish_becomes_a_network() {
    let made = wish(r#"{"prefixes": ["10.201.0.0/16", "fd00:201::/48"]}"#).network().unwrap();
    assert_eq!(made.block_lengths, [24, 64]);
    assert_eq!((made.port, made.mtu, made.backend), (4789, 0, Backend::Vxlan));
    let other = wish(r#"{"prefixes": ["10.201.0.0/16"]}"#).network().unwrap();
    assert!(made.vni != other.vni && made.id != other.id);
    let exact =
        r#"{"prefixes": ["10.201.0.0/16"], "blockLengths": [26], "vni": 7, "port": 8472, "mtu": 1400}"#;
    let made = wish(exact).network().unwrap();
    assert_eq!((made.block_lengths, made.vni, made.port, made.mtu), (vec![26], 7, 8472, 1400));
    for bad in [
        r#"{"prefixes": []}"#,
        r#"{"prefixes": ["10.201.0.0/25"]}"#,
        r#"{"prefixes": ["127.0.0.0/16"]}"#,
        r#"{"prefixes": ["10.201.0.0/16"], "vni": 0}"#,
        r#"{"prefixes": ["10.201.0.0/16"], "vni": 16777216}"#,
        r#"{"prefixes": ["10.201.0.0/16"], "blockLengths": []}"#,
    ] {
        assert!(matches!(wish(bad).network(), Err(Error::Bad(_))), "{bad}");
    }
}

#[test]
fn a_network_from_its_begin_to_its_end() {
    run(async || {
        let server = Server::start(&[]);
        let engine = engine(&server);
        let missing = Error::NoNetwork("web".to_owned());
        assert_eq!(commands::show(&engine).await.unwrap_err(), missing);
        assert_eq!(commands::nodes(&engine).await.unwrap_err(), missing);
        assert_eq!(commands::delete(&engine, false).await.unwrap_err(), missing);
        let new = || wish(r#"{"prefixes": ["10.201.0.0/16", "fd00:201::/48"]}"#);
        let made = commands::create(&engine, new()).await.unwrap();
        let error = commands::create(&engine, new()).await.unwrap_err();
        assert_eq!(error, Error::Exists("web".to_owned()));
        assert_eq!(commands::show(&engine).await.unwrap(), made);

        for number in [1, 2] {
            engine.claim(&made, &me(number), &[]).await.unwrap();
            engine.publish(&format!("n{number}"), &record(number)).await.unwrap();
        }
        engine.keep_alive("n1", &mut None).await.unwrap();
        let _ = server.etcdctl(&["put", "/cleat/v1/web/nodes/n3", "{"]);
        let printed = serde_json::to_value(commands::nodes(&engine).await.unwrap()).unwrap();
        assert_eq!(printed["network"]["id"], made.id.as_str());
        assert_eq!(printed["nodes"][0]["name"], "n1");
        assert_eq!(printed["nodes"][0]["alive"], true);
        assert!(printed["nodes"][0]["since"].is_string());
        assert_eq!(printed["nodes"][1]["alive"], false);
        assert!(printed["nodes"][1]["since"].is_null());
        assert_eq!(printed["nodes"][1]["addresses"][0], "192.0.2.2");
        assert_eq!(printed["unreadable"][0]["key"], "/cleat/v1/web/nodes/n3");

        let error = commands::remove_node(&engine, "n1", false).await.unwrap_err();
        assert_eq!(error, Error::Alive("n1".to_owned()));
        let error = commands::remove_node(&engine, "n9", false).await.unwrap_err();
        assert!(error.to_string().contains("there are: n1, n2, n3"), "{error}");
        let error = commands::delete(&engine, false).await.unwrap_err();
        assert!(error.to_string().contains("n1, n2, n3"), "{error}");
        assert_eq!(keys(&server).len(), 9);

        let removed = commands::remove_node(&engine, "n2", false).await.unwrap();
        assert_eq!((removed.record, removed.blocks.len()), (Some(record(2)), 2));
        commands::remove_node(&engine, "n1", true).await.unwrap();
        commands::remove_node(&engine, "n3", false).await.unwrap();
        assert_eq!(keys(&server), ["config"]);
        commands::delete(&engine, false).await.unwrap();
        assert!(keys(&server).is_empty());
        commands::delete(&engine, true).await.unwrap();
    });
}

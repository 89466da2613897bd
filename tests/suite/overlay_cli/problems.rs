//! `check`, `repair`, `status` and `conf check` of a host's part of an overlay network.

use std::fs;

use sandbox::{Host, isolated};
use serde_json::json;

use super::stand_in::{CONF, RUN_FILE, StandIn, call, calls, json_of, ok, refused};
use crate::shared::shell::shell;

const JOIN: &str = "network join --engine etcd://h1 shop";

#[test]
fn check_names_what_is_wrong_with_the_cure_and_repair_asks_the_agent() {
    isolated(|| {
        let _host = Host::new();
        let agent = StandIn::start();
        ok(JOIN);
        ok("check");
        assert_eq!(json_of("check"), json!([]));
        agent.says(
            "engine",
            json!({"up": false, "staleSince": "2026-01-02T00:00:00Z", "error": "connection refused"}),
        );
        agent.says("held", json!(["n2", "n3"]));
        shell("ip link set vx-6f1c1d1e mtu 1400");
        let said =
            refused("check", "the engine is not reached since 2026-01-02T00:00:00Z: connection refused");
        for words in ["are kept: n2, n3 (`cleat node sync --force shop`", "has MTU 1400 and not 1450"] {
            assert!(said.contains(words), "{words}: {said}");
        }
        let rows = json_of("check shop");
        assert_eq!(rows.as_array().unwrap().len(), 3, "{rows}");
        assert_eq!(
            (&rows[0]["network"], &rows[0]["state"], &rows[0]["id"]),
            (&json!("shop"), &json!("broken"), &json!(""))
        );
        calls();
        refused("repair --dry-run", "");
        assert_eq!(calls(), Vec::<String>::new());
        refused("repair", "has MTU 1400");
        assert_eq!(calls(), ["POST /networks/shop/sync HTTP/1.0"]);
        agent.says("engine", json!({"up": true}));
        agent.says("held", json!([]));
        shell("(sleep 0.3; ip link set vx-6f1c1d1e mtu 1450) >/dev/null 2>&1 &");
        let said = ok("repair shop");
        assert!(
            said.contains(
                "network shop: mended: link vx-6f1c1d1e, which leads to the other nodes, has MTU 1400"
            ),
            "{said}"
        );
        assert_eq!(ok("repair"), ok("repair"), "nothing is said where all is well");
    });
}

#[test]
fn an_agent_that_does_not_run_or_takes_no_part_is_told() {
    isolated(|| {
        let _host = Host::new();
        let agent = StandIn::start();
        ok(JOIN);
        agent.says("state", "conflict".into());
        agent.says("reason", "block 10.201.7.0/24 is node n9's".into());
        fs::remove_file(RUN_FILE).unwrap();
        let said = refused("status shop", "cleat-overlay has no block yet");
        assert!(
            said.contains("the agent takes no part: conflict: block 10.201.7.0/24 is node n9's"),
            "{said}"
        );
        refused("check shop", "conflict: block 10.201.7.0/24 is node n9's");
        fs::remove_file("/run/cleat/overlay.sock").unwrap();
        refused("check", "the agent cleat-overlay does not run");
        refused("repair", "`systemctl enable --now cleat-overlay`");
        let (_, said) = call("conf check");
        assert!(!said.contains("has no /etc/cleat"), "{said}");
        fs::remove_file(CONF).unwrap();
        refused("check", "there is no /etc/cleat/overlay/shop.json");
        let found = json_of("conf check");
        assert_eq!(
            found[0]["message"], "overlay network shop has no /etc/cleat/overlay/shop.json",
            "{found}"
        );
        assert_eq!(found[0]["cure"], "`cleat network join shop --engine …` writes it");
        assert_eq!(json_of("conf check --files-only"), json!([]));
    });
}

//! `cleat check`, `repair`, `gc` and `leases` over all networks: damage by others is reported and repaired.

use std::fs;

use sandbox::traffic::ask_tcp;
use sandbox::{Host, Snapshot, UPLINK_V4, isolated};
use serde_json::json;

use crate::shared::cleat::{DUAL, NETWORK, call, install_networks, json_of, ok, states};
use crate::shared::containers::{add, del};
use crate::shared::shell::shell;

/// `cleat-nri` leaves such notes beside a container's files; its own tests show that it does.
#[test]
fn check_tells_what_a_container_could_not_be_given() {
    isolated(|| {
        let _host = Host::new();
        install_networks();
        let before = Snapshot::take();
        let web = add("web", NETWORK, 8080);
        fs::write("/run/cleat/containers/web/notes", "container app of pod web starts without links: late\n")
            .unwrap();
        let told = ok(&["check"]);
        assert!(told.contains("ok") && told.contains("starts without links: late"), "{told}");
        del(NETWORK, web);
        before.assert_unchanged();
    });
}

#[test]
fn a_lost_interface_is_made_anew_under_force_with_the_same_addresses() {
    isolated(|| {
        let host = Host::new();
        install_networks();
        let before = Snapshot::take();
        let web = add("web", DUAL, 8080);
        let addresses = json_of(&["ps"])[0]["addresses"].clone();
        let mac = json_of(&["ps"])[0]["mac"].clone();
        let veth = json_of(&["ps"])[0]["hostInterface"].as_str().unwrap().to_owned();
        shell(&format!("ip link del {veth}"));
        let (code, text) = call(&["repair"]);
        assert!(code == Some(1) && text.contains("--force"), "{text}");
        assert!(ok(&["repair", "--force"]).contains("made anew"));
        assert_eq!(states(&["check"]), ["ok"]);
        let now = json_of(&["ps"]);
        assert_eq!((&now[0]["addresses"], &now[0]["mac"]), (&addresses, &mac));
        assert!(ask_tcp(Some(&host.outside), &format!("{UPLINK_V4}:8080")).is_ok());
        del(DUAL, web);
        before.assert_unchanged();
    });
}

#[test]
fn ports_that_were_chosen_freely_are_kept() {
    isolated(|| {
        let _host = Host::new();
        install_networks();
        let before = Snapshot::take();
        let web = add("web", NETWORK, 0);
        let port = ok(&["port", "web"]);
        shell("ip link del cleat0");
        ok(&["repair"]);
        assert_eq!(ok(&["port", "web"]), port);
        del(NETWORK, web);
        before.assert_unchanged();
    });
}

#[test]
fn gc_of_all_networks_asks_first_and_keeps_the_living() {
    isolated(|| {
        let _host = Host::new();
        install_networks();
        let before = Snapshot::take();
        let (gone, stays) = (add("gone", NETWORK, 8080), add("stays", DUAL, 8081));
        // A lease without a container, as a killed ADD of another program leaves it.
        fs::write("/var/lib/cni/networks/cleat/10.90.7.7", "ghost\r\neth0").unwrap();
        drop(gone);
        assert_eq!(states(&["check"]), ["gone", "ok"]);
        let leases = json_of(&["leases", NETWORK]);
        assert_eq!((&leases[0]["stale"], &leases[0]["free"]), (&json!(2), &json!("65531")));
        assert_eq!(leases[0]["next"], "10.90.0.3");
        let during = Snapshot::take();
        let text = ok(&["gc"]);
        for words in ["10.90.0.2", "lease of 10.90.7.7", "ghost", "nothing was removed: --force"] {
            assert!(text.contains(words), "no {words} in {text}");
        }
        during.assert_unchanged();
        ok(&["gc", "--force"]);
        assert_eq!(json_of(&["gc"]), json!([]));
        assert_eq!(states(&["check"]), ["ok"]);
        assert_eq!(json_of(&["leases", NETWORK])[0]["used"], json!([]));
        assert_eq!(json_of(&["leases", DUAL])[0]["used"][0]["name"], "stays");
        del(DUAL, stays);
        before.assert_unchanged();
    });
}

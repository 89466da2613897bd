//! The folder of the networks' files.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};

use sandbox::isolated;
use serde_json::json;

use crate::agent::{Agent, FOLDER, conf, curl, log, networks, until, write};

#[test]
fn each_way_of_changing_a_file_is_seen() {
    isolated(|| {
        let text = conf(&json!({})).to_string();
        let file = format!("{FOLDER}/shop.json");
        let agent = Agent::start();
        agent.tells("READY=1");
        // By a rename, as `mv` and most editors do.
        write("shop.json", &text, 0o600);
        until("it comes by a rename", || networks() == ["shop"]);
        fs::rename(&file, "/etc/cleat/shop.json").unwrap();
        until("it goes by a rename", || networks().is_empty());
        fs::hard_link("/etc/cleat/shop.json", &file).unwrap();
        until("it comes as a link", || networks() == ["shop"]);
        fs::remove_file(&file).unwrap();
        until("it is removed", || networks().is_empty());
        // In place: at first everybody may read it.
        fs::write(&file, &text).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        let state = || curl(&[], "/networks/shop").1;
        until("its mode is told", || {
            state().contains("chmod 600") && log().contains("(mode 644): chmod 600")
        });
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        until("its mode is right", || state().contains("\"network\":\"shop\"") && !state().contains("chmod"));
        // Another name is another network.
        fs::rename(&file, format!("{FOLDER}/back.json")).unwrap();
        until("it is renamed", || networks() == ["back"]);
    });
}

#[test]
fn a_file_that_is_of_no_use_is_told_once_and_stops_nothing() {
    isolated(|| {
        write("shop.json", &conf(&json!({})).to_string(), 0o600);
        write("odd.json", "{", 0o600);
        let agent = Agent::start();
        agent.tells("READY=1");
        assert_eq!(networks(), ["odd", "shop"]);
        assert_eq!(curl(&[], "/readyz").0, "503");
        write("shop.json", "{\"engine\":", 0o600);
        until("it is told", || log().contains("shop.json") && log().contains("it goes on as it was"));
        // Something else changes: nothing is said again.
        symlink("/etc/passwd", format!("{FOLDER}/link.json")).unwrap();
        write("README", "x", 0o644);
        until("the link is told", || log().contains("symbolic link"));
        for name in ["odd.json", "shop.json", "link.json"] {
            assert_eq!(log().matches(&format!("{FOLDER}/{name}")).count(), 1, "{name}: {}", log());
        }
        let (status, body) = curl(&[], "/networks/shop");
        assert!(status == "200" && !body.contains("EOF"), "{body}");
    });
}

#[test]
fn without_its_folder_it_ends_and_says_why() {
    isolated(|| {
        for gone in [|| fs::remove_dir(FOLDER), || fs::rename(FOLDER, "/etc/cleat/elsewhere")] {
            let mut agent = Agent::start();
            agent.tells("READY=1");
            gone().unwrap();
            assert_eq!(agent.ends().code(), Some(1));
            assert!(log().contains(&format!("{FOLDER}: the folder was removed or renamed")), "{}", log());
        }
    });
}

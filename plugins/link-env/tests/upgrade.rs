//! A node that is upgraded while containers run, with the registry and hosts files of the previous version: its lines had
//! fewer names and shorter slots.
#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where something fails")]

mod place;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use place::Place;
use serde_json::json;

const APP: &str = "d0937f2122730acffe1d92ed7633b888826f46225794cfb66b36e4856153a927";

/// The state that the previous version left: two networks with all names (c2 is on both), and one on which only links make
/// names known. The last line of c1's hosts file is one that the container added.
fn upgraded(conf: serde_json::Value) -> Place {
    let place = Place::new(conf);
    let text = include_str!("state-without-places.json").replace("FOLDER", place.folder().to_str().unwrap());
    let files: BTreeMap<String, String> = serde_json::from_str(&text).unwrap();
    for (name, text) in &files {
        let path = place.state().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    for container in ["c1", "c2", "c3", "c5", "c6", APP] {
        place.shop().prepare(container);
    }
    fs::set_permissions(place.state(), fs::Permissions::from_mode(0o700)).unwrap();
    place
}

fn check_all(place: &Place, except: &str) {
    for (network, container, addresses) in [
        ("front", "c1", &["10.1.0.2/24", "fd00:1::2/64"][..]),
        ("front", "c2", &["10.1.0.3/24"]),
        ("front", APP, &["10.1.0.4/24"]),
        ("back", "c2", &["10.2.0.3/24"]),
        ("back", "c3", &["10.2.0.2/24"]),
    ] {
        let answer = place.on(network).check(container, addresses);
        assert!(answer.ok || container == except, "{answer:?}");
    }
}

const PROXY: [&str; 3] = [
    "10.1.0.2 c1 proxy gate proxy.front gate.front c1.front",
    "fd00:1::2 c1 proxy gate proxy.front gate.front c1.front",
    "192.0.2.50 mine",
];

#[test]
fn check_takes_files_of_the_version_before_and_the_next_add_brings_them_up_to_date() {
    let place = upgraded(json!({}));
    let (front, back) = (place.on("front"), place.on("back"));
    check_all(&place, "");
    front.add("c4", &["10.1.0.5/24"], &json!({"name": "new"}));
    check_all(&place, "");
    front.del("c4");
    check_all(&place, "");
    let others = [
        "10.1.0.3 web.front web www c2 www.front c2.front",
        "10.1.0.4 app.front app d0937f212273 d0937f212273.front",
    ];
    assert_eq!(place.hosts("c1"), [&PROXY[..], &others].concat());
    // The network `back` has not changed since the upgrade: its lines are those of the previous version.
    assert_eq!(
        place.hosts("c2"),
        [
            "192.0.2.9 printer",
            "10.1.0.3 h.example.org h web www web.front c2 www.front c2.front",
            "10.2.0.3 c2 web web.back",
            "10.1.0.2 proxy.front proxy gate c1 gate.front c1.front",
            "fd00:1::2 proxy.front proxy gate c1 gate.front c1.front",
            "10.1.0.4 app.front app d0937f212273 d0937f212273.front",
            "10.2.0.2 db.back db d1 d2 c3",
        ]
    );
    back.del("c3");
    check_all(&place, "c3");
    let hosts = place.hosts("c2");
    assert!(hosts.contains(&"10.2.0.3 c2 web web.back c2.back".to_owned()), "{hosts:?}");
    assert!(!hosts.iter().any(|line| line.contains("db.back")), "{hosts:?}");
}

/// As `cleat repair` does.
#[test]
fn the_same_add_again_brings_files_of_the_version_before_up_to_date() {
    let place = upgraded(json!({}));
    place.on("front").add(APP, &["10.1.0.4/24"], &json!({"name": "app", "links": ["web:w"]}));
    check_all(&place, "");
    let others = [
        "10.1.0.3 web.front web www c2 www.front c2.front",
        "10.1.0.4 app.front app d0937f212273 d0937f212273.front",
    ];
    assert_eq!(place.hosts("c1"), [&PROXY[..], &others].concat());
}

#[test]
fn the_next_del_brings_files_of_the_version_before_up_to_date() {
    let place = upgraded(json!({}));
    place.on("front").del(APP);
    check_all(&place, APP);
    let others = ["10.1.0.3 web.front web www c2 www.front c2.front"];
    assert_eq!(place.hosts("c1"), [&PROXY[..], &others].concat());
}

#[test]
fn links_of_the_version_before_follow_their_source_and_everything_goes() {
    let place = upgraded(json!({"names": "links"}));
    let links = place.on("links");
    assert!(links.check("c6", &["10.3.0.3/24"]).ok);
    links.del("c5");
    assert_eq!(place.hosts("c6"), ["10.3.0.3 c6"]);
    links.add("c5", &["10.3.0.9/24"], &json!({"name": "db"}));
    assert_eq!(place.hosts("c6"), ["10.3.0.9 webdb c5 db", "10.3.0.3 c6"]);
    for container in ["c5", "c6"] {
        links.del(container);
    }
    for container in ["c1", "c2", APP] {
        place.on("front").del(container);
    }
    for container in ["c2", "c3"] {
        place.on("back").del(container);
    }
    place.assert_nothing_is_left();
}

//! Disturbances: concurrent calls, killed processes, files that others have changed.
#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where something fails")]

mod place;

use std::fs;
use std::os::unix::fs::symlink;

use place::Place;
use serde_json::{Value, json};

#[test]
fn containers_that_come_and_go_at_once_all_know_each_other_and_leave_nothing() {
    const CONTAINERS: usize = 24;
    let place = Place::new(json!({}));
    for _ in 0..3 {
        std::thread::scope(|scope| {
            for index in 0..CONTAINERS {
                let place = &place;
                scope.spawn(move || {
                    let address = format!("10.0.0.{}/24", index + 2);
                    place.shop().add(&format!("c{index}"), &[&address], &json!({}));
                });
            }
        });
        for index in 0..CONTAINERS {
            assert_eq!(place.hosts(&format!("c{index}")).len(), CONTAINERS);
        }
        std::thread::scope(|scope| {
            for index in 0..CONTAINERS {
                let place = &place;
                scope.spawn(move || {
                    place.shop().del(&format!("c{index}"));
                    place.shop().del(&format!("c{index}"));
                });
            }
        });
        place.assert_nothing_is_left();
    }
}

#[test]
fn del_without_anything_to_delete_succeeds_and_makes_nothing() {
    let place = Place::new(json!({}));
    place.shop().del("c1");
    place.assert_nothing_is_left();
    // A DEL whose configuration became invalid still deletes.
    place.shop().add("c1", &["10.0.0.2/24"], &json!({}));
    let bad = json!({"endpoint": {"name": "a b"}, "names": 7});
    assert!(place.shop().call("DEL", "c1", &bad).ok);
    place.assert_nothing_is_left();
}

#[test]
fn a_symbolic_link_in_the_place_of_a_hosts_file_is_replaced_and_not_followed() {
    let place = Place::new(json!({}));
    let shop = place.shop();
    shop.add("c1", &["10.0.0.2/24"], &json!({"name": "a"}));
    let victim = place.netns("victim");
    fs::write(&victim, "precious").unwrap();
    let hosts = place.file("c1", "hosts");
    fs::remove_file(&hosts).unwrap();
    symlink(&victim, &hosts).unwrap();
    assert_eq!(shop.check("c1", &["10.0.0.2/24"]).error().0, 5);
    shop.add("c2", &["10.0.0.3/24"], &json!({"name": "b"}));
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    assert!(place.hosts("c1").contains(&"10.0.0.3 b.shop b c2 c2.shop".to_owned()));
    // A container's folder that was removed is made again.
    fs::remove_dir_all(place.file("c1", "")).unwrap();
    shop.del("c2");
    assert_eq!(place.hosts("c1"), ["10.0.0.2 c1 a a.shop c1.shop"]);
    shop.del("c1");
    place.assert_nothing_is_left();
}

#[test]
fn check_names_what_differs() {
    let place = Place::new(json!({}));
    let shop = place.shop();
    let addresses = ["10.0.0.2/24"];
    let (code, message) = {
        shop.prepare("c1");
        shop.check("c1", &addresses).error()
    };
    assert_eq!(code, 101);
    assert!(
        message.contains("container c1 interface eth0 on network shop is not in the registry"),
        "{message}"
    );
    shop.add("c1", &addresses, &json!({}));
    assert!(shop.check("c1", &addresses).ok);
    let message = shop.check("c1", &["10.0.0.9/24"]).error().1;
    assert!(message.contains("{10.0.0.2}, not {10.0.0.9}"), "{message}");
    fs::write(place.file("c1", "hosts"), "127.0.0.1\tbank\n").unwrap();
    let message = shop.check("c1", &addresses).error().1;
    assert!(message.contains("line 1 is \"127.0.0.1\\tbank\""), "{message}");
    shop.add("c1", &addresses, &json!({}));
    fs::remove_file(place.file("c1", "env")).unwrap();
    let message = shop.check("c1", &addresses).error().1;
    assert!(message.contains("env is gone"), "{message}");
}

#[test]
fn gc_keeps_the_valid_attachments_and_without_a_list_all() {
    let place = Place::new(json!({}));
    let shop = place.shop();
    for (index, container) in ["c1", "c2", "c3"].iter().enumerate() {
        shop.add(container, &[&format!("10.0.0.{}/24", index + 2)], &json!({}));
    }
    place.on("other").add("c2", &["10.9.0.2/24"], &json!({}));
    // What an ADD leaves that was killed before it wrote to the registry.
    fs::create_dir(place.file("c9", "")).unwrap();
    fs::write(place.file("c9", "networks"), "shop\n").unwrap();
    let gc = |keys: Value| assert!(shop.call("GC", "", &keys).ok);
    gc(json!({}));
    assert_eq!(place.hosts("c1").len(), 3);
    gc(json!({"cni.dev/valid-attachments": [{"containerID": "c1", "ifname": "eth0"}]}));
    assert_eq!(place.hosts("c1"), ["10.0.0.2 c1 c1.shop"]);
    assert_eq!(place.hosts("c2"), ["10.9.0.2 c2 c2.other"]);
    assert!(!place.file("c3", "").exists() && !place.file("c9", "").exists());
    gc(json!({"cni.dev/valid-attachments": null}));
    place.on("other").del("c2");
    place.assert_nothing_is_left();
}

#[test]
fn an_add_that_fails_half_way_undoes_what_it_did() {
    let place = Place::new(json!({}));
    let shop = place.shop();
    shop.add("c1", &["10.0.0.2/24"], &json!({"name": "a"}));
    let before = fs::read(place.state().join("registry/shop/members/c1:eth0")).unwrap();
    // A folder in the place of the file `env`, which is written last: the ADD fails there.
    fs::create_dir(place.file("c2", "")).unwrap();
    fs::create_dir(place.file("c2", "env")).unwrap();
    let (code, message) = shop.try_add("c2", &["10.0.0.3/24"], &json!({})).error();
    assert_eq!(code, 5);
    assert!(message.contains("write ") && message.contains("c2/env: is a directory"), "{message}");
    assert_eq!(fs::read(place.state().join("registry/shop/members/c1:eth0")).unwrap(), before);
    assert_eq!(place.hosts("c1"), ["10.0.0.2 c1 a a.shop c1.shop"]);
}

#[test]
fn status_tries_the_state_folder_and_leaves_nothing() {
    let place = Place::new(json!({}));
    assert!(place.shop().call("STATUS", "", &json!({})).ok);
    place.assert_nothing_is_left();
    fs::write(place.state(), "no folder").unwrap();
    assert_eq!(place.shop().call("STATUS", "", &json!({})).error().0, 50);
}

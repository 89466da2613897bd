//! Names and links while containers are added and removed, by calls as a runtime makes them.
#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where something fails")]

mod place;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use place::Place;
use serde_json::json;

#[test]
fn a_link_gives_name_and_environment_and_follows_its_source() {
    let place = Place::new(json!({"names": "links"}));
    let shop = place.shop();
    let db = json!({"name": "db", "expose": ["5432/tcp"], "env": {"PG_VERSION": "9.3"}});
    shop.add("db1", &["172.17.0.44/16"], &db);
    shop.add("web1", &["172.17.0.45/16"], &json!({"name": "web", "links": ["db:webdb"]}));
    let env = place.env("web1");
    for (key, value) in [
        ("WEBDB_PORT", "tcp://172.17.0.44:5432"),
        ("WEBDB_PORT_5432_TCP_ADDR", "172.17.0.44"),
        ("WEBDB_NAME", "/web/webdb"),
        ("WEBDB_ENV_PG_VERSION", "9.3"),
    ] {
        assert_eq!(env[key], value);
    }
    assert_eq!(place.hosts("web1"), ["172.17.0.44 webdb db1 db", "172.17.0.45 web1"]);
    // One-way: the source does not know its recipient.
    assert_eq!(place.hosts("db1"), ["172.17.0.44 db1"]);

    // The source restarts as another container with another address. The hosts file keeps its inode, as it is mounted.
    let hosts = place.file("web1", "hosts");
    let inode = fs::metadata(&hosts).unwrap().ino();
    shop.del("db1");
    assert_eq!(place.hosts("web1"), ["172.17.0.45 web1"]);
    shop.add("db2", &["172.17.0.46/16"], &db);
    assert_eq!(place.hosts("web1"), ["172.17.0.46 webdb db2 db", "172.17.0.45 web1"]);
    assert_eq!(fs::metadata(&hosts).unwrap().ino(), inode);
    assert_eq!(place.env("web1"), env);
    assert!(shop.check("web1", &["172.17.0.45/16"]).ok);

    shop.del("db2");
    shop.del("web1");
    place.assert_nothing_is_left();
}

#[test]
fn members_know_each_other_and_those_of_other_networks_stay_unknown() {
    let place = Place::new(json!({}));
    let (front, back) = (place.on("front"), place.on("back"));
    front.add("c1", &["10.1.0.2/24", "fd00:1::2/64"], &json!({"name": "proxy"}));
    front.add("c2", &["10.1.0.3/24"], &json!({"name": "web", "aliases": ["www"]}));
    back.add("c2", &["10.2.0.3/24"], &json!({"name": "web"}));
    back.add("c3", &["10.2.0.2/24"], &json!({"name": "db"}));
    assert_eq!(
        place.hosts("c1"),
        [
            "10.1.0.2 c1 proxy proxy.front c1.front",
            "fd00:1::2 c1 proxy proxy.front c1.front",
            "10.1.0.3 web.front web www c2 www.front c2.front"
        ]
    );
    assert_eq!(place.hosts("c3"), ["10.2.0.2 c3 db db.back c3.back", "10.2.0.3 web.back web c2 c2.back"]);
    let both = place.hosts("c2");
    assert!(both.contains(&"10.1.0.2 proxy.front proxy c1 c1.front".to_owned()), "{both:?}");
    assert!(both.contains(&"10.2.0.2 db.back db c3 c3.back".to_owned()), "{both:?}");
    // A third member appears in the files of running containers, and disappears.
    front.add("c4", &["10.1.0.4/24"], &json!({"name": "cache"}));
    for container in ["c1", "c2"] {
        assert!(place.hosts(container).contains(&"10.1.0.4 cache.front cache c4 c4.front".to_owned()));
    }
    assert!(front.check("c2", &["10.1.0.3/24"]).ok && back.check("c2", &["10.2.0.3/24"]).ok);
    front.del("c4");
    assert!(!place.hosts("c1").iter().any(|line| line.contains("cache")));
    // A container that leaves one of its networks keeps its files and loses the names of that network.
    front.del("c2");
    assert_eq!(place.hosts("c2"), ["10.2.0.3 c2 web web.back c2.back", "10.2.0.2 db.back db c3 c3.back"]);
    back.del("c2");
    assert!(!place.file("c2", "").exists());
    front.del("c1");
    back.del("c3");
    place.assert_nothing_is_left();
}

#[test]
fn links_to_what_does_not_run_are_refused_as_docker_does_and_leave_nothing() {
    let place = Place::new(json!({}));
    let web = json!({"name": "web", "links": ["db:webdb"]});
    let (code, message) = place.shop().try_add("c1", &["10.0.0.2/24"], &web).error();
    assert_eq!(code, 7);
    assert!(message.starts_with("cannot link to a non running container: db AS /web/webdb"), "{message}");
    assert!(message.contains("waitForLinks"), "{message}");
    place.assert_nothing_is_left();

    place.on("other").add("c2", &["10.9.0.2/24"], &json!({"name": "db"}));
    let (_, message) = place.shop().try_add("c1", &["10.0.0.2/24"], &web).error();
    assert!(message.contains("it is on network other"), "{message}");
    let itself = json!({"name": "web", "links": ["web:me"]});
    let (_, message) = place.shop().try_add("c1", &["10.0.0.2/24"], &itself).error();
    assert!(message.contains("cannot link to itself"), "{message}");
    place.on("other").del("c2");
    place.assert_nothing_is_left();
}

#[test]
fn a_link_may_wait_for_its_source() {
    let place = Place::new(json!({"waitForLinks": true}));
    let shop = place.shop();
    shop.add("c1", &["10.0.0.2/24"], &json!({"name": "web", "links": ["db:store"]}));
    assert_eq!(place.env("c1").len(), 0);
    shop.add("c2", &["10.0.0.3/24"], &json!({"name": "db"}));
    assert_eq!(place.hosts("c1")[0], "10.0.0.3 store c2 db");
}

#[test]
fn a_name_is_taken_once_unless_its_container_has_gone() {
    let place = Place::new(json!({}));
    let shop = place.shop();
    let db = json!({"name": "db"});
    shop.add("c1", &["10.0.0.2/24"], &db);
    let (code, message) = shop.try_add("c2", &["10.0.0.3/24"], &db).error();
    assert_eq!(code, 102);
    assert!(message.starts_with("name \"db\" on network shop is in use by container c1"), "{message}");
    assert!(!place.file("c2", "").exists());
    // The same attachment again is no conflict.
    shop.add("c1", &["10.0.0.2/24"], &db);
    // The container ended without a DEL: its missing namespace shows that.
    fs::remove_file(place.netns("c1")).unwrap();
    shop.add("c2", &["10.0.0.3/24"], &db);
    assert!(!place.file("c1", "").exists());
    // An address belongs to one member: the last that got it.
    shop.add("c3", &["10.0.0.3/24"], &json!({"name": "other"}));
    assert_eq!(place.hosts("c3"), ["10.0.0.3 c3 other other.shop c3.shop"]);
    for container in ["c1", "c2", "c3"] {
        shop.del(container);
    }
    place.assert_nothing_is_left();
}

#[test]
fn pods_of_the_same_name_in_two_namespaces_get_along() {
    let place = Place::new(json!({}));
    let pod = |namespace: &str| {
        let args = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME=db-0");
        place.shop().with_args(&args)
    };
    pod("red").add("c1", &["10.0.0.2/24"], &json!({}));
    pod("blue").add("c2", &["10.0.0.3/24"], &json!({}));
    assert_eq!(place.hosts("c1"), ["10.0.0.2 c1 db-0 db-0.red db-0.shop c1.shop"]);
    assert_eq!(place.hosts("c2"), ["10.0.0.3 c2 db-0 db-0.blue db-0.shop c2.shop"]);
    // A link means the pod of its own namespace. A container without a namespace can link to neither.
    pod("blue").with_args("IgnoreUnknown=1;K8S_POD_NAMESPACE=blue;K8S_POD_NAME=web").add(
        "c3",
        &["10.0.0.4/24"],
        &json!({"links": ["db-0:store"]}),
    );
    assert_eq!(place.hosts("c3")[0], "10.0.0.3 store c2 db-0");
    let root = json!({"name": "web", "links": ["db-0:store"]});
    let (_, message) = place.shop().try_add("c4", &["10.0.0.5/24"], &root).error();
    assert!(message.starts_with("cannot link to a non running container: db-0"), "{message}");
    for container in ["c1", "c2", "c3"] {
        place.shop().del(container);
    }
    place.assert_nothing_is_left();
}

#[test]
fn files_are_open_to_those_who_need_them_and_nobody_else() {
    let place = Place::new(json!({}));
    place.shop().add("c1", &["10.0.0.2/24"], &json!({}));
    let mode = |path: std::path::PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(place.state()), 0o700);
    assert_eq!(mode(place.file("c1", "")), 0o700);
    assert_eq!(mode(place.file("c1", "hosts")), 0o644);
    assert_eq!(mode(place.file("c1", "env")), 0o600);
    assert_eq!(mode(place.file("c1", "env.json")), 0o600);
    assert_eq!(mode(place.state().join("registry/shop/members/c1:eth0")), 0o600);
}

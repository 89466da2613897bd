//! What an agent of the runtime reads and adds for a pod.
#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where something fails")]

mod place;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use link_env::{Given, Pod};
use place::Place;
use registry::ExtraHost;
use serde_json::json;

#[test]
fn what_an_agent_adds_lasts_until_the_pod_goes() {
    let place = Place::new(json!({}));
    let shop = place.shop();
    let state = place.state();
    assert!(Pod::find(&state, "db1").unwrap().is_none(), "no registry");
    shop.add("db1", &["10.1.0.2/24"], &json!({"name": "db", "expose": ["5432"], "env": {"A": "own"}}));
    assert!(Pod::find(&state, "web1").unwrap().is_none(), "no such pod");

    let offer = |env: &[(&str, &str)]| {
        let env: BTreeMap<String, String> =
            env.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Pod::find(&state, "db1").unwrap().unwrap().offer_environment(&env).unwrap();
    };
    offer(&[("A", "other"), ("B", "1"), ("C", "not\0this")]);
    shop.add("web1", &["10.1.0.3/24"], &json!({"name": "web", "links": ["db"]}));
    let env = place.env("web1");
    assert_eq!((env["DB_ENV_A"].as_str(), env["DB_ENV_B"].as_str()), ("own", "1"));
    assert!(!env.contains_key("DB_ENV_C"));

    let printer = ExtraHost { name: "printer".to_owned(), address: "192.0.2.9".parse().unwrap() };
    let bad = ExtraHost { name: "a b".to_owned(), ..printer.clone() };
    for _ in 0..2 {
        let web = Pod::find(&state, "web1").unwrap().unwrap();
        web.add_extra_hosts(&[printer.clone(), bad.clone()]).unwrap();
        assert_eq!(web.hosts(), place.file("web1", "hosts"));
    }
    let before = place.hosts("web1");
    assert_eq!(before[0], "192.0.2.9 printer");
    assert!(!place.hosts("db1").contains(&before[0]));
    assert!(shop.check("web1", &["10.1.0.3/24"]).ok);

    // The source gets another address: names follow, and so does the environment of containers that start from now on.
    shop.del("db1");
    shop.add("db2", &["10.1.0.4/24"], &json!({"name": "db", "expose": ["5432"]}));
    assert_eq!(place.hosts("web1")[0], "192.0.2.9 printer");
    let now = Pod::find(&state, "web1").unwrap().unwrap().environment().unwrap();
    assert!(now.contains(&("DB_PORT".to_owned(), "tcp://10.1.0.4:5432".to_owned())), "{now:?}");
    let given = Given::read(&state, "web1").unwrap();
    assert_eq!(given.environment, env);
    assert!(Given::read(&state, "nobody").is_none());

    shop.del("db2");
    shop.del("web1");
    place.assert_nothing_is_left();
}

/// A runtime's agent may find anything in a pod. What exceeds the limits of a pod is left out, and the calls return how many.
#[test]
fn what_a_pod_offers_beyond_its_bounds_is_left_out_and_told() {
    let place = Place::new(json!({}));
    let (shop, state) = (place.shop(), place.state());
    shop.add("db1", &["10.1.0.2/24"], &json!({"name": "db", "env": {"A": "x".repeat(1000)}}));
    let pod = || Pod::find(&state, "db1").unwrap().unwrap();
    // JSON takes six bytes for each of these bytes.
    let many: BTreeMap<String, String> =
        (0..100).map(|number| (format!("V{number:02}"), "\u{1}".repeat(1020))).collect();
    assert_eq!(pod().offer_environment(&many).unwrap(), 38);
    assert_eq!(pod().offer_environment(&many).unwrap(), 38);
    let few = BTreeMap::from([("B".to_owned(), "1".to_owned())]);
    assert_eq!(pod().offer_environment(&few).unwrap(), 0);

    let entries: Vec<ExtraHost> = (0..200_000)
        .map(|number| ExtraHost { name: format!("n{number}"), address: "192.0.2.9".parse().unwrap() })
        .collect();
    let started = Instant::now();
    let left_out = pod().add_extra_hosts(&entries).unwrap();
    assert_eq!(pod().add_extra_hosts(&entries).unwrap(), left_out);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    assert_eq!(place.hosts("db1").len() + left_out, entries.len() + 1);
    let length: usize = place.hosts("db1").iter().map(|line| line.len() + 1).sum();
    assert!(length <= (64 << 10) + 200 && length > 60 << 10, "{length}");

    // A member that links to the pod gets all variables that the pod offers. Members can still be added and removed.
    shop.add("web1", &["10.1.0.3/24"], &json!({"name": "web", "links": ["db"]}));
    assert_eq!(place.env("web1").keys().filter(|key| key.starts_with("DB_ENV_V")).count(), 62);
    shop.del("web1");
    shop.del("db1");
    place.assert_nothing_is_left();
}

/// What the operator does not list in `annotations` is not done, whatever an agent asks for.
#[test]
fn an_environment_is_offered_where_the_network_lets_it() {
    let place = Place::new(json!({"annotations": ["links"]}));
    let shop = place.shop();
    shop.add("db1", &["10.1.0.2/24"], &json!({"name": "db", "env": {"A": "own"}}));
    let pod = Pod::find(&place.state(), "db1").unwrap().unwrap();
    assert!(!pod.may_offer_environment().unwrap());
    pod.offer_environment(&BTreeMap::from([("B".to_owned(), "1".to_owned())])).unwrap();
    drop(pod);
    shop.add("web1", &["10.1.0.3/24"], &json!({"name": "web", "links": ["db"]}));
    assert!(place.env("web1").contains_key("DB_ENV_A") && !place.env("web1").contains_key("DB_ENV_B"));
    let listed = Place::new(json!({"annotations": ["share-env"]}));
    listed.shop().add("db1", &["10.1.0.2/24"], &json!({}));
    assert!(Pod::find(&listed.state(), "db1").unwrap().unwrap().may_offer_environment().unwrap());
}

/// A pod may ask its runtime for any CDI device, also for that of another pod.
#[test]
fn pods_of_a_namespace_have_no_device() {
    let mut place = Place::new(json!({}));
    let specs = place.folder().join("cdi");
    place.conf = json!({"cdiDir": specs});
    let pod = place.shop().with_args("IgnoreUnknown=1;K8S_POD_NAMESPACE=prod;K8S_POD_NAME=db");
    pod.add("c1", &["10.1.0.2/24"], &json!({}));
    assert!(pod.check("c1", &["10.1.0.2/24"]).ok);
    assert!(!specs.exists());
    place.shop().add("c2", &["10.1.0.3/24"], &json!({}));
    assert_eq!(std::fs::read_dir(&specs).unwrap().count(), 1);
    for container in ["c1", "c2"] {
        place.shop().del(container);
    }
    assert_eq!(std::fs::read_dir(&specs).unwrap().count(), 0);
}

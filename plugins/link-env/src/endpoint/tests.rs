use serde_json::{Value, json};

use super::*;

const ID: &str = "60707a2f0f64efbfb791be4282adbdae30ddb3b705e386ef48c2b7210864f178";

fn conf(keys: &Value, args: &str) -> Result<Conf, Error> {
    let mut whole = json!({"cniVersion": "1.1.0", "name": "web", "type": "link-env"});
    whole.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
    let conf = cni::Conf::from_slice(whole.to_string().as_bytes()).unwrap();
    Conf::new(&conf, &cni::Args::parse(args).unwrap())
}

fn endpoint(keys: &Value, args: &str) -> Result<Member, Error> {
    member(&conf(keys, args)?, ID, "eth0", vec!["10.1.0.2".parse().unwrap()])
}

/// Every place that a field may come from, strongest first: where the strongest is taken away, the next one counts.
#[test]
fn every_field_comes_from_the_strongest_place_that_has_it() {
    const ANNOTATIONS: &str = "/runtimeConfig/io.kubernetes.cri.pod-annotations/link-env.cni~1";
    const ALIASES: &str = "/runtimeConfig/aliases";
    let texts = |member: &Member, field: &str| -> Vec<String> {
        match field {
            "name" => vec![member.name.clone()],
            "hostname" => vec![member.hostname.clone()],
            "domainname" => vec![member.domain.clone()],
            "aliases" => member.aliases.clone(),
            "expose" => member.expose.iter().map(|range| range.numbers().start().to_string()).collect(),
            "links" => member.links.iter().map(|link| link.source.clone()).collect(),
            "env" => member.env.keys().cloned().collect(),
            _ => member.extra_hosts.iter().map(|host| host.name.clone()).collect(),
        }
    };
    for (field, annotated, argued) in [
        ("name", true, true),
        ("hostname", false, false),
        ("domainname", false, false),
        ("aliases", true, false),
        ("expose", true, true),
        ("links", true, true),
        ("env", true, false),
        ("extraHosts", false, false),
    ] {
        let mut places: Vec<String> = Vec::new();
        if field == "aliases" {
            places.push(ALIASES.into());
        }
        if annotated {
            places.push(format!("{ANNOTATIONS}{field}"));
        }
        if argued {
            places.push("CNI_ARGS".into());
        }
        places.extend(["/args/cni/link-env/", "/endpoint/"].map(|place| format!("{place}{field}")));
        for strongest in 0..places.len() {
            let (mut keys, mut args) = (json!({}), String::new());
            for (index, place) in places.iter().enumerate().skip(strongest) {
                let text = if field == "expose" { format!("{}", 10 + index) } else { format!("v{index}") };
                let value = match field {
                    _ if place == ALIASES => json!([text]),
                    "env" if place.starts_with(ANNOTATIONS) => json!(format!("{text}=x")),
                    _ if place.starts_with(ANNOTATIONS) => json!(text),
                    "env" => json!({ &text: "x" }),
                    "name" | "hostname" | "domainname" => json!(text),
                    "extraHosts" => json!([format!("{text}:192.0.2.1")]),
                    _ => json!([text]),
                };
                if place == "CNI_ARGS" {
                    args = format!("LINK_{}={text}", field.to_uppercase());
                } else {
                    put(&mut keys, place, value);
                }
            }
            let member = endpoint(&keys, &args).unwrap();
            let expected = if field == "expose" { 10 + strongest } else { strongest };
            let found = texts(&member, field);
            assert_eq!(found.len(), 1, "{field}: {found:?}");
            assert!(found[0].ends_with(&expected.to_string()), "{field} of {}: {found:?}", places[strongest]);
        }
    }
}

/// Puts a value where a JSON pointer leads to.
fn put(keys: &mut Value, pointer: &str, value: Value) {
    let mut place = keys;
    for step in pointer.split('/').skip(1) {
        place = &mut place[step.replace("~1", "/")];
    }
    *place = value;
}

#[test]
fn without_a_name_of_its_own_a_container_has_the_pods_or_its_short_id() {
    let name = |keys: Value, args: &str| {
        let member = endpoint(&keys, args).unwrap();
        let is_given = conf(&keys, args).unwrap().endpoint.name.is_empty();
        (member.name, member.namespace.unwrap(), is_given)
    };
    let given = |name: &str, namespace: &str| (name.to_owned(), namespace.to_owned(), true);
    assert_eq!(name(json!({}), ""), given("60707a2f0f64", ""));
    assert_eq!(name(json!({}), "K8S_POD_NAME=a"), given("a", ""));
    assert_eq!(name(json!({}), "K8S_POD_NAME=a.b"), given("a.b", ""));
    assert_eq!(name(json!({}), "K8S_POD_NAME=a;K8S_POD_NAMESPACE=ns"), given("a", "ns"));
    // podman allows names that no hosts file can have. Kubernetes allows names with dots, which would be the full names of pods
    // in other namespaces.
    assert_eq!(name(json!({}), "K8S_POD_NAME=a..b").0, "60707a2f0f64");
    for pod in ["x.prod", "10", "localhost"] {
        assert_eq!(
            name(json!({}), &format!("K8S_POD_NAME={pod};K8S_POD_NAMESPACE=evil")),
            given("60707a2f0f64", "evil")
        );
    }
    assert_eq!(
        name(json!({"endpoint": {"name": "db"}}), "K8S_POD_NAME=a"),
        ("db".into(), String::new(), false)
    );
    let podmans = json!({"namespaces": false});
    assert_eq!(name(podmans, "K8S_POD_NAME=a;K8S_POD_NAMESPACE=a"), given("a", ""));
    let error = endpoint(&json!({}), "K8S_POD_NAME=a;K8S_POD_NAMESPACE=a/b").unwrap_err().to_string();
    assert!(error.contains("K8S_POD_NAMESPACE \"a/b\""), "{error}");
}

/// What the author of a pod says in its annotations.
#[test]
fn a_pod_chooses_single_labels_and_what_its_network_lets_it_say() {
    let annotated = |annotation: &str, text: &str, more: Value| {
        let mut keys = json!({"runtimeConfig": {"io.kubernetes.cri.pod-annotations": {
            format!("link-env.cni/{annotation}"): text}}});
        keys.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        endpoint(&keys, "K8S_POD_NAME=a;K8S_POD_NAMESPACE=ns")
    };
    for bad in ["api.stripe.com", "localhost", "*.a", "10", "0x7f000001", "127.0.0.1", "a b", "x.prod"] {
        for (annotation, text) in
            [("name", bad.to_owned()), ("aliases", format!("ok,{bad}")), ("links", format!("db:{bad}"))]
        {
            let error = annotated(annotation, &text, json!({})).unwrap_err();
            assert!(error.to_string().contains(&format!("{bad:?}")), "{error}");
            assert_eq!(cni::Error::from(error).code(), 7);
        }
    }
    for bad in ["a.b", "a b", "**"] {
        let error = annotated("allow-from", bad, json!({})).unwrap_err().to_string();
        assert!(error.contains(&format!("{bad:?}")), "{error}");
    }
    let many: Vec<String> = (0..33).map(|number| format!("n{number}")).collect();
    assert!(annotated("allow-from", &many.join(","), json!({})).is_err());
    let member = annotated("allow-from", "shop, *,shop", json!({})).unwrap();
    assert_eq!(member.allow_from, ["shop", "*"]);
    let member = annotated("name", "db", json!({})).unwrap();
    assert!(member.name == "db" && member.is_name_chosen && !member.keeps_env);

    // Annotations that the network does not list are not even validated. An annotation that is unknown is always an error.
    let listed = json!({"annotations": ["links", "allow-from"]});
    for (annotation, text) in [("name", "db"), ("aliases", "a b"), ("env", "no"), ("share-env", "true")] {
        let member = annotated(annotation, text, listed.clone()).unwrap();
        assert!(member.name == "a" && member.keeps_env && member.aliases.is_empty() && member.env.is_empty());
    }
    assert_eq!(annotated("links", "db", listed.clone()).unwrap().links.len(), 1);
    let error = annotated("link", "db", listed).unwrap_err().to_string();
    assert!(error.contains("unknown pod annotation \"link-env.cni/link\""), "{error}");
}

#[test]
fn published_ports_are_read_as_runtimes_spell_them() {
    let mappings = json!([{"HostPort": 8081, "ContainerPort": 80, "Protocol": "TCP", "HostIP": ""},
        {"containerPort": 53, "protocol": "udp"}]);
    let member = endpoint(&json!({"runtimeConfig": {"portMappings": mappings}}), "").unwrap();
    let ports: Vec<String> = member.ports().into_iter().map(String::from).collect();
    assert_eq!(ports, ["80/tcp", "53/udp"]);
}

#[test]
fn links_are_read_in_both_of_dockers_forms() {
    let link = |source: &str, alias: &str| Link { source: source.into(), alias: alias.into() };
    let texts = ["db:webdb", "/cache:/web/redis", "mq", "mq"].map(str::to_owned);
    assert_eq!(links(&texts).unwrap(), [link("db", "webdb"), link("cache", "redis"), link("mq", "mq")]);
    let id = "60707a2f0f64efbfb791be4282adbdae30ddb3b705e386ef48c2b7210864f178";
    let texts = [format!("{id}:x"), format!("default-{id}:y"), id.to_owned()];
    assert_eq!(
        links(&texts).unwrap(),
        [link(id, "x"), link(&format!("default-{id}"), "y"), link(id, "60707a2f0f64")]
    );
    let twice = ["a:x", "b:x"].map(str::to_owned);
    assert!(links(&twice).unwrap_err().to_string().contains("links to a and to b"));
}

#[test]
fn extra_hosts_have_addresses_of_both_families() {
    for (text, address) in [
        ("h:192.0.2.1", "192.0.2.1"),
        ("h=192.0.2.1", "192.0.2.1"),
        ("h:2001:db8::1", "2001:db8::1"),
        ("h:[2001:db8::1]", "2001:db8::1"),
    ] {
        assert_eq!(extra_host(text).unwrap().address, address.parse::<IpAddr>().unwrap());
    }
    for text in ["h", "h:", "h:x", "h h:192.0.2.1", ":192.0.2.1"] {
        assert!(extra_host(text).is_err(), "{text}");
    }
}

#[test]
fn a_host_name_with_dots_holds_the_domain() {
    let host = |endpoint_keys: Value| {
        let member = endpoint(&json!({"endpoint": endpoint_keys}), "").unwrap();
        (member.hostname, member.domain)
    };
    assert_eq!(host(json!({"hostname": "h.example.org"})), ("h".into(), "example.org".into()));
    assert_eq!(host(json!({"hostname": "h", "domainname": "d"})), ("h".into(), "d".into()));
    assert_eq!(host(json!({"domainname": "d"})), ("60707a2f0f64".into(), "d".into()));
}

#[test]
fn what_would_break_a_file_is_refused_with_the_value() {
    for (keys, words) in [
        (json!({"name": "a b"}), "invalid name \"a b\""),
        (json!({"name": "localhost"}), "localhost"),
        (json!({"aliases": ["x\n127.0.0.1 bank"]}), "invalid alias"),
        (json!({"hostname": "a#"}), "invalid hostname"),
        (json!({"links": ["a:b c"]}), "invalid link alias"),
        (json!({"links": [":b"]}), "invalid link source"),
        (json!({"links": [format!("{}:b", "/".repeat(64))]}), "invalid link source"),
        (json!({"links": [format!("{}:b", "x".repeat(254))]}), "invalid link source"),
        (json!({"expose": ["0"]}), "expose: read port \"0\""),
        (json!({"env": {"A=B": "x"}}), "environment variable"),
        (json!({"env": {"A": "x\u{0}"}}), "environment variable"),
    ] {
        let error = endpoint(&json!({"endpoint": keys}), "").unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(cni::Error::from(error).code(), 7);
    }
}

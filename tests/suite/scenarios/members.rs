//! Between containers: links, names, several networks.

use sandbox::traffic::ask_tcp;

use super::{asks, down, environment, eventually, inside, json, ok, refused, serving, story, up};

/// On the default bridge, containers reach each other by address, and not by name
#[test]
fn the_default_network_knows_addresses_and_no_names() {
    story(|_| {
        up("--name database", &serving(8000, "database"));
        up("--name web", "exec sleep 1000");
        eventually("by address", || asks("web", "172.17.0.2", 8000) == "database");
        let (found, text) = inside("web", "busybox ping -c 1 database");
        assert!(!found && text.contains("bad address"), "{text}");
        down("database web");
    });
}

/// `docker run -d --name db training/postgres`, `docker run -d -P --name web --link db:webdb training/webapp`; `docker
/// inspect -f '{{.HostConfig.Links}}' web`; `docker restart db`
#[test]
fn a_link_gives_names_and_variables_and_follows_its_source() {
    story(|_| {
        let db = "--name db --expose 5432 -e PG_VERSION=9.3";
        // Without --rm, so that it can be restarted.
        let line = ["-d", "--", "sh", "-c", &serving(5432, "database")].map(str::to_owned);
        let mut command = super::cleat(&["run"]);
        assert!(command.args(super::words(db)).args(line).output().unwrap().status.success());
        up("-P --expose 5000 --name web --link db:webdb", &serving(5000, "web"));
        eventually("the database", || asks("web", "webdb", 5432) == "database");
        assert!(inside("web", "busybox ping -c 1 -W 5 webdb").0);
        let variables = environment("web");
        for wanted in [
            "WEBDB_NAME=/web/webdb",
            "WEBDB_PORT=tcp://172.17.0.2:5432",
            "WEBDB_PORT_5432_TCP=tcp://172.17.0.2:5432",
            "WEBDB_PORT_5432_TCP_ADDR=172.17.0.2",
            "WEBDB_PORT_5432_TCP_PORT=5432",
            "WEBDB_PORT_5432_TCP_PROTO=tcp",
            "WEBDB_ENV_PG_VERSION=9.3",
        ] {
            assert!(variables.iter().any(|variable| variable == wanted), "no {wanted} in {variables:?}");
        }
        assert!(inside("web", "cat /etc/hosts").1.contains("172.17.0.2\twebdb "));
        assert_eq!(json("inspect web")[0]["HostConfig"]["Links"][0], "/db:/web/webdb");
        // A link works in one direction only.
        let (known, text) = inside("db", "getent hosts web");
        assert!(!known, "{text}");
        // The source comes back with another address, and the running recipient finds it.
        ok("restart -t 2 db");
        let address = json("inspect db")[0]["NetworkSettings"]["Networks"]["bridge"]["IPAddress"].clone();
        assert_ne!(address, "172.17.0.2");
        eventually("the database again", || asks("web", "webdb", 5432) == "database");
        assert!(inside("web", "getent hosts webdb").1.starts_with(address.as_str().unwrap()));
        down("web db");
        assert!(ok("ps --all").contains("exited (143)"));
        ok("rm db");
    });
}

/// `docker run --link database tomcat`; a link to a container that does not run
#[test]
fn a_link_without_alias_and_one_to_nobody() {
    story(|_| {
        up("--name database --expose 3306", &serving(3306, "mysql"));
        up("--name tomcat --link database", "exec sleep 1000");
        eventually("by its own name", || asks("tomcat", "database", 3306) == "mysql");
        assert!(environment("tomcat").iter().any(|variable| variable == "DATABASE_NAME=/tomcat/database"));
        let text = refused("run --name lonely --link nobody:db -- true");
        assert!(text.contains("nobody") && text.contains("bridge"), "{text}");
        down("tomcat database");
    });
}

/// Where containers may not talk, a link opens ports to its recipient alone: `docker network create -o …enable_icc=false`
#[test]
fn a_link_is_the_only_way_in_where_containers_may_not_talk() {
    story(|_| {
        ok("network create --icc=false quiet");
        up("--name db --network quiet --expose 5432", &serving(5432, "database"));
        up("--name web --network quiet --expose 5000 --link db:webdb", &serving(5000, "web"));
        up("--name other --network quiet", "exec sleep 1000");
        assert_eq!(
            json("network inspect quiet")[0]["Options"]["com.docker.network.bridge.enable_icc"],
            "false"
        );
        let is_as_it_should_be = || {
            eventually("the link", || asks("web", "webdb", 5432) == "database");
            // Not the other way round, not by others, not on other ports.
            assert_eq!(asks("db", "web", 5000), "");
            assert_eq!(asks("other", "db", 5432), "");
            assert_eq!(asks("other", "web", 5000), "");
        };
        is_as_it_should_be();
        // After another program flushes the rules, `repair` closes the network again.
        assert!(std::process::Command::new("nft").args(["flush", "ruleset"]).status().unwrap().success());
        assert_eq!(asks("other", "db", 5432), "database");
        ok("repair");
        ok("check");
        is_as_it_should_be();
        down("web db other");
        ok("network rm quiet");
    });
}

/// `docker network create my-net`, `docker network connect my-net web`, `… database`: names work at once in running
/// containers; `docker network disconnect my-net web`
#[test]
fn running_containers_meet_on_a_network_and_part() {
    story(|_| {
        up("--name web", &serving(8000, "web"));
        up("--name database", &serving(8000, "database"));
        ok("network create my-net");
        ok("network connect my-net web --alias www");
        ok("network connect my-net database");
        eventually("the one way", || asks("web", "database", 8000) == "database");
        eventually("the other way", || asks("database", "web", 8000) == "web");
        assert_eq!(asks("database", "www", 8000), "web");
        for (of, other) in [("web", "database"), ("database", "web")] {
            assert!(inside(of, &format!("busybox ping -c 1 -W 5 {other}")).0);
        }
        // Two interfaces; the default route of the first network stays the preferred one.
        let (_, links) = inside("web", "ip -o -4 addr; ip route");
        assert!(links.contains("eth0") && links.contains("eth1"), "{links}");
        let ways: Vec<&str> = links.lines().filter(|line| line.starts_with("default via")).collect();
        assert!(ways.len() == 2 && ways[0].contains("eth0") && ways[1].contains("eth1"), "{links}");
        let address =
            json("inspect database")[0]["NetworkSettings"]["Networks"]["my-net"]["IPAddress"].clone();
        let (_, reverse) = inside("web", &format!("getent hosts {}", address.as_str().unwrap()));
        assert!(reverse.split_whitespace().any(|name| name == "database.my-net"), "{reverse}");
        assert!(refused("network connect my-net web").contains("already"));
        ok("check");
        // Disconnecting removes the interface, and the names from the hosts files of both containers.
        ok("network disconnect my-net web");
        assert!(!inside("web", "ip link show eth1").0 && !inside("web", "getent hosts database").0);
        assert!(!inside("database", "getent hosts web").0);
        assert!(refused("network disconnect my-net web").contains("not on that network"));
        ok("network disconnect my-net database");
        assert_eq!(json("network inspect my-net")[0]["Containers"], serde_json::json!({}));
        ok("network rm my-net");
        down("web database");
    });
}

/// A front end on two networks, a back end on one; two compose files
#[test]
fn a_back_end_is_its_own_networks_alone() {
    story(|host| {
        ok("network create front");
        ok("network create --internal back");
        up("--name db --network back", &serving(5432, "db"));
        up("--name web --network front:back -p 8080:80", &serving(80, "web"));
        up("--name stranger --network front", "exec sleep 1000");
        eventually("the front end", || {
            ask_tcp(Some(&host.outside), &format!("{}:8080", sandbox::UPLINK_V4)).is_ok()
        });
        eventually("the back end", || asks("web", "db", 5432) == "db");
        // Names of both networks.
        assert_eq!(asks("stranger", "web", 80), "web");
        assert!(inside("web", "getent hosts stranger.front && getent hosts db.back").0);
        // No other container and no other machine reaches the back end, neither by name nor by address.
        let address = json("inspect db")[0]["NetworkSettings"]["Networks"]["back"]["IPAddress"].clone();
        let address = address.as_str().unwrap();
        assert_eq!(asks("stranger", "db", 5432), "");
        assert_eq!(asks("stranger", address, 5432), "");
        assert!(ask_tcp(Some(&host.outside), &format!("{address}:5432")).is_err());
        assert!(refused("run --network back -p 80:80 -- true").contains("publishes ports"));
        down("web db stranger");
        ok("network rm front back");
    });
}

/// Containers of two compose files cannot reach each other until they are on a common network
#[test]
fn two_projects_are_apart_until_connected() {
    story(|_| {
        ok("network create one_default");
        ok("network create two_default");
        up("--name one --network one_default", &serving(80, "one"));
        up("--name two --network two_default", &serving(80, "two"));
        let address =
            json("inspect one")[0]["NetworkSettings"]["Networks"]["one_default"]["IPAddress"].clone();
        eventually("itself", || asks("one", "one", 80) == "one");
        assert_eq!(asks("two", address.as_str().unwrap(), 80), "");
        assert_eq!(asks("two", "one", 80), "");
        ok("network connect two_default one");
        assert_eq!(asks("two", "one", 80), "one");
        down("one two");
        ok("network rm one_default two_default");
    });
}

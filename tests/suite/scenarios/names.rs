//! What containers are called, and what they write into their own hosts files.

use super::{asks, down, eventually, inside, json, ok, refused, serving, story, up};

/// The first address of a name, as programs in a container find it; empty where there is none.
fn look_up(of: &str, name: &str) -> String {
    let (_, text) = inside(of, &format!("getent -s hosts:files ahostsv4 {name}"));
    text.split_whitespace().next().unwrap_or_default().to_owned()
}

fn address(name: &str, network: &str) -> String {
    let address = &json(&format!("inspect {name}"))[0]["NetworkSettings"]["Networks"][network]["IPAddress"];
    address.as_str().unwrap().to_owned()
}

/// `docker run --network net --network-alias …`; `nslookup alias.net`
#[test]
fn every_name_of_a_member_has_the_network_behind_it() {
    story(|_| {
        ok("network create front");
        ok("network create back");
        let id = up(
            "--name web --network front --network-alias www --network-alias w2 --hostname h.lan",
            "exec sleep 1000",
        );
        up("--name db --network front", "exec sleep 1000");
        ok("network connect back web --alias inner");
        ok("network connect back db");
        let (front, back, short) = (address("web", "front"), address("web", "back"), &id[..12]);
        for name in ["web", "www", "w2", short] {
            let qualified = format!("{name}.front");
            assert_eq!(look_up("db", &qualified), front, "{qualified}");
            assert_eq!(look_up("web", &qualified), front, "{qualified} in itself");
            assert_eq!(look_up("db", name), front, "{name}");
        }
        for name in ["web.back", "inner.back", "inner", &format!("{short}.back")] {
            assert_eq!(look_up("db", name), back, "{name}");
            assert_eq!(look_up("web", name), back, "{name} in itself");
        }
        for name in ["inner.front", "www.back", "h.front"] {
            assert_eq!(look_up("db", name), "", "{name}");
        }
        // A reverse lookup gives name.network, as with Docker's resolver.
        for (address, name) in [(&front, "web.front"), (&back, "web.back")] {
            let (_, said) = inside("db", &format!("getent -s hosts:files hosts {address}"));
            assert_eq!(said.split_whitespace().nth(1), Some(name), "{said}");
        }
        ok("check");
        // Disconnecting from a network removes the names on it, and no others.
        ok("network disconnect front web");
        assert_eq!(look_up("db", "www.front"), "");
        assert_eq!(look_up("db", "inner.back"), back);
        ok("check");
        down("web db");
        ok("network rm front back");
    });
}

/// `docker run --link $(docker ps -q --no-trunc --filter name=db):sql`, `--link /db:sql`
#[test]
fn a_link_is_to_a_name_or_to_an_id() {
    story(|_| {
        ok("network create front");
        let id = up("--name db --network front", &serving(5432, "db"));
        let short = &id[..12];
        for source in [&id, short, "db", "/db"] {
            let by = format!("--name app --network front --link {source}:sql");
            up(&by, "exec sleep 1000");
            eventually("the source", || asks("app", "sql", 5432) == "db");
            down("app");
        }
        // Without an alias, and on one of two networks.
        ok("network create back");
        up(&format!("--name app --network back:front --link {id} --link /db:sql"), "exec sleep 1000");
        for name in [short, "sql"] {
            eventually(name, || asks("app", name, 5432) == "db");
        }
        down("app");
        // A name that looks like an ID is preferred to the ID.
        up(&format!("--name {short} --network front"), &serving(5432, "impostor"));
        up(&format!("--name app --network front --link {short}:named --link {id}:sql"), "exec sleep 1000");
        eventually("the name", || asks("app", "named", 5432) == "impostor");
        assert_eq!(asks("app", "sql", 5432), "db");
        let unknown = "0".repeat(64);
        let said = refused(&format!("run --network front --link {unknown}:x -- true"));
        assert!(said.contains("cannot link to a non running container"), "{said}");
        down(&format!("app db {short}"));
        ok("network rm front back");
    });
}

/// `docker exec web sh -c 'echo 192.0.2.50 printer >>/etc/hosts'`, on a user-defined network and on the default one
#[test]
fn lines_of_a_container_stay_while_others_come_and_go() {
    story(|_| {
        ok("network create front");
        ok("network create back");
        up("--name db --network front", "exec sleep 1000");
        up("--name web --network front --link db:sql", "exec sleep 1000");
        // On the default network, only links make names known.
        up("--name source", "exec sleep 1000");
        up("--name plain --link source:sql", "exec sleep 1000");
        for name in ["web", "plain"] {
            // The file is a mount: replacing it by a new file fails, writing to it works.
            assert!(!inside(name, "sed -i s/sql/other/ /etc/hosts").0);
            assert!(inside(name, "echo '192.0.2.50 printer' >>/etc/hosts").0);
        }
        let printers = || [look_up("web", "printer"), look_up("plain", "printer")];
        let own = ["192.0.2.50", "192.0.2.50"];
        ok("check");
        for _ in 0..2 {
            up("--name other --network front --network-alias o", "exec sleep 1000");
            assert_eq!(look_up("web", "o.front"), address("other", "front"));
            ok("network connect back web");
            ok("network connect back other");
            assert_eq!(look_up("web", "other.back"), address("other", "back"));
            assert_eq!(printers(), own);
            ok("check");
            ok("network disconnect back web");
            down("other source");
            assert_eq!([look_up("web", "other"), look_up("plain", "sql")], ["", ""]);
            assert_eq!(look_up("web", "sql"), address("db", "front"));
            up("--name source", "exec sleep 1000");
            assert_eq!(look_up("plain", "sql"), address("source", "bridge"));
            assert_eq!(printers(), own);
            ok("check");
        }
        // Our lines that the container overwrites are restored at the next change; until then `check` reports them.
        assert!(inside("web", "echo '192.0.2.50 printer' >/etc/hosts").0);
        assert!(refused("check").contains("/hosts: line 1 is"));
        up("--name other --network front", "exec sleep 1000");
        assert_eq!(
            [look_up("web", "sql"), look_up("web", "other")],
            [address("db", "front"), address("other", "front")]
        );
        assert_eq!(printers(), own);
        ok("check");
        // The next container of that name gets a new file.
        down("web plain");
        up("--name web --network front", "exec sleep 1000");
        assert_eq!(look_up("web", "printer"), "");
        down("web other source db");
        ok("network rm front back");
    });
}

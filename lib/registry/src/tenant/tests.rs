use super::*;
use crate::member::Link;

fn member(namespace: Option<&str>, name: &str) -> Member {
    Member {
        container_id: format!("id-{name}"),
        name: name.into(),
        namespace: namespace.map(str::to_owned),
        ..Member::default()
    }
}

fn fits(source: &Member, asker: &Member, text: &str) -> bool {
    source.fits(asker, text).is_some()
}

#[test]
fn a_name_is_that_of_the_own_tenant() {
    let (prod, evil, root) = (member(Some("prod"), "db"), member(Some("evil"), "x"), member(Some(""), "r"));
    let own = member(Some("prod"), "web");
    assert!(fits(&prod, &own, "db") && fits(&prod, &own, "db.prod") && fits(&prod, &own, "id-db"));
    for asker in [&evil, &root] {
        for text in ["db", "db.prod", "id-db", "id-db.prod"] {
            assert!(!fits(&prod, asker, text), "{text}");
        }
    }
    let mut named = member(Some(""), "db.prod");
    named.aliases = vec!["web.prod".into()];
    assert!(fits(&named, &root, "db.prod") && fits(&named, &root, "web.prod"));
    assert!(!fits(&named, &own, "db") && !fits(&named, &own, "db.prod"));
}

#[test]
fn another_ones_member_is_known_where_it_says_so_and_by_its_full_name_alone() {
    let mut prod = member(Some("prod"), "db");
    prod.aliases = vec!["pg".into()];
    let asker = member(Some("shop"), "web");
    for allowed in ["shop", "*"] {
        prod.allow_from = vec![allowed.into()];
        assert!(prod.fits(&asker, "db.prod").unwrap() < prod.fits(&asker, "pg.prod").unwrap());
        for text in ["db", "db.shop", "id-db", "id-db.prod"] {
            assert!(!fits(&prod, &asker, text), "{text}");
        }
    }
    prod.allow_from = vec!["other".into(), String::new()];
    assert!(!fits(&prod, &asker, "db.prod") && !fits(&prod, &member(Some(""), "r"), "db.prod"));
}

#[test]
fn who_was_there_before_is_kin_to_the_namespace_that_its_last_name_tells_of() {
    let mut old = member(None, "db");
    old.aliases = vec!["pg".into(), "db.prod".into()];
    assert_eq!(old.former_namespace(), Some("prod"));
    let (prod, evil) = (member(Some("prod"), "web"), member(Some("evil"), "x"));
    for text in ["db", "pg", "db.prod", "pg.prod"] {
        assert!(fits(&old, &prod, text), "{text}");
        assert!(!fits(&old, &evil, text), "{text}");
    }
    assert!(fits(&prod, &old, "web") && fits(&prod, &old, "web.prod") && !fits(&evil, &old, "x.evil"));
    let mut taken = member(None, "db.dev");
    taken.aliases = vec!["db".into()];
    assert_eq!(taken.former_namespace(), Some("dev"));
    // The aliases that a pod chose itself come before the one that was made of its name.
    let mut forged = member(None, "a");
    forged.aliases = vec!["a.prod".into(), "a.evil".into()];
    assert_eq!(forged.former_namespace(), Some("evil"));
    assert_eq!(Member { namespace: Some(String::new()), ..old }.former_namespace(), None);
}

/// A link that a previous version wrote follows its source, and never means a pod of another namespace.
#[test]
fn who_was_there_before_asks_its_own_namespace_first() {
    let old = |name: &str, last: &str| Member { aliases: vec![last.into()], ..member(None, name) };
    let (asker, namesake) = (old("app", "app.prod"), old("db.dev", "db"));
    let (own, anew, root) = (old("db", "db.prod"), member(Some("prod"), "db"), member(Some(""), "db"));
    let best = [&own, &anew, &root].map(|source| source.fits(&asker, "db").unwrap());
    assert!(best[0] < best[1] && best[1] < best[2], "{best:?}");
    assert!(!fits(&namesake, &asker, "db") && fits(&namesake, &asker, "db.dev"));
    assert!(fits(&namesake, &old("api", "api.dev"), "db") && fits(&own, &old("api", "api.dev"), "db"));
}

#[test]
fn a_member_that_fits_is_found_by_a_key_and_so_is_the_one_that_asks() {
    let of = |namespace, name: &str, alias: &str| Member {
        aliases: vec![alias.into()],
        ..member(namespace, name)
    };
    let allowing = Member { allow_from: vec!["*".into()], ..of(Some("prod"), "db", "pg") };
    let members = [
        allowing,
        of(Some("evil"), "db", "pg"),
        of(Some(""), "db", "pg"),
        of(None, "db", "db.prod"),
        of(None, "db.prod", "db"),
    ];
    let mut found = 0;
    for asker in &members {
        for text in ["db", "pg", "db.prod", "pg.prod", "id-db", "db.evil"] {
            let link = Link { source: text.into(), alias: "x".into() };
            let asker = Member { links: vec![link], ..asker.clone() };
            for source in members.iter().filter(|source| source.is_meant_by(&asker)) {
                found += 1;
                let (looked_up, names) = (asker.asked_keys(text), source.name_keys());
                assert!(looked_up.iter().any(|key| names.contains(key)), "{looked_up:?} {names:?}");
                let (kept, sought) = (asker.link_keys(text), source.recipient_keys());
                assert!(kept.iter().any(|key| sought.contains(key)), "{kept:?} {sought:?}");
            }
        }
    }
    assert!(found > 20, "{found}");
}

//! Tenants: who may know whom on a network.
//!
//! Under Kubernetes the namespace is the tenant; callers that know no namespaces are one tenant, the node's root, whose name
//! is empty. A name is looked up within the own tenant. Another one's member is known as `name.namespace`, and where it
//! says so itself alone ([`Member::allow_from`]).
//!
//! Members that a version wrote which kept no namespace are root's, and kin to the namespace that the last of their names
//! tells of: to its pods they are what they were before.

use crate::member::{Member, SHORT_ID, short_id};

/// The longest name in bytes (RFC 1035, section 2.3.4).
const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;
/// In [`Member::allow_from`]: every namespace.
pub const EVERYBODY: &str = "*";

/// What a member is to one who asks for it. The better one comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Relation {
    /// Of the same tenant.
    Own,
    /// Of the same namespace, which for one of both is known by its names alone.
    Kin,
    /// Of another namespace, and lets the one who asks know it.
    Allowed,
    /// None of its business.
    Stranger,
}

/// By what a member answers to a name. The better one comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Answer {
    Name,
    Id,
    Alias,
}

/// How well a member fits a name: the less, the better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fit {
    is_foreign: bool,
    answer: Answer,
    distance: u8,
}

/// `name.namespace`, where it is short enough for a name; else the name. For who belongs to no namespace, the name.
#[must_use]
pub fn qualify(name: &str, namespace: &str) -> String {
    if namespace.is_empty() || name.len() + 1 + namespace.len() > MAX_NAME {
        return name.to_owned();
    }
    format!("{name}.{namespace}")
}

impl Member {
    /// The tenant that it belongs to: its namespace; empty for the node's root.
    #[must_use]
    pub fn tenant(&self) -> &str {
        self.namespace.as_deref().unwrap_or_default()
    }

    /// The namespace of a member that a version wrote which did not keep it. That version gave a pod `pod.namespace` as its
    /// last alias, or as its name where `pod` was taken, which is then the last alias.
    #[must_use]
    pub fn former_namespace(&self) -> Option<&str> {
        if self.namespace.is_some() {
            return None;
        }
        let last = self.aliases.last()?;
        let behind = |qualified: &'_ str, name: &str| -> Option<usize> {
            let namespace = qualified.strip_prefix(name)?.strip_prefix('.')?;
            (!namespace.is_empty() && !namespace.contains('.')).then_some(name.len() + 1)
        };
        behind(last, &self.name)
            .map(|start| &last[start..])
            .or_else(|| behind(&self.name, last).map(|start| &self.name[start..]))
    }

    /// What it is to another one, who asks for it.
    #[must_use]
    pub fn relation_to(&self, asker: &Self) -> Relation {
        let (own, other) = (self.tenant(), asker.tenant());
        if own == other {
            return Relation::Own;
        }
        let is_kin = |former: Option<&str>, tenant: &str| former.is_some_and(|former| former == tenant);
        let formerly = asker.former_namespace();
        if is_kin(self.former_namespace(), other) || is_kin(formerly, own) {
            return Relation::Kin;
        }
        let is_allowed = |allowed: &String| {
            allowed == EVERYBODY || (!other.is_empty() && allowed == other) || formerly == Some(allowed)
        };
        // A member of no namespace has no `name.namespace` to be called by.
        if !own.is_empty() && self.allow_from.iter().any(is_allowed) {
            return Relation::Allowed;
        }
        Relation::Stranger
    }

    /// By what it answers to a name, no matter who asks.
    fn answer(&self, source: &str) -> Option<Answer> {
        if self.name == source {
            Some(Answer::Name)
        } else if self.container_id == source || is_short_id(&self.container_id, source) {
            Some(Answer::Id)
        } else {
            self.aliases.iter().any(|alias| alias == source).then_some(Answer::Alias)
        }
    }

    /// How well it fits what another one calls `source`, to be compared with how others do; `None` where it cannot be meant.
    #[must_use]
    pub fn fits(&self, asker: &Self, source: &str) -> Option<Fit> {
        let bare = source.rsplit_once('.');
        let (whole, part) = (self.answer(source), bare.and_then(|(bare, _)| self.answer(bare)));
        if whole.is_none() && part.is_none() {
            return None;
        }
        let relation = self.relation_to(asker);
        let within = |namespace: &str| part.filter(|_| bare.is_some_and(|(_, given)| given == namespace));
        let answer = match relation {
            Relation::Own if self.tenant().is_empty() => whole.filter(|_| !self.is_namesake(asker, source)),
            Relation::Own => whole.or_else(|| within(self.tenant())),
            Relation::Kin => {
                let namespace = if self.tenant().is_empty() { asker.tenant() } else { self.tenant() };
                whole.or_else(|| within(namespace))
            }
            // An ID is no way into another tenant.
            Relation::Allowed => within(self.tenant()).filter(|answer| *answer != Answer::Id),
            Relation::Stranger => None,
        }?;
        let formerly = asker.former_namespace();
        Some(Fit {
            is_foreign: relation == Relation::Allowed,
            answer,
            distance: match relation {
                // A member of a version before has links to what was in its namespace.
                Relation::Own if formerly.is_some() && self.former_namespace() != formerly => 2,
                Relation::Own => 0,
                _ => 1,
            },
        })
    }

    /// Whether it is the pod of another namespace than the one who asks, both of a version before, and has the short name but because
    /// the other one's pod had it first: a link to that one does not come to mean this one.
    fn is_namesake(&self, asker: &Self, source: &str) -> bool {
        match (self.former_namespace(), asker.former_namespace()) {
            (Some(own), Some(other)) => own != other && self.name == qualify(source, own),
            _ => false,
        }
    }

    /// Whether it may be what a link of another one means.
    #[must_use]
    pub fn is_meant_by(&self, recipient: &Self) -> bool {
        recipient.links.iter().any(|link| self.fits(recipient, &link.source).is_some())
    }

    /// The keys of the index that lead to it as a source. One name may be that of many namespaces: so its key has the
    /// namespace. By its container's ID alone DEL looks for it.
    pub(crate) fn name_keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = self.sources().iter().map(|name| qualify(name, self.tenant())).collect();
        if !keys.contains(&self.container_id) {
            keys.push(self.container_id.clone());
        }
        keys
    }

    /// The keys that lead to it as the recipient of a link. A source of another namespace looks at those alone whom it
    /// allows, so that others cost it nothing.
    pub(crate) fn link_keys(&self, source: &str) -> Vec<String> {
        match source.split_once('.') {
            Some((name, namespace)) if self.is_foreign(name, namespace) => {
                [self.tenant(), EVERYBODY].map(|asker| asked_by(source, asker)).to_vec()
            }
            _ => vec![self.source_key(source)],
        }
    }

    /// Whether `name.namespace` is of another namespace than its own.
    fn is_foreign(&self, name: &str, namespace: &str) -> bool {
        let is_label = |text: &str| (1..=MAX_LABEL).contains(&text.len()) && !text.contains('.');
        !self.tenant().is_empty() && namespace != self.tenant() && is_label(name) && is_label(namespace)
    }

    /// The key of a source that it calls so. What has a dot is `name.namespace`, as no name of a namespace's member has one.
    pub(crate) fn source_key(&self, source: &str) -> String {
        if source.contains('.') { source.to_owned() } else { qualify(source, self.tenant()) }
    }

    /// The keys by which a source of its links is looked for.
    pub(crate) fn asked_keys(&self, source: &str) -> Vec<String> {
        let mut keys = vec![self.source_key(source)];
        let more = match self.former_namespace() {
            Some(namespace) => qualify(source, namespace),
            // Kin of the version before has keys without a namespace.
            None => source.to_owned(),
        };
        if !keys.contains(&more) {
            keys.push(more);
        }
        keys
    }

    /// The keys by which those are looked for who may have a link to it.
    pub(crate) fn recipient_keys(&self) -> Vec<String> {
        let mut keys = self.name_keys();
        let more = self.sources().into_iter().map(|name| match self.former_namespace() {
            Some(namespace) => qualify(&name, namespace),
            None => name,
        });
        let names = || [&self.name].into_iter().chain(&self.aliases);
        let askers = self.allow_from.iter().filter(|_| !self.tenant().is_empty());
        let of_others =
            askers.flat_map(|asker| names().map(move |name| asked_by(&qualify(name, self.tenant()), asker)));
        for key in more.chain(of_others) {
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        keys
    }
}

/// The key of links from another namespace.
fn asked_by(source: &str, asker: &str) -> String {
    format!("{source}>{asker}")
}

/// Whether a text is the short form of a container ID.
fn is_short_id(container_id: &str, text: &str) -> bool {
    // Its length tells of nearly every text that it is none, before anything has to be made.
    let has_its_length = text.len() == SHORT_ID || text.len() == container_id.len().min(MAX_LABEL);
    has_its_length && short_id(container_id) == text
}

#[cfg(test)]
mod tests {
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
        let (prod, evil, root) =
            (member(Some("prod"), "db"), member(Some("evil"), "x"), member(Some(""), "r"));
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
        // What a pod chose itself comes before what was made of its name.
        let mut forged = member(None, "a");
        forged.aliases = vec!["a.prod".into(), "a.evil".into()];
        assert_eq!(forged.former_namespace(), Some("evil"));
        assert_eq!(Member { namespace: Some(String::new()), ..old }.former_namespace(), None);
    }

    /// A link of a version before follows its source, and never comes to mean the pod of another namespace.
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
    fn whoever_fits_is_found_by_a_key_and_so_is_who_asks() {
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
}

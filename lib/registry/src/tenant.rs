//! Tenants: who may know whom on a network.
//!
//! Under Kubernetes the namespace is the tenant; callers that know no namespaces are one tenant, the node's root, whose name
//! is empty. A name is looked up within the own tenant. A member of another tenant is known as `name.namespace`, and only where it
//! allows it itself ([`Member::allow_from`]).
//!
//! Members that were written by a version that kept no namespace are root's, and kin to the namespace in the last of their
//! names: its pods find them as before.

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
    /// Of the same namespace, which one of the two has only in its names.
    Kin,
    /// Of another namespace, and lets the one who asks know it.
    Allowed,
    /// Of another namespace, and not to be known.
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

    /// The namespace of a member that was written by a version that kept none. That version gave a pod `pod.namespace` as its
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
        let formerly = asker.former_namespace();
        if self.former_namespace() == Some(other) || formerly == Some(own) {
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

    /// Whether it is called so, within its tenant: its name, its container's ID in full or short, or an alias.
    #[must_use]
    pub fn answers_to(&self, source: &str) -> bool {
        self.answer(source).is_some()
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

    /// Whether both are pods of a version before, of different namespaces, and this one has its long name only because another pod
    /// had the short one first: a link to that pod must not come to mean this one.
    fn is_namesake(&self, asker: &Self, source: &str) -> bool {
        let (own, other) = (self.former_namespace(), asker.former_namespace());
        own.zip(other).is_some_and(|(own, other)| own != other && self.name == qualify(source, own))
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
    // The length rules out nearly every text without an allocation.
    let has_its_length = text.len() == SHORT_ID || text.len() == container_id.len().min(MAX_LABEL);
    has_its_length && short_id(container_id) == text
}

#[cfg(test)]
mod tests;

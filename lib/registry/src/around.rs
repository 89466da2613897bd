//! As much of a network as matters to a container that comes, goes or is looked at.
//!
//! Of a tenant where somebody sees every member, that is all of it, or no file of theirs could be made. Otherwise it is
//! those concerned, those who have links to them, and those whom these links may mean: then it costs the same however many
//! members there are. Another tenant's members are read where one of both may know the other, and at no cost otherwise.

use std::collections::{BTreeSet, HashSet};

use crate::error::Error;
use crate::index::Key;
use crate::member::{Member, Names};
use crate::members::{Members, file_name, order};
use crate::network::Network;
use crate::tenant::{EVERYBODY, Relation};

/// A network as far as it is known.
struct Around<'a> {
    folder: &'a Members,
    members: Vec<Member>,
    /// The files of these.
    files: HashSet<String>,
    others: Vec<Member>,
    /// The tenants all of whose members are among them.
    whole: BTreeSet<String>,
    /// The tenants of which it is known that nobody sees all.
    unseen: BTreeSet<String>,
    /// Members of a version before, where some of them see all.
    former: Vec<Member>,
}

/// Reads what matters to these containers and to the member that is about to join.
pub(crate) fn read(
    folder: &Members,
    name: &str,
    containers: &[&str],
    joining: Option<&Member>,
) -> Result<Network, Error> {
    let mut around = Around {
        folder,
        members: Vec::new(),
        files: HashSet::new(),
        others: Vec::new(),
        whole: BTreeSet::new(),
        unseen: BTreeSet::new(),
        former: Vec::new(),
    };
    around.read_concerned(containers, joining)?;
    let concerned: Vec<Member> = {
        let is_concerned = |member: &&Member| {
            containers.contains(&member.container_id.as_str())
                || joining.is_some_and(|joining| is_in_the_way(member, joining))
        };
        around.members.iter().filter(is_concerned).chain(joining).cloned().collect()
    };
    around.read_recipients(&concerned)?;
    around.read_viewers(&concerned)?;
    around.read_sources(joining)?;
    around.read_guests()?;
    let Around { mut members, mut others, files, .. } = around;
    others.retain(|other| !files.contains(&file_name(other)));
    members.sort_by(order);
    others.sort_by(order);
    others.dedup_by(|one, other| one.attachment() == other.attachment());
    Ok(Network { name: name.to_owned(), members, others })
}

fn is_in_the_way(member: &Member, joining: &Member) -> bool {
    member.addresses.iter().any(|address| joining.addresses.contains(address))
        || member.tenant() == joining.tenant() && member.name == joining.name
}

impl Around<'_> {
    fn add(&mut self, member: Member) {
        if self.files.insert(file_name(&member)) {
            self.members.push(member);
        }
    }

    /// Reads the members that keys lead to, but for those that are known.
    fn unknown(&self, keys: impl IntoIterator<Item = Key>) -> Result<Vec<Member>, Error> {
        self.folder.find(keys, &self.files, false)
    }

    /// Reads a whole tenant.
    fn load(&mut self, tenant: &str) -> Result<(), Error> {
        if self.whole.insert(tenant.to_owned()) {
            for member in self.folder.all_of(tenant)? {
                self.add(member);
            }
        }
        Ok(())
    }

    /// Reads a whole tenant where somebody sees all of it.
    fn load_seen(&mut self, tenant: &str) -> Result<(), Error> {
        if self.whole.contains(tenant) || self.unseen.contains(tenant) {
            return Ok(());
        }
        let is_viewer = |member: &Member| member.names == Names::Network && member.tenant() == tenant;
        if self.members.iter().any(is_viewer) || self.folder.has_viewers(tenant)? {
            return self.load(tenant);
        }
        self.unseen.insert(tenant.to_owned());
        Ok(())
    }

    /// The containers' members, and those with an address or the name of the one that joins.
    fn read_concerned(&mut self, containers: &[&str], joining: Option<&Member>) -> Result<(), Error> {
        if let Some(joining) = joining.filter(|joining| joining.names == Names::Network) {
            self.load(joining.tenant())?;
        }
        for id in containers {
            if self.members.iter().any(|member| member.container_id == *id) {
                continue;
            }
            if let Some(found) = self.folder.of_container(id)? {
                for member in found {
                    self.add(member);
                }
                continue;
            }
            // What has all members of a tenant in one piece may know better than a damaged file.
            let mut tenants = self.folder.viewing_namespaces()?;
            tenants.push(String::new());
            for tenant in tenants {
                let known = self.folder.seen(&tenant)?.unwrap_or_default();
                if known.iter().any(|member| member.container_id == *id) {
                    self.load(&tenant)?;
                }
            }
        }
        if let Some(joining) = joining {
            let addresses = joining.addresses.iter().copied().map(Key::Address);
            let names = joining.name_keys().into_iter().map(Key::Name);
            let names = names.filter(|_| !self.whole.contains(joining.tenant()));
            let found = self.unknown(addresses.chain(names))?;
            let concerns =
                |member: &Member| member.tenant() == joining.tenant() || is_in_the_way(member, joining);
            found.into_iter().filter(concerns).for_each(|member| self.add(member));
            self.load_seen(joining.tenant())?;
        }
        let tenants: BTreeSet<String> =
            self.members.iter().map(|member| member.tenant().to_owned()).collect();
        tenants.iter().try_for_each(|tenant| self.load_seen(tenant))
    }

    /// The members with a link to any of these, which may have it.
    fn read_recipients(&mut self, concerned: &[Member]) -> Result<(), Error> {
        let mut keys: Vec<Key> = Vec::new();
        for source in concerned {
            let is_whole = self.whole.contains(source.tenant());
            // Those of the own tenant are there, and root's members are known to nobody else.
            if is_whole && source.tenant().is_empty() && source.former_namespace().is_none() {
                continue;
            }
            let own = source.recipient_keys().into_iter().map(Key::Source);
            keys.extend(own.filter(|key| !keys.contains(key)).collect::<Vec<_>>());
        }
        let may_know = |recipient: &Member| {
            concerned.iter().any(|source| source.relation_to(recipient) != Relation::Stranger)
        };
        for recipient in self.unknown(keys)?.into_iter().filter(may_know) {
            let tenant = recipient.tenant().to_owned();
            let is_viewer = recipient.names == Names::Network;
            self.add(recipient);
            if is_viewer {
                self.load(&tenant)?;
            }
        }
        Ok(())
    }

    /// The members of other tenants that see all names, and so these as well.
    fn read_viewers(&mut self, concerned: &[Member]) -> Result<(), Error> {
        let mut tenants: BTreeSet<String> = BTreeSet::new();
        for member in concerned {
            if let Some(namespace) = member.former_namespace() {
                tenants.insert(namespace.to_owned());
            } else if !member.tenant().is_empty() {
                if member.allow_from.iter().any(|allowed| allowed == EVERYBODY) {
                    tenants.extend(self.folder.viewing_namespaces()?);
                }
                tenants.extend(member.allow_from.iter().filter(|allowed| *allowed != EVERYBODY).cloned());
            }
        }
        if self.members.iter().chain(concerned).any(|member| !member.tenant().is_empty()) {
            // Where somebody sees all of them, it costs one look.
            let root = if self.whole.contains("") { None } else { self.folder.seen("")? };
            let is_former = |member: &&Member| member.former_namespace().is_some();
            self.former = root.as_ref().unwrap_or(&self.members).iter().filter(is_former).cloned().collect();
            let is_kin = |viewer: &Member| {
                viewer.names == Names::Network
                    && concerned.iter().any(|member| viewer.former_namespace() == Some(member.tenant()))
            };
            if self.former.iter().any(is_kin) {
                tenants.insert(String::new());
            }
        }
        tenants.iter().try_for_each(|tenant| self.load_seen(tenant))
    }

    /// The members that links may mean.
    fn read_sources(&mut self, joining: Option<&Member>) -> Result<(), Error> {
        let known = self.members.iter().chain(joining);
        let names: HashSet<String> = known.flat_map(Member::name_keys).collect();
        let mut found: Vec<Member> = Vec::new();
        for member in self.members.iter().chain(joining).filter(|member| !member.links.is_empty()) {
            let is_whole = self.whole.contains(member.tenant());
            for link in &member.links {
                let is_found = names.contains(&member.source_key(&link.source));
                // Nobody else's member has a name without a dot to it, but for kin.
                let is_foreign = link.source.contains('.')
                    && !(member.tenant().is_empty() && member.former_namespace().is_none() && is_whole);
                let may_be_kin = member.former_namespace().is_some();
                if is_found || is_whole && !is_foreign && !may_be_kin {
                    continue;
                }
                let keys = member.asked_keys(&link.source).into_iter().map(Key::Name);
                let sources = self.unknown(keys)?.into_iter();
                found.extend(sources.filter(|source| source.relation_to(member) != Relation::Stranger));
            }
        }
        self.others.extend(found);
        Ok(())
    }

    /// Members of other tenants that are seen by those that see all of their own.
    fn read_guests(&mut self) -> Result<(), Error> {
        let mut found: Vec<Member> = Vec::new();
        for namespace in self.whole.iter().filter(|tenant| !tenant.is_empty()) {
            let keys = [namespace.as_str(), EVERYBODY].map(|allowed| Key::Allowing(allowed.to_owned()));
            found.extend(self.unknown(keys)?);
            let is_kin = |member: &&Member| member.former_namespace() == Some(namespace);
            found.extend(self.former.iter().filter(is_kin).cloned());
        }
        if self.whole.contains("") {
            let viewers = self.members.iter().filter(|member| member.names == Names::Network);
            let kin: BTreeSet<&str> = viewers.filter_map(Member::former_namespace).collect();
            for namespace in kin {
                found.extend(self.folder.all_of(namespace)?);
            }
        }
        self.others.extend(found);
        Ok(())
    }
}

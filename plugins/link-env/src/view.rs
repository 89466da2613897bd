//! What containers can see: the memberships of each, gathered from the registry, and the files that follow from them.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::path::Path;
use std::rc::Rc;

use registry::{Folder, Locked, Member, Names, Network, Patch, Relation, Settled};

use crate::env::{self, Gift};
use crate::error::Error;
use crate::files;
use crate::foreign;
use crate::hosts::{self, Membership, Text};
use crate::neighbourhood::Neighbourhood;

/// The registry as it is, but for one network, which is as it is about to be.
pub(crate) struct View<'a> {
    locked: &'a Locked,
    /// The network in question.
    name: String,
    /// Its tenants first, `own` of them, then others as containers turn out to be on them.
    networks: Vec<Neighbourhood>,
    own: usize,
    /// The tenants of the network in question as they were, where it was another one.
    before: Vec<Neighbourhood>,
    ipv6: bool,
}

/// When every hosts file of each tenant was as it should be.
pub(crate) type Unsettled = BTreeMap<String, Option<Settled>>;

/// What was another way before, and so may have to be told to the members of a tenant.
struct Change<'a> {
    /// Members of all tenants that came, went, or were others before.
    members: &'a [Member],
    /// Their containers.
    containers: HashSet<&'a str>,
    tenant: &'a str,
    /// Some of them are of this tenant, or there are none at all.
    is_own: bool,
    /// The names of those as the others see them, in small letters.
    names: Vec<String>,
    /// The change of the block that all see who see every member.
    patch: Patch,
    /// When every hosts file was as it should be.
    settled: Option<Settled>,
}

/// Notes that hosts files are about to change, and says since when they had not.
pub(crate) fn unsettle(locked: &Locked, before: &Network, after: &Network) -> Result<Unsettled, Error> {
    let mut tenants = before.changed_tenants(after);
    for network in [before, after] {
        tenants.extend(network.tenants().into_iter().filter(|tenant| network.is_seen_whole(tenant)));
    }
    let mut settled = Unsettled::new();
    for tenant in tenants {
        settled.insert(tenant.to_owned(), locked.settled(&after.name, tenant)?);
        locked.unsettle(&after.name, tenant)?;
    }
    Ok(settled)
}

impl<'a> View<'a> {
    pub(crate) fn new(locked: &'a Locked, network: &Network) -> Self {
        let networks = Neighbourhood::all(network);
        Self {
            locked,
            name: network.name.clone(),
            own: networks.len(),
            networks,
            before: Vec::new(),
            // Absent where the kernel has no IPv6, or was started with ipv6.disable=1.
            ipv6: Path::new("/proc/sys/net/ipv6").exists(),
        }
    }

    /// The same, knowing what the network was before: hosts files may have lines of that.
    pub(crate) fn knowing(self, before: &Network) -> Self {
        Self { before: Neighbourhood::all(before), ..self }
    }

    /// The hosts file that a container should have; `folder` is its own, where it has one yet.
    pub(crate) fn hosts(&mut self, container_id: &str, folder: Option<&Folder>) -> Result<Text, Error> {
        let networks = self.networks_of(container_id, folder)?;
        Ok(hosts::text(&self.memberships(container_id, &networks), self.ipv6))
    }

    /// The environment that a container's links give it now; `folder` as for [`View::hosts`], `must_fit` as for
    /// [`env::of_container`].
    pub(crate) fn environment(
        &mut self,
        container_id: &str,
        folder: Option<&Folder>,
        must_fit: impl Fn(&Member, &Member) -> bool,
    ) -> Result<Gift, Error> {
        let networks = self.networks_of(container_id, folder)?;
        env::of_container(&self.memberships(container_id, &networks), must_fit)
    }

    /// Rewrites the hosts files of everybody who sees what the network was before in another way. `settled` is when
    /// all of them were right the last time. A file that cannot be written is noted and passed over: it is its container's
    /// doing, which must not keep others from coming and going.
    ///
    /// # Errors
    /// What is wrong with the file of the container `own`.
    pub(crate) fn rewrite_hosts(
        &mut self,
        before: &Network,
        settled: &Unsettled,
        own: Option<&str>,
    ) -> Result<(), Error> {
        self.before = Neighbourhood::all(before);
        let members = self.changed();
        for place in 0..self.own {
            let tenant = self.networks[place].tenant.clone();
            let change = self.change(place, &tenant, &members, settled);
            let was_settled = settled.get(&tenant).and_then(Option::as_ref);
            let sees = self.networks[place].network.members.iter();
            let mut known = HashSet::new();
            let concerned: Vec<String> = sees
                .filter(|member| change.concerns(member) && known.insert(&member.container_id))
                .map(|member| member.container_id.clone())
                .collect();
            // Who was passed over and has nothing to do with this change is passed over still.
            let before =
                was_settled.iter().filter(|_| !change.is_own).flat_map(|settled| &settled.passed_over);
            let mut passed_over: Vec<String> = before.filter(|id| !concerned.contains(id)).cloned().collect();
            for container_id in concerned {
                if let Ok(true) = self.patch_hosts_of(&container_id, place, &change) {
                    continue;
                }
                match self.rewrite_hosts_of(&container_id) {
                    Err(error) if own == Some(&container_id) => return Err(error),
                    Err(error) => {
                        // What keeps the file from being written may keep this from being noted.
                        let _ = self.locked.note(&container_id, &format!("{error}: it stays as it was"));
                        passed_over.push(container_id);
                    }
                    Ok(()) => {}
                }
            }
            // Where nobody sees all, no file is ever patched. Files that another change did not reach are not right by this.
            if (change.is_own || was_settled.is_some())
                && self.networks[place].network.is_seen_whole(&tenant)
                && let Err(error) = self.locked.settle(&self.name, &tenant, &passed_over)
                && passed_over.is_empty()
            {
                return Err(error.into());
            }
        }
        Ok(())
    }

    /// The members, as they were and as they are, that are not the same in both.
    fn changed(&self) -> Vec<Member> {
        let after = &self.networks[..self.own];
        let mut members = Vec::new();
        for (these, others) in [(&self.before[..], after), (after, &self.before[..])] {
            for this in these {
                let other = others.iter().find(|other| other.tenant == this.tenant);
                let known = other.map(|other| other.network.by_attachment()).unwrap_or_default();
                let differs = |member: &&Member| known.get(&member.attachment()) != Some(member);
                members.extend(this.network.members.iter().filter(differs).cloned());
            }
        }
        members
    }

    fn change<'b>(
        &self,
        place: usize,
        tenant: &'b str,
        members: &'b [Member],
        settled: &Unsettled,
    ) -> Change<'b> {
        let neighbourhood = &self.networks[place];
        let empty = Neighbourhood::new(Network::new(&self.name), tenant);
        let before = self.before.iter().find(|before| before.tenant == tenant).unwrap_or(&empty);
        let is_reliable = !before.is_damaged && !before.is_outdated && !neighbourhood.is_damaged;
        let own = || members.iter().filter(|member| member.tenant() == tenant);
        let names = own().flat_map(|member| neighbourhood.names_of(member));
        Change {
            members,
            containers: members.iter().map(|member| member.container_id.as_str()).collect(),
            tenant,
            // The same ADD again puts files right that somebody has damaged.
            is_own: members.is_empty() || own().next().is_some(),
            names: names.map(|name| name.to_ascii_lowercase()).collect(),
            patch: neighbourhood.patch(before),
            settled: settled.get(tenant).cloned().flatten().filter(|_| is_reliable),
        }
    }

    /// Changes the lines of the members in question alone, where a container's file is as it was left, and says whether
    /// it did.
    fn patch_hosts_of(&self, container_id: &str, place: usize, change: &Change<'_>) -> Result<bool, Error> {
        let Some(settled) = &change.settled else {
            return Ok(false);
        };
        if settled.passed_over.contains(container_id) {
            return Ok(false);
        }
        let own: Vec<Membership<'_>> = Membership::of(container_id, &self.networks[place]).collect();
        if own.iter().any(|own| own.member.names == Names::Links || change.is_apart(own.member)) {
            return Ok(false);
        }
        // Where the container is on other networks, its file is longer.
        let Some(start) = hosts::length_before_members(&own, self.ipv6, &change.names) else {
            return Ok(false);
        };
        Ok(self.locked.patch(container_id, files::HOSTS, start, &change.patch, settled.since)?)
    }

    /// Rewrites one container's hosts file, and makes its folder where somebody has removed it.
    pub(crate) fn rewrite_hosts_of(&mut self, container_id: &str) -> Result<(), Error> {
        let folder = match self.locked.container(container_id)? {
            Some(folder) => folder,
            None => self.locked.join(container_id, &self.name)?,
        };
        let text = self.hosts(container_id, Some(&folder))?;
        // What somebody has put behind the lines of members that have gone by now.
        let before: usize = self.before.iter().map(Neighbourhood::length).sum();
        let most = text.text.len() + before + 2 * foreign::MOST;
        let ours = self.may_be_ours(container_id);
        let written = files::write_hosts(&folder, &text, most, |line| ours.has(line))?;
        let path = folder.path().join(files::HOSTS);
        let note = |text: &str| self.locked.note(container_id, &format!("{}: {text}", path.display()));
        if written.is_cut {
            note(&format!(
                "of the lines that others have added, {} bytes are kept and the rest is left out",
                foreign::MOST
            ))?;
        }
        if written.is_replaced {
            note(
                "it could not be written and is another file by now: restart the container to have it see that",
            )?;
        }
        Ok(())
    }

    /// What a version before may have written to a container's file.
    fn may_be_ours<'b>(&'b self, container_id: &'b str) -> MayBeOurs<'b> {
        let networks: Vec<&Neighbourhood> = self.networks.iter().chain(&self.before).collect();
        let own: Vec<&Member> =
            networks.iter().flat_map(|network| network.members_of(container_id)).collect();
        let mut extra: HashMap<IpAddr, Vec<&str>> = HashMap::new();
        for host in own.iter().flat_map(|own| &own.extra_hosts) {
            extra.entry(host.address).or_default().push(&host.name);
        }
        MayBeOurs { networks, own, extra, names: RefCell::default() }
    }

    /// The places in `networks` of those that a container is on, in the order in which it joined them.
    fn networks_of(&mut self, container_id: &str, folder: Option<&Folder>) -> Result<Vec<usize>, Error> {
        let names = folder.map(|folder| self.locked.networks_of(folder)).transpose()?.unwrap_or_default();
        let is_on = |network: &Neighbourhood| network.members_of(container_id).next().is_some();
        let mut places = Vec::with_capacity(1);
        for name in &names {
            if *name == self.name {
                places.extend((0..self.own).filter(|&place| is_on(&self.networks[place])));
                continue;
            }
            // What is known of another network may be no more than what concerns another container.
            let is_known = |known: &Neighbourhood| {
                known.network.name == *name && known.network.is_seen_whole(&known.tenant) && is_on(known)
            };
            if !self.networks[self.own..].iter().any(is_known) {
                for read in Neighbourhood::all(&self.locked.around(name, &[container_id], None)?) {
                    let is_same = |known: &&mut Neighbourhood| {
                        known.network.name == *name && known.tenant == read.tenant
                    };
                    match self.networks[self.own..].iter_mut().find(is_same) {
                        Some(known) => *known = read,
                        None => self.networks.push(read),
                    }
                }
            }
            let others = self.own..self.networks.len();
            places.extend(
                others.filter(|&place| {
                    self.networks[place].network.name == *name && is_on(&self.networks[place])
                }),
            );
        }
        // Before ADD has noted it, the network in question is missing from the list.
        if !names.contains(&self.name) {
            places.extend((0..self.own).filter(|&place| is_on(&self.networks[place])));
        }
        Ok(places)
    }

    fn memberships<'b>(&'b self, container_id: &'b str, networks: &[usize]) -> Vec<Membership<'b>> {
        let networks = networks.iter().map(|&place| &self.networks[place]);
        networks.flat_map(|network| Membership::of(container_id, network)).collect()
    }
}

/// Whether a version before may have written a line: all that it says we would say to this container, of an address that
/// somebody has or had, or of an extra host.
struct MayBeOurs<'a> {
    networks: Vec<&'a Neighbourhood>,
    /// The container's own memberships.
    own: Vec<&'a Member>,
    /// The names of its extra hosts.
    extra: HashMap<IpAddr, Vec<&'a str>>,
    /// What each address that was asked for may be called: a file may have any number of lines of one.
    names: RefCell<HashMap<IpAddr, Rc<HashSet<String>>>>,
}

impl MayBeOurs<'_> {
    fn has(&self, line: &str) -> bool {
        let mut words = line.split_ascii_whitespace();
        let Some(address) = words.next().and_then(|word| word.parse().ok()) else {
            return false;
        };
        let is_somebodys = self.networks.iter().any(|network| network.members_at(address).next().is_some());
        if !is_somebodys && !self.extra.contains_key(&address) {
            return false;
        }
        let known = self.names.borrow().get(&address).cloned();
        let names = known.unwrap_or_else(|| {
            let names = Rc::new(self.names_at(address));
            self.names.borrow_mut().insert(address, Rc::clone(&names));
            names
        });
        words.all(|word| names.contains(word))
    }

    fn names_at(&self, address: IpAddr) -> HashSet<String> {
        let extra = self.extra.get(&address).into_iter().flatten();
        let mut names: HashSet<String> = extra.map(|name| (*name).to_owned()).collect();
        for network in &self.networks {
            for member in network.members_at(address) {
                names.extend(network.names_of(member));
                names.insert(format!("{}.{}", member.hostname, member.domain));
                names.insert(member.hostname.clone());
                let links = self.own.iter().flat_map(|own| &own.links);
                let meant = links.filter(|link| member.answers_to(&link.source));
                names.extend(meant.map(|link| link.alias.clone()));
            }
        }
        names
    }
}

impl Change<'_> {
    /// Whether a member's hosts file may have lines of the members that changed.
    fn concerns(&self, member: &Member) -> bool {
        self.is_own && member.names == Names::Network || self.is_apart(member)
    }

    /// Whether a member's hosts file changes in more than the block that all see: it is its own, or has links to them, or
    /// sees them as members of another tenant.
    fn is_apart(&self, member: &Member) -> bool {
        let is_guest = |changed: &Member| {
            member.names == Names::Network
                && changed.tenant() != self.tenant
                && changed.relation_to(member) != Relation::Stranger
        };
        self.containers.contains(member.container_id.as_str())
            || self.members.iter().any(|changed| changed.is_meant_by(member) || is_guest(changed))
    }
}

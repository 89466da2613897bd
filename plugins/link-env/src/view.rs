//! What containers can see: the memberships of each, gathered from the registry, and the files that follow from them.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::path::Path;
use std::rc::Rc;

use registry::{Folder, Locked, Member, Names, Network, Patch, Settled};

use crate::env::{self, Gift};
use crate::error::Error;
use crate::files;
use crate::foreign;
use crate::hosts::{self, Membership, Text};
use crate::neighbourhood::Neighbourhood;

/// The registry as it is, but for one network, which is as it is about to be.
pub(crate) struct View<'a> {
    locked: &'a Locked,
    /// The network in question first, then others as containers turn out to be on them.
    networks: Vec<Neighbourhood>,
    /// The first network as it was, where it was another one.
    before: Option<Neighbourhood>,
    ipv6: bool,
}

/// What was another way before, and so may have to be told to others.
struct Change {
    /// Their containers.
    containers: HashSet<String>,
    /// What a link's source may call them by.
    sources: HashSet<String>,
    /// Their names as others see them, in small letters.
    names: Vec<String>,
    /// The change of the block that all see who see every member.
    patch: Patch,
    /// When every hosts file was as it should be.
    settled: Option<Settled>,
}

impl<'a> View<'a> {
    pub(crate) fn new(locked: &'a Locked, network: Network) -> Self {
        Self {
            locked,
            networks: vec![Neighbourhood::new(network)],
            before: None,
            // Absent where the kernel has no IPv6, or was started with ipv6.disable=1.
            ipv6: Path::new("/proc/sys/net/ipv6").exists(),
        }
    }

    /// The same, knowing what the network was before: hosts files may have lines of that.
    pub(crate) fn knowing(self, before: Network) -> Self {
        Self { before: Some(Neighbourhood::new(before)), ..self }
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
        settled: Option<Settled>,
        own: Option<&str>,
    ) -> Result<(), Error> {
        let before = Neighbourhood::new(before.clone());
        let neighbourhood = &self.networks[0];
        let is_reliable = !before.is_damaged && !before.is_outdated && !neighbourhood.is_damaged;
        let settled = settled.filter(|_| is_reliable);
        let members = changed(&before.network, &neighbourhood.network);
        let names = members.iter().flat_map(|member| neighbourhood.names_of(member));
        let names = names.map(|name| name.to_ascii_lowercase()).collect();
        let change = Change {
            containers: members.iter().map(|member| member.container_id.clone()).collect(),
            sources: members.iter().flat_map(Member::sources).collect(),
            names,
            patch: neighbourhood.patch(&before),
            settled,
        };
        let mut passed_over: Vec<String> = Vec::new();
        let mut known = HashSet::new();
        let sees = neighbourhood.network.members.iter().filter(|member| change.concerns(member));
        let concerned: Vec<String> = sees.map(|member| member.container_id.clone()).collect();
        self.before = Some(before);
        for container_id in concerned.into_iter().filter(|container_id| known.insert(container_id.clone())) {
            if let Ok(true) = self.patch_hosts_of(&container_id, &change) {
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
        // Where nobody sees all, no file is ever patched.
        let network = &self.networks[0].network;
        if network.is_seen_whole()
            && let Err(error) = self.locked.settle(&network.name, &passed_over)
            && passed_over.is_empty()
        {
            return Err(error.into());
        }
        Ok(())
    }

    /// Changes the lines of the members in question alone, where a container's file is as it was left, and says whether
    /// it did.
    fn patch_hosts_of(&self, container_id: &str, change: &Change) -> Result<bool, Error> {
        let Some(settled) = &change.settled else {
            return Ok(false);
        };
        if settled.passed_over.contains(container_id) {
            return Ok(false);
        }
        let own: Vec<Membership<'_>> = Membership::of(container_id, &self.networks[0]).collect();
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
            None => self.locked.join(container_id, &self.networks[0].network.name)?,
        };
        let text = self.hosts(container_id, Some(&folder))?;
        // What somebody has put behind the lines of members that have gone by now.
        let most =
            text.text.len() + self.before.as_ref().map_or(0, Neighbourhood::length) + 2 * foreign::MOST;
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
        let mut aliases: HashMap<&str, Vec<&str>> = HashMap::new();
        for link in own.iter().flat_map(|own| &own.links) {
            aliases.entry(&link.source).or_default().push(&link.alias);
        }
        MayBeOurs { networks, extra, aliases, names: RefCell::default() }
    }

    /// The places in `networks` of those that a container is on, in the order in which it joined them.
    fn networks_of(&mut self, container_id: &str, folder: Option<&Folder>) -> Result<Vec<usize>, Error> {
        let names = folder.map(|folder| self.locked.networks_of(folder)).transpose()?;
        let mut places = Vec::with_capacity(1);
        for name in names.unwrap_or_default() {
            let known = self.networks.iter().position(|known| known.network.name == name);
            let place = known.unwrap_or(self.networks.len());
            // What is known of another network may be no more than what concerns another container.
            if place > 0 && !known.is_some_and(|place| self.networks[place].network.is_seen_whole()) {
                let network = Neighbourhood::new(self.locked.around(&name, &[container_id], None)?);
                match self.networks.get_mut(place) {
                    Some(known) => *known = network,
                    None => self.networks.push(network),
                }
            }
            places.push(place);
        }
        // Before ADD has noted it, the network in question is missing from the list.
        if !places.contains(&0) {
            places.push(0);
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
    /// The names of the container's extra hosts.
    extra: HashMap<IpAddr, Vec<&'a str>>,
    /// What its links call a source.
    aliases: HashMap<&'a str, Vec<&'a str>>,
    /// What each address that was asked for may be called: a file may have any number of lines of one.
    names: RefCell<HashMap<IpAddr, Rc<HashSet<String>>>>,
}

impl MayBeOurs<'_> {
    fn has(&self, line: &str) -> bool {
        let mut words = line.split_ascii_whitespace();
        let Some(address) = words.next().and_then(|word| word.parse().ok()) else {
            return false;
        };
        let known = self.names.borrow().get(&address).cloned();
        let names = known.unwrap_or_else(|| {
            let names = Rc::new(self.names_at(address));
            // Whatever else there is asked for is nobody's, and soon told.
            if !names.is_empty() {
                self.names.borrow_mut().insert(address, Rc::clone(&names));
            }
            names
        });
        !names.is_empty() && words.all(|word| names.contains(word))
    }

    fn names_at(&self, address: IpAddr) -> HashSet<String> {
        let extra = self.extra.get(&address).into_iter().flatten();
        let mut names: HashSet<String> = extra.map(|name| (*name).to_owned()).collect();
        for network in &self.networks {
            for member in network.members_at(address) {
                names.extend(network.names_of(member));
                names.insert(format!("{}.{}", member.hostname, member.domain));
                names.insert(member.hostname.clone());
                let sources = member.sources();
                let aliases = sources.iter().filter_map(|source| self.aliases.get(source.as_str())).flatten();
                names.extend(aliases.map(|alias| (*alias).to_owned()));
            }
        }
        names
    }
}

impl Change {
    /// Whether a member's hosts file may have lines of the members that changed.
    fn concerns(&self, member: &Member) -> bool {
        member.names == Names::Network || self.is_apart(member)
    }

    /// Whether a member's hosts file changes in more than the block that all see: it is its own, or has links to them.
    fn is_apart(&self, member: &Member) -> bool {
        self.containers.contains(&member.container_id)
            || member.links.iter().any(|link| self.sources.contains(&link.source))
    }
}

/// The members, as they were and as they are, that are not the same in both.
fn changed(before: &Network, after: &Network) -> Vec<Member> {
    let mut changed = Vec::new();
    for (these, others) in [(before, after), (after, before)] {
        let others = others.by_attachment();
        let differs = |member: &&Member| others.get(&member.attachment()) != Some(member);
        changed.extend(these.members.iter().filter(differs).cloned());
    }
    changed
}

//! What containers can see: the memberships of each, gathered from the registry, and the files that follow from them.

use std::collections::HashSet;
use std::path::Path;

use registry::{Folder, Locked, Member, Names, Network};

use crate::env::{self, Environment};
use crate::error::Error;
use crate::files;
use crate::hosts::{self, Membership};
use crate::neighbourhood::Neighbourhood;

/// The registry as it is, but for one network, which is as it is about to be.
pub(crate) struct View<'a> {
    locked: &'a Locked,
    /// The network in question first, then others as containers turn out to be on them.
    networks: Vec<Neighbourhood>,
    ipv6: bool,
}

impl<'a> View<'a> {
    pub(crate) fn new(locked: &'a Locked, network: Network) -> Self {
        Self {
            locked,
            networks: vec![Neighbourhood::new(network)],
            // Absent where the kernel has no IPv6, or was started with ipv6.disable=1.
            ipv6: Path::new("/proc/sys/net/ipv6").exists(),
        }
    }

    /// The hosts file that a container should have; `folder` is its own, where it has one yet.
    pub(crate) fn hosts(&mut self, container_id: &str, folder: Option<&Folder>) -> Result<String, Error> {
        let networks = self.networks_of(folder)?;
        Ok(hosts::text(&self.memberships(container_id, &networks), self.ipv6))
    }

    /// The environment that a container's links give it now; `folder` as for [`View::hosts`].
    pub(crate) fn environment(
        &mut self,
        container_id: &str,
        folder: Option<&Folder>,
    ) -> Result<Environment, Error> {
        let networks = self.networks_of(folder)?;
        env::of_container(&self.memberships(container_id, &networks))
    }

    /// Rewrites the hosts files of everybody who sees the members that changed. Goes on past failures.
    pub(crate) fn rewrite_hosts(&mut self, changed: &[Member]) -> Result<(), Error> {
        let mut failures = Vec::new();
        for container_id in concerned(&self.networks[0].network, changed) {
            failures.extend(self.rewrite_hosts_of(&container_id).err().map(cni::Error::from));
        }
        Ok(cni::Error::all(failures)?)
    }

    /// Rewrites one container's hosts file, and makes its folder where somebody has removed it.
    pub(crate) fn rewrite_hosts_of(&mut self, container_id: &str) -> Result<(), Error> {
        let folder = match self.locked.container(container_id)? {
            Some(folder) => folder,
            None => self.locked.join(container_id, &self.networks[0].network.name)?,
        };
        let text = self.hosts(container_id, Some(&folder))?;
        files::write_hosts(&folder, &text)
    }

    /// The places in `networks` of those that a container is on, in the order in which it joined them.
    fn networks_of(&mut self, folder: Option<&Folder>) -> Result<Vec<usize>, Error> {
        let names = folder.map(|folder| self.locked.networks_of(folder)).transpose()?;
        let mut places = Vec::with_capacity(1);
        for name in names.unwrap_or_default() {
            let known = self.networks.iter().position(|known| known.network.name == name);
            let place = known.unwrap_or(self.networks.len());
            if known.is_none() {
                self.networks.push(Neighbourhood::new(self.locked.network(&name)?));
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

/// The containers of a network whose hosts file may have lines of the members that changed, each once.
fn concerned(network: &Network, changed: &[Member]) -> Vec<String> {
    let sees = |member: &Member| {
        member.names == Names::Network
            || changed.iter().any(|changed| {
                changed.container_id == member.container_id
                    || member.links.iter().any(|link| changed.answers_to(&link.source))
            })
    };
    let mut known = HashSet::new();
    let members = network.members.iter().filter(|member| sees(member));
    members
        .filter(|member| known.insert(&member.container_id))
        .map(|member| member.container_id.clone())
        .collect()
}

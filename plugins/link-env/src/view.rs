//! What containers see: the memberships of each, read from the registry, and the hosts files and variables made of them.

use std::path::Path;

use registry::{Folder, Locked, Member, Names, Network};

use crate::env::{self, LinkVariables};
use crate::error::Error;
use crate::files;
use crate::hosts::block::HostsBlock;
use crate::hosts::former::FormerLines;
use crate::hosts::merge;
use crate::hosts::text::{self, Membership, Text};
use crate::hosts_change::{HostsChange, Unsettled, changed_members};
use crate::name::distinct;

/// The registry as it is, but for one network, which is as it will be after a change.
pub(crate) struct View<'a> {
    locked: &'a Locked,
    /// The network that changes.
    name: String,
    /// The blocks of its tenants, `own` of them; then those of other networks, read when a container is on them.
    blocks: Vec<HostsBlock>,
    own: usize,
    /// The blocks of the network's tenants before the change.
    before: Vec<HostsBlock>,
    ipv6: bool,
}

impl<'a> View<'a> {
    pub(crate) fn new(locked: &'a Locked, network: &Network) -> Self {
        let blocks = HostsBlock::all(network);
        Self {
            locked,
            name: network.name.clone(),
            own: blocks.len(),
            blocks,
            before: Vec::new(),
            // Absent where the kernel has no IPv6, or was started with ipv6.disable=1.
            ipv6: Path::new("/proc/sys/net/ipv6").exists(),
        }
    }

    /// The same, with what the network was before the change: hosts files may have lines of that.
    pub(crate) fn knowing(self, before: &Network) -> Self {
        Self { before: HostsBlock::all(before), ..self }
    }

    /// The hosts file that a container should have; `folder` is its own, where it has one yet.
    pub(crate) fn hosts(&mut self, container_id: &str, folder: Option<&Folder>) -> Result<Text, Error> {
        let ipv6 = self.ipv6;
        Ok(text::text(&self.memberships(container_id, folder)?, ipv6))
    }

    /// The variables that a container's links give it now. `folder` as for [`View::hosts`], `must_fit` as for
    /// [`env::of_container`].
    pub(crate) fn environment(
        &mut self,
        container_id: &str,
        folder: Option<&Folder>,
        must_fit: impl Fn(&Member, &Member) -> bool,
    ) -> Result<LinkVariables, Error> {
        env::of_container(&self.memberships(container_id, folder)?, must_fit)
    }

    /// Rewrites the hosts files that the change from `before` concerns. `settled` says when all of them were right the last
    /// time. A file that cannot be written is noted and skipped: one container must not keep others from coming and going.
    ///
    /// # Errors
    /// The failure of the file of the container `own`.
    pub(crate) fn rewrite_hosts(
        &mut self,
        before: &Network,
        settled: &Unsettled,
        own: Option<&str>,
    ) -> Result<(), Error> {
        self.before = HostsBlock::all(before);
        let members = changed_members(&self.before, &self.blocks[..self.own]);
        for index in 0..self.own {
            let block = &self.blocks[index];
            let tenant = block.tenant.clone();
            let is_seen_whole = block.network.is_seen_whole(&tenant);
            let last = settled.get(&tenant);
            let before = self.before.iter().find(|before| before.tenant == tenant);
            let change = HostsChange::new(before, block, &members, last.cloned());
            let concerned = block.network.members.iter().filter(|member| change.concerns(member));
            let concerned: Vec<String> =
                distinct(concerned.map(|member| member.container_id.clone()).collect());
            // A file that was skipped before, and that this change does not concern, is still wrong.
            let before = last.iter().filter(|_| !change.is_own).flat_map(|settled| &settled.passed_over);
            let mut skipped: Vec<String> = before.filter(|id| !concerned.contains(id)).cloned().collect();
            for container_id in concerned {
                if let Ok(true) = self.patch_hosts_of(&container_id, index, &change) {
                    continue;
                }
                match self.rewrite_hosts_of(&container_id) {
                    Err(error) if own == Some(&container_id) => return Err(error),
                    Err(error) => {
                        // What keeps the file from being written may also keep the note from being written.
                        let _ = self.locked.note(&container_id, &format!("{error}: it stays as it was"));
                        skipped.push(container_id);
                    }
                    Ok(()) => {}
                }
            }
            // Where nobody sees all members, no file is ever patched. A change of another tenant alone rewrites few files, and
            // so does not make wrong ones right.
            if (change.is_own || last.is_some())
                && is_seen_whole
                && let Err(error) = self.locked.settle(&self.name, &tenant, &skipped)
                && skipped.is_empty()
            {
                return Err(error.into());
            }
        }
        Ok(())
    }

    /// Changes only the lines of the members that changed, where a container's file is as it was left. Returns whether it did.
    fn patch_hosts_of(
        &self,
        container_id: &str,
        block: usize,
        change: &HostsChange<'_>,
    ) -> Result<bool, Error> {
        let Some(settled) = &change.settled else {
            return Ok(false);
        };
        if settled.passed_over.contains(container_id) {
            return Ok(false);
        }
        let own: Vec<Membership<'_>> = Membership::of(container_id, &self.blocks[block]).collect();
        if own.iter().any(|own| own.member.names == Names::Links || change.is_apart(own.member)) {
            return Ok(false);
        }
        // The file of a container on several networks is longer, and so not patched.
        let Some(start) = text::length_before_members(&own, self.ipv6, &change.names) else {
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
        // Somebody may have added lines after those of members that have left.
        let before: usize = self.before.iter().map(HostsBlock::length).sum();
        let most = text.text.len() + before + 2 * merge::MOST;
        let former = FormerLines::of(container_id, self.blocks.iter().chain(&self.before).collect());
        for note in files::write_hosts(&folder, &text, most, |line| former.has(line))? {
            let path = folder.path().join(files::HOSTS);
            self.locked.note(container_id, &format!("{}: {note}", path.display()))?;
        }
        Ok(())
    }

    /// A container's memberships, in the order in which it joined their networks.
    fn memberships<'b>(
        &'b mut self,
        container_id: &'b str,
        folder: Option<&Folder>,
    ) -> Result<Vec<Membership<'b>>, Error> {
        let mut names = folder.map(|folder| self.locked.networks_of(folder)).transpose()?.unwrap_or_default();
        // ADD writes the list later than it asks.
        if !names.contains(&self.name) {
            names.push(self.name.clone());
        }
        for name in names.iter().filter(|name| **name != self.name) {
            // Of another network, no more may have been read than what concerns another container.
            let is_known = |block: &HostsBlock| {
                block.network.name == *name
                    && block.members_of(container_id).next().is_some()
                    && block.network.is_seen_whole(&block.tenant)
            };
            if !self.blocks.iter().any(is_known) {
                let read = HostsBlock::all(&self.locked.around(name, &[container_id], None)?);
                let is_read = |known: &HostsBlock| {
                    known.network.name == *name && read.iter().any(|block| block.tenant == known.tenant)
                };
                self.blocks.retain(|known| !is_read(known));
                self.blocks.extend(read);
            }
        }
        let blocks_of = |network| self.blocks.iter().filter(move |block| block.network.name == network);
        let blocks = names.into_iter().flat_map(blocks_of);
        Ok(blocks.flat_map(|block| Membership::of(container_id, block)).collect())
    }
}

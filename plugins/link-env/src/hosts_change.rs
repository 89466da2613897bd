//! What a change of a network means for the hosts files of one tenant: whose file it concerns, and for whom it is no more
//! than a patch of the block that all have.

use std::collections::{BTreeMap, BTreeSet};

use registry::{Locked, Member, Names, Network, Patch, Relation, Settled};

use crate::error::Error;
use crate::hosts::block::HostsBlock;

/// For each tenant all of whose hosts files were right, the last time that they were.
pub(crate) type Unsettled = BTreeMap<String, Settled>;

/// Records that hosts files are about to change. Returns what was recorded before.
pub(crate) fn unsettle(locked: &Locked, before: &Network, after: &Network) -> Result<Unsettled, Error> {
    let mut tenants = BTreeSet::new();
    for network in [before, after] {
        tenants.extend(network.tenants().into_iter().filter(|tenant| network.is_seen_whole(tenant)));
    }
    let mut settled = Unsettled::new();
    for tenant in tenants {
        if let Some(last) = locked.settled(&after.name, tenant)? {
            locked.unsettle(&after.name, tenant)?;
            settled.insert(tenant.to_owned(), last);
        }
    }
    Ok(settled)
}

/// The members, as they were and as they are, that a change of the network's blocks concerns.
pub(crate) fn changed_members(before: &[HostsBlock], after: &[HostsBlock]) -> Vec<Member> {
    let mut members = Vec::new();
    for (these, others) in [(before, after), (after, before)] {
        for this in these {
            let other = others.iter().find(|other| other.tenant == this.tenant);
            let known = other.map(|other| other.network.by_attachment()).unwrap_or_default();
            let differs = |member: &&Member| known.get(&member.attachment()) != Some(member);
            members.extend(this.network.members.iter().filter(differs).cloned());
        }
    }
    members
}

/// The change as one tenant sees it.
pub(crate) struct HostsChange<'a> {
    /// Members of all tenants that joined, left or became different, before and after.
    members: &'a [Member],
    tenant: String,
    /// Some of the members are of this tenant, or there are none at all.
    pub(crate) is_own: bool,
    /// The names of those, in lower case.
    pub(crate) names: Vec<String>,
    /// The change of the tenant's block.
    pub(crate) patch: Patch,
    /// The last time that all hosts files were right, where that is known for sure.
    pub(crate) settled: Option<Settled>,
}

impl<'a> HostsChange<'a> {
    /// Compares a tenant's block with the one before. `members` are [`changed_members`].
    pub(crate) fn new(
        before: Option<&HostsBlock>,
        after: &HostsBlock,
        members: &'a [Member],
        settled: Option<Settled>,
    ) -> Self {
        let tenant = &after.tenant;
        let empty = HostsBlock::new(Network::new(&after.network.name), tenant);
        let before = before.unwrap_or(&empty);
        let is_reliable = !before.is_damaged && !before.is_outdated && !after.is_damaged;
        let own = || members.iter().filter(|member| member.tenant() == tenant);
        let names = own().flat_map(|member| after.names_of(member));
        Self {
            members,
            // The same ADD again repairs files that somebody has damaged.
            is_own: members.is_empty() || own().next().is_some(),
            names: names.map(|name| name.to_ascii_lowercase()).collect(),
            patch: after.patch(before),
            settled: settled.filter(|_| is_reliable),
            tenant: tenant.clone(),
        }
    }

    /// Whether a member's hosts file may have lines of the members that changed.
    pub(crate) fn concerns(&self, member: &Member) -> bool {
        self.is_own && member.names == Names::Network || self.is_apart(member)
    }

    /// Whether a member's hosts file changes outside the block: the member itself changes, has links to those that do, or
    /// sees them as members of another tenant.
    pub(crate) fn is_apart(&self, member: &Member) -> bool {
        let is_guest = |changed: &Member| {
            member.names == Names::Network
                && changed.tenant() != self.tenant
                && changed.relation_to(member) != Relation::Stranger
        };
        let container_id = &member.container_id;
        let is_related = |changed: &Member| changed.is_meant_by(member) || is_guest(changed);
        self.members.iter().any(|changed| changed.container_id == *container_id || is_related(changed))
    }
}

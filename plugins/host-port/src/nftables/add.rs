//! ADD: everything in one transaction. What is in its way is a conflict, or was left behind and is removed first.

use cni::{ContainerId, trace};
use nftables::ledger::{self, Change, Entry};
use nftables::{Batch, Chain, Socket, Table};

use super::conflict::{Conflict, resolve};
use super::free_ports::{self, Choice};
use super::owner::Owner;
use super::owner_record::Record;
use super::plan::Plan;
use super::table::{OWNERS, TABLE};
use super::{holdings, localhost, route_localnet, skeleton, standby};
use crate::backend::Wanted;
use crate::conf::Mapping;
use crate::error::Error;
use crate::iptables::taken;
use crate::port::Port;
use crate::{flows, listener};

/// The ADD of an attachment: what is to be in the table, and what was decided for it so far.
pub(crate) struct Publish<'a> {
    wanted: &'a Wanted<'a>,
    /// Host ports that were left open are filled in as they are chosen.
    mappings: Vec<Mapping>,
    choice: Choice,
    /// Whether this ADD repeats one, as to put back what is missing.
    repeats: bool,
    plan: Plan,
}

impl<'a> Publish<'a> {
    /// Decides what is to be there. With `by_iptables` iptables publishes the ports, and only localhost leads to them by this
    /// table.
    pub(crate) fn new(
        rules: &mut Socket,
        wanted: &'a Wanted<'a>,
        known: &[Port],
        by_iptables: bool,
    ) -> Result<Self, Error> {
        let mut mappings = wanted.conf.mappings.clone();
        let mut choice = Choice::new(&mappings);
        // An ADD that is repeated keeps the ports that it chose.
        free_ports::recall(&mut mappings, known);
        choice.fill(rules, wanted, &mut mappings)?;
        let plan = Plan::new(wanted, &mappings, wanted.container.localnets.clone(), by_iptables)?;
        Ok(Self { wanted, mappings, choice, repeats: false, plan })
    }

    /// Publishes the ports. A failure before the transaction leaves nothing behind; one after it is for the caller to
    /// undo, by removing the owner. `nat_tables` are those of iptables that may have published a port before.
    pub(crate) fn run(mut self, rules: &mut Socket, nat_tables: &[Table]) -> Result<(), Error> {
        if self.plan.ports.is_empty() {
            return Ok(());
        }
        let Wanted { attachment, conf, container } = self.wanted;
        listener::refuse(conf, self.plan.ports.iter().map(|(_, port)| port))?;
        taken::refuse_taken(rules, nat_tables, attachment, &self.plan.ports)?;
        self.commit(rules)?;
        for (_, port) in &self.plan.ports {
            port.trace();
        }
        if !container.localnets.is_empty() {
            let mut links = netlink::Socket::open()?;
            for interface in &container.localnets {
                if localhost::enable(&mut links, interface)? {
                    localhost::take_back(rules, interface)?;
                }
            }
            route_localnet::close_left_on(rules, &mut links, container)?;
        }
        flows::forget_unpublished(rules, self.plan.ports.iter().map(|(_, port)| port))
    }

    /// Puts the plan into the table, in one transaction.
    pub(crate) fn commit(&mut self, rules: &mut Socket) -> Result<(), Error> {
        ledger::put(rules, &mut [self])
    }

    /// Removes what was left behind in the plan's way, yields to what others have rightly, and chooses another free port for
    /// one that was lost. Fails where another container has a port that was asked for by number.
    fn resolve(&mut self, rules: &mut Socket) -> Result<(), Error> {
        match resolve(rules, &self.plan, &self.wanted.attachment.container_id)? {
            Conflict::None | Conflict::Removed => {}
            Conflict::Repeated => {
                trace::decided("table", &[("is", &"completed"), ("why", &"this ADD repeats one")]);
                self.repeats = true;
            }
            Conflict::Earlier(found) => self.plan.earlier.extend(found),
            Conflict::Taken { at, port, holder } => {
                trace::decided("conflict", &[("port", &port), ("with", &holder)]);
                if !self.choice.reopen(&mut self.mappings, at) {
                    return Err(Error::Taken { port, holder });
                }
                self.choice.fill(rules, self.wanted, &mut self.mappings)?;
                let locals = self.plan.chain.locals.clone();
                self.plan = Plan::new(self.wanted, &self.mappings, locals, self.plan.by_iptables)?;
            }
        }
        Ok(())
    }

    /// Adds everything to a transaction. Chains and the table's version are looked up first: a refused transaction costs the kernel a
    /// grace period.
    fn fill(&self, rules: &mut Socket, batch: &mut Batch) -> Result<(), Error> {
        let plan = &self.plan;
        let has_chain = rules.has_chain(&Chain::new(TABLE, &plan.chain.name))?;
        if !has_chain || self.repeats {
            if self.repeats || !skeleton::is_of_this_version(rules)? {
                skeleton::skeleton()?.make(batch);
            }
            plan.chain.put(batch, rules, has_chain)?;
        }
        for ((map, _), element, _) in plan.elements() {
            batch.create_element(map, &element);
        }
        batch.create_element(&OWNERS, &plan.record().element()?);
        self.choice.remember(rules, batch, &self.mappings)
    }
}

impl Entry<Error> for Publish<'_> {
    fn table(&self) -> Table<'static> {
        TABLE
    }

    fn prepare(&mut self, rules: &mut Socket, change: &mut Change) -> Result<(), Error> {
        if change.is_blocked {
            self.resolve(rules)?;
        }
        if !self.plan.earlier.owners.is_empty() {
            // What others have before this one must still be theirs in the transaction.
            change.needs_ruleset_as_read();
            self.plan.earlier.forget_gone(rules)?;
        }
        self.fill(rules, &mut change.batch)?;
        for owner in &self.plan.earlier.owners {
            if let Some(record) = Record::find(rules, owner)? {
                standby::enter(&mut change.batch, &record, std::slice::from_ref(&self.plan.owner))?;
            }
        }
        Ok(())
    }
}

/// The ports that an earlier ADD published, where some were its choice.
pub(crate) fn known(
    rules: &mut Socket,
    Wanted { attachment, conf, .. }: &Wanted,
) -> Result<Vec<Port>, Error> {
    if conf.mappings.iter().all(|mapping| mapping.host_port.is_some()) {
        return Ok(Vec::new());
    }
    let own = holdings::recall(rules, &Owner::of(attachment), &[])?;
    Ok(own.unwrap_or_default().ports)
}

/// For the backend of iptables: fails where a port is another container's in the table. What is this one's own, or was left
/// behind, goes.
pub(crate) fn clear_ports(rules: &mut Socket, wanted: &Wanted) -> Result<(), Error> {
    let mut plan = Plan::new(wanted, &wanted.conf.mappings, Vec::new(), false)?;
    // Iptables masquerades by ports, not by addresses.
    plan.hair.clear();
    let container_id = &wanted.attachment.container_id;
    ledger::put(rules, &mut [&mut Clearing { plan, container_id, is_clear: false }])
}

/// Looks for conflicts until there is none: each look removes what it finds.
struct Clearing<'a> {
    plan: Plan,
    container_id: &'a ContainerId,
    is_clear: bool,
}

impl Entry<Error> for Clearing<'_> {
    fn table(&self) -> Table<'static> {
        TABLE
    }

    fn prepare(&mut self, rules: &mut Socket, _: &mut Change) -> Result<(), Error> {
        match resolve(rules, &self.plan, self.container_id)? {
            Conflict::Taken { port, holder, .. } => return Err(Error::Taken { port, holder }),
            Conflict::None => self.is_clear = true,
            // Both have it: the one goes first, and the other remains when that is left.
            Conflict::Earlier(found) => self.plan.ports.retain(|(_, port)| !found.ports.contains(port)),
            Conflict::Repeated | Conflict::Removed => {}
        }
        Ok(())
    }

    fn is_settled(&mut self, _: &mut Socket) -> Result<bool, Error> {
        Ok(self.is_clear)
    }
}

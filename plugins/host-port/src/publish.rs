//! ADD: everything in one transaction. What is in its way is a conflict, or was left behind and is removed first.

use cni::{Attachment, ContainerId};
use nftables::{Batch, Chain, Element, Socket, Table};

use crate::conf::{Conf, Mapping};
use crate::container::Container;
use crate::error::Error;
use crate::free::{self, Candidates};
use crate::holder::{Holder, Owner};
use crate::memory::{self, Place};
use crate::plan::{self, Plan};
use crate::port::{Port, Protocol};
use crate::remove::remove;
use crate::ruleset::{self, OWNERS, TABLE};
use crate::{chains, flows, listener, localhost};

/// How often a transaction is tried again when another process changed something in between.
pub(crate) const TRIES: usize = 50;

/// One ADD.
pub(crate) struct Publish<'a> {
    attachment: &'a Attachment,
    container: &'a Container,
    locals: Vec<String>,
    /// Host ports that were left open are filled in as they are chosen.
    conf: Conf,
    /// By place in `conf.mappings`: whether the host port is this plugin's choice.
    open: Vec<bool>,
    /// Made when first needed.
    candidates: Vec<(Protocol, Candidates)>,
    /// How often a port that was chosen was lost to somebody else.
    losses: u32,
    /// Whether this ADD repeats one, as to put back what is missing.
    repeats: bool,
}

impl<'a> Publish<'a> {
    pub(crate) fn new(
        rules: &mut Socket,
        attachment: &'a Attachment,
        mut conf: Conf,
        container: &'a Container,
    ) -> Result<Self, Error> {
        let open: Vec<bool> = conf.mappings.iter().map(|mapping| mapping.host_port.is_none()).collect();
        if open.contains(&true)
            && let Some(own) = memory::recall(rules, &Owner::of(attachment), &[])?
        {
            // An ADD that is repeated keeps the ports that it chose.
            free::recall(&mut conf.mappings, &own.ports);
        }
        let mut locals = Vec::with_capacity(container.localnets.len());
        for interface in &container.localnets {
            if container.was_off || localhost::is_ours(rules, interface)? {
                locals.push(interface.clone());
            }
        }
        Ok(Self {
            attachment,
            container,
            locals,
            conf,
            open,
            candidates: Vec::new(),
            losses: 0,
            repeats: false,
        })
    }

    /// Publishes the ports. A failure before the transaction leaves nothing behind; one after it is for the caller to
    /// undo, by removing the owner. `framed` are the tables of iptables that may have published a port before.
    pub(crate) fn run(mut self, rules: &mut Socket, framed: &[Table]) -> Result<(), Error> {
        let plan = self.plan(rules)?;
        if plan.ports.is_empty() {
            return Ok(());
        }
        if self.conf.check_listeners
            && let Some((_, port)) = plan.ports.iter().find(|(_, port)| listener::is_bound(port))
        {
            return Err(Error::Listened { port: *port, address: listener::address(port) });
        }
        chains::refuse_taken(rules, framed, self.attachment, &plan.ports)?;
        let plan = self.commit(rules, plan)?;
        for interface in &self.container.localnets {
            localhost::enable(interface)?;
        }
        flows::forget_unpublished(rules, plan.ports.iter().map(|(_, port)| port))
    }

    /// Without ports: for what closes 127.0.0.0/8 to neighbours while `route_localnet` is on.
    fn guard(mut self, rules: &mut Socket) -> Result<(), Error> {
        let plan = self.plan(rules)?;
        self.commit(rules, plan).map(drop)
    }

    fn plan(&mut self, rules: &mut Socket) -> Result<Plan, Error> {
        for at in 0..self.conf.mappings.len() {
            if self.conf.mappings[at].host_port.is_none() {
                self.choose(rules, at)?;
            }
        }
        let Container { addresses, interface, .. } = self.container;
        Plan::new(self.attachment, &self.conf, addresses, interface, self.locals.clone())
    }

    /// Gives a mapping a host port that is free as far as can be seen; whether it is, the transaction decides.
    fn choose(&mut self, rules: &mut Socket, at: usize) -> Result<(), Error> {
        let mapping: Mapping = self.conf.mappings[at];
        let known = self.candidates.iter().position(|(protocol, _)| *protocol == mapping.protocol);
        let index = if let Some(index) = known {
            index
        } else {
            let range = self.conf.free_ports.as_ref();
            let candidates = Candidates::new(rules, mapping.protocol, range, self.attachment)?;
            self.candidates.push((mapping.protocol, candidates));
            self.candidates.len() - 1
        };
        let candidates = &mut self.candidates[index].1;
        let port = candidates.choose(rules, &mapping, &self.conf.mappings, &self.container.addresses)?;
        self.conf.mappings[at].host_port = Some(port);
        Ok(())
    }

    fn commit(&mut self, rules: &mut Socket, mut plan: Plan) -> Result<Plan, Error> {
        for _ in 0..TRIES {
            match self.batch(rules, &plan)?.commit(rules) {
                Ok(()) => return Ok(plan),
                // What it leads to has just been removed, with the last container that needed it.
                Err(error) if error.is_not_found() => {}
                // Older kernels call a key that exists with other data busy.
                Err(error) if error.is_exists() || error.is_busy() => {
                    match clear_way(rules, &plan, &self.attachment.container_id)? {
                        Way::Clear | Way::Cleared => {}
                        Way::Repeated => self.repeats = true,
                        Way::Own(own) => plan.ports.retain(|(_, port)| *port != own),
                        Way::Taken { at, .. } if self.open[at] => {
                            self.losses += 1;
                            for (_, candidates) in &mut self.candidates {
                                candidates.step_aside(self.losses);
                            }
                            self.conf.mappings[at].host_port = None;
                            plan = self.plan(rules)?;
                        }
                        Way::Taken { port, holder, .. } => return Err(Error::Taken { port, holder }),
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Contended("publish ports"))
    }

    /// The whole of it. What has to be made besides the elements is asked for first: to try and be refused costs the
    /// kernel a grace period.
    fn batch(&self, rules: &mut Socket, plan: &Plan) -> Result<Batch, Error> {
        let mut batch = Batch::new();
        let has_chain = rules.has_chain(&Chain::new(TABLE, &plan.chain.name))?;
        if !has_chain || self.repeats {
            if !rules.has_table(&TABLE)? {
                ruleset::create_table(&mut batch)?;
            } else if self.repeats {
                ruleset::restore_table(&mut batch)?;
            }
            if has_chain {
                plan.chain.restore(&mut batch, rules)?;
            } else {
                plan.chain.create(&mut batch, rules)?;
            }
        }
        for ((map, _), element, _) in plan.elements() {
            batch.create_element(map, &element);
        }
        batch.create_element(&OWNERS, &plan.memory()?);
        // By protocol the last that was chosen.
        for (protocol, _) in &self.candidates {
            let chosen = self.conf.mappings.iter().zip(&self.open).rev();
            let last = chosen.filter(|(_, open)| **open).find(|(mapping, _)| mapping.protocol == *protocol);
            if let Some(port) = last.and_then(|(mapping, _)| mapping.host_port) {
                free::remember(rules, &mut batch, *protocol, port)?;
            }
        }
        Ok(batch)
    }
}

/// ADD with the iptables backend. What a failure leaves is for the caller to undo.
pub(crate) fn by_chains(
    mut rules: Option<&mut Socket>,
    attachment: &Attachment,
    conf: &Conf,
    container: &Container,
) -> Result<(), Error> {
    let ports = plan::published(&conf.mappings, &container.addresses)?;
    if ports.is_empty() {
        return Ok(());
    }
    if conf.check_listeners
        && let Some(port) = ports.iter().find(|port| listener::is_bound(port))
    {
        return Err(Error::Listened { port: *port, address: listener::address(port) });
    }
    if let Some(rules) = rules.as_deref_mut() {
        let plan = Plan::new(attachment, conf, &container.addresses, &container.interface, Vec::new())?;
        clear_ports(rules, plan, &attachment.container_id)?;
        if !container.localnets.is_empty() {
            Publish::new(rules, attachment, conf.without_ports(), container)?.guard(rules)?;
        }
    }
    for interface in &container.localnets {
        localhost::enable(interface)?;
    }
    chains::add(rules, attachment, conf, container, &ports)?;
    // The kernel has connection tracking without nf_tables as well.
    flows::forget_unpublished(&mut Socket::open()?, ports.iter())
}

/// Fails where a port is another container's in the table. What is this one's own, or was left behind, goes.
fn clear_ports(rules: &mut Socket, mut plan: Plan, container_id: &ContainerId) -> Result<(), Error> {
    for _ in 0..TRIES {
        match clear_way(rules, &plan, container_id)? {
            Way::Taken { port, holder, .. } => return Err(Error::Taken { port, holder }),
            Way::Clear => return Ok(()),
            Way::Own(own) => plan.ports.retain(|(_, port)| *port != own),
            Way::Repeated | Way::Cleared => {}
        }
    }
    Err(Error::Contended("publish ports"))
}

/// What stands in the way of a transaction.
enum Way {
    /// Nothing: somebody else has just made the table or the chain.
    Clear,
    /// What was left behind, which has been removed.
    Cleared,
    /// The attachment's own of before, which has been removed.
    Repeated,
    /// The container itself has this port, by another of its networks.
    Own(Port),
    /// Another container has the port of the mapping at this place.
    Taken { at: usize, port: Port, holder: String },
}

/// Looks for what is under the plan's keys.
fn clear_way(rules: &mut Socket, plan: &Plan, container_id: &ContainerId) -> Result<Way, Error> {
    // This attachment's own is of an ADD that the runtime repeats, or of a DEL that never came.
    if rules.get_element(&OWNERS, &[plan.owner.key()?])?.is_some() {
        remove(rules, &plan.owner, &[])?;
        return Ok(Way::Repeated);
    }
    for (place, _, port) in plan.elements() {
        let Some(found) = rules.get_element(place.0, &place.1)? else {
            continue;
        };
        if let Some((at, port)) = port.and_then(|index| plan.ports.get(index))
            && !is_left_behind(plan, &found)?
        {
            return Ok(if is_own(container_id, port, &found) {
                Way::Own(*port)
            } else {
                Way::Taken { at: *at, port: *port, holder: holder(&found) }
            });
        }
        // An address has been given away anew, so that who had it before has gone; so has an owner without interface.
        evict(rules, &found, place)?;
        return Ok(Way::Cleared);
    }
    Ok(Way::Clear)
}

/// Whether an element leads from a port to the same port of the same container, by another of its networks.
pub(crate) fn is_own(container_id: &ContainerId, port: &Port, found: &Element) -> bool {
    let is_of = |comment: &String| Holder::is_of(comment, container_id);
    let other = Port::read(port.map(), found);
    found.comment.as_ref().is_some_and(is_of)
        && other.is_none_or(|other| other.container.port() == port.container.port())
}

/// Whether an element is this attachment's own, or that of a container whose interface has gone.
fn is_left_behind(plan: &Plan, found: &Element) -> Result<bool, Error> {
    let comment = found.comment.as_deref();
    if plan.owner.has(comment) {
        return Ok(true);
    }
    let Some(holder) = comment.and_then(Holder::read) else {
        return Ok(false);
    };
    Ok(netlink::Socket::open()?.get_link(&holder.interface)?.is_none())
}

/// Removes all that the element's owner has, or the element alone where it has none.
fn evict(rules: &mut Socket, found: &Element, place: Place) -> Result<(), Error> {
    match found.comment.as_deref().and_then(Owner::from_comment) {
        Some(owner) => remove(rules, &owner, &[place]),
        None => match Batch::new().del_element(place.0, &place.1).commit(rules) {
            Err(error) if !error.is_not_found() => Err(error.into()),
            _ => Ok(()),
        },
    }
}

fn holder(found: &Element) -> String {
    let comment = found.comment.as_deref().unwrap_or_default();
    match Holder::read(comment) {
        Some(holder) => holder.to_string(),
        None => format!("an element that this plugin did not write (comment {comment:?})"),
    }
}

//! The repair of one attachment: a dry run, in place, or by making it anew.

use std::collections::BTreeMap;

use bridge::Bridge;
use cni::{Chain, Code, Parameters, Plugin};
use host_port::HostPort;
use macvlan::{Ipvlan, Macvlan};

use super::recreate;
use crate::error::Error;
use crate::inventory::{Attached, keep_ports};
use crate::network::{LINK_ENV, text};
use crate::runtime::{Making, Runtime};

/// Plugins whose ADD finds its own work and completes it: host-port by both of its names, also the reference's portmap;
/// link-env; and the reference's firewall, which appends what is missing.
const REPEATABLE: [&str; 4] = [HostPort::NAME, "portmap", LINK_ENV, "firewall"];

/// The repair of one attachment.
pub(super) struct Repair<'a> {
    pub(super) attached: &'a Attached,
    making: Making,
    /// What was done.
    pub(super) done: Vec<String>,
    /// What is still broken.
    pub(super) left: Vec<String>,
    /// Whether another container has its address or its port by now.
    is_taken: bool,
    /// Whether the fault is the host's, so that making the attachment anew does not help.
    pub(super) is_the_hosts: bool,
}

/// What a plugin finds broken, by its place in the list.
type Differences = BTreeMap<usize, cni::Error>;

impl<'a> Repair<'a> {
    pub(super) fn new(attached: &'a Attached, mut making: Making) -> Self {
        keep_ports(&mut making, attached);
        Self { attached, making, done: Vec::new(), left: Vec::new(), is_taken: false, is_the_hosts: false }
    }

    /// Finds what is broken, and what would be done about it.
    pub(super) fn dry_run(&mut self, runtime: &Runtime<'_>) {
        self.left = match self.differences(runtime) {
            Ok(differences) => {
                let line = |(place, broken): (&usize, _)| format!("{broken}: {}", self.remedy(*place));
                differences.iter().map(line).collect()
            }
            Err(error) => vec![error.to_string()],
        };
    }

    /// Repairs what can be repaired in place.
    pub(super) fn in_place(&mut self, runtime: &Runtime<'_>) {
        if let Err(error) = self.try_in_place(runtime) {
            self.left = vec![error.to_string()];
        }
    }

    fn try_in_place(&mut self, runtime: &Runtime<'_>) -> Result<(), Error> {
        self.left.clear();
        self.is_the_hosts = false;
        let before = self.differences(runtime)?;
        if before.is_empty() {
            return Ok(());
        }
        let chain = runtime.chain(&self.making.list);
        let parameters = self.making.parameters(&self.attached.attachment);
        let mut failures = Differences::new();
        for (place, broken) in &before {
            if let Err(error) = self.fix(&chain, &parameters, *place, broken) {
                self.is_taken |= error.code() == Code::InUse.number();
                failures.insert(*place, error);
                // Another container may have the address by now. Without the interface, nothing may be made to lead there.
                if *place == 0 {
                    break;
                }
            }
        }
        // What counts is what CHECK says now.
        let after = self.differences(runtime)?;
        self.is_the_hosts = after.values().any(bridge::is_the_hosts);
        let fixed = before.iter().filter(|(place, _)| !after.contains_key(place));
        self.done.extend(fixed.map(|(_, broken)| format!("{broken}: put right")));
        let reason = |(place, broken)| failures.get(place).unwrap_or(broken).to_string();
        self.left = after.iter().map(reason).collect();
        Ok(())
    }

    /// DEL and ADD, for what could not be repaired in place. Where another container has the address or a port by now, ADD would
    /// be refused, and what is there is better than nothing. Where the fault is the host's, ADD does not help.
    pub(super) fn recreate(&mut self, runtime: &Runtime<'_>) {
        if self.left.is_empty() || self.is_taken || self.is_the_hosts {
            return;
        }
        if let Err(error) = recreate::expect_possible(runtime, &self.making, self.attached) {
            self.left.push(format!("not made anew: {error}"));
            return;
        }
        let broken = self.left.join("; ");
        match recreate::recreate(runtime, &mut self.making, self.attached) {
            Ok(()) => {
                self.done.push(format!("made anew: {broken}"));
                self.left.clear();
            }
            Err(error) => self.left.push(format!("make {} anew: {error}", self.attached.attachment)),
        }
    }

    fn fix(
        &self,
        chain: &Chain<'_>,
        parameters: &Parameters<'_>,
        place: usize,
        broken: &cni::Error,
    ) -> Result<(), cni::Error> {
        match (place, self.plugin_at(place)) {
            (0, Bridge::NAME) => {
                chain.request(0, parameters).and_then(|(request, target)| bridge::repair(&request, &target))
            }
            (0, name @ (Macvlan::NAME | Ipvlan::NAME)) => {
                let repair = |(request, target)| macvlan::repair(name, &request, &target);
                chain.request(0, parameters).and_then(repair)
            }
            (1.., name) if REPEATABLE.contains(&name) => chain.add_again(place, parameters),
            _ => Err(broken.clone()),
        }
    }

    fn differences(&self, runtime: &Runtime<'_>) -> Result<Differences, Error> {
        let attachment = &self.attached.attachment;
        let outcomes = runtime.chain(&self.making.list).check_each(&self.making.parameters(attachment));
        let outcomes = outcomes.map_err(Error::contract(format!("check {attachment}")))?;
        Ok(outcomes
            .into_iter()
            .map(Result::err)
            .enumerate()
            .filter_map(|(at, error)| Some((at, error?)))
            .collect())
    }

    fn plugin_at(&self, place: usize) -> &str {
        self.making.list.plugins.get(place).map_or("", |plugin| text(plugin, "type"))
    }

    /// What would be done about what a plugin finds broken.
    fn remedy(&self, place: usize) -> &'static str {
        match (place, self.plugin_at(place)) {
            (0, Bridge::NAME | Macvlan::NAME | Ipvlan::NAME) => {
                "to be put right in place, where the interface is still there"
            }
            (1.., name) if REPEATABLE.contains(&name) => "to be put right by another ADD",
            _ => "only --force mends it, which interrupts the container",
        }
    }
}

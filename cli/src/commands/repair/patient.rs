//! One attachment that is looked at, put right in place, or made anew.

use bridge::Bridge;
use cni::{Chain, Code, Parameters, Plugin, case_blind};
use host_port::HostPort;
use serde_json::Value;

use super::anew;
use crate::endpoint::LINK_ENV;
use crate::error::Error;
use crate::inventory::{Attached, keep_ports};
use crate::runtime::{Making, Runtime};

/// Plugins whose ADD finds its own work there and completes it: host-port by both of its names, also the reference's
/// portmap; link-env; and the reference's firewall, which appends what is not there.
const REPEATABLE: [&str; 4] = [HostPort::NAME, "portmap", LINK_ENV, "firewall"];

/// An attachment that is looked at.
pub(super) struct Patient<'a> {
    pub(super) attached: &'a Attached,
    making: Making,
    /// What was done.
    pub(super) done: Vec<String>,
    /// What is broken still, in its last words.
    pub(super) left: Vec<String>,
    /// Whether somebody else has its address or its port by now.
    is_taken: bool,
    /// Whether the host is at fault, whom making the attachment anew does not mend.
    pub(super) is_the_hosts: bool,
}

/// What a plugin finds broken, by its place in the list.
type Complaint = (usize, cni::Error);

impl<'a> Patient<'a> {
    pub(super) fn new(attached: &'a Attached, mut making: Making) -> Self {
        keep_ports(&mut making, attached);
        Self { attached, making, done: Vec::new(), left: Vec::new(), is_taken: false, is_the_hosts: false }
    }

    /// Says what is broken, and what would be done about it.
    pub(super) fn look(&mut self, runtime: &Runtime<'_>) {
        let left = self.complaints(runtime).map(|complaints| {
            let told = |(place, broken): Complaint| format!("{broken}: {}", self.prospect(place));
            complaints.into_iter().map(told).collect()
        });
        self.left = left.unwrap_or_else(|error| vec![error.to_string()]);
    }

    /// Puts right in place what can be. One that fails is told, and keeps nobody else from being treated.
    pub(super) fn treat(&mut self, runtime: &Runtime<'_>) {
        if let Err(error) = self.try_to_treat(runtime) {
            self.left = vec![error.to_string()];
        }
    }

    fn try_to_treat(&mut self, runtime: &Runtime<'_>) -> Result<(), Error> {
        self.left.clear();
        self.is_the_hosts = false;
        let complaints = self.complaints(runtime)?;
        if complaints.is_empty() {
            return Ok(());
        }
        let chain = runtime.chain(&self.making.list);
        let parameters = self.making.parameters(&self.attached.attachment);
        let (mut has_no_interface, mut failures) = (false, Vec::new());
        for (place, broken) in &complaints {
            // What is behind an interface that is not there must not come to lead to whichever container has its address
            // by now.
            if has_no_interface {
                break;
            }
            if let Err(error) = self.cure(&chain, &parameters, *place, broken) {
                has_no_interface |= *place == 0;
                self.is_taken |= error.code() == Code::InUse.number();
                failures.push((*place, error));
            }
        }
        // What counts is what CHECK says of it now.
        let still = self.complaints(runtime)?;
        self.is_the_hosts = still.iter().any(|(_, broken)| bridge::is_the_hosts(broken));
        let is_still = |place: usize| still.iter().any(|(at, _)| *at == place);
        let cured = complaints.iter().filter(|(place, _)| !is_still(*place));
        self.done.extend(cured.map(|(_, broken)| format!("{broken}: put right")));
        self.left = still
            .iter()
            .map(|(place, broken)| {
                let failure = failures.iter().find(|(at, _)| at == place).map(|(_, error)| error);
                failure.unwrap_or(broken).to_string()
            })
            .collect();
        Ok(())
    }

    /// DEL and ADD, for what could not be put right in place. An address or a port that somebody else has by now would be
    /// refused to the new one as well, and the old one is better than none. So it is where the host is at fault.
    pub(super) fn make_anew(&mut self, runtime: &Runtime<'_>) {
        if self.left.is_empty() || self.is_taken || self.is_the_hosts {
            return;
        }
        if let Err(error) = anew::expect_possible(runtime, &self.making, self.attached) {
            self.left.push(format!("not made anew: {error}"));
            return;
        }
        let broken = self.left.join("; ");
        match anew::rebuild(runtime, &mut self.making, self.attached) {
            Ok(()) => {
                self.done.push(format!("made anew: {broken}"));
                self.left.clear();
            }
            Err(error) => self.left.push(error.to_string()),
        }
    }

    fn cure(
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
            (1.., name) if REPEATABLE.contains(&name) => chain.add_again(place, parameters),
            _ => Err(broken.clone()),
        }
    }

    fn complaints(&self, runtime: &Runtime<'_>) -> Result<Vec<Complaint>, Error> {
        let attachment = &self.attached.attachment;
        let chain = runtime.chain(&self.making.list);
        let outcomes = chain.check_each(&self.making.parameters(attachment));
        let outcomes = outcomes.map_err(Error::contract(format!("check {attachment}")))?;
        let outcomes = outcomes.into_iter().enumerate();
        Ok(outcomes.filter_map(|(place, outcome)| Some((place, outcome.err()?))).collect())
    }

    fn plugin_at(&self, place: usize) -> &str {
        let plugin = self.making.list.plugins.get(place);
        plugin.and_then(|plugin| case_blind::get(plugin, "type")).and_then(Value::as_str).unwrap_or_default()
    }

    /// What would be done about a plugin's complaint.
    fn prospect(&self, place: usize) -> &'static str {
        match (place, self.plugin_at(place)) {
            (0, Bridge::NAME) => "to be put right in place, where the interface is still there",
            (1.., name) if REPEATABLE.contains(&name) => "to be put right by another ADD",
            _ => "only --force mends it, which interrupts the container",
        }
    }
}

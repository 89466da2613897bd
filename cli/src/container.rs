//! Runs a container of `cleat run`: makes its namespaces, attaches its networks, runs its command and removes all of it.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;

use cni::{ContainerId, NetworkList, case_blind, file};
use registry::{DEFAULT_STATE_DIR, Registry};
use serde_json::Value;

use crate::attach::NewAttachment;
use crate::container_id;
use crate::endpoint::{self, Endpoint, LINK_ENV};
use crate::environment::Environment;
use crate::error::Error;
use crate::handshake::Go;
use crate::inventory::Inventory;
use crate::network::obstacles;
use crate::runs::Run;
use crate::runtime::{Lock, Runtime};
use crate::sandbox::Sandbox;
use crate::signals::{self, Signals};
use crate::spec::{Joined, Spec};
use crate::way_out;

/// A container that is to run: its specification, checked before anything is made, and its networks.
pub(crate) struct Container<'a> {
    spec: &'a Spec,
    name: Option<&'a str>,
    environment: &'a Environment,
    runtime: Runtime<'a>,
    id: ContainerId,
    networks: Vec<(Joined, NetworkList)>,
    /// Whether the networks are others than those it was started with.
    is_moved: bool,
}

impl<'a> Container<'a> {
    /// Finds the networks, and refuses options that none of them supports.
    pub(crate) fn new(
        spec: &'a Spec,
        name: Option<&'a str>,
        environment: &'a Environment,
        id: ContainerId,
    ) -> Result<Self, Error> {
        let runtime = Runtime::new(environment, &spec.cache);
        let networks = find(&runtime, spec.networks(&runtime)?)?;
        let container = Self { spec, name, environment, runtime, id, networks, is_moved: false };
        container.check()?;
        Ok(container)
    }

    /// A container of which there is a record: it starts on the networks where it was last.
    pub(crate) fn again(
        spec: &'a Spec,
        name: Option<&'a str>,
        environment: &'a Environment,
        run: &Run,
    ) -> Result<Self, Error> {
        let Some(networks) = run.networks()? else {
            return Self::new(spec, name, environment, run.container_id()?);
        };
        let runtime = Runtime::new(environment, &spec.cache);
        let networks = find(&runtime, networks.joined)?;
        Ok(Self { spec, name, environment, runtime, id: run.container_id()?, networks, is_moved: true })
    }

    /// As [`Runtime::lock_shared`].
    pub(crate) fn keep_gc_away(&self) -> Result<Lock, Error> {
        self.runtime.lock_shared()
    }

    /// The names of its networks.
    pub(crate) fn networks(&self) -> Vec<String> {
        self.networks.iter().map(|(joined, _)| joined.network.clone()).collect()
    }

    /// Reports what keeps its networks' packets from being forwarded.
    pub(crate) fn tell_obstacles(&self) {
        for (_, list) in &self.networks {
            obstacles::tell(&self.runtime.chain(list));
        }
    }

    /// Makes the container, attaches it, runs the command and removes the attachments, whatever happened meanwhile.
    /// `started` is called when the command runs. Returns the command's exit code.
    pub(crate) fn run(
        &self,
        run: &mut Run,
        started: impl FnOnce() -> Result<(), Error>,
    ) -> Result<u8, Error> {
        let signals = Signals::hold()?;
        let mut sandbox = Sandbox::start(self.hostname(), &self.spec.command, self.spec.is_on_host())?;
        run.record.keeper = i32::try_from(std::process::id()).ok();
        run.record.process = Some(sandbox.pid().as_raw());
        let ran = run
            .write()
            .and_then(|()| self.attach(sandbox.netns()))
            .and_then(|()| self.orders())
            // A signal that came before the command started ends it before it starts.
            .and_then(|go| signals.forward_held(sandbox.pid()).map(|()| go))
            .and_then(|go| sandbox.go(&go))
            .and_then(|()| started())
            .and_then(|()| signals.forward_to(sandbox.pid()));
        // The namespace goes with the process, and no plugin can meet another one at its path until it is reaped.
        let ran = ran.inspect_err(|_| signals::end(sandbox.pid()));
        let removed = self.remove();
        let status = exit_code(sandbox.reap()?);
        match (ran, removed) {
            (Ok(()), Ok(())) => Ok(status),
            (Ok(()), Err(error)) => Err(Error::Left { status, source: Box::new(error) }),
            (Err(error), Ok(())) => Err(error),
            (Err(error), Err(further)) => {
                Err(Error::Both { first: Box::new(error), further: Box::new(further) })
            }
        }
    }

    /// Removes every attachment of the container, those as well that others made while it ran.
    pub(crate) fn remove(&self) -> Result<(), Error> {
        // Without the lock a GC at the same time does the same work, which is better than not to do it.
        let _lock = self.runtime.lock_shared();
        self.runtime.detach(&self.id)
    }

    fn hostname(&self) -> &str {
        self.spec.hostname.as_deref().unwrap_or_else(|| container_id::short(&self.id))
    }

    fn check(&self) -> Result<(), Error> {
        if let Some(network) = self.spec.no_network() {
            return self.spec.check_without_network(network);
        }
        (0..self.networks.len()).try_for_each(|index| self.endpoint(index).check(&self.networks[index].1))
    }

    /// The endpoint on the network with this index.
    fn endpoint(&self, index: usize) -> Endpoint<'_> {
        let publishes = self.publisher() == Some(index);
        let endpoint = self.spec.endpoint(self.hostname(), &self.networks[index].0, publishes, index == 0);
        Endpoint { name: self.name, ..endpoint }
    }

    /// Ports are published on the network that can and has the highest priority, the first of several. Where none can, the
    /// first one refuses, unless the container was moved there.
    fn publisher(&self) -> Option<usize> {
        let can = self.networks.iter().enumerate().filter(|(_, (_, list))| endpoint::publishes(list));
        // The last of several counts for `max_by_key`.
        let first = can.rev().max_by_key(|(_, (joined, _))| joined.gw_priority);
        first.map(|(index, _)| index).or((!self.is_moved).then_some(0))
    }

    fn attach(&self, netns: &Path) -> Result<(), Error> {
        let _lock = self.runtime.lock_shared()?;
        for (index, (joined, list)) in self.networks.iter().enumerate() {
            let links = match &joined.links {
                Some(links) => links.clone(),
                None => self.links_on(list, index == 0)?,
            };
            let mut endpoint = self.endpoint(index);
            endpoint.links = &links;
            let ifname = (index == 0).then(|| self.environment.ifname()).transpose()?;
            let list = list.clone();
            let _hold = self.runtime.hold(&self.id)?;
            NewAttachment { list, container_id: &self.id, netns, endpoint, ifname }.add(&self.runtime)?;
        }
        if self.networks.len() < 2 {
            return Ok(());
        }
        way_out::put_in_order(&self.runtime, &self.id, netns)
    }

    /// A link is a matter of the network that its source is on. One whose source is nowhere is the first network's,
    /// which says why it is refused.
    fn links_on(&self, list: &NetworkList, is_first: bool) -> Result<Vec<endpoint::Link>, Error> {
        let links = &self.spec.link;
        if self.networks.len() < 2 || links.is_empty() {
            return Ok(links.clone());
        }
        let inventory = Inventory::read(&self.runtime)?;
        let is_on = |link: &endpoint::Link, network: &NetworkList| {
            let mut members = inventory.members_of(network.name.as_str());
            members.any(|attached| {
                attached.member.as_ref().is_some_and(|member| member.answers_to(link.source()))
            })
        };
        let is_here = |link: &&endpoint::Link| {
            is_on(link, list) || is_first && !self.networks.iter().any(|(_, network)| is_on(link, network))
        };
        Ok(links.iter().filter(is_here).cloned().collect())
    }

    /// What the first process needs: the hosts file, and the variables in the order of their weight.
    fn orders(&self) -> Result<Go, Error> {
        let (mut hosts, mut env) = (None, Vec::new());
        if let Some(plugin) = self.networks.iter().find_map(|(_, list)| endpoint::plugin(list, LINK_ENV)) {
            let state = case_blind::get(plugin, "stateDir").and_then(Value::as_str);
            let folder = Registry::at(state.unwrap_or(DEFAULT_STATE_DIR)).container_dir(self.id.as_str());
            hosts = Some(folder.join("hosts"));
            env.extend(link_variables(&folder.join("env.json"))?);
        }
        env.push(("HOSTNAME".to_owned(), self.hostname().to_owned()));
        env.extend(self.spec.env.iter().map(|variable| (variable.key.clone(), variable.value.clone())));
        Ok(Go { hosts, env })
    }
}

/// The networks by their names.
fn find(runtime: &Runtime<'_>, networks: Vec<Joined>) -> Result<Vec<(Joined, NetworkList)>, Error> {
    networks.into_iter().map(|joined| runtime.find(&joined.network).map(|list| (joined, list))).collect()
}

/// The variables that link-env made of the container's links.
fn link_variables(path: &Path) -> Result<BTreeMap<String, String>, Error> {
    file::read(path, file::LONGEST)
        .and_then(|bytes| Ok(serde_json::from_slice(&bytes)?))
        .map_err(|error| Error::io(format!("read variables of links from {}", path.display()), error))
}

/// The exit code that a shell would give: 128 and the signal's number where a signal ended the command.
fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_is_the_commands() {
        for (wait_status, code) in [(0, 0), (3 << 8, 3), (9, 137), (15, 143)] {
            assert_eq!(exit_code(ExitStatus::from_raw(wait_status)), code);
        }
    }
}

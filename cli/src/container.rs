//! Runs a container of `cleat run`: makes its namespaces, attaches it to networks, runs its command and removes all of it.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;

use cni::{AddResult, Attachment, ContainerId, NetworkList, PortMapping};
use nix::unistd::gethostname;

use crate::attach::NewAttachment;
use crate::endpoint::{Endpoint, Link};
use crate::environment::Environment;
use crate::error::Error;
use crate::handshake::Go;
use crate::inventory::{Inventory, kept_result};
use crate::listeners;
use crate::network::{obstacles, publishes};
use crate::own_files;
use crate::ports::Publish;
use crate::registered::{link_variables, registry_folder};
use crate::runs::Run;
use crate::runtime::Runtime;
use crate::sandbox::{Namespaces, Sandbox};
use crate::shared_network::SharedNetwork;
use crate::signals::{self, Signals};
use crate::spec::{Joined, Networks, Spec};
use crate::volumes;
use crate::way_out;

/// A container that is to run: its options, checked before anything is made, and its networks.
pub(crate) struct Container<'a> {
    spec: &'a Spec,
    name: Option<&'a str>,
    environment: &'a Environment,
    /// Its plugins and networks.
    pub(crate) runtime: Runtime<'a>,
    id: ContainerId,
    hostname: String,
    networks: Vec<(Joined, NetworkList)>,
    /// The network of another container, where it has that.
    shared: Option<SharedNetwork>,
    /// Whether the networks are others than those it was started with.
    is_moved: bool,
}

impl<'a> Container<'a> {
    /// Finds the networks: those it was on last, if they are known, or those of its options. Refuses options that none of the
    /// latter supports.
    pub(crate) fn new(
        spec: &'a Spec,
        name: Option<&'a str>,
        environment: &'a Environment,
        id: ContainerId,
        last: Option<Networks>,
    ) -> Result<Self, Error> {
        let runtime = Runtime::new(environment, &spec.cache);
        let is_moved = last.is_some();
        let joined = last.map_or_else(|| spec.networks(&runtime), |last| Ok(last.joined))?;
        let find = |joined: Joined| runtime.find(&joined.network).map(|list| (joined, list));
        let networks = joined.into_iter().map(find).collect::<Result<_, _>>()?;
        // Options that do not go with it are refused below.
        let shared = match spec.shares() {
            Some(container) => Some(SharedNetwork::of(container, &runtime)?),
            None => None,
        };
        let hostname = match &spec.hostname {
            Some(hostname) => hostname.clone(),
            None if spec.is_on_host() => of_host()?,
            None if shared.is_some() => {
                shared.as_ref().map(|shared| shared.hostname.clone()).unwrap_or_default()
            }
            None => registry::short_id(id.as_str()),
        };
        let container = Self { spec, name, environment, runtime, id, hostname, networks, shared, is_moved };
        if !is_moved {
            container.check()?;
        }
        Ok(container)
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

    /// Makes the container, attaches it, runs the command and removes the attachments, also after a failure. `started` is
    /// called when the command runs. Returns the command's exit code.
    pub(crate) fn run(&self, run: &mut Run, started: impl FnOnce()) -> Result<u8, Error> {
        let signals = Signals::hold()?;
        let namespaces = Namespaces {
            hostname: &self.hostname,
            host_network: self.spec.is_on_host(),
            network_of: self.shared.as_ref().map(|shared| &*shared.netns),
            host_pids: self.spec.pid.is_some(),
        };
        let mut sandbox = Sandbox::start(&namespaces, &self.spec.command)?;
        run.record.supervisor = i32::try_from(std::process::id()).ok();
        run.record.process = Some(sandbox.pid.as_raw());
        let ran = run
            .write()
            .and_then(|()| self.attach(&sandbox.netns))
            .and_then(|attachments| self.orders(&attachments, run))
            // A signal that arrived before the command starts kills the process instead.
            .and_then(|go| signals.forward_held(sandbox.pid).map(|()| go))
            .and_then(|go| sandbox.go(&go))
            .inspect(|()| started())
            .and_then(|()| signals.forward_to(sandbox.pid));
        // Until the process is reaped, the path of its namespace cannot become that of another one.
        let ran = ran.inspect_err(|_| signals::end(sandbox.pid));
        let ended = sandbox.end_rest();
        let removed = match (ended, self.remove()) {
            (Err(error), removed) => Err(error.and(removed)),
            (Ok(()), removed) => removed,
        };
        let status = exit_code(sandbox.reap()?);
        match ran {
            Ok(()) => removed
                .map_or_else(|error| Err(Error::Left { status, source: Box::new(error) }), |()| Ok(status)),
            Err(error) => Err(error.and(removed)),
        }
    }

    /// Removes every attachment of the container, also those that others made while it ran.
    fn remove(&self) -> Result<(), Error> {
        // Without the lock, a GC may do the same work at the same time, which is better than not to do it.
        let _lock = self.runtime.lock_shared();
        self.runtime.detach(&self.id)
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
        let endpoint = self.spec.endpoint(&self.hostname, &self.networks[index].0, publishes, index == 0);
        Endpoint { name: self.name, ..endpoint }
    }

    /// Of the networks that can publish ports, the one with the highest priority does; of several, the first. Where none can,
    /// the first network refuses the options, unless the container was moved there.
    fn publisher(&self) -> Option<usize> {
        let can = self.networks.iter().enumerate().filter(|(_, (_, list))| publishes(list));
        // The last of several counts for `max_by_key`.
        let first = can.rev().max_by_key(|(_, (joined, _))| joined.gw_priority);
        first.map(|(index, _)| index).or((!self.is_moved).then_some(0))
    }

    fn attach(&self, netns: &Path) -> Result<Vec<Attachment>, Error> {
        let _lock = self.runtime.lock_shared()?;
        let mut attachments = Vec::new();
        for (index, (joined, list)) in self.networks.iter().enumerate() {
            let links = match &joined.links {
                Some(links) => links.clone(),
                None => self.links_on(list, index == 0)?,
            };
            let mut endpoint = self.endpoint(index);
            endpoint.links = &links;
            let publish = self.chosen(endpoint.publish)?;
            endpoint.publish = &publish;
            let ifname = (index == 0).then(|| self.environment.ifname()).transpose()?;
            let list = list.clone();
            let _hold = self.runtime.hold(&self.id)?;
            let attachment = NewAttachment { list, container_id: &self.id, netns, endpoint, ifname };
            attachments.push(attachment.add(&self.runtime)?);
        }
        if attachments.len() > 1 {
            way_out::put_in_order(&self.runtime, &self.id, netns)?;
        }
        Ok(attachments)
    }

    /// What is published, with a free port where there are several to choose from.
    fn chosen(&self, publish: &[Publish]) -> Result<Vec<Publish>, Error> {
        if !publish.iter().any(Publish::is_choice) {
            return Ok(publish.to_vec());
        }
        let mut taken = listeners::of_host();
        let inventory = Inventory::read(&self.runtime)?;
        taken.extend(
            inventory
                .attachments
                .iter()
                .flat_map(|one| &one.ports)
                .map(|port| (port.protocol, port.host_port)),
        );
        let fixed = publish.iter().filter(|publish| !publish.is_choice()).flat_map(Publish::mappings);
        taken.extend(fixed.map(|mapping| (mapping.protocol, mapping.host_port)));
        let mut all = Vec::new();
        for publish in publish {
            let is_free = |mapping: &PortMapping| !taken.contains(&(mapping.protocol, mapping.host_port));
            let chosen = if publish.is_choice() { publish.choose(is_free) } else { publish.clone() };
            taken.extend(chosen.mappings().map(|mapping| (mapping.protocol, mapping.host_port)));
            all.push(chosen);
        }
        Ok(all)
    }

    /// The links whose source is on the network. One whose source is on no network is passed to the first network, which says
    /// why it refuses the link.
    fn links_on(&self, list: &NetworkList, is_first: bool) -> Result<Vec<Link>, Error> {
        let links = &self.spec.link;
        if self.networks.len() < 2 || links.is_empty() {
            return Ok(links.clone());
        }
        let inventory = Inventory::read(&self.runtime)?;
        let is_on = |link: &Link, network: &NetworkList| {
            let mut members = inventory.members_of(network.name.as_str());
            members.any(|attached| {
                attached.member.as_ref().is_some_and(|member| member.answers_to(link.source()))
            })
        };
        let is_here = |link: &&Link| {
            is_on(link, list) || is_first && !self.networks.iter().any(|(_, network)| is_on(link, network))
        };
        Ok(links.iter().filter(is_here).cloned().collect())
    }

    /// What the first process needs: files, and the variables, of which a later one replaces an earlier one.
    fn orders(&self, attachments: &[Attachment], run: &Run) -> Result<Go, Error> {
        let folder = self.networks.iter().find_map(|(_, list)| registry_folder(list, &self.id));
        let mut env = Vec::new();
        if let Some(folder) = &folder {
            env.extend(link_variables(&folder.join("env.json"))?);
        }
        env.push(("HOSTNAME".to_owned(), self.hostname.clone()));
        env.extend(self.spec.env.iter().map(|variable| (variable.key.clone(), variable.value.clone())));
        let (hosts, results, resolver) = if let Some(shared) = &self.shared {
            (shared.hosts.clone(), shared.results.clone(), &shared.resolver)
        } else {
            let results =
                attachments.iter().map(|attachment| self.result(attachment)).collect::<Result<_, _>>()?;
            (folder.map(|folder| folder.join("hosts")), results, &self.spec.resolver)
        };
        let texts = own_files::texts(self.spec, resolver, &self.hostname, hosts.is_some(), &results)?;
        let volumes = volumes::of(self.spec, &run.own_volumes())?;
        let folder = self.spec.workdir.clone().unwrap_or_else(|| run.record.folder.clone());
        Ok(Go { hosts, texts, volumes, folder, env })
    }

    /// The name of an attachment's interface, and what its ADD said.
    fn result(&self, attachment: &Attachment) -> Result<(String, AddResult), Error> {
        let entry = self.runtime.cache.read(attachment);
        let entry = entry.map_err(Error::contract(format!("read the result of {attachment}")))?;
        Ok((attachment.ifname.to_string(), entry.as_ref().map(kept_result).unwrap_or_default()))
    }
}

/// The host's own name, which a container with the host's network has.
fn of_host() -> Result<String, Error> {
    let name = gethostname().map_err(|errno| Error::io("read the host's name", errno))?;
    name.into_string()
        .map_err(|_| Error::refused("read the host's name", "it is no text", "name one with -h"))
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

//! ADD: joining a network. Everything is decided on values first; then it is written, and undone where that fails.

use std::path::Path;
use std::time::SystemTime;

use cni::{Request, Target};
use registry::{Folder, Locked, Member, Network};

use crate::chosen;
use crate::conf::Conf;
use crate::delivery::Delivery;
use crate::detach;
use crate::endpoint::{self, Endpoint};
use crate::error::Error;
use crate::files;
use crate::firewall::{self, Firewall};
use crate::neighbourhood::with_slots;
use crate::view::View;

/// Registers the container and writes its files and those of everybody who sees it.
pub(crate) fn add(request: &Request, target: &Target) -> Result<(), Error> {
    let (container_id, ifname) = (target.container_id().as_str(), target.ifname().as_str());
    let result = request.conf.require_prev_result()?;
    let addresses = endpoint::addresses(result, ifname);
    if addresses.is_empty() {
        return Err(Error::Config {
            problem: format!("prevResult has no address for interface {ifname}"),
            cure: "names need addresses: give the network an \"ipam\"",
        });
    }
    let conf = Conf::new(&request.conf, &target.args)?;
    let mut endpoint = Endpoint::new(&conf, container_id, ifname, addresses)?;
    endpoint.member.netns = Some(target.netns()?.to_owned());
    endpoint.member.joined = now();
    chosen::note(&target.attachment, &mut endpoint.member.published)?;

    let delivery = Delivery::new(&request.conf)?;
    let locked = lock(&delivery)?;
    let before = locked.around(request.conf.network.as_str(), &[container_id], Some(&endpoint.any()))?;
    endpoint.member.bridge = firewall::bridge(result, &endpoint.member, &before)?;
    let joining = join(before, endpoint, |netns| !netns.exists())?;
    if !conf.wait_for_links {
        check_links(&locked, &joining)?;
    }
    let mut tries = TRIES;
    loop {
        match joining.write(&locked, &delivery) {
            Err(error) if error.is_full() && tries > 0 && has_room(&locked)? => tries -= 1,
            outcome => return outcome,
        }
    }
}

/// Makes room on a full file system where a container has filled it with its own file, and says whether there is any.
fn has_room(locked: &Locked) -> Result<bool, Error> {
    locked.cut(files::HOSTS, files::LONG)?;
    Ok(locked.probe().is_ok())
}

/// How often room is made on a full file system.
const TRIES: usize = 3;

/// Takes the registry's lock. The first one after a boot removes what was left on disks.
fn lock(delivery: &Delivery) -> Result<Locked, Error> {
    if let Some(locked) = delivery.registry().lock_existing()? {
        return Ok(locked);
    }
    let locked = delivery.registry().lock()?;
    // What cannot be removed is somebody else's matter, and GC's to tell of.
    let _ = delivery.sweep(Some(&locked));
    Ok(locked)
}

/// Nanoseconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or_default()
}

/// A network before and after a container joins it.
#[derive(Debug)]
struct Joining {
    before: Network,
    after: Network,
    /// The member that joins, under the name that it got.
    member: Member,
    /// Members whose container has gone without a DEL, and who stand in the way.
    stale: Vec<Member>,
}

/// Decides what the network becomes. `is_gone` says whether a network namespace is no more.
fn join(before: Network, endpoint: Endpoint, is_gone: impl Fn(&Path) -> bool) -> Result<Joining, Error> {
    let Endpoint { mut member, qualified } = endpoint;
    let mut after = before.clone();
    let mut stale = Vec::new();
    after.members.retain(|other| {
        if other.container_id == member.container_id {
            return true;
        }
        // An address is assigned once on a network: whoever had this one before has lost it.
        let succeeded = other.addresses.iter().any(|address| member.addresses.contains(address));
        let in_the_way = other.name == member.name && other.netns.as_deref().is_some_and(&is_gone);
        if succeeded || in_the_way {
            stale.push(other.clone());
        }
        !(succeeded || in_the_way)
    });
    let holder = |name: &str| {
        let mut others = after.members.iter().filter(|other| other.container_id != member.container_id);
        others.find(|other| other.name == name)
    };
    match (holder(&member.name), qualified) {
        (None, Some(qualified)) => member.add_alias(qualified),
        (None, None) => {}
        (Some(_), Some(qualified)) if holder(&qualified).is_none() => {
            let pod = std::mem::replace(&mut member.name, qualified);
            member.add_alias(pod);
        }
        (Some(holder), _) => {
            return Err(Error::NameTaken {
                name: member.name,
                network: after.name.clone(),
                holder: holder.container_id.clone(),
            });
        }
    }
    if let Some(known) = after.member(&member.container_id, &member.ifname) {
        (member.joined, member.slot) = (known.joined, known.slot);
    }
    after.put(member.clone());
    if after.is_seen_whole() {
        after = with_slots(after);
    }
    Ok(Joining { before, after, member, stale })
}

/// Refuses links whose source is no member of the network, as Docker does.
fn check_links(locked: &Locked, joining: &Joining) -> Result<(), Error> {
    let Joining { after, member, .. } = joining;
    for link in &member.links {
        match after.find(&link.source) {
            Some(source) if source.container_id == member.container_id => {
                return Err(Error::Config {
                    problem: format!(
                        "cannot link to itself: {} AS /{}/{}",
                        link.source, member.name, link.alias
                    ),
                    cure: "link to another container",
                });
            }
            Some(_) => {}
            None => return Err(missing_source(locked, joining, &link.source, &link.alias)),
        }
    }
    Ok(())
}

/// Why a source is not there: it is on another network, or it does not run.
fn missing_source(locked: &Locked, joining: &Joining, source: &str, alias: &str) -> Error {
    let (source_name, network) = (source.to_owned(), joining.after.name.clone());
    let networks = match locked.networks_with(source) {
        Ok(networks) => networks,
        Err(error) => return error.into(),
    };
    match networks.into_iter().find(|other| *other != network) {
        Some(other) => Error::ElsewhereOnly { source_name, network, other },
        None => Error::NotRunning {
            source_name,
            recipient: joining.member.name.clone(),
            alias: alias.to_owned(),
            network,
        },
    }
}

impl Joining {
    fn write(&self, locked: &Locked, delivery: &Delivery) -> Result<(), Error> {
        let mut view = View::new(locked, self.after.clone());
        // The last thing that can be refused, and so before the first thing that is written.
        let known = locked.container(&self.member.container_id)?;
        let must_fit = |_: &Member, _: &Member| true;
        let gift = view.environment(&self.member.container_id, known.as_ref(), must_fit)?;
        let environment = gift.environment;
        let firewall = Firewall::new(&self.before, &self.after, &self.touched());
        let mut write = || -> Result<(), Error> {
            let settled = locked.settled(&self.after.name)?;
            firewall.close()?;
            // The registry comes first: whatever kills this process, DEL finds by it what there is to undo.
            let folder = locked.join(&self.member.container_id, &self.after.name)?;
            locked.unsettle(&self.after.name)?;
            locked.change(&self.before, &self.after)?;
            if self.before.member(&self.member.container_id, &self.member.ifname).is_some() {
                locked.mend(&self.after.name, &self.member)?;
            }
            view.rewrite_hosts(&self.before, settled, Some(&self.member.container_id))?;
            files::write_environment(&folder, &environment)?;
            if delivery.is_writable() || !self.is_new() {
                files::write_permission(&folder, delivery.is_writable())?;
            }
            if let Some(netns) = &self.member.netns {
                let devices = || self.devices(locked, &folder);
                delivery.deliver(&folder, netns, devices, &environment)?;
            }
            self.clean_up_stale(locked, delivery);
            firewall.open()
        };
        write().map_err(|failure| match self.undo(locked, delivery) {
            Ok(()) => failure,
            Err(undo) => Error::Undo { failure: Box::new(failure), undo: Box::new(undo) },
        })
    }

    /// Removes what is there for members that have gone without a DEL. What cannot be removed is left to GC.
    fn clean_up_stale(&self, locked: &Locked, delivery: &Delivery) {
        for member in &self.stale {
            if let Err(error) = detach::clean_up(locked, delivery, &self.after, std::slice::from_ref(member))
            {
                let _ = locked.note(&member.container_id, &error.to_string());
            }
        }
    }

    /// The names by which CDI knows the container: those that no other one can have, and its name where nobody has it
    /// on networks that it is not on.
    fn devices(&self, locked: &Locked, folder: &Folder) -> Result<Vec<String>, Error> {
        let Member { name, container_id, .. } = &self.member;
        let own = locked.networks_of(folder)?;
        let mut devices: Vec<String> = own.iter().map(|network| format!("{name}.{network}")).collect();
        devices.push(container_id.clone());
        let others = locked.networks_with(name)?;
        if name != container_id && others.iter().all(|network| own.contains(network)) {
            devices.insert(0, name.clone());
        }
        Ok(devices)
    }

    /// Whether the container was not on the network before.
    fn is_new(&self) -> bool {
        self.before.members_of(&self.member.container_id).next().is_none()
    }

    fn undo(&self, locked: &Locked, delivery: &Delivery) -> Result<(), Error> {
        let mut view = View::new(locked, self.before.clone());
        let firewall = Firewall::new(&self.after, &self.before, &self.touched());
        let closed = firewall.close();
        let hosts = view.rewrite_hosts(&self.after, None, None);
        let container = if self.is_new() {
            detach::clean_up(locked, delivery, &self.before, std::slice::from_ref(&self.member))
        } else {
            Ok(())
        };
        let changed = locked.change(&self.after, &self.before).map_err(Error::from);
        let opened = firewall.open();
        let failures = [closed, hosts, container, changed, opened].into_iter().filter_map(Result::err);
        Ok(cni::Error::all(failures.map(cni::Error::from).collect())?)
    }

    /// The members whose links may be others now: the new one, what it was before, those that went.
    fn touched(&self) -> Vec<Member> {
        let known = self.before.members_of(&self.member.container_id);
        known.chain(&self.stale).chain([&self.member]).cloned().collect()
    }
}

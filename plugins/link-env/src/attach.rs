//! ADD: a container joins a network. Everything is decided first, on values; then it is written, and undone where that fails.

use std::time::SystemTime;

use cni::{Request, Target, trace};
use registry::{Folder, Link, Locked, Member, Network, short_id};

use crate::chosen;
use crate::conf::Conf;
use crate::delivery::Delivery;
use crate::detach;
use crate::endpoint;
use crate::env::{self, LinkVariables};
use crate::error::Error;
use crate::files;
use crate::firewall::{self, Firewall};
use crate::hosts::block::with_slots;
use crate::hosts_change::{Unsettled, unsettle};
use crate::view::View;

/// Registers the container, and writes its files and those of all who see it.
pub(crate) fn add(request: &Request, target: &Target) -> Result<(), Error> {
    let (container_id, ifname) = (target.container_id().as_str(), target.ifname().as_str());
    let result = request.conf.require_prev_result()?;
    let addresses = endpoint::addresses(result, ifname);
    if addresses.is_empty() {
        return Err(Error::config(
            format!("prevResult has no address for interface {ifname}"),
            "names need addresses: give the network an \"ipam\"",
        ));
    }
    let conf = Conf::new(&request.conf, &target.args)?;
    let mut member = endpoint::member(&conf, container_id, ifname, addresses)?;
    member.netns = Some(target.netns()?.to_owned());
    member.joined = now();
    chosen::note(&target.attachment, &mut member.published)?;

    let delivery = Delivery::new(&request.conf)?;
    let locked = lock(&delivery)?;
    trace::decided("locked", &[("what", &"registry")]);
    let before = locked.around(request.conf.network.as_str(), &[container_id], Some(&member))?;
    member.bridge = firewall::bridge(result, &member, &before)?;
    let joining = join(before, member, conf.endpoint.name.is_empty())?;
    if !conf.wait_for_links {
        check_links(&locked, &joining)?;
    }
    trace::decided(
        "name",
        &[
            ("is", &joining.member.name),
            ("stale", &joining.stale.len()),
            ("renamed", &joining.renamed.as_ref().map_or("", |member| &member.container_id)),
        ],
    );
    let mut tries = TRIES;
    loop {
        match joining.write(&locked, &delivery) {
            Err(error) if error.is_full() && tries > 0 && has_room(&locked)? => tries -= 1,
            outcome => break outcome?,
        }
    }
    for annotation in conf.ignored {
        let network = &request.conf.network;
        let note = format!(
            "annotation {annotation} is ignored: network {network} does not list it in \"annotations\""
        );
        locked.note(container_id, &note)?;
    }
    Ok(())
}

/// Makes room on a full file system, by cutting hosts files that containers have filled. Returns whether there is any.
fn has_room(locked: &Locked) -> Result<bool, Error> {
    locked.cut(files::HOSTS, files::LONG)?;
    Ok(locked.probe().is_ok())
}

/// How often room is made on a full file system.
const TRIES: usize = 3;

/// Takes the registry's lock. The first ADD after a boot removes what was delivered before it.
fn lock(delivery: &Delivery) -> Result<Locked, Error> {
    if let Some(locked) = delivery.registry.lock_existing()? {
        return Ok(locked);
    }
    let locked = delivery.registry.lock()?;
    // What cannot be removed does not concern this container; GC reports it.
    let _ = delivery.sweep(&locked);
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
    /// The member that joins, with the name and the slot that it got.
    member: Member,
    /// Members whose container has gone without a DEL, and which have its name or address.
    stale: Vec<Member>,
    /// The member that loses its name to the one that joins, as it was before.
    renamed: Option<Member>,
}

/// Decides what the network becomes. `is_name_given`: nobody chose the name, which is that of the pod or the short ID.
fn join(before: Network, mut member: Member, is_name_given: bool) -> Result<Joining, Error> {
    let is_other = |other: &Member| other.container_id != member.container_id;
    let has_name =
        |other: &Member| is_other(other) && other.tenant() == member.tenant() && other.name == member.name;
    // An address is assigned once on a network: a member that had this one has lost it.
    let has_address = |other: &Member| {
        is_other(other) && other.addresses.iter().any(|address| member.addresses.contains(address))
    };
    let is_gone = |other: &Member| other.netns.as_deref().is_some_and(|netns| !netns.exists());
    let (stale, members) = (before.members.iter().cloned())
        .partition(|other| has_address(other) || has_name(other) && is_gone(other));
    let mut after = Network { name: before.name.clone(), members, others: before.others.clone() };
    let mut renamed = None;
    for holder in after.members.iter_mut().filter(|other| has_name(other)) {
        // In a namespace the runtime gives each name once: the other member has chosen it, or is an earlier sandbox of the pod.
        if member.tenant().is_empty() || !is_name_given {
            return Err(Error::NameTaken(format!(
                "name {:?} on network {} is in use by container {}",
                member.name, before.name, holder.container_id
            )));
        }
        renamed = Some(holder.clone());
        holder.name = short_id(&holder.container_id);
        holder.is_name_chosen = false;
    }
    if let Some(known) = after.member(&member.container_id, &member.ifname) {
        member.joined = known.joined;
        member.slot = known.slot.filter(|_| known.tenant() == member.tenant());
    }
    after.put(member.clone());
    after = with_slots(after, member.tenant());
    member = after.member(&member.container_id, &member.ifname).cloned().unwrap_or(member);
    Ok(Joining { before, after, member, stale, renamed })
}

/// Refuses links whose source is no member of the network, as Docker does.
fn check_links(locked: &Locked, joining: &Joining) -> Result<(), Error> {
    let Joining { after, member, .. } = joining;
    for link @ Link { source, alias } in &member.links {
        match after.find(member, source) {
            Some(found) if found.container_id == member.container_id => {
                return Err(Error::config(
                    format!("cannot link to itself: {source} AS /{}/{alias}", member.name),
                    "link to another container",
                ));
            }
            Some(_) => {}
            None => return Err(missing_source(locked, joining, link)?),
        }
    }
    Ok(())
}

/// Why a source is not found: it is on another network, it does not run, or another namespace does not allow it. That error
/// does not say whether the other namespace has such a member.
fn missing_source(locked: &Locked, joining: &Joining, link: &Link) -> Result<Error, Error> {
    let (Joining { member, after, .. }, Link { source, alias }) = (joining, link);
    let (network, tenant) = (&after.name, member.tenant());
    if let Some((_, namespace)) = source.rsplit_once('.')
        && !tenant.is_empty()
        && namespace != tenant
    {
        return Ok(Error::config(
            format!(
                "cannot link to {source}: nobody of that name on network {network} allows namespace {tenant}"
            ),
            format!(
                "its pod has to run with the annotation link-env.cni/allow-from: \"{tenant}\", or set \"waitForLinks\": true"
            ),
        ));
    }
    let networks = locked.networks_with(member, source)?;
    Ok(match networks.iter().find(|other| *other != network) {
        Some(other) => Error::config(
            format!("cannot link to {source}, as it does not belong to network {network}"),
            format!("it is on network {other}: connect both to {network}"),
        ),
        None => Error::config(
            format!("cannot link to a non running container: {source} AS /{}/{alias}", member.name),
            format!("start it on network {network} first, or set \"waitForLinks\": true"),
        ),
    })
}

impl Joining {
    fn write(&self, locked: &Locked, delivery: &Delivery) -> Result<(), Error> {
        let mut view = View::new(locked, &self.after);
        let container_id = self.member.container_id.as_str();
        let previous = self.before.member(container_id, &self.member.ifname);
        // The last refusal comes before the first file is written.
        let known = locked.container(container_id)?;
        // A source of another tenant that does not fit must not keep this container from starting.
        let must_fit = |recipient: &Member, source: &Member| recipient.tenant() == source.tenant();
        let LinkVariables { environment, left_out } =
            view.environment(container_id, known.as_ref(), must_fit)?;
        let firewall = Firewall::new(&self.before, &self.after, &self.affected());
        let mut write = || -> Result<(), Error> {
            firewall.close()?;
            // First the registry: where this process is killed, DEL finds by it what to undo.
            let folder = locked.join(container_id, &self.after.name)?;
            let settled = unsettle(locked, &self.before, &self.after)?;
            locked.change(&self.before, &self.after)?;
            if previous.is_some() {
                locked.mend(&self.after.name, &self.member)?;
            }
            view.rewrite_hosts(&self.before, &settled, Some(container_id))?;
            if previous == Some(&self.member) {
                // Only the file may have changed.
                view.rewrite_hosts_of(container_id)?;
            }
            files::write_environment(&folder, &environment)?;
            if delivery.is_writable || !self.is_new() {
                files::write_permission(&folder, delivery.is_writable)?;
            }
            if let Some(netns) = &self.member.netns {
                // A pod's author may ask the runtime for any CDI device, and so for that of another namespace's pod.
                let is_roots = self.member.tenant().is_empty();
                let devices = is_roots.then_some(|| self.devices(locked, &folder));
                delivery.deliver(&folder, netns, devices, &environment)?;
            }
            self.clean_up_stale(locked, delivery);
            self.note_renamed(locked);
            if let Some(note) = env::left_out(&left_out) {
                locked.note(container_id, &note)?;
            }
            firewall.open()
        };
        write().map_err(|failure| match self.undo(locked, delivery) {
            Ok(()) => failure,
            Err(undo) => Error::Undo(Box::new(failure), Box::new(undo)),
        })
    }

    /// Removes the files of containers that have gone without a DEL. What cannot be removed is left to GC.
    fn clean_up_stale(&self, locked: &Locked, delivery: &Delivery) {
        for member in &self.stale {
            if let Err(error) = detach::clean_up(locked, delivery, &self.after, std::slice::from_ref(member))
            {
                let _ = locked.note(&member.container_id, &error.to_string());
            }
        }
    }

    /// Notes that a member lost its name, which `cleat check` reports.
    fn note_renamed(&self, locked: &Locked) {
        let Some(renamed) = &self.renamed else { return };
        let note = format!(
            "name {:?} went to container {}, whose pod is called so: this one is {} now",
            renamed.name,
            self.member.container_id,
            short_id(&renamed.container_id)
        );
        // A failure here does not concern the container that joins.
        let _ = locked.note(&renamed.container_id, &note);
    }

    /// The container's names as CDI devices: those that no other container can have, and its bare name where no container on
    /// another network has it.
    fn devices(&self, locked: &Locked, folder: &Folder) -> Result<Vec<String>, Error> {
        let Member { name, container_id, .. } = &self.member;
        let own = locked.networks_of(folder)?;
        let mut devices: Vec<String> = own.iter().map(|network| format!("{name}.{network}")).collect();
        devices.push(container_id.clone());
        let others = locked.networks_with(&self.member, name)?;
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
        let mut view = View::new(locked, &self.before);
        let firewall = Firewall::new(&self.after, &self.before, &self.affected());
        let closed = firewall.close();
        let hosts = view.rewrite_hosts(&self.after, &Unsettled::new(), None);
        let container = if self.is_new() {
            detach::clean_up(locked, delivery, &self.before, std::slice::from_ref(&self.member))
        } else {
            Ok(())
        };
        let changed = locked.change(&self.after, &self.before).map_err(Error::from);
        let opened = firewall.open();
        Error::all([closed, hosts, container, changed, opened])
    }

    /// The members whose links may mean others now: the one that joins, as it is and was, and those that it replaces.
    fn affected(&self) -> Vec<Member> {
        let known = self.before.members_of(&self.member.container_id);
        known.chain(&self.stale).chain(&self.renamed).chain([&self.member]).cloned().collect()
    }
}

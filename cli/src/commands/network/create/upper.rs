//! `cleat network create -d macvlan|ipvlan`: a network on an interface of the host, which is made first where it is a VLAN of one.

use cni::{NetworkList, case_blind, delegate};
use netlink::{Link, Socket, VlanDevice};

use crate::environment::Environment;
use crate::error::Error;
use crate::network::{Folder, PARENT_ALIAS, Pool, Upper, text, vlan_of};

/// A driver whose networks are on an interface of the host, with its modes, the first of which is the default.
#[derive(Clone, Copy, Debug)]
pub(super) struct Driver {
    pub(super) name: &'static str,
    modes: &'static [&'static str],
    /// The key of `-o` that Docker has for the mode.
    mode_key: &'static str,
}

const DRIVERS: [Driver; 2] = [
    Driver { name: "macvlan", modes: &["bridge", "private", "vepa", "passthru"], mode_key: "macvlan_mode" },
    Driver { name: "ipvlan", modes: &["l2", "l3", "l3s"], mode_key: "ipvlan_mode" },
];

/// Ours: the host reaches the containers.
const HOST_ACCESS: &str = "host_access";

/// Options of `-o` for these drivers: key and value.
pub(super) type Options = Vec<(String, String)>;

impl Driver {
    /// The driver of a name.
    pub(super) fn of(name: &str) -> Option<Self> {
        DRIVERS.into_iter().find(|driver| driver.name == name)
    }
}

/// Refuses options of these drivers where the network is of another one.
pub(super) fn expect_none(options: &Options, driver: &str, doing: &str) -> Result<(), Error> {
    match options.first() {
        None => Ok(()),
        Some((key, _)) => Err(Error::refused(
            doing,
            format!("{key} is of no use with driver {driver}"),
            "add -d macvlan or -d ipvlan, or leave it out",
        )),
    }
}

/// What is said of a new network by options, checked.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    driver: Driver,
    pub(super) parent: &'a str,
    mode: &'a str,
    host_access: bool,
}

impl<'a> Asked<'a> {
    /// Reads the options, and refuses those that need a bridge.
    pub(super) fn new(
        driver: Driver,
        options: &'a Options,
        of_bridges: &[&str],
        environment: &Environment,
        doing: &str,
    ) -> Result<Self, Error> {
        delegate::find(driver.name, &environment.path).map_err(Error::contract(doing))?;
        let refuse = |reason: String, cure: &str| Err(Error::refused(doing, reason, cure));
        if let Some(option) = of_bridges.first() {
            return refuse(
                format!(
                    "{option} is of a bridge: what a {} container sends does not pass the host's packet filter",
                    driver.name
                ),
                "leave it out, or leave -d out for a bridge network",
            );
        }
        let last =
            |key: &str| options.iter().rfind(|(known, _)| known == key).map(|(_, value)| value.as_str());
        let is_own = |key: &str| ["parent", HOST_ACCESS, driver.mode_key].contains(&key);
        if let Some((key, _)) = options.iter().find(|(key, _)| !is_own(key)) {
            return refuse(format!("{key} is not an option of driver {}", driver.name), "leave it out");
        }
        let Some(parent) = last("parent").filter(|parent| !parent.is_empty()) else {
            return refuse(
                "no parent is named, the interface of the host that containers are put on".to_owned(),
                "name one of `ip link`: -o parent=eth0, or a VLAN of one: -o parent=eth0.50",
            );
        };
        let mode = last(driver.mode_key).unwrap_or(driver.modes[0]);
        if !driver.modes.contains(&mode) {
            let known = driver.modes.join(", ");
            return refuse(format!("{} {mode} is unknown", driver.mode_key), &format!("there are {known}"));
        }
        let host_access = match last(HOST_ACCESS) {
            None | Some("false") => false,
            Some("true") if (driver.name, mode) == ("macvlan", "bridge") => true,
            Some("true") => {
                return refuse(format!("{HOST_ACCESS} needs driver macvlan in mode bridge"), "leave it out");
            }
            Some(other) => {
                return refuse(format!("{HOST_ACCESS} is true or false, not {other:?}"), "mend it");
            }
        };
        Ok(Self { driver, parent, mode, host_access })
    }

    /// Refuses where another network has the parent in a way that cannot be shared. (The kernel has one mode for all ipvlan
    /// interfaces of a parent, and a parent has either kind.)
    pub(super) fn expect_free<'n>(
        &self,
        networks: impl IntoIterator<Item = &'n NetworkList>,
        doing: &str,
    ) -> Result<(), Error> {
        for list in networks {
            let Some(main) = list.plugins.first() else { continue };
            let (driver, mode) = (text(main, "type"), text(main, "mode"));
            let Some(other) = Driver::of(driver).filter(|_| text(main, "master") == self.parent) else {
                continue;
            };
            let mode = if mode.is_empty() { other.modes[0] } else { mode };
            let is_shared = driver == self.driver.name
                && (driver == "macvlan" || mode == self.mode)
                && ![mode, self.mode].contains(&"passthru");
            if !is_shared {
                return Err(Error::refused(
                    doing,
                    format!("network {} has {} for {driver} in mode {mode}", list.name, self.parent),
                    "use the same driver and mode, or another parent, such as a VLAN",
                ));
            }
        }
        Ok(())
    }

    /// Makes the parent where it is a VLAN that is not there, writes the network, and takes the VLAN back where that fails.
    pub(super) fn write(
        &self,
        folder: &Folder,
        (name, pools, mtu): (&str, &[Pool], Option<u32>),
        doing: &str,
    ) -> Result<(), Error> {
        let mut socket = Socket::open()?;
        let made = self.ensure_parent(&mut socket, doing)?;
        let parent = socket.get_link(self.parent)?;
        if let Some((mtu, most)) = mtu.zip(parent.map(|parent| parent.mtu)).filter(|(mtu, most)| mtu > most) {
            return Err(Error::refused(
                doing,
                format!("MTU {mtu} is larger than the {most} of {}", self.parent),
                "leave it out",
            )
            .and(remove(&mut socket, made)));
        }
        let upper = Upper {
            name,
            driver: self.driver.name,
            parent: self.parent,
            mode: self.mode,
            host_access: self.host_access,
            pools,
            mtu,
        };
        let written =
            upper.text().map_err(|error| Error::io(doing, error)).and_then(|text| folder.create(name, &text));
        match written {
            Ok(_) => Ok(()),
            Err(error) => Err(error.and(remove(&mut socket, made))),
        }
    }

    /// Returns the index of the VLAN that it made.
    fn ensure_parent(&self, socket: &mut Socket, doing: &str) -> Result<Option<u32>, Error> {
        if socket.get_link(self.parent)?.is_some() {
            return Ok(None);
        }
        let missing = |name: &str| {
            Error::refused(
                doing,
                format!("there is no interface {name}"),
                "name one that `ip link` shows: -o parent=eth0",
            )
        };
        let (below, id) = vlan_of(self.parent).ok_or_else(|| missing(self.parent))?;
        let below = socket.get_link(below)?.ok_or_else(|| missing(below))?;
        if self.parent.len() > 15 {
            return Err(Error::refused(
                doing,
                format!("{} has more than 15 letters", self.parent),
                "make the VLAN under a shorter name, and name that",
            ));
        }
        let device = VlanDevice { name: self.parent, link: below.index, id, alias: Some(PARENT_ALIAS) };
        match socket.add_vlan_device(&device) {
            Ok(index) => Ok(Some(index)),
            Err(error) if error.is_exists() => Err(Error::refused(
                doing,
                format!("VLAN {id} of {} has an interface of another name", below.name),
                "name that one: -o parent=NAME, see `ip -d link`",
            )),
            Err(error) if error.is_unsupported() => {
                Err(Error::refused(doing, "this kernel has no VLANs", "load the module: modprobe 8021q"))
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn remove(socket: &mut Socket, made: Option<u32>) -> Result<(), Error> {
    made.map_or(Ok(false), |index| socket.del_link(index))?;
    Ok(())
}

/// Removes the VLAN that a network's creation made, unless another network is on it.
pub(in crate::commands::network) fn remove_parent<'n>(
    list: &NetworkList,
    others: impl IntoIterator<Item = &'n NetworkList>,
) -> Result<(), Error> {
    let master = |list: &NetworkList| {
        let main = list.plugins.first().filter(|main| Driver::of(text(main, "type")).is_some())?;
        Some(case_blind::get(main, "master")?.as_str()?.to_owned())
    };
    let Some(parent) = master(list).filter(|parent| vlan_of(parent).is_some()) else { return Ok(()) };
    if others.into_iter().any(|other| other.name != list.name && master(other).as_ref() == Some(&parent)) {
        return Ok(());
    }
    let mut socket = Socket::open()?;
    let is_ours = |link: &Link| link.alias.as_deref() == Some(PARENT_ALIAS) && link.vlan_id.is_some();
    if let Some(link) = socket.get_link(&parent)?.filter(is_ours) {
        socket.del_link(link.index)?;
    }
    Ok(())
}

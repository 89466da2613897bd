//! The `bridge` plugin: connects a container to a Linux bridge by a veth pair, gives it addresses and routes, makes the
//! bridge its gateway, and masquerades what leaves the network.
//!
//! `conf` reads and validates, `plan` decides, `host`, `container` and `masquerade` act and look, `check` compares. This
//! file has the verbs: their order, and what is undone when something fails.

mod check;
mod conf;
mod container;
mod error;
mod host;
mod ipam;
mod masquerade;
mod names;
mod neighbours;
mod plan;

use cni::{AddResult, IfName, Interface, Plugin, Request, Target};
use netlink::{Link, Mac, Namespace, Peer, PortFlags, Socket, Veth};

pub use error::Error;

use conf::{Conf, Removal};
use masquerade::Masquerade;
use plan::Plan;

/// The plugin.
#[derive(Debug)]
pub struct Bridge;

impl Plugin for Bridge {
    const NAME: &'static str = "bridge";

    fn add(request: &Request, target: &Target) -> Result<AddResult, cni::Error> {
        Add::new(request, target)?.run()
    }

    fn del(request: &Request, target: &Target) -> Result<(), cni::Error> {
        let conf = Removal::new(request)?;
        let mut errors: Vec<cni::Error> = Vec::new();
        let mut keep = |outcome: Result<(), Error>| errors.extend(outcome.err().map(cni::Error::from));
        // Also where ipMasq is off now: it may have been on when the container was added. The kernel takes a grace
        // period, some ten milliseconds, to forget rules, which closing the socket waits for, and another one to
        // remove the link. Begun in this order they pass at the same time.
        let rules = nftables::Socket::open().map_err(Error::from).and_then(|mut rules| {
            masquerade::del(&mut rules, &names::host_interface(&target.attachment)).map(|()| rules)
        });
        // The link before the address: nobody may use it any more when it is given back.
        keep(del_link(target));
        keep(rules.map(drop));
        keep(conf.ipam.del(request, target).map_err(Error::from));
        keep(del_bridge(&conf.bridge));
        cni::Error::all(errors)
    }

    fn check(request: &Request, target: &Target) -> Result<(), cni::Error> {
        let conf = Conf::new(request, Some(target))?;
        let result = request.conf.require_prev_result()?;
        conf.ipam.check(request, target)?;
        let ips = result.container_ips(target.ifname().as_str()).cloned().collect();
        let routes = result.routes.clone();
        let plan = Plan::new(&conf, &AddResult { ips, routes, ..AddResult::default() })?;
        check_all(&conf, target, result, &plan).map_err(Into::into)
    }

    fn gc(request: &Request) -> Result<(), cni::Error> {
        let conf = Removal::new(request)?;
        let mut errors: Vec<cni::Error> = conf.ipam.gc(request).err().into_iter().collect();
        errors.extend(gc_kernel(request, &conf.bridge).err().map(cni::Error::from));
        cni::Error::all(errors)
    }

    fn status(request: &Request) -> Result<(), cni::Error> {
        let conf = Conf::new(request, None)?;
        conf.ipam.status(request)?;
        let unavailable = |error: Error| cni::Error::new(cni::Code::NotAvailable, error.to_string());
        let status = || -> Result<(), Error> {
            if let Some(link) = Socket::open()?.get_link(conf.bridge.as_str())? {
                host::expect_bridge(&link)?;
            }
            if conf.masquerade {
                nftables::Socket::open()?.generation()?;
            }
            Ok(())
        };
        status().map_err(unavailable)
    }
}

/// One ADD, with what it has done so far.
struct Add<'a> {
    request: &'a Request,
    target: &'a Target,
    conf: Conf,
    host: Namespace,
    container: Namespace,
    socket: Socket,
    done: Vec<Done>,
}

/// What an ADD has done, and a failing one undoes in reverse.
enum Done {
    Addresses,
    Bridge,
    Gateway(u32, ipnetwork::IpNetwork),
    Link(u32),
    Masquerade,
}

impl<'a> Add<'a> {
    fn new(request: &'a Request, target: &'a Target) -> Result<Self, cni::Error> {
        let conf = Conf::new(request, Some(target))?;
        let open = || -> Result<_, Error> {
            Ok((Namespace::current()?, Namespace::open(target.netns()?)?, Socket::open()?))
        };
        let (host, container, socket) = open()?;
        Ok(Self { request, target, conf, host, container, socket, done: Vec::new() })
    }

    fn run(mut self) -> Result<AddResult, cni::Error> {
        self.set_up().map_err(|error| {
            let error = cni::Error::from(error);
            match cni::Error::all(self.undo()) {
                Ok(()) => error,
                Err(further) => error.undo_failed(&further),
            }
        })
    }

    fn set_up(&mut self) -> Result<AddResult, Error> {
        let given = self.conf.ipam.add(self.request, self.target)?;
        self.done.push(Done::Addresses);
        let plan = Plan::new(&self.conf, &given)?;
        let held = host::hold_bridges(&self.host)?;
        let (bridge, made) = host::ensure_bridge(&mut self.socket, &self.conf)?;
        if made {
            self.done.push(Done::Bridge);
        }
        for gateway in &plan.gateways {
            if host::ensure_gateway(&mut self.socket, &self.conf, &bridge, *gateway)? {
                self.done.push(Done::Gateway(bridge.index, *gateway));
            }
        }
        let (host_mac, mac) = (host::random_mac(), self.conf.mac.unwrap_or_else(host::random_mac));
        let port = self.add_link(&bridge, host_mac, mac)?;
        self.done.push(Done::Link(port));
        drop(held);
        if self.conf.hairpin || self.conf.isolated {
            let (hairpin, isolated) = (Some(self.conf.hairpin), Some(self.conf.isolated));
            let flags = PortFlags { hairpin, isolated, ..PortFlags::default() };
            self.socket.set_bridge_port(port, &flags)?;
        }
        host::enable_forwarding(&plan.gateways)?;
        if !self.conf.keep_down {
            container::configure(&self.container, self.target.ifname().as_str(), &plan, self.conf.dad)?;
            host::await_forwarding(&mut self.socket, port)?;
        }
        if self.conf.masquerade && !plan.ips.is_empty() {
            self.done.push(Done::Masquerade);
            masquerade(self.target, &plan).add(&mut nftables::Socket::open()?)?;
        }
        Ok(self.result(plan, given, &bridge, host_mac, mac))
    }

    fn add_link(&mut self, bridge: &Link, host_mac: Mac, mac: Mac) -> Result<u32, Error> {
        let (name, ifname) = (names::host_interface(&self.target.attachment), self.target.ifname().as_str());
        let alias = names::alias(&self.target.attachment);
        let veth = Veth {
            name: &name,
            mac: Some(host_mac),
            mtu: self.conf.mtu,
            master: Some(bridge.index),
            alias: Some(&alias),
            peer: Peer { name: ifname, mac: Some(mac), namespace: std::os::fd::AsFd::as_fd(&self.container) },
        };
        match self.socket.add_veth(&veth) {
            Ok(index) => Ok(index),
            // Either end's name may be the one that is taken.
            Err(error) if error.is_exists() => Err(match self.socket.get_link(&name)? {
                Some(_) => Error::Attached(self.target.attachment.to_string()),
                None => Error::InterfaceExists(ifname.to_owned()),
            }),
            Err(error) if error.errno() == Some(EXFULL) => Err(Error::Full(bridge.name.clone())),
            Err(error) => Err(error.into()),
        }
    }

    fn result(&self, plan: Plan, given: AddResult, bridge: &Link, host_mac: Mac, mac: Mac) -> AddResult {
        let interface = |name: &str, mac: Option<Mac>, sandbox: String| Interface {
            name: name.to_owned(),
            mac: mac.map(|mac| mac.to_string()).unwrap_or_default(),
            mtu: self.conf.mtu,
            sandbox,
            ..Interface::default()
        };
        let attachment = &self.target.attachment;
        let sandbox =
            self.target.netns.as_deref().map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
        AddResult {
            interfaces: vec![
                interface(&bridge.name, bridge.mac, String::new()),
                interface(&names::host_interface(attachment), Some(host_mac), String::new()),
                interface(attachment.ifname.as_str(), Some(mac), sandbox),
            ],
            ips: plan.ips.into_iter().map(|ip| cni::Ip { interface: Some(2), ..ip }).collect(),
            routes: plan.told_routes,
            dns: if self.conf.dns.is_empty() { given.dns } else { self.conf.dns.clone() },
        }
    }

    /// Takes everything back that was done, past errors, which are returned.
    fn undo(&mut self) -> Vec<cni::Error> {
        let mut errors = Vec::new();
        while let Some(done) = self.done.pop() {
            let outcome: Result<(), Error> = match done {
                Done::Addresses => self.conf.ipam.del(self.request, self.target).map_err(Error::from),
                Done::Bridge => {
                    host::remove_bridge_if_unused(&self.host, &mut self.socket, self.conf.bridge.as_str())
                }
                Done::Gateway(bridge, gateway) => self.remove_gateway(bridge, gateway),
                Done::Link(index) => self.socket.del_link(index).map(|_| ()).map_err(Error::from),
                Done::Masquerade => del_masquerade(&names::host_interface(&self.target.attachment)),
            };
            errors.extend(outcome.err().map(cni::Error::from));
        }
        errors
    }

    /// Another ADD may rely on the address by now: it stays where the bridge has ports.
    fn remove_gateway(&mut self, bridge: u32, gateway: ipnetwork::IpNetwork) -> Result<(), Error> {
        if !self.socket.has_ports(bridge)? {
            self.socket.del_address(bridge, gateway)?;
        }
        Ok(())
    }
}

/// `EXFULL` (asm-generic/errno.h): what the kernel answers for the 1,024th port.
const EXFULL: i32 = 54;

fn masquerade(target: &Target, plan: &Plan) -> Masquerade {
    let addresses = plan.ips.iter().map(|ip| ip.address.ip()).collect();
    Masquerade::new(&target.attachment, addresses, plan.subnets())
}

/// The host's end by its derived name; failing that, the container's end, where another program made the pair.
fn del_link(target: &Target) -> Result<(), Error> {
    let mut socket = Socket::open()?;
    if socket.del_link_by_name(&names::host_interface(&target.attachment))? {
        return Ok(());
    }
    // A namespace that cannot be opened any more has taken the interface with it.
    if let Some(namespace) = target.netns.as_deref().and_then(|path| Namespace::open(path).ok()) {
        container::remove(&namespace, target.ifname().as_str())?;
    }
    Ok(())
}

fn del_masquerade(owner: &str) -> Result<(), Error> {
    masquerade::del(&mut nftables::Socket::open()?, owner)
}

fn del_bridge(name: &IfName) -> Result<(), Error> {
    host::remove_bridge_if_unused(&Namespace::current()?, &mut Socket::open()?, name.as_str())
}

fn check_all(conf: &Conf, target: &Target, result: &AddResult, plan: &Plan) -> Result<(), Error> {
    check::host(&mut Socket::open()?, conf, target, result, plan)?;
    check::container(conf, target, result, plan)?;
    if conf.masquerade && !plan.ips.is_empty() {
        masquerade(target, plan).check(&mut nftables::Socket::open()?)?;
    }
    Ok(())
}

/// Removes the links and the masquerading of this network's attachments that are not valid any more.
fn gc_kernel(request: &Request, bridge: &IfName) -> Result<(), Error> {
    let Some(valid) = request.conf.valid_attachments()? else {
        return Ok(());
    };
    let network = &request.conf.network;
    let valid: Vec<String> = valid
        .into_iter()
        .map(|(container_id, ifname)| {
            names::host_interface(&cni::Attachment { network: network.clone(), container_id, ifname })
        })
        .collect();
    let mut socket = Socket::open()?;
    if let Some(link) = socket.get_link(bridge.as_str())? {
        let prefix = names::alias_prefix(network);
        for port in socket.ports(link.index)? {
            let of_network = port.alias.as_deref().is_some_and(|alias| alias.starts_with(&prefix));
            if of_network && !valid.contains(&port.name) {
                socket.del_link(port.index)?;
            }
        }
    }
    let mut rules = nftables::Socket::open()?;
    for owner in masquerade::owners(&mut rules, network)? {
        if !valid.contains(&owner) {
            masquerade::del(&mut rules, &owner)?;
        }
    }
    del_bridge(bridge)
}

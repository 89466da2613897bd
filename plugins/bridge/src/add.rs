//! ADD: one attachment, one transaction. What fails is undone in reverse, and what cannot be undone is told.

use std::net::IpAddr;
use std::os::fd::AsFd;

use cni::{AddResult, Interface, Request, Target};
use ipnetwork::IpNetwork;
use netlink::{Link, Mac, Namespace, Peer, PortFlags, Socket, Veth};

use crate::advertisements::{self, Heeded};
use crate::conf::Conf;
use crate::error::Error;
use crate::filter::{self, Filter, Leftover, Stage};
use crate::hold::Hold;
use crate::plan::Plan;
use crate::{addresses, container, existing, host, names, netfilter};

/// Makes an attachment.
pub(crate) fn add(request: &Request, target: &Target) -> Result<AddResult, cni::Error> {
    Add::new(request, target)?.run()
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
    /// That the host may heed router advertisements by the network's bridge.
    heeded: Option<Heeded>,
}

/// What an ADD has done, and a failing one undoes in reverse.
enum Done {
    Addresses,
    Bridge,
    Adapted(Link),
    VlanGateway,
    /// The gateway's address, on the second of the links, and those that had to go for it.
    Gateway {
        links: [u32; 2],
        gateway: IpNetwork,
        replaced: Vec<IpNetwork>,
    },
    Link(u32),
    /// What the packet filter has, with the addresses that are known.
    Filter(Vec<IpAddr>),
}

impl<'a> Add<'a> {
    fn new(request: &'a Request, target: &'a Target) -> Result<Self, cni::Error> {
        let conf = Conf::new(request, Some(target))?;
        let open = || -> Result<_, Error> {
            Ok((Namespace::current()?, Namespace::open(target.netns()?)?, Socket::open()?))
        };
        let (host, container, socket) = open()?;
        Ok(Self { request, target, conf, host, container, socket, done: Vec::new(), heeded: None })
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
        if self.conf.keeps_apart() {
            netfilter::expect()?;
        }
        // A program may need the interface to ask through, as dhcp does; what needs nothing refuses before anything is made.
        let planned = if self.conf.ipam.is_program() { None } else { Some(self.plan()?) };
        let held = Hold::take(&self.host, self.conf.bridge.as_str())?;
        // Also where it fails half-way, or was made and the kernel's answer is lost.
        self.done.push(Done::Bridge);
        let host::Ensured { link: bridge, before, heeded } =
            host::ensure_bridge(&mut self.socket, &self.conf, None)?;
        self.done.extend(before.map(Done::Adapted));
        self.heeded = heeded;
        // The gateway's addresses before the bridge's port, where they are known: what a container can reach is complete.
        let ready = match planned {
            Some((given, plan)) => {
                let host_link = self.ensure_gateways(&bridge, &plan)?;
                Some((given, plan, host_link))
            }
            None => None,
        };
        let (host_mac, mac) = (host::random_mac(), self.conf.mac.unwrap_or_else(host::random_mac));
        let port = self.add_link(&bridge, host_mac, mac)?;
        self.done.push(Done::Link(port));
        host::leave_ipv6_to_the_bridge(&names::host_interface(&self.target.attachment));
        // Before the port comes up: nothing is to come through unguarded.
        let known = ready.as_ref().map(|(_, plan, _)| plan);
        let port_name = names::host_interface(&self.target.attachment);
        self.done.push(Done::Filter(known.iter().flat_map(|plan| plan.addresses()).collect()));
        let ends = (port_name.as_str(), Some(mac));
        let filter = Filter::new(&self.conf, &self.target.attachment, ends, known);
        let programs = filter.put(Stage::Whole, bridge.netfilter)?;
        if self.conf.keeps_apart() {
            netfilter::switch_on(&mut self.socket, &bridge)?;
        }
        if let Some(vlans) = &self.conf.vlans {
            vlans.add(&mut self.socket, port)?;
        }
        // From here on the port keeps the bridge, and its gate.
        held.release(&bridge);
        programs.run()?;
        self.set_flags(port)?;
        let (given, plan, host_link) = if let Some(ready) = ready {
            ready
        } else {
            container::set_up(&self.container, self.target.ifname().as_str(), self.conf.heeds)?;
            host::await_forwarding(&mut self.socket, &bridge, port)?;
            let (given, plan) = self.plan()?;
            let host_link = self.ensure_gateways(&bridge, &plan)?;
            self.done.push(Done::Filter(plan.addresses().collect()));
            let filter = Filter::new(&self.conf, &self.target.attachment, ends, Some(&plan));
            filter.put(Stage::Late, bridge.netfilter)?.run()?;
            (given, plan, host_link)
        };
        host::enable_forwarding(&mut self.socket, &plan.gateways)?;
        self.heeded.take().map_or(Ok(()), |heeded| heeded.matters(&plan))?;
        if !self.conf.keep_down {
            let (ifname, dad, heeds) = (self.target.ifname().as_str(), self.conf.dad, self.conf.heeds);
            container::configure(&self.container, ifname, &plan, dad, heeds)?;
            host::await_forwarding(&mut self.socket, &host_link, port)?;
        }
        let bridge = host::with_port(&mut self.socket, bridge)?;
        Ok(self.result(plan, given, [&bridge, &host_link], [host_mac, mac]))
    }

    /// Gets the addresses, and decides what they lead to.
    fn plan(&mut self) -> Result<(AddResult, Plan), Error> {
        let given = self.conf.ipam.add(self.request, self.target)?;
        self.done.push(Done::Addresses);
        let plan = Plan::new(&self.conf, &given)?;
        Ok((given, plan))
    }

    /// Gives the host's own link its addresses, and returns it.
    fn ensure_gateways(&mut self, bridge: &Link, plan: &Plan) -> Result<Link, Error> {
        let host_link = self.ensure_host_link(bridge)?;
        for gateway in &plan.gateways {
            let added = addresses::ensure_gateway(&mut self.socket, &self.conf, &host_link, *gateway)?;
            if let Some(replaced) = added {
                let links = [bridge.index, host_link.index];
                self.done.push(Done::Gateway { links, gateway: *gateway, replaced });
                host::pin_mac(&mut self.socket, bridge)?;
            }
        }
        Ok(host_link)
    }

    fn set_flags(&mut self, port: u32) -> Result<(), Error> {
        if !self.conf.hairpin && !self.conf.isolated {
            return Ok(());
        }
        let (hairpin, isolated) = (Some(self.conf.hairpin), Some(self.conf.isolated));
        let flags = PortFlags { hairpin, isolated, ..PortFlags::default() };
        Ok(self.socket.set_bridge_port(port, &flags)?)
    }

    /// The bridge itself, or the VLAN device on it that has the gateway's addresses.
    fn ensure_host_link(&mut self, bridge: &Link) -> Result<Link, Error> {
        let Some(gateway) = &self.conf.vlan_gateway else {
            return Ok(bridge.clone());
        };
        // A failure in the middle is undone as well.
        self.done.push(Done::VlanGateway);
        let link = gateway.ensure(&mut self.socket, bridge)?;
        let heeded = advertisements::refuse(&mut self.socket, &link)?;
        self.heeded = self.heeded.take().or(heeded);
        Ok(link)
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
            peer: Peer { name: ifname, mac: Some(mac), namespace: self.container.as_fd() },
        };
        match self.socket.add_veth(&veth) {
            Ok(index) => Ok(index),
            // Either end's name may be the one that is taken.
            Err(error) if error.is_exists() => Err(match self.socket.get_link(&name)? {
                Some(_) => Error::Attached(self.target.attachment.to_string()),
                None => Error::InterfaceExists(ifname.to_owned()),
            }),
            Err(error) if error.errno() == Some(EXFULL) => Err(Error::Full(bridge.name.clone())),
            Err(error) => {
                // It may be there all the same, where the kernel's answer was lost: then it has no alias yet. Whatever
                // has one is an attachment of before.
                if let Ok(Some(link)) = self.socket.get_link(&name)
                    && link.alias.is_none()
                {
                    self.done.push(Done::Link(link.index));
                }
                Err(error.into())
            }
        }
    }

    fn result(
        &self,
        plan: Plan,
        given: AddResult,
        [bridge, host_link]: [&Link; 2],
        [host_mac, mac]: [Mac; 2],
    ) -> AddResult {
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
        let mut interfaces = vec![
            interface(&bridge.name, bridge.mac, String::new()),
            interface(&names::host_interface(attachment), Some(host_mac), String::new()),
            interface(attachment.ifname.as_str(), Some(mac), sandbox),
        ];
        if host_link.index != bridge.index {
            interfaces.push(interface(&host_link.name, host_link.mac, String::new()));
        }
        AddResult {
            interfaces,
            ips: plan.ips.into_iter().map(|ip| cni::Ip { interface: Some(2), ..ip }).collect(),
            routes: plan.told_routes,
            dns: if self.conf.dns.is_empty() { given.dns } else { self.conf.dns.clone() },
        }
    }

    /// Takes everything back that was done, past errors, which are returned.
    fn undo(&mut self) -> Vec<cni::Error> {
        let (mut errors, mut is_gone) = (Vec::new(), true);
        // The link first: what containers share goes when no port uses it any more, and so does the address.
        self.done.sort_by_key(|done| matches!(done, Done::Link(_)));
        while let Some(done) = self.done.pop() {
            let outcome: Result<(), Error> = match done {
                Done::Addresses if !is_gone => Ok(()),
                Done::Addresses => self.conf.ipam.del(self.request, self.target).map_err(Error::from),
                Done::Bridge | Done::VlanGateway => {
                    let Conf { bridge, vlan_gateway, .. } = &self.conf;
                    let (host, socket) = (&self.host, &mut self.socket);
                    host::remove_bridge_if_unused(host, socket, bridge.as_str(), vlan_gateway.as_ref())
                }
                Done::Adapted(before) => existing::restore(&mut self.socket, &before),
                Done::Gateway { links, gateway, replaced } => self.remove_gateway(links, gateway, &replaced),
                Done::Link(index) => {
                    let removed = self.socket.del_link(index);
                    is_gone = removed.is_ok();
                    removed.map(drop).map_err(Error::from)
                }
                Done::Filter(addresses) => filter::take(Leftover {
                    attachment: &self.target.attachment,
                    addresses: &addresses,
                    is_foreign: false,
                    gated: None,
                }),
            };
            errors.extend(outcome.err().map(cni::Error::from));
        }
        errors
    }

    /// Another ADD may rely on the address by now: it stays where the bridge has ports, unless these rely on another one that
    /// it took the place of.
    fn remove_gateway(
        &mut self,
        [bridge, link]: [u32; 2],
        gateway: IpNetwork,
        replaced: &[IpNetwork],
    ) -> Result<(), Error> {
        if replaced.is_empty() && self.socket.has_ports(bridge)? {
            return Ok(());
        }
        addresses::restore(&mut self.socket, link, replaced, gateway)
    }
}

/// `EXFULL` (asm-generic/errno.h): what the kernel answers for the 1,024th port.
const EXFULL: i32 = 54;

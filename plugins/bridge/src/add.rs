//! ADD: one attachment, all of it or nothing. What fails is undone in reverse, and what cannot be undone is reported.

use std::net::IpAddr;

use cni::{AddResult, Command, Interface, Request, Target, trace};
use interface::{Announces, Wanted, random_mac};
use netlink::{Link, Mac, Namespace, Socket};

use crate::bridge_lock::Shared;
use crate::conf::Conf;
use crate::error::{Error, Result};
use crate::filter::{self, Filter, Leftover, Stage};
use crate::overlay;
use crate::parts::advertisements::{self, AcceptsRa};
use crate::parts::bridge::{self, existing};
use crate::parts::veth::{self, Macs};
use crate::parts::{br_netfilter, forwarding, gateway};
use crate::plan::Plan;

/// Makes an attachment.
pub(crate) fn add(request: &Request, target: &Target) -> Result<AddResult, cni::Error> {
    let (request, conf) = overlay::for_new(request, Some(target))?;
    Add::new(&request, target, &conf)?.run()
}

/// One ADD, or a repair, with what it has done so far.
pub(crate) struct Add<'a> {
    request: &'a Request,
    target: &'a Target,
    pub conf: &'a Conf,
    pub host: Namespace,
    pub container: Namespace,
    pub socket: Socket,
    /// What takes back what was done, in the order in which it was done.
    undo: Vec<Undo>,
    /// The host's end of the pair, from when it may be there.
    port: Option<u32>,
    /// That the host may accept router advertisements by the network's bridge.
    accepts_ra: Option<AcceptsRa>,
}

type Undo = Box<dyn FnOnce(&mut Add) -> Result<()>>;

impl<'a> Add<'a> {
    pub(crate) fn new(request: &'a Request, target: &'a Target, conf: &'a Conf) -> Result<Self> {
        let (host, container) = (Namespace::current()?, Namespace::open(target.netns()?)?);
        let (socket, undo) = (Socket::open()?, Vec::new());
        Ok(Self { request, target, conf, host, container, socket, undo, port: None, accepts_ra: None })
    }

    fn run(mut self) -> Result<AddResult, cni::Error> {
        self.set_up().map_err(|error| cni::Error::from(error).undone(cni::Error::all(self.take_back())))
    }

    fn set_up(&mut self) -> Result<AddResult> {
        if self.conf.keeps_apart() {
            br_netfilter::expect()?;
        }
        // A program may need the interface to ask through, as dhcp does; what needs nothing refuses before anything is made.
        let planned = if self.conf.ipam.is_program() { None } else { Some(self.plan()?) };
        let lock = Shared::take(&self.host, self.conf.bridge.as_str())?;
        let bridge = self.ensure_bridge(None)?;
        // The gateway's addresses before the bridge's port, where they are known: what a container can reach is complete.
        let ready = match planned {
            Some(plan) => Some((self.ensure_gateways(&bridge, &plan)?, plan)),
            None => None,
        };
        let macs = Macs { host: random_mac(), container: self.conf.mac.unwrap_or_else(random_mac) };
        let Self { conf, target, container, socket, port, .. } = self;
        let port = veth::add(socket, conf, target, container, &bridge, macs, port)?;
        let name = self.target.attachment.host_interface();
        veth::leave_ipv6_to_the_bridge(&name);
        // Before the port comes up: nothing is to come through unguarded.
        let known = ready.as_ref().map(|(_, plan)| plan);
        self.take_filter_on_failure(known);
        let ends = (name.as_str(), Some(macs.container));
        let filter = Filter::new(self.conf, &self.target.attachment, ends, known);
        self.connect(&filter, Stage::Whole, &bridge, port, lock)?;
        let (host_link, plan) = if let Some(ready) = ready {
            ready
        } else {
            interface::set_up(&self.container, self.target.ifname().as_str(), self.conf.accepts_ra)?;
            veth::await_forwarding(&mut self.socket, &bridge, port)?;
            let plan = self.plan()?;
            let host_link = self.ensure_gateways(&bridge, &plan)?;
            self.take_filter_on_failure(Some(&plan));
            let filter = Filter::new(self.conf, &self.target.attachment, ends, Some(&plan));
            filter.put(Stage::Late, bridge.netfilter)?.run()?;
            (host_link, plan)
        };
        self.configure(&plan, &host_link, port)?;
        let bridge = bridge::with_port(&mut self.socket, bridge)?;
        Ok(self.result(plan, [&bridge, &host_link], macs))
    }

    /// Gets the addresses, and decides what they lead to.
    fn plan(&mut self) -> Result<Plan> {
        let mut given = self.conf.ipam.call(Command::Add, self.request, Some(self.target))?;
        self.on_failure(|add| match add.port {
            // Where the interface is still there, so is what uses the address.
            Some(_) => Ok(()),
            None => Ok(add.conf.ipam.call(Command::Del, add.request, Some(add.target)).map(drop)?),
        });
        overlay::add_routes(self.conf, &mut given);
        Plan::new(self.conf, &given)
    }

    /// Finds the bridge, or makes it, with that hardware address where one is given.
    pub(crate) fn ensure_bridge(&mut self, mac: Option<Mac>) -> Result<Link> {
        // Also where it fails half-way, or was made and the kernel's answer is lost.
        self.on_failure(remove_bridge);
        let (bridge, made) = bridge::find_or_make(&mut self.socket, self.conf, mac)?;
        // A container must not hand the host a route.
        self.accepts_ra = advertisements::refuse(&mut self.socket, &bridge)?;
        // A bridge that another ADD has just made needs this as little as one of our own, but for promiscMode.
        let adapted = existing::adapt(&mut self.socket, self.conf, &bridge)?;
        let is = if made { "made" } else { "found" };
        trace::decided("bridge", &[("name", &bridge.name), ("is", &is), ("adapted", &adapted)]);
        if adapted && !made {
            let before = bridge.clone();
            self.on_failure(move |add| existing::restore(&mut add.socket, &before));
        }
        Ok(bridge)
    }

    /// Puts the filter of a stage, and then has the port be what the configuration says; until here the port needs the lock
    /// to keep the bridge.
    pub(crate) fn connect(
        &mut self,
        filter: &Filter,
        stage: Stage,
        bridge: &Link,
        port: u32,
        lock: Shared,
    ) -> Result<()> {
        let programs = filter.put(stage, bridge.netfilter)?;
        if self.conf.keeps_apart() {
            br_netfilter::switch_on(&mut self.socket, bridge)?;
        }
        if let Some(vlans) = &self.conf.vlans {
            vlans.add(&mut self.socket, port)?;
        }
        // From here on the port keeps the bridge, and its gate.
        lock.release(bridge);
        programs.run()?;
        veth::set_flags(&mut self.socket, self.conf, port, matches!(stage, Stage::Whole))
    }

    /// Has the host forward, and gives the container its addresses and routes.
    pub(crate) fn configure(&mut self, plan: &Plan, host_link: &Link, port: u32) -> Result<()> {
        forwarding::enable(&mut self.socket, &plan.gateways)?;
        self.accepts_ra.take().map_or(Ok(()), |accepts_ra| accepts_ra.matters(plan))?;
        if self.conf.keys.disable_container_interface {
            return Ok(());
        }
        let wanted = Wanted {
            ips: &plan.ips,
            routes: &plan.routes,
            detects_duplicates: self.conf.keys.enabledad,
            accepts_ra: self.conf.accepts_ra,
            announces: Announces::WithAddress,
        };
        let inside = interface::configure(&self.container, self.target.ifname().as_str(), wanted)?;
        veth::await_forwarding(&mut self.socket, host_link, port)?;
        Ok(inside.announce()?)
    }

    /// Gives the host's own link its addresses, and returns it: the bridge itself, or the VLAN device on it.
    pub(crate) fn ensure_gateways(&mut self, bridge: &Link, plan: &Plan) -> Result<Link> {
        let mut host_link = bridge.clone();
        if self.conf.vlan_gateway.is_some() {
            // A failure in the middle is undone as well.
            self.on_failure(remove_bridge);
        }
        if let Some(device) = &self.conf.vlan_gateway {
            host_link = device.ensure(&mut self.socket, bridge)?;
            let accepts_ra = advertisements::refuse(&mut self.socket, &host_link)?;
            self.accepts_ra = self.accepts_ra.take().or(accepts_ra);
        }
        for gateway in plan.gateways.iter().copied() {
            let added = gateway::ensure(&mut self.socket, self.conf, &host_link, gateway)?;
            if let Some(replaced) = added {
                trace::decided(
                    "gateway",
                    &[("address", &gateway), ("link", &host_link.name), ("is", &"added")],
                );
                let links = [bridge.index, host_link.index];
                self.on_failure(move |add| gateway::undo(&mut add.socket, links, &replaced, gateway));
                bridge::pin_mac(&mut self.socket, bridge)?;
            }
        }
        Ok(host_link)
    }

    fn on_failure(&mut self, undo: impl FnOnce(&mut Add) -> Result<()> + 'static) {
        self.undo.push(Box::new(undo));
    }

    fn take_filter_on_failure(&mut self, plan: Option<&Plan>) {
        let masqueraded = plan.filter(|plan| self.conf.keys.ip_masq && !plan.ips.is_empty());
        let masqueraded = masqueraded.map(|plan| plan.addresses().collect::<Vec<IpAddr>>());
        self.on_failure(move |add| {
            let (attachment, masqueraded) = (&add.target.attachment, masqueraded.as_deref());
            filter::take(Leftover { attachment, masqueraded, is_foreign: false, gated: None }).0
        });
    }

    /// Takes everything back that was done, past errors, which are returned.
    fn take_back(&mut self) -> Vec<cni::Error> {
        let mut errors = Vec::new();
        // The pair first: what containers share goes when no port uses it any more, and so does the address.
        if let Some(port) = self.port {
            match self.socket.del_link(port) {
                Ok(_) => self.port = None,
                Err(error) => errors.push(Error::from(error).into()),
            }
        }
        while let Some(undo) = self.undo.pop() {
            errors.extend(undo(self).err().map(cni::Error::from));
        }
        errors
    }

    fn result(&self, plan: Plan, [bridge, host_link]: [&Link; 2], macs: Macs) -> AddResult {
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
            interface(&attachment.host_interface(), Some(macs.host), String::new()),
            interface(attachment.ifname.as_str(), Some(macs.container), sandbox),
        ];
        if host_link.index != bridge.index {
            interfaces.push(interface(&host_link.name, host_link.mac, String::new()));
        }
        AddResult {
            interfaces,
            ips: plan.ips.into_iter().map(|ip| cni::Ip { interface: Some(2), ..ip }).collect(),
            routes: plan.result_routes,
            dns: plan.dns,
        }
    }
}

fn remove_bridge(add: &mut Add) -> Result<()> {
    let Conf { bridge, vlan_gateway, .. } = add.conf;
    bridge::remove_if_unused(
        &mut add.socket,
        bridge.as_str(),
        vlan_gateway.as_ref(),
        add.conf.keys.synchronous_del,
    )
}

//! ADD: one attachment, all of it or nothing. What fails is undone in reverse, and what cannot be undone is reported.

use std::net::IpAddr;

use cni::{AddResult, Command, Interface, Request, Target, trace};
use interface::{Announces, Wanted};
use netlink::{Link, Namespace, Socket};

use crate::conf::{Conf, Family};
use crate::error::{Error, Result};
use crate::host_access::HostAccess;
use crate::plan::Plan;
use crate::{link, master, names};

/// Makes an attachment.
pub(crate) fn add(family: Family, request: &Request, target: &Target) -> Result<AddResult, cni::Error> {
    let conf = Conf::new(family, request, Some(target))?;
    let container = Namespace::open(target.netns()?).map_err(Error::from)?;
    Add {
        request,
        target,
        conf: &conf,
        container,
        link: None,
        is_making: false,
        reached: Vec::new(),
        has_addresses: false,
    }
    .run()
}

/// One ADD, with what it has done so far.
struct Add<'a> {
    request: &'a Request,
    target: &'a Target,
    conf: &'a Conf,
    container: Namespace,
    /// The interface, once it has been seen.
    link: Option<u32>,
    /// The interface may be there, by the name of one that is not finished.
    is_making: bool,
    /// The addresses that the host may have routes to, by an interface of its own.
    reached: Vec<IpAddr>,
    /// IPAM may have given addresses.
    has_addresses: bool,
}

impl Add<'_> {
    fn run(mut self) -> Result<AddResult, cni::Error> {
        self.set_up().map_err(|error| cni::Error::from(error).undone(cni::Error::all(self.take_back())))
    }

    fn set_up(&mut self) -> Result<AddResult> {
        let previous = self.request.conf.previous()?;
        let mut inside = self.container.socket()?;
        let mut host = if self.conf.in_container { self.container.socket()? } else { Socket::open()? };
        let master = master::find(&mut host, self.conf, previous)?;
        // A program may need the interface to ask through, as dhcp does; what needs nothing refuses before anything is made.
        let planned = if self.conf.ipam.is_program() { None } else { Some(self.plan(previous)?) };
        let made = link::make(&mut host, self.conf, &self.target.attachment, &self.container, &master);
        // Also where the kernel's answer was lost.
        self.is_making = !matches!(made, Err(Error::Attached(_)));
        made?;
        let link = link::unfinished(&mut inside, &self.target.attachment)?;
        self.link = Some(link.index);
        let link = link::finish(&mut inside, link, &self.target.attachment)?;
        trace::decided("link", &[("kind", &self.conf.family.kind()), ("master", &master.name)]);
        let ifname = self.target.ifname().as_str();
        let plan = if let Some(plan) = planned {
            plan
        } else {
            self.explain(interface::set_up(&self.container, ifname, self.conf.accepts_ra), &master)?;
            self.plan(previous)?
        };
        let wanted = wanted(self.conf, &plan);
        self.explain(interface::configure(&self.container, ifname, wanted), &master)?.announce()?;
        if self.conf.host_access {
            self.reached = plan.addresses().map(|address| address.ip()).collect();
            let access = HostAccess::of(&self.target.attachment.network);
            access.add(&mut host, &master, self.reached.iter().copied())?;
        }
        Ok(self.result(plan, &link))
    }

    /// Gets the addresses: IPAM's or, without any, the plugin's before.
    fn plan(&mut self, previous: Option<&AddResult>) -> Result<Plan> {
        let given = if let Some(previous) = previous.filter(|_| self.conf.ipam.is_none()) {
            previous.clone()
        } else {
            self.has_addresses = true;
            self.conf.ipam.call(Command::Add, self.request, Some(self.target))?
        };
        Plan::new(self.conf, &given)
    }

    /// Setting a macvlan up is refused where another one on the master has its address (`macvlan_open`).
    fn explain<T>(&self, outcome: interface::Result<T>, master: &Link) -> Result<T> {
        /// `EADDRINUSE` (asm-generic/errno.h), and `EBUSY` (asm-generic/errno-base.h) of old kernels.
        const IN_USE: [i32; 2] = [98, 16];
        outcome.map_err(|error| match (error.errno(), self.conf.mac()) {
            (Some(errno), Some(mac)) if IN_USE.contains(&errno) => {
                Error::MacInUse { mac, master: master.name.clone() }
            }
            _ => error.into(),
        })
    }

    /// Takes everything back that was done, past errors, which are returned.
    fn take_back(&mut self) -> Vec<cni::Error> {
        let mut errors = Vec::new();
        // The interface first: it uses the addresses.
        let has_gone = match self.remove_link() {
            Ok(()) => true,
            Err(error) => {
                errors.push(error.into());
                false
            }
        };
        if !self.reached.is_empty() {
            let access = HostAccess::of(&self.target.attachment.network);
            let removed = Socket::open().map_err(Error::from);
            let removed = removed.and_then(|mut host| access.remove(&mut host, &self.reached));
            errors.extend(removed.err().map(cni::Error::from));
        }
        if self.has_addresses && has_gone {
            let released = self.conf.ipam.call(Command::Del, self.request, Some(self.target));
            errors.extend(released.err());
        }
        errors
    }

    fn remove_link(&self) -> Result<()> {
        if !self.is_making {
            return Ok(());
        }
        let mut inside = self.container.socket()?;
        let name = names::unfinished(&self.target.attachment);
        match self.link {
            Some(index) => inside.del_link(index)?,
            None => inside.del_link_by_name(&name)?,
        };
        Ok(())
    }

    fn result(&self, plan: Plan, link: &Link) -> AddResult {
        let sandbox =
            self.target.netns.as_deref().map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
        let interface = Interface {
            name: link.name.clone(),
            mac: link.mac.map(|mac| mac.to_string()).unwrap_or_default(),
            mtu: Some(link.mtu),
            sandbox,
            ..Interface::default()
        };
        AddResult {
            interfaces: vec![interface],
            ips: plan.ips.into_iter().map(|ip| cni::Ip { interface: Some(0), ..ip }).collect(),
            routes: plan.result_routes,
            dns: plan.dns,
        }
    }
}

/// What the interface is to have. An ipvlan's hardware address is the master's, and cannot be set.
pub(crate) fn wanted<'a>(conf: &Conf, plan: &'a Plan) -> Wanted<'a> {
    Wanted {
        ips: &plan.ips,
        routes: &plan.routes,
        detects_duplicates: conf.detects_duplicates,
        accepts_ra: conf.accepts_ra,
        announces: match conf.family {
            Family::Macvlan => Announces::WithAddress,
            Family::Ipvlan => Announces::ComingUp,
        },
    }
}

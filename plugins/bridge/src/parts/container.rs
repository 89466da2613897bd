//! The container's side: addresses, routes and parameters of its interface, set from within its namespace.

use std::thread;
use std::time::{Duration, Instant};

use ipnetwork::IpNetwork;
use netlink::{AddressFlags, Link, Namespace, Socket, sysctl};

use crate::conf::Conf;
use crate::error::{self, Error, Result};
use crate::parts::advertisements;
use crate::plan::{Plan, table};
use crate::solicited_node::{await_group_route, await_solicitable};

/// How long duplicate address detection may take, as in the reference.
const DAD_PATIENCE: Duration = Duration::from_secs(5);
const DAD_PAUSE: Duration = Duration::from_millis(20);

/// Sets the container's interface up, without any address; `accepts_ra` as with [`configure`].
pub(crate) fn set_up(namespace: &Namespace, ifname: &str, accepts_ra: bool) -> Result<()> {
    namespace.enter(|| {
        let mut socket = Socket::open()?;
        let link = expect(&mut socket, ifname)?;
        if !accepts_ra {
            advertisements::refuse_inside(&link);
        }
        Ok(socket.set_up(link.index)?)
    })?
}

fn expect(socket: &mut Socket, ifname: &str) -> Result<Link> {
    let gone = || Error::Transient(format!("interface {ifname} went away while it was set up"));
    socket.get_link(ifname)?.ok_or_else(gone)
}

/// Brings the container's interface to what was planned, and returns it for [`Inside::announce`]. Unless it accepts router
/// advertisements, none gives it an address or a route: its neighbours could send them.
pub(crate) fn configure(namespace: &Namespace, ifname: &str, conf: &Conf, plan: &Plan) -> Result<Inside> {
    let dad = conf.keys.enabledad;
    namespace.enter(|| {
        let mut socket = Socket::open()?;
        let link = expect(&mut socket, ifname)?;
        let has_v6 = plan.ips.iter().any(|ip| ip.address.is_ipv6());
        if !conf.accepts_ra {
            advertisements::refuse_inside(&link);
        }
        if has_v6 {
            configure_ipv6(ifname, dad)?;
        }
        for ip in &plan.ips {
            // IPAM has made sure that nobody else has the address; detection would cost a second.
            let flags = AddressFlags { nodad: !dad && ip.address.is_ipv6(), ..AddressFlags::default() };
            socket.add_address(link.index, ip.address, flags)?;
        }
        socket.set_up(link.index)?;
        if dad && has_v6 {
            await_dad(&mut socket, &link)?;
        }
        for route in &plan.routes {
            let route = netlink::Route { oif: Some(link.index), ..route.clone() };
            // Where the container is on another network already, that one's stay the preferred ones.
            socket.append_route(&route)?;
        }
        await_solicitable(ifname, plan.ips.iter().map(|ip| ip.address));
        if has_v6 {
            await_group_route(&mut socket, link.index)?;
        }
        Ok(Inside { socket, link, has_addresses: !plan.ips.is_empty() })
    })?
}

/// The container's interface, with a socket of its namespace.
pub(crate) struct Inside {
    socket: Socket,
    link: Link,
    has_addresses: bool,
}

impl Inside {
    /// Has the neighbours learn at once that addresses have moved here, once the port forwards. The kernel announces both
    /// families when the hardware address is set, also to what it is (`inetdev_event`, `ndisc_netdev_event`); when the link
    /// comes up IPv4 alone, and the port may not forward yet.
    pub(crate) fn announce(mut self) -> Result<()> {
        let Some(mac) = self.link.mac.filter(|_| self.has_addresses) else { return Ok(()) };
        self.socket.announce_addresses(self.link.index)?;
        Ok(self.socket.set_mac(self.link.index, mac)?)
    }
}

fn configure_ipv6(ifname: &str, dad: bool) -> Result<()> {
    // Runtimes make namespaces with IPv6 switched off by default. A kernel without IPv6 fails at the address, with a better message.
    for link in ["lo", ifname] {
        let parameter = format!("net/ipv6/conf/{link}/disable_ipv6");
        if let Err(source) = sysctl::set(&parameter, "0")
            && !source.is_not_found()
        {
            return Err(error::sysctl(&parameter, "0", source));
        }
    }
    // The link-local address as well.
    let accept_dad = if dad { "1" } else { "0" };
    let wanted = [
        ("keep_addr_on_down", "1"),
        ("ndisc_notify", "1"),
        ("accept_dad", accept_dad),
        ("enhanced_dad", "1"),
    ];
    for (name, value) in wanted.into_iter().filter(|(name, _)| dad || *name != "enhanced_dad") {
        // Without them it works too: a second later, and as long as nobody sets the interface down.
        let _ = sysctl::set(&format!("net/ipv6/conf/{ifname}/{name}"), value);
    }
    Ok(())
}

fn await_dad(socket: &mut Socket, link: &Link) -> Result<()> {
    let deadline = Instant::now() + DAD_PATIENCE;
    loop {
        let addresses = socket.addresses(link.index)?;
        if let Some(duplicate) = addresses.iter().find(|address| address.dadfailed) {
            return Err(Error::Duplicate(duplicate.network.ip()));
        }
        let Some(tentative) = addresses.iter().find(|address| address.tentative) else {
            return Ok(());
        };
        if Instant::now() >= deadline {
            return Err(Error::Transient(format!("address {} is still tentative", tentative.network)));
        }
        thread::sleep(DAD_PAUSE);
    }
}

/// The interface as it is now, with its addresses and routes.
#[derive(Debug)]
pub(crate) struct Observed {
    pub link: Link,
    /// Its addresses.
    pub addresses: Vec<IpNetwork>,
    /// The routes out of it.
    pub routes: Vec<netlink::Route>,
}

impl Observed {
    /// Whether the interface has a planned route: of its table, to its destination, by its gateway. Its metric the kernel
    /// chooses beside other networks' routes.
    pub(crate) fn has_route(&self, wanted: &netlink::Route) -> bool {
        self.routes.iter().any(|there| {
            (there.dst, there.gateway, table(there.table))
                == (wanted.dst, wanted.gateway, table(wanted.table))
        })
    }
}

/// Looks at the interface, if it is there; `tables` are the routing tables of interest besides the main one.
pub(crate) fn observe(namespace: &Namespace, ifname: &str, tables: &[u32]) -> Result<Option<Observed>> {
    let mut socket = namespace.socket()?;
    let Some(link) = socket.get_link(ifname)? else { return Ok(None) };
    let addresses = socket.addresses(link.index)?.into_iter().map(|address| address.network).collect();
    let mut routes = socket.routes(link.index)?;
    for table in tables {
        routes.extend(socket.routes_in(link.index, *table)?);
    }
    Ok(Some(Observed { link, addresses, routes }))
}

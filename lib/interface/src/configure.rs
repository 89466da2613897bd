//! The container's side: addresses, routes and parameters of its interface, set from within its namespace.

use std::thread;
use std::time::{Duration, Instant};

use cni::Ip;
use netlink::{AddressFlags, Link, Namespace, Socket, sysctl};

use crate::error::{Error, Result, sysctl as failed_sysctl};
use crate::solicited_node::{await_group_route, await_solicitable};

/// How long duplicate address detection may take, as in the reference.
const DAD_PATIENCE: Duration = Duration::from_secs(5);
const DAD_PAUSE: Duration = Duration::from_millis(20);

/// When an interface's neighbours learn of its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announces {
    /// When [`Inside::announce`] sets the hardware address, once frames get through.
    WithAddress,
    /// When it comes up: of a kind whose hardware address cannot be set.
    ComingUp,
}

/// What an interface is to have.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Its addresses.
    pub ips: &'a [Ip],
    /// Its routes; the link is filled in.
    pub routes: &'a [netlink::Route],
    /// The kernel looks whether another node has the IPv6 addresses, and is waited for.
    pub detects_duplicates: bool,
    /// Router advertisements may give it addresses and routes.
    pub accepts_ra: bool,
    /// When the neighbours learn of the addresses.
    pub announces: Announces,
}

/// Sets the container's interface up, without any address; `accepts_ra` as with [`configure`].
pub fn set_up(namespace: &Namespace, ifname: &str, accepts_ra: bool) -> Result<()> {
    namespace.enter(|| {
        let mut socket = Socket::open()?;
        let link = expect(&mut socket, ifname)?;
        if !accepts_ra {
            refuse_advertisements(&link);
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
pub fn configure(namespace: &Namespace, ifname: &str, wanted: Wanted) -> Result<Inside> {
    let dad = wanted.detects_duplicates;
    namespace.enter(|| {
        let mut socket = Socket::open()?;
        let link = expect(&mut socket, ifname)?;
        let has_v6 = wanted.ips.iter().any(|ip| ip.address.is_ipv6());
        if !wanted.accepts_ra {
            refuse_advertisements(&link);
        }
        if has_v6 {
            configure_ipv6(ifname, dad)?;
        }
        for ip in wanted.ips {
            // IPAM has made sure that nobody else has the address; detection would cost a second.
            let flags = AddressFlags { nodad: !dad && ip.address.is_ipv6(), ..AddressFlags::default() };
            socket.add_address(link.index, ip.address, flags)?;
        }
        let announces = !wanted.ips.is_empty();
        if announces && wanted.announces == Announces::ComingUp {
            socket.announce_addresses(link.index)?;
        }
        socket.set_up(link.index)?;
        if dad && has_v6 {
            await_dad(&mut socket, &link)?;
        }
        for route in wanted.routes {
            let route = netlink::Route { oif: Some(link.index), ..route.clone() };
            // Where the container is on another network already, that one's stay the preferred ones.
            socket.append_route(&route)?;
        }
        await_solicitable(ifname, wanted.ips.iter().map(|ip| ip.address));
        if has_v6 {
            await_group_route(&mut socket, link.index)?;
        }
        let announces = announces && wanted.announces == Announces::WithAddress;
        Ok(Inside { socket, link, announces })
    })?
}

/// The container's interface, with a socket of its namespace.
pub struct Inside {
    socket: Socket,
    link: Link,
    announces: bool,
}

impl Inside {
    /// Has the neighbours learn at once that addresses have moved here, once the port forwards. The kernel announces both
    /// families when the hardware address is set, also to what it is (`inetdev_event`, `ndisc_netdev_event`); when the link
    /// comes up IPv4 alone, and the port may not forward yet.
    pub fn announce(mut self) -> Result<()> {
        let Some(mac) = self.link.mac.filter(|_| self.announces) else { return Ok(()) };
        self.socket.announce_addresses(self.link.index)?;
        Ok(self.socket.set_mac(self.link.index, mac)?)
    }
}

/// Has an interface take in no router advertisements, from within its namespace (CVE-2020-13401): addresses and routes are the
/// IPAM plugin's to give there, not a neighbour's. Where `/proc/sys` cannot be written, as where the plugin itself runs in a
/// container, it does without: bridge's `ipspoofchk` lets no advertisement of a neighbour through.
pub fn refuse_advertisements(link: &Link) {
    if link.advertisements.is_some_and(|found| found.accepted != 0) {
        let _ = sysctl::write(&format!("net/ipv6/conf/{}/accept_ra", link.name), "0");
    }
}

fn configure_ipv6(ifname: &str, dad: bool) -> Result<()> {
    // Runtimes make namespaces with IPv6 switched off by default. A kernel without IPv6 fails at the address, with a better message.
    for link in ["lo", ifname] {
        let parameter = format!("net/ipv6/conf/{link}/disable_ipv6");
        if let Err(source) = sysctl::set(&parameter, "0")
            && !source.is_not_found()
        {
            return Err(failed_sysctl(&parameter, "0", source));
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

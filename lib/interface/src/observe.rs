//! A container's interface as it is.

use ipnetwork::IpNetwork;
use netlink::{Link, Namespace};

use crate::error::Result;
use crate::route::table;

/// The interface as it is now, with its addresses and routes.
#[derive(Debug)]
pub struct Observed {
    /// The link.
    pub link: Link,
    /// Its addresses.
    pub addresses: Vec<IpNetwork>,
    /// The routes out of it.
    pub routes: Vec<netlink::Route>,
}

impl Observed {
    /// Whether the interface has a planned route: of its table, to its destination, by its gateway. Its metric the kernel
    /// chooses beside other networks' routes.
    #[must_use]
    pub fn has_route(&self, wanted: &netlink::Route) -> bool {
        self.routes.iter().any(|there| {
            (there.dst, there.gateway, table(there.table))
                == (wanted.dst, wanted.gateway, table(wanted.table))
        })
    }
}

/// Looks at the interface, if it is there; `tables` are the routing tables of interest besides the main one.
pub fn observe(namespace: &Namespace, ifname: &str, tables: &[u32]) -> Result<Option<Observed>> {
    let mut socket = namespace.socket()?;
    let Some(link) = socket.get_link(ifname)? else { return Ok(None) };
    let addresses = socket.addresses(link.index)?.into_iter().map(|address| address.network).collect();
    let mut routes = socket.routes(link.index)?;
    for table in tables {
        routes.extend(socket.routes_in(link.index, *table)?);
    }
    Ok(Some(Observed { link, addresses, routes }))
}

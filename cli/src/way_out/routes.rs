//! The order of a container's default routes, which is that of its networks: by metrics, the lower of which is preferred.

use std::collections::BTreeSet;
use std::net::IpAddr;

use netlink::{Namespace, Route, Socket};

use super::cached::CachedAttachment;
use crate::error::Error;
use crate::inventory::kept_result;

/// What the kernel takes for an IPv6 route without a metric (`IP6_RT_PRIO_USER`).
const METRIC_V6: u32 = 1024;

/// Puts the default routes of a namespace in the order of the networks that gave them. Others stay, and all stay where the
/// order is right.
pub(super) fn order(namespace: &Namespace, networks: &[CachedAttachment]) -> Result<(), Error> {
    let mut socket = namespace.socket()?;
    let mut ranks = Vec::new();
    for (rank, cached) in networks.iter().enumerate() {
        if let Some(link) = socket.get_link(cached.attachment.ifname.as_str())? {
            ranks.push((rank, link.index, gateways(cached)));
        }
    }
    let mut found: Vec<Ranked> = Vec::new();
    for route in socket.all_routes()? {
        let is_of = |(_, index, gateways): &&(usize, u32, BTreeSet<IpAddr>)| {
            route.oif == Some(*index) && route.gateway.is_some_and(|gateway| gateways.contains(&gateway))
        };
        if route.dst.prefix() == 0
            && route.table == Some(Route::MAIN)
            && let Some((rank, ..)) = ranks.iter().find(is_of)
        {
            let default = if route.dst.is_ipv4() { 0 } else { METRIC_V6 };
            found.push(Ranked { rank: *rank, metric: route.priority.unwrap_or(default), route });
        }
    }
    let (v4, v6): (Vec<_>, Vec<_>) = found.into_iter().partition(|ranked| ranked.route.dst.is_ipv4());
    [v4, v6].into_iter().try_for_each(|family| change(&mut socket, &changes(family)))
}

/// A default route with the place of its network.
#[derive(Debug)]
struct Ranked {
    rank: usize,
    metric: u32,
    route: Route,
}

/// The gateways that an attachment has default routes by.
fn gateways(cached: &CachedAttachment) -> BTreeSet<IpAddr> {
    let result = kept_result(&cached.entry);
    let ips = result.container_ips(cached.attachment.ifname.as_str());
    let of_routes = result.routes.iter().filter(|route| route.dst.prefix() == 0);
    ips.filter_map(|ip| ip.gateway).chain(of_routes.filter_map(|route| route.gw)).collect()
}

/// The routes that need another metric, with that. No two networks have the same one: the kernel would divide IPv6 traffic
/// among them.
fn changes(mut routes: Vec<Ranked>) -> Vec<(Route, u32)> {
    routes.sort_by_key(|route| route.metric);
    let is_ordered = |pair: &[Ranked]| {
        pair[0].rank == pair[1].rank
            || pair[0].rank < pair[1].rank && (pair[0].route.dst.is_ipv4() || pair[0].metric < pair[1].metric)
    };
    if routes.windows(2).all(is_ordered) {
        return Vec::new();
    }
    routes.sort_by_key(|route| route.rank);
    let (mut changes, mut least) = (Vec::new(), 0);
    for Ranked { metric, route, .. } in routes {
        let wanted = metric.max(least);
        if wanted != metric {
            changes.push((route, wanted));
        }
        least = wanted.saturating_add(1);
    }
    changes
}

/// A route is added with its new metric before the old one is removed: there is a default route at any time. The last one
/// comes first, as a route's new metric may be the old one of the next.
fn change(socket: &mut Socket, changes: &[(Route, u32)]) -> Result<(), Error> {
    for (route, metric) in changes.iter().rev() {
        // Where another program has a route of this metric, this one stays as it was.
        if socket.add_route(&Route { priority: Some(*metric), ..route.clone() })? {
            socket.del_route(route)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(family: &str, all: &[(usize, u32)]) -> Vec<(usize, u32)> {
        let route = |(rank, metric): &(usize, u32)| {
            let oif = u32::try_from(*rank).ok();
            let route = Route { oif, priority: Some(*metric), ..Route::new(family.parse().unwrap()) };
            Ranked { rank: *rank, metric: *metric, route }
        };
        let changed = changes(all.iter().map(route).collect());
        changed.into_iter().map(|(route, metric)| (route.oif.unwrap() as usize, metric)).collect()
    }

    #[test]
    fn only_what_is_out_of_order_changes() {
        let (v4, v6) = ("0.0.0.0/0", "::/0");
        assert_eq!(routes(v4, &[(0, 0), (1, 0), (2, 0)]), []);
        assert_eq!(routes(v4, &[(0, 0), (1, 5)]), []);
        assert_eq!(routes(v4, &[(1, 0), (0, 0)]), [(1, 1)]);
        assert_eq!(routes(v4, &[(0, 0), (2, 0), (1, 1)]), [(2, 2)]);
        assert_eq!(routes(v6, &[(0, 1024), (1, 1024)]), [(1, 1025)]);
        assert_eq!(routes(v6, &[(1, 1024), (0, 1025)]), [(1, 1026)]);
        assert_eq!(routes(v4, &[(0, 0), (0, 0)]), []);
    }
}

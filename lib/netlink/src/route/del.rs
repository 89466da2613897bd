//! Removing routes (`RTM_DELROUTE`).

use netlink_packet_route::route::RouteProtocol;
use nix::errno::Errno;
use nix::libc::RTM_DELROUTE;

use super::{Route, add};
use crate::error::Error;
use crate::socket::Socket;

impl Socket {
    /// Removes a route, whoever made it; false where it is not there. Of several to one destination it is the one with
    /// this gateway, link and metric; without a metric, or with the metric 0, the preferred one of them.
    pub fn del_route(&mut self, route: &Route) -> Result<bool, Error> {
        let operation = format_args!("delete route to {}", route.dst);
        let mut request = add::request(route);
        request.header.protocol = RouteProtocol::Unspec;
        match self.change(operation, RTM_DELROUTE, 0, &request) {
            Ok(()) => Ok(true),
            Err(error) if error.is(Errno::ESRCH) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

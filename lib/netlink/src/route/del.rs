//! Removing routes (`RTM_DELROUTE`).

use nix::errno::Errno;
use nix::libc::{RTM_DELROUTE, RTN_UNICAST, RTPROT_UNSPEC};

use super::Route;
use crate::error::{Error, unless};
use crate::socket::Socket;

impl Socket {
    /// Removes a route of any origin; false where it is not there. Of several to one destination it is the one with
    /// this gateway, link and metric; without a metric, or with the metric 0, the preferred one of them.
    pub fn del_route(&mut self, route: &Route) -> Result<bool, Error> {
        let operation = format_args!("delete route to {}", route.dst);
        let fill = |request: &mut wire::Writer| route.write(request, RTPROT_UNSPEC, RTN_UNICAST);
        let deleted = self.change(operation, RTM_DELROUTE, 0, fill);
        unless(deleted, &[Errno::ESRCH]).map(|deleted| deleted.is_some())
    }
}

//! The process that removes a link in a DEL's place: see [`interface::Removal`].
//!
//! As that process is there anyway, it keeps the sockets of the packet filter open that others have deleted by, until closing
//! them costs nobody anything ([`Keeper`]).

use std::env;
use std::ffi::OsString;
use std::process::ExitCode;

use netlink::Socket;
use nftables::Keeper;

/// The whole run of the process that removes a link; `None` where this is not that process.
pub(crate) fn serve(arguments: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    let index = interface::asked_removal(arguments)?;
    // Before the removal, so that the DEL, which waits for that, finds the keeper.
    let keeper = Keeper::claim();
    let removed =
        index.is_some_and(|index| Socket::open().and_then(|mut socket| socket.del_link(index)).is_ok());
    if !removed {
        return Some(ExitCode::FAILURE);
    }
    if let Some(keeper) = keeper {
        // That may take as long as containers go one behind the other; the caller's folder may be unmounted meanwhile.
        let _ = env::set_current_dir("/");
        keeper.keep();
    }
    Some(ExitCode::SUCCESS)
}

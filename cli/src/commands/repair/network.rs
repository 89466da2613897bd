//! A network's own part of a repair: its bridge is to be as closed as its file says, which may have changed since the containers
//! on it were added.

use bridge::Bridge;
use cni::Plugin;

use crate::network::text;
use crate::output;
use crate::runtime::Runtime;

/// Closes networks that are open, all or the one of a name, and tells which; `dry_run` only tells. Says whether none failed.
pub(super) fn close(runtime: &Runtime<'_>, wanted: Option<&str>, dry_run: bool) -> bool {
    let mut is_closed = true;
    for list in runtime.networks() {
        let is_bridge = list.plugins.first().is_some_and(|plugin| text(plugin, "type") == Bridge::NAME);
        if !is_bridge || wanted.is_some_and(|wanted| wanted != list.name.as_str()) {
            continue;
        }
        let Ok(request) = runtime.chain(&list).status_request(0) else { continue };
        // What else is wrong with the configuration is for `conf check` to say.
        let Ok(Some(why)) = bridge::open_to(&request) else { continue };
        let told = if dry_run {
            format!("would be closed: {why}")
        } else {
            match bridge::close(&request) {
                Ok(()) => format!("closed: {why}"),
                Err(error) => {
                    is_closed = false;
                    error.to_string()
                }
            }
        };
        output::tell(&format!("cleat: network {}: {told}\n", list.name));
    }
    is_closed
}

//! What drops a network's packets, as STATUS of its plugins says, whatever the version of its list.

use bridge::{Bridge, OBSTACLE};
use cni::{Chain, Plugin};

use crate::output;

/// What keeps a network's packets from being forwarded, with the cure, and the place of the plugin that says so; `None`
/// where nothing does, or no plugin can tell.
pub(crate) fn obstacle(chain: &Chain<'_>) -> Option<(usize, String)> {
    let answers = chain.status_each(|name| name == Bridge::NAME);
    answers.into_iter().find_map(|(place, answer)| {
        let said = answer.err()?.to_string();
        // Users need not know which plugin says so.
        let said = said.strip_prefix(&format!("plugin {:?}: ", Bridge::NAME)).unwrap_or(&said);
        said.contains(OBSTACLE).then(|| (place, said.to_owned()))
    })
}

/// Writes it to standard error; returns whether there was anything.
pub(crate) fn tell(chain: &Chain<'_>) -> bool {
    let found = obstacle(chain);
    if let Some((_, said)) = &found {
        output::tell(&format!("cleat: network {}: {said}\n", chain.list.name));
    }
    found.is_some()
}

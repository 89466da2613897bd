//! This host's part of an overlay network: the agent's file and the conflist, which come and go together.

use cni::NetworkName;

use crate::agent::{self, Conf, Outcome, Own, Program, START};
use crate::error::Error;
use crate::network::Folder;
use crate::output;

/// A network that this host takes part in.
pub(super) struct Part<'a> {
    pub(super) program: &'a Program,
    pub(super) network: &'a NetworkName,
    /// With the network's ID.
    pub(super) conf: &'a Conf,
}

impl Part<'_> {
    /// Refuses to go on where the agent has a file of the network.
    pub(super) fn expect_none(network: &NetworkName, doing: &str) -> Result<(), Error> {
        let file = agent::file(network);
        if !file.exists() {
            return Ok(());
        }
        let cure = format!("`cleat network leave {network}` removes it");
        Err(Error::refused(doing, format!("there is {} already", file.display()), cure))
    }

    /// Writes both files, and waits for this node's block. Where that cannot be had, all of it is taken back. Where the agent does
    /// not run, or is not so far yet, that is said, and the files stay.
    pub(super) fn begin(&self, folder: &Folder, text: &str) -> Result<(), Error> {
        self.conf.write(self.network)?;
        let conflist = match folder.create(self.network.as_str(), text) {
            Ok(file) => file,
            Err(error) => return Err(error.and(self.end(false))),
        };
        self.wait().map_err(|error| {
            let removed = std::fs::remove_file(&conflist);
            let removed = removed.map_err(|error| Error::io(format!("remove {}", conflist.display()), error));
            error.and(self.end(false)).and(removed)
        })
    }

    /// Waits until containers can be added.
    pub(super) fn wait(&self) -> Result<(), Error> {
        let network = self.network;
        let tell = |what: &str| {
            output::tell(&format!("cleat: network {network}: no container can be added to it yet: {what}\n"));
            Ok(())
        };
        match agent::wait(network, self.conf.id.as_deref().unwrap_or_default()) {
            Outcome::Ready => Ok(()),
            Outcome::NotRunning => tell(&format!("the agent cleat-overlay does not run: {START}")),
            Outcome::Waiting(news) => tell(&format!("{news}; `cleat status {network}` says when it can")),
            Outcome::Refused(reason) => Err(Error::Agent(format!("network {network}: {reason}"))),
        }
    }

    /// Takes the network off this node, and removes the agent's file.
    pub(super) fn end(&self, force: bool) -> Result<(), Error> {
        self.program.remove(self.network, force)?;
        Conf::remove(self.network)
    }
}

/// For `network rm`: leaves, and deletes the network in the engine if this was its last node.
pub(super) fn leave_for_good(name: &NetworkName, doing: &str) -> Result<(), Error> {
    let program = Program::find(doing)?;
    let Some(conf) = Conf::read(name)? else {
        let reason = format!("there is no {}, which says where its engine is", agent::file(name).display());
        return Err(Error::refused(
            doing,
            reason,
            format!("`cleat network leave --force {name}` does without"),
        ));
    };
    let own = Own::of(name);
    let nodes = program.nodes(name).inspect_err(|_| {
        output::tell(&format!("cleat: `cleat network leave --force {name}` takes it off this host alone\n"));
    })?;
    let others: Vec<String> =
        nodes.nodes.into_iter().filter(|node| !own.is(node)).map(|node| node.name).collect();
    Part { program: &program, network: name, conf: &conf }.end(false)?;
    if others.is_empty() {
        return program.delete(name, &conf);
    }
    output::tell(&format!(
        "cleat: network {}: it goes on without this host, on {}\n",
        name,
        others.join(", ")
    ));
    Ok(())
}

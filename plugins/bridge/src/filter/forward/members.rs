//! The table that counts a bridge's ports, and opens and closes the host's firewall with the first and the last of them.

use cni::{Attachment, IfName, token};
use nftables::ledger::{self, Change, Entry};
use nftables::{Chain, Data, Element, Expr, Family, Set, Socket, Table, Type, Verdict};

use super::chains::{all_chains, chains_of_iptables, closed, obstacle, open, ours};
use super::legacy;
use crate::error::{Error, Result, differs};
use crate::filter::owner::{comment, first_word, interface};

const TABLE: Table = Table::new(Family::Inet, "cleat_forward");
/// The ports that the host's firewall is open for.
pub(crate) const MEMBERS: Set = Set::vmap(TABLE, "members", &[Type::Ifname]);
const BRIDGES: Chain = Chain::new(TABLE, "bridges");

/// Has what drops by default let a bridge's packets through. The first port of a bridge looks at all chains, a later one only
/// at those of iptables, which another program may have begun to use since.
#[derive(Debug)]
pub(crate) struct Put<'a> {
    bridge: &'a IfName,
    attachment: &'a Attachment,
    /// The port may be counted already, and every chain that is closed again is opened.
    is_repair: bool,
    is_first: bool,
}

impl<'a> Put<'a> {
    /// Nothing is done before the entry is put.
    pub(crate) fn new(bridge: &'a IfName, attachment: &'a Attachment, is_repair: bool) -> Self {
        Self { bridge, attachment, is_repair, is_first: false }
    }

    /// Opens the chain of iptables' legacy variant, once the entry has been put.
    pub(crate) fn open_legacy(&self) -> Result<()> {
        if self.is_first || self.is_repair { legacy::open(self.bridge) } else { Ok(()) }
    }
}

impl Entry<Error> for Put<'_> {
    fn table(&self) -> Table<'static> {
        TABLE
    }

    fn prepare(&mut self, socket: &mut Socket, change: &mut Change) -> Result<()> {
        let port = self.attachment.host_interface();
        let found = socket.get_element(&MEMBERS, &[interface(&port)?])?;
        let is_counted = self.is_repair && found.as_ref().is_some_and(|found| leads_to(found, self.bridge));
        if found.is_some() && !is_counted {
            // What an earlier ADD of the same attachment left.
            let mut earlier = Take::new(&port);
            ledger::put(socket, &mut [&mut earlier])?;
            earlier.close_legacy()?;
        }
        self.is_first = !has_members(socket, self.bridge)?;
        let chains =
            if self.is_first || self.is_repair { all_chains(socket)? } else { chains_of_iptables(socket)? };
        let batch = &mut change.batch;
        if !is_counted {
            if !socket.has_table(&TABLE)? {
                batch.create_table(&TABLE).add_set(&MEMBERS).add_chain(&BRIDGES);
            }
            let name = chain(self.bridge);
            if self.is_first {
                let chain = Chain::new(TABLE, &name);
                batch.create_chain(&chain).add_rule(&chain, &[Expr::jump(BRIDGES.name)], None);
            }
            let member = Element::new(&[interface(&port)?]).verdict(Verdict::goto(name));
            batch.create_element(&MEMBERS, &member.comment(comment(self.bridge, self.attachment)));
        }
        for chain in closed(socket, self.bridge, chains)? {
            open(batch, &chain.as_chain(), self.bridge)?;
        }
        Ok(())
    }

    fn refused(&self, error: nftables::Error) -> Error {
        // A table that its program keeps for itself.
        if error.is_not_permitted() {
            return Error::OwnedTable { bridge: self.bridge.to_string(), refused: error.to_string() };
        }
        error.into()
    }
}

/// The removal of a port from its bridge's; with the last one the rules go.
#[derive(Debug)]
pub(crate) struct Take<'a> {
    port: &'a str,
    /// The chain and the bridge that the port was counted for.
    left: Option<(String, String)>,
    is_last: bool,
}

impl<'a> Take<'a> {
    /// Where nothing is there, nothing is done.
    pub(crate) fn new(port: &'a str) -> Self {
        Self { port, left: None, is_last: false }
    }

    /// Removes the rules of iptables' legacy variant, once the entry has been taken.
    pub(crate) fn close_legacy(&self) -> Result<()> {
        match &self.left {
            Some((_, bridge)) if self.is_last => legacy::close(bridge),
            _ => Ok(()),
        }
    }
}

impl Entry<Error> for Take<'_> {
    fn table(&self) -> Table<'static> {
        TABLE
    }

    fn prepare(&mut self, socket: &mut Socket, change: &mut Change) -> Result<()> {
        self.is_last = false;
        let (key, mut leaving) = ([interface(self.port)?], 0);
        if let Some(found) = socket.get_element(&MEMBERS, &key)?
            && let Some(Data::Verdict(Verdict::Goto(chain))) = &found.data
        {
            change.batch.del_element(&MEMBERS, &key);
            self.left = Some((chain.clone(), first_word(&found).unwrap_or_default().to_owned()));
            leaving = 1;
        }
        let Some((chain, bridge)) = &self.left else { return Ok(()) };
        let chain = Chain::new(TABLE, chain);
        if socket.references(&chain)? != Some(leaving) {
            return Ok(());
        }
        self.is_last = true;
        change.batch.del_chain(&chain);
        if socket.references(&BRIDGES)? == Some(1) {
            change.batch.del_chain(&BRIDGES).del_table(&TABLE);
        }
        for foreign in all_chains(socket)? {
            for rule in ours(&socket.rules(&foreign.as_chain())?, bridge) {
                change.batch.del_rule(&foreign.as_chain(), rule.handle);
            }
        }
        Ok(())
    }

    fn is_settled(&mut self, socket: &mut Socket) -> Result<bool> {
        match &self.left {
            Some((chain, _)) if !self.is_last => Ok(socket.references(&Chain::new(TABLE, chain))? != Some(0)),
            _ => Ok(true),
        }
    }
}

/// Names what differs from what [`Put`] set up.
pub(crate) fn check(socket: &mut Socket, bridge: &IfName, attachment: &Attachment) -> Result<()> {
    let port = attachment.host_interface();
    let found = socket.get_element(&MEMBERS, &[interface(&port)?])?;
    if !found.is_some_and(|found| leads_to(&found, bridge)) {
        return differs(format!("map {} of table {TABLE} does not have port {port}", MEMBERS.name));
    }
    let chains = all_chains(socket)?;
    let closed = closed(socket, bridge, chains)?;
    closed.first().map_or(Ok(()), |chain| differs(obstacle(&chain.as_chain(), bridge.as_str())))
}

/// Whether the host's firewall has been opened for a bridge.
pub(super) fn has_members(socket: &mut Socket, bridge: &IfName) -> Result<bool> {
    Ok(socket.has_chain(&Chain::new(TABLE, &chain(bridge)))?)
}

fn leads_to(element: &Element, bridge: &IfName) -> bool {
    element.data == Some(Data::Verdict(Verdict::goto(chain(bridge))))
}

/// The chain that stands for a bridge. Any name is allowed for a bridge, and not every one for a chain.
fn chain(bridge: &IfName) -> String {
    format!("open_{}", &token(&[bridge.as_str()])[..8])
}

//! What each of the two backends does: nftables, and the reference's chains of iptables. DEL and GC go through both
//! (`removal`): the ports may have been published by either.

use cni::Attachment;
use iptables::Variant;
use nftables::Socket;

use crate::conf::Conf;
use crate::container::Container;
use crate::error::Error;
use crate::plan;
use crate::port::Port;

/// What is to be published, and for whom.
pub(crate) struct Wanted<'a> {
    pub attachment: &'a Attachment,
    pub conf: Conf,
    pub container: Container,
}

impl Wanted<'_> {
    /// The ports of the mappings that name a host port.
    pub(crate) fn ports(&self) -> Result<Vec<Port>, Error> {
        plan::published(&self.conf.mappings, &self.container.addresses)
    }
}

/// Where an attachment's ports are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In chains of iptables.
    Chains(Variant),
    /// In the reference's own tables.
    Tables,
}

/// What an ADD of the attachment's builds on that is there already.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// The ports that an earlier ADD published, where some were its choice.
    pub ports: Vec<Port>,
    /// By what localhost is to lead to the container, as far as this plugin switches it.
    pub locals: Vec<String>,
}

/// Where ports are published.
pub(crate) trait Backend {
    /// The socket for `nf_tables`; `None` where the kernel has none.
    fn rules(&mut self) -> Option<&mut Socket>;

    /// The other backends' places where the attachment has ports. Refuses what this backend has no way to do.
    fn others(&mut self, wanted: &Wanted) -> Result<Vec<Place>, Error>;

    /// Whether the attachment has ports by this backend already, so that another's rules are to be replaced.
    fn has_ports(&mut self, wanted: &Wanted) -> Result<bool, Error>;

    /// Reads what [`Backend::publish`] builds on. A failure is nothing to undo: what is there goes on serving.
    fn known(&mut self, wanted: &Wanted) -> Result<Known, Error>;

    /// ADD. What a failure leaves is for the caller to undo.
    fn publish(&mut self, wanted: &Wanted, known: Known) -> Result<(), Error>;

    /// CHECK: names the first difference.
    fn check(&mut self, wanted: Wanted) -> Result<(), Error>;

    /// STATUS: names what is missing for an ADD to succeed.
    fn status(&mut self) -> Result<(), Error>;
}

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
#[derive(Clone)]
pub(crate) struct Wanted<'a> {
    pub attachment: &'a Attachment,
    pub conf: Conf,
    pub container: Container,
}

impl Wanted<'_> {
    /// The ports, where each mapping has its host port.
    pub(crate) fn ports(&self) -> Result<Vec<Port>, Error> {
        let ports = plan::ports(&self.conf.mappings, &self.container.addresses)?;
        Ok(ports.into_iter().map(|(_, port)| port).collect())
    }
}

/// Another backend than the one in use, by which an attachment has ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Other {
    /// Chains of iptables.
    Iptables(Variant),
    /// The reference's own tables of nftables.
    ReferenceTables,
}

/// Where ports are published.
pub(crate) trait Backend {
    /// The socket for `nf_tables`; `None` where the kernel has none.
    fn rules(&mut self) -> Option<&mut Socket>;

    /// The other backends by which the attachment has ports. Refuses what this backend cannot do.
    fn others(&mut self, wanted: &Wanted) -> Result<Vec<Other>, Error>;

    /// Whether the attachment has ports by this backend already, so that another's rules are to be replaced.
    fn has_ports(&mut self, _: &Wanted) -> Result<bool, Error> {
        Ok(false)
    }

    /// The ports that an earlier ADD published, where some were its choice. A failure is not undone: what is there goes on
    /// serving.
    fn known(&mut self, _: &Wanted) -> Result<Vec<Port>, Error> {
        Ok(Vec::new())
    }

    /// ADD, with the [`Backend::known`] ports. What a failure leaves is for the caller to undo.
    fn publish(&mut self, wanted: &Wanted, known: &[Port]) -> Result<(), Error>;

    /// CHECK: names the first difference.
    fn check(&mut self, wanted: &Wanted) -> Result<(), Error>;

    /// STATUS: names what is missing for an ADD to succeed.
    fn status(&mut self) -> Result<(), Error>;
}

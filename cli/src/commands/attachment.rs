//! What the verbs about one attachment share.

use std::path::Path;

use cni::{Attachment, NetworkName};

use crate::container_id;
use crate::environment::Environment;
use crate::error::Error;
use crate::runtime::CacheFolder;

/// The options of the verbs about one attachment.
#[derive(Debug, clap::Args)]
pub(super) struct AttachmentOptions {
    /// Container ID [default: derived from NETNS as cnitool does]
    #[arg(long)]
    pub(super) id: Option<String>,
    #[command(flatten)]
    pub(super) cache: CacheFolder,
}

impl AttachmentOptions {
    /// The attachment that these options, the environment and an absolute namespace stand for.
    pub(super) fn attachment(
        &self,
        network: &str,
        netns: Option<&Path>,
        environment: &Environment,
    ) -> Result<Attachment, Error> {
        let container_id = match &self.id {
            Some(id) => container_id::new(id.as_str())?,
            // The command line demands one of the two.
            None => container_id::for_namespace(netns.unwrap_or(Path::new("")))?,
        };
        let network = NetworkName::new(network).map_err(Error::contract("name network"))?;
        Ok(Attachment { network, container_id, ifname: environment.ifname()? })
    }
}

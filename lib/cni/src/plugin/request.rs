//! One call of a plugin: the verb, what the environment says of the attachment, the configuration.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::plugin::args::Args;
use crate::spec::attachment::{Attachment, ContainerId, IfName};
use crate::spec::conf::Conf;
use crate::spec::error::{Code, Error};
use crate::spec::version::Version;

/// The verbs of the specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Make an attachment.
    Add,
    /// Remove an attachment.
    Del,
    /// Compare an attachment with what ADD set up.
    Check,
    /// Remove what attachments left that are no longer valid.
    Gc,
    /// Say whether an ADD could succeed.
    Status,
    /// Say which versions are supported.
    Version,
}

impl Command {
    /// Reads `CNI_COMMAND`.
    ///
    /// # Errors
    /// Code 4 for anything that is not a verb.
    pub fn parse(text: &str) -> Result<Self, Error> {
        Ok(match text {
            "ADD" => Self::Add,
            "DEL" => Self::Del,
            "CHECK" => Self::Check,
            "GC" => Self::Gc,
            "STATUS" => Self::Status,
            "VERSION" => Self::Version,
            _ => {
                return Err(Error::new(Code::InvalidEnvironment, format!("unknown CNI_COMMAND {text:?}"))
                    .details("it is one of ADD, DEL, CHECK, GC, STATUS, VERSION"));
            }
        })
    }

    /// The verb as `CNI_COMMAND` spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Del => "DEL",
            Self::Check => "CHECK",
            Self::Gc => "GC",
            Self::Status => "STATUS",
            Self::Version => "VERSION",
        }
    }

    /// The version of the specification that brought the verb.
    #[must_use]
    pub fn since(self) -> Version {
        match self {
            Self::Add | Self::Del | Self::Version => Version::V0_1_0,
            Self::Check => Version::V0_4_0,
            Self::Gc | Self::Status => Version::V1_1_0,
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What every verb but VERSION is given.
#[derive(Clone, Debug)]
pub struct Request {
    /// The verb, which a delegate is called with as well.
    pub command: Command,
    /// The configuration from standard input.
    pub conf: Conf,
    /// `CNI_PATH`: the folders in which delegates are looked for.
    pub path: Vec<PathBuf>,
}

/// What ADD, CHECK and DEL are given about the attachment.
#[derive(Clone, Debug)]
pub struct Target {
    /// Container, network and interface.
    pub attachment: Attachment,
    /// The container's network namespace: there for ADD and CHECK; on DEL it may be missing, or the path dead.
    pub netns: Option<PathBuf>,
    /// `CNI_ARGS`, parsed; see [`Args::wanted`] and [`Args::expect_pairs`] for what counts as an error.
    pub args: Args,
    /// `CNI_ARGS` as it came, for delegates.
    pub raw_args: String,
}

impl Target {
    /// The namespace's path, for the verbs that cannot do without.
    ///
    /// # Errors
    /// Code 4 where `CNI_NETNS` is missing.
    pub fn netns(&self) -> Result<&Path, Error> {
        self.netns.as_deref().ok_or_else(|| missing(&["CNI_NETNS"]))
    }

    /// The container's ID.
    #[must_use]
    pub fn container_id(&self) -> &ContainerId {
        &self.attachment.container_id
    }

    /// The interface inside the container.
    #[must_use]
    pub fn ifname(&self) -> &IfName {
        &self.attachment.ifname
    }
}

/// The error for variables that a verb needs.
pub(crate) fn missing(names: &[&str]) -> Error {
    Error::new(
        Code::InvalidEnvironment,
        format!("required environment variables missing: {}", names.join(", ")),
    )
}

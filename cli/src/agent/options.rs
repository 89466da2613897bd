//! The options by which a node gets into a network: `network create -d overlay` and `network join` have them in common.

use std::net::IpAddr;
use std::path::{Path, PathBuf, absolute};

use super::conf::{Conf, Engine};
use super::endpoints;
use crate::error::Error;

/// How to reach the engine, and how other nodes reach this one.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Overlay networks")]
pub(crate) struct NodeOptions {
    /// The engine that the nodes share: etcd://HOST:2379,HOST:2379
    #[arg(long, value_name = "URL")]
    engine: Option<String>,
    /// File with the certificate of the CA that signed the engine's; etcd:// means https:// then
    #[arg(long, value_name = "FILE")]
    cacert: Option<PathBuf>,
    /// File with this node's certificate for the engine
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// File with the private key of --cert
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// User of the engine, unless the certificate says it
    #[arg(long, value_name = "NAME", requires = "password_file")]
    user: Option<String>,
    /// File with the password of --user
    #[arg(long, value_name = "FILE", requires = "user")]
    password_file: Option<PathBuf>,
    /// What all keys in the engine begin with [default: /cleat/v1]
    #[arg(long, value_name = "PREFIX")]
    engine_prefix: Option<String>,
    /// Name of this node [default: the host's]
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// Interface whose address other nodes send to [default: that of the default route]
    #[arg(long, value_name = "IF", conflicts_with = "address")]
    interface: Option<String>,
    /// This node's address that other nodes send to
    #[arg(long, value_name = "IP")]
    address: Option<IpAddr>,
}

impl NodeOptions {
    /// Whether any is given.
    pub(crate) fn are_given(&self) -> bool {
        let Self { engine, cacert, cert, key, user, password_file, engine_prefix, node, interface, address } =
            self;
        let texts = [engine, user, engine_prefix, node, interface].iter().any(|text| text.is_some());
        let files = [cacert, cert, key, password_file].iter().any(|file| file.is_some());
        texts || files || address.is_some()
    }

    /// The agent's configuration, without the network's ID. Paths are absolute in it, as the agent has another folder.
    ///
    /// # Errors
    /// An engine that is not given, or not as it should be; a file that is not there.
    pub(crate) fn conf(&self, doing: &str) -> Result<Conf, Error> {
        let refuse = |reason: &str, cure: &str| Error::refused(doing, reason, cure);
        let Some(engine) = &self.engine else {
            let cure =
                "--engine etcd://HOST:2379 says where that is; for https with --cacert, --cert and --key";
            return Err(refuse("the nodes of an overlay network need an engine that they share", cure));
        };
        let with_ca = self.cacert.is_some();
        let endpoints = endpoints::urls(engine, with_ca)
            .map_err(|reason| refuse("the value of --engine is of no use", &reason))?;
        if self.cert.is_some() && !endpoints.iter().all(|url| url.starts_with("https://")) {
            let cure =
                "add --cacert, or write https:// where the system's own CAs signed the engine's certificate";
            return Err(refuse("--cert and --key are of no use with http", cure));
        }
        let engine = Engine {
            kind: "etcd".to_owned(),
            endpoints,
            ca: there(self.cacert.as_deref(), "--cacert", doing)?,
            cert: there(self.cert.as_deref(), "--cert", doing)?,
            key: there(self.key.as_deref(), "--key", doing)?,
            user: self.user.clone(),
            password_file: there(self.password_file.as_deref(), "--password-file", doing)?,
            prefix: self.engine_prefix.clone(),
        };
        let (node, interface) = (self.node.clone(), self.interface.clone());
        Ok(Conf { engine, id: None, node, interface, address: self.address })
    }
}

/// The absolute path of a file that is there.
fn there(file: Option<&Path>, option: &str, doing: &str) -> Result<Option<PathBuf>, Error> {
    let Some(file) = file else { return Ok(None) };
    let path = absolute(file).and_then(|path| path.metadata().map(|metadata| (path, metadata.is_file())));
    match path {
        Ok((path, true)) => Ok(Some(path)),
        Ok((path, false)) => Err(Error::refused(
            doing,
            format!("{option} {} is not a file", path.display()),
            "name the file itself",
        )),
        Err(error) => Err(Error::io(format!("{doing}: read {option} {}", file.display()), error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(change: impl FnOnce(&mut NodeOptions)) -> NodeOptions {
        let mut options = NodeOptions { engine: Some("etcd://h1".to_owned()), ..NodeOptions::default() };
        change(&mut options);
        options
    }

    #[test]
    fn files_are_absolute_and_there() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let ca = || Some(file.path().to_owned());
        let conf = with(|options| options.cacert = ca()).conf("join").unwrap();
        assert_eq!((conf.engine.endpoints, conf.engine.ca), (vec!["https://h1:2379".to_owned()], ca()));
        let here = with(|options| options.cacert = Some("Cargo.toml".into())).conf("join").unwrap();
        assert!(here.engine.ca.unwrap().is_absolute());
        let folder = file.path().parent().unwrap().to_owned();
        for (options, words) in [
            (with(|options| options.cacert = Some("/no/ca.pem".into())), "--cacert /no/ca.pem: no such file"),
            (with(|options| options.password_file = Some(folder)), "is not a file"),
            (with(|options| options.engine = None), "need an engine"),
            (with(|options| (options.cert, options.key) = (ca(), ca())), "no use with http"),
        ] {
            let said = options.conf("join network a").unwrap_err().to_string();
            assert!(said.starts_with("join network a: ") && said.contains(words), "{said}");
        }
    }

    #[test]
    fn no_option_goes_unseen() {
        assert!(!NodeOptions::default().are_given());
        assert!(with(|_| ()).are_given());
        assert!(NodeOptions { address: Some([10, 0, 0, 1].into()), ..NodeOptions::default() }.are_given());
    }
}

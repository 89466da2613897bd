//! Where etcd is, and how to get in. Nothing here is secret: keys and passwords are named by their files.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use hyper::http::Uri;
use hyper::http::uri::PathAndQuery;

/// What [`Client::new`](crate::Client::new) needs.
#[derive(Clone, Debug)]
pub struct Config {
    /// The members of the cluster, or proxies of them. They are tried in turn.
    pub endpoints: Vec<Endpoint>,
    /// For `https` endpoints.
    pub tls: Option<Tls>,
    /// For a cluster with users, unless the client certificate's common name is the user.
    pub user: Option<User>,
    /// How long what may take.
    pub timing: Timing,
}

impl Config {
    /// Endpoints without certificates and users, with the usual timing.
    #[must_use]
    pub fn new(endpoints: Vec<Endpoint>) -> Self {
        Self { endpoints, tls: None, user: None, timing: Timing::default() }
    }
}

/// The address of a member: `http://host:port` or `https://host:port`. The port may be missing: 2379.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub(crate) origin: Uri,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) secure: bool,
}

/// An endpoint that is not `http://host:port` or `https://host:port`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an endpoint of etcd: write http://HOST:PORT or https://HOST:PORT")]
pub struct BadEndpoint(String);

impl FromStr for Endpoint {
    type Err = BadEndpoint;

    fn from_str(text: &str) -> Result<Self, BadEndpoint> {
        // Not to be repeated in an error: it may have a password, as in http://user:password@host.
        if text.contains('@') {
            return Err(BadEndpoint("an address with a user".to_owned()));
        }
        let bad = || BadEndpoint(text.to_owned());
        let uri: Uri = text.parse().map_err(|_| bad())?;
        let secure = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(bad()),
        };
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(bad)?;
        if !matches!(uri.path_and_query().map(PathAndQuery::as_str), None | Some("" | "/")) {
            return Err(bad());
        }
        let is_without_port = uri.authority().is_some_and(|authority| authority.as_str() == host);
        let port = if is_without_port { 2379 } else { uri.port_u16().ok_or_else(bad)? };
        let origin = format!("{}://{host}:{port}", if secure { "https" } else { "http" });
        // An IPv6 address has brackets in an URI, and none in a certificate or for the resolver.
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { origin: origin.parse().map_err(|_| bad())?, host, port, secure })
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The text of an URI ends in a slash.
        formatter.write_str(self.origin.to_string().trim_end_matches('/'))
    }
}

/// The files of TLS, all PEM. They are read anew at each connect, so that renewed ones are taken up without a restart.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The certificates of those who may sign the server's.
    pub ca: PathBuf,
    /// The client's certificate and key.
    pub client: Option<Identity>,
}

/// A certificate, followed by those between it and the CA's if there are any, and its private key.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate's file.
    pub certificate: PathBuf,
    /// The key's file.
    pub key: PathBuf,
}

/// A user of etcd. To an `http` endpoint the password goes as it is.
#[derive(Clone, Debug)]
pub struct User {
    /// The name, as `etcdctl user add` was told.
    pub name: String,
    /// The file with the password. It is read anew at each authentication; a line end after the password does not count.
    pub password_file: PathBuf,
}

/// How long what may take.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// A whole call, whatever endpoints it tries.
    pub call: Duration,
    /// A connection with TLS.
    pub connect: Duration,
    /// One endpoint's answer to a call that may be repeated at another. If all were too slow, the second time is longer.
    pub answer: Duration,
    /// How often a connection with a call or a watch is tested by a ping. etcd ends a connection that pings more often than
    /// its `--grpc-keepalive-min-time` allows, which is every 5 s.
    pub ping: Duration,
    /// How long the answer to a ping may take. A stopped server is noticed after `ping` and this.
    pub pong: Duration,
    /// How long a watch may be silent until the server is asked for a sign of life.
    pub silence: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            call: Duration::from_secs(10),
            connect: Duration::from_secs(2),
            answer: Duration::from_secs(3),
            ping: Duration::from_secs(6),
            pong: Duration::from_secs(3),
            silence: Duration::from_secs(45),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Endpoint;

    #[test]
    fn endpoints_are_read_and_written() {
        for (text, written, host) in [
            ("http://h1", "http://h1:2379", "h1"),
            ("https://10.0.0.1:4001/", "https://10.0.0.1:4001", "10.0.0.1"),
            ("http://[fd00::1]:2379", "http://[fd00::1]:2379", "fd00::1"),
        ] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!(endpoint.to_string(), written);
            assert_eq!(endpoint.host, host);
        }
        for text in
            ["", "h1:2379", "etcd://h1", "http://", "http://h1/v3", "http://h1:99999", "unix:///run/x"]
        {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_password_in_an_endpoint_is_not_repeated() {
        let error = "http://root:geheim@h1:2379".parse::<Endpoint>().unwrap_err();
        assert!(!format!("{error} {error:?}").contains("geheim"), "{error}");
    }
}

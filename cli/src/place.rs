//! Which namespace an attachment is in, and whether it still lives. It is decided here for all verbs.
//!
//! libcni keeps the path since 1.2.0 only. containerd up to 1.7 and podman 4 have an older one: there the path is in the
//! result, with the interface, or in the registry. Plugins wrote it there for another purpose, so that it is used only where
//! the interface in that namespace has the hardware address of the result.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use cni::AddResult;
use cni::cache::Entry;
use netlink::{Mac, Namespace};
use registry::Member;

use crate::netns::{Life, leads_nowhere};

/// An attachment's namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The path as the cache, the result or the registry has it; empty where none has.
    pub(crate) path: PathBuf,
    /// What became of the namespace there.
    pub(crate) life: Life,
}

/// What distinguishes the container's interface from others of the same name.
#[derive(Debug)]
struct Expected {
    ifname: String,
    mac: Option<Mac>,
    addresses: Vec<IpAddr>,
}

impl Place {
    /// That of an attachment with a cache entry, and with what the registry has of it.
    pub(crate) fn of(entry: &Entry, member: Option<&Member>) -> Self {
        let interface = entry.interface();
        let expected = Expected {
            ifname: entry.ifname.clone(),
            mac: interface.as_ref().and_then(|interface| interface.mac.parse().ok()),
            addresses: addresses(entry, member),
        };
        if !entry.netns.is_empty() {
            return Self::kept(PathBuf::from(&entry.netns), &expected);
        }
        let sandbox = interface.map(|interface| PathBuf::from(interface.sandbox));
        let registered = member.and_then(|member| member.netns.clone());
        // Some runtimes have the name of a virtual machine here.
        let mut paths: Vec<PathBuf> =
            sandbox.into_iter().chain(registered).filter(|path| path.is_absolute()).collect();
        paths.dedup();
        let places = paths.into_iter().map(|path| Self::guarded(path, &expected));
        let best = places.min_by_key(|place| match place.life {
            Life::Alive => 0,
            Life::Unreadable(_) => 1,
            Life::Unknown(_) => 2,
            Life::Gone => 3,
        });
        best.unwrap_or_else(Self::nowhere)
    }

    /// That of an attachment that only the registry knows.
    pub(crate) fn of_member(member: &Member) -> Self {
        member.netns.clone().map_or_else(Self::nowhere, |path| Self { life: Life::of(&path), path })
    }

    /// The path to work with; empty where it may lead to another container's namespace. Where the namespace has gone, it still
    /// is the path that other records have.
    pub(crate) fn certain(&self) -> &Path {
        if matches!(self.life, Life::Unknown(_)) { Path::new("") } else { &self.path }
    }

    /// The runtime kept this path as that of the namespace. The process number in it may be another container's by now.
    fn kept(path: PathBuf, expected: &Expected) -> Self {
        let mut life = Life::of(&path);
        if life == Life::Alive
            && path.starts_with("/proc")
            && let Ok(Found::Another(reason)) = Namespace::open(&path).and_then(|it| expected.find(&it))
        {
            life = Life::Unknown(in_words(&path, &reason));
        }
        Self { path, life }
    }

    fn guarded(path: PathBuf, expected: &Expected) -> Self {
        let life = match Namespace::open(&path) {
            Err(error) if leads_nowhere(&error) => Life::Gone,
            Err(error) => return Self::unreadable(&error),
            Ok(namespace) => match expected.find(&namespace) {
                Ok(Found::Itself) => Life::Alive,
                Ok(Found::Another(reason) | Found::Nothing(reason)) => {
                    Life::Unknown(in_words(&path, &reason))
                }
                Err(error) => return Self::unreadable(&error),
            },
        };
        Self { path, life }
    }

    fn unreadable(error: &netlink::Error) -> Self {
        Self { path: PathBuf::new(), life: Life::Unreadable(error.to_string()) }
    }

    fn nowhere() -> Self {
        let reason = "neither the result nor the registry tells its namespace";
        Self { path: PathBuf::new(), life: Life::Unknown(reason.to_owned()) }
    }
}

fn in_words(path: &Path, reason: &str) -> String {
    format!("its namespace is not known: that at {} {reason}", path.display())
}

/// What is in a namespace.
#[derive(Debug)]
enum Found {
    /// The container's interface.
    Itself,
    /// Another one of its name.
    Another(String),
    /// None that could be it.
    Nothing(String),
}

impl Expected {
    fn find(&self, namespace: &Namespace) -> Result<Found, netlink::Error> {
        if namespace.is_current()? {
            return Ok(Found::Nothing("is the host's own".to_owned()));
        }
        let ifname = &self.ifname;
        let mut socket = namespace.socket()?;
        let Some(link) = socket.get_link(ifname)? else {
            return Ok(Found::Nothing(format!("has no interface {ifname}")));
        };
        if let Some(mac) = self.mac {
            return Ok(match link.mac {
                Some(found) if found == mac => Found::Itself,
                Some(found) => Found::Another(format!("has an {ifname} of address {found}, not {mac}")),
                None => Found::Another(format!("has an {ifname} of another kind")),
            });
        }
        let there = socket.addresses(link.index)?;
        let has = |address: &IpAddr| there.iter().any(|found| found.network.ip() == *address);
        if self.addresses.is_empty() {
            return Ok(Found::Nothing(format!("has an {ifname} of which the result tells no address")));
        }
        Ok(match self.addresses.iter().find(|address| !has(address)) {
            None => Found::Itself,
            Some(address) => Found::Another(format!("has an {ifname} without address {address}")),
        })
    }
}

/// The addresses of the attachment, as the result has them or else the registry.
fn addresses(entry: &Entry, member: Option<&Member>) -> Vec<IpAddr> {
    let result = entry.result.as_ref().and_then(|value| AddResult::parse(value, cni::Version::NEWEST).ok());
    let known: Vec<IpAddr> = result
        .iter()
        .flat_map(|result| result.container_ips(&entry.ifname))
        .map(|ip| ip.address.ip())
        .collect();
    if known.is_empty() { member.map(|member| member.addresses.clone()).unwrap_or_default() } else { known }
}

//! The device: made, taken over, mended, or refused.

use super::error::Error;
use super::message;
use super::read::Link;
use super::socket::{Request, Requests};
use super::tunnel::Tunnel;
use super::{Applied, Kernel, Made};
use crate::record::Backend;
use crate::wanted::{Device, Identity};

/// What is to be done about a device of the name.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// It is the network's, and its settings can be changed where they differ.
    Keep,
    /// It is the network's, and cannot be made what is wanted.
    Replace,
    NotOurs,
}

/// The device as it is by now.
pub(super) struct Ready {
    pub(super) made: Made,
    /// With WireGuard.
    pub(super) tunnel: Option<Tunnel>,
}

impl Kernel {
    /// Has the device as it is wanted, and returns it.
    pub(super) async fn have_device(&self, device: &Device, applied: &mut Applied) -> Result<Ready, Error> {
        match device.backend {
            Backend::Vxlan => {
                let made = self.requests.have_vxlan(device, applied).await?;
                Ok(Ready { made, tunnel: None })
            }
            Backend::Wireguard => self.have_wireguard(device, applied).await,
        }
    }

    /// A WireGuard device is the network's if it has the node's key, or none yet.
    async fn have_wireguard(&self, device: &Device, applied: &mut Applied) -> Result<Ready, Error> {
        let name = || device.name.clone();
        let key = device.key.as_ref().ok_or_else(|| Error::NoKey { name: name() })?;
        let link = match self.requests.link(&device.name).await? {
            Some(link) if link.kind != "wireguard" => {
                return Err(Error::NotOurs { name: name(), is: describe(&link) });
            }
            Some(link) => link,
            None => {
                self.requests.add_device(device).await?;
                applied.made += 1;
                let link = self.requests.link(&device.name).await?;
                link.ok_or_else(|| Error::DeviceGone { name: name() })?
            }
        };
        // The module may have been loaded again since the socket was opened, and have another number.
        let wireguard = self.open_wireguard().await?;
        let mut tunnel = wireguard.read(link.index, &device.name).await?;
        if tunnel.private.as_ref().is_some_and(|private| private != key) {
            return Err(Error::NotOurs { name: name(), is: describe(&link) });
        }
        if tunnel.private.is_none() || tunnel.port != device.port {
            let set = wireguard.requests.send_one(wireguard.set_device(link.index, device, key)).await;
            set.map_err(|error| in_use(device, error))?;
            applied.made += 1;
            tunnel = wireguard.read(link.index, &device.name).await?;
        }
        let public = tunnel.public.ok_or_else(|| Error::NoKey { name: name() })?;
        // Only a device that is up has a socket.
        if !link.is_up {
            let up =
                self.requests.send(vec![message::set_no_link_local(device), message::set_up(device)]).await?;
            let up = up.into_iter().next_back().unwrap_or(Ok(()));
            up.map_err(|error| in_use(device, error))?;
            applied.made += 1;
        }
        let link =
            self.requests.link(&device.name).await?.ok_or_else(|| Error::DeviceGone { name: name() })?;
        let link = self.requests.mend_device(device, link, applied).await?;
        let made = Made {
            name: name(),
            index: link.index,
            identity: Identity::Key(public),
            mac: None,
            mtu: link.mtu,
        };
        Ok(Ready { made, tunnel: Some(tunnel) })
    }
}

/// Says which port is another's, if that is why.
fn in_use(device: &Device, error: Error) -> Error {
    match error.errno() {
        Some(nix::libc::EADDRINUSE) => Error::PortInUse { name: device.name.clone(), port: device.port },
        _ => error,
    }
}

impl Requests {
    async fn have_vxlan(&self, device: &Device, applied: &mut Applied) -> Result<Made, Error> {
        let mut found = self.link(&device.name).await?;
        if let Some(link) = &found {
            match judge(link, device) {
                Verdict::Keep => {}
                Verdict::Replace => {
                    self.send_one(message::remove_link(&device.name, link.index)).await?;
                    applied.removed += 1;
                    found = None;
                }
                Verdict::NotOurs => {
                    return Err(Error::NotOurs { name: device.name.clone(), is: describe(link) });
                }
            }
        }
        let link = match found {
            Some(link) => link,
            None => self.make_vxlan(device, applied).await?,
        };
        // Also a new one: the kernel makes the MTU smaller without a word where the underlay's is.
        let link = self.mend_device(device, link, applied).await?;
        let identity = Identity::Mac(device.mac);
        Ok(Made {
            name: device.name.clone(),
            index: link.index,
            identity,
            mac: Some(device.mac),
            mtu: link.mtu,
        })
    }

    async fn add_device(&self, device: &Device) -> Result<(), Error> {
        let Err(error) = self.send_one(message::add_device(device)).await else { return Ok(()) };
        let name = device.name.clone();
        Err(match (error.errno(), device.backend) {
            (Some(nix::libc::EOPNOTSUPP), Backend::Vxlan) => Error::NoVxlan { name },
            (Some(nix::libc::EOPNOTSUPP), Backend::Wireguard) => Error::NoWireguard { name },
            (Some(nix::libc::EEXIST), Backend::Vxlan) => self.vni_in_use(device).await?.unwrap_or(error),
            _ => error,
        })
    }

    async fn make_vxlan(&self, device: &Device, applied: &mut Applied) -> Result<Link, Error> {
        self.add_device(device).await?;
        let mut answers =
            self.send(vec![message::set_no_link_local(device), message::set_up(device)]).await?;
        let (up, no_link_local) = (answers.pop(), answers.pop());
        up.unwrap_or(Ok(()))?;
        if let Some(Err(error)) = no_link_local
            && !is_without_v6(&error)
        {
            applied.refused.push((device.name.clone(), error));
        }
        applied.made += 1;
        let link = self.link(&device.name).await?;
        link.ok_or_else(|| Error::DeviceGone { name: device.name.clone() })
    }

    /// Which device has the VNI, if that is why there can be no other.
    async fn vni_in_use(&self, device: &Device) -> Result<Option<Error>, Error> {
        let is_other =
            |link: &Link| link.is_vxlan() && link.vxlan.vni == device.vni && link.vxlan.port == device.port;
        let other = self.links().await?.into_iter().find(is_other);
        Ok(other.map(|other| Error::VniInUse {
            name: device.name.clone(),
            other: other.name,
            vni: device.vni,
            port: device.port,
        }))
    }

    async fn mend_device(
        &self,
        device: &Device,
        mut link: Link,
        applied: &mut Applied,
    ) -> Result<Link, Error> {
        let vxlan = &link.vxlan;
        let mut changes: Vec<Request> = Vec::new();
        if device.backend == Backend::Vxlan {
            if vxlan.local != Some(device.local) || vxlan.underlay != device.underlay || vxlan.learning {
                changes.push(message::set_vxlan(device));
            }
            if link.mac != Some(device.mac) {
                changes.push(message::set_mac(device));
            }
        }
        if link.mtu != device.mtu {
            changes.push(message::set_mtu(device));
        }
        // With an MTU that is too small for it IPv6 leaves a device, and comes back as it is by default.
        if link.has_link_local.unwrap_or(link.mtu != device.mtu) {
            changes.push(message::set_no_link_local(device));
        }
        if !link.is_up {
            changes.push(message::set_up(device));
        }
        if changes.is_empty() {
            return Ok(link);
        }
        for answer in self.send(changes).await? {
            match answer {
                Ok(()) => applied.made += 1,
                Err(error) if is_without_v6(&error) => {}
                Err(error) => applied.refused.push((device.name.clone(), error)),
            }
        }
        if let Some(now) = self.link(&device.name).await? {
            link = now;
        }
        Ok(link)
    }
}

/// Where there is no IPv6 no link-local address need be kept away.
fn is_without_v6(error: &Error) -> bool {
    error.errno() == Some(nix::libc::EAFNOSUPPORT)
}

/// A VXLAN device with the network's VNI and port is the network's, and so is one with the MAC address, which is made from the
/// IDs of network and machine.
fn judge(link: &Link, device: &Device) -> Verdict {
    let vxlan = &link.vxlan;
    let is_same = vxlan.vni == device.vni && vxlan.port == device.port && !vxlan.is_external;
    if !link.is_vxlan() || !(is_same || link.mac == Some(device.mac)) {
        return Verdict::NotOurs;
    }
    let has_family = vxlan.local.is_some_and(|local| local.is_ipv4() == device.local.is_ipv4());
    if is_same && has_family { Verdict::Keep } else { Verdict::Replace }
}

/// What a device is, in an error.
pub(super) fn describe(link: &Link) -> String {
    match link.kind.as_str() {
        "vxlan" if link.vxlan.is_external => "a VXLAN device for many VNIs".to_owned(),
        "vxlan" => format!("a VXLAN device with VNI {} and UDP port {}", link.vxlan.vni, link.vxlan.port),
        "wireguard" => "a WireGuard device with another key".to_owned(),
        "" => "no virtual device".to_owned(),
        kind => format!("a device of the kind {kind}"),
    }
}

//! A WireGuard device: its keys, and its peers with what they may send (`wireguard.h`).

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use ipnetwork::IpNetwork;
use netlink_packet_wireguard::{
    WireguardAddressFamily, WireguardAllowedIp, WireguardAllowedIpAttr, WireguardAttribute, WireguardCmd,
    WireguardMessage, WireguardPeer, WireguardPeerAttribute, WireguardPeerFlags,
};

use super::error::Error;
use super::generic::{Message, Wireguard};
use super::socket::Request;
use crate::key::{PrivateKey, PublicKey};
use crate::wanted::Device;

/// What a device has. There is no [`std::fmt::Debug`] of it, as it has the secret.
#[derive(Default)]
pub(super) struct Tunnel {
    /// None of a device that was just made.
    pub(super) private: Option<PrivateKey>,
    pub(super) public: Option<PublicKey>,
    pub(super) port: u16,
    pub(super) peers: BTreeMap<PublicKey, Hop>,
}

/// Another node, as the device has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Hop {
    /// Where packets go.
    pub(super) endpoint: Option<SocketAddr>,
    /// It proved to have the key.
    pub(super) was_heard: bool,
    /// What is sent to it, and taken from it.
    pub(super) blocks: BTreeSet<IpNetwork>,
}

impl Hop {
    /// Whether packets go where they are to go. Of a node behind a NAT the kernel learns the port from the node's own packets.
    pub(super) fn leads_to(&self, address: IpAddr, port: u16) -> bool {
        self.endpoint
            .is_some_and(|endpoint| endpoint.ip() == address && (endpoint.port() == port || self.was_heard))
    }
}

impl Wireguard {
    /// Reads a device, by index.
    pub(super) async fn read(&self, index: u32, name: &str) -> Result<Tunnel, Error> {
        let ask = self.message(WireguardCmd::GetDevice, vec![WireguardAttribute::IfIndex(index)]);
        let mut tunnel = Tunnel::default();
        for answer in self.requests.dump(ask, &format!("read device {name}"), Some).await? {
            if let Message::Wireguard(message) = answer {
                tunnel.add(message.into_parts().1);
            }
        }
        Ok(tunnel)
    }

    /// Gives a device its key and port.
    pub(super) fn set_device(&self, index: u32, device: &Device, key: &PrivateKey) -> Request<Message> {
        let attributes = vec![
            WireguardAttribute::IfIndex(index),
            WireguardAttribute::PrivateKey(*key.bytes()),
            WireguardAttribute::ListenPort(device.port),
        ];
        self.request(attributes, format!("give device {} its key and UDP port {}", device.name, device.port))
    }

    /// Sends packets for these blocks to a node, and takes such of it. Another node's blocks become this one's; with `is_all`
    /// the node has no others than these. A record has so few blocks that one message takes them.
    pub(super) fn put_peer(
        &self,
        index: u32,
        key: PublicKey,
        endpoint: SocketAddr,
        blocks: &[IpNetwork],
        is_all: bool,
    ) -> Request<Message> {
        let flags = if is_all { WireguardPeerFlags::ReplaceAllowedIps } else { WireguardPeerFlags::empty() };
        let peer = vec![
            WireguardPeerAttribute::PublicKey(key.0),
            WireguardPeerAttribute::Flags(flags),
            WireguardPeerAttribute::Endpoint(endpoint),
            WireguardPeerAttribute::AllowedIps(blocks.iter().copied().map(allowed).collect()),
        ];
        self.peer(index, peer, format!("send packets for {key} to {endpoint}"))
    }

    /// Shakes hands with a node at once. Else the first packet does; and where the node knows this one from before, all that it
    /// sends in its old session is lost until it asks for a new one, after 15 s. To set a keepalive interval makes the kernel
    /// send one packet; it is taken back in the same message.
    pub(super) fn greet(&self, index: u32, key: PublicKey) -> Request<Message> {
        let with = |seconds| {
            WireguardPeer(vec![
                WireguardPeerAttribute::PublicKey(key.0),
                WireguardPeerAttribute::Flags(WireguardPeerFlags::UpdateOnly),
                WireguardPeerAttribute::PersistentKeepalive(seconds),
            ])
        };
        let peers = WireguardAttribute::Peers(vec![with(1), with(0)]);
        self.request(vec![WireguardAttribute::IfIndex(index), peers], format!("shake hands with {key}"))
    }

    /// Forgets a node. One that is not there is no error.
    pub(super) fn remove_peer(&self, index: u32, key: PublicKey) -> Request<Message> {
        let peer = vec![
            WireguardPeerAttribute::PublicKey(key.0),
            WireguardPeerAttribute::Flags(WireguardPeerFlags::RemoveMe | WireguardPeerFlags::UpdateOnly),
        ];
        self.peer(index, peer, format!("no longer send packets for {key}"))
    }

    fn peer(&self, index: u32, peer: Vec<WireguardPeerAttribute>, what: String) -> Request<Message> {
        let peers = WireguardAttribute::Peers(vec![WireguardPeer(peer)]);
        self.request(vec![WireguardAttribute::IfIndex(index), peers], what)
    }
}

fn allowed(block: IpNetwork) -> WireguardAllowedIp {
    let family = if block.is_ipv4() { WireguardAddressFamily::Ipv4 } else { WireguardAddressFamily::Ipv6 };
    WireguardAllowedIp(vec![
        WireguardAllowedIpAttr::Family(family),
        WireguardAllowedIpAttr::IpAddr(block.network()),
        WireguardAllowedIpAttr::Cidr(block.prefix()),
    ])
}

impl Tunnel {
    /// Takes up one message of a dump. A peer with many blocks is told in several.
    fn add(&mut self, message: WireguardMessage) {
        for attribute in message.attributes {
            match attribute {
                // The kernel says a key of zeros where there is none.
                WireguardAttribute::PrivateKey(key) => {
                    self.private = (key != [0; 32]).then(|| PrivateKey::new(key));
                }
                WireguardAttribute::PublicKey(key) => {
                    self.public = (key != [0; 32]).then_some(PublicKey(key));
                }
                WireguardAttribute::ListenPort(port) => self.port = port,
                WireguardAttribute::Peers(peers) => peers.into_iter().for_each(|peer| self.add_peer(peer)),
                _ => {}
            }
        }
    }

    fn add_peer(&mut self, peer: WireguardPeer) {
        let key = peer.iter().find_map(|attribute| match attribute {
            WireguardPeerAttribute::PublicKey(key) => Some(PublicKey(*key)),
            _ => None,
        });
        let Some(key) = key else { return };
        let hop = self.peers.entry(key).or_default();
        for attribute in peer.0 {
            match attribute {
                WireguardPeerAttribute::Endpoint(endpoint) => hop.endpoint = Some(endpoint),
                WireguardPeerAttribute::LastHandshake(time) => hop.was_heard = time.seconds != 0,
                WireguardPeerAttribute::AllowedIps(all) => hop.blocks.extend(all.iter().filter_map(block)),
                _ => {}
            }
        }
    }
}

fn block(allowed: &WireguardAllowedIp) -> Option<IpNetwork> {
    let (mut address, mut length) = (None, None);
    for attribute in &allowed.0 {
        match attribute {
            WireguardAllowedIpAttr::IpAddr(ip) => address = Some(*ip),
            WireguardAllowedIpAttr::Cidr(bits) => length = Some(*bits),
            _ => {}
        }
    }
    IpNetwork::new(address?, length?).ok()
}

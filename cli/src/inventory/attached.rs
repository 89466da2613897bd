//! One attachment: what the cache, the registry and the kernel have of it, joined.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::SystemTime;

use cni::cache::{Damaged, Entry};
use cni::{AddResult, Attachment, Interface, NetworkList, Plugin, Version, case_blind, hex};
use host_port::HostPort;
use loopback::Loopback;
use registry::{Member, qualify, short_id};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::caller::{self, Evidence, argument};
use super::ports::{self, PortView};
use crate::error::Error;
use crate::netns::Life;
use crate::network::{PORT_MAPPINGS, plugin, publishes, text};
use crate::place::Place;
use crate::runtime::Making;

/// One container's interface on one network.
#[derive(Debug)]
pub(crate) struct Attached {
    /// What identifies it.
    pub(crate) attachment: Attachment,
    /// The program that made it, where that can be recognised; empty otherwise.
    pub(crate) caller: &'static str,
    /// The container's namespace; empty where it is not certain.
    pub(crate) netns: PathBuf,
    /// Whether that namespace is still there.
    pub(crate) life: Life,
    /// What the registry says of it, where it is there.
    pub(crate) member: Option<Member>,
    /// The result of the ADD; empty where no cache has it.
    pub(crate) result: AddResult,
    /// Its published ports.
    pub(crate) ports: Vec<PortView>,
    /// When it was made.
    pub(crate) since: Option<SystemTime>,
    /// What the cache keeps of it, where it does.
    pub(crate) entry: Option<Entry>,
    /// What is wrong with its file of the cache, where that cannot be read.
    pub(crate) damage: Option<String>,
    pod: Option<String>,
    /// The Kubernetes namespace of its pod; empty where there is none.
    pub(crate) namespace: String,
    is_loopback: bool,
}

impl Attached {
    pub(super) fn of_entry(
        attachment: Attachment,
        entry: Entry,
        member: Option<Member>,
        ports: Option<Vec<PortView>>,
        since: Option<SystemTime>,
        evidence: &Evidence,
    ) -> Self {
        let result = kept_result(&entry);
        let addresses: Vec<IpAddr> =
            result.container_ips(attachment.ifname.as_str()).map(|ip| ip.address.ip()).collect();
        let pod = argument(&entry, "K8S_POD_NAME").map(str::to_owned);
        // The registry's comes first: podman 3 passes a namespace that is none.
        let registered = member.as_ref().and_then(|member: &Member| member.namespace.clone());
        let namespace = registered.or_else(|| argument(&entry, "K8S_POD_NAMESPACE").map(str::to_owned));
        let place = Place::of(&entry, member.as_ref());
        let list = NetworkList::from_slice(&entry.config).ok();
        let is_loopback = |plugin: &Map<String, Value>| text(plugin, "type") == Loopback::NAME;
        let ports = ports.unwrap_or_else(|| ports::asked_for(asked(&entry, list.as_ref()), &addresses));
        Self {
            caller: caller::of(&entry, &place.path, evidence),
            result,
            since,
            pod,
            namespace: namespace.unwrap_or_default(),
            is_loopback: list.is_some_and(|list| list.plugins.iter().all(is_loopback)),
            entry: Some(entry),
            ..Self::new(attachment, place, member, ports)
        }
    }

    pub(super) fn of_member(attachment: Attachment, member: Member, ports: Option<Vec<PortView>>) -> Self {
        let namespace = member.tenant().to_owned();
        let place = Place::of_member(&member);
        Self { namespace, ..Self::new(attachment, place, Some(member), ports.unwrap_or_default()) }
    }

    fn new(attachment: Attachment, place: Place, member: Option<Member>, ports: Vec<PortView>) -> Self {
        Self {
            attachment,
            caller: "",
            netns: place.certain().to_owned(),
            life: place.life,
            member,
            result: AddResult::default(),
            ports,
            since: None,
            entry: None,
            damage: None,
            pod: None,
            namespace: String::new(),
            is_loopback: false,
        }
    }

    /// One whose file of the cache cannot be read. Only the registry knows it, so it is kept.
    pub(super) fn of_damaged(
        attachment: Attachment,
        file: &Damaged,
        member: Option<Member>,
        ports: Option<Vec<PortView>>,
    ) -> Self {
        let reason = file.reason.clone();
        let mut attached = Self::of_member(attachment, member.clone().unwrap_or_default(), ports);
        attached.member = member;
        if attached.life != Life::Alive {
            let unknown = if file.is_unread { Life::Unreadable } else { Life::Unknown };
            attached.life = unknown(reason.clone());
            attached.netns = PathBuf::new();
        }
        attached.damage = Some(reason);
        attached
    }

    /// What it was made with, and its namespace where that is certain; `None` where no cache has it.
    pub(crate) fn making(&self) -> Option<Result<Making, Error>> {
        self.entry.clone().map(|entry| Making::within(entry, self.netns.clone()))
    }

    /// Whether there is enough for a CHECK; or why not.
    pub(crate) fn expect_comparable(&self, making: &Making) -> Result<(), String> {
        if let Some(why) = self.life.why() {
            return Err(why.to_owned());
        }
        let result = self.entry.as_ref().and_then(|entry| entry.result.as_ref());
        let result = result.ok_or("no result is kept")?;
        let result = AddResult::parse(result, making.list.version)
            .map_err(|error| format!("its kept result: {error}"))?;
        let ifname = self.attachment.ifname.as_str();
        let is_told = result.interfaces.iter().any(|told| told.name == ifname);
        if is_told { Ok(()) } else { Err(format!("its kept result tells of no interface {ifname}")) }
    }

    /// Whether it is the loopback interface, which runtimes attach beside each container's network.
    pub(crate) fn is_loopback(&self) -> bool {
        self.is_loopback
    }

    /// Whether its container has certainly gone.
    pub(crate) fn is_gone(&self) -> bool {
        self.life == Life::Gone
    }

    /// The name that people call the container by: the one it is registered with, or its pod's, or its short ID.
    pub(crate) fn name(&self) -> String {
        let registered = self.member.as_ref().map(|member| member.name.clone());
        registered.or_else(|| self.pod.clone()).unwrap_or_else(|| self.short_id())
    }

    /// The same for lists of several: `namespace/name` for a pod, as others may have the name.
    pub(crate) fn called(&self) -> String {
        if self.namespace.is_empty() { self.name() } else { format!("{}/{}", self.namespace, self.name()) }
    }

    /// The container's ID.
    pub(crate) fn container_id(&self) -> &str {
        self.attachment.container_id.as_str()
    }

    /// The first digits of the container's ID.
    pub(crate) fn short_id(&self) -> String {
        short_id(self.container_id())
    }

    /// Whether a text names the container: its name, also with its namespace, an alias, or its ID in full or short.
    pub(super) fn is_called(&self, text: &str) -> bool {
        self.container_id() == text
            || self.name() == text
            || self.called() == text
            || (!self.namespace.is_empty() && qualify(&self.name(), &self.namespace) == text)
            || self.member.as_ref().is_some_and(|member| member.answers_to(text))
    }

    /// Its addresses, with the length of their prefix where that is known.
    pub(crate) fn addresses(&self) -> Vec<String> {
        let told: Vec<String> = self.ips().map(|ip| ip.address.to_string()).collect();
        if !told.is_empty() {
            return told;
        }
        self.member.iter().flat_map(|member| &member.addresses).map(IpAddr::to_string).collect()
    }

    /// Its addresses with their gateways, as the result has them.
    pub(crate) fn ips(&self) -> impl Iterator<Item = &cni::Ip> {
        self.result.container_ips(self.attachment.ifname.as_str())
    }

    /// The hardware address of the container's interface; empty where it is unknown.
    pub(crate) fn mac(&self) -> &str {
        self.place().map_or("", |place| self.result.interfaces[place].mac.as_str())
    }

    /// The further names that it is registered with.
    pub(crate) fn aliases(&self) -> &[String] {
        self.member.as_ref().map_or(&[], |member| &member.aliases)
    }

    /// Its links as Docker writes those of a network: `source:alias`.
    pub(crate) fn links(&self) -> Vec<String> {
        let links = self.member.iter().flat_map(|member| &member.links);
        links.map(|link| format!("{}:{}", link.source, link.alias)).collect()
    }

    /// 64 hexadecimal digits for this attachment, as Docker's endpoints have.
    pub(crate) fn endpoint_id(&self) -> String {
        hex(&Sha256::digest(self.attachment.to_string()))
    }

    /// The interface on the host that leads to the container: the one that the result has before the container's own.
    pub(crate) fn host_interface(&self) -> Option<&str> {
        let before = &self.result.interfaces[..self.place()?];
        before.iter().rev().find(|interface| interface.sandbox.is_empty()).map(|found| found.name.as_str())
    }

    fn place(&self) -> Option<usize> {
        let is_own =
            |told: &Interface| told.name == self.attachment.ifname.as_str() && !told.sandbox.is_empty();
        self.result.interfaces.iter().position(is_own)
    }
}

/// The result of an attachment's ADD, in its newest form; empty where none can be read.
pub(crate) fn kept_result(entry: &Entry) -> AddResult {
    let value = entry.result.as_ref();
    value.and_then(|value| AddResult::parse(value, Version::NEWEST).ok()).unwrap_or_default()
}

/// The ports that were asked for, where another program publishes them, or chains of iptables do: nothing else is known of
/// them. Ours are read from the kernel.
fn asked<'a>(entry: &'a Entry, list: Option<&NetworkList>) -> &'a Value {
    const CHAINS: [&str; 3] = ["conditionsV4", "conditionsV6", "externalSetMarkChain"];
    let by_chains = |plugin: &Map<String, Value>| {
        text(plugin, "backend") == "iptables"
            || CHAINS.iter().any(|key| case_blind::get(plugin, key).is_some())
    };
    let is_others =
        list.is_some_and(|list| publishes(list) && plugin(list, HostPort::NAME).is_none_or(by_chains));
    let asked = entry.capability_args.as_ref().and_then(|capabilities| capabilities.get(PORT_MAPPINGS));
    asked.filter(|_| is_others).unwrap_or(&Value::Null)
}

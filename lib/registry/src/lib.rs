//! Registry: who is on which network, under which names, with which ports and links.
//!
//! Plain values and files: this crate knows neither the verbs of CNI nor the kernel's network. Plugins change the registry under
//! its lock ([`Registry::lock`]); viewers read it without ([`Registry::networks`]).
//!
//! # Format
//!
//! Everything lives in one state folder, by default `/run/cleat` (a tmpfs: no registration outlives a boot), which
//! only its owner may enter:
//!
//! ```text
//! registry/<network>/
//!     members/<container ID>:<interface>   one member
//!     index/n:<name>                       who answers to the name: a member's own, its container's ID, an alias
//!     index/s:<name>                       who has a link to whatever answers to the name
//!     index/a:<address>                    who has the address
//!     index/v[:<namespace>]                who sees every member of its tenant
//!     index/t:<namespace>                  who belongs to the namespace
//!     index/f:<namespace>                  who lets the namespace know it; f:* who lets all
//!     all[:<namespace>]                    all members of a tenant in one piece, while somebody sees them all
//!     settled[:<namespace>]                dates the last change that reached every hosts file of a tenant; whose it did not reach
//! containers/<container ID>/               what belongs to one container, whatever number of networks it is on
//!     networks                             the networks it is on, one a line, in the order in which it joined
//!     delivered                            what was put elsewhere for it, for DEL
//!     hosts, env, env.json                 written by the link-env plugin, to be mounted or read by a runtime
//!     notes                                what the container could not be given, a line each
//!     served                               there once the runtime's agent was asked about the container
//! ```
//!
//! A member is one JSON object, written to a temporary file and renamed, so that it is complete at any time:
//!
//! ```json
//! {"containerID": "60707a2f0f64…", "ifname": "eth0", "netns": "/run/netns/db", "bridge": "br0",
//!  "namespace": "prod", "name": "db", "hostname": "60707a2f0f64", "domain": "example", "aliases": ["pg"],
//!  "addresses": ["10.1.0.2", "fd00:1::2"], "expose": ["5432/tcp", "8000-8005/udp"],
//!  "published": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}],
//!  "env": {"PG_VERSION": "17"}, "links": [{"source": "cache", "alias": "redis"}],
//!  "allowFrom": ["shop"], "extraHosts": [{"name": "printer", "address": "192.0.2.9"}], "names": "network",
//!  "joined": 1764230400000000000, "place": {"start": 0, "length": 42}}
//! ```
//!
//! The names of a namespace's member are in the index with it: `n:db.prod`; a link to another namespace's stands under
//! `s:db.prod>shop` and `s:db.prod>*` (see the module `tenant`). Members of a version
//! before have no `namespace`; of callers that know none, it is empty, and what belongs to these has no `:<namespace>`.
//!
//! A file name that would be longer than a file system takes has a hash for the rest of it. Empty values are left out;
//! unknown keys are ignored. A file of the index has `<container ID>:<interface>` a line. It
//! is written before its member and goes before it: a line may be out of date, so the member that it leads
//! to is read, but no member is ever missing from it. That makes a change cost the same whatever the number of members,
//! as long as nobody sees all of them.
//!
//! The lock is flock(2) on the state folder itself, which only its owner can open (see the crate `lock`). Files and folders go
//! when they are empty, the state folder last. That of the runtime's agent is beside it (`/run/cleat-nri/lock`).

mod agent;
mod around;
mod content;
mod error;
mod file_name;
mod hosts_patch;
mod index;
mod layout;
mod lines;
mod locked;
mod member;
mod members;
mod network;
mod notes;
mod rewrite;
mod store;
mod tenant;

pub use agent::{Agent, Presence};
pub use content::Change;
pub use error::Error;
pub use folder::{Error as FolderError, Folder};
pub use hosts_patch::{Patch, filler};
pub use lines::line_starts;
pub use locked::{Locked, Settled};
pub use member::{ExtraHost, Link, Member, Names, Slot, short_id};
pub use network::Network;
pub use rewrite::rewrite_with;
pub use store::{DEFAULT_STATE_DIR, Registry};
pub use tenant::{EVERYBODY, Fit, Relation, qualify};

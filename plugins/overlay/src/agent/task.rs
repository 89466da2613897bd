//! The task's state and its loop.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::pin::Pin;
use std::time::{Duration, SystemTime};

use cni::NetworkName;
use etcd::{Backoff, LeaseId};
use futures_util::FutureExt;
use ipnetwork::IpNetwork;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::Command;
use super::blocked::Blocked;
use super::guard::Guard;
use super::memory::Memory;
use super::plan::Fault;
use super::status::Status;
use super::timer::Timer;
use crate::conf::Conf;
use crate::engine::{Change, Claimed, Engine, Error, Listing, Published, Watch};
use crate::kernel::{Event, Kernel, Underlay};
use crate::key::{PrivateKey, PublicKey};
use crate::record::{Claim, Network, Record};
use crate::wanted::Peer;

/// How often everything is compared, and the sign of life renewed.
pub(super) const TICK: Duration = Duration::from_mins(1);

/// What is to be done with the engine next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Read which network it is.
    Network,
    /// Put that back.
    Create,
    Claim,
    Publish,
    /// All is done.
    Done,
}

/// A call that is under way.
pub(super) type Call = Pin<Box<dyn Future<Output = Answer>>>;

/// What came of a call.
pub(super) enum Answer {
    Network(Result<Option<Network>, Error>),
    Created(Result<bool, Error>),
    Claimed(Result<Claimed, Error>),
    Published(Record, Result<Published, Error>),
    Listed(Result<Listing, Error>),
    Alive(Option<LeaseId>, Result<(), Error>),
}

/// The part for one network.
#[allow(clippy::struct_excessive_bools, reason = "they are independent of each other")]
pub(super) struct Task {
    pub(super) network: NetworkName,
    pub(super) conf: Conf,
    /// The node's name.
    pub(super) node: String,
    pub(super) machine: String,
    pub(super) status: watch::Sender<Status>,

    /// Read, or made, when it is first needed.
    pub(super) key: Option<PrivateKey>,
    /// The one that goes with it, as the device says.
    pub(super) public_key: Option<PublicKey>,
    pub(super) kernel: Option<Kernel>,
    /// None while there is no way to the other nodes.
    pub(super) underlay: Option<Underlay>,
    /// The index of the interface whose events count, also of one that cannot be used as it is.
    pub(super) watched: u32,
    /// None before the network was seen for the first time.
    pub(super) memory: Option<Memory>,
    /// What is in the kernel, or is to be.
    pub(super) peers: BTreeMap<String, Peer>,
    /// The nodes that have not all of their entries, and why.
    pub(super) faults: BTreeMap<String, Fault>,
    /// The others' records, as the engine has them.
    pub(super) records: BTreeMap<String, Record>,
    /// The machine ID of the record with this node's name.
    pub(super) own_machine: Option<String>,
    pub(super) claims: BTreeMap<IpNetwork, Claim>,
    pub(super) guard: Guard,
    /// Nodes whose entries may have to change.
    pub(super) touched: BTreeSet<String>,
    /// The node's blocks are new: all is to be compared, once the other nodes are known.
    pub(super) is_program_due: bool,
    /// The status lists other peers by now.
    pub(super) are_peers_changed: bool,

    pub(super) engine: Option<Engine>,
    pub(super) watch: Option<Watch>,
    pub(super) step: Step,
    pub(super) blocked: Option<Blocked>,
    /// The step that is blocked is tried again, which is told only if something else comes of it.
    pub(super) is_retrying: bool,
    /// The engine's records are those of this network.
    pub(super) is_trusted: bool,
    /// The list of other data than before is being told.
    pub(super) is_after_reset: bool,
    /// A list was told.
    pub(super) is_list_told: bool,
    /// From then on what is in the kernel and of no peer goes. What this node had just before it was killed is not in
    /// state.json, perhaps, and is not lost for that.
    pub(super) strays_go_at: Option<Instant>,
    /// The addresses that the firewall was told.
    pub(super) let_in: BTreeSet<IpAddr>,
    pub(super) revision: i64,
    pub(super) call: Option<Call>,
    pub(super) retry_at: Instant,
    pub(super) backoff: Backoff,
    pub(super) lease: Option<LeaseId>,
    pub(super) is_alive_due: bool,
    /// Somebody asked for a list, and agreed to the removals that follow.
    pub(super) list_for: Option<bool>,

    pub(super) call_error: Option<String>,
    pub(super) watch_error: Option<String>,
    /// What the kernel refused.
    pub(super) trouble: Option<String>,
    pub(super) file_error: Option<String>,
    pub(super) save_error: Option<String>,
    pub(super) firewall_error: Option<String>,
    /// A firewall of this node that keeps the others' packets out.
    pub(super) obstacle: Option<String>,
    pub(super) engine_errors: u64,
    pub(super) repairs: u64,
    pub(super) program_time: Duration,
    pub(super) last_sync: Option<SystemTime>,
    pub(super) is_local_done: bool,

    pub(super) save_at: Option<Instant>,
    /// When it was written last.
    pub(super) saved_at: Instant,
    pub(super) repair_at: Option<Instant>,
    /// So many peers were held when the status was made.
    pub(super) held: usize,
    pub(super) last_repair: Instant,
    pub(super) obstacle_at: Instant,
    pub(super) pause: Duration,
    pub(super) tick_at: Instant,
}

/// Why the loop goes on.
enum Wake {
    Change(Change),
    Answer(Answer),
    Kernel(Event),
    Command(Option<Command>),
    Time,
}

impl Task {
    pub(super) fn new(
        network: NetworkName,
        conf: Conf,
        node: String,
        machine: String,
        status: watch::Sender<Status>,
    ) -> Self {
        let now = Instant::now();
        Self {
            network,
            conf,
            node,
            machine,
            status,
            key: None,
            public_key: None,
            kernel: None,
            underlay: None,
            watched: 0,
            memory: None,
            peers: BTreeMap::new(),
            faults: BTreeMap::new(),
            records: BTreeMap::new(),
            own_machine: None,
            claims: BTreeMap::new(),
            guard: Guard::default(),
            touched: BTreeSet::new(),
            is_program_due: false,
            are_peers_changed: true,
            engine: None,
            watch: None,
            step: Step::Network,
            blocked: None,
            is_retrying: false,
            is_trusted: false,
            is_after_reset: false,
            is_list_told: false,
            strays_go_at: None,
            let_in: BTreeSet::new(),
            revision: 0,
            call: None,
            retry_at: now,
            backoff: Backoff::default(),
            lease: None,
            is_alive_due: true,
            list_for: None,
            call_error: None,
            watch_error: None,
            trouble: None,
            file_error: None,
            save_error: None,
            firewall_error: None,
            obstacle: None,
            engine_errors: 0,
            repairs: 0,
            program_time: Duration::ZERO,
            last_sync: None,
            is_local_done: false,
            save_at: None,
            saved_at: now,
            repair_at: None,
            held: 0,
            last_repair: now,
            obstacle_at: now,
            pause: Duration::ZERO,
            tick_at: now + TICK,
        }
    }

    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut timer = Timer::default();
        self.show();
        self.local().await;
        loop {
            self.call_next(Instant::now());
            self.show();
            match self.wake(&mut commands, &mut timer).await {
                Wake::Command(None | Some(Command::Stop)) => break,
                Wake::Command(Some(Command::Sync { force })) => {
                    self.list_for = Some(force || self.list_for == Some(true));
                    self.retry_at = Instant::now();
                    (self.tick_at, self.obstacle_at) = (self.retry_at, self.retry_at);
                }
                Wake::Change(change) => self.changes(change).await,
                Wake::Answer(answer) => {
                    self.call = None;
                    self.is_retrying = false;
                    self.answered(answer).await;
                }
                Wake::Kernel(event) => self.kernel_event(event),
                Wake::Time => {}
            }
            self.on_time().await;
            self.look_for_twin().await;
            self.flush().await;
        }
        if self.save_at.is_some() {
            self.save().await;
        }
    }

    async fn wake(&mut self, commands: &mut mpsc::Receiver<Command>, timer: &mut Timer) -> Wake {
        let due = self.due();
        let device = self.memory.as_ref().map_or("", |memory| &memory.device);
        let underlay = self.watched;
        let kernel = async {
            match &mut self.kernel {
                Some(kernel) => kernel.event(device, underlay).await,
                None => std::future::pending().await,
            }
        };
        let watch = async {
            match &mut self.watch {
                Some(watch) => watch.next().await,
                None => std::future::pending().await,
            }
        };
        let call = async {
            match &mut self.call {
                Some(call) => call.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            command = commands.recv() => Wake::Command(command),
            answer = call => Wake::Answer(answer),
            change = watch => Wake::Change(change),
            event = kernel => Wake::Kernel(event),
            () = timer.until(due) => Wake::Time,
        }
    }

    /// Takes all changes that are there, so that many at once are one write to the kernel.
    async fn changes(&mut self, first: Change) {
        let mut next = Some(first);
        while let Some(change) = next {
            self.changed(change).await;
            next = self.watch.as_mut().and_then(|watch| watch.next().now_or_never());
        }
        if self.watch_error.is_none() && self.call_error.is_some() {
            self.retry_at = self.retry_at.min(Instant::now());
        }
    }
}

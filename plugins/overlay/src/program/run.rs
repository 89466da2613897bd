//! The agent's process: it follows the folder of the networks' files until a signal ends it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use lock::{LockFile, Mode};
use sd_notify::NotifyState;
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep_until};

use crate::program::board::Board;
use crate::program::error::Error;
use crate::program::folder::{self, ConfFolder};
use crate::program::health::Listeners;
use crate::program::identity;
use crate::program::tasks::Tasks;

/// Locked by the one agent of a node. It is not among the networks' run files.
const LOCK: &str = "/run/cleat/overlay.lock";
/// How long systemd, and so containers, wait for networks whose interface is not there yet.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// How often the manager is told of a change at most.
const STATUS_EVERY: Duration = Duration::from_secs(1);

/// Runs the agent until SIGTERM or SIGINT. Nothing in the kernel changes by its end.
pub(crate) fn run() -> Result<(), Error> {
    let machine = identity::machine_id()?;
    let _only_one = take_lock()?;
    let runtime =
        Builder::new_current_thread().enable_all().build().map_err(Error::io("start", "the runtime"))?;
    let agent = LocalSet::new();
    runtime.block_on(agent.run_until(follow(machine)))
}

fn take_lock() -> Result<LockFile, Error> {
    let path = Path::new(LOCK);
    if let Some(folder) = path.parent() {
        let created = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
        created.map_err(Error::io("create", folder))?;
    }
    let lock = LockFile::try_take(path, Mode::Exclusive, true).map_err(Error::io("lock", path))?;
    lock.ok_or_else(|| Error::Second(path.to_owned()))
}

async fn follow(machine: String) -> Result<(), Error> {
    let [mut terminate, mut interrupt] = [on(SignalKind::terminate())?, on(SignalKind::interrupt())?];
    let board = Board::default();
    let mut listeners = Listeners::open(&board)?;
    let mut tasks = Tasks::new(machine, board.clone());
    let folder = ConfFolder::open()?;
    let changes = tasks.changes();
    let mut manager = Manager::new();

    // It goes on from turn to turn: where statuses change all the time, files are to settle as well.
    let mut settled = pin!(folder.changed());
    tasks.follow(folder::read_all()?).await;
    let outcome = loop {
        listeners.set(&tasks.confs().filter_map(|conf| conf.metrics).collect::<BTreeSet<_>>());
        if let Err(error) = tasks.log_changes() {
            break Err(error);
        }
        manager.tell(tasks.are_local(), &board);
        let next = manager.next();
        tokio::select! {
            _ = terminate.recv() => break Ok(()),
            _ = interrupt.recv() => break Ok(()),
            outcome = &mut settled => match outcome.and_then(|()| folder::read_all()) {
                Ok(confs) => {
                    settled.set(folder.changed());
                    tasks.follow(confs).await;
                }
                Err(error) => break Err(error),
            },
            () = changes.notified() => {}
            () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
        }
    };
    send(&[NotifyState::Stopping]);
    tasks.stop_all().await;
    listeners.close();
    outcome
}

fn on(kind: SignalKind) -> Result<Signal, Error> {
    signal(kind).map_err(Error::io("handle", "signals"))
}

/// The service manager, if one started the agent (`sd_notify(3)`).
struct Manager {
    is_ready: bool,
    begun: Instant,
    status: String,
    /// When the status was sent last, and whether there is another one by now.
    sent: Option<Instant>,
    is_pending: bool,
}

impl Manager {
    fn new() -> Self {
        Self { is_ready: false, begun: Instant::now(), status: String::new(), sent: None, is_pending: false }
    }

    /// Sends what has changed: the status once a second at most, whatever comes and goes meanwhile.
    fn tell(&mut self, are_local: bool, board: &Board) {
        let now = Instant::now();
        if self.sent.is_some_and(|sent| now < sent + STATUS_EVERY) {
            self.is_pending = true;
        } else {
            let status = status(board);
            if status != self.status {
                send(&[NotifyState::Status(&status)]);
                self.status = status;
                self.sent = Some(now);
            }
            self.is_pending = false;
        }
        if !self.is_ready && (are_local || now >= self.begun + READY_WITHIN) {
            send(&[NotifyState::Ready]);
            self.is_ready = true;
        }
    }

    /// When something is to be sent though nothing changes; never, while nothing is waited for.
    fn next(&self) -> Option<Instant> {
        let ready = (!self.is_ready).then(|| self.begun + READY_WITHIN);
        let status = self.sent.filter(|_| self.is_pending).map(|sent| sent + STATUS_EVERY);
        ready.into_iter().chain(status).min()
    }
}

/// One line for `systemctl status`.
fn status(board: &Board) -> String {
    let networks = board.map(|status| {
        let reason = status.reason.as_ref().map(|reason| format!("; {}: {reason}", status.network));
        (status.peers.len(), reason.unwrap_or_default())
    });
    let peers: usize = networks.iter().map(|(peers, _)| peers).sum();
    let reasons: String = networks.iter().map(|(_, reason)| reason.as_str()).collect();
    cni::printable_line(&format!("networks: {}, peers: {peers}{reasons}", networks.len())).to_string()
}

/// A manager that cannot be told notices by itself.
fn send(states: &[NotifyState<'_>]) {
    drop(sd_notify::notify(false, states));
}

//! The tasks of all networks: started, started anew and stopped as their files say.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use cni::NetworkName;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::timeout;

use crate::agent::{self, Command, State, Status};
use crate::conf::Conf;
use crate::program::board::{Board, Entry};
use crate::program::error::Error;
use crate::program::folder::Confs;
use crate::program::identity;
use crate::program::log::{Priority, log};

/// How many commands a task may be behind with.
const COMMANDS: usize = 4;
/// How long a task may take to end. A write to the kernel is short; whatever waits longer can be dropped.
const STOPPING: Duration = Duration::from_secs(5);

/// The tasks of this node's networks.
#[derive(Debug)]
pub(crate) struct Tasks {
    machine: String,
    running: BTreeMap<NetworkName, Task>,
    /// What was said of files that are of no use, so that it is said once.
    told: BTreeMap<NetworkName, String>,
    board: Board,
    changed: Rc<Notify>,
}

#[derive(Debug)]
struct Task {
    conf: Conf,
    node: String,
    status: watch::Receiver<Status>,
    commands: mpsc::Sender<Command>,
    agent: JoinHandle<()>,
    /// What was last logged of it.
    logged: Option<(State, Option<String>)>,
}

impl Tasks {
    /// No tasks, on the machine with this ID.
    pub(crate) fn new(machine: String, board: Board) -> Self {
        Self {
            machine,
            running: BTreeMap::new(),
            told: BTreeMap::new(),
            board,
            changed: Rc::new(Notify::new()),
        }
    }

    /// Is notified when any task's status has changed.
    pub(crate) fn changes(&self) -> Rc<Notify> {
        Rc::clone(&self.changed)
    }

    /// Makes the tasks what the files say. Where a file is of no use, the task goes on as it was.
    pub(crate) async fn follow(&mut self, confs: Confs) {
        let gone: Vec<NetworkName> =
            self.running.keys().filter(|name| !confs.contains_key(*name)).cloned().collect();
        for network in gone {
            self.stop(&network).await;
            log(
                Priority::Info,
                format_args!("{network}: stopped: its file is gone; what is in the kernel stays"),
            );
        }
        self.told.retain(|network, _| confs.contains_key(network));
        self.board.retain(|network| confs.contains_key(network));
        for (network, conf) in confs {
            match conf.and_then(|conf| identity::node_name(&conf).map(|node| (conf, node))) {
                Ok((conf, node)) => {
                    self.told.remove(&network);
                    self.start(network, conf, node).await;
                }
                Err(error) => self.tell(network, &error),
            }
        }
    }

    fn tell(&mut self, network: NetworkName, error: &Error) {
        let text = error.to_string();
        if self.told.get(&network) == Some(&text) {
            return;
        }
        let goes_on = if self.running.contains_key(&network) {
            "; it goes on as it was"
        } else {
            let status = Status {
                network: network.to_string(),
                state: State::Refused,
                reason: Some(text.clone()),
                since: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
                ..Status::default()
            };
            self.board.put(network.clone(), Entry::Refused(Box::new(status)));
            ""
        };
        log(Priority::Error, format_args!("{network}: {text}{goes_on}"));
        self.told.insert(network, text);
    }

    async fn start(&mut self, network: NetworkName, conf: Conf, node: String) {
        if self.running.get(&network).is_some_and(|task| task.conf == conf && task.node == node) {
            return;
        }
        self.stop(&network).await;
        let (publish, status) = watch::channel(Status { network: network.to_string(), ..Status::default() });
        let (commands, receive) = mpsc::channel(COMMANDS);
        self.board
            .put(network.clone(), Entry::Running { status: status.clone(), commands: commands.clone() });
        spawn_local(relay(status.clone(), self.changes()));
        let run =
            agent::run(network.clone(), conf.clone(), node.clone(), self.machine.clone(), publish, receive);
        let task = Task { conf, node, status, commands, agent: spawn_local(run), logged: None };
        self.running.insert(network, task);
    }

    async fn stop(&mut self, network: &NetworkName) {
        let Some(mut task) = self.running.remove(network) else {
            return;
        };
        let ends = async {
            // It fails where the task has ended already.
            let _ = task.commands.send(Command::Stop).await;
            let _ = (&mut task.agent).await;
        };
        if timeout(STOPPING, ends).await.is_err() {
            task.agent.abort();
        }
        // Only now: what is not there is known to have stopped.
        self.board.take(network);
    }

    /// Ends all tasks.
    pub(crate) async fn stop_all(&mut self) {
        for network in self.running.keys().cloned().collect::<Vec<_>>() {
            self.stop(&network).await;
        }
    }

    /// The files of the tasks.
    pub(crate) fn confs(&self) -> impl Iterator<Item = &Conf> {
        self.running.values().map(|task| &task.conf)
    }

    /// Whether every task has put into the kernel what the node knew.
    pub(crate) fn are_local(&self) -> bool {
        self.running.values().all(|task| task.status.borrow().local_done)
    }

    /// Logs each task's change of state once, and finds a task that has ended by itself.
    pub(crate) fn log_changes(&mut self) -> Result<(), Error> {
        for (network, task) in &mut self.running {
            let now = {
                let status = task.status.borrow_and_update();
                (status.state, status.reason.clone())
            };
            if task.logged.as_ref() != Some(&now) {
                let reason = now.1.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
                log(priority(now.0), format_args!("{network}: {}{reason}", name(now.0)));
                task.logged = Some(now);
            }
            if task.agent.is_finished() {
                return Err(Error::TaskEnded(network.clone()));
            }
        }
        Ok(())
    }
}

/// Notifies of every change of a status, and of its task's end.
async fn relay(mut status: watch::Receiver<Status>, changed: Rc<Notify>) {
    while status.changed().await.is_ok() {
        changed.notify_one();
    }
    changed.notify_one();
}

/// As health has it.
fn name(state: State) -> String {
    serde_json::to_value(state).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

fn priority(state: State) -> Priority {
    match state {
        State::Conflict | State::Refused => Priority::Error,
        State::WaitingEngine => Priority::Warning,
        State::Local | State::Claiming | State::Publishing | State::Watching => Priority::Info,
    }
}

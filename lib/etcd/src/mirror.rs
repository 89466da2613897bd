//! A view of all keys of a prefix that survives what befalls a watch: LIST at a revision, WATCH from the next one, and after
//! a break from the last one that was seen, at whatever endpoint answers.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::mem;
use std::pin::Pin;

use tokio::time::{Instant, sleep_until};

use crate::audit::{Audit, Sum};
use crate::backoff::Backoff;
use crate::client::Client;
use crate::error::{Error, Kind};
use crate::kv::{Found, Header, KeyValue, Range};
use crate::span::Span;
use crate::watch::{Event, Watch};

/// What a mirror tells.
#[derive(Clone, Debug)]
pub enum Change {
    /// A key is there with this value, which is new.
    Put(KeyValue),
    /// A watch without a gap told that a key was deleted.
    Deleted {
        /// The key.
        key: Vec<u8>,
        /// At which revision.
        revision: i64,
    },
    /// A key that was known is not in a list any more. Who acts on it may look twice: the list may be of other data.
    Missing {
        /// The key.
        key: Vec<u8>,
    },
    /// All that a list had was told: the view is that of the store at this state.
    Listed(Header),
    /// After [`Change::Lost`] there is a watch again. Nothing was missed: what the watch could not go on from was listed.
    Resumed,
    /// The mirror has no watch, for this reason. It goes on trying, and tells this again only if the reason changes.
    Lost(Error),
    /// These are not the data that were seen before. A list of them follows: every key of it as [`Change::Put`].
    Reset(Reset),
}

/// That a store is another one, or an older state of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reset {
    /// The last state that was seen.
    pub before: Header,
    /// The state now: another cluster, or a revision or a term that went back.
    pub now: Header,
}

impl Reset {
    /// Whether the data are those of another cluster, or of this one before what was already seen.
    ///
    /// A store that was restored and has since grown beyond the revision that was seen is not noticed, unless its term is
    /// lower. To be sure, keep a random ID in the data.
    fn of(before: Header, now: Header) -> Option<Self> {
        let is_same =
            now.cluster_id == before.cluster_id && now.revision >= before.revision && now.term >= before.term;
        (!is_same).then_some(Self { before, now })
    }

    /// Whether it is another cluster: its members' addresses or its token differ.
    #[must_use]
    pub fn is_other_cluster(&self) -> bool {
        self.before.cluster_id != self.now.cluster_id
    }
}

/// A view of all keys of a prefix that survives what befalls a watch. It keeps the revisions of the keys, not their values.
///
/// It lists the keys at a revision, and watches them from the next one. If the watch breaks, it goes on from the last
/// revision that it saw, at whatever endpoint answers; if that one was compacted, it lists again, and tells the difference. So
/// it does if the view is found to be wrong, some seconds after many events: not each etcd tells that a watch missed some.
/// It never gives up: between two tries it waits, from 0.1 s up to 30 s.
pub struct Mirror {
    client: Client,
    span: Span,
    /// The revisions at which each key was made and changed last.
    known: BTreeMap<Vec<u8>, (i64, i64)>,
    /// The last state that was seen; none before the first list.
    seen: Option<Header>,
    /// From where the next watch goes on. All before it was told, and of it perhaps a part.
    from: i64,
    /// There is nothing from which a watch could go on: the next step is a list.
    must_list: bool,
    /// When the last watch began.
    since: Instant,
    step: Step,
    queue: VecDeque<Change>,
    /// The reason that was told last.
    lost: Option<Error>,
    backoff: Backoff,
    audit: Audit,
}

/// What a mirror does. A task goes on where it was if the future of [`Mirror::next`] is dropped.
enum Step {
    List,
    Wait(Instant),
    Work(Task),
    Watch(Box<Watch>),
}

type Task = Pin<Box<dyn Future<Output = Result<Done, Error>> + Send>>;

enum Done {
    Listed(Found),
    Reset(Reset),
    Watching(Header, Box<Watch>),
}

impl std::fmt::Debug for Mirror {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { span, seen, known, .. } = self;
        let known = known.len();
        formatter
            .debug_struct("Mirror")
            .field("span", span)
            .field("seen", seen)
            .field("known", &known)
            .finish()
    }
}

impl Mirror {
    /// A mirror that begins with a list at its first [`Mirror::next`].
    #[must_use]
    pub fn new(client: Client, span: Span) -> Self {
        let audit = Audit::new(client.config().timing.call);
        Self {
            client,
            span,
            known: BTreeMap::new(),
            seen: None,
            from: 0,
            must_list: false,
            since: Instant::now(),
            step: Step::List,
            queue: VecDeque::new(),
            lost: None,
            backoff: Backoff::default(),
            audit,
        }
    }

    /// The last state that was seen.
    #[must_use]
    pub fn seen(&self) -> Option<Header> {
        self.seen
    }

    /// Waits for the next change. If the future is dropped, no change is lost.
    pub async fn next(&mut self) -> Change {
        loop {
            if let Some(change) = self.queue.pop_front() {
                return change;
            }
            match &mut self.step {
                Step::List => self.step = Step::Work(list(self.client.clone(), self.span.clone())),
                Step::Wait(until) => {
                    sleep_until(*until).await;
                    self.step = match self.seen {
                        Some(seen) if !self.must_list => self.resume(seen),
                        _ => Step::List,
                    };
                }
                Step::Work(task) => match task.await {
                    Ok(Done::Listed(found)) => self.listed(found),
                    Ok(Done::Reset(reset)) => self.reset(reset),
                    Ok(Done::Watching(now, watch)) => self.watching(now, watch),
                    Err(error) => self.failed(error),
                },
                Step::Watch(watch) => {
                    let seen = || self.seen.map_or(0, |seen| seen.revision);
                    let audit = self.audit.due(&self.client, &self.span, seen);
                    let told = tokio::select! {
                        biased;
                        told = watch.next() => Some(told),
                        () = audit => None,
                    };
                    match told {
                        Some(Ok(event)) => self.event(event),
                        Some(Err(error)) => self.failed(error),
                        None if self.audit.is_wrong(sum(&self.known)) => self.step = Step::List,
                        None => {}
                    }
                }
            }
        }
    }

    fn resume(&self, seen: Header) -> Step {
        Step::Work(watch(self.client.clone(), self.span.clone(), seen, self.from))
    }

    /// Tells what a list has that was not known, and what it lacks.
    fn listed(&mut self, found: Found) {
        if let Some(reset) = self.seen.and_then(|seen| Reset::of(seen, found.header)) {
            self.reset(reset);
        }
        let mut before = mem::take(&mut self.known);
        for kv in found.kvs {
            let revisions = (kv.created, kv.modified);
            self.known.insert(kv.key.clone(), revisions);
            if before.remove(&kv.key) != Some(revisions) {
                self.queue.push_back(Change::Put(kv));
            }
        }
        self.queue.extend(before.into_keys().map(|key| Change::Missing { key }));
        self.queue.push_back(Change::Listed(found.header));
        self.audit.reset();
        self.seen = Some(found.header);
        self.from = found.header.revision + 1;
        self.must_list = false;
        self.step = self.resume(found.header);
    }

    fn reset(&mut self, reset: Reset) {
        self.queue.push_back(Change::Reset(reset));
        // Equal revisions of other data mean nothing.
        self.known.values_mut().for_each(|revisions| *revisions = (0, 0));
        self.audit.reset();
        self.seen = Some(reset.now);
        self.must_list = true;
        // If two answers never agree on what the data are, this is asked ever less often.
        self.step = Step::Wait(Instant::now() + self.backoff.pause());
    }

    fn watching(&mut self, now: Header, watch: Box<Watch>) {
        self.seen = Some(now);
        self.since = Instant::now();
        self.step = Step::Watch(watch);
        if self.lost.take().is_some() {
            self.queue.push_back(Change::Resumed);
        }
    }

    /// Passes over what is known: a watch that goes on tells a revision again of which it had told a part.
    fn event(&mut self, event: Event) {
        self.backoff.reset();
        if self.audit.before(event.revision(), || sum(&self.known)) {
            self.step = Step::List;
        }
        let (from, revision) = match event {
            Event::Progress(revision) => (revision + 1, revision),
            Event::Put(kv) => {
                let (modified, revisions) = (kv.modified, (kv.created, kv.modified));
                if self.known.get(&kv.key).is_none_or(|known| known.1 < modified) {
                    self.known.insert(kv.key.clone(), revisions);
                    self.queue.push_back(Change::Put(kv));
                }
                (modified, modified)
            }
            Event::Delete { key, revision } => {
                if self.known.get(&key).is_some_and(|known| known.1 < revision) {
                    self.known.remove(&key);
                    self.queue.push_back(Change::Deleted { key, revision });
                }
                (revision, revision)
            }
        };
        self.from = self.from.max(from);
        if let Some(seen) = &mut self.seen {
            seen.revision = seen.revision.max(revision);
        }
    }

    fn failed(&mut self, error: Error) {
        if self.since.elapsed() > Backoff::LONGEST && matches!(self.step, Step::Watch(_)) {
            self.backoff.reset();
        }
        self.step = Step::Wait(Instant::now() + self.backoff.pause());
        if matches!(error.kind, Kind::Compacted { .. }) {
            self.must_list = true;
        } else if self.lost.as_ref() != Some(&error) {
            self.lost = Some(error.clone());
            self.queue.push_back(Change::Lost(error));
        }
    }
}

fn sum(known: &BTreeMap<Vec<u8>, (i64, i64)>) -> Sum {
    Sum { count: known.len(), newest: known.values().map(|known| known.1).max().unwrap_or(0) }
}

fn list(client: Client, span: Span) -> Task {
    Box::pin(async move { Ok(Done::Listed(client.list(&span).await?)) })
}

/// Opens a watch, after a look at whether this is still what was seen: of a store whose revision went back, a watch from a
/// later one would just be silent.
fn watch(client: Client, span: Span, seen: Header, from: i64) -> Task {
    Box::pin(async move {
        let now = client.range(&Range::new(span.clone()).limit(1).keys_only()).await?.header;
        if let Some(reset) = Reset::of(seen, now) {
            return Ok(Done::Reset(reset));
        }
        let watch = client.watch(&span, Some(from)).await?;
        // The watch may be at another endpoint. What its member has seen of the cluster's history may lag behind.
        if watch.header().cluster_id != now.cluster_id {
            return Ok(Done::Reset(Reset { before: now, now: watch.header() }));
        }
        Ok(Done::Watching(now, Box::new(watch)))
    })
}

//! Whether a view of a span is that of the store: a watch can have missed events without a word.
//!
//! To a watcher that reads too late, etcd before 3.4.31 and 3.5.13 does not always tell that a compaction overtook it: where its
//! buffer of 1,024 messages is full just then, it goes on with later events (etcd#17529). So after many events the store is
//! asked what it has at some revision, and the view is compared with that when it has come to the same.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::client::Client;
use crate::error::Error;
use crate::kv::Range;
use crate::span::Span;

/// So many events are less than what etcd's buffer takes, and few enough that nobody asks who has not much to read.
const MANY: usize = 100;
/// What tells two states of a span apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sum {
    /// How many keys there are.
    pub(crate) count: usize,
    /// The revision of the last change of one that is there.
    pub(crate) newest: i64,
}

/// Compares a view with the store, some time after many events.
pub(crate) struct Audit {
    /// How long after many events the store is asked, and how long an event that the watch has still to tell may take.
    later: Duration,
    /// Events since the last look.
    events: usize,
    step: Step,
}

enum Step {
    Idle,
    /// The store is asked at this time.
    Wait(Instant),
    Ask(Task),
    /// The store had this at the revision; the view must have it when it comes there, and at the latest at this time.
    Compare(i64, Sum, Instant),
}

type Task = Pin<Box<dyn Future<Output = Result<(i64, Sum), Error>> + Send>>;

impl Audit {
    pub(crate) fn new(later: Duration) -> Self {
        Self { later, events: 0, step: Step::Idle }
    }

    /// Begins anew, for the view is that of a list.
    pub(crate) fn reset(&mut self) {
        *self = Self::new(self.later);
    }

    /// To be called before an event of a revision becomes part of the view. Returns whether the view is wrong.
    pub(crate) fn before(&mut self, revision: i64, view: impl FnOnce() -> Sum) -> bool {
        self.events += 1;
        match &self.step {
            Step::Idle if self.events >= MANY => self.step = Step::Wait(Instant::now() + self.later),
            Step::Compare(at, sum, _) if revision > *at => {
                let is_wrong = view() != *sum;
                self.reset();
                return is_wrong;
            }
            _ => {}
        }
        false
    }

    /// Waits until the view is to be compared without another event, which [`Audit::is_wrong`] does. If the future is dropped,
    /// nothing is lost.
    pub(crate) async fn due(&mut self, client: &Client, span: &Span, seen: impl Fn() -> i64) {
        loop {
            match &mut self.step {
                Step::Idle => std::future::pending().await,
                Step::Wait(until) => {
                    sleep_until(*until).await;
                    self.step = Step::Ask(ask(client.clone(), span.clone()));
                }
                Step::Ask(task) => {
                    self.step = match task.await {
                        // What was told meanwhile cannot be taken back.
                        Ok((revision, sum)) if revision >= seen() => {
                            Step::Compare(revision, sum, Instant::now() + self.later)
                        }
                        _ => Step::Wait(Instant::now() + self.later),
                    };
                }
                Step::Compare(_, _, until) => return sleep_until(*until).await,
            }
        }
    }

    /// Whether the view is wrong, after [`Audit::due`].
    pub(crate) fn is_wrong(&mut self, view: Sum) -> bool {
        let is_wrong = matches!(&self.step, Step::Compare(_, sum, _) if *sum != view);
        self.reset();
        is_wrong
    }
}

fn ask(client: Client, span: Span) -> Task {
    Box::pin(async move {
        let found = client.range(&Range::new(span).limit(1).keys_only().newest_first()).await?;
        let newest = found.kvs.first().map_or(0, |kv| kv.modified);
        Ok((found.header.revision, Sum { count: usize::try_from(found.count).unwrap_or(0), newest }))
    })
}

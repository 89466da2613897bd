//! Transactions: `Txn` of etcd's service `KV`.

use std::collections::BTreeMap;

use crate::call::Call;
use crate::client::Client;
use crate::error::Error;
use crate::kv::{Found, Header, Put, Range, summary};
use crate::messages::{
    Compare, CompareTarget, DeleteRangeRequest, OneRequest, OneResponse, RequestOp, TargetUnion, TxnRequest,
    TxnResponse,
};
use crate::span::Span;

/// What holds of a key.
#[derive(Clone, Debug)]
pub struct Condition(Compare);

impl Condition {
    /// There is no such key: who creates one with this condition is the only one who did.
    pub fn absent(key: impl Into<Vec<u8>>) -> Self {
        Self::new(key, CompareTarget::Version, TargetUnion::Version(0))
    }

    /// It was not changed since this revision, which is [`KeyValue::modified`](crate::KeyValue::modified).
    pub fn unchanged(key: impl Into<Vec<u8>>, modified: i64) -> Self {
        Self::new(key, CompareTarget::Mod, TargetUnion::ModRevision(modified))
    }

    /// It has this value.
    pub fn value(key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        Self::new(key, CompareTarget::Value, TargetUnion::Value(value.into()))
    }

    fn new(key: impl Into<Vec<u8>>, target: CompareTarget, union: TargetUnion) -> Self {
        Self(Compare { target: target.into(), key: key.into(), target_union: Some(union) })
    }
}

/// One operation of a transaction.
#[derive(Clone, Debug)]
pub enum Operation {
    /// Reads.
    Range(Range),
    /// Writes.
    Put(Put),
    /// Deletes.
    Delete(Span),
}

impl Operation {
    fn span(&self) -> Span {
        match self {
            Self::Range(range) => range.span.clone(),
            Self::Put(put) => Span::key(put.key.clone()),
            Self::Delete(span) => span.clone(),
        }
    }

    fn request(self) -> RequestOp {
        let request = match self {
            Self::Range(range) => OneRequest::Range(range.request()),
            Self::Put(put) => OneRequest::Put(put.request()),
            Self::Delete(span) => {
                OneRequest::Delete(DeleteRangeRequest { key: span.start(), range_end: span.end() })
            }
        };
        RequestOp { request: Some(request) }
    }
}

/// Operations that are executed all or not at all, if conditions hold.
#[derive(Clone, Debug, Default)]
pub struct Txn {
    conditions: Vec<Condition>,
    then: Vec<Operation>,
    otherwise: Vec<Operation>,
}

impl Txn {
    /// One without conditions and operations.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a condition. All must hold.
    #[must_use]
    pub fn when(mut self, condition: Condition) -> Self {
        self.conditions.push(condition);
        self
    }

    /// Adds what is done if the conditions hold.
    #[must_use]
    pub fn then(mut self, operation: Operation) -> Self {
        self.then.push(operation);
        self
    }

    /// Adds what is done if one does not.
    #[must_use]
    pub fn otherwise(mut self, operation: Operation) -> Self {
        self.otherwise.push(operation);
        self
    }

    fn call(&self) -> Call {
        let operations = || self.then.iter().chain(&self.otherwise);
        let is_read = |operation: &Operation| matches!(operation, Operation::Range(_));
        // Who only compares a key need not be allowed to write it.
        let mut needs: BTreeMap<Vec<u8>, (Span, bool)> = BTreeMap::new();
        let conditions =
            self.conditions.iter().map(|Condition(compare)| (Span::key(compare.key.clone()), false));
        let spans = operations().map(|operation| (operation.span(), !is_read(operation)));
        for (span, writes) in conditions.chain(spans) {
            let need = needs.entry(span.start()).or_insert_with(|| (span.clone(), writes));
            if writes || !need.1 {
                *need = (span, writes);
            }
        }
        let keys: Vec<&[u8]> = needs.keys().map(Vec::as_slice).collect();
        let grant = |(span, writes): &(Span, bool)| span.grant(if *writes { "readwrite" } else { "read" });
        let cure = needs.values().map(grant).collect::<Vec<_>>().join("; ");
        Call { text: format!("txn of {}", summary(&keys)), repeatable: operations().all(is_read), cure }
    }
}

/// What came of a transaction.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The state after it.
    pub header: Header,
    /// Whether the conditions held.
    pub succeeded: bool,
    /// What the operations that were executed did, in their order.
    pub answers: Vec<Answer>,
}

/// What one operation of a transaction did.
#[derive(Clone, Debug)]
pub enum Answer {
    /// What was read.
    Range(Found),
    /// It was written.
    Put,
    /// How many keys were deleted.
    Delete(i64),
}

impl From<OneResponse> for Answer {
    fn from(response: OneResponse) -> Self {
        match response {
            OneResponse::Range(found) => Self::Range(found.into()),
            OneResponse::Put(_) => Self::Put,
            OneResponse::Delete(answer) => Self::Delete(answer.deleted),
        }
    }
}

impl Client {
    /// Executes a transaction. If it writes and the answer is lost, it is not tried again:
    /// [`Kind::Unknown`](crate::Kind::Unknown).
    pub async fn txn(&self, txn: Txn) -> Result<Outcome, Error> {
        let call = txn.call();
        let requests = |operations: Vec<Operation>| operations.into_iter().map(Operation::request).collect();
        let request = TxnRequest {
            compare: txn.conditions.into_iter().map(|Condition(compare)| compare).collect(),
            success: requests(txn.then),
            failure: requests(txn.otherwise),
        };
        let answer: TxnResponse = self.unary(&call, "/etcdserverpb.KV/Txn", request).await?;
        let answers = answer.responses.into_iter().filter_map(|answer| answer.response).map(Answer::from);
        Ok(Outcome { header: answer.header.into(), succeeded: answer.succeeded, answers: answers.collect() })
    }
}

//! Keys and their values: `Range`, `Put` and `DeleteRange` of etcd's service `KV`.

use crate::call::Call;
use crate::client::Client;
use crate::error::{Error, Kind};
use crate::lease::LeaseId;
use crate::messages::{
    self, DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse, RangeRequest, RangeResponse,
    ResponseHeader, SortOrder, SortTarget,
};
use crate::span::{Span, printable};

/// How many keys a page of a list has, unless that makes too large an answer.
const PAGE: i64 = 1000;
/// How often a list is begun again because its revision was compacted between two pages.
const TRIES: usize = 3;

/// Which state of which cluster answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Made of the members' addresses and the cluster's token. A cluster whose data were wiped has the same one again.
    pub cluster_id: u64,
    /// The revision of the whole store, which every change increases by one.
    pub revision: i64,
    /// The term of raft, which every election increases. It begins again where data were wiped or restored.
    pub term: u64,
}

impl From<Option<ResponseHeader>> for Header {
    fn from(header: Option<ResponseHeader>) -> Self {
        let header = header.unwrap_or_default();
        Self { cluster_id: header.cluster_id, revision: header.revision, term: header.raft_term }
    }
}

/// A key with its value and history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValue {
    /// The key.
    pub key: Vec<u8>,
    /// The value.
    pub value: Vec<u8>,
    /// The revision at which the key was made.
    pub created: i64,
    /// The revision at which it was changed last.
    pub modified: i64,
    /// How often it was put since it was made.
    pub version: i64,
    /// The lease that it goes with, if there is one.
    pub lease: Option<LeaseId>,
}

impl From<messages::KeyValue> for KeyValue {
    fn from(kv: messages::KeyValue) -> Self {
        Self {
            key: kv.key,
            value: kv.value,
            created: kv.create_revision,
            modified: kv.mod_revision,
            version: kv.version,
            lease: (kv.lease != 0).then_some(LeaseId(kv.lease)),
        }
    }
}

/// What to read.
#[derive(Clone, Debug)]
pub struct Range {
    pub(crate) span: Span,
    after: Option<Vec<u8>>,
    limit: i64,
    revision: i64,
    keys_only: bool,
    newest_first: bool,
}

impl Range {
    /// All of a span, as it is now.
    #[must_use]
    pub fn new(span: Span) -> Self {
        Self { span, after: None, limit: 0, revision: 0, keys_only: false, newest_first: false }
    }

    /// At most so many keys; the answer says whether there are more.
    #[must_use]
    pub fn limit(self, keys: u32) -> Self {
        Self { limit: keys.into(), ..self }
    }

    /// Only those after a key of the span: the next page after the last key of one.
    #[must_use]
    pub fn after(self, key: &[u8]) -> Self {
        Self { after: Some(key.to_vec()), ..self }
    }

    /// As it was at a revision: all pages of a list are of one.
    #[must_use]
    pub fn revision(self, revision: i64) -> Self {
        Self { revision, ..self }
    }

    /// Without values.
    #[must_use]
    pub fn keys_only(self) -> Self {
        Self { keys_only: true, ..self }
    }

    /// In the order of their last changes, the newest first, instead of that of the keys.
    #[must_use]
    pub fn newest_first(self) -> Self {
        Self { newest_first: true, ..self }
    }

    pub(crate) fn request(&self) -> RangeRequest {
        let key = match &self.after {
            // The least key after another one is that with a zero at its end.
            Some(after) => [after, &[0][..]].concat(),
            None => self.span.start(),
        };
        let Self { limit, revision, keys_only, .. } = *self;
        let (sort_order, sort_target) = if self.newest_first {
            (SortOrder::Descend, SortTarget::Modified)
        } else {
            (SortOrder::None, SortTarget::Key)
        };
        RangeRequest {
            key,
            range_end: self.span.end(),
            limit,
            revision,
            sort_order: sort_order.into(),
            sort_target: sort_target.into(),
            keys_only,
        }
    }
}

/// What was read.
#[derive(Clone, Debug)]
pub struct Found {
    /// The state that it is of. Of a [`Range::revision`], `header.revision` is still the newest one.
    pub header: Header,
    /// The keys in their order.
    pub kvs: Vec<KeyValue>,
    /// Whether [`Range::limit`] left some out.
    pub more: bool,
    /// How many there are, the limit aside.
    pub count: i64,
}

impl From<RangeResponse> for Found {
    fn from(answer: RangeResponse) -> Self {
        let kvs = answer.kvs.into_iter().map(KeyValue::from).collect();
        Self { header: answer.header.into(), kvs, more: answer.more, count: answer.count }
    }
}

/// What to write.
#[derive(Clone, Debug)]
pub struct Put {
    pub(crate) key: Vec<u8>,
    value: Vec<u8>,
    lease: i64,
}

impl Put {
    /// A key and its value.
    pub fn new(key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        Self { key: key.into(), value: value.into(), lease: 0 }
    }

    /// The key goes when this lease does.
    #[must_use]
    pub fn lease(self, LeaseId(lease): LeaseId) -> Self {
        Self { lease, ..self }
    }

    pub(crate) fn request(self) -> PutRequest {
        PutRequest { key: self.key, value: self.value, lease: self.lease }
    }
}

impl Client {
    /// Reads keys, by what a majority of the members agrees on.
    pub async fn range(&self, range: &Range) -> Result<Found, Error> {
        let cure = range.span.grant("read");
        let call = Call { text: format!("range {}", range.span), repeatable: true, cure };
        let answer: RangeResponse = self.unary(&call, "/etcdserverpb.KV/Range", range.request()).await?;
        Ok(answer.into())
    }

    /// Reads one key.
    pub async fn get(&self, key: impl Into<Vec<u8>>) -> Result<Option<KeyValue>, Error> {
        Ok(self.range(&Range::new(Span::key(key))).await?.kvs.pop())
    }

    /// Reads all of a span in pages, all of one revision: that of the answer's header.
    pub async fn list(&self, span: &Span) -> Result<Found, Error> {
        let mut page = PAGE;
        let mut tries = 0;
        let mut whole: Option<Found> = None;
        loop {
            let mut range = Range { limit: page, ..Range::new(span.clone()) };
            if let Some(found) = &whole {
                let last = found.kvs.last().map_or(&[][..], |kv| &kv.key);
                range = range.after(last).revision(found.header.revision);
            }
            let found = match self.range(&range).await {
                Ok(found) => found,
                Err(Error { kind: Kind::AnswerTooLarge(_), .. }) if page > 1 => {
                    page /= 4;
                    continue;
                }
                Err(Error { kind: Kind::Compacted { .. }, .. }) if tries < TRIES => {
                    tries += 1;
                    whole = None;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let more = found.more && !found.kvs.is_empty();
            let mut pages = match whole.take() {
                Some(pages) => pages,
                None => Found { kvs: Vec::new(), ..found },
            };
            pages.kvs.extend(found.kvs);
            pages.more = more;
            if !more {
                return Ok(pages);
            }
            whole = Some(pages);
        }
    }

    /// Writes a key. If the answer is lost it is not written again: [`Kind::Unknown`].
    pub async fn put(&self, put: Put) -> Result<Header, Error> {
        let span = Span::key(put.key.clone());
        let call = Call { text: format!("put {span}"), repeatable: false, cure: span.grant("readwrite") };
        let answer: PutResponse = self.unary(&call, "/etcdserverpb.KV/Put", put.request()).await?;
        Ok(answer.header.into())
    }

    /// Deletes keys, and returns how many there were. If the answer is lost this is not tried again: [`Kind::Unknown`].
    pub async fn delete(&self, span: &Span) -> Result<i64, Error> {
        let call = Call { text: format!("delete {span}"), repeatable: false, cure: span.grant("readwrite") };
        let request = DeleteRangeRequest { key: span.start(), range_end: span.end() };
        let answer: DeleteRangeResponse = self.unary(&call, "/etcdserverpb.KV/DeleteRange", request).await?;
        Ok(answer.deleted)
    }
}

/// The keys of a call as text: the first, and how many more.
pub(crate) fn summary(keys: &[&[u8]]) -> String {
    match keys {
        [] => "nothing".to_owned(),
        [key] => printable(key),
        [key, rest @ ..] => format!("{} and {} more", printable(key), rest.len()),
    }
}

//! Reads: one key, a range, a long range in pages.

use std::future::IntoFuture;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::try_unfold;

use super::builder::ClientBuilder;
use super::error::{Error, Failure};
use super::write::Sending;
use super::{Client, Inner};
use crate::types::{
    KeyRange, KeyValue, OperationError, RangeAnswer, RangeRequest, Sort, SortOrder, SortTarget,
};

/// Most pairs in one page, unless told. The size of one answer limits pages as well.
const PAGE_PAIRS: u64 = 1_000;

/// Reads one key; made by [`Client::get`]. Await it to send it.
#[derive(Clone, Debug)]
#[must_use = "a request is sent by awaiting it"]
pub struct Get {
    range: Range,
}

/// Reads a range; made by [`Client::range`]. Await it for one answer, which may be cut (`more`)
/// at 2 MiB, or read it on with [`pages`](Self::pages).
#[derive(Clone, Debug)]
#[must_use = "a request is sent by awaiting it"]
pub struct Range {
    client: Client,
    request: RangeRequest,
    timeout: Option<Duration>,
    page_pairs: u64,
}

impl Get {
    pub(super) fn new(client: &Client, key: Bytes) -> Self {
        let mut range = Range::new(client, KeyRange::single(key));
        range.request.skip_count = true;
        Self { range }
    }

    /// Reads at an earlier main revision. Default 0 = the current one.
    pub fn revision(self, revision: u64) -> Self {
        Self { range: self.range.revision(revision) }
    }

    /// Leaves the value out.
    pub fn keys_only(self) -> Self {
        Self { range: self.range.keys_only() }
    }

    /// Answers what the asked node has applied, without a round to the leader: faster, and
    /// possibly stale.
    pub fn serializable(self) -> Self {
        Self { range: self.range.serializable() }
    }

    /// How long this request may take, retries included.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { range: self.range.timeout(timeout) }
    }
}

impl Range {
    pub(super) fn new(client: &Client, range: KeyRange) -> Self {
        let request = RangeRequest::new(range);
        Self { client: client.clone(), request, timeout: None, page_pairs: PAGE_PAIRS }
    }

    /// Answers at most so many pairs (over all pages). Default 0 = no limit.
    pub fn limit(mut self, pairs: u64) -> Self {
        self.request.limit = pairs;
        self
    }

    /// Reads at an earlier main revision. Default 0 = the current one.
    pub fn revision(mut self, revision: u64) -> Self {
        self.request.revision = revision;
        self
    }

    /// The order of the answer. Default: by key, ascending.
    pub fn sort(mut self, target: SortTarget, order: SortOrder) -> Self {
        self.request.sort = Some(Sort { target, order });
        self
    }

    /// Leaves the values out.
    pub fn keys_only(mut self) -> Self {
        self.request.keys_only = true;
        self
    }

    /// Answers the count alone.
    pub fn count_only(mut self) -> Self {
        self.request.count_only = true;
        self
    }

    /// Leaves the count at 0, which spares the node from counting a long range.
    pub fn skip_count(mut self) -> Self {
        self.request.skip_count = true;
        self
    }

    /// Answers what the asked node has applied, without a round to the leader: faster, and
    /// possibly stale.
    pub fn serializable(mut self) -> Self {
        self.request.serializable = true;
        self
    }

    /// Only pairs last changed at or after this main revision. 0 = no bound.
    pub fn min_mod_revision(mut self, revision: u64) -> Self {
        self.request.min_mod_revision = revision;
        self
    }

    /// Only pairs last changed at or before this main revision. 0 = no bound.
    pub fn max_mod_revision(mut self, revision: u64) -> Self {
        self.request.max_mod_revision = revision;
        self
    }

    /// Only pairs created at or after this main revision. 0 = no bound.
    pub fn min_create_revision(mut self, revision: u64) -> Self {
        self.request.min_create_revision = revision;
        self
    }

    /// Only pairs created at or before this main revision. 0 = no bound.
    pub fn max_create_revision(mut self, revision: u64) -> Self {
        self.request.max_create_revision = revision;
        self
    }

    /// How long each request may take, retries included; for pages, each page.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Most pairs in one page of [`pages`](Self::pages), from 1. Default 1,000.
    pub fn page_pairs(mut self, pairs: u64) -> Self {
        self.page_pairs = pairs.max(1);
        self
    }

    /// Reads the range in pages, all at the revision of the first one. In key order only.
    pub fn pages(self) -> Pages {
        let left = (self.request.limit > 0).then_some(self.request.limit);
        Pages { range: self, left, next: Position::First }
    }
}

impl IntoFuture for Get {
    type Output = Result<Option<KeyValue>, Error>;
    type IntoFuture = Sending<Option<KeyValue>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { Ok(self.range.await?.kvs.pop()) })
    }
}

impl IntoFuture for Range {
    type Output = Result<RangeAnswer, Error>;
    type IntoFuture = Sending<RangeAnswer>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { client, request, timeout, .. } = self;
        Box::pin(async move { client.inner.range(request, timeout).await })
    }
}

/// A range in pages; made by [`Range::pages`].
///
/// Only the first page carries the count. When the history is compacted beyond the pages'
/// revision meanwhile, the next page is the error `Compacted`.
#[derive(Debug)]
pub struct Pages {
    range: Range,
    /// Pairs still wanted; none = all.
    left: Option<u64>,
    next: Position,
}

#[derive(Clone, Debug)]
enum Position {
    First,
    After { range: KeyRange, revision: u64 },
    End,
}

impl Pages {
    /// The next page; none after the last. After an error it asks for the same page again.
    pub async fn next(&mut self) -> Result<Option<RangeAnswer>, Error> {
        let mut request = self.range.request.clone();
        match &self.next {
            Position::First => in_key_order(&request)?,
            Position::After { range, revision } => {
                request.range = range.clone();
                request.revision = *revision;
                request.skip_count = true;
            }
            Position::End => return Ok(None),
        }
        if !request.count_only {
            request.limit =
                self.left.map_or(self.range.page_pairs, |left| left.min(self.range.page_pairs));
        }
        let mut page = self.fetch(&request).await?;
        self.advance(&request, &mut page)?;
        Ok(Some(page))
    }

    /// The pages as a stream, which ends after an error.
    pub fn into_stream(self) -> impl Stream<Item = Result<RangeAnswer, Error>> + Send {
        try_unfold(
            self,
            |mut pages| async move { Ok(pages.next().await?.map(|page| (page, pages))) },
        )
    }

    async fn fetch(&self, request: &RangeRequest) -> Result<RangeAnswer, Error> {
        let inner = &self.range.client.inner;
        let answer = inner.range(request.clone(), self.range.timeout).await;
        let behind = matches!(
            answer.as_ref().err().and_then(Error::operation),
            Some(OperationError::FutureRevision { .. })
        );
        if behind && request.serializable && matches!(self.next, Position::After { .. }) {
            // Another node than the one of the first page, and it has not come that far yet. A
            // linearizable read waits until it has.
            let request = RangeRequest { serializable: false, ..request.clone() };
            return inner.range(request, self.range.timeout).await;
        }
        answer
    }

    fn advance(&mut self, request: &RangeRequest, page: &mut RangeAnswer) -> Result<(), Error> {
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(page.kvs.len() as u64);
        }
        let last = match page.kvs.last() {
            Some(last) if page.more && self.left != Some(0) => &last.key,
            None if page.more && !request.count_only => {
                let reason = "a node answered an empty page and said that there is more".into();
                return Err(Failure::Invalid { reason }.into());
            }
            _ => {
                self.next = Position::End;
                return Ok(());
            }
        };
        let revision = if request.revision > 0 { request.revision } else { page.revision };
        self.next = Position::After { range: request.range.after(last), revision };
        Ok(())
    }
}

/// Only a range in key order can be read on from its last key.
fn in_key_order(request: &RangeRequest) -> Result<(), Error> {
    match request.sort {
        None | Some(Sort { target: SortTarget::Key, order: SortOrder::Ascending }) => Ok(()),
        Some(_) => {
            let reason = "pages come in key order; leave the sort out".into();
            Err(Failure::Invalid { reason }.into())
        }
    }
}

impl Inner {
    async fn range(
        &self,
        request: RangeRequest,
        timeout: Option<Duration>,
    ) -> Result<RangeAnswer, Error> {
        let timeout = ClientBuilder::request_timeout(self.timeout, timeout);
        self.read(timeout, |store, context| {
            let request = request.clone();
            async move { store.range(context, request).await }
        })
        .await
    }
}

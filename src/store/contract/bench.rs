//! What every check needs: nodes, fresh keys and records, time, and words for what was expected.

use std::{sync::Arc, time::Duration};

use axum::body::Bytes;

use super::{
    MILLISECOND,
    report::{Broken, Verdict, ensure},
};
use crate::{
    clock::{Clock, SystemClock, Timestamp},
    id::{SessionId, StoreKey},
    store::{Layout, Record, Store, Tag, When, Written},
    testing::ManualClock,
};

/// A life that no check outlasts.
pub(super) const HOUR: Duration = Duration::from_secs(3600);
/// A life that is made to be waited for.
pub(super) const MOMENT: Duration = Duration::from_millis(250);
/// What an engine of its own clock gets on top of its resolution: two machines' clocks, a loaded machine.
const GRACE: Duration = Duration::from_millis(100);

/// The store under test, and the means of the checks.
pub(super) struct Bench<S> {
    /// Handles on one engine, as the nodes of a site hold them.
    pub(super) nodes: Vec<Arc<S>>,
    pub(super) clock: Option<ManualClock>,
    pub(super) resolution: Duration,
    /// How often each race is run.
    pub(super) rounds: usize,
    /// What all keys of this run begin with, so that the engine need not be empty.
    pub(super) prefix: String,
}

impl<S: Store> Bench<S> {
    /// The node that checks without a race speak to.
    pub(super) fn store(&self) -> &S {
        &self.nodes[0]
    }

    /// The nodes in turn, for racers.
    pub(super) fn node(&self, number: usize) -> Arc<S> {
        Arc::clone(&self.nodes[number % self.nodes.len()])
    }

    /// A key that no other check uses.
    pub(super) fn key(&self, layout: Layout) -> StoreKey {
        let id = SessionId::random();
        match layout {
            Layout::Native => StoreKey::hashed(&self.prefix, &id),
            Layout::Plain => StoreKey::plain(&self.prefix, &id).with_layout(layout),
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.as_ref().map_or_else(|| SystemClock.now(), Clock::now)
    }

    /// The moment `life` from now.
    pub(super) fn after(&self, life: Duration) -> Timestamp {
        self.now().saturating_add(life)
    }

    /// Lets time pass until a record that expires at `moment` is certainly gone.
    pub(super) async fn outlast(&self, moment: Timestamp) {
        match &self.clock {
            Some(clock) => {
                let end = moment.saturating_add(self.resolution.saturating_sub(MILLISECOND));
                clock.set(clock.now().max(end));
            }
            None => {
                let end = moment.saturating_add(self.resolution + GRACE);
                let wait = end.saturating_since(SystemClock.now());
                tokio::time::sleep(wait).await;
            }
        }
    }

    /// A record as a request would write it, alive for an hour.
    pub(super) fn record(&self, layout: Layout, text: &str) -> Record {
        self.record_of(layout, Bytes::copy_from_slice(text.as_bytes()))
    }

    pub(super) fn record_of(&self, layout: Layout, data: Bytes) -> Record {
        let tag = match layout {
            Layout::Native => Tag::random(),
            Layout::Plain => Tag::of(&data),
        };
        Record { tag, expires_at: self.after(HOUR), principal: None, data }
    }

    /// A record of this text, stored under a new key.
    pub(super) async fn stored(&self, layout: Layout, text: &str) -> Verdict<(StoreKey, Record)> {
        let key = self.key(layout);
        let record = self.record(layout, text);
        self.create(&key, &record).await?;
        Ok((key, record))
    }

    pub(super) async fn create(&self, key: &StoreKey, record: &Record) -> Verdict {
        let answer = self.store().set(key, record, When::Absent).await?;
        expect("set(When::Absent) under a free key", &answer, Expected::Done)
    }

    /// `get` finds this record, whole.
    pub(super) async fn expect_live(&self, what: &str, key: &StoreKey, record: &Record) -> Verdict {
        self.expect_live_on(self.store(), what, key, record).await
    }

    pub(super) async fn expect_live_on(
        &self,
        store: &S,
        what: &str,
        key: &StoreKey,
        record: &Record,
    ) -> Verdict {
        let Some(found) = store.get(key).await? else {
            return Err(Broken(format!("{what}: get found nothing, the record should be there")));
        };
        ensure(found.data == record.data, || {
            format!("{what}: get found {}, not {}", brief(&found), brief(record))
        })?;
        ensure(found.tag == record.tag, || {
            format!("{what}: the data is right, but the tag that get found is not the one that was written")
        })?;
        // A plain value has no room for a principal, and its engine may not tell when it expires.
        let plain = key.layout() == Layout::Plain;
        ensure(plain || found.principal == record.principal, || {
            format!("{what}: the data is right, but the principal that get found is not the one written")
        })?;
        let early = record.expires_at.saturating_since(found.expires_at);
        let late = found.expires_at.saturating_since(record.expires_at);
        let late_is_wrong = late > self.resolution && !(plain && found.expires_at == Timestamp::MAX);
        ensure(early <= self.resolution && !late_is_wrong, || {
            format!("{what}: expires_at came back {early:?} early, {late:?} late")
        })
    }

    /// `get` finds nothing.
    pub(super) async fn expect_absent(&self, what: &str, key: &StoreKey) -> Verdict {
        let found = self.store().get(key).await?;
        ensure(found.is_none(), || format!("{what}: get found a record, there should be none"))
    }
}

/// What a conditional write should have answered.
#[derive(Clone, Copy)]
pub(super) enum Expected<'a> {
    Done,
    Gone,
    /// With this record, or with none and an invitation to read it.
    Conflict(&'a Record),
}

/// The answer is the expected one.
pub(super) fn expect(what: &str, answer: &Written, expected: Expected<'_>) -> Verdict {
    match (expected, answer) {
        (Expected::Done, Written::Done)
        | (Expected::Gone, Written::Gone)
        | (Expected::Conflict(_), Written::Conflict(None)) => Ok(()),
        (Expected::Conflict(current), Written::Conflict(Some(shown))) => {
            ensure(shown.tag == current.tag && shown.data == current.data, || {
                format!("{what}: the conflict shows {}, but live is {}", brief(shown), brief(current))
            })
        }
        (Expected::Done, _) => Err(unexpected(what, answer, "Done")),
        (Expected::Gone, _) => Err(unexpected(what, answer, "Gone")),
        (Expected::Conflict(_), _) => Err(unexpected(what, answer, "Conflict")),
    }
}

fn unexpected(what: &str, answer: &Written, due: &str) -> Broken {
    let came = match answer {
        Written::Done => "Done",
        Written::Gone => "Gone",
        Written::Conflict(_) => "Conflict",
    };
    Broken(format!("{what}: the answer was {came}, due was {due}"))
}

/// A test record in a few words.
pub(super) fn brief(record: &Record) -> String {
    let shown = &record.data[..record.data.len().min(24)];
    format!("{:?} of {} bytes, `{}`", record.tag, record.data.len(), shown.escape_ascii())
}

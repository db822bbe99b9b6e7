//! Loading: from what the request brought to the session's data, once per request.

use std::{
    future::Future,
    mem,
    pin::Pin,
    sync::atomic::Ordering::{Relaxed, Release},
};

use super::{Origin, State, gate::Inside};
use crate::{
    clock::Timestamp,
    codec::Content,
    error::{Error, Kind, Operation},
    hooks::{Candidate, Failure, Snapshot, Verdict},
    id::StoreKey,
    observe::Sight,
    rules::Ending,
    store::{Record, StoreError, StoreErrorKind, Tag},
    takeover::take_over,
    transport::Presented,
};

/// What is left of a load, where it has to be waited for.
type Rest<'a> = Pin<Box<dyn Future<Output = Result<(), Error>> + Send + 'a>>;

/// A load that has begun.
enum Load<'a> {
    /// As always where the store has its answer at once: nothing was allocated for a future.
    Done(Result<(), Error>),
    Rest(Rest<'a>),
}

impl State {
    /// Loads the session, once, however many ask and whenever.
    pub(crate) async fn load(&self) -> Result<(), Error> {
        self.flags.used.store(true, Relaxed);
        self.load_quietly().await
    }

    /// The same for the layer itself, which is no use of the session.
    pub(crate) async fn load_quietly(&self) -> Result<(), Error> {
        if self.is_loaded() {
            return Ok(());
        }
        match self.begin_load() {
            Load::Done(done) => done,
            Load::Rest(rest) => rest.await,
        }
    }

    fn begin_load(&self) -> Load<'_> {
        match self.loading.try_enter() {
            Some(alone) => self.load_alone(alone),
            None => Load::Rest(Box::pin(async move {
                match self.load_alone(self.loading.enter().await) {
                    Load::Done(done) => done,
                    Load::Rest(rest) => rest.await,
                }
            })),
        }
    }

    fn load_alone<'a>(&'a self, alone: Inside<'a>) -> Load<'a> {
        if self.is_loaded() {
            return Load::Done(Ok(()));
        }
        let config = &*self.config;
        let Some(presented) = self.presented() else {
            // Nobody to look up. But while the store is away nobody can be given a session either.
            if config.engine.is_connected() {
                return Load::Done(self.loaded(Ok(())));
            }
            return self.rest(alone, self.wait_for_the_store());
        };
        let key = config.key(&presented.id);
        match config.engine.get_now(&config.limits, &key) {
            Some(found) if config.predecessor.is_none() || !matches!(found, Ok(None)) => {
                match self.take_in(presented, key, found) {
                    None => Load::Done(self.loaded(Ok(()))),
                    Some(rest) => self.rest(alone, rest),
                }
            }
            _ => self.rest(alone, self.fetch(presented, key)),
        }
    }

    fn rest<'a>(
        &'a self,
        alone: Inside<'a>,
        rest: impl Future<Output = Result<(), Error>> + Send + 'a,
    ) -> Load<'a> {
        Load::Rest(Box::pin(async move {
            let _alone = alone;
            self.loaded(rest.await)
        }))
    }

    /// Takes note of how a load has ended.
    fn loaded(&self, done: Result<(), Error>) -> Result<(), Error> {
        match &done {
            Ok(()) => self.loaded.store(true, Release),
            Err(error) => self.failed(error),
        }
        done
    }

    /// Tells whoever looks on that this session could not be loaded or saved.
    pub(crate) fn failed(&self, error: &Error) {
        let key = self.data().origin.as_ref().map(|origin| origin.key.clone());
        self.config.observer.failed(key.as_ref(), error);
    }

    async fn fetch(&self, presented: Presented, key: StoreKey) -> Result<(), Error> {
        let config = &*self.config;
        let found = match config.engine.get(&config.limits, &key).await {
            Ok(None) if config.predecessor.is_some() => take_over(&self.config, &presented.id, &key).await,
            found => found,
        };
        match self.take_in(presented, key, found) {
            None => Ok(()),
            Some(rest) => rest.await,
        }
    }

    /// Takes in what was found; gives back what has to be waited for.
    fn take_in(
        &self,
        presented: Presented,
        key: StoreKey,
        found: Result<Option<Record>, StoreError>,
    ) -> Option<Rest<'_>> {
        let mut record = match found {
            Ok(Some(record)) => record,
            Ok(None) => {
                self.config.observer.unknown(&key);
                let mut data = self.data();
                data.way = presented.way;
                data.unknown = true;
                return None;
            }
            Err(error) => return Some(Box::pin(self.unreadable(presented, key, error))),
        };
        // Not a copy of them: they are shared with other threads, so each copy is counted twice.
        let data = mem::take(&mut record.data);
        let bytes = data.len();
        let content = match self.config.codec.decode(data, &self.config.cookie) {
            Ok(content) => content,
            Err(why) => return Some(Box::pin(self.unreadable(presented, key, StoreError::corrupt(why)))),
        };
        let sight = Sight { created: content.head.created, expires_at: record.expires_at, bytes };
        self.config.observer.loaded(&key, sight);
        if self.is_over(&content) {
            self.config.observer.invalid(&key);
            self.adopt(presented, key, record, content);
            self.refuse();
            return None;
        }
        if let Some(hook) = &self.config.hooks.valid {
            return Some(Box::pin(async move {
                let cookie = content.head.cookie.as_deref().unwrap_or(&self.config.cookie).clone();
                let snapshot = Snapshot::new(content.object.clone(), cookie);
                let valid = hook(Candidate::new(self.parts(), snapshot)).await;
                let valid = valid.map_err(|source| Error::new(Kind::Hook { hook: "valid", source }))?;
                if !valid {
                    self.config.observer.invalid(&key);
                }
                self.adopt(presented, key, record, content);
                if !valid {
                    self.refuse();
                }
                Ok(())
            }));
        }
        self.adopt(presented, key, record, content);
        None
    }

    fn adopt(&self, presented: Presented, key: StoreKey, record: Record, content: Content) {
        let Presented { id, stale, way } = presented;
        let mut data = self.data();
        data.way = way;
        data.origin = Some(Origin { id, key, tag: record.tag, expires_at: record.expires_at, stale });
        data.base_principal = record.principal;
        data.base = content;
    }

    async fn wait_for_the_store(&self) -> Result<(), Error> {
        let waited = self.config.engine.wait_for_connection(&self.config.limits).await;
        self.or_degraded(Operation::Get, waited.map_err(|e| Error::store(Operation::Get, e))).await
    }

    /// The store failed, or what it holds is no session.
    async fn unreadable(&self, presented: Presented, key: StoreKey, why: StoreError) -> Result<(), Error> {
        if why.kind() == StoreErrorKind::Corrupt && self.config.discard_corrupt {
            self.config.observer.discarded(&key, &why);
            let Presented { id, way, .. } = presented;
            let mut data = self.data();
            data.way = way;
            data.origin =
                Some(Origin { id, key, tag: Tag::random(), expires_at: Timestamp::EPOCH, stale: false });
            drop(data);
            self.refuse();
            return Ok(());
        }
        self.or_degraded(Operation::Get, Err(Error::store(Operation::Get, why))).await
    }

    /// What was loaded is not to be used: it stays in the store only until the end of this request.
    fn refuse(&self) {
        self.change_intent(|intent| {
            intent.epoch = intent.epoch.wrapping_add(1);
            if intent.ending == Ending::None {
                intent.ending = Ending::Destroyed;
            }
        });
    }

    /// Whether the session has lived as long as any may.
    fn is_over(&self, content: &Content) -> bool {
        let limit = self.config.lifetime.max_lifetime.zip(content.head.created);
        limit.is_some_and(|(max, created)| created.saturating_add(max) <= self.config.clock.now())
    }

    /// Asks the error handler about a failed operation: `Ok` if the request is to go on without the store.
    pub(crate) async fn or_degraded(
        &self,
        operation: Operation,
        result: Result<(), Error>,
    ) -> Result<(), Error> {
        let Err(error) = result else { return Ok(()) };
        let verdict = match (&self.config.hooks.error_handler, &self.parts) {
            (Some(hook), Some(parts)) => {
                hook(Failure { parts: parts.clone(), operation, error: error.clone() }).await
            }
            // A life that was not extended is no reason to withhold the answer.
            _ if operation == Operation::Touch => Verdict::Continue,
            // Outside of a request there is none that could go on.
            _ => Verdict::Fail,
        };
        match verdict {
            Verdict::Fail => Err(error),
            Verdict::Respond(response) => Err(error.respond(response)),
            // A logout, or a new id, that has not come about must not look as if it had.
            Verdict::Continue if operation != Operation::Get && !self.intent_is(Ending::None) => Err(error),
            Verdict::Continue => {
                self.config.observer.went_on(operation, &error);
                self.flags.degraded.store(operation == Operation::Get, Relaxed);
                Ok(())
            }
        }
    }
}

//! Loading: from what the request brought to the session's data, once per request.

use std::{
    future::Future,
    pin::Pin,
    sync::atomic::Ordering::{Relaxed, Release},
};

use super::{Origin, State};
use crate::{
    clock::Timestamp,
    codec::Content,
    error::{Error, Kind, Operation},
    hooks::{Candidate, Failure, Snapshot, Verdict},
    id::StoreKey,
    rules::Ending,
    store::{Record, StoreError, StoreErrorKind, Tag},
    takeover::take_over,
    transport::Presented,
};

/// What is left of a load, where it has to be waited for.
type Rest<'a> = Pin<Box<dyn Future<Output = Result<(), Error>> + Send + 'a>>;

impl State {
    /// Loads the session, once, however many ask and whenever.
    pub(crate) async fn load(&self) -> Result<(), Error> {
        self.flags.used.store(true, Relaxed);
        if self.is_loaded() {
            return Ok(());
        }
        self.load_quietly().await
    }

    /// The same for the layer itself, which is no use of the session.
    pub(crate) async fn load_quietly(&self) -> Result<(), Error> {
        let _one_at_a_time = self.loading.enter().await;
        if !self.is_loaded() {
            self.fetch().await.inspect_err(|error| self.failed(error))?;
            self.loaded.store(true, Release);
        }
        Ok(())
    }

    /// Tells whoever looks on that this session could not be loaded or saved.
    pub(crate) fn failed(&self, error: &Error) {
        let key = self.data().origin.as_ref().map(|origin| origin.key.clone());
        self.config.observer.failed(key.as_ref(), error);
    }

    // What is seldom waited for is boxed: it would else be room in the future of every handler.
    async fn fetch(&self) -> Result<(), Error> {
        let config = &*self.config;
        let Some(presented) = self.presented() else {
            // Nobody to look up. But while the store is away nobody can be given a session either.
            if config.engine.is_connected() {
                return Ok(());
            }
            return Box::pin(self.wait_for_the_store()).await;
        };
        let key = config.key(&presented.id);
        let found = match config.engine.get(&config.limits, &key).await {
            Ok(None) if config.predecessor.is_some() => {
                Box::pin(take_over(&self.config, &presented.id, &key)).await
            }
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
        let record = match found {
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
        let content = match self.config.codec.decode(record.data.clone(), &self.config.cookie) {
            Ok(content) => content,
            Err(why) => return Some(Box::pin(self.unreadable(presented, key, StoreError::corrupt(why)))),
        };
        if self.is_over(&content) {
            self.config.observer.invalid(&key);
            self.adopt(presented, key, record, content);
            self.refuse();
            return None;
        }
        if let Some(hook) = &self.config.hooks.valid {
            return Some(Box::pin(async move {
                let cookie = content.cookie.as_deref().unwrap_or(&self.config.cookie).clone();
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
        self.config.observer.loaded(&key, &record, content.created);
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
        let limit = self.config.lifetime.max_lifetime.zip(content.created);
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

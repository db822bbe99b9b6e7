//! Loading: from what the request brought to the session's data, once per request.

use std::sync::atomic::Ordering::Relaxed;

use super::{Origin, State};
use crate::{
    clock::Timestamp,
    codec::Content,
    error::{Error, Kind, Operation},
    hooks::{Candidate, Failure, Snapshot, Verdict},
    id::{SessionId, StoreKey},
    rules::Ending,
    store::{StoreError, StoreErrorKind, Tag},
    takeover::take_over,
    transport::Presented,
};

impl State {
    /// Loads the session, once, however many ask and whenever.
    pub(crate) async fn load(&self) -> Result<(), Error> {
        self.flags.used.store(true, Relaxed);
        self.load_quietly().await
    }

    /// The same for the layer itself, which is no use of the session.
    pub(crate) async fn load_quietly(&self) -> Result<(), Error> {
        self.loaded.get_or_try_init(|| self.fetch()).await.copied().inspect_err(|error| self.failed(error))
    }

    /// Tells whoever looks on that this session could not be loaded or saved.
    pub(crate) fn failed(&self, error: &Error) {
        let key = self.data().origin.as_ref().map(|origin| origin.key.clone());
        self.config.observer.failed(key.as_ref(), error);
    }

    async fn fetch(&self) -> Result<(), Error> {
        let config = &*self.config;
        let Some(Presented { id, stale, way }) = self.presented() else {
            // Nobody to look up. But while the store is away nobody can be given a session either.
            let waited = config.engine.wait_for_connection(config.limits).await;
            return self
                .or_degraded(Operation::Get, waited.map_err(|e| Error::store(Operation::Get, e)))
                .await;
        };
        let key = config.key(&id);
        let found = match config.engine.get(config.limits, &key).await {
            Ok(Some(record)) => Ok(Some(record)),
            Ok(None) => take_over(&self.config, &id, &key).await,
            Err(error) => Err(error),
        };
        let record = match found {
            Ok(Some(record)) => record,
            Ok(None) => {
                config.observer.unknown(&key);
                let mut data = self.data();
                data.way = way;
                data.unknown = true;
                return Ok(());
            }
            Err(error) => return self.unreadable(key, id, way, error).await,
        };
        let content = match config.codec.decode(&record.data, &config.cookie) {
            Ok(content) => content,
            Err(why) => return self.unreadable(key, id, way, StoreError::corrupt(why)).await,
        };
        let valid = self.is_valid(&content).await?;
        config.observer.loaded(&key, &record, content.created);
        if !valid {
            config.observer.invalid(&key);
        }
        {
            let mut data = self.data();
            data.way = way;
            data.origin = Some(Origin { id, key, tag: record.tag, expires_at: record.expires_at, stale });
            data.base_principal = record.principal;
            data.base = content;
        }
        if !valid {
            self.refuse();
        }
        Ok(())
    }

    /// The store failed, or what it holds is no session.
    async fn unreadable(
        &self,
        key: StoreKey,
        id: SessionId,
        way: usize,
        why: StoreError,
    ) -> Result<(), Error> {
        if why.kind() == StoreErrorKind::Corrupt && self.config.discard_corrupt {
            self.config.observer.discarded(&key, &why);
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
        let mut intent = self.lock_intent();
        intent.epoch += 1;
        if intent.ending == Ending::None {
            intent.ending = Ending::Destroyed;
        }
    }

    async fn is_valid(&self, content: &Content) -> Result<bool, Error> {
        let config = &*self.config;
        let over = config.lifetime.max_lifetime.zip(content.created);
        if over.is_some_and(|(max, created)| created.saturating_add(max) <= config.clock.now()) {
            return Ok(false);
        }
        let Some(hook) = &config.hooks.valid else { return Ok(true) };
        let cookie = content.cookie.as_deref().unwrap_or(&config.cookie).clone();
        hook(Candidate::new(self.parts(), Snapshot::new(content.object.clone(), cookie)))
            .await
            .map_err(|source| Error::new(Kind::Hook { hook: "valid", source }))
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

//! Loading: from what the request brought to the session's data, once per request.

use std::sync::{
    MutexGuard,
    atomic::Ordering::{Relaxed, Release},
};

use super::{Data, Origin, State};
use crate::{
    clock::Timestamp,
    codec::Content,
    config::Config,
    error::{Error, Kind, Operation},
    hooks::{Candidate, Failure, Snapshot, Verdict},
    id::StoreKey,
    object::notes,
    observe::Sight,
    rules::Ending,
    store::{Kept, Record, StoreError, StoreErrorKind, Tag},
    takeover::take_over,
    transport::{Presented, Signature},
};

/// Whom a load has looked up already, if it has.
pub(crate) type LookedUp = Option<(Presented, StoreKey)>;

/// What a record says beside its data.
struct Label {
    tag: Tag,
    expires_at: Timestamp,
    principal: Option<Box<str>>,
    /// As long as the data are in the store.
    bytes: usize,
}

/// A load that has begun.
pub(crate) enum Load<'a> {
    /// As always where the store has its answer at once: one lock, and nothing allocated for a future.
    Done(MutexGuard<'a, Data>),
    /// The [rest](State::rest) has to be waited for.
    Begun(LookedUp),
}

/// What was read is not to be used, or not without asking.
#[cold]
fn put_back(data: &mut Data, way: usize) -> LookedUp {
    data.base = Content::default();
    let Origin { id, key, signature, .. } = data.origin.take()?;
    Some((Presented { id, signature, way }, key))
}

impl State {
    /// The session's data, loaded on first use, however many ask and whenever.
    pub(crate) async fn loaded(&self) -> Result<MutexGuard<'_, Data>, Error> {
        self.flags.used.store(true, Relaxed);
        let looked_up = match self.begin_load() {
            Load::Done(data) => return Ok(data),
            Load::Begun(looked_up) => looked_up,
        };
        // In a box: the futures of all that ask are not to be as large.
        Box::pin(self.rest(looked_up)).await?;
        Ok(self.data())
    }

    /// The same for who needs no more than that it is loaded.
    pub(crate) async fn load(&self) -> Result<(), Error> {
        self.loaded().await.map(drop)
    }

    /// Loads what can be loaded without waiting. For the layer itself this is no use of the session.
    pub(crate) fn begin_load(&self) -> Load<'_> {
        let mut data = self.data();
        if self.is_loaded() {
            return Load::Done(data);
        }
        if self.loading.is_shut() {
            return Load::Begun(None);
        }
        let config = &*self.config;
        if let Some(Presented { id, signature, way }) = data.presented(config) {
            let key = config.key(&id);
            // What the application or a predecessor is asked about takes waiting.
            let plain = config.hooks.valid.is_none() && config.predecessor.is_none();
            let Some(store) = config.engine.at_hand(&config.limits).filter(|_| plain) else {
                return Load::Begun(Some((Presented { id, signature, way }, key)));
            };
            // In its place at once; nobody sees it before the lock is given back.
            let Data { origin, base, .. } = &mut *data;
            let origin = origin.insert(Origin::new(id, key, signature));
            match store.get(&origin.key).map(|kept| self.read_kept(kept, base)) {
                None => {
                    let key = data.origin.take().map(|origin| origin.key);
                    key.inspect(|key| self.take_note(&mut data, way, key));
                }
                Some(Ok(label)) if !self.is_over(base) => self.take_in(&mut data, way, label),
                _ => return Load::Begun(put_back(&mut data, way)),
            }
        } else if !config.engine.is_connected() {
            // Nobody to look up. But while the store is away nobody can be given a session either.
            return Load::Begun(None);
        }
        self.loaded.store(true, Release);
        Load::Done(data)
    }

    /// Loads alone. `looked_up`: whom, if that is known already.
    pub(crate) async fn rest(&self, looked_up: LookedUp) -> Result<(), Error> {
        let _alone = self.loading.enter().await;
        if self.is_loaded() {
            return Ok(());
        }
        let config = &*self.config;
        let looked_up = looked_up.or_else(|| {
            let presented = self.presented()?;
            let key = config.key(&presented.id);
            Some((presented, key))
        });
        let done = match looked_up {
            Some((presented, key)) => self.fetch(presented, key).await,
            None => self.wait_for_the_store().await,
        };
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
            Ok(None) if config.predecessor.is_some() => {
                take_over(self.config.shared(), &presented.id, &key).await
            }
            found => found,
        };
        let mut content = Content::default();
        let read = |found: Option<Record>| found.map(|record| self.read(record, &mut content)).transpose();
        let label = match found.and_then(read) {
            Ok(Some(label)) => label,
            Ok(None) => {
                self.once(|data| self.take_note(data, presented.way, &key));
                return Ok(());
            }
            Err(why) => return self.unreadable(presented, key, why).await,
        };
        let valid = !self.is_over(&content) && self.is_valid(&content).await?;
        let whose = (!valid).then(|| key.clone());
        let Presented { id, signature, way } = presented;
        self.once(|data| {
            data.origin = Some(Origin::new(id, key, signature));
            data.base = content;
            self.take_in(data, way, label);
        });
        if let Some(key) = whose {
            config.observer.invalid(&key);
            self.refuse();
        }
        Ok(())
    }

    /// Fills the data in, unless another load was faster.
    fn once(&self, fill: impl FnOnce(&mut Data)) {
        let mut data = self.data();
        if !self.is_loaded() {
            fill(&mut data);
        }
    }

    /// Reads what the store has found into `content`.
    fn read(&self, record: Record, content: &mut Content) -> Result<Label, StoreError> {
        let Record { tag, expires_at, principal, data } = record;
        let bytes = data.len();
        *content = self.config.codec.decode(data, &self.config.cookie).map_err(StoreError::corrupt)?;
        Ok(Label { tag, expires_at, principal, bytes })
    }

    /// The same of a record as a store in this process keeps it.
    #[inline]
    fn read_kept(&self, kept: Kept, content: &mut Content) -> Result<Label, StoreError> {
        let Kept { expires_at, principal, data } = kept;
        let Config { codec, cookie, .. } = &*self.config;
        let (tag, bytes) = (notes::tag(&data), notes::split(&data).0.len());
        // Not of a copy of them: they are shared with other threads, so each copy is counted twice.
        let read = codec.decode_noted(data, cookie);
        content.fill(read.map_err(StoreError::corrupt)?);
        Ok(Label { tag, expires_at, principal, bytes })
    }

    /// There is no such session.
    #[cold]
    fn take_note(&self, data: &mut Data, way: usize, key: &StoreKey) {
        self.config.observer.unknown(key);
        data.way = way;
        data.unknown = true;
    }

    /// The store has what has been read into the data, where they say that the session is.
    #[inline]
    fn take_in(&self, data: &mut Data, way: usize, label: Label) {
        let Label { tag, expires_at, principal, bytes } = label;
        data.way = way;
        if let Some(origin) = &mut data.origin {
            let sight = Sight { created: data.base.head.created, expires_at, bytes };
            self.config.observer.loaded(&origin.key, sight);
            (origin.tag, origin.expires_at) = (tag, expires_at);
        }
        data.base_principal = principal;
    }

    /// Asks the application.
    async fn is_valid(&self, content: &Content) -> Result<bool, Error> {
        let Some(hook) = &self.config.hooks.valid else { return Ok(true) };
        let cookie = content.head.cookie.as_deref().unwrap_or(&self.config.cookie).clone();
        let snapshot = Snapshot::new(content.object.clone(), cookie);
        let valid = hook(Candidate::new(self.parts(), snapshot)).await;
        valid.map_err(|source| Error::new(Kind::Hook { hook: "valid", source }))
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
            data.origin = Some(Origin::new(id, key, Signature::None));
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

//! One request's session: what was loaded, what has been changed since, and what is intended.
//!
//! Nothing here writes to the store. Locks are the standard library's, since none is held across an await.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use axum::http::{Extensions, HeaderMap, Request, request::Parts};
use tokio::sync::OnceCell;

use crate::{
    clock::Timestamp,
    codec::Content,
    config::Config,
    cookie::{CookieLife, CookieOptions},
    error::{Error, Kind, Operation, see},
    hooks::{Candidate, Failure, Snapshot, Verdict},
    id::{SessionId, StoreKey},
    lifetime::Life,
    object::{Object, merge},
    rules::{Action, Ending, Facts, decide},
    store::{StoreError, StoreErrorKind, Tag},
    takeover::take_over,
    transport::{Captured, Presented},
};

/// An id that wins over the transport's, put into the request's extensions by a layer outside of the session's
/// (the originals' `ctx.sessionId`). It is looked up like any other; one that the store does not know is
/// replaced.
///
/// ```
/// use axum::{extract::Request, middleware::Next, response::Response};
/// use axum_generic_session::{ForcedId, SessionId};
///
/// async fn by_ticket(mut request: Request, next: Next) -> Response {
///     if let Some(id) = request.uri().query().and_then(SessionId::parse) {
///         request.extensions_mut().insert(ForcedId(id));
///     }
///     next.run(request).await
/// }
/// ```
#[derive(Clone, Debug)]
pub struct ForcedId(pub SessionId);

/// The shared state behind every handle on one request's session.
pub(crate) struct State {
    pub(crate) config: Arc<Config>,
    /// The request's head, for hooks; absent where there are none.
    parts: Option<Arc<Parts>>,
    brought: OnceLock<Brought>,
    loaded: OnceCell<()>,
    /// One commit at a time. Held across the store's answer, which is why it is tokio's.
    pub(crate) committing: tokio::sync::Mutex<()>,
    pub(crate) flags: Flags,
    // Apart from `data`, so that `destroy()` may be called inside of an `update` closure.
    intent: Mutex<Intent>,
    data: Mutex<Data>,
}

/// What the request brought to name its session.
#[derive(Default)]
struct Brought {
    captured: Captured,
    forced: Option<SessionId>,
}

/// What has happened to the handle, apart from data.
#[derive(Default)]
pub(crate) struct Flags {
    /// The handler asked for something.
    pub(crate) used: AtomicBool,
    /// A layer has loaded the session before the handler ran.
    pub(crate) eager: AtomicBool,
    pub(crate) force_save: AtomicBool,
    pub(crate) prevent_save: AtomicBool,
    /// The response is on its way.
    pub(crate) closed: AtomicBool,
    /// The store failed and the error handler said to go on: there is nothing to save to.
    pub(crate) degraded: AtomicBool,
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Intent {
    pub(crate) ending: Ending,
    /// Counts the endings, so that data of before one are dropped when they are next looked at.
    epoch: u32,
}

/// Where in the store the session is.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) id: SessionId,
    pub(crate) key: StoreKey,
    pub(crate) tag: Tag,
    pub(crate) expires_at: Timestamp,
    /// Signed by a key that no longer signs.
    pub(crate) stale: bool,
}

/// What the client is owed once the response leaves.
#[derive(Clone)]
pub(crate) enum Owed {
    Cookie { id: SessionId, options: Option<Box<CookieOptions>>, life: CookieLife },
    Removal { options: Option<Box<CookieOptions>> },
}

/// What has been changed and is not stored.
#[derive(Clone, Default)]
pub(crate) struct Edits {
    pub(crate) object: Option<Object>,
    pub(crate) cookie: Option<Option<Box<CookieOptions>>>,
    pub(crate) principal: Option<Option<Box<str>>>,
    /// The whole session was replaced: on a conflict it is not merged.
    pub(crate) replaced: bool,
}

#[derive(Default)]
pub(crate) struct Data {
    pub(crate) origin: Option<Origin>,
    /// As stored.
    pub(crate) base: Content,
    pub(crate) base_principal: Option<Box<str>>,
    pub(crate) edits: Edits,
    /// Counts the edits, so that a commit sees those that came while it waited for the store.
    pub(crate) edition: u64,
    /// The edition that last replaced the whole session.
    pub(crate) replaced_in: u64,
    /// The request brought an id of no session.
    pub(crate) unknown: bool,
    /// Drawn for a session that is not stored yet.
    pub(crate) new_id: Option<SessionId>,
    pub(crate) owed: Option<Owed>,
    /// Which way of the transport the id came.
    pub(crate) way: usize,
    epoch: u32,
}

impl Data {
    pub(crate) fn object(&self) -> &Object {
        self.edits.object.as_ref().unwrap_or(&self.base.object)
    }

    pub(crate) fn object_mut(&mut self) -> &mut Object {
        self.edition += 1;
        self.edits.object.get_or_insert_with(|| self.base.object.clone())
    }

    pub(crate) fn cookie(&self) -> Option<&CookieOptions> {
        self.edits.cookie.as_ref().unwrap_or(&self.base.cookie).as_deref()
    }

    pub(crate) fn principal(&self) -> Option<&str> {
        self.edits.principal.as_ref().unwrap_or(&self.base_principal).as_deref()
    }

    /// Whether anything is not as it is stored; by value, so that what was undone is no change.
    pub(crate) fn is_changed(&self) -> bool {
        let Edits { object, cookie, principal, .. } = &self.edits;
        object.as_ref().is_some_and(|object| !self.base.object.same(object))
            || cookie.as_ref().is_some_and(|cookie| *cookie != self.base.cookie)
            || principal.as_ref().is_some_and(|principal| *principal != self.base_principal)
    }

    /// Whether nobody has put anything into it. Settings of the visitor's own are something: they must be there when
    /// the data come.
    pub(crate) fn is_empty(&self) -> bool {
        self.object().is_empty() && self.principal().is_none() && self.cookie().is_none()
    }

    pub(crate) fn set_cookie(&mut self, own: Option<Box<CookieOptions>>) {
        self.edits.cookie = Some(own);
        self.edition += 1;
    }

    pub(crate) fn set_principal(&mut self, principal: Option<Box<str>>) {
        self.edits.principal = Some(principal);
        self.edition += 1;
    }

    /// Puts another object in the session's place.
    pub(crate) fn replace(&mut self, object: Object) {
        self.edits.object = Some(object);
        self.edits.replaced = true;
        self.edition += 1;
        self.replaced_in = self.edition;
    }

    /// Goes back to an earlier object, and keeps what has been changed since `seen`.
    pub(crate) fn undo(&mut self, seen: &Object, before: &Object) {
        self.edits.object = Some(merge(seen, self.object(), before).object);
        self.edition += 1;
    }

    /// Forgets everything but where the old session is.
    fn start_anew(&mut self, epoch: u32) {
        self.edits = Edits {
            object: Some(Object::default()),
            cookie: Some(None),
            principal: Some(None),
            replaced: true,
        };
        self.new_id = None;
        self.edition += 1;
        self.replaced_in = self.edition;
        self.epoch = epoch;
    }
}

impl State {
    pub(crate) fn new(config: Arc<Config>, parts: Option<Arc<Parts>>) -> Self {
        Self {
            config,
            parts,
            brought: OnceLock::new(),
            loaded: OnceCell::new(),
            committing: tokio::sync::Mutex::new(()),
            flags: Flags::default(),
            intent: Mutex::default(),
            data: Mutex::default(),
        }
    }

    /// Takes from the request what names its session. The first to come wins.
    pub(crate) fn capture(&self, headers: &HeaderMap, extensions: &Extensions) {
        self.brought.get_or_init(|| Brought {
            captured: self.config.carrier.capture(headers),
            forced: extensions.get::<ForcedId>().map(|forced| forced.0.clone()),
        });
    }

    /// Says which session it is, where no request does.
    pub(crate) fn name(&self, id: SessionId) {
        self.brought.get_or_init(|| Brought { captured: Captured::default(), forced: Some(id) });
    }

    pub(crate) fn parts(&self) -> Arc<Parts> {
        self.parts.clone().unwrap_or_else(|| Arc::new(Request::new(()).into_parts().0))
    }

    pub(crate) fn intent(&self) -> Intent {
        *self.lock_intent()
    }

    pub(crate) fn intent_is(&self, ending: Ending) -> bool {
        self.intent().ending == ending
    }

    fn lock_intent(&self) -> MutexGuard<'_, Intent> {
        self.intent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The data as they are after the intents so far.
    pub(crate) fn data(&self) -> MutexGuard<'_, Data> {
        self.data_and_intent().0
    }

    /// The same, and the intents that they stand after.
    pub(crate) fn data_and_intent(&self) -> (MutexGuard<'_, Data>, Intent) {
        let mut data = self.data.lock().unwrap_or_else(PoisonError::into_inner);
        let intent = self.intent();
        if data.epoch != intent.epoch {
            data.start_anew(intent.epoch);
        }
        (data, intent)
    }

    pub(crate) fn is_used(&self) -> bool {
        self.flags.used.load(Relaxed)
    }

    /// Whether there may be anything to do at the end of the request.
    pub(crate) fn is_asked_for(&self) -> bool {
        self.is_used() || self.flags.eager.load(Relaxed)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.flags.closed.load(Relaxed)
    }

    pub(crate) fn is_loaded(&self) -> bool {
        self.loaded.initialized()
    }

    /// Ends the old session: what was in it is gone, what is written from now on is new.
    pub(crate) fn end(&self, ending: Ending) {
        self.flags.used.store(true, Relaxed);
        let mut intent = self.lock_intent();
        intent.ending = ending;
        intent.epoch += 1;
    }

    /// The session goes on under a new id; after an ending it has one already.
    pub(crate) fn renew(&self) {
        let mut intent = self.lock_intent();
        if intent.ending == Ending::None {
            intent.ending = Ending::Renewed;
        }
    }

    /// Drops what has been changed and intended: the response's status says that none of it counts.
    pub(crate) fn discard(&self) {
        self.lock_intent().ending = Ending::None;
        let mut data = self.data();
        data.edits = Edits::default();
        data.new_id = None;
    }

    /// The intent has been carried out; one that has come since stands.
    pub(crate) fn settle(&self, done: Intent) {
        let mut intent = self.lock_intent();
        if *intent == done {
            intent.ending = Ending::None;
        }
    }

    /// Loads the session, once, however many ask and whenever.
    pub(crate) async fn load(&self) -> Result<(), Error> {
        self.flags.used.store(true, Relaxed);
        self.load_quietly().await
    }

    /// The same for the layer itself, which is no use of the session.
    pub(crate) async fn load_quietly(&self) -> Result<(), Error> {
        self.loaded.get_or_try_init(|| self.fetch()).await.copied()
    }

    /// There is nothing to load: a session made for a test or outside of a request.
    #[cfg(feature = "testing")]
    pub(crate) fn loaded_as(&self, fill: impl FnOnce(&mut Data)) {
        fill(&mut self.data());
        // The only caller is the one who has just made the state.
        let _ = self.loaded.set(());
    }

    /// The id that the request brought. Whether there is such a session, only the store can tell.
    pub(crate) fn presented(&self) -> Option<Presented> {
        let brought = self.brought.get()?;
        match &brought.forced {
            Some(id) => Some(Presented { id: id.clone(), stale: false, way: 0 }),
            None => self.config.carrier.read(&brought.captured),
        }
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
                tracing::debug!(session = %key.handle(), "no such session: the visitor is new");
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
            tracing::error!(session = %key.handle(), error = %why, "a stored session is discarded");
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
                tracing::warn!(?operation, %error, "session request goes on after an error");
                self.flags.degraded.store(operation == Operation::Get, Relaxed);
                Ok(())
            }
        }
    }

    /// The id of the session as it will be after this request; drawn now if there is none yet.
    pub(crate) async fn id(&self) -> Result<SessionId, Error> {
        self.load().await?;
        {
            let data = self.data();
            match (&data.new_id, &data.origin) {
                (Some(id), _) => return Ok(id.clone()),
                (None, Some(origin)) if self.intent().ending == Ending::None => return Ok(origin.id.clone()),
                _ => {}
            }
        }
        let id = self.draw_id().await?;
        Ok(self.data().new_id.get_or_insert(id).clone())
    }

    pub(crate) async fn draw_id(&self) -> Result<SessionId, Error> {
        let Some(hook) = &self.config.hooks.gen_id else { return Ok(SessionId::random()) };
        let text =
            hook(self.parts()).await.map_err(|source| Error::new(Kind::Hook { hook: "gen_id", source }))?;
        SessionId::parse(&text).ok_or_else(|| {
            Error::new(Kind::Id(
                "`gen_id` must give 1 to 256 characters that may stand in a cookie (letters, digits, most signs)".into(),
            ))
        })
    }

    /// Whether the visitor has no stored session that goes on.
    pub(crate) fn is_new(&self) -> bool {
        let ended = !matches!(self.intent().ending, Ending::None | Ending::Renewed);
        ended || self.data().origin.is_none()
    }

    /// The facts for the finalizer, and the life that the session would have if it were saved now.
    pub(crate) fn facts(&self, data: &Data, intent: Intent, now: Timestamp) -> (Facts, Life) {
        let config = &*self.config;
        let goes_on = matches!(intent.ending, Ending::None | Ending::Renewed);
        let created = data.base.created.filter(|_| goes_on).unwrap_or(now);
        let life = config.lifetime.of(now, created, data.object(), &config.cookie, data.cookie());
        let origin = data.origin.as_ref();
        let ended = life.store <= now || matches!(life.cookie, CookieLife::Until(end) if end <= now);
        let facts = Facts {
            used: self.is_used() || self.flags.eager.load(Relaxed),
            prevent_save: self.flags.prevent_save.load(Relaxed),
            force_save: self.flags.force_save.load(Relaxed),
            known: origin.is_some(),
            ending: intent.ending,
            unknown: data.unknown,
            empty: data.is_empty(),
            changed: data.is_changed(),
            allow_empty: config.allow_empty,
            // What this request has saved needs no prolonging.
            rolling_due: data.owed.is_none()
                && origin.is_some_and(|o| config.lifetime.is_rolling_due(now, o.expires_at, life.store)),
            stale_signature: origin.is_some_and(|o| o.stale),
            expired: ended,
        };
        (facts, life)
    }
}

impl Drop for State {
    fn drop(&mut self) {
        // A request that was cut off loses its changes by design; one that went on after its response does not.
        if self.is_closed() && self.is_loaded() && !self.flags.degraded.load(Relaxed) {
            let (data, intent) = self.data_and_intent();
            let facts = Facts {
                used: true,
                prevent_save: self.flags.prevent_save.load(Relaxed),
                known: data.origin.is_some(),
                ending: intent.ending,
                empty: data.is_empty(),
                changed: data.is_changed(),
                ..Facts::default()
            };
            if decide(facts) != Action::Nothing {
                tracing::error!(
                    "a session was changed after its response had been sent and never saved: call `save().await`, or \
                     use `transact`{}",
                    see!("after_response")
                );
            }
        }
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("loaded", &self.is_loaded())
            .field("used", &self.is_used())
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

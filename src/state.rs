//! One request's session: what was loaded, what has been changed since, and what is intended.
//!
//! Nothing here writes to the store. Locks are the standard library's, since none is held across an await.

mod data;
mod gate;
mod load;
mod spare;

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{AcqRel, Acquire, Relaxed},
        },
    },
};

use axum::http::{Extensions, HeaderMap, Request, request::Parts};

pub(crate) use self::data::{Brought, Data, Edits, Origin, Owed};
pub(crate) use self::load::Load;
use self::{gate::Gate, spare::Settings};
use crate::{
    clock::Timestamp,
    config::Config,
    cookie::CookieLife,
    error::{Error, Kind, see},
    id::SessionId,
    lifetime::Life,
    rules::{Action, Ending, Facts, decide},
    transport::{Presented, Signature},
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
    pub(crate) config: Settings,
    /// The request's head, for hooks; absent where there are none.
    parts: Option<Arc<Parts>>,
    loaded: AtomicBool,
    /// One load at a time.
    loading: Gate,
    /// One commit at a time.
    pub(crate) committing: Gate,
    pub(crate) flags: Flags,
    // Apart from `data`, so that `destroy()` may be called inside of an `update` closure.
    intent: AtomicU64,
    data: Mutex<Data>,
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

/// An [`Intent`] in one word, since it is looked at more often than anything else.
impl From<Intent> for u64 {
    fn from(intent: Intent) -> Self {
        Self::from(intent.epoch) << 8 | intent.ending as Self
    }
}

impl From<u64> for Intent {
    fn from(word: u64) -> Self {
        let endings = [Ending::None, Ending::Destroyed, Ending::Regenerated, Ending::Renewed];
        Self { ending: endings[word as usize % endings.len()], epoch: (word >> 8) as u32 }
    }
}

impl State {
    #[inline]
    pub(crate) fn new(config: Arc<Config>, parts: Option<Arc<Parts>>) -> Self {
        Self {
            config: config.into(),
            parts,
            loaded: AtomicBool::new(false),
            loading: Gate::default(),
            committing: Gate::default(),
            flags: Flags::default(),
            intent: AtomicU64::new(0),
            data: Mutex::default(),
        }
    }

    /// The first to ask for the session takes from the request what names it.
    #[inline]
    pub(crate) fn open(&self, headers: &HeaderMap, extensions: &Extensions) {
        let mut data = self.data.lock().unwrap_or_else(PoisonError::into_inner);
        if data.brought.is_none() {
            data.brought = Some(Brought::by(&self.config, headers, extensions));
        }
    }

    /// The session of this id, outside of a request.
    pub(crate) fn of(config: Arc<Config>, id: SessionId) -> Self {
        let state = Self::new(config, None);
        state.data().brought = Some(Brought::Forced(id));
        state
    }

    pub(crate) fn parts(&self) -> Arc<Parts> {
        self.parts.clone().unwrap_or_else(|| Arc::new(Request::new(()).into_parts().0))
    }

    pub(crate) fn intent(&self) -> Intent {
        self.intent.load(Acquire).into()
    }

    pub(crate) fn intent_is(&self, ending: Ending) -> bool {
        self.intent().ending == ending
    }

    fn change_intent(&self, change: impl Fn(&mut Intent)) {
        let changed = |word: u64| {
            let mut intent = Intent::from(word);
            change(&mut intent);
            Some(intent.into())
        };
        // The closure never declines.
        let _ = self.intent.fetch_update(AcqRel, Acquire, changed);
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
        self.loaded.load(Acquire)
    }

    /// Ends the old session: what was in it is gone, what is written from now on is new.
    pub(crate) fn end(&self, ending: Ending) {
        self.flags.used.store(true, Relaxed);
        self.change_intent(|intent| {
            intent.ending = ending;
            intent.epoch = intent.epoch.wrapping_add(1);
        });
    }

    /// The session goes on under a new id; after an ending it has one already.
    pub(crate) fn renew(&self) {
        self.change_intent(|intent| {
            if intent.ending == Ending::None {
                intent.ending = Ending::Renewed;
            }
        });
    }

    /// Drops what has been changed and intended: the response's status says that none of it counts.
    pub(crate) fn discard(&self) {
        self.change_intent(|intent| intent.ending = Ending::None);
        let mut data = self.data();
        data.edits = Edits::default();
        data.new_id = None;
    }

    /// The intent has been carried out; one that has come since stands.
    pub(crate) fn settle(&self, done: Intent) {
        self.change_intent(|intent| {
            if *intent == done {
                intent.ending = Ending::None;
            }
        });
    }

    /// There is nothing to load: a session made for a test or outside of a request.
    #[cfg(feature = "testing")]
    pub(crate) fn loaded_as(&self, fill: impl FnOnce(&mut Data)) {
        fill(&mut self.data());
        self.loaded.store(true, Relaxed);
    }

    /// The id that the request brought. Whether there is such a session, only the store can tell.
    pub(crate) fn presented(&self) -> Option<Presented> {
        self.data().presented(&self.config)
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

    /// Whether nothing has come and nothing can have come to the session that was loaded, whatever the time is: a
    /// shorter way to the table's answer for a request that has only read.
    pub(crate) fn is_steady(&self, data: &Data, intent: Intent) -> bool {
        intent.ending == Ending::None
            && data.edits.is_empty()
            && data.base.head.cookie.is_none()
            && data.origin.as_ref().is_some_and(|origin| origin.signature != Signature::Stale)
            && !self.flags.force_save.load(Relaxed)
            && self.config.lifetime.is_steady()
    }

    /// Whether nothing has been changed or intended that is not stored.
    fn is_done(&mut self) -> bool {
        let intent = self.intent();
        let data = self.data.get_mut().unwrap_or_else(PoisonError::into_inner);
        intent.ending == Ending::None && data.epoch == intent.epoch && data.edits.is_empty()
    }

    /// The facts for the finalizer, and the life that the session would have if it were saved now.
    pub(crate) fn facts(&self, data: &Data, intent: Intent, now: Timestamp) -> (Facts, Life) {
        let config = &*self.config;
        let goes_on = matches!(intent.ending, Ending::None | Ending::Renewed);
        let created = data.base.head.created.filter(|_| goes_on).unwrap_or(now);
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
            stale_signature: origin.is_some_and(|o| o.signature == Signature::Stale),
            expired: ended,
        };
        (facts, life)
    }
}

impl Drop for State {
    fn drop(&mut self) {
        // A request that was cut off loses its changes by design; one that went on after its response does not.
        if !self.is_done() && self.is_closed() && self.is_loaded() && !self.flags.degraded.load(Relaxed) {
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

//! What of a session is asked and told without its data: nothing here is behind their lock.

use std::sync::{
    Arc,
    atomic::{
        AtomicBool, AtomicU64,
        Ordering::{AcqRel, Acquire, Relaxed},
    },
};

use axum::http::{Request, request::Parts};

use super::{Data, gate::Gate, spare::Settings};
use crate::{
    clock::Timestamp,
    config::Config,
    cookie::CookieLife,
    error::{Error, Kind},
    id::SessionId,
    lifetime::Life,
    rules::{Ending, Facts},
    transport::Signature,
};

/// By what a session goes, what is intended with it, and how far the request has come.
pub(crate) struct Frame {
    pub(crate) config: Settings,
    /// The request's head, for hooks; absent where there are none.
    pub(super) parts: Option<Arc<Parts>>,
    pub(super) loaded: AtomicBool,
    /// One load at a time.
    pub(super) loading: Gate,
    /// One commit at a time.
    pub(crate) committing: Gate,
    pub(crate) flags: Flags,
    // Apart from the data, so that `destroy()` may be called inside of an `update` closure.
    pub(super) intent: AtomicU64,
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
    pub(super) epoch: u32,
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

impl Frame {
    #[inline]
    pub(super) fn new(config: Arc<Config>, parts: Option<Arc<Parts>>) -> Self {
        Self {
            config: config.into(),
            parts,
            loaded: AtomicBool::new(false),
            loading: Gate::default(),
            committing: Gate::default(),
            flags: Flags::default(),
            intent: AtomicU64::new(0),
        }
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

    pub(super) fn change_intent(&self, change: impl Fn(&mut Intent)) {
        let changed = |word: u64| {
            let mut intent = Intent::from(word);
            change(&mut intent);
            Some(intent.into())
        };
        // The closure never declines.
        let _ = self.intent.fetch_update(AcqRel, Acquire, changed);
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

    /// The intent has been carried out; one that has come since stands.
    pub(crate) fn settle(&self, done: Intent) {
        self.change_intent(|intent| {
            if *intent == done {
                intent.ending = Ending::None;
            }
        });
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

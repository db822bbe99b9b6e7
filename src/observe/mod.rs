//! What happens to sessions, told from one place: to the log, and where somebody asks for it to the meters and the
//! inspector. The rest of the crate says what has happened, in one call each; without those two features such a call is
//! an event of `tracing` and nothing else.

#[cfg(feature = "inspector")]
pub(crate) mod journal;
mod watch;

use std::sync::Arc;

pub(crate) use self::watch::Watch;
#[cfg(feature = "metrics")]
use crate::metrics::SessionMeters;
use crate::{
    clock::Timestamp,
    error::{Error, Operation},
    id::StoreKey,
    store::StoreError,
};

/// What has happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(
    not(any(feature = "metrics", feature = "inspector")),
    allow(dead_code, reason = "nobody asks for more than the log")
)]
pub(crate) enum What {
    Created,
    Loaded,
    Saved,
    Touched,
    Rotated,
    Destroyed,
    Unknown,
    Invalid,
    Merged,
    Gone,
    Conflict,
    Failed,
}

impl What {
    #[cfg(any(feature = "metrics", feature = "inspector"))]
    pub(crate) const ALL: [Self; 12] = [
        Self::Created,
        Self::Loaded,
        Self::Saved,
        Self::Touched,
        Self::Rotated,
        Self::Destroyed,
        Self::Unknown,
        Self::Invalid,
        Self::Merged,
        Self::Gone,
        Self::Conflict,
        Self::Failed,
    ];

    /// What became of a request whose session could not be loaded or saved.
    #[cfg(any(feature = "metrics", feature = "inspector"))]
    fn of(error: &Error) -> Self {
        if error.is_gone() {
            Self::Gone
        } else if error.is_conflict() {
            Self::Conflict
        } else {
            Self::Failed
        }
    }
}

/// Where a session was before a version of it was written.
#[derive(Clone, Copy)]
pub(crate) enum Was<'a> {
    Nowhere,
    /// Where it is now.
    There,
    At(&'a StoreKey),
}

/// What a record told when it passed.
#[derive(Clone, Copy)]
#[cfg_attr(not(feature = "inspector"), allow(dead_code, reason = "the log and the meters need less"))]
pub(crate) struct Sight {
    pub(crate) created: Option<Timestamp>,
    pub(crate) expires_at: Timestamp,
    pub(crate) bytes: usize,
}

/// What a layer tells of its sessions.
#[derive(Clone)]
pub(crate) struct Observer {
    /// The cookie's name: it tells the layers of an application apart.
    cookie: Arc<str>,
    #[cfg(feature = "metrics")]
    meters: Arc<SessionMeters>,
    #[cfg(feature = "inspector")]
    watch: Watch,
}

#[cfg_attr(
    not(feature = "inspector"),
    allow(unused_variables, clippy::unused_self, reason = "the log and the meters need less")
)]
impl Observer {
    pub(crate) fn new(cookie: &str, watch: &Watch) -> Self {
        Self {
            cookie: cookie.into(),
            #[cfg(feature = "metrics")]
            meters: Arc::new(SessionMeters::new(cookie)),
            #[cfg(feature = "inspector")]
            watch: watch.clone(),
        }
    }

    /// A session was read from the store.
    pub(crate) fn loaded(&self, key: &StoreKey, sight: Sight) {
        tracing::trace!(session = %key.handle(), cookie = &*self.cookie, bytes = sight.bytes, "session loaded");
        self.note_sight(What::Loaded, key, sight);
    }

    /// A version of the session is in the store.
    pub(crate) fn stored(&self, was: Was<'_>, key: &StoreKey, sight: Sight) {
        let (what, outcome) = match was {
            Was::Nowhere => (What::Created, "created"),
            Was::There => (What::Saved, "updated"),
            Was::At(_) => (What::Rotated, "rotated"),
        };
        tracing::debug!(
            session = %key.handle(),
            cookie = &*self.cookie,
            outcome,
            bytes = sight.bytes,
            "session saved"
        );
        if let Was::At(old) = was {
            self.note_end(old);
        }
        self.note_sight(what, key, sight);
        #[cfg(feature = "metrics")]
        self.meters.size(sight.bytes);
    }

    /// The session's life was extended.
    pub(crate) fn touched(&self, key: &StoreKey, expires_at: Timestamp) {
        tracing::debug!(session = %key.handle(), cookie = &*self.cookie, outcome = "touched", "session saved");
        self.note(What::Touched, Some(key));
        #[cfg(feature = "inspector")]
        if let Some(journal) = self.watch.journal() {
            journal.extended(key, expires_at);
        }
    }

    /// The session has ended by the application's will, or the operator's.
    pub(crate) fn destroyed(&self, key: &StoreKey) {
        tracing::debug!(session = %key.handle(), cookie = &*self.cookie, "session destroyed");
        self.note_end(key);
        self.note(What::Destroyed, Some(key));
    }

    /// So many sessions of a principal have ended; the store does not say which.
    pub(crate) fn destroyed_of(&self, number: u64) {
        tracing::debug!(cookie = &*self.cookie, ended = number, "sessions of a principal destroyed");
        for _ in 0..number {
            self.note(What::Destroyed, None);
        }
    }

    /// Nobody knows a session of the id that was brought, or not any more.
    pub(crate) fn unknown(&self, key: &StoreKey) {
        tracing::debug!(session = %key.handle(), cookie = &*self.cookie, "no such session: the visitor is new");
        self.note_end(key);
        self.note(What::Unknown, Some(key));
    }

    /// One that was to be extended has ended meanwhile.
    pub(crate) fn not_touched(&self, key: &StoreKey) {
        tracing::debug!(
            session = %key.handle(),
            cookie = &*self.cookie,
            "a session that has ended was not extended"
        );
        self.note_end(key);
    }

    /// The application's `valid` hook, or the absolute timeout, has ended it.
    pub(crate) fn invalid(&self, key: &StoreKey) {
        tracing::debug!(session = %key.handle(), cookie = &*self.cookie, "a session is not valid any more");
        self.note(What::Invalid, Some(key));
    }

    /// What is stored cannot be read, and the layer is to end such sessions.
    pub(crate) fn discarded(&self, key: &StoreKey, why: &StoreError) {
        tracing::error!(
            session = %key.handle(),
            cookie = &*self.cookie,
            error = %why,
            "a stored session is discarded"
        );
        self.note(What::Failed, Some(key));
        #[cfg(feature = "metrics")]
        self.meters.error(why.kind().name());
    }

    /// Moved over from the predecessor.
    pub(crate) fn taken_over(&self, key: &StoreKey) {
        tracing::debug!(session = %key.handle(), cookie = &*self.cookie, "session taken over");
    }

    /// Another request had saved meanwhile; this one's changes were put onto what it wrote.
    pub(crate) fn merged(&self, key: &StoreKey, clashes: usize) {
        if clashes > 0 {
            tracing::debug!(
                session = %key.handle(),
                cookie = &*self.cookie,
                keys = clashes,
                "two requests changed the same keys of a session; the later one wins"
            );
        }
        self.note(What::Merged, Some(key));
    }

    /// A load or a commit was refused or failed. Its text is logged by whoever answers.
    pub(crate) fn failed(&self, key: Option<&StoreKey>, error: &Error) {
        #[cfg(feature = "metrics")]
        match What::of(error) {
            What::Failed => self.meters.error(error.kind_name()),
            _ => self.meters.refusal(error.kind_name()),
        }
        #[cfg(feature = "inspector")]
        if let Some(journal) = self.watch.journal() {
            journal.failed(What::of(error), key, error.kind_name());
        }
    }

    /// An operation failed, and the request goes on without it.
    pub(crate) fn went_on(&self, operation: Operation, error: &Error) {
        tracing::warn!(
            cookie = &*self.cookie,
            operation = operation.name(),
            kind = error.kind_name(),
            %error,
            "session request goes on after an error"
        );
        // What fails in a commit has been told by the commit.
        if matches!(operation, Operation::Get | Operation::Touch) {
            self.failed(None, error);
        }
    }

    fn note_sight(&self, what: What, key: &StoreKey, sight: Sight) {
        self.note(what, Some(key));
        #[cfg(feature = "inspector")]
        if let Some(journal) = self.watch.journal() {
            journal.seen(what, key, sight);
        }
    }

    fn note_end(&self, key: &StoreKey) {
        #[cfg(feature = "inspector")]
        if let Some(journal) = self.watch.journal() {
            journal.ended(key);
        }
    }

    fn note(&self, what: What, key: Option<&StoreKey>) {
        #[cfg(feature = "metrics")]
        self.meters.count(what);
        #[cfg(feature = "inspector")]
        if let Some(journal) = self.watch.journal() {
            journal.note(what, key);
        }
    }
}

//! One request's session: what was loaded, what has been changed since, and what is intended.
//!
//! Nothing here writes to the store. Locks are the standard library's, since none is held across an await.

mod data;
mod frame;
mod gate;
mod load;
mod spare;

use std::{
    fmt,
    ops::Deref,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering::Relaxed},
};

use axum::http::{Extensions, HeaderMap, request::Parts};

pub(crate) use self::{
    data::{Brought, Data, Due, Edits, Origin, Owed},
    frame::{Frame, Intent},
    load::Load,
};
use crate::{
    config::Config,
    error::{Error, see},
    id::SessionId,
    rules::{Action, Ending, Facts, decide},
    transport::Presented,
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
    frame: Frame,
    data: Mutex<Data>,
}

impl Deref for State {
    type Target = Frame;

    #[inline]
    fn deref(&self) -> &Frame {
        &self.frame
    }
}

impl State {
    #[inline]
    pub(crate) fn new(config: Arc<Config>, parts: Option<Arc<Parts>>) -> Self {
        Self { frame: Frame::new(config, parts), data: Mutex::default() }
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

    /// The data as they are after the intents so far.
    pub(crate) fn data(&self) -> MutexGuard<'_, Data> {
        self.data_and_intent().0
    }

    /// The same, and the intents that they stand after.
    pub(crate) fn data_and_intent(&self) -> (MutexGuard<'_, Data>, Intent) {
        let mut data = self.data.lock().unwrap_or_else(PoisonError::into_inner);
        let intent = self.intent();
        data.follow(intent);
        (data, intent)
    }

    /// The same for who has the state alone: nothing is locked.
    pub(crate) fn parted(&mut self) -> (&Frame, &mut Data, Intent) {
        let Self { frame, data } = self;
        let data = data.get_mut().unwrap_or_else(PoisonError::into_inner);
        let intent = frame.intent();
        data.follow(intent);
        (frame, data, intent)
    }

    /// Drops what has been changed and intended: the response's status says that none of it counts.
    pub(crate) fn discard(&self) {
        self.change_intent(|intent| intent.ending = Ending::None);
        let mut data = self.data();
        data.edits = Edits::default();
        data.new_id = None;
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

    /// Whether the visitor has no stored session that goes on.
    pub(crate) fn is_new(&self) -> bool {
        let ended = !matches!(self.intent().ending, Ending::None | Ending::Renewed);
        ended || self.data().origin.is_none()
    }

    /// Whether nothing has been changed or intended that is not stored.
    fn is_done(&mut self) -> bool {
        let intent = self.intent();
        let data = self.data.get_mut().unwrap_or_else(PoisonError::into_inner);
        intent.ending == Ending::None && data.follows(intent) && data.edits.is_empty()
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

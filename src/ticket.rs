//! What a request carries until somebody asks for its session: most never do, and pay for no more than this.

use std::{
    cell::RefCell,
    marker::PhantomData,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering::Relaxed},
};

use axum::http::{Extensions, HeaderMap, request::Parts};

use crate::{
    config::Config,
    state::{Brought, State},
};

/// So many spare tickets are kept by a thread.
const SPARE: usize = 64;

thread_local! {
    static TICKETS: RefCell<Vec<Arc<Ticket>>> = const { RefCell::new(Vec::new()) };
}

/// Where a request carries its session of kind `K`.
pub(crate) struct Slot<K> {
    config: Arc<Config>,
    /// The request's head, for hooks; absent where there are none.
    parts: Option<Arc<Parts>>,
    ticket: Arc<Ticket>,
    kind: PhantomData<fn() -> K>,
}

impl<K> Slot<K> {
    pub(crate) fn new(config: Arc<Config>, parts: Option<Arc<Parts>>, ticket: Arc<Ticket>) -> Self {
        Self { config, parts, ticket, kind: PhantomData }
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// The request's session, if somebody has asked for it.
    pub(crate) fn opened(&self) -> Option<Arc<State>> {
        self.ticket.lock().state.clone()
    }

    /// The request's session. The first to ask takes from the request what names it.
    pub(crate) fn open(&self, headers: &HeaderMap, extensions: &Extensions) -> Arc<State> {
        let mut seen = self.ticket.lock();
        if let Some(state) = &seen.state {
            return state.clone();
        }
        let brought = Brought::by(&self.config, headers, extensions);
        let state = Arc::new(State::new(self.config.clone(), self.parts.clone(), brought));
        if seen.closed {
            state.flags.closed.store(true, Relaxed);
        }
        seen.state.insert(state).clone()
    }
}

impl<K> Clone for Slot<K> {
    fn clone(&self) -> Self {
        Self::new(self.config.clone(), self.parts.clone(), self.ticket.clone())
    }
}

/// Where the layer finds, when the handler has answered, what it did with the session.
#[derive(Default)]
pub(crate) struct Ticket(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    state: Option<Arc<State>>,
    /// The response was on its way before anybody had asked.
    closed: bool,
}

impl Ticket {
    /// A ticket that nobody has asked anything yet: one that is left of an earlier request, or a new one.
    pub(crate) fn take() -> Arc<Self> {
        let spare = TICKETS.try_with(|tickets| tickets.borrow_mut().pop());
        spare.ok().flatten().unwrap_or_default()
    }

    /// The application's own code runs under the lock where an id is taken from the request: if that panics, nothing has
    /// been written yet.
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session, if anybody has asked for it; or it is written down that the response is on its way.
    pub(crate) fn finish(mut self: Arc<Self>) -> Option<Arc<State>> {
        if let Some(own) = Arc::get_mut(&mut self) {
            // The request and all copies of it are gone: nobody can ask any more, and nothing is left in it.
            let state = own.0.get_mut().unwrap_or_else(PoisonError::into_inner).state.take();
            let _ = TICKETS.try_with(|tickets| {
                let mut tickets = tickets.borrow_mut();
                if tickets.len() < SPARE {
                    tickets.push(self);
                }
            });
            return state;
        }
        let mut seen = self.lock();
        seen.closed = seen.state.is_none();
        seen.state.clone()
    }
}

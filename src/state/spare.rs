//! States that are used again: what is left of one request is the room for another one's session.

use std::{
    cell::RefCell,
    ops::Deref,
    sync::{
        Arc, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use axum::http::request::Parts;

use super::{Data, Flags, State};
use crate::config::Config;

/// So many are kept by a thread.
const SPARE: usize = 64;

thread_local! {
    static STATES: RefCell<Vec<Arc<State>>> = const { RefCell::new(Vec::new()) };
}

/// Whose settings a state goes by. None while it is spare, so that no store is kept open by what waits for its next request.
pub(crate) struct Settings(Option<Arc<Config>>);

impl Settings {
    #[allow(clippy::panic, reason = "a spare state is out of everybody's reach")]
    pub(super) fn shared(&self) -> &Arc<Config> {
        match &self.0 {
            Some(config) => config,
            None => panic!("a spare session was used"),
        }
    }
}

impl Deref for Settings {
    type Target = Config;

    fn deref(&self) -> &Config {
        self.shared()
    }
}

impl From<Arc<Config>> for Settings {
    fn from(config: Arc<Config>) -> Self {
        Self(Some(config))
    }
}

impl State {
    /// A state that nobody has asked anything yet: one that is left of an earlier request, or a new one.
    pub(crate) fn take(config: Arc<Config>, parts: Option<Arc<Parts>>) -> Arc<Self> {
        let spare = STATES.try_with(|states| states.borrow_mut().pop());
        if let Ok(Some(mut state)) = spare
            && let Some(own) = Arc::get_mut(&mut state)
        {
            own.config = config.into();
            own.parts = parts;
            return state;
        }
        Arc::new(Self::new(config, parts))
    }

    /// The response is on its way, and with no other handle on its state nothing of that is needed any more.
    pub(crate) fn give_back(mut state: Arc<Self>) {
        let Some(own) = Arc::get_mut(&mut state) else {
            state.flags.closed.store(true, Relaxed);
            return;
        };
        let asked_for = own.data.get_mut().ok().map(|data| data.brought.is_some());
        match asked_for {
            Some(false) => {}
            // What is left may have to be told when it is dropped.
            Some(true) if own.is_done() => own.forget(),
            // Somebody has panicked: nothing is built upon that.
            _ => return,
        }
        (own.config, own.parts) = (Settings(None), None);
        let _ = STATES.try_with(|states| {
            let mut states = states.borrow_mut();
            if states.len() < SPARE {
                states.push(state);
            }
        });
    }

    /// Nothing of one visitor's may be there for the next one: each field is named, and made anew as a whole.
    fn forget(&mut self) {
        let Self { config: _, parts: _, loaded, loading: _, committing: _, flags, intent, data } = self;
        // Whoever was behind a gate has borrowed the state.
        *loaded = AtomicBool::default();
        *flags = Flags::default();
        *intent = AtomicU64::default();
        let data = data.get_mut().unwrap_or_else(PoisonError::into_inner);
        let room = data.base.object.take_room();
        *data = Data::default();
        data.base.object.give_room(room);
    }
}

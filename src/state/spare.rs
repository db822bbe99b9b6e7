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

use super::{Frame, State, frame::Flags};
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
            own.frame.config = config.into();
            own.frame.parts = parts;
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
        if own.clear() {
            Self::keep(state);
        }
    }

    /// Forgets this request. Whether the state may be used for another one.
    #[inline]
    pub(crate) fn clear(&mut self) -> bool {
        let asked_for = self.data.get_mut().ok().map(|data| data.brought.is_some());
        match asked_for {
            Some(false) => {}
            // What is left may have to be told when it is dropped.
            Some(true) if self.is_done() => self.forget(),
            // Somebody has panicked: nothing is built upon that.
            _ => return false,
        }
        (self.frame.config, self.frame.parts) = (Settings(None), None);
        true
    }

    /// Keeps a state that has been [cleared](Self::clear).
    #[inline]
    pub(crate) fn keep(state: Arc<Self>) {
        let _ = STATES.try_with(|states| {
            let mut states = states.borrow_mut();
            if states.len() < SPARE {
                states.push(state);
            }
        });
    }

    /// Nothing of one visitor's may be there for the next one: each field is named, or this does not compile.
    fn forget(&mut self) {
        let Self {
            frame: Frame { config: _, parts: _, loaded, loading: _, committing: _, flags, intent },
            data,
        } = self;
        // Whoever was behind a gate has borrowed the state.
        *loaded = AtomicBool::default();
        *flags = Flags::default();
        *intent = AtomicU64::default();
        data.get_mut().unwrap_or_else(PoisonError::into_inner).forget();
    }
}

#[cfg(all(test, feature = "memory-store"))]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::{super::Intent, *};
    use crate::{MemoryStore, SessionId, SessionLayer, object::Object, rules::Ending, state::Brought};

    /// Settings, on a thread that has kept no state yet.
    fn fresh() -> Arc<Config> {
        STATES.with_borrow_mut(Vec::clear);
        SessionLayer::new(MemoryStore::new()).ready().expect("the defaults")
    }

    /// A state that somebody has asked for.
    fn opened(config: &Arc<Config>) -> Arc<State> {
        let state = State::take(config.clone(), None);
        state.data().brought = Some(Brought::Forced(SessionId::random()));
        state
    }

    fn kept() -> usize {
        STATES.with_borrow(Vec::len)
    }

    #[test]
    fn it_is_as_new() {
        let config = fresh();
        let state = opened(&config);
        let place = Arc::as_ptr(&state);
        state.end(Ending::Regenerated);
        state.data().replace(Object::default());
        state.settle(state.intent());
        state.discard();
        for flag in [&state.flags.eager, &state.flags.force_save, &state.flags.prevent_save] {
            flag.store(true, Relaxed);
        }
        state.loaded.store(true, Relaxed);
        State::give_back(state);
        assert_eq!((kept(), Arc::strong_count(&config)), (1, 1));
        let again = State::take(config.clone(), None);
        assert_eq!(Arc::as_ptr(&again), place);
        assert!(again.intent() == Intent::default());
        let Flags { used, eager, force_save, prevent_save, closed, degraded } = &again.flags;
        for flag in [used, eager, force_save, prevent_save, closed, degraded, &again.loaded] {
            assert!(!flag.load(Relaxed));
        }
        let data = again.data();
        assert!(
            data.brought.is_none() && data.origin.is_none() && data.edition == 0 && data.edits.is_empty()
        );
    }

    #[test]
    fn what_is_not_done_is_not_used_again() {
        let config = fresh();
        let changed = opened(&config);
        changed.data().replace(Object::default());
        State::give_back(changed);
        assert_eq!(kept(), 0);
        let ended = opened(&config);
        ended.end(Ending::Destroyed);
        State::give_back(ended);
        assert_eq!(kept(), 0);
        let broken = opened(&config);
        let panics = catch_unwind(AssertUnwindSafe(|| {
            let _data = broken.data();
            panic!("on purpose");
        }));
        assert!(panics.is_err());
        State::give_back(broken);
        assert_eq!(kept(), 0);
    }

    #[test]
    fn no_more_are_kept_than_a_thread_needs() {
        let config = fresh();
        let states: Vec<_> = (0..SPARE + 3).map(|_| State::take(config.clone(), None)).collect();
        states.into_iter().for_each(State::give_back);
        assert_eq!((kept(), Arc::strong_count(&config)), (SPARE, 1));
    }
}

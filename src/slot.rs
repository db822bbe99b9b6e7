//! Where a request carries its session until somebody asks for it: most never do, and pay for no more than this.

use std::{marker::PhantomData, sync::Arc};

use axum::http::{Extensions, HeaderMap};

use crate::state::State;

/// The session of kind `K` in a request's extensions.
pub(crate) struct Slot<K> {
    state: Arc<State>,
    kind: PhantomData<fn() -> K>,
}

impl<K> Slot<K> {
    pub(crate) fn new(state: Arc<State>) -> Self {
        Self { state, kind: PhantomData }
    }

    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// The request's session. The first to ask takes from the request what names it.
    pub(crate) fn open(&self, headers: &HeaderMap, extensions: &Extensions) -> Arc<State> {
        self.state.open(headers, extensions);
        self.state.clone()
    }
}

impl<K> Clone for Slot<K> {
    fn clone(&self) -> Self {
        Self::new(self.state.clone())
    }
}

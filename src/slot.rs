//! Where a request carries its session until somebody asks for it: most never do, and pay for no more than this.

use std::{
    marker::PhantomData,
    sync::{Arc, LazyLock},
};

use axum::http::{Extensions, HeaderMap};

use crate::state::State;

/// None, in a table with room for seven, which a clone of it has, too. A layer around a router is the first to put anything there;
/// with axum's own three a table that had begun small would have to grow, in each request.
static ROOMY: LazyLock<Extensions> = LazyLock::new(|| {
    let mut extensions = Extensions::new();
    extensions.insert([(); 0]);
    extensions.insert([(); 1]);
    extensions.insert([(); 2]);
    extensions.insert([(); 3]);
    extensions.clear();
    extensions
});

// Not inlined: in a router it is not run.
#[inline(never)]
fn roomy() -> Extensions {
    ROOMY.clone()
}

/// The session of kind `K` in a request's extensions.
pub(crate) struct Slot<K> {
    state: Arc<State>,
    kind: PhantomData<fn() -> K>,
}

impl<K> Slot<K> {
    pub(crate) fn new(state: Arc<State>) -> Self {
        Self { state, kind: PhantomData }
    }

    /// Puts it there. Returns what was there before.
    pub(crate) fn put(self, extensions: &mut Extensions) -> Option<Self>
    where
        K: 'static,
    {
        if extensions.is_empty() {
            *extensions = roomy();
        }
        extensions.insert(self)
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

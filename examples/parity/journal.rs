//! What happened, in order, and in which request.

use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

tokio::task_local! {
    /// The number that the player has given the request that is being served.
    pub(crate) static STEP: u64;
}

/// The calls of the store and of the hooks since the last reset.
#[derive(Default)]
pub(crate) struct Journal(Mutex<Vec<Value>>);

impl Journal {
    /// Notes an event. Work that a commit has handed to the runtime belongs to no request (0).
    pub(crate) fn note(&self, mut event: Value) {
        event["req"] = json!(STEP.try_with(|step| *step).unwrap_or(0));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(event);
    }

    pub(crate) fn events(&self) -> Vec<Value> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

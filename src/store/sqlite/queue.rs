//! The calls that wait for a thread: bounded, so that a locked database fails calls instead of piling them up.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::store::StoreError;

/// How many calls may wait.
const CAPACITY: usize = 1024;

#[derive(Debug)]
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    wake: Condvar,
}

#[derive(Debug)]
struct State<T> {
    waiting: VecDeque<T>,
    closed: bool,
}

impl<T> Queue<T> {
    pub(super) fn new() -> Self {
        Self { state: Mutex::new(State { waiting: VecDeque::new(), closed: false }), wake: Condvar::new() }
    }

    pub(super) fn push(&self, item: T) -> Result<(), StoreError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.closed {
            return Err(StoreError::unavailable("the store has been closed"));
        }
        if state.waiting.len() >= CAPACITY {
            return Err(StoreError::unavailable(format!("{CAPACITY} calls are waiting for the database")));
        }
        state.waiting.push_back(item);
        drop(state);
        self.wake.notify_one();
        Ok(())
    }

    /// Takes up to `most` items into `taken`, waiting for the first until `patience` is over.
    /// `false`: the queue is closed and empty.
    pub(super) fn take(&self, most: usize, patience: Duration, taken: &mut Vec<T>) -> bool {
        let end = Instant::now() + patience;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while state.waiting.is_empty() && !state.closed {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            state = self.wake.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let count = most.min(state.waiting.len());
        taken.extend(state.waiting.drain(..count));
        count > 0 || !state.closed
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).waiting.len()
    }

    /// Lets nobody in any more; who waits is still served.
    pub(super) fn close(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.wake.notify_all();
    }

    /// Closes, and sends away who waits.
    pub(super) fn abandon(&self) {
        self.close();
        self.state.lock().unwrap_or_else(PoisonError::into_inner).waiting.clear();
    }
}

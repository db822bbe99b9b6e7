//! Places where requests and store calls wait until the player lets them go on: races happen in a given order.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::timeout};

/// Who waits at a barrier: its place in the order, and what holds it.
type Waiting = (u64, Arc<Gate>);

/// Longer than any scenario waits: a place that nobody comes to is told to the player instead of blocking it.
const PATIENCE: Duration = Duration::from_secs(5);

/// The gates by name, and how many requests have come in.
pub(crate) struct Gates {
    named: Mutex<HashMap<String, Arc<Gate>>>,
    barriers: Mutex<HashMap<String, Vec<Waiting>>>,
    entered: watch::Sender<u64>,
}

struct Gate {
    reached: watch::Sender<bool>,
    open: watch::Sender<bool>,
}

impl Gate {
    fn new() -> Self {
        Self { reached: watch::Sender::new(false), open: watch::Sender::new(false) }
    }

    async fn pass(&self) {
        self.reached.send_replace(true);
        // The sender is `self`, so that the wait cannot fail.
        let _ = self.open.subscribe().wait_for(|open| *open).await;
    }
}

impl Gates {
    pub(crate) fn new() -> Self {
        Self { named: Mutex::default(), barriers: Mutex::default(), entered: watch::Sender::new(0) }
    }

    fn gate(&self, name: &str) -> Arc<Gate> {
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        named.entry(name.to_owned()).or_insert_with(|| Arc::new(Gate::new())).clone()
    }

    /// Waits until the gate is opened.
    pub(crate) async fn pass(&self, name: &str) {
        self.gate(name).pass().await;
    }

    /// Lets everybody through, now and later.
    pub(crate) fn open(&self, name: &str) {
        self.gate(name).open.send_replace(true);
    }

    /// Waits until somebody stands at the gate.
    pub(crate) async fn reached(&self, name: &str) -> bool {
        let mut reached = self.gate(name).reached.subscribe();
        timeout(PATIENCE, reached.wait_for(|reached| *reached)).await.is_ok()
    }

    /// Counts a request in.
    pub(crate) fn enter(&self) {
        self.entered.send_modify(|n| *n += 1);
    }

    /// Waits until so many requests have come in.
    pub(crate) async fn entered(&self, n: u64) -> bool {
        timeout(PATIENCE, self.entered.subscribe().wait_for(|entered| *entered >= n)).await.is_ok()
    }

    /// Waits until `n` requests have come here; then they go on, one after another, in their `order`.
    pub(crate) async fn meet(&self, name: &str, n: usize, order: u64) {
        let mine = Arc::new(Gate::new());
        {
            let mut barriers = self.barriers.lock().unwrap_or_else(PoisonError::into_inner);
            let waiting = barriers.entry(name.to_owned()).or_default();
            waiting.push((order, mine.clone()));
            if waiting.len() >= n {
                waiting.sort_by_key(|(order, _)| *order);
                for (_, gate) in waiting.drain(..) {
                    gate.open.send_replace(true);
                }
            }
        }
        mine.pass().await;
    }
}

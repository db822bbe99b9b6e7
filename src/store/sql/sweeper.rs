//! The task that deletes expired rows, for engines that do not do it themselves.

use std::{future::Future, time::Duration};

use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::spread;
use crate::store::StoreError;

/// Rows a batch deletes at most: few enough that nobody waits for its locks.
const BATCH: u32 = 500;
/// The pause between two full batches: the engine has other work.
const PAUSE: Duration = Duration::from_millis(50);
/// How long one batch may take before it is given up: a server that hangs must not hang the sweeper.
const LIMIT: Duration = Duration::from_secs(30);

/// A store whose expired rows somebody has to delete.
pub(in crate::store) trait Sweep: Send + Sync + 'static {
    fn sweep_batch(&self, batch: u32) -> impl Future<Output = Result<u64, StoreError>> + Send;
    /// Whether the store will never answer again.
    fn is_closed(&self) -> bool;
}

/// A background task that deletes expired sessions from a SQL store, in small batches.
///
/// It stops when this handle is dropped, so keep the handle as long as the application runs. An outage
/// does not end it: it warns once and goes on when the server is back. Every node may run one. Expired
/// sessions are gone for every reader whether or not they have been swept: sweeping only frees their space.
#[must_use = "the sweeper stops when its handle is dropped"]
#[derive(Debug)]
pub struct Sweeper {
    task: JoinHandle<()>,
}

impl Sweeper {
    /// Sweeps about every `every`; the moments are spread, so that several nodes do not sweep together.
    pub(in crate::store) fn start(store: impl Sweep, every: Duration) -> Self {
        Self { task: tokio::spawn(run(store, every)) }
    }

    /// Stops the sweeper and waits until it has let go of its connection.
    pub async fn stop(mut self) {
        self.task.abort();
        // The only error is the cancellation that was asked for.
        (&mut self.task).await.ok();
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(store: impl Sweep, every: Duration) {
    let mut failing = false;
    while !store.is_closed() {
        sleep(spread(every)).await;
        let swept = sweep_all(&store).await;
        match &swept {
            Ok(()) if failing => tracing::info!("expired sessions are being swept again"),
            Err(error) if !failing => tracing::warn!(%error, "expired sessions cannot be swept for now"),
            _ => {}
        }
        failing = swept.is_err();
    }
}

async fn sweep_all(store: &impl Sweep) -> Result<(), StoreError> {
    loop {
        let swept = timeout(LIMIT, store.sweep_batch(BATCH))
            .await
            .map_err(|_| StoreError::in_doubt("the server did not answer in 30 seconds"))??;
        if swept < u64::from(BATCH) {
            return Ok(());
        }
        sleep(PAUSE).await;
    }
}

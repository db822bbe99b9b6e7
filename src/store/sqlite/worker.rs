//! The threads that own the connections: several that read, one that writes.
//!
//! One writer, since SQLite lets only one write at a time: writers that race on connections of their own
//! sleep in its busy handler while the lock is free. The writer commits what waits for it together, so that
//! one `fsync` serves many; nobody is answered before the commit.

use std::{
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::{oneshot, watch};

use super::{queue::Queue, store_error};
use crate::store::{StoreError, sql::spread};

/// How many writes share a commit at most.
const TOGETHER: usize = 64;
/// Rows that one sweep deletes at most: about a millisecond of the writer's time.
const BATCH: u32 = 200;
/// The pause after a full batch, in which others write.
const PAUSE: Duration = Duration::from_millis(10);
/// A reader has nothing to do in between.
const FOREVER: Duration = Duration::from_secs(3600);

/// A call as its thread sees it.
pub(super) trait Job: Send {
    /// Runs the statements. What they answered is kept until [`finish`](Self::finish); a job may run again if
    /// the transaction around it was rolled back.
    fn run(&mut self, connection: &Connection) -> Result<(), StoreError>;
    /// Answers the caller: with what the last run kept, or with why it failed.
    fn finish(self: Box<Self>, ran: Result<(), StoreError>);
    /// When the call was made, unless nobody waits for its answer any more.
    fn since(&self) -> Option<Instant>;
}

pub(super) type Jobs = Queue<Box<dyn Job>>;

struct Call<W, T> {
    work: W,
    kept: Option<T>,
    reply: oneshot::Sender<Result<T, StoreError>>,
    since: Instant,
}

impl<W, T> Job for Call<W, T>
where
    W: FnMut(&Connection) -> Result<T, StoreError> + Send,
    T: Send,
{
    fn run(&mut self, connection: &Connection) -> Result<(), StoreError> {
        self.kept = Some((self.work)(connection)?);
        Ok(())
    }

    fn finish(self: Box<Self>, ran: Result<(), StoreError>) {
        let answer = match (ran, self.kept) {
            (Ok(()), Some(kept)) => Ok(kept),
            (Ok(()), None) => return,
            (Err(error), _) => Err(error),
        };
        // Whoever has given up waiting does not want it.
        self.reply.send(answer).ok();
    }

    fn since(&self) -> Option<Instant> {
        (!self.reply.is_closed()).then_some(self.since)
    }
}

/// Has a thread of `jobs` do the work, and waits for its answer.
pub(super) async fn call<T: Send + 'static>(
    jobs: &Jobs,
    work: impl FnMut(&Connection) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let (reply, answer) = oneshot::channel();
    jobs.push(Box::new(Call { work, kept: None, reply, since: Instant::now() }))?;
    answer.await.unwrap_or_else(|_| Err(StoreError::in_doubt("the thread of the database has ended")))
}

/// A thread's end of the store.
pub(super) struct Worker {
    pub(super) connection: Connection,
    pub(super) jobs: Arc<Jobs>,
    /// How long a call may wait, here and in SQLite's busy handler each.
    pub(super) patience: Duration,
    /// Dropped last: [`close`](super::SqliteStore::close) waits for it.
    pub(super) _running: watch::Receiver<()>,
}

impl Drop for Worker {
    fn drop(&mut self) {
        // After a panic nobody is left to serve these.
        self.jobs.abandon();
    }
}

impl Worker {
    pub(super) fn read(self) {
        let mut taken = Vec::with_capacity(1);
        while self.jobs.take(1, FOREVER, &mut taken) {
            for job in taken.drain(..) {
                if let Some(job) = self.timely(job) {
                    self.run_alone(job);
                }
            }
        }
    }

    /// Writes, and between the writes sweeps about every `every`. Ends after the `readers`: the connection
    /// that is closed last, and alone, takes the log into the file.
    pub(super) fn write(
        self,
        every: Duration,
        sweep: impl Fn(&Connection, u32) -> Result<usize, StoreError>,
        readers: Vec<JoinHandle<()>>,
    ) {
        let mut taken = Vec::with_capacity(TOGETHER);
        let mut next = Instant::now() + spread(every);
        let mut failing = false;
        while self.jobs.take(TOGETHER, next.saturating_duration_since(Instant::now()), &mut taken) {
            let mut batch: Vec<_> = taken.drain(..).filter_map(|job| self.timely(job)).collect();
            if batch.len() > 1 && self.commit_together(&mut batch).is_ok() {
                batch.drain(..).for_each(|job| job.finish(Ok(())));
            }
            // What could not be done together is done, or fails, one by one.
            for job in batch {
                if let Some(job) = self.timely(job) {
                    self.run_alone(job);
                }
            }
            if Instant::now() < next {
                continue;
            }
            let swept = sweep(&self.connection, BATCH);
            match &swept {
                Ok(_) if failing => tracing::info!("expired sessions are being swept again"),
                Err(error) if !failing => tracing::warn!(%error, "expired sessions cannot be swept for now"),
                _ => {}
            }
            failing = swept.is_err();
            let full = swept.is_ok_and(|count| u32::try_from(count).is_ok_and(|count| count >= BATCH));
            next = Instant::now() + if full { PAUSE } else { spread(every) };
        }
        for reader in readers {
            // One that has panicked has closed its connection too.
            reader.join().ok();
        }
    }

    /// The job, unless its caller has gone, or has waited long enough to be told that it was in vain.
    fn timely(&self, job: Box<dyn Job>) -> Option<Box<dyn Job>> {
        if job.since()?.elapsed() <= self.patience {
            return Some(job);
        }
        job.finish(Err(StoreError::unavailable("the call has waited too long for the database")));
        None
    }

    fn run_alone(&self, mut job: Box<dyn Job>) {
        let ran = job.run(&self.connection);
        job.finish(ran);
    }

    fn commit_together(&self, batch: &mut [Box<dyn Job>]) -> Result<(), StoreError> {
        // Immediate: a transaction that reads first and then wants to write fails at once when another
        // process has written in between, whatever the busy timeout.
        let transaction = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)
            .map_err(store_error)?;
        for job in batch {
            job.run(&transaction)?;
        }
        transaction.commit().map_err(store_error)
    }
}

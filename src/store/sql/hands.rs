//! The connections of a pool on their way from one call to the next.
//!
//! A pool tests a connection before it lends it, and once more when it comes back: a call costs three round trips
//! instead of one. So a free connection is taken as it is, and one that a call has done with goes straight to the
//! call that waits for it. That a connection has broken meanwhile, the statement finds out, and the call tries
//! again; after such a failure the pool tests every connection once.

use std::{
    collections::VecDeque,
    ops::{Deref, DerefMut},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use sqlx::{Database, Error, Pool, pool::PoolConnection};
use tokio::{sync::oneshot, time::timeout};

/// How often a connection goes from hand to hand before the pool has it back: the application's own queries wait
/// for it too.
const MOST_HANDS: u8 = 32;
/// How long a call waits for another call's connection before it queues with everybody at the pool.
const PATIENCE: Duration = Duration::from_millis(10);

pub(in crate::store) struct Hands<DB: Database> {
    pool: Pool<DB>,
    shared: Arc<Shared<DB>>,
}

struct Shared<DB: Database> {
    waiting: Mutex<Waiting<DB>>,
    /// Connections that may be broken, as one was: so many of them are to be tested.
    suspect: AtomicU32,
}

struct Waiting<DB: Database> {
    calls: VecDeque<oneshot::Sender<Lent<DB>>>,
    /// Connections that calls have at this moment. While there are none, nothing comes from another's hand.
    lent: usize,
}

/// A connection in the hands of a call. Dropped before it is [`done`](Self::done), as when the call is cut off in the
/// middle of a statement, it goes back to the pool, which looks whether it is still good.
pub(in crate::store) struct Lent<DB: Database> {
    connection: PoolConnection<DB>,
    hands: u8,
    ticket: Ticket<DB>,
}

/// One of the lent connections; given back when it is dropped.
struct Ticket<DB: Database>(Arc<Shared<DB>>);

impl<DB: Database> Hands<DB> {
    pub(in crate::store) fn new(pool: Pool<DB>) -> Self {
        let waiting = Mutex::new(Waiting { calls: VecDeque::new(), lent: 0 });
        Self { pool, shared: Arc::new(Shared { waiting, suspect: AtomicU32::new(0) }) }
    }

    pub(in crate::store) fn is_closed(&self) -> bool {
        self.pool.is_closed()
    }

    pub(super) async fn take(&self) -> Result<Lent<DB>, Error> {
        if self.shared.suspect.load(Relaxed) > 0 {
            let _ = self.shared.suspect.fetch_update(Relaxed, Relaxed, |suspect| suspect.checked_sub(1));
        } else if let Some(free) = self.pool.try_acquire() {
            return Ok(self.lend(free));
        } else if let Some(turn) = self.queue()
            && let Ok(Ok(lent)) = timeout(PATIENCE, turn).await
        {
            return Ok(lent);
        }
        self.pool.acquire().await.map(|tested| self.lend(tested))
    }

    fn queue(&self) -> Option<oneshot::Receiver<Lent<DB>>> {
        let mut waiting = self.shared.waiting();
        if waiting.lent == 0 || self.pool.is_closed() {
            return None;
        }
        let (call, turn) = oneshot::channel();
        waiting.calls.push_back(call);
        Some(turn)
    }

    fn lend(&self, connection: PoolConnection<DB>) -> Lent<DB> {
        self.shared.waiting().lent += 1;
        Lent { connection, hands: 0, ticket: Ticket(self.shared.clone()) }
    }

    /// A call has lost its connection. Those that have been idle as long may be lost, too.
    pub(in crate::store) fn suspect_all(&self) {
        self.shared.suspect.store(self.pool.size(), Relaxed);
    }
}

impl<DB: Database> Shared<DB> {
    fn waiting(&self) -> MutexGuard<'_, Waiting<DB>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<DB: Database> Lent<DB> {
    /// The statement has been answered to its end: the connection may go on to the next call.
    pub(in crate::store) fn done(mut self) {
        self.hands += 1;
        while self.hands < MOST_HANDS {
            let Some(next) = self.ticket.0.waiting().calls.pop_front() else { return };
            match next.send(self) {
                Ok(()) => return,
                // That call has lost its patience.
                Err(back) => self = back,
            }
        }
    }
}

impl<DB: Database> Drop for Ticket<DB> {
    fn drop(&mut self) {
        let mut waiting = self.0.waiting();
        waiting.lent -= 1;
        // The connection is on its way to the pool; who waits for one here goes and queues there.
        if waiting.lent == 0 {
            waiting.calls.clear();
        } else {
            waiting.calls.pop_front();
        }
    }
}

impl<DB: Database> Deref for Lent<DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &DB::Connection {
        &self.connection
    }
}

impl<DB: Database> DerefMut for Lent<DB> {
    fn deref_mut(&mut self) -> &mut DB::Connection {
        &mut self.connection
    }
}

impl<DB: Database> Clone for Hands<DB> {
    fn clone(&self) -> Self {
        Self { pool: self.pool.clone(), shared: self.shared.clone() }
    }
}

//! The layer's side of its store: every call bounded in time and number, waiting for a lost connection, and
//! turns for those who write the same session.

use std::{
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    task::Poll,
    time::Duration,
};

use tokio::{
    sync::{Mutex, MutexGuard, watch},
    time::{Instant, timeout, timeout_at},
};

use crate::{
    clock::Timestamp,
    error::Operation,
    id::StoreKey,
    observe::Watch,
    store::{
        self, Applied, Call, Connection, Found, Kept, Layout, Owner, Record, SharedByPrincipal, SharedStore,
        StoreError, StoreErrorKind, When, Which, Written,
    },
};

/// Turns are kept for this many groups of sessions, as many as a byte of the key's fingerprint tells apart; two
/// sessions in one group merely wait for each other.
const TURNS: usize = 256;

/// A store as a layer uses it; shared by all clones of the layer.
#[derive(Debug)]
pub(crate) struct Engine {
    store: SharedStore,
    connection: Option<watch::Receiver<Connection>>,
    watch: Watch,
    in_flight: AtomicUsize,
    turns: Box<[Mutex<()>]>,
}

/// The bounds of a layer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// For one call of the store.
    pub(crate) operation: Duration,
    /// For a connection to come back, counted from its loss.
    pub(crate) reconnect: Duration,
    /// Calls that wait for the store at one time.
    pub(crate) in_flight: usize,
}

/// What it does to a write to be made again after a try of which nobody knows whether it was carried out, when others
/// may have gone on from there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Repeat {
    /// Nothing: the same values come to stand under the same keys.
    Harmless,
    /// It counts twice, or one that succeeded is reported as refused: such a refusal is no answer.
    Harmful,
}

/// Sessions that take turns.
#[derive(Clone, Copy)]
pub(crate) struct Group(u8);

impl Group {
    pub(crate) fn of(key: &StoreKey) -> Self {
        let [first, ..] = key.fingerprint();
        Self(first as u8)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { operation: Duration::from_secs(2), reconnect: Duration::from_secs(10), in_flight: 4096 }
    }
}

impl Engine {
    pub(crate) fn new(store: SharedStore) -> Self {
        let connection = store.0.connection();
        let watch = Watch::new(store.0.name(), connection.as_ref());
        let turns = (0..TURNS).map(|_| Mutex::new(())).collect();
        Self { store, connection, watch, in_flight: AtomicUsize::new(0), turns }
    }

    pub(crate) fn store(&self) -> &SharedStore {
        &self.store
    }

    /// Who looks on.
    pub(crate) fn watch(&self) -> &Watch {
        &self.watch
    }

    pub(crate) async fn get(&self, limits: &Limits, key: &StoreKey) -> Result<Option<Record>, StoreError> {
        let call = async {
            if !self.is_connected() {
                Box::pin(self.wait_for_connection(limits)).await?;
            }
            self.bounded(limits, || self.store.0.get(key)).await
        };
        self.watch.call(Operation::Get, key, call).await
    }

    /// The store, if it is a part of this process: its calls are over when they return.
    pub(crate) fn at_hand(&self, limits: &Limits) -> Option<AtHand<'_>> {
        // Who follows the calls sees each as a span, and that belongs to a future.
        if self.in_flight.load(Relaxed) >= limits.in_flight || Watch::is_traced() {
            return None;
        }
        Some(AtHand { store: self.store.0.at_hand()?, watch: &self.watch })
    }

    /// A write. `repeat`: what it does to be made twice.
    pub(crate) async fn set(
        &self,
        limits: &Limits,
        key: &StoreKey,
        record: &Record,
        when: When,
        repeat: Repeat,
    ) -> Result<Written, StoreError> {
        if let Some(store) = self.at_hand(limits)
            && let Some(written) = store.set(key, record.noted(key.layout()), when, None)
        {
            return Ok(written);
        }
        // A record of `Layout::Plain` that is in the way of a new one does not tell whose it is.
        let told = repeat == Repeat::Harmless && (key.layout() == Layout::Native || when != When::Absent);
        let told = |written: &Written| told || *written == Written::Done;
        let call = self.twice(limits, || self.store.0.set(key, record, when), told);
        self.watch.call(Operation::Set, key, Box::pin(call)).await
    }

    pub(crate) async fn touch(
        &self,
        limits: &Limits,
        key: &StoreKey,
        expires_at: Timestamp,
    ) -> Result<bool, StoreError> {
        let call = self.bounded(limits, || self.store.0.touch(key, expires_at));
        self.watch.call(Operation::Touch, key, Box::pin(call)).await
    }

    pub(crate) async fn destroy(&self, limits: &Limits, key: &StoreKey) -> Result<(), StoreError> {
        let call = self.twice(limits, || self.store.0.destroy(key), |()| true);
        self.watch.call(Operation::Destroy, key, call).await
    }

    pub(crate) async fn rotate(
        &self,
        limits: &Limits,
        old: &StoreKey,
        when: When,
        new: &StoreKey,
        record: &Record,
    ) -> Result<Written, StoreError> {
        // An own record under the new key, which nobody else knows, is recognised: what is refused was not carried out.
        let told = |written: &Written| new.layout() == Layout::Native || *written == Written::Done;
        let call = self.twice(limits, || self.store.0.rotate(old, when, new, record), told);
        self.watch.call(Operation::Rotate, old, call).await
    }

    /// A call that changes something. If the store is away or cannot say whether it has happened, it is made once
    /// more when the store is back, all within the time for one. `told`: whether a second answer settles a doubt
    /// that the first try has left.
    async fn twice<'a, T: Send>(
        &self,
        limits: &Limits,
        call: impl Fn() -> Call<'a, T> + Send + Sync,
        told: impl Fn(&T) -> bool + Send + Sync,
    ) -> Result<T, StoreError> {
        let began = Instant::now();
        let first = match self.bounded(limits, &call).await {
            Err(error) if error.is_unavailable() && !is_own(&error) => error,
            done => return done,
        };
        // In a box: a rare case is not to make every write's future larger.
        Box::pin(async move {
            let left = || limits.operation.saturating_sub(began.elapsed());
            // Until a client has reconnected it refuses at once; that takes it some milliseconds.
            let Ok(Ok(())) = timeout(left(), self.wait_for_connection(limits)).await else {
                return Err(first);
            };
            let again = self.bounded(&Limits { operation: left(), ..*limits }, call).await;
            let in_doubt = first.kind() == StoreErrorKind::Unavailable(Applied::Unknown);
            match again {
                Ok(answer) if told(&answer) => Ok(answer),
                _ if in_doubt => Err(first),
                again => again,
            }
        })
        .await
    }

    pub(crate) async fn sessions_of(
        &self,
        limits: &Limits,
        store: &SharedByPrincipal,
        owner: Owner<'_>,
    ) -> Result<Vec<Found>, StoreError> {
        Box::pin(self.wait_for_connection(limits)).await?;
        self.bounded(limits, || store.0.sessions_of(owner)).await
    }

    pub(crate) async fn destroy_of(
        &self,
        limits: &Limits,
        store: &SharedByPrincipal,
        owner: Owner<'_>,
        which: Which,
    ) -> Result<u64, StoreError> {
        // To end what has ended is no harm.
        self.twice(limits, || store.0.destroy_of(owner, which), |_| true).await
    }

    /// Waits for a turn to write this session. The tag decides who wins; turns only see to it that each does. So who
    /// has waited as long as a call may take, because the store hangs, goes without.
    pub(crate) async fn turn(&self, limits: &Limits, group: Group) -> Option<MutexGuard<'_, ()>> {
        let Group(group) = group;
        let turn = &self.turns[usize::from(group)];
        match turn.try_lock() {
            Ok(mine) => Some(mine),
            Err(_) => Box::pin(timeout(limits.operation, turn.lock())).await.ok(),
        }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.connection.as_ref().is_none_or(|connection| *connection.borrow() == Connection::Connected)
    }

    /// While the store is away, the requests that came within the limit wait together; later ones fail at once.
    pub(crate) async fn wait_for_connection(&self, limits: &Limits) -> Result<(), StoreError> {
        let Some(connection) = &self.connection else { return Ok(()) };
        let Connection::Disconnected { since } = *connection.borrow() else { return Ok(()) };
        let mut connection = connection.clone();
        let back = connection.wait_for(|now| *now == Connection::Connected);
        // A limit so far off that there is no such moment is none.
        let done = match since.checked_add(limits.reconnect) {
            Some(limit) => timeout_at(limit, back).await,
            None => Ok(back.await),
        };
        match done {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(StoreError::unavailable("it has been shut down")),
            Err(_) => Err(StoreError::unavailable("it has not come back within the reconnect timeout")),
        }
    }

    /// Runs a call to its end or its limit. What is ready when first asked pays for no timer.
    async fn bounded<'a, T>(
        &self,
        limits: &Limits,
        call: impl FnOnce() -> Call<'a, T> + Send,
    ) -> Result<T, StoreError> {
        if self.in_flight.load(Relaxed) >= limits.in_flight {
            return Err(StoreError::unavailable(Own("too many requests are waiting for it")));
        }
        let mut call = call();
        let first = std::future::poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await;
        if let Poll::Ready(done) = first {
            return done;
        }
        let _waiting = Waiting::count(&self.in_flight);
        match timeout(limits.operation, call).await {
            Ok(done) => done,
            Err(_) => Err(StoreError::in_doubt(Own("it did not answer in time"))),
        }
    }
}

/// A store that is asked without waiting for it.
pub(crate) struct AtHand<'a> {
    store: &'a dyn store::AtHand,
    watch: &'a Watch,
}

impl AtHand<'_> {
    pub(crate) fn get(&self, key: &StoreKey) -> Option<Kept> {
        self.measured(Operation::Get, || self.store.get(key))
    }

    /// `None`: it may be done by who waits for it.
    pub(crate) fn set(
        &self,
        key: &StoreKey,
        record: Kept,
        when: When,
        told: Option<Timestamp>,
    ) -> Option<Written> {
        self.measured(Operation::Set, || self.store.set(key, record, when, told))
    }

    pub(crate) fn touch(&self, key: &StoreKey, expires_at: Timestamp, told: Option<Timestamp>) -> bool {
        self.measured(Operation::Touch, || self.store.touch(key, expires_at, told))
    }

    fn measured<T>(&self, operation: Operation, call: impl FnOnce() -> T) -> T {
        let measure = self.watch.measure(operation);
        let done = call();
        measure.ended(None);
        done
    }
}

/// One of the calls that wait; counted until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn count(in_flight: &'a AtomicUsize) -> Self {
        in_flight.fetch_add(1, Relaxed);
        Self(in_flight)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// A bound of ours that was hit: trying again would only double it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Own(&'static str);

fn is_own(error: &StoreError) -> bool {
    error.cause().is::<Own>()
}

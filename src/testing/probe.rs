//! A store that shows what it is asked, and breaks when it is told to.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    sync::{Semaphore, watch},
    time::Instant,
};

use crate::{
    clock::Timestamp,
    error::Operation,
    id::StoreKey,
    store::{
        ByPrincipal, Connection, Found, Guarantee, Owner, Record, Store, StoreError, StoreErrorKind, When,
        Which, Written,
    },
};

/// How often each operation was called.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Calls {
    /// Calls of [`Store::get`].
    pub get: usize,
    /// Calls of [`Store::set`].
    pub set: usize,
    /// Calls of [`Store::touch`].
    pub touch: usize,
    /// Calls of [`Store::destroy`].
    pub destroy: usize,
    /// Calls of [`Store::rotate`].
    pub rotate: usize,
}

impl Calls {
    /// All calls together.
    #[must_use]
    pub const fn total(&self) -> usize {
        self.get + self.set + self.touch + self.destroy + self.rotate
    }

    const fn of(&mut self, operation: Operation) -> &mut usize {
        match operation {
            Operation::Get => &mut self.get,
            Operation::Set => &mut self.set,
            Operation::Touch => &mut self.touch,
            Operation::Destroy => &mut self.destroy,
            Operation::Rotate => &mut self.rotate,
        }
    }
}

/// A failure to be had on demand; see [`ProbeStore::fail`].
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    kind: StoreErrorKind,
    applied: bool,
    left: Option<usize>,
}

impl Fault {
    /// The call fails before the store sees it: nothing is done.
    #[must_use]
    pub const fn before(kind: StoreErrorKind) -> Self {
        Self { kind, applied: false, left: None }
    }

    /// The store does what it is asked, and the answer is lost: an error comes in its place.
    #[must_use]
    pub const fn after(kind: StoreErrorKind) -> Self {
        Self { kind, applied: true, left: None }
    }

    /// Only the next `calls` calls fail, not all until [`ProbeStore::heal`].
    #[must_use]
    pub const fn times(mut self, calls: usize) -> Self {
        self.left = Some(calls);
        self
    }
}

/// Where a held call stands; see [`ProbeStore::hold`]. Dropped, it opens.
#[derive(Debug)]
pub struct Gate(Arc<Bars>);

#[derive(Debug)]
struct Bars {
    reached: Semaphore,
    open: Semaphore,
}

impl Bars {
    async fn pass(&self) {
        self.reached.add_permits(1);
        // Neither semaphore is ever closed.
        let _ = self.open.acquire().await;
    }
}

impl Gate {
    /// Waits until a call stands at the gate.
    pub async fn reached(&self) {
        let _ = self.0.reached.acquire().await;
    }

    /// Lets the call go on, or pass when it comes.
    pub fn open(self) {
        drop(self);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.0.open.add_permits(1);
    }
}

/// A store around another one, for tests: it counts calls, holds them, fails them. Clones are the same probe, so
/// the test keeps one and the layer gets the other.
///
/// ```
/// use axum_generic_session::{MemoryStore, SessionId, Store, StoreKey, store::StoreErrorKind};
/// use axum_generic_session::Operation;
/// use axum_generic_session::testing::{Fault, ProbeStore};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let probe = ProbeStore::new(MemoryStore::new());
/// let key = StoreKey::hashed("app:", &SessionId::random());
/// assert!(probe.get(&key).await.is_ok());
/// probe.fail(Operation::Get, Fault::before(StoreErrorKind::ReadOnly).times(1));
/// assert!(probe.get(&key).await.is_err());
/// assert!(probe.get(&key).await.is_ok());
/// assert_eq!(probe.calls().get, 3);
/// # }
/// ```
pub struct ProbeStore<S> {
    store: Arc<S>,
    state: Arc<Mutex<State>>,
    connection: Arc<watch::Sender<Connection>>,
}

#[derive(Default)]
struct State {
    calls: Calls,
    gates: VecDeque<(Operation, Moment, Arc<Bars>)>,
    faults: Vec<(Operation, Fault)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Moment {
    Before,
    After,
}

impl<S: Store> ProbeStore<S> {
    /// A probe around `store`.
    #[must_use]
    pub fn new(store: S) -> Self {
        Self {
            store: Arc::new(store),
            state: Arc::default(),
            connection: Arc::new(watch::Sender::new(Connection::Connected)),
        }
    }

    /// The store within: what is done there is neither counted nor held.
    #[must_use]
    pub fn inner(&self) -> &S {
        &self.store
    }

    /// How often each operation was called so far; calls that failed or still wait at a gate count too.
    #[must_use]
    pub fn calls(&self) -> Calls {
        self.state().calls
    }

    /// [`calls`](Self::calls), and the count begins anew.
    #[must_use]
    pub fn take_calls(&self) -> Calls {
        std::mem::take(&mut self.state().calls)
    }

    /// Holds the next call of `operation` before the store sees it, until the gate is opened. Several gates
    /// hold several calls, in the order in which they were set up.
    #[must_use = "a gate that is dropped is open"]
    pub fn hold(&self, operation: Operation) -> Gate {
        self.gate(operation, Moment::Before)
    }

    /// Holds the next call of `operation` when the store has carried it out: the answer is under way.
    #[must_use = "a gate that is dropped is open"]
    pub fn hold_answer(&self, operation: Operation) -> Gate {
        self.gate(operation, Moment::After)
    }

    fn gate(&self, operation: Operation, moment: Moment) -> Gate {
        let bars = Arc::new(Bars { reached: Semaphore::new(0), open: Semaphore::new(0) });
        self.state().gates.push_back((operation, moment, Arc::clone(&bars)));
        Gate(bars)
    }

    /// Makes calls of `operation` fail: all until [`heal`](Self::heal), or as many as the fault says. A later
    /// fault of the same operation takes the place of an earlier one.
    pub fn fail(&self, operation: Operation, fault: Fault) {
        let faults = &mut self.state().faults;
        faults.retain(|(failing, _)| *failing != operation);
        faults.push((operation, fault));
    }

    /// Every operation works again.
    pub fn heal(&self) {
        self.state().faults.clear();
    }

    /// From now on [`Store::connection`] says that the engine is away. Calls are still answered, unless they
    /// are made to [`fail`](Self::fail).
    pub fn disconnect(&self) {
        self.connection.send_if_modified(|connection| {
            let lost = *connection == Connection::Connected;
            if lost {
                *connection = Connection::Disconnected { since: Instant::now() };
            }
            lost
        });
    }

    /// From now on [`Store::connection`] says that the engine answers.
    pub fn reconnect(&self) {
        self.connection.send_replace(Connection::Connected);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn stop(&self, operation: Operation, moment: Moment) {
        let gate = {
            let gates = &mut self.state().gates;
            let place = gates.iter().position(|(held, at, _)| *held == operation && *at == moment);
            place.and_then(|place| gates.remove(place))
        };
        if let Some((_, _, bars)) = gate {
            bars.pass().await;
        }
    }

    /// The fault that this call meets, if any; one less is left then.
    fn fault(&self, operation: Operation) -> Option<Fault> {
        let faults = &mut self.state().faults;
        let (_, fault) = faults.iter_mut().find(|(failing, _)| *failing == operation)?;
        match &mut fault.left {
            Some(0) => return None,
            Some(left) => *left -= 1,
            None => {}
        }
        Some(*fault)
    }

    /// The way of every call: count, gate, fault, the store itself, gate, fault.
    async fn call<T: Send>(
        &self,
        operation: Operation,
        asked: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        *self.state().calls.of(operation) += 1;
        self.stop(operation, Moment::Before).await;
        let fault = self.fault(operation);
        if let Some(Fault { kind, applied: false, .. }) = fault {
            return Err(StoreError::new(kind, "the probe was told to fail before the call"));
        }
        let answer = asked.await;
        self.stop(operation, Moment::After).await;
        match fault {
            Some(fault) => Err(StoreError::new(fault.kind, "the probe was told to lose the answer")),
            None => answer,
        }
    }
}

impl<S> Clone for ProbeStore<S> {
    fn clone(&self) -> Self {
        Self {
            store: Arc::clone(&self.store),
            state: Arc::clone(&self.state),
            connection: Arc::clone(&self.connection),
        }
    }
}

impl<S> fmt::Debug for ProbeStore<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProbeStore").finish_non_exhaustive()
    }
}

impl<S: Store> Store for ProbeStore<S> {
    async fn get(&self, key: &StoreKey) -> Result<Option<Record>, StoreError> {
        self.call(Operation::Get, self.store.get(key)).await
    }

    async fn set(&self, key: &StoreKey, record: &Record, when: When) -> Result<Written, StoreError> {
        self.call(Operation::Set, self.store.set(key, record, when)).await
    }

    async fn touch(&self, key: &StoreKey, expires_at: Timestamp) -> Result<bool, StoreError> {
        self.call(Operation::Touch, self.store.touch(key, expires_at)).await
    }

    async fn destroy(&self, key: &StoreKey) -> Result<(), StoreError> {
        self.call(Operation::Destroy, self.store.destroy(key)).await
    }

    async fn rotate(
        &self,
        old: &StoreKey,
        when: When,
        new: &StoreKey,
        record: &Record,
    ) -> Result<Written, StoreError> {
        self.call(Operation::Rotate, self.store.rotate(old, when, new, record)).await
    }

    fn connection(&self) -> Option<watch::Receiver<Connection>> {
        Some(self.connection.subscribe())
    }

    fn guarantee(&self) -> Guarantee {
        self.store.guarantee()
    }

    fn held(&self) -> Option<usize> {
        self.store.held()
    }

    fn name(&self) -> &'static str {
        self.store.name()
    }
}

/// A list counts as a read, an end as one [`Operation::Destroy`].
impl<S: ByPrincipal> ByPrincipal for ProbeStore<S> {
    async fn sessions_of(&self, owner: Owner<'_>) -> Result<Vec<Found>, StoreError> {
        self.call(Operation::Get, self.store.sessions_of(owner)).await
    }

    async fn destroy_of(&self, owner: Owner<'_>, which: Which) -> Result<u64, StoreError> {
        self.call(Operation::Destroy, self.store.destroy_of(owner, which)).await
    }
}

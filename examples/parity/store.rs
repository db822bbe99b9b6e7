//! A store that keeps what it is given as text, shows everything, and breaks when it is told to.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::body::Bytes;
use axum_generic_session::{
    Clock, StoreKey, Timestamp,
    store::{Connection, Record, Store, StoreError, Tag, When, Written},
    testing::ManualClock,
};
use serde_json::{Map, Value, json};
use tokio::{sync::watch, time::Instant};

use crate::{gates::Gates, journal::Journal};

/// Clones are the same store.
#[derive(Clone)]
pub(crate) struct RecordingStore(Arc<Shelf>);

struct Shelf {
    state: Mutex<State>,
    /// Absent in a store that does not tell whether it is there.
    connection: Option<watch::Sender<Connection>>,
    clock: ManualClock,
    gates: Arc<Gates>,
    journal: Arc<Journal>,
}

#[derive(Default)]
struct State {
    /// In the order in which they came.
    entries: Vec<(String, Entry)>,
    faults: HashMap<&'static str, Fault>,
    holds: Vec<(&'static str, String)>,
}

#[derive(Clone)]
struct Entry {
    data: Bytes,
    expires_at: Timestamp,
    /// The life that it was given, in milliseconds.
    ttl: Option<u64>,
}

/// What a call fails with.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) message: String,
    pub(crate) status: Option<u16>,
    pub(crate) code: Option<String>,
    /// So many calls pass before it strikes, and so many it strikes.
    pub(crate) skip: usize,
    pub(crate) times: usize,
    /// The call takes place, and fails then.
    pub(crate) after: bool,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

impl Fault {
    fn error(self) -> StoreError {
        if self.after { StoreError::in_doubt(self) } else { StoreError::unavailable(self) }
    }
}

impl RecordingStore {
    pub(crate) fn new(
        clock: ManualClock,
        gates: Arc<Gates>,
        journal: Arc<Journal>,
        tells_connection: bool,
    ) -> Self {
        let connection = tells_connection.then(|| watch::Sender::new(Connection::Connected));
        Self(Arc::new(Shelf { state: Mutex::default(), connection, clock, gates, journal }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every entry, expired ones too.
    pub(crate) fn dump(&self) -> Value {
        let now = self.0.clock.now();
        let state = self.state();
        let entries = state.entries.iter().map(|(key, entry)| {
            let mut shown = json!({ "session": entry.session(), "ttl": entry.ttl });
            if entry.expires_at <= now {
                shown["expired"] = json!(true);
            }
            (key.clone(), shown)
        });
        Value::Object(entries.collect::<Map<_, _>>())
    }

    /// Plants an entry.
    pub(crate) fn put(&self, key: &str, text: String) {
        let entry = Entry { data: text.into(), expires_at: Timestamp::MAX, ttl: None };
        self.state().write(key, entry);
    }

    /// Loses an entry.
    pub(crate) fn drop_entry(&self, key: &str) {
        self.state().entries.retain(|(k, _)| k != key);
    }

    /// Calls of `op` fail from now on.
    pub(crate) fn fail(&self, op: &'static str, fault: Fault) {
        self.state().faults.insert(op, fault);
    }

    pub(crate) fn heal(&self) {
        self.state().faults.clear();
    }

    /// The next call of `op` waits at the gate.
    pub(crate) fn hold(&self, op: &'static str, gate: String) {
        self.state().holds.push((op, gate));
    }

    /// How many layers watch the connection.
    pub(crate) fn listeners(&self) -> usize {
        self.0.connection.as_ref().map_or(0, watch::Sender::receiver_count)
    }

    /// Says that the engine is away, or that it is back.
    pub(crate) fn connect(&self, there: bool) {
        let Some(connection) = &self.0.connection else { return };
        connection.send_if_modified(|now| {
            let was_there = *now == Connection::Connected;
            *now = match (was_there, there) {
                (_, true) => Connection::Connected,
                (true, false) => Connection::Disconnected { since: Instant::now() },
                (false, false) => *now,
            };
            was_there != there
        });
    }

    /// Notes the call, waits where it is held, and gives the fault that it meets.
    async fn call(&self, op: &'static str, event: Value) -> Option<Fault> {
        let (fault, gate) = {
            let mut state = self.state();
            let held = state.holds.iter().position(|(held, _)| *held == op);
            (state.fault(op), held.map(|i| state.holds.remove(i).1))
        };
        let mut event = event;
        if let Some(fault) = &fault {
            event["error"] = json!(fault.message);
        }
        self.0.journal.note(event);
        if let Some(gate) = gate {
            self.0.gates.pass(&gate).await;
        }
        fault
    }

    fn is_there(&self, key: &StoreKey) -> bool {
        self.state().live(key, self.0.clock.now()).is_some()
    }
}

impl Entry {
    fn session(&self) -> Value {
        serde_json::from_slice(&self.data).unwrap_or_else(|_| json!(String::from_utf8_lossy(&self.data)))
    }
}

impl State {
    fn live(&self, key: &StoreKey, now: Timestamp) -> Option<&Entry> {
        let (_, entry) = self.entries.iter().find(|(k, _)| k == key.as_str())?;
        Some(entry).filter(|entry| entry.expires_at > now)
    }

    fn write(&mut self, key: &str, entry: Entry) {
        match self.entries.iter_mut().find(|(k, _)| k == key) {
            Some((_, old)) => *old = entry,
            None => self.entries.push((key.to_owned(), entry)),
        }
    }

    fn fault(&mut self, op: &str) -> Option<Fault> {
        let fault = self.faults.get_mut(op)?;
        if fault.skip > 0 {
            fault.skip -= 1;
            return None;
        }
        fault.times = fault.times.checked_sub(1)?;
        Some(fault.clone())
    }
}

impl Store for RecordingStore {
    async fn get(&self, key: &StoreKey) -> Result<Option<Record>, StoreError> {
        let hit = self.is_there(key);
        if let Some(fault) = self.call("get", json!({ "op": "get", "key": key.as_str(), "hit": hit })).await {
            // What a store of files says when there is no such file.
            let absent = fault.code.as_deref() == Some("ENOENT");
            return if absent { Ok(None) } else { Err(fault.error()) };
        }
        let state = self.state();
        Ok(state.live(key, self.0.clock.now()).map(Entry::record))
    }

    async fn set(&self, key: &StoreKey, record: &Record, when: When) -> Result<Written, StoreError> {
        let now = self.0.clock.now();
        let entry = Entry::of(record, now);
        let event = json!({ "op": "set", "key": key.as_str(), "ttl": entry.ttl, "session": entry.session() });
        let fault = self.call("set", event).await;
        if let Some(fault) = fault.clone().filter(|fault| !fault.after) {
            return Err(fault.error());
        }
        let written = {
            let mut state = self.state();
            match (state.live(key, now), when) {
                (None, When::Present | When::Tagged(_)) => Written::Gone,
                (Some(live), When::Absent) => Written::Conflict(Some(live.record())),
                (Some(live), When::Tagged(tag)) if Tag::of(&live.data) != tag => {
                    Written::Conflict(Some(live.record()))
                }
                (None, When::Absent) | (Some(_), When::Present | When::Tagged(_)) => {
                    // What has expired already is a removal.
                    state.entries.retain(|(k, _)| k != key.as_str() || entry.expires_at > now);
                    if entry.expires_at > now {
                        state.write(key.as_str(), entry);
                    }
                    Written::Done
                }
            }
        };
        fault.map_or(Ok(written), |fault| Err(fault.error()))
    }

    async fn touch(&self, key: &StoreKey, expires_at: Timestamp) -> Result<bool, StoreError> {
        let now = self.0.clock.now();
        let ttl = ttl(expires_at, now);
        // To whoever breaks the store a longer life is a write like any other.
        let fault = self.call("set", json!({ "op": "touch", "key": key.as_str(), "ttl": ttl })).await;
        if let Some(fault) = fault {
            return Err(fault.error());
        }
        let mut state = self.state();
        let Some(live) = state.live(key, now) else { return Ok(false) };
        let longer = Entry { data: live.data.clone(), expires_at: live.expires_at.max(expires_at), ttl };
        state.write(key.as_str(), longer);
        Ok(true)
    }

    async fn destroy(&self, key: &StoreKey) -> Result<(), StoreError> {
        let hit = self.is_there(key);
        let fault = self.call("destroy", json!({ "op": "destroy", "key": key.as_str(), "hit": hit })).await;
        if let Some(fault) = fault.clone().filter(|fault| !fault.after) {
            return Err(fault.error());
        }
        self.drop_entry(key.as_str());
        fault.map_or(Ok(()), |fault| Err(fault.error()))
    }

    fn connection(&self) -> Option<watch::Receiver<Connection>> {
        self.0.connection.as_ref().map(watch::Sender::subscribe)
    }

    fn name(&self) -> &'static str {
        "recording"
    }
}

impl Entry {
    fn of(record: &Record, now: Timestamp) -> Self {
        Self { data: record.data.clone(), expires_at: record.expires_at, ttl: ttl(record.expires_at, now) }
    }

    fn record(&self) -> Record {
        Record {
            tag: Tag::of(&self.data),
            expires_at: self.expires_at,
            principal: None,
            data: self.data.clone(),
        }
    }
}

fn ttl(expires_at: Timestamp, now: Timestamp) -> Option<u64> {
    let life = expires_at.saturating_since(now).as_millis();
    (expires_at != Timestamp::MAX).then(|| u64::try_from(life).unwrap_or(u64::MAX))
}

//! The probe: it counts, holds and fails as told, and is otherwise not there.

use std::time::Duration;

use axum::body::Bytes;
use axum_generic_session::{
    MemoryStore, Operation, SessionId, Store, StoreKey, Timestamp,
    store::{Applied, Connection, Record, StoreErrorKind, Tag, When, Written, contract::Contract},
    testing::{Calls, Fault, ManualClock, ProbeStore},
};
use tokio::time::timeout;

/// Nothing here waits; only a fault in the probe itself would take this long.
const HANG: Duration = Duration::from_secs(30);

fn key() -> StoreKey {
    StoreKey::hashed("app:", &SessionId::random())
}

fn record() -> Record {
    let data = Bytes::from_static(b"{}");
    Record { tag: Tag::random(), expires_at: Timestamp::MAX, principal: None, data }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_that_is_left_alone_keeps_the_contract() {
    let clock = ManualClock::new();
    let probe = ProbeStore::new(MemoryStore::new().clock(clock.clone()));
    Contract::new(|| async { probe.clone() }).clock(clock).rounds(5).run().await;
}

#[tokio::test]
async fn it_counts() {
    let probe = ProbeStore::new(MemoryStore::new());
    let (old, new) = (key(), key());
    probe.set(&old, &record(), When::Absent).await.unwrap();
    probe.get(&old).await.unwrap();
    probe.get(&old).await.unwrap();
    probe.touch(&old, Timestamp::MAX).await.unwrap();
    probe.rotate(&old, When::Present, &new, &record()).await.unwrap();
    probe.destroy(&new).await.unwrap();
    let expected = Calls { get: 2, set: 1, touch: 1, destroy: 1, rotate: 1 };
    assert_eq!(probe.clone().calls(), expected);
    assert_eq!(probe.take_calls().total(), 6);
    assert_eq!(probe.calls().total(), 0);
}

#[tokio::test]
async fn a_gate_holds_one_call_before_the_store_sees_it() {
    let probe = ProbeStore::new(MemoryStore::new());
    let key = key();
    let gate = probe.hold(Operation::Set);
    let (writer, held) = (probe.clone(), key.clone());
    let write = tokio::spawn(async move { writer.set(&held, &record(), When::Absent).await });
    timeout(HANG, gate.reached()).await.unwrap();
    timeout(HANG, gate.reached()).await.expect("a call that has arrived stays so");
    assert!(probe.inner().get(&key).await.unwrap().is_none());
    // The call after it is not held, and overtakes.
    assert_eq!(probe.set(&key, &record(), When::Absent).await.unwrap(), Written::Done);
    gate.open();
    let late = timeout(HANG, write).await.unwrap().unwrap().unwrap();
    assert!(matches!(late, Written::Conflict(Some(_))));
}

#[tokio::test]
async fn a_gate_holds_the_answer_of_a_write_that_has_happened() {
    let probe = ProbeStore::new(MemoryStore::new());
    let key = key();
    let gate = probe.hold_answer(Operation::Set);
    let (writer, held) = (probe.clone(), key.clone());
    let write = tokio::spawn(async move { writer.set(&held, &record(), When::Absent).await });
    timeout(HANG, gate.reached()).await.unwrap();
    assert!(probe.inner().get(&key).await.unwrap().is_some());
    drop(gate);
    assert_eq!(timeout(HANG, write).await.unwrap().unwrap().unwrap(), Written::Done);
}

#[tokio::test]
async fn gates_hold_calls_in_their_order() {
    let probe = ProbeStore::new(MemoryStore::new());
    let gates = [probe.hold(Operation::Get), probe.hold(Operation::Get)];
    let mut readers = Vec::new();
    for gate in &gates {
        let probe = probe.clone();
        readers.push(tokio::spawn(async move { probe.get(&key()).await }));
        timeout(HANG, gate.reached()).await.unwrap();
    }
    let [first, second] = gates;
    second.open();
    let last = readers.pop().unwrap();
    timeout(HANG, last).await.unwrap().unwrap().unwrap();
    assert!(!readers[0].is_finished());
    first.open();
    timeout(HANG, readers.remove(0)).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn it_fails_as_often_as_told() {
    let probe = ProbeStore::new(MemoryStore::new());
    probe.fail(Operation::Get, Fault::before(StoreErrorKind::Unavailable(Applied::No)).times(2));
    for _ in 0..2 {
        assert!(probe.get(&key()).await.unwrap_err().is_unavailable());
    }
    assert!(probe.get(&key()).await.is_ok());

    for operation in Operation::ALL {
        probe.fail(operation, Fault::before(StoreErrorKind::ReadOnly));
    }
    let (a, b) = (key(), key());
    for _ in 0..3 {
        assert!(probe.get(&a).await.is_err());
        assert!(probe.set(&a, &record(), When::Absent).await.is_err());
        assert!(probe.touch(&a, Timestamp::MAX).await.is_err());
        assert!(probe.destroy(&a).await.is_err());
        assert!(probe.rotate(&a, When::Present, &b, &record()).await.is_err());
    }
    probe.heal();
    assert_eq!(probe.set(&a, &record(), When::Absent).await.unwrap(), Written::Done);
}

#[tokio::test]
async fn a_lost_answer_is_an_error_after_the_fact() {
    let probe = ProbeStore::new(MemoryStore::new());
    let (key, record) = (key(), record());
    probe.fail(Operation::Set, Fault::after(StoreErrorKind::Unavailable(Applied::Unknown)).times(1));
    let error = probe.set(&key, &record, When::Absent).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable(Applied::Unknown));
    assert!(probe.get(&key).await.unwrap().is_some());
    // The retry recognises its own write.
    assert_eq!(probe.set(&key, &record, When::Absent).await.unwrap(), Written::Done);
}

#[tokio::test]
async fn it_says_that_the_engine_is_away() {
    let probe = ProbeStore::new(MemoryStore::new());
    let mut status = probe.connection().unwrap();
    assert_eq!(*status.borrow_and_update(), Connection::Connected);
    probe.disconnect();
    let first = *status.borrow_and_update();
    assert!(matches!(first, Connection::Disconnected { .. }));
    probe.disconnect();
    assert!(!status.has_changed().unwrap(), "a second loss moved the first one");
    probe.reconnect();
    assert_eq!(*status.borrow_and_update(), Connection::Connected);
}

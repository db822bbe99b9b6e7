//! Sessions in SQLite: the contract, the traps, the faults.
#![cfg(all(feature = "sqlite-store", feature = "store-contract"))]
#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

mod crash;
mod faults;
#[path = "../figures/mod.rs"]
mod figures;
#[path = "../kit/mod.rs"]
mod kit;
mod threads;

use std::path::PathBuf;

use axum_generic_session::{
    Clock, Store, SystemClock,
    store::{SqliteStore, StoreErrorKind, Synchronous, When, Written, contract::Contract},
    testing::ManualClock,
};
use kit::{HOUR, kind, living, record, stored};
use tempfile::TempDir;

/// A folder of the test's own, and where in it the sessions are.
fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("sessions.db");
    (folder, path)
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract() {
    let (_folder, path) = place();
    let clock = ManualClock::new();
    let report = Contract::new(|| async { SqliteStore::builder(&path).clock(clock.clone()).open().unwrap() })
        .clock(clock.clone())
        .run()
        .await;
    assert!(report.left_out().is_empty(), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract_with_one_handle_and_without_fsync() {
    let (_folder, path) = place();
    let store = SqliteStore::builder(&path).synchronous(Synchronous::Normal).open().unwrap();
    let report = Contract::new(|| async { store.clone() }).run().await;
    assert_eq!(report.left_out(), ["to the millisecond"], "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn finds_sessions_by_their_principal() {
    let (_folder, path) = place();
    let clock = ManualClock::new();
    // Four that write to one file without a pause: each waits for its turn.
    let builder = SqliteStore::builder(&path).clock(clock.clone()).busy_timeout(kit::LIMIT);
    Contract::new(|| async { builder.clone().open().unwrap() })
        .clock(clock.clone())
        .rounds(20)
        .run_by_principal()
        .await;
}

#[tokio::test]
async fn sessions_survive_a_restart() {
    let (_folder, path) = place();
    let store = SqliteStore::open(&path).unwrap();
    let (key, kept) = stored(&store, record("kept")).await;
    store.close().await;
    let store = SqliteStore::open(&path).unwrap();
    assert_eq!(store.get(&key).await.unwrap(), Some(kept));
}

#[tokio::test]
async fn the_file_does_not_hold_what_a_cookie_needs() {
    let (folder, path) = place();
    let store = SqliteStore::open(&path).unwrap();
    let (key, _) = stored(&store, record("data")).await;
    store.close().await;
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        let needle = key.as_str().as_bytes();
        assert!(!bytes.windows(needle.len()).any(|window| window == needle));
    }
}

#[tokio::test]
async fn tables_are_apart() {
    let (_folder, path) = place();
    let one = SqliteStore::builder(&path).table("one").unwrap().open().unwrap();
    let two = SqliteStore::builder(&path).table("two").unwrap().open().unwrap();
    let (key, _) = stored(&one, record("one")).await;
    assert_eq!(two.get(&key).await.unwrap(), None);
}

/// The trap: a transaction that reads and then writes fails at once, whatever the busy timeout, when another
/// process has written in between.
#[tokio::test(flavor = "multi_thread")]
async fn writers_of_several_processes_do_not_fail_each_other() {
    let (_folder, path) = place();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let store = SqliteStore::builder(&path).synchronous(Synchronous::Normal).open().unwrap();
        for _ in 0..4 {
            let store = store.clone();
            tasks.spawn(async move {
                for round in 0..50 {
                    let (key, first) = stored(&store, record("first")).await;
                    let next = record(format!("{round}"));
                    let answer = store.set(&key, &next, When::Tagged(first.tag)).await.unwrap();
                    assert_eq!(answer, Written::Done);
                }
            });
        }
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

#[tokio::test]
async fn eight_processes_may_open_a_new_file_at_once() {
    for _ in 0..10 {
        let (_folder, path) = place();
        let gate = std::sync::Barrier::new(8);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    gate.wait();
                    SqliteStore::open(&path).unwrap();
                });
            }
        });
    }
}

#[tokio::test]
async fn what_cannot_be_opened_says_why() {
    let (folder, path) = place();
    let not_there = SqliteStore::open(folder.path().join("no/such/folder/s.db")).unwrap_err();
    assert_eq!(not_there.kind(), StoreErrorKind::Misconfigured);
    assert!(not_there.to_string().contains("folder must exist"), "{not_there}");

    for memory in [":memory:", ""] {
        let error = SqliteStore::open(memory).unwrap_err();
        assert!(error.to_string().contains("use MemoryStore"), "{error}");
    }

    std::fs::write(&path, "not a database, but as long as the header of one: ".repeat(20)).unwrap();
    assert_eq!(kind(SqliteStore::open(&path)), StoreErrorKind::Misconfigured);

    let foreign = folder.path().join("foreign.db");
    let other = rusqlite::Connection::open(&foreign).unwrap();
    other.execute_batch("CREATE TABLE axum_sessions (id TEXT, session TEXT, expires TEXT)").unwrap();
    let error = SqliteStore::open(&foreign).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Misconfigured);
    assert!(error.to_string().contains("no such column"), "{error}");

    assert_eq!(kind(SqliteStore::builder(&path).table("a\"; DROP TABLE x")), StoreErrorKind::Misconfigured);
}

#[tokio::test]
async fn what_was_not_written_by_a_store_is_corrupt() {
    let (_folder, path) = place();
    let store = SqliteStore::open(&path).unwrap();
    let (key, _) = stored(&store, record("data")).await;
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute("UPDATE axum_sessions SET principal = x'ff'", []).unwrap();
    assert_eq!(kind(store.get(&key).await), StoreErrorKind::Corrupt);
    other.execute("UPDATE axum_sessions SET principal = NULL, tag = 'text'", []).unwrap();
    assert_eq!(kind(store.get(&key).await), StoreErrorKind::Corrupt);
}

#[tokio::test]
async fn a_sweep_is_a_bounded_batch_of_the_dead() {
    let (_folder, path) = place();
    let clock = ManualClock::new();
    clock.set(SystemClock.now());
    let store = SqliteStore::builder(&path).clock(clock.clone()).sweep_every(HOUR).open().unwrap();
    for _ in 0..25 {
        stored(&store, living(HOUR, "dead")).await;
    }
    let mut live = Vec::new();
    for _ in 0..5 {
        live.push(stored(&store, living(HOUR * 3, "live")).await);
    }
    clock.advance(HOUR * 2);
    assert_eq!(store.sweep(20).await.unwrap(), 20);
    assert_eq!(store.sweep(20).await.unwrap(), 5);
    assert_eq!(store.sweep(20).await.unwrap(), 0);
    for (key, record) in live {
        assert_eq!(store.get(&key).await.unwrap(), Some(record));
    }
}

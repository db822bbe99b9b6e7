//! What only the thread that writes can be brought into: a full disk, a connection that may not write, a
//! shared commit of which one part fails.

use std::sync::{Mutex, mpsc};

use tempfile::TempDir;
use tokio::sync::oneshot;

use super::*;
use crate::{
    id::SessionId,
    store::{StoreErrorKind, Tag},
};

fn opened() -> (TempDir, SqliteStore) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = SqliteStore::open(folder.path().join("sessions.db")).expect("a store");
    (folder, store)
}

fn record(data: Vec<u8>) -> (StoreKey, Record) {
    let expires_at = SharedClock::System.now().saturating_add(Duration::from_secs(3600));
    let record = Record { tag: Tag::random(), expires_at, principal: None, data: data.into() };
    (StoreKey::hashed("test:", &SessionId::random()), record)
}

/// A setting of the connection that writes.
async fn pragma(store: &SqliteStore, name: &'static str, value: i64) {
    let set = move |_: &Statements, connection: &Connection| {
        connection.pragma_update_and_check(None, name, value, |_| Ok(())).or_else(|error| match error {
            rusqlite::Error::QueryReturnedNoRows => Ok(()),
            error => Err(store_error(error)),
        })
    };
    store.write(set).await.expect("a pragma");
}

fn kind<T: fmt::Debug>(result: Result<T, StoreError>) -> StoreErrorKind {
    result.expect_err("an error").kind()
}

#[tokio::test]
async fn a_full_disk_is_told_and_leaves_the_old_value() {
    let (_folder, store) = opened();
    let (key, small) = record(vec![1; 100]);
    assert_eq!(store.set(&key, &small, When::Absent).await.expect("a write"), Written::Done);
    pragma(&store, "max_page_count", 1).await;

    let (other, large) = record(vec![2; 100_000]);
    assert_eq!(kind(store.set(&other, &large, When::Absent).await), StoreErrorKind::Full);
    assert_eq!(kind(store.set(&key, &large, When::Tagged(small.tag)).await), StoreErrorKind::Full);
    assert_eq!(store.get(&key).await.expect("a read"), Some(small.clone()));
    let (gone, brief) = record(vec![3; 10]);
    assert_eq!(store.set(&gone, &brief, When::Absent).await.expect("room for this"), Written::Done);
    store.destroy(&gone).await.expect("a logout needs no room");

    pragma(&store, "max_page_count", 1_000_000).await;
    let answer = store.set(&key, &large, When::Tagged(small.tag)).await;
    assert_eq!(answer.expect("there is room again"), Written::Done);
}

#[tokio::test]
async fn a_read_only_database_refuses_writes_and_goes_on_reading() {
    let (_folder, store) = opened();
    let (key, first) = record(vec![1]);
    store.set(&key, &first, When::Absent).await.expect("a write");
    pragma(&store, "query_only", 1).await;
    let (_, next) = record(vec![2]);
    assert_eq!(kind(store.set(&key, &next, When::Tagged(first.tag)).await), StoreErrorKind::ReadOnly);
    assert_eq!(kind(store.touch(&key, Timestamp::MAX).await), StoreErrorKind::ReadOnly);
    assert_eq!(kind(store.destroy(&key).await), StoreErrorKind::ReadOnly);
    assert_eq!(
        kind(store.rotate(&key, When::Present, &record(vec![]).0, &next).await),
        StoreErrorKind::ReadOnly
    );
    assert_eq!(store.get(&key).await.expect("a read"), Some(first));
    pragma(&store, "query_only", 0).await;
    store.destroy(&key).await.expect("it may write again");
}

/// Holds the writer back until the sender is dropped, so that what is asked meanwhile waits together.
async fn held_back(store: &SqliteStore) -> mpsc::Sender<()> {
    let (release, wait) = mpsc::channel::<()>();
    let (held, holds) = oneshot::channel();
    let (held, wait) = (Mutex::new(Some(held)), Mutex::new(wait));
    let store = store.clone();
    let hold = move |_: &Statements, _: &Connection| {
        if let Some(held) = held.lock().expect("the lock").take() {
            held.send(()).expect("the test waits");
        }
        wait.lock().expect("the lock").recv().ok();
        Ok(())
    };
    tokio::spawn(async move { store.write(hold).await });
    holds.await.expect("the writer holds");
    release
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_in_a_shared_commit_fails_alone() {
    let (_folder, store) = opened();
    let release = held_back(&store).await;
    let mut writes = Vec::new();
    for byte in 0..20 {
        let (key, record) = record(vec![byte]);
        let store = store.clone();
        writes.push(tokio::spawn(async move { (store.set(&key, &record, When::Absent).await, key, record) }));
    }
    let failing = tokio::spawn({
        let store = store.clone();
        async move { store.write::<()>(|_, _| Err(StoreError::corrupt("this one"))).await }
    });
    while store.shared.writes.len() < 21 {
        tokio::task::yield_now().await;
    }
    drop(release);
    assert_eq!(kind(failing.await.expect("a task")), StoreErrorKind::Corrupt);
    for write in writes {
        let (answer, key, record) = write.await.expect("a task");
        assert_eq!(answer.expect("a write"), Written::Done);
        assert_eq!(store.get(&key).await.expect("a read"), Some(record));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_waits_for_any_more_is_not_done() {
    let (_folder, store) = opened();
    let release = held_back(&store).await;
    let (key, record) = record(vec![1]);
    let given_up = tokio::spawn({
        let (store, key) = (store.clone(), key.clone());
        async move { store.set(&key, &record, When::Absent).await }
    });
    while store.shared.writes.len() < 1 {
        tokio::task::yield_now().await;
    }
    given_up.abort();
    assert!(given_up.await.expect_err("it was aborted").is_cancelled());
    drop(release);
    store.sweep(1).await.expect("whatever came after it");
    assert_eq!(store.get(&key).await.expect("a read"), None);
}

//! What SQLite answers when it cannot do its work.

use std::time::{Duration, Instant};

use axum_generic_session::{
    Store,
    store::{Applied, SqliteStore, StoreErrorKind, When, Written},
};
use rusqlite::Connection;

use super::{
    kit::{LIMIT, key, kind, record, soon, stored},
    place,
};

const UNAVAILABLE: StoreErrorKind = StoreErrorKind::Unavailable(Applied::No);

/// Another process that holds the write lock.
fn locked(path: &std::path::Path) -> Connection {
    let other = Connection::open(path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    other
}

#[tokio::test]
async fn a_locked_database_is_unavailable_after_the_busy_timeout_and_can_be_read() {
    let (_folder, path) = place();
    let store = SqliteStore::builder(&path).busy_timeout(Duration::from_millis(100)).open().unwrap();
    let (key, first) = stored(&store, record("first")).await;
    let other = locked(&path);
    let next = record("next");
    let start = Instant::now();
    assert_eq!(kind(soon("set", store.set(&key, &next, When::Tagged(first.tag))).await), UNAVAILABLE);
    assert!(start.elapsed() >= Duration::from_millis(100), "it has waited for the lock");
    assert_eq!(kind(soon("touch", store.touch(&key, next.expires_at)).await), UNAVAILABLE);
    assert_eq!(kind(soon("destroy", store.destroy(&key)).await), UNAVAILABLE);
    assert_eq!(
        kind(soon("rotate", store.rotate(&key, When::Present, &super::kit::key(), &next)).await),
        UNAVAILABLE
    );
    assert_eq!(store.get(&key).await.unwrap(), Some(first.clone()));
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(store.get(&key).await.unwrap(), Some(first.clone()), "unavailable(no) means no");
    assert_eq!(store.set(&key, &next, When::Tagged(first.tag)).await.unwrap(), Written::Done);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_is_released_in_time_is_waited_for() {
    let (_folder, path) = place();
    let store = SqliteStore::builder(&path).busy_timeout(LIMIT).open().unwrap();
    let other = locked(&path);
    let set = tokio::spawn({
        let store = store.clone();
        async move { store.set(&key(), &record("data"), When::Absent).await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!set.is_finished());
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(soon("set", set).await.unwrap().unwrap(), Written::Done);
}

/// Three thousand calls on a locked database: those that find no place fail at once, the others when they
/// have waited, and none after that.
#[tokio::test(flavor = "multi_thread")]
async fn a_locked_database_does_not_pile_up_calls() {
    let (_folder, path) = place();
    let patience = Duration::from_millis(100);
    let store = SqliteStore::builder(&path).busy_timeout(patience).open().unwrap();
    let other = locked(&path);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..3000 {
        let store = store.clone();
        tasks.spawn(async move { store.set(&key(), &record("data"), When::Absent).await });
    }
    let mut full = 0;
    while let Some(done) = soon("three thousand calls", tasks.join_next()).await {
        let error = done.unwrap().unwrap_err();
        assert_eq!(error.kind(), UNAVAILABLE);
        full += usize::from(error.to_string().contains("1024 calls are waiting"));
    }
    assert!(full > 0, "the queue has an end");
    other.execute_batch("ROLLBACK").unwrap();
    stored(&store, record("data")).await;
    let rows = Connection::open(&path).unwrap();
    let rows: i64 = rows.query_row("SELECT count(*) FROM axum_sessions", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 1, "what was refused was not done later");
}

#[tokio::test]
async fn a_missing_table_says_so() {
    let (_folder, path) = place();
    let store = SqliteStore::open(&path).unwrap();
    Connection::open(&path).unwrap().execute_batch("DROP TABLE axum_sessions").unwrap();
    let error = store.get(&key()).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Misconfigured);
    assert!(error.to_string().contains("no such table"), "{error}");
}

#[tokio::test]
async fn errors_do_not_quote_the_session() {
    let (_folder, path) = place();
    let store = SqliteStore::open(&path).unwrap();
    let other = Connection::open(&path).unwrap();
    let raise = "CREATE TRIGGER no BEFORE INSERT ON axum_sessions BEGIN SELECT RAISE(ABORT, 'no'); END";
    other.execute_batch(raise).unwrap();
    let key = key();
    let error = store.set(&key, &record("the secret"), When::Absent).await.unwrap_err();
    let said = format!("{error} {error:?}");
    assert!(!said.contains("the secret") && !said.contains(key.as_str()), "{said}");
}

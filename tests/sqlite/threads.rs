//! The threads of the store: they sweep, they answer what they were asked, and they end.

use std::{
    fs,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use axum_generic_session::{
    Store,
    store::{Applied, SqliteStore, StoreErrorKind, Synchronous, When, Written},
};

use super::{
    kit::{HOUR, eventually, key, living, load::short_lives, record, soon, stored},
    place,
};

/// How many rows there are, dead or alive.
fn rows(path: &std::path::Path) -> usize {
    let other = rusqlite::Connection::open(path).unwrap();
    other.query_row("SELECT count(*) FROM axum_sessions", [], |row| row.get::<_, i64>(0)).unwrap() as usize
}

/// Files of this test's folder that this process holds open: its threads own nothing else.
fn open_files(folder: &std::path::Path) -> usize {
    let open = fs::read_dir("/proc/self/fd").unwrap().flatten();
    open.filter_map(|entry| fs::read_link(entry.path()).ok()).filter(|to| to.starts_with(folder)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_writer_sweeps_beside_its_work_and_never_a_live_session() {
    let (_folder, path) = place();
    let store = SqliteStore::builder(&path)
        .sweep_every(Duration::from_millis(10))
        .synchronous(Synchronous::Normal)
        .open()
        .unwrap();
    let counts = short_lives(&Arc::new(store.clone()), 16, 12).await;
    assert_eq!(counts.live_lost.load(Ordering::SeqCst), 0, "{counts:?}");
    assert_eq!(counts.dead_served.load(Ordering::SeqCst), 0, "{counts:?}");
    let kept = counts.kept.load(Ordering::SeqCst);
    eventually("the dead are swept", async || rows(&path) == kept).await;
    drop(store);
}

#[tokio::test]
async fn nobody_has_to_ask_for_the_sweep() {
    let (_folder, path) = place();
    let store = SqliteStore::builder(&path).sweep_every(Duration::from_millis(10)).open().unwrap();
    for _ in 0..250 {
        stored(&store, living(Duration::ZERO, "dead")).await;
    }
    let (key, _) = stored(&store, living(HOUR, "live")).await;
    eventually("only the live one is left", async || rows(&path) == 1).await;
    assert!(store.get(&key).await.unwrap().is_some());
}

#[tokio::test]
async fn the_threads_end_with_the_last_handle() {
    let (folder, path) = place();
    let store = SqliteStore::open(&path).unwrap();
    let clone = store.clone();
    assert!(open_files(folder.path()) > 0);
    drop(store);
    let (key, _) = stored(&clone, record("kept")).await;
    drop(clone);
    eventually("the files are closed", async || open_files(folder.path()) == 0).await;
    // The last connection has taken the log into the file.
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    assert!(SqliteStore::open(&path).unwrap().get(&key).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn close_finishes_what_was_asked_and_then_refuses() {
    let (folder, path) = place();
    let store = SqliteStore::open(&path).unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let store = store.clone();
        tasks.spawn(async move {
            let (key, record) = (key(), record("data"));
            (store.set(&key, &record, When::Absent).await, key)
        });
    }
    tokio::task::yield_now().await;
    soon("close", store.close()).await;
    assert_eq!(open_files(folder.path()), 0);
    let error = store.get(&key()).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable(Applied::No));
    assert!(error.to_string().contains("closed"), "{error}");
    soon("close again", store.close()).await;

    let reopened = SqliteStore::open(&path).unwrap();
    while let Some(done) = tasks.join_next().await {
        let (answer, key) = done.unwrap();
        let there = reopened.get(&key).await.unwrap().is_some();
        match answer {
            Ok(written) => assert!(written == Written::Done && there),
            Err(error) => {
                assert!(error.kind() == StoreErrorKind::Unavailable(Applied::No) && !there, "{error}");
            }
        }
    }
}

/// A caller that gives up leaves nothing half done, and does not disturb others.
#[tokio::test]
async fn a_call_that_is_dropped_happens_or_does_not() {
    let (_folder, path) = place();
    let store = SqliteStore::open(&path).unwrap();
    for _ in 0..50 {
        let (key, first) = stored(&store, record("first")).await;
        let next = record("next");
        {
            let write = std::pin::pin!(store.set(&key, &next, When::Tagged(first.tag)));
            assert!(poll_once(write).await.is_none());
        }
        let (_, other) = (stored(&store, record("other")).await, store.get(&key).await.unwrap().unwrap());
        assert!(other == first || other == next);
    }
}

async fn poll_once<F: Future + Unpin>(mut future: F) -> Option<F::Output> {
    std::future::poll_fn(|context| match std::pin::Pin::new(&mut future).poll(context) {
        std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
        std::task::Poll::Pending => std::task::Poll::Ready(None),
    })
    .await
}

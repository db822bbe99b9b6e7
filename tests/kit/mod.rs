//! What the tests of the stores share: keys and records, words for what came back, and patience.

#![allow(dead_code, unreachable_pub, reason = "shared by test crates, each of which uses what it needs")]

pub mod history;
pub mod load;

use std::{
    fmt::Debug,
    future::Future,
    time::{Duration, Instant},
};

use axum_generic_session::{
    Clock, SessionId, Store, StoreKey, SystemClock,
    store::{Record, StoreError, StoreErrorKind, Tag, When, Written},
};

/// Longer than anything here may take on a machine that others use too.
pub const LIMIT: Duration = Duration::from_secs(60);
pub const HOUR: Duration = Duration::from_secs(3600);

pub fn key() -> StoreKey {
    StoreKey::hashed("test:", &SessionId::random())
}

/// A record that lives for an hour.
pub fn record(data: impl Into<Vec<u8>>) -> Record {
    living(HOUR, data)
}

pub fn living(life: Duration, data: impl Into<Vec<u8>>) -> Record {
    Record {
        tag: Tag::random(),
        expires_at: SystemClock.now().saturating_add(life),
        principal: None,
        data: data.into().into(),
    }
}

/// A record that is in the store, and its key.
pub async fn stored(store: &impl Store, record: Record) -> (StoreKey, Record) {
    let key = key();
    assert_eq!(store.set(&key, &record, When::Absent).await.expect("a write"), Written::Done);
    (key, record)
}

/// What kind of error came instead of an answer.
pub fn kind<T: Debug>(result: Result<T, StoreError>) -> StoreErrorKind {
    result.expect_err("an error").kind()
}

/// Asks again and again until the answer is yes.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut ask: impl FnMut() -> F) {
    let start = Instant::now();
    while !ask().await {
        assert!(start.elapsed() < LIMIT, "{what}: not within {LIMIT:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The future's answer; a hang fails the test.
pub async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    tokio::time::timeout(LIMIT, future).await.unwrap_or_else(|_| panic!("{what} hangs"))
}

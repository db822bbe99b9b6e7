//! What the engine answers when it cannot do its work, and what the store makes of it.

use std::time::Duration;

use axum_generic_session::{
    Store, StoreKey,
    store::{Applied, Record, StoreErrorKind, Tag, When, Written},
};

use super::{Engine, impatient};
use crate::kit::{eventually, key, kind, record, soon, stored};

const UNAVAILABLE: StoreErrorKind = StoreErrorKind::Unavailable(Applied::No);

/// `setting`: how long a connection waits for a lock, not long.
pub async fn a_lock_that_is_held_too_long_is_unavailable_and_changes_nothing<E: Engine>(setting: &str) {
    let server = E::shared();
    let store = server.store_with("lock_timeout", setting).await;
    let (key, first) = stored(&store, record("first")).await;
    let mut other = server.locked("lock_timeout", &key, Tag::random()).await;
    let mine = record("mine");
    let set = store.set(&key, &mine, When::Tagged(first.tag));
    let (set, touch, destroy) = soon("they fail", async {
        tokio::join!(set, store.touch(&key, first.expires_at), store.destroy(&key))
    })
    .await;
    assert_eq!(kind(set), UNAVAILABLE);
    assert_eq!(kind(touch), UNAVAILABLE);
    assert_eq!(kind(destroy), UNAVAILABLE);
    E::run(&mut other, "ROLLBACK").await;
    assert_eq!(store.get(&key).await.unwrap(), Some(first.clone()));
    assert_eq!(store.set(&key, &mine, When::Tagged(first.tag)).await.unwrap(), Written::Done);
}

/// The store's rotation holds the old row and waits for the new id, which the other holds, who then waits for the
/// old row: the engine ends the store's statement, and the store tries again. Why the store's: InnoDB takes who has
/// changed less, PostgreSQL who is the first to look, the store with `setting` before the other with `patience`.
/// `deadlocks`: how many there were.
pub async fn a_deadlock_is_tried_again<E: Engine>(
    setting: &str,
    patience: &str,
    deadlocks: impl AsyncFn(&E) -> i64,
) {
    let server = E::start(&[]);
    let store = server.store_with("deadlock", setting).await;
    let (old, first) = stored(&store, record("first")).await;
    let (new, moved) = (key(), record("moved"));
    let table = E::table("deadlock");
    let mut other = server.other().await;
    E::run(&mut other, patience).await;
    E::run(&mut other, "BEGIN").await;
    for id in std::iter::repeat_with(key).take(50).chain([new.clone()]) {
        let id = E::bytes(&id.digest());
        E::run(&mut other, &format!("INSERT INTO {table} VALUES ({id}, 1, 9000000000000, NULL, '')")).await;
    }
    let rotate = tokio::spawn({
        let (store, old) = (store.clone(), old.clone());
        let (new, moved) = (new.clone(), moved.clone());
        async move { store.rotate(&old, When::Tagged(first.tag), &new, &moved).await }
    });
    eventually("the rotation waits", async || server.waiting("deadlock").await == 1).await;
    let cross = format!("UPDATE {table} SET tag = tag WHERE id = {}", E::bytes(&old.digest()));
    soon("the other is let through", E::run(&mut other, &cross)).await;
    let deadlocks = deadlocks(&server).await;
    assert!(deadlocks >= 1, "{deadlocks}");
    E::run(&mut other, "ROLLBACK").await;
    assert_eq!(soon("the rotation", rotate).await.unwrap().unwrap(), Written::Done);
    assert_eq!(store.get(&new).await.unwrap(), Some(moved));
}

/// What a store makes of a connection that may only read.
pub async fn refuses_writes_and_goes_on_reading(store: &impl Store, key: &StoreKey, first: &Record) {
    let next = record("next");
    assert_eq!(kind(store.set(key, &next, When::Tagged(first.tag)).await), StoreErrorKind::ReadOnly);
    assert_eq!(kind(store.set(&self::key(), &next, When::Absent).await), StoreErrorKind::ReadOnly);
    assert_eq!(kind(store.touch(key, first.expires_at).await), StoreErrorKind::ReadOnly);
    assert_eq!(kind(store.destroy(key).await), StoreErrorKind::ReadOnly);
    assert_eq!(store.get(key).await.unwrap().as_ref(), Some(first));
}

pub async fn an_exhausted_pool_is_unavailable_and_recovers<E: Engine>() {
    let server = E::shared();
    let (key, first) = stored(&server.store("exhausted").await, record("first")).await;
    let pool = impatient(E::pool(server.port(), 1, ""), Duration::from_millis(100));
    let store = E::store_on(pool.clone(), "exhausted");
    let held = pool.begin().await.unwrap();
    let error = store.get(&key).await.unwrap_err();
    assert_eq!(error.kind(), UNAVAILABLE);
    assert!(error.to_string().contains("acquire_timeout"), "{error}");
    assert_eq!(kind(store.set(&key, &record("x"), When::Tagged(first.tag)).await), UNAVAILABLE);
    drop(held);
    // With one connection for everything, every kind of call still finds it free, and a refused write twice.
    assert_eq!(store.get(&key).await.unwrap(), Some(first.clone()));
    let answer = store.set(&key, &record("x"), When::Tagged(Tag::random())).await.unwrap();
    assert_eq!(answer, Written::Conflict(Some(first)));
    pool.close().await;
    assert_eq!(kind(store.get(&key).await), UNAVAILABLE);
}

/// The server's own code for a full disk, from a trigger: a real full disk takes more than a test may take.
pub async fn a_full_disk_is_told_and_logout_works<E: Engine>(trigger: &str) {
    let server = E::shared();
    let store = server.store("full_disk").await;
    let (key, first) = stored(&store, record("first")).await;
    server.script(trigger).await;
    let next = record("next");
    assert_eq!(kind(store.set(&key, &next, When::Tagged(first.tag)).await), StoreErrorKind::Full);
    assert_eq!(store.get(&key).await.unwrap(), Some(first));
    store.destroy(&key).await.unwrap();
}

/// `setting`: how long a statement may take, not long.
pub async fn a_statement_timeout_is_unavailable_and_certainly_not_applied<E: Engine>(setting: &str) {
    let server = E::shared();
    let store = server.store_with("slow", setting).await;
    let (key, first) = stored(&store, record("first")).await;
    let mut other = server.locked("slow", &key, Tag::random()).await;
    let mine = record("mine");
    let set = store.set(&key, &mine, When::Tagged(first.tag));
    assert_eq!(kind(soon("set", set).await), UNAVAILABLE);
    E::run(&mut other, "ROLLBACK").await;
    assert_eq!(store.get(&key).await.unwrap(), Some(first));
}

pub async fn what_was_not_written_by_a_store_is_corrupt<E: Engine>() {
    let server = E::shared();
    let store = server.store("corrupt").await;
    let (key, _) = stored(&store, record("first")).await;
    let (table, garbage) = (E::table("corrupt"), E::bytes(&[0xff]));
    server.script(&format!("UPDATE {table} SET principal = {garbage}")).await;
    assert_eq!(kind(store.get(&key).await), StoreErrorKind::Corrupt);
    let answer = store.set(&key, &record("mine"), When::Tagged(Tag::random())).await;
    assert_eq!(kind(answer), StoreErrorKind::Corrupt);
}

/// Details quote the whole row, and drivers show details in `Debug`. `expected` and `words`: what is told of a
/// constraint.
pub async fn errors_do_not_quote_the_session<E: Engine>(expected: StoreErrorKind, words: &str) {
    let server = E::shared();
    let store = server.store("quote").await;
    let table = E::table("quote");
    server.script(&format!("ALTER TABLE {table} ADD CHECK (length(data) < 3)")).await;
    let error = store.set(&key(), &record("sesame"), When::Absent).await.unwrap_err();
    assert_eq!(error.kind(), expected);
    let said = format!("{error} {error:?} {:?}", std::error::Error::source(&error));
    let hex: String = "sesame".bytes().map(|byte| format!("{byte:02x}")).collect();
    assert!(said.contains(words) && !said.contains(&hex) && !said.contains("sesame"), "{said}");
}

//! What the obvious statement, or the obvious column, gets wrong.

use std::time::Duration;

use axum_generic_session::{
    SessionId, Store, StoreKey, Timestamp,
    store::{Tag, When, Written},
};

use super::{Engine, LEVELS};
use crate::kit::{HOUR, eventually, key as fresh, living, record, soon, stored};

/// A writer waits for another one's lock; the record that comes back is what that one committed, at every
/// isolation level. (A plain `SELECT` beside the update shows the row from before.)
pub async fn a_refusal_brings_the_committed_record_not_the_stale_one<E: Engine>() {
    let server = E::shared();
    for level in LEVELS {
        let store = server.store_with("stale", &E::isolation(level)).await;
        let (key, first) = stored(&store, record("first")).await;
        let theirs = Tag::random();
        let mut other = server.locked("stale", &key, theirs).await;
        let set = tokio::spawn({
            let (store, key) = (store.clone(), key.clone());
            async move { store.set(&key, &record("mine"), When::Tagged(first.tag)).await }
        });
        eventually("the write waits", async || server.waiting("stale").await == 1).await;
        E::run(&mut other, "COMMIT").await;
        match soon("the write", set).await.unwrap().unwrap() {
            Written::Conflict(Some(current)) => {
                assert_eq!((current.tag, &current.data[..]), (theirs, &b"theirs"[..]), "{level}");
            }
            answer => panic!("{level}: {answer:?}"),
        }
    }
}

/// The same wait, for a session that is destroyed meanwhile: gone stays gone.
pub async fn a_write_that_waited_for_a_logout_is_refused<E: Engine>() {
    let server = E::shared();
    for level in LEVELS {
        let store = server.store_with("logout", &E::isolation(level)).await;
        for tagged in [true, false] {
            let (key, first) = stored(&store, record("first")).await;
            let (table, id) = (E::table("logout"), E::bytes(&key.digest()));
            let mut other = server.begun(&format!("DELETE FROM {table} WHERE id = {id}")).await;
            let when = if tagged { When::Tagged(first.tag) } else { When::Present };
            let set = tokio::spawn({
                let (store, key) = (store.clone(), key.clone());
                async move { store.set(&key, &record("mine"), when).await }
            });
            let touch = tokio::spawn({
                let (store, key) = (store.clone(), key.clone());
                async move { store.touch(&key, Timestamp::MAX).await }
            });
            eventually("both wait", async || server.waiting("logout").await == 2).await;
            E::run(&mut other, "COMMIT").await;
            assert_eq!(soon("the write", set).await.unwrap().unwrap(), Written::Gone, "{level}, {when:?}");
            assert!(!soon("the touch", touch).await.unwrap().unwrap(), "{level}, {when:?}");
            assert_eq!(store.get(&key).await.unwrap(), None);
        }
    }
}

/// Ids are bytes: no collation folds two of them into one, no encoding refuses one. The trap: as `char`, those that
/// differ by case or by a space at the end are one.
pub async fn ids_that_look_alike_are_two_sessions<E: Engine>(setting: &str) {
    let server = E::shared();
    let store = server.store_with("alike", setting).await;
    let ids = ["abc", "ABC", "Abc", "abc.", "abc%20"];
    let keys = ids.map(|id| StoreKey::plain("p:", &SessionId::parse(id).unwrap()));
    for (key, id) in keys.iter().zip(ids) {
        assert_eq!(store.set(key, &record(id), When::Absent).await.unwrap(), Written::Done);
    }
    for (key, id) in keys.iter().zip(ids) {
        assert_eq!(store.get(key).await.unwrap().unwrap().data, id);
    }
}

/// The trap: a `TIMESTAMP` ends in 2038.
pub async fn expiry_after_2038_and_to_the_second_of_the_servers_clock<E: Engine>() {
    let server = E::shared();
    let store = server.store("expiry").await;
    let (key, far) = stored(&store, living(HOUR * 24 * 365 * 30, "2055")).await;
    assert_eq!(store.get(&key).await.unwrap(), Some(far));
    let (key, _) = stored(&store, living(Duration::from_secs(2), "two seconds")).await;
    assert!(store.get(&key).await.unwrap().is_some());
    eventually("it expires", async || store.get(&key).await.unwrap().is_none()).await;
}

/// One statement per call, counted by the server, and a second one to see what a refused write has met.
/// `statements`: how many it has executed for programs that prepare theirs, as the store does.
pub async fn every_call_is_one_statement_and_a_refused_write_two<E: Engine>(
    settings: &[&str],
    statements: impl AsyncFn(&E) -> i64,
) {
    let server = E::start(settings);
    let store = server.store("counted").await;
    assert_eq!(statements(&server).await, statements(&server).await, "to count costs nothing");
    let (key, mut last) = (fresh(), record("0"));
    for call in [
        "create",
        "get",
        "get nothing",
        "tagged",
        "present",
        "present again",
        "conflict",
        "gone",
        "touch",
        "rotate",
        "destroy",
    ] {
        let before = statements(&server).await;
        let next = record("next");
        match call {
            "create" => assert_eq!(store.set(&key, &last, When::Absent).await.unwrap(), Written::Done),
            "get" => assert!(store.get(&key).await.unwrap().is_some()),
            "get nothing" => assert!(store.get(&fresh()).await.unwrap().is_none()),
            "tagged" => {
                let answer = store.set(&key, &next, When::Tagged(last.tag)).await.unwrap();
                assert_eq!(answer, Written::Done);
                last = next;
            }
            "present" => {
                assert_eq!(store.set(&key, &next, When::Present).await.unwrap(), Written::Done);
                last = next;
            }
            // A server may count the rows that an update has changed, and there are none.
            "present again" => {
                assert_eq!(store.set(&key, &last, When::Present).await.unwrap(), Written::Done);
            }
            "conflict" => {
                let answer = store.set(&key, &next, When::Tagged(Tag::random())).await.unwrap();
                assert_eq!(answer, Written::Conflict(Some(last.clone())));
            }
            "gone" => {
                let answer = store.set(&fresh(), &next, When::Tagged(last.tag)).await.unwrap();
                assert_eq!(answer, Written::Gone);
            }
            "touch" => assert!(store.touch(&key, last.expires_at).await.unwrap()),
            "rotate" => {
                let answer = store.rotate(&key, When::Tagged(last.tag), &fresh(), &next).await;
                assert_eq!(answer.unwrap(), Written::Done);
            }
            _ => store.destroy(&key).await.unwrap(),
        }
        let expected = if matches!(call, "conflict" | "gone") { 2 } else { 1 };
        assert_eq!(statements(&server).await - before, expected, "{call}");
    }
}

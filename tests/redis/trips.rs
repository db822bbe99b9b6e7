//! Round trips, as the server counts them.

use std::collections::BTreeMap;

use axum_generic_session::store::{Record, Store, When, Written};

use super::{HOUR, key, open, record, servers::redis::Redis};

/// What the server has been asked since the last look.
fn calls(server: &Redis) -> BTreeMap<String, u64> {
    let calls = server.calls();
    server.reset_calls();
    calls.into_iter().filter(|(name, _)| name != "config|resetstat").collect()
}

fn of(calls: &[&str]) -> BTreeMap<String, u64> {
    calls.iter().map(|&name| (name.to_owned(), 1)).collect()
}

#[tokio::test]
async fn every_call_is_one_round_trip() {
    let server = Redis::start();
    let store = open(&server).await;
    let (key, one, two, three) = (key(), record("1"), record("2"), record("3"));
    // Scripts are taught to the server once.
    store.set(&key, &one, When::Present).await.unwrap();
    store.touch(&key, one.expires_at).await.unwrap();
    store.rotate(&key, When::Present, &self::key(), &one).await.unwrap();
    calls(&server);

    // `evalsha` is the call; what it does inside is counted with it.
    store.get(&key).await.unwrap();
    assert_eq!(calls(&server), of(&["get"]), "get of nothing");
    store.set(&key, &one, When::Absent).await.unwrap();
    assert_eq!(calls(&server), of(&["set"]), "create");
    store.get(&key).await.unwrap();
    assert_eq!(calls(&server), of(&["get"]), "get");
    store.set(&key, &two, When::Tagged(one.tag)).await.unwrap();
    assert_eq!(calls(&server), of(&["evalsha", "getrange", "set"]), "compare and swap");
    let conflict = store.set(&key, &three, When::Tagged(one.tag)).await.unwrap();
    assert!(conflict == Written::Conflict(Some(two.clone())), "the record in the way comes along");
    assert_eq!(calls(&server), of(&["evalsha", "getrange", "get"]), "refused compare and swap");
    store.set(&key, &two, When::Tagged(one.tag)).await.unwrap();
    assert_eq!(calls(&server), of(&["evalsha", "getrange", "setrange"]), "a write recognised");
    store.touch(&key, two.expires_at.saturating_add(HOUR)).await.unwrap();
    let touched = calls(&server);
    assert_eq!((touched["evalsha"], touched.get("set"), touched.get("get")), (1, None, None), "touch");
    let new = self::key();
    store.rotate(&key, When::Tagged(two.tag), &new, &three).await.unwrap();
    let rotated = calls(&server);
    assert_eq!((rotated["evalsha"], rotated["set"], rotated["del"]), (1, 1, 1), "rotate");
    assert_eq!(rotated.get("get"), None, "rotate reads tags only");
    store.destroy(&new).await.unwrap();
    assert_eq!(calls(&server), of(&["del"]), "destroy");
}

#[tokio::test]
async fn a_session_that_belongs_to_somebody_is_one_round_trip_too() {
    let server = Redis::start();
    let store = open(&server).await;
    let owned = |data| Record { principal: Some("ada".into()), ..record(data) };
    let (key, new, one, two, three) = (key(), key(), owned("1"), owned("2"), owned("3"));
    let later = one.expires_at.saturating_add(HOUR);
    for round in ["taught", "known"] {
        calls(&server);
        let mut scripts = Vec::new();
        let mut count = |calls: BTreeMap<String, u64>| scripts.push(calls["evalsha"]);
        assert_eq!(store.set(&key, &one, When::Absent).await.unwrap(), Written::Done);
        count(calls(&server));
        assert_eq!(store.set(&key, &two, When::Tagged(one.tag)).await.unwrap(), Written::Done);
        count(calls(&server));
        assert!(store.touch(&key, later).await.unwrap());
        count(calls(&server));
        assert_eq!(store.rotate(&key, When::Tagged(two.tag), &new, &three).await.unwrap(), Written::Done);
        count(calls(&server));
        assert_eq!(scripts, [1; 4], "{round}");
        store.destroy(&new).await.unwrap();
    }
}

#[tokio::test]
async fn a_script_that_the_server_has_forgotten_is_sent_again() {
    let server = Redis::start();
    let store = open(&server).await;
    let (key, one, two, three) = (key(), record("1"), record("2"), record("3"));
    store.set(&key, &one, When::Absent).await.unwrap();
    store.set(&key, &one, When::Present).await.unwrap();
    let () = server.run(&["SCRIPT", "FLUSH"]);
    calls(&server);
    assert!(store.set(&key, &two, When::Tagged(one.tag)).await.unwrap() == Written::Done);
    let first = calls(&server);
    assert_eq!((first["evalsha"], first["eval"], first["set"]), (1, 1, 1));
    assert!(store.set(&key, &three, When::Tagged(two.tag)).await.unwrap() == Written::Done);
    assert_eq!(calls(&server), of(&["evalsha", "getrange", "set"]));
}

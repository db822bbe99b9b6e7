//! What lies in the server: ours, other programs', and what is no session.

use std::time::Duration;

use axum_generic_session::{
    Clock, RedisStore, StoreKey, SystemClock, Timestamp,
    store::{Store, StoreError, StoreErrorKind, Tag, When, Written},
};

use super::{HOUR, key, open, plain_key, plain_record, put, record, servers::redis::Redis};

#[tokio::test]
async fn redis_itself_removes_what_has_expired() {
    let server = Redis::start();
    let store = open(&server).await;
    for (key, record) in [(key(), record("1")), (plain_key(), plain_record("1"))] {
        store.set(&key, &record, When::Absent).await.unwrap();
        let end: u64 = server.run(&["PEXPIRETIME", key.as_str()]);
        assert_eq!(end, record.expires_at.as_millis());
        let later = record.expires_at.saturating_add(HOUR);
        store.touch(&key, later).await.unwrap();
        let end: u64 = server.run(&["PEXPIRETIME", key.as_str()]);
        assert_eq!(end, later.as_millis());
        assert_eq!(store.get(&key).await.unwrap().map(|found| found.expires_at), Some(later));
    }
}

#[tokio::test]
async fn a_plain_value_is_the_data_and_other_programs_write_it_too() {
    let server = Redis::start();
    let store = open(&server).await;
    let (key, ours) = (plain_key(), plain_record(r#"{"count":1}"#));
    store.set(&key, &ours, When::Absent).await.unwrap();
    assert_eq!(server.run::<String>(&["GET", key.as_str()]), r#"{"count":1}"#);

    // As koa-redis does, and as one without a ttl does.
    let () = server.run(&["SETEX", key.as_str(), "3600", r#"{"count":2}"#]);
    let theirs = store.get(&key).await.unwrap().unwrap();
    assert_eq!((&theirs.data[..], theirs.tag), (&br#"{"count":2}"#[..], Tag::of(br#"{"count":2}"#)));
    assert!(theirs.expires_at > SystemClock.now().saturating_add(HOUR - Duration::from_secs(60)));
    let refused = store.set(&key, &plain_record("{}"), When::Tagged(ours.tag)).await.unwrap();
    assert!(refused == Written::Conflict(Some(theirs)));
    let () = server.run(&["SET", key.as_str(), "{}"]);
    let endless = store.get(&key).await.unwrap().unwrap();
    assert_eq!(endless.expires_at, Timestamp::MAX);
    assert!(store.touch(&key, ours.expires_at).await.unwrap());
    assert_eq!(server.run::<i64>(&["PTTL", key.as_str()]), -1, "a touch does not shorten an endless life");
}

#[tokio::test]
async fn what_is_no_session_is_reported_and_left_alone() {
    let server = Redis::start();
    let store = open(&server).await;
    let good = key();
    store.set(&good, &record("{}"), When::Absent).await.unwrap();
    let good: Vec<u8> = server.run(&["GET", good.as_str()]);
    let values = [
        b"{\"count\":1}".to_vec(),
        b"x".to_vec(),
        b"present".to_vec(),
        [&[2], &good[1..]].concat(),
        good[..8].to_vec(),
        good[..12].to_vec(),
    ];
    for value in values {
        let key = key();
        put(&server, &key, &value).await;
        assert_corrupt(&store, &key, value.len() < 9 || value[0] != 1).await;
        assert_eq!(server.run::<Vec<u8>>(&["GET", key.as_str()]), value);
    }
    for key in [key(), plain_key()] {
        let _: i64 = server.run(&["LPUSH", key.as_str(), "x"]);
        assert_corrupt(&store, &key, true).await;
        assert_eq!(server.run::<Vec<String>>(&["LRANGE", key.as_str(), "0", "-1"]), ["x"]);
    }
}

/// `in_the_head`: so that even a script, which reads no more, sees it.
async fn assert_corrupt(store: &RedisStore, key: &StoreKey, in_the_head: bool) {
    let (new, other) = (record("new"), self::key());
    let corrupt = |error: StoreError| {
        assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{error}");
        assert!(!format!("{error} {error:?}").contains(key.as_str()));
    };
    corrupt(store.get(key).await.unwrap_err());
    corrupt(store.set(key, &new, When::Absent).await.unwrap_err());
    corrupt(store.set(key, &new, When::Tagged(Tag::random())).await.unwrap_err());
    corrupt(store.rotate(key, When::Tagged(Tag::random()), &other, &new).await.unwrap_err());
    assert!(store.get(&other).await.unwrap().is_none());
    if in_the_head {
        corrupt(store.set(key, &new, When::Present).await.unwrap_err());
        corrupt(store.touch(key, new.expires_at).await.unwrap_err());
        corrupt(store.rotate(key, When::Present, &other, &new).await.unwrap_err());
    }
}

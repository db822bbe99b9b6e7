//! The server is there, and does not do it.

use axum_generic_session::{
    RedisStore,
    store::{Store, StoreErrorKind, When, Written},
};

use super::{HOUR, NO, becomes, key, kind, record, servers::redis::Redis};

/// F9: a primary without enough replicas refuses logouts, too, and that is told.
#[tokio::test]
async fn a_primary_without_its_replicas_refuses_writes_and_logouts() {
    let server = Redis::start();
    let store = RedisStore::connect(&server.url()).await.unwrap();
    let (key, one) = (key(), record("1"));
    store.set(&key, &one, When::Absent).await.unwrap();
    let () = server.run(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    let refused = store.set(&key, &record("2"), When::Tagged(one.tag)).await.unwrap_err();
    assert_eq!(refused.kind(), NO, "{refused}");
    assert!(refused.to_string().contains("min-replicas-to-write"), "{refused}");
    assert_eq!(kind(store.destroy(&key).await), Some(NO));
    assert_eq!(kind(store.rotate(&key, When::Present, &self::key(), &record("2")).await), Some(NO));
    assert!(store.get(&key).await.unwrap().is_some_and(|found| found == one));
}

/// F9: a replica that has lost its primary, and says so to everything.
#[tokio::test]
async fn a_replica_without_its_primary_is_away() {
    let mut primary = Redis::start();
    let of = format!("127.0.0.1 {}", primary.port());
    let replica = Redis::with(&["--replicaof", &of, "--replica-serve-stale-data", "no"]);
    replica.wait_for("it is in step", |it| it.try_run::<u64>(&["DBSIZE"]).is_ok());
    let store = RedisStore::connect(&replica.url()).await.unwrap();
    let mut status = store.connection().unwrap();
    primary.kill();
    becomes(&mut status, false).await;
    let error = store.get(&key()).await.unwrap_err();
    assert_eq!(error.kind(), NO, "{error}");
    let () = replica.run(&["REPLICAOF", "NO", "ONE"]);
    becomes(&mut status, true).await;
    assert!(store.get(&key()).await.unwrap().is_none());
}

/// F11: no room for a session more; those that are there live on, are extended and logged out.
#[tokio::test]
async fn a_full_server_takes_no_sessions_but_ends_them() {
    let server = Redis::start();
    let store = RedisStore::connect(&server.url()).await.unwrap();
    let (key, one) = (key(), record("1"));
    store.set(&key, &one, When::Absent).await.unwrap();
    let () = server.run(&["CONFIG", "SET", "maxmemory", "1"]);
    let full = Some(StoreErrorKind::Full);
    assert_eq!(kind(store.set(&self::key(), &record("2"), When::Absent).await), full);
    assert_eq!(kind(store.set(&key, &record("2"), When::Tagged(one.tag)).await), full);
    let new = self::key();
    assert_eq!(kind(store.rotate(&key, When::Tagged(one.tag), &new, &record("2")).await), full);
    assert!(store.get(&new).await.unwrap().is_none());
    assert!(store.get(&key).await.unwrap().is_some_and(|found| found == one));
    assert!(store.touch(&key, one.expires_at.saturating_add(HOUR)).await.unwrap());
    let end: u64 = server.run(&["PEXPIRETIME", key.as_str()]);
    assert_eq!(end, one.expires_at.saturating_add(HOUR).as_millis());
    store.destroy(&key).await.unwrap();
    assert!(store.get(&key).await.unwrap().is_none());
    let () = server.run(&["CONFIG", "SET", "maxmemory", "0"]);
    assert!(store.set(&key, &one, When::Absent).await.unwrap() == Written::Done);
}

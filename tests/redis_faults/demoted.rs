//! The server is no primary any more.

use std::time::Duration;

use axum_generic_session::{
    RedisStore,
    store::{Connection, Store, StoreErrorKind, When, Written},
};

use super::{
    SOON, Scene, becomes, key, kind, record,
    servers::redis::{Redis, RedisSentinel},
    soon,
};

/// F9 on one server: reads go on, nothing pretends to have been written, and it is found out when it is over.
#[tokio::test]
async fn a_demoted_server_is_read_only_until_it_is_promoted() {
    let other = Redis::start();
    let server = Redis::start();
    let store = RedisStore::builder(server.url()).time_limit(SOON).connect().await.unwrap();
    let (key, one) = (key(), record("1"));
    // On both, for the replica takes over what the other has.
    RedisStore::connect(&other.url()).await.unwrap().set(&key, &one, When::Absent).await.unwrap();
    let () = server.run(&["REPLICAOF", "127.0.0.1", &other.port().to_string()]);
    server.wait_for("it is a replica in step", |it| it.info("master_link_status") == "up");

    assert_eq!(
        kind(soon(store.set(&key, &record("2"), When::Tagged(one.tag))).await),
        Some(StoreErrorKind::ReadOnly)
    );
    assert_eq!(kind(soon(store.destroy(&key)).await), Some(StoreErrorKind::ReadOnly));
    assert!(soon(store.get(&key)).await.unwrap().is_some_and(|found| found == one));
    let () = server.run(&["REPLICAOF", "NO", "ONE"]);
    assert!(soon(store.set(&key, &record("2"), When::Tagged(one.tag))).await.unwrap() == Written::Done);
}

/// F9 behind a name that moves to the new primary: the write that finds out is made there.
#[tokio::test]
async fn a_demoted_server_is_left_for_the_one_its_name_leads_to_now() {
    let scene = Scene::set().await;
    let new = Redis::with(&["--replicaof", &format!("127.0.0.1 {}", scene.server.port())]);
    new.wait_for("it is a replica in step", |it| it.run::<u64>(&["EXISTS", scene.key.as_str()]) == 1);
    let () = new.run(&["REPLICAOF", "NO", "ONE"]);
    let () = scene.server.run(&["REPLICAOF", "127.0.0.1", &new.port().to_string()]);
    scene.proxy.lead_to(new.port());
    // Two changes of place within a second would be a server that is a replica and stays one.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let after = record("after");
    let answer = soon(scene.store.set(&scene.key, &after, When::Tagged(scene.before.tag))).await.unwrap();
    assert!(answer == Written::Done);
    assert!(scene.stored().await.is_some_and(|found| found == after));
    assert_eq!(*scene.status.borrow(), Connection::Connected, "it was never away");
    assert!(!scene.status.has_changed().unwrap());
}

/// F9 with Sentinel, which ends the connections of a primary that it demotes.
#[tokio::test(flavor = "multi_thread")]
async fn a_demoted_primary_is_left_for_the_one_that_sentinel_names() {
    let sentinel = RedisSentinel::start();
    let store = RedisStore::sentinel(sentinel.urls(), RedisSentinel::NAME).time_limit(SOON);
    let store = store.connect().await.unwrap();
    let mut status = store.connection().unwrap();
    let (key, one, two) = (key(), record("1"), record("2"));
    store.set(&key, &one, When::Absent).await.unwrap();
    sentinel.replica.wait_for("the write is replicated", |it| it.run::<u64>(&["EXISTS", key.as_str()]) == 1);
    let () = sentinel.sentinels[0].run(&["SENTINEL", "FAILOVER", RedisSentinel::NAME]);
    sentinel.wait_for_failover();
    sentinel.primary.wait_for("the old primary is a replica", |it| it.info("role") == "slave");
    // The loss may be noticed after the failover; then this is the connection from before.
    let write = || store.set(&key, &two, When::Tagged(one.tag));
    let written = loop {
        becomes(&mut status, true).await;
        match soon(write()).await {
            Err(error) if error.is_unavailable() => {}
            answer => break answer.unwrap(),
        }
    };
    assert!(written == Written::Done);
    assert!(soon(store.get(&key)).await.unwrap().is_some_and(|found| found == two));
    assert_eq!(sentinel.replica.run::<u64>(&["EXISTS", key.as_str()]), 1);
}

//! The server, or its replica, takes its time.

use std::time::Duration;

use axum_generic_session::{
    RedisStore,
    store::{Connection, Store, When, Written},
};

use super::{HOUR, NEVER, NO, SOON, UNKNOWN, becomes, key, kind, record, servers::redis::Redis, soon};

/// F5: a server that is slow. Calls within the limit succeed.
#[tokio::test]
async fn a_pause_within_the_limit_is_waited_out() {
    let server = Redis::start();
    let store = RedisStore::builder(server.url()).time_limit(SOON).connect().await.unwrap();
    let (key, one) = (key(), record("1"));
    for what in ["ALL", "WRITE"] {
        let () = server.run(&["CLIENT", "PAUSE", "300", what]);
        soon(store.destroy(&key)).await.unwrap();
        assert!(soon(store.set(&key, &one, When::Absent)).await.unwrap() == Written::Done);
    }
    assert_eq!(*store.connection().unwrap().borrow(), Connection::Connected);
}

/// F5: a server that is slower than the limit. What has been sent is in doubt, and it is no more than allowed.
#[tokio::test]
async fn a_longer_pause_ends_at_the_limit_and_calls_do_not_pile_up() {
    let server = Redis::start();
    let limit = Duration::from_millis(500);
    let store = RedisStore::builder(server.url()).time_limit(limit).max_in_flight(8).connect().await.unwrap();
    let mut status = store.connection().unwrap();
    let (key, one) = (key(), record("1"));
    store.set(&key, &one, When::Absent).await.unwrap();

    // Writes only: reads go on, and so the connection counts as there.
    let () = server.run(&["CLIENT", "PAUSE", "60000", "WRITE"]);
    let late = record("late");
    assert_eq!(kind(soon(store.set(&key, &late, When::Tagged(one.tag))).await), Some(UNKNOWN));
    assert_eq!(*status.borrow(), Connection::Connected);
    let () = server.run(&["CLIENT", "UNPAUSE"]);
    assert!(soon(store.set(&key, &late, When::Tagged(one.tag))).await.unwrap() == Written::Done);
    assert!(soon(store.get(&key)).await.unwrap().is_some_and(|found| found == late));

    server.reset_calls();
    let () = server.run(&["CLIENT", "PAUSE", "60000", "WRITE"]);
    let calls: Vec<_> = (0..500)
        .map(|_| {
            let (store, key) = (store.clone(), key.clone());
            tokio::spawn(async move { store.set(&key, &record("x"), When::Present).await })
        })
        .collect();
    let mut kinds = Vec::new();
    for call in calls {
        kinds.push(kind(soon(call).await.unwrap()).expect("no answer"));
    }
    let sent = kinds.iter().filter(|kind| **kind == UNKNOWN).count();
    let not_sent = kinds.iter().filter(|kind| **kind == NO).count();
    assert_eq!((sent, not_sent), (8, 492));
    let () = server.run(&["CLIENT", "UNPAUSE"]);
    becomes(&mut status, true).await;
    soon(store.set(&key, &record("y"), When::Present)).await.unwrap();
    assert!(server.calls()["evalsha"] <= 8 + 1);
}

/// F12: somebody's script that does not end.
#[tokio::test(flavor = "multi_thread")]
async fn a_busy_server_is_away_until_the_script_is_killed() {
    let server = Redis::with(&["--busy-reply-threshold", "50"]);
    let store = RedisStore::builder(server.url()).time_limit(Duration::from_secs(3)).connect().await.unwrap();
    let mut status = store.connection().unwrap();
    std::thread::scope(|scope| {
        let script = scope.spawn(|| server.try_run::<()>(&["EVAL", "while true do end", "0"]));
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                becomes(&mut status, false).await;
                let error = store.get(&key()).await.unwrap_err();
                assert_eq!(error.kind(), NO, "{error}");
                assert!(error.to_string().contains("BUSY"), "{error}");
            });
        });
        let () = server.run(&["SCRIPT", "KILL"]);
        script.join().unwrap().unwrap_err();
    });
    becomes(&mut status, true).await;
    assert!(store.get(&key()).await.unwrap().is_none());
}

/// A replica that does not confirm leaves the write in doubt, and holds up neither reads nor lives.
#[tokio::test]
async fn a_write_that_no_replica_confirms_is_in_doubt() {
    let server = Redis::start();
    let open = |wait| RedisStore::builder(server.url()).time_limit(NEVER).ack_replicas(1, wait).connect();
    let brief = open(Duration::from_millis(50)).await.unwrap();
    let (key, one) = (key(), record("1"));
    for _ in 0..2 {
        let error = soon(brief.set(&key, &one, When::Absent)).await.unwrap_err();
        assert_eq!(error.kind(), UNKNOWN, "{error}");
        assert!(error.to_string().contains("0 of the 1 replicas"), "{error}");
        assert!(brief.get(&key).await.unwrap().is_some_and(|found| found == one));
    }
    // A refusal has changed nothing that a replica could confirm.
    assert!(
        soon(brief.set(&key, &record("2"), When::Absent)).await.unwrap()
            == Written::Conflict(Some(one.clone()))
    );

    let patient = open(NEVER).await.unwrap();
    let writing = tokio::spawn({
        let (patient, key, tag) = (patient.clone(), key.clone(), one.tag);
        async move { patient.set(&key, &record("2"), When::Tagged(tag)).await }
    });
    while soon(patient.get(&key)).await.unwrap().is_some_and(|found| found == one) {}
    assert!(soon(patient.touch(&key, one.expires_at.saturating_add(HOUR))).await.unwrap());
    assert!(!writing.is_finished());
    writing.abort();
}

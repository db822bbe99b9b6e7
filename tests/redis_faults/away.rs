//! The server is away, or its network.

use std::time::{Duration, Instant};

use axum_generic_session::{
    RedisStore,
    store::{Connection, Store, When},
};

use super::{
    NEVER, NO, becomes,
    figures::Figure,
    key, kind, record,
    servers::{proxy::Proxy, redis::Redis},
    soon,
};

/// F1, and what the status says meanwhile.
#[tokio::test]
async fn a_server_that_dies_fails_calls_at_once_and_is_found_again() {
    let mut server = Redis::with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let store = RedisStore::builder(server.url()).time_limit(NEVER).connect().await.unwrap();
    let mut status = store.connection().unwrap();
    assert_eq!(*status.borrow_and_update(), Connection::Connected);
    let (key, one) = (key(), record("1"));
    store.set(&key, &one, When::Absent).await.unwrap();

    server.kill();
    // The client's own event; no call has been made.
    let Connection::Disconnected { since } = becomes(&mut status, false).await else { unreachable!() };
    for _ in 0..100 {
        assert_eq!(kind(soon(store.get(&key)).await), Some(NO));
        assert_eq!(kind(soon(store.set(&key, &record("2"), When::Tagged(one.tag))).await), Some(NO));
        assert_eq!(kind(soon(store.touch(&key, one.expires_at)).await), Some(NO));
        assert_eq!(kind(soon(store.destroy(&key)).await), Some(NO));
    }
    // Some tries to connect later it is still the same loss.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(*status.borrow(), Connection::Disconnected { since });
    assert!(!status.has_changed().unwrap());

    server.launch();
    let (figure, up) = (Figure::of("B11", "Redis"), Instant::now());
    becomes(&mut status, true).await;
    figure.count("back_after_ms", up.elapsed().as_millis() as usize).report();
    assert!(soon(store.get(&key)).await.unwrap().is_some_and(|found| found == one));
}

/// Neither a word nor an end: only a `PING` can tell.
#[tokio::test]
async fn a_server_that_falls_silent_is_noticed_without_a_call() {
    let server = Redis::start();
    let store =
        RedisStore::builder(server.url()).time_limit(Duration::from_millis(300)).connect().await.unwrap();
    let mut status = store.connection().unwrap();
    server.signal("STOP");
    becomes(&mut status, false).await;
    assert_eq!(kind(soon(store.get(&key())).await), Some(NO));
    server.signal("CONT");
    becomes(&mut status, true).await;
    assert!(soon(store.get(&key())).await.unwrap().is_none());
}

/// The same when the network swallows everything, and RESP2, which has no event, when it ends.
#[tokio::test]
async fn a_lost_network_is_noticed_and_so_is_a_lost_connection_without_events() {
    let server = Redis::start();
    let () = server.run(&["ACL", "SETUSER", "old", "on", ">pw", "~*", "+@all", "-hello"]);
    let proxy = Proxy::to(server.port()).await;
    let url = format!("redis://old:pw@127.0.0.1:{}", proxy.port());
    let store = RedisStore::builder(url).time_limit(Duration::from_millis(300)).connect().await.unwrap();
    let mut status = store.connection().unwrap();
    for _ in 0..2 {
        proxy.black_hole(true);
        becomes(&mut status, false).await;
        proxy.black_hole(false);
        becomes(&mut status, true).await;
    }
    proxy.refuse(true);
    becomes(&mut status, false).await;
    proxy.refuse(false);
    becomes(&mut status, true).await;
    assert!(soon(store.get(&key())).await.unwrap().is_none());
}

//! The Redis store when things go wrong: every fault is made with a real server or at the byte, by a proxy.
//! "At once" is shown by limits that are far longer than what the test waits.
#![cfg(feature = "redis-store")]
#![allow(clippy::unwrap_used, reason = "an unwrap that fails is a test that fails")]

mod figures;
mod servers;

use std::time::{Duration, Instant};

use axum::body::Bytes;
#[cfg(feature = "testing")]
use axum::{Router, routing::get};
use axum_generic_session::{
    Clock, RedisStore, SessionId, StoreKey, SystemClock,
    store::{Applied, Connection, Record, Store, StoreError, StoreErrorKind, Tag, When, Written},
};
#[cfg(feature = "testing")]
use axum_generic_session::{Map, Session, SessionLayer, testing::Client};
use figures::Figure;
#[cfg(feature = "testing")]
use serde_json::Value;
use servers::{
    proxy::Proxy,
    redis::{Redis, RedisSentinel},
};
use tokio::{sync::watch, time::timeout};

const HOUR: Duration = Duration::from_secs(3600);
/// Longer than any test waits, so that what comes back earlier has not waited for it.
const NEVER: Duration = Duration::from_secs(300);
/// Longer than anything takes that does not wait for [`NEVER`].
const SOON: Duration = Duration::from_secs(30);
const NO: StoreErrorKind = StoreErrorKind::Unavailable(Applied::No);
const UNKNOWN: StoreErrorKind = StoreErrorKind::Unavailable(Applied::Unknown);

fn key() -> StoreKey {
    StoreKey::hashed("test:", &SessionId::random())
}

fn record(data: &'static str) -> Record {
    let expires_at = SystemClock.now().saturating_add(HOUR);
    Record { tag: Tag::random(), expires_at, principal: None, data: Bytes::from_static(data.as_bytes()) }
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(SOON, what).await.expect("it hangs")
}

fn kind<T>(answer: Result<T, StoreError>) -> Option<StoreErrorKind> {
    answer.err().map(|error| error.kind())
}

async fn becomes(status: &mut watch::Receiver<Connection>, connected: bool) -> Connection {
    let wanted = |now: &Connection| (*now == Connection::Connected) == connected;
    *soon(status.wait_for(wanted)).await.expect("the store is there")
}

/// A server behind a proxy, a store that will not wait, and a session in it.
struct Scene {
    server: Redis,
    proxy: Proxy,
    store: RedisStore,
    status: watch::Receiver<Connection>,
    key: StoreKey,
    before: Record,
}

impl Scene {
    async fn set() -> Self {
        let server = Redis::start();
        let proxy = Proxy::to(server.port()).await;
        let url = format!("redis://127.0.0.1:{}", proxy.port());
        let store = RedisStore::builder(url).time_limit(NEVER).connect().await.unwrap();
        let status = store.connection().unwrap();
        let (key, before) = (key(), record("before"));
        // Each script once, so that what follows is one request.
        store.touch(&key, before.expires_at).await.unwrap();
        store.set(&key, &before, When::Present).await.unwrap();
        store.rotate(&key, When::Present, &self::key(), &before).await.unwrap();
        store.set(&key, &before, When::Absent).await.unwrap();
        Self { server, proxy, store, status, key, before }
    }

    /// As after the next request of the same visitor.
    async fn reconnected(&mut self) {
        becomes(&mut self.status, true).await;
    }

    async fn stored(&self) -> Option<Record> {
        soon(self.store.get(&self.key)).await.unwrap()
    }
}

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

/// F2, F3, F4, F7: the request does not arrive, or not whole. Nothing has changed; the same call again does it.
#[tokio::test]
async fn a_request_that_is_cut_changes_nothing_and_can_be_repeated() {
    let mut scene = Scene::set().await;
    let after = record("after");
    for bytes in [0, 1, 20, 90] {
        let key = scene.key.clone();
        scene.proxy.cut_request("EVALSHA", bytes);
        let cut = soon(scene.store.set(&key, &after, When::Tagged(scene.before.tag))).await;
        assert_eq!(kind(cut), Some(UNKNOWN), "set, after {bytes} bytes");
        scene.reconnected().await;
        assert!(scene.stored().await.is_some_and(|found| found == scene.before));

        scene.proxy.cut_request("EVALSHA", bytes);
        let later = scene.before.expires_at.saturating_add(HOUR);
        assert_eq!(kind(soon(scene.store.touch(&key, later)).await), Some(UNKNOWN), "touch");
        scene.reconnected().await;
        assert!(scene.stored().await.is_some_and(|found| found.expires_at == scene.before.expires_at));

        scene.proxy.cut_request("DEL", bytes.min(10));
        assert_eq!(kind(soon(scene.store.destroy(&key)).await), Some(UNKNOWN), "destroy");
        scene.reconnected().await;
        assert!(scene.stored().await.is_some_and(|found| found == scene.before));

        let new = self::key();
        scene.proxy.cut_request("EVALSHA", bytes);
        let cut = soon(scene.store.rotate(&key, When::Tagged(scene.before.tag), &new, &after)).await;
        assert_eq!(kind(cut), Some(UNKNOWN), "rotate");
        scene.reconnected().await;
        assert!(scene.stored().await.is_some_and(|found| found == scene.before));
        assert!(scene.store.get(&new).await.unwrap().is_none());

        // There is nothing to be in doubt about in a read.
        scene.proxy.cut_request("GET", bytes.min(10));
        assert_eq!(kind(soon(scene.store.get(&key)).await), Some(NO), "get");
        scene.reconnected().await;
    }
    assert_eq!(scene.proxy.cuts(), 20, "each of them was cut");
    let again = soon(scene.store.set(&scene.key, &after, When::Tagged(scene.before.tag))).await.unwrap();
    assert!(again == Written::Done);
}

/// F6: it has happened, and nobody was told. The same call again recognises it.
#[tokio::test]
async fn a_write_whose_answer_is_cut_is_recognised_when_it_is_repeated() {
    let mut scene = Scene::set().await;
    for bytes in [0, 1, 2] {
        let (key, new, one, two, three) = (key(), key(), record("1"), record("2"), record("3"));
        for (record, when) in [(&one, When::Absent), (&two, When::Tagged(one.tag)), (&three, When::Present)] {
            scene.proxy.cut_reply(if when == When::Absent { "PXAT" } else { "EVALSHA" }, bytes);
            assert_eq!(kind(soon(scene.store.set(&key, record, when)).await), Some(UNKNOWN), "{when:?}");
            scene.reconnected().await;
            assert!(
                soon(scene.store.get(&key)).await.unwrap().is_some_and(|found| found == *record),
                "it landed"
            );
            assert!(soon(scene.store.set(&key, record, when)).await.unwrap() == Written::Done, "{when:?}");
        }

        let moved = record("moved");
        scene.proxy.cut_reply("EVALSHA", bytes);
        let cut = soon(scene.store.rotate(&key, When::Tagged(three.tag), &new, &moved)).await;
        assert_eq!(kind(cut), Some(UNKNOWN), "rotate");
        scene.reconnected().await;
        assert!(soon(scene.store.get(&key)).await.unwrap().is_none(), "the old one has ended");
        let again = soon(scene.store.rotate(&key, When::Tagged(three.tag), &new, &moved)).await.unwrap();
        assert!(again == Written::Done);
        assert!(soon(scene.store.get(&new)).await.unwrap().is_some_and(|found| found == moved));

        scene.proxy.cut_reply("DEL", bytes);
        assert_eq!(kind(soon(scene.store.destroy(&new)).await), Some(UNKNOWN), "destroy");
        scene.reconnected().await;
        assert_eq!(kind(soon(scene.store.destroy(&new)).await), None);
        assert!(soon(scene.store.get(&new)).await.unwrap().is_none());
    }
    // Somebody else has written in between: then it is a conflict, and never a second write.
    let (ours, theirs) = (record("ours"), record("theirs"));
    scene.proxy.cut_reply("EVALSHA", 0);
    let cut = soon(scene.store.set(&scene.key, &ours, When::Tagged(scene.before.tag))).await;
    assert_eq!(kind(cut), Some(UNKNOWN));
    scene.reconnected().await;
    let other = RedisStore::connect(&scene.server.url()).await.unwrap();
    assert!(other.set(&scene.key, &theirs, When::Tagged(ours.tag)).await.unwrap() == Written::Done);
    let again = soon(scene.store.set(&scene.key, &ours, When::Tagged(scene.before.tag))).await.unwrap();
    assert!(again == Written::Conflict(Some(theirs)));
}

/// The same in a site: the client needs some milliseconds to reconnect, and until then refuses at once. No visitor
/// is to notice, nor anything to be counted twice.
#[cfg(feature = "testing")]
#[tokio::test]
async fn a_request_whose_write_is_cut_waits_for_the_connection_and_succeeds() {
    let scene = Scene::set().await;
    let add = |session: Session| async move {
        let more = |map: &mut Map| {
            let n = map.get("n").and_then(Value::as_u64).unwrap_or(0) + 1;
            map.insert("n".into(), n.into());
            n
        };
        session.transact(more).await.map(|n| n.to_string())
    };
    let app = Router::new()
        .route("/add", get(add))
        .route("/renew", get(|session: Session| async move { session.renew().await }))
        .route("/logout", get(|session: Session| async move { session.destroy() }))
        .layer(SessionLayer::new(scene.store.clone()).name("id").operation_timeout(SOON));
    let mut visitor = Client::new(app);
    let _ = visitor.get("/add").await.expect_status(200);
    let mut counted = 1;
    for round in 0..20 {
        let cut = |needle| match round % 2 {
            0 => scene.proxy.cut_request(needle, round),
            _ => scene.proxy.cut_reply(needle, 0),
        };
        cut("EVALSHA");
        counted += 1;
        assert_eq!(visitor.get("/add").await.expect_status(200).text(), counted.to_string());
        cut("EVALSHA");
        assert_eq!(visitor.get("/renew").await.expect_status(200).set_cookies().len(), 1);
        let mut leaving = visitor.clone();
        if round == 19 {
            cut("DEL");
            let _ = leaving.get("/logout").await.expect_status(200);
            assert_eq!(visitor.get("/add").await.expect_status(200).text(), "1", "a new session");
        }
    }
    assert_eq!(scene.proxy.cuts(), 41, "each of them was cut");
}

/// One cut ends all calls on the connection; the next ones have a new one.
#[tokio::test]
async fn calls_beside_a_cut_one_fail_with_it_and_none_hangs() {
    let mut scene = Scene::set().await;
    scene.proxy.delay(Duration::from_millis(20));
    let (store, key) = (scene.store.clone(), scene.key.clone());
    let calls: Vec<_> = (0..200)
        .map(|_| {
            let (store, key) = (store.clone(), key.clone());
            tokio::spawn(async move { store.get(&key).await })
        })
        .collect();
    scene.proxy.cut_reply("GET", 30);
    let mut failed = 0;
    for call in calls {
        match soon(call).await.unwrap() {
            Ok(found) => assert!(found.is_some_and(|found| found == scene.before)),
            Err(error) => {
                assert_eq!(error.kind(), NO, "{error}");
                failed += 1;
            }
        }
    }
    assert!(failed > 0 && scene.proxy.cuts() == 1);
    scene.proxy.delay(Duration::ZERO);
    scene.reconnected().await;
    assert!(scene.stored().await.is_some());
}

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

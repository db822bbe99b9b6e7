//! The Redis store on real servers: the contract, its round trips as the server counts them, what lies in
//! the server, what is refused at start-up, and that nothing is left behind.
#![cfg(all(feature = "redis-store", feature = "store-contract"))]
#![allow(clippy::unwrap_used, reason = "a test")]

mod servers;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use axum::body::Bytes;
use axum_generic_session::{
    Clock, RedisStore, SessionId, StoreKey, SystemClock, Timestamp,
    redis::{Client, cmd},
    store::{
        ByPrincipal, Layout, Owner, Record, Store, StoreError, StoreErrorKind, Tag, When, Which, Written,
        contract::Contract,
    },
};
use servers::redis::{Redis, RedisCluster, RedisSentinel};

const HOUR: Duration = Duration::from_secs(3600);

async fn open(server: &Redis) -> RedisStore {
    RedisStore::connect(&server.url()).await.unwrap()
}

fn key() -> StoreKey {
    StoreKey::hashed("test:", &SessionId::random())
}

fn plain_key() -> StoreKey {
    StoreKey::plain("koa:sess:", &SessionId::random()).with_layout(Layout::Plain)
}

fn record(data: &'static str) -> Record {
    let expires_at = SystemClock.now().saturating_add(HOUR);
    Record { tag: Tag::random(), expires_at, principal: None, data: Bytes::from_static(data.as_bytes()) }
}

fn plain_record(data: &'static str) -> Record {
    Record { tag: Tag::of(data.as_bytes()), ..record(data) }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_server_keeps_the_contract() {
    let server = Redis::start();
    Contract::new(|| open(&server)).run().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_keeps_the_contract() {
    let cluster = RedisCluster::start();
    Contract::new(|| async { RedisStore::cluster(cluster.urls()).connect().await.unwrap() }).run().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_waits_for_its_replica_keeps_the_contract() {
    let sentinel = RedisSentinel::start();
    let open = || async {
        let store = RedisStore::sentinel(sentinel.urls(), RedisSentinel::NAME);
        store.ack_replicas(1, Duration::from_secs(1)).connect().await.unwrap()
    };
    Contract::new(open).run().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_of_the_applications_own_keeps_the_contract() {
    let server = Redis::start();
    let client = Client::open(server.url()).unwrap();
    let open = || async {
        let connection = client.get_multiplexed_async_connection().await.unwrap();
        RedisStore::with_connection(connection).connect().await.unwrap()
    };
    Contract::new(open).run().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_server_finds_sessions_by_their_principal() {
    let server = Redis::start();
    Contract::new(|| open(&server)).run_by_principal().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_finds_sessions_by_their_principal() {
    let cluster = RedisCluster::start();
    let open = || async { RedisStore::cluster(cluster.urls()).connect().await.unwrap() };
    Contract::new(open).run_by_principal().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_waits_for_its_replica_finds_sessions_by_their_principal() {
    let sentinel = RedisSentinel::start();
    let open = || async {
        let store = RedisStore::sentinel(sentinel.urls(), RedisSentinel::NAME);
        store.ack_replicas(1, Duration::from_secs(1)).connect().await.unwrap()
    };
    Contract::new(open).rounds(10).run_by_principal().await;
}

/// Neither RESP3 nor `PEXPIRETIME`, and no word about its version: what Redis 6.2 behind a proxy looks like.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_knows_less_keeps_the_contract() {
    let server = Redis::start();
    let () =
        server.run(&["ACL", "SETUSER", "old", "on", ">pw", "~*", "+@all", "-hello", "-pexpiretime", "-info"]);
    let url = format!("redis://old:pw@127.0.0.1:{}", server.port());
    // A life is told as the rest of it, a millisecond more or less.
    let contract = Contract::new(|| async { RedisStore::connect(&url).await.unwrap() });
    contract.resolution(Duration::from_millis(5)).run().await;
}

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
async fn an_index_names_nobody_and_ends_with_its_last_session() {
    let server = Redis::start();
    let store = open(&server).await;
    let ada = Owner { prefix: "test:", principal: "ada@example.org" };
    let (key, owned) = (key(), Record { principal: Some(ada.principal.into()), ..record("{}") });
    store.set(&key, &owned, When::Absent).await.unwrap();
    let names: Vec<String> = server.run(&["KEYS", "*"]);
    let index = names.iter().find(|name| *name != key.as_str()).unwrap();
    assert!(index.starts_with("test:") && !index.contains("ada"), "{index}");
    assert!(SessionId::parse(&index["test:".len()..]).is_none(), "no id finds it");
    let end = || server.run::<u64>(&["PEXPIRETIME", index]);
    assert_eq!(end(), owned.expires_at.as_millis());
    let later = owned.expires_at.saturating_add(HOUR);
    assert!(store.touch(&key, later).await.unwrap());
    assert_eq!(end(), later.as_millis(), "who is prolonged stays in it");
    // A logout leaves its entry, and whoever looks takes it out.
    store.destroy(&key).await.unwrap();
    assert_eq!(server.run::<u64>(&["ZCARD", index]), 1);
    assert_eq!(store.sessions_of(ada).await.unwrap(), []);
    assert_eq!(server.run::<Vec<String>>(&["KEYS", "*"]), Vec::<String>::new());
}

#[tokio::test]
async fn a_session_that_cannot_be_read_is_left_out_and_ends_with_the_others() {
    let server = Redis::start();
    let store = open(&server).await;
    let ada = Owner { prefix: "test:", principal: "ada" };
    let (good, bad, list) = (key(), key(), key());
    for key in [&good, &bad, &list] {
        let owned = Record { principal: Some("ada".into()), ..record("{}") };
        store.set(key, &owned, When::Absent).await.unwrap();
    }
    put(&server, &bad, b"no frame").await;
    let _: i64 = server.run(&["DEL", list.as_str()]);
    let _: i64 = server.run(&["LPUSH", list.as_str(), "x"]);
    let found = store.sessions_of(ada).await.unwrap();
    assert_eq!(found.iter().map(|found| found.digest).collect::<Vec<_>>(), [good.digest()]);
    assert_eq!(store.destroy_of(ada, Which::All).await.unwrap(), 3);
    assert_eq!(server.run::<Vec<String>>(&["KEYS", "*"]), Vec::<String>::new());
}

/// The two steps of a write in a cluster, with somebody between them who tidies up.
#[tokio::test(flavor = "multi_thread")]
async fn in_a_cluster_a_login_is_found_though_its_entry_was_taken_out() {
    let cluster = RedisCluster::start();
    let store = RedisStore::cluster(cluster.urls()).connect().await.unwrap();
    let ada = Owner { prefix: "test:", principal: "ada" };
    let over = Arc::new(AtomicBool::new(false));
    let tidy = tokio::spawn({
        let (store, over) = (store.clone(), Arc::clone(&over));
        async move {
            while !over.load(SeqCst) {
                store.sessions_of(ada).await.unwrap();
            }
        }
    });
    let mut keys = BTreeSet::new();
    for _ in 0..200 {
        let (key, owned) = (key(), Record { principal: Some("ada".into()), ..record("{}") });
        assert_eq!(store.set(&key, &owned, When::Absent).await.unwrap(), Written::Done);
        keys.insert(key.digest());
    }
    over.store(true, SeqCst);
    tidy.await.unwrap();
    let found = store.sessions_of(ada).await.unwrap();
    assert_eq!(found.iter().map(|found| found.digest).collect::<BTreeSet<_>>(), keys);
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

async fn put(server: &Redis, key: &StoreKey, value: &[u8]) {
    let mut connection =
        Client::open(server.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
    let mut set = cmd("SET");
    let () = set.arg(key.as_str()).arg(value).query_async(&mut connection).await.unwrap();
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

#[tokio::test]
async fn a_server_that_cannot_keep_sessions_is_refused_in_words() {
    let server = Redis::start();
    let () = server.run(&["ACL", "SETUSER", "scriptless", "on", ">pw", "~*", "+@all", "-@scripting"]);
    let port = server.port();
    let scriptless = RedisStore::connect(&format!("redis://scriptless:pw@127.0.0.1:{port}")).await;
    assert_refused(scriptless, StoreErrorKind::Denied, "+eval +evalsha");
    let without = Redis::with(&["--rename-command", "EVALSHA", ""]);
    assert_refused(RedisStore::connect(&without.url()).await, StoreErrorKind::Misconfigured, "scripts");
    let stranger = RedisStore::connect(&format!("redis://stranger:pw@127.0.0.1:{port}")).await;
    assert_refused(stranger, StoreErrorKind::Denied, "password");
    assert_refused(RedisStore::connect("127.0.0.1:6379").await, StoreErrorKind::Misconfigured, "redis://");
    #[cfg(not(feature = "redis-rustls"))]
    {
        let tls = RedisStore::connect(&format!("rediss://127.0.0.1:{port}")).await;
        assert_refused(tls, StoreErrorKind::Misconfigured, "redis-rustls");
    }
    let cluster = RedisStore::cluster([server.url()]).connect().await;
    assert_refused(cluster, StoreErrorKind::Misconfigured, "RedisStore::connect");
    let no_node = RedisStore::cluster(Vec::<String>::new()).connect().await;
    assert_refused(no_node, StoreErrorKind::Misconfigured, "at least one");
    let shared = Client::open(server.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
    let shared = RedisStore::with_connection(shared).ack_replicas(1, HOUR).connect().await;
    assert_refused(shared, StoreErrorKind::Misconfigured, "ack_replicas");

    let idle = RedisStore::builder(server.url()).ack_replicas(0, HOUR).connect().await.unwrap();
    assert!(idle.set(&key(), &record("1"), When::Absent).await.unwrap() == Written::Done);

    for impossible in [
        RedisStore::builder(server.url()).max_in_flight(0),
        RedisStore::builder(server.url()).time_limit(Duration::ZERO),
    ] {
        assert_refused(impossible.connect().await, StoreErrorKind::Misconfigured, "of 0 no call");
    }
    let misplaced = RedisStore::builder(server.url()).server_settings(server.url()).connect().await;
    assert_refused(misplaced, StoreErrorKind::Misconfigured, "RedisStore::sentinel");
    let bounded = RedisStore::builder(server.url()).time_limit(Duration::MAX).connect().await.unwrap();
    assert!(bounded.get(&key()).await.unwrap().is_none());

    let node =
        Redis::with(&["--cluster-enabled", "yes", "--cluster-port", &servers::free_port().to_string()]);
    assert_refused(
        RedisStore::connect(&node.url()).await,
        StoreErrorKind::Misconfigured,
        "RedisStore::cluster",
    );

    let nowhere = RedisStore::connect(&format!("redis://127.0.0.1:{}", servers::free_port())).await;
    assert!(nowhere.unwrap_err().is_unavailable());
}

fn assert_refused(store: Result<RedisStore, StoreError>, kind: StoreErrorKind, words: &str) {
    let error = store.unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(words), "{error}");
    assert!(!error.to_string().contains("pw"), "{error}");
}

#[tokio::test]
async fn sentinel_is_told_from_a_server_and_asked_by_name() {
    let sentinel = RedisSentinel::start();
    let as_server = RedisStore::connect(&sentinel.urls()[0]).await;
    assert_refused(as_server, StoreErrorKind::Misconfigured, "RedisStore::sentinel");
    let unknown = RedisStore::sentinel(sentinel.urls(), "nobody").connect().await;
    assert_refused(unknown, StoreErrorKind::Misconfigured, "`nobody`");
    // One that is away, and one that is none, do not matter.
    let mut addresses = vec![format!("redis://127.0.0.1:{}", servers::free_port()), sentinel.replica.url()];
    addresses.extend(sentinel.urls());
    let store = RedisStore::sentinel(addresses, RedisSentinel::NAME).connect().await.unwrap();
    assert!(store.set(&key(), &record("1"), When::Absent).await.unwrap() == Written::Done);
}

#[tokio::test]
async fn the_users_of_a_server_need_no_more_than_the_message_says() {
    let server = Redis::start();
    let rights = "+get +set +del +exists +getrange +setrange +pexpireat +eval +evalsha";
    let mut acl = vec!["ACL", "SETUSER", "app", "on", ">pw", "~test:*", "-@all"];
    acl.extend(rights.split(' '));
    let () = server.run(&acl);
    let store = RedisStore::connect(&format!("redis://app:pw@127.0.0.1:{}", server.port())).await.unwrap();
    let (key, new, one, two) = (key(), key(), record("1"), record("2"));
    assert!(store.set(&key, &one, When::Absent).await.unwrap() == Written::Done);
    assert!(store.touch(&key, one.expires_at.saturating_add(HOUR)).await.unwrap());
    assert!(store.rotate(&key, When::Present, &new, &two).await.unwrap() == Written::Done);
    assert!(store.get(&new).await.unwrap().is_some_and(|found| found == two));
    store.destroy(&new).await.unwrap();

    // Another prefix, and a command taken away, outside a script and inside.
    let foreign = StoreKey::hashed("other:", &SessionId::random());
    let () = server.run(&["ACL", "SETUSER", "app", "-set", "-del"]);
    let errors = [
        store.get(&foreign).await.unwrap_err(),
        store.set(&foreign, &one, When::Absent).await.unwrap_err(),
        store.destroy(&key).await.unwrap_err(),
        store.set(&key, &one, When::Absent).await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), StoreErrorKind::Denied, "{error}");
        assert!(!error.to_string().contains(key.as_str()), "{error}");
    }
}

#[tokio::test]
async fn an_evicting_server_is_a_warning() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    let strict = Redis::with(&["--maxmemory", "100mb"]);
    open(&strict).await;
    assert_eq!(log.take(), Vec::<String>::new());
    let evicting = Redis::with(&["--maxmemory", "100mb", "--maxmemory-policy", "volatile-lru"]);
    open(&evicting).await;
    let lines = log.take();
    assert!(
        lines.len() == 1 && lines[0].contains("noeviction") && lines[0].contains("volatile-lru"),
        "{lines:?}"
    );
}

/// Keeps warnings.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl tracing::Subscriber for Log {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::WARN && metadata.target().starts_with("axum_generic_session")
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn event(&self, event: &tracing::Event<'_>) {
        struct Line(String);
        impl tracing::field::Visit for Line {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                self.0 += &format!("{field}={value:?} ");
            }
        }
        let mut line = Line(String::new());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test]
async fn nothing_is_left_when_the_last_handle_is_gone() {
    let cluster = RedisCluster::start();
    let server = Redis::start();
    let metrics = tokio::runtime::Handle::current().metrics();
    let store = RedisStore::builder(server.url()).connect().await.unwrap();
    let clustered = RedisStore::cluster(cluster.urls()).connect().await.unwrap();
    let status = [store.connection().unwrap(), clustered.connection().unwrap()];
    let clients =
        |server: &Redis| server.run::<String>(&["CLIENT", "LIST", "TYPE", "NORMAL"]).lines().count() - 1;
    assert!(metrics.num_alive_tasks() > 0 && clients(&server) == 1);
    assert!((0..3).all(|node| clients(&cluster.nodes[node]) == 1), "one connection to each primary");

    let (last, last_clustered) = (store.clone(), clustered.clone());
    drop((store, clustered));
    assert!(last.get(&key()).await.unwrap().is_none() && last_clustered.get(&key()).await.unwrap().is_none());
    drop((last, last_clustered));
    // An aborted task ends when the runtime comes by; the server sees its connection closed then.
    let gone = async {
        while metrics.num_alive_tasks() > 0 || clients(&server) > 0 || clients(&cluster.nodes[0]) > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone).await.expect("tasks or connections stay");
    for mut status in status {
        assert!(status.changed().await.is_err(), "nobody is left to tell the status");
    }
}

/// A store that never gets to its server must not stay either.
#[tokio::test]
async fn nothing_is_left_of_a_store_that_could_not_be_opened() {
    let metrics = tokio::runtime::Handle::current().metrics();
    let nowhere = format!("redis://127.0.0.1:{}", servers::free_port());
    RedisStore::connect(&nowhere).await.unwrap_err();
    RedisStore::cluster([nowhere]).connect().await.unwrap_err();
    let gone = async {
        while metrics.num_alive_tasks() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone).await.expect("a task stays");
}

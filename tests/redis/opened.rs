//! What is looked at when a store is opened: what is refused, in words, and what is a warning.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum_generic_session::{
    RedisStore, SessionId, StoreKey,
    redis::Client,
    store::{Store, StoreError, StoreErrorKind, When, Written},
};

use super::{
    HOUR, key, open, record,
    servers::{
        self,
        redis::{Redis, RedisSentinel},
    },
};

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

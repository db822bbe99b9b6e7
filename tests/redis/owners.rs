//! The index of a principal's sessions.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use axum_generic_session::{
    RedisStore, SessionId,
    store::{ByPrincipal, Owner, Record, Store, When, Which, Written},
};

use super::{
    HOUR, key, open, put, record,
    servers::redis::{Redis, RedisCluster},
};

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

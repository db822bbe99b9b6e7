//! The Redis store on real servers: the contract, its round trips as the server counts them, what lies in
//! the server, what is refused at start-up, and that nothing is left behind.
#![cfg(all(feature = "redis-store", feature = "store-contract"))]
#![allow(clippy::unwrap_used, reason = "a test")]

mod ended;
#[path = "../kit/mod.rs"]
mod kit;
mod opened;
mod owners;
#[path = "../servers/mod.rs"]
mod servers;
mod trips;
mod values;

use std::time::Duration;

use axum_generic_session::{
    RedisStore, SessionId, StoreKey,
    redis::{Client, cmd},
    store::{Layout, Record, Tag, contract::Contract},
};
use kit::{HOUR, key, record};
use servers::redis::{Redis, RedisCluster, RedisSentinel};

async fn open(server: &Redis) -> RedisStore {
    RedisStore::connect(&server.url()).await.unwrap()
}

fn plain_key() -> StoreKey {
    StoreKey::plain("koa:sess:", &SessionId::random()).with_layout(Layout::Plain)
}

fn plain_record(data: &'static str) -> Record {
    Record { tag: Tag::of(data.as_bytes()), ..record(data) }
}

async fn put(server: &Redis, key: &StoreKey, value: &[u8]) {
    let mut connection =
        Client::open(server.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
    let mut set = cmd("SET");
    let () = set.arg(key.as_str()).arg(value).query_async(&mut connection).await.unwrap();
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

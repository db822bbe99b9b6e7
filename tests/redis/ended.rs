//! Nothing is left of a store that nobody holds.

use std::time::Duration;

use axum_generic_session::{RedisStore, store::Store};

use super::{
    key,
    servers::{
        self,
        redis::{Redis, RedisCluster},
    },
};

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

//! Connections that break.

use axum_generic_session::{
    Store,
    store::{PostgresStore, Tag, When, Written},
};
use sqlx::Row;

use super::{
    kit::{eventually, record, soon, stored},
    lost::{self, Wired},
    pool_of,
    servers::{postgres::Postgres, proxy::Proxy},
    store,
    traps::{locked, other, waiting},
};

async fn wired(server: &Postgres, schema: &str) -> Wired<PostgresStore> {
    let proxy = Proxy::to(server.port()).await;
    let pool = pool_of(1, proxy.port(), &[]);
    let store = PostgresStore::new(pool.clone()).schema(schema).unwrap();
    Wired {
        proxy,
        store,
        direct: self::store(server, schema).await,
        idle: Box::new(move || pool.num_idle() == 1),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_answer_was_lost_is_recognised() {
    let server = Postgres::shared();
    lost::a_write_whose_answer_was_lost_is_recognised(wired(&server, "doubt_0").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_write_that_others_have_built_on_is_in_doubt_not_in_conflict() {
    let server = Postgres::shared();
    lost::a_lost_write_that_others_have_built_on_is_in_doubt_not_in_conflict(wired(&server, "doubt_1").await)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_write_to_a_session_that_was_ended_meanwhile_is_in_doubt() {
    let server = Postgres::shared();
    lost::a_lost_write_to_a_session_that_was_ended_meanwhile_is_in_doubt(wired(&server, "doubt_2").await)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_was_lost_is_sent_again() {
    let server = Postgres::shared();
    lost::a_request_that_was_lost_is_sent_again(wired(&server, "doubt_3").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_stays_lost_is_in_doubt() {
    let server = Postgres::shared();
    lost::an_answer_that_stays_lost_is_in_doubt(wired(&server, "doubt_4").await).await;
}

/// `pg_terminate_backend` on a statement that waits for a lock.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_killed_in_mid_query_is_replaced() {
    let server = Postgres::shared();
    let store = store(&server, "killed").await;
    let (key, first) = stored(&store, record("first")).await;
    let mut other = locked(&server, "killed", &key, Tag::random()).await;
    let mine = record("mine");
    let set = tokio::spawn({
        let (store, key, mine) = (store.clone(), key.clone(), mine.clone());
        async move { store.set(&key, &mine, When::Tagged(first.tag)).await }
    });
    eventually("the write waits", async || waiting(&server, "killed").await == 1).await;
    let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE wait_event_type = 'Lock' AND query LIKE '%killed%' AND pid <> pg_backend_pid()";
    let killed = sqlx::query(kill).fetch_all(&mut self::other(&server).await).await.unwrap();
    assert!(killed.len() == 1 && killed[0].get::<bool, _>(0));
    eventually("the second attempt waits", async || waiting(&server, "killed").await == 1).await;
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    assert_eq!(soon("the write", set).await.unwrap().unwrap(), Written::Done);
    assert_eq!(store.get(&key).await.unwrap(), Some(mine));
}

//! Connections that break.

use axum_generic_session::{
    Store,
    store::{MySqlStore, Tag, When, Written},
};

use super::{
    kit::{eventually, record, soon, stored},
    lost::{self, Wired},
    pool_of,
    servers::{mariadb::MariaDb, proxy::Proxy},
    store,
    traps::{locked, other, waiters, waiting},
};

async fn wired(server: &MariaDb, table: &str) -> Wired<MySqlStore> {
    let proxy = Proxy::to(server.port()).await;
    let pool = pool_of(1, proxy.port(), "DO 0");
    let store = MySqlStore::new(pool.clone()).table(table).unwrap();
    Wired {
        proxy,
        store,
        direct: self::store(server, table).await,
        idle: Box::new(move || pool.num_idle() == 1),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_answer_was_lost_is_recognised() {
    let server = MariaDb::shared();
    lost::a_write_whose_answer_was_lost_is_recognised(wired(&server, "doubt_0").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_write_that_others_have_built_on_is_in_doubt_not_in_conflict() {
    let server = MariaDb::shared();
    lost::a_lost_write_that_others_have_built_on_is_in_doubt_not_in_conflict(wired(&server, "doubt_1").await)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_write_to_a_session_that_was_ended_meanwhile_is_in_doubt() {
    let server = MariaDb::shared();
    lost::a_lost_write_to_a_session_that_was_ended_meanwhile_is_in_doubt(wired(&server, "doubt_2").await)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_was_lost_is_sent_again() {
    let server = MariaDb::shared();
    lost::a_request_that_was_lost_is_sent_again(wired(&server, "doubt_3").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_stays_lost_is_in_doubt() {
    let server = MariaDb::shared();
    lost::an_answer_that_stays_lost_is_in_doubt(wired(&server, "doubt_4").await).await;
}

/// `KILL` of a connection whose statement waits for a lock.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_killed_in_mid_query_is_replaced() {
    let server = MariaDb::shared();
    let store = store(&server, "killed").await;
    let (key, first) = stored(&store, record("first")).await;
    let mut other = locked(&server, "killed", &key, Tag::random()).await;
    let mine = record("mine");
    let set = tokio::spawn({
        let (store, key, mine) = (store.clone(), key.clone(), mine.clone());
        async move { store.set(&key, &mine, When::Tagged(first.tag)).await }
    });
    eventually("the write waits", async || waiting(&server, "killed").await == 1).await;
    let victim = waiters(&server, "killed").await[0];
    let kill: &'static str = format!("KILL {victim}").leak();
    sqlx::raw_sql(kill).execute(&mut self::other(&server).await).await.unwrap();
    eventually("the second attempt waits", async || {
        waiters(&server, "killed").await.iter().any(|id| *id != victim)
    })
    .await;
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    assert_eq!(soon("the write", set).await.unwrap().unwrap(), Written::Done);
    assert_eq!(store.get(&key).await.unwrap(), Some(mine));
}

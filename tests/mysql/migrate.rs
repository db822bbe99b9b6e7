//! `migrate`: at once, again, without rights, and over what is not ours.

use axum_generic_session::{
    Store,
    store::{MySqlStore, StoreErrorKind, When, Written},
};
use sqlx::{MySqlPool, mysql::MySqlPoolOptions};

use super::{
    kit::{key, kind, record, stored},
    pool,
    servers::mariadb::MariaDb,
    store,
    traps::{number, other},
};

#[tokio::test(flavor = "multi_thread")]
async fn eight_nodes_may_migrate_at_once_and_again() {
    let server = MariaDb::shared();
    for round in 0..10 {
        let table = format!("at_once_{round}");
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let store = MySqlStore::new(pool(server.port())).table(&table).unwrap();
            tasks.spawn(async move {
                store.migrate().await?;
                store.migrate().await
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap().unwrap();
        }
        let sql = "SELECT count(DISTINCT index_name) FROM information_schema.statistics WHERE table_name =";
        assert_eq!(number(&server, format!("{sql} '{table}'")).await, 3);
    }
}

#[tokio::test]
async fn without_migrate_the_error_names_it() {
    let server = MariaDb::shared();
    let store = MySqlStore::new(pool(server.port())).table("nobody_made_this").unwrap();
    let error = store.get(&key()).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Misconfigured);
    let said = error.to_string();
    assert!(said.contains("doesn't exist") && said.contains("migrate()"), "{said}");
}

/// The pool of a user that was granted this much.
async fn as_user(server: &MariaDb, user: &str, grants: &'static str) -> MySqlPool {
    sqlx::raw_sql(grants).execute(&mut other(server).await).await.unwrap();
    MySqlPoolOptions::new().connect(&server.url().replace("root@", &format!("{user}@"))).await.unwrap()
}

#[tokio::test]
async fn what_an_administrator_has_made_needs_no_right_to_make_it() {
    let server = MariaDb::shared();
    store(&server, "made").await;
    let grants = "CREATE USER worker@localhost;
        GRANT SELECT, INSERT, UPDATE, DELETE ON app.made TO worker@localhost";
    let store = MySqlStore::new(as_user(&server, "worker", grants).await).table("made").unwrap();
    store.migrate().await.unwrap();
    assert_eq!(store.set(&key(), &record("data"), When::Absent).await.unwrap(), Written::Done);
}

#[tokio::test]
async fn a_missing_right_is_told_as_such() {
    let server = MariaDb::shared();
    let (key, first) = stored(&store(&server, "reader").await, record("first")).await;
    let grants = "CREATE USER reader@localhost; GRANT SELECT ON app.reader TO reader@localhost";
    let store = MySqlStore::new(as_user(&server, "reader", grants).await).table("reader").unwrap();
    assert_eq!(store.get(&key).await.unwrap(), Some(first));
    assert_eq!(kind(store.set(&key, &record("x"), When::Present).await), StoreErrorKind::Denied);
    assert_eq!(kind(store.destroy(&key).await), StoreErrorKind::Denied);
    let elsewhere = store.table("not_there").unwrap();
    assert_eq!(kind(elsewhere.migrate().await), StoreErrorKind::Denied);
}

#[tokio::test]
async fn another_table_of_this_name_is_refused_and_left_alone() {
    let server = MariaDb::shared();
    let make = "CREATE TABLE foreign_columns (id CHAR(22) PRIMARY KEY, session TEXT, expires TIMESTAMP)";
    sqlx::raw_sql(make).execute(&mut other(&server).await).await.unwrap();
    let store = MySqlStore::new(pool(server.port())).table("foreign_columns").unwrap();
    assert_eq!(kind(store.migrate().await), StoreErrorKind::Misconfigured);
    for bad in ["a b", "a`b", "", "1a"] {
        assert_eq!(kind(store.clone().table(bad)), StoreErrorKind::Misconfigured);
        assert_eq!(kind(store.clone().schema(bad)), StoreErrorKind::Misconfigured);
    }
}

#[tokio::test]
async fn schemas_are_apart_and_must_exist() {
    let server = MariaDb::shared();
    sqlx::raw_sql("CREATE DATABASE elsewhere").execute(&mut other(&server).await).await.unwrap();
    let here = store(&server, "apart").await;
    let there = here.clone().schema("elsewhere").unwrap();
    there.migrate().await.unwrap();
    let (key, first) = stored(&here, record("here")).await;
    assert_eq!(there.get(&key).await.unwrap(), None);
    assert_eq!(here.clone().schema("app").unwrap().get(&key).await.unwrap(), Some(first));
    let nowhere = here.schema("nowhere").unwrap();
    let error = nowhere.migrate().await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Misconfigured);
    assert!(error.to_string().contains("nowhere"), "{error}");
}

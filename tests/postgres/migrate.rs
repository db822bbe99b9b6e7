//! `migrate`: at once, again, without rights, and over what is not ours.

use axum_generic_session::{
    Store,
    store::{PostgresStore, StoreErrorKind, When, Written},
};
use sqlx::{PgPool, Row, postgres::PgPoolOptions};

use super::{
    kit::{key, kind, record},
    pool,
    servers::postgres::Postgres,
    store, store_with,
    traps::other,
};

#[tokio::test(flavor = "multi_thread")]
async fn eight_nodes_may_migrate_at_once_and_again() {
    let server = Postgres::shared();
    for round in 0..10 {
        let schema = format!("at_once_{round}");
        let level = ["read committed", "repeatable read", "serializable"][round % 3];
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let pool = pool(server.port(), &[("default_transaction_isolation", level)]);
            let store = PostgresStore::new(pool).schema(&schema).unwrap();
            tasks.spawn(async move {
                store.migrate().await?;
                store.migrate().await
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap().unwrap();
        }
        let sql = "SELECT count(*) FROM pg_indexes WHERE schemaname = $1";
        let row = sqlx::query(sql).bind(&schema).fetch_one(&mut other(&server).await).await.unwrap();
        assert_eq!(row.get::<i64, _>(0), 3, "the primary key and two indexes");
    }
}

#[tokio::test]
async fn without_migrate_the_error_names_it() {
    let server = Postgres::shared();
    let store = PostgresStore::new(pool(server.port(), &[])).table("nobody_made_this").unwrap();
    let error = store.get(&key()).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Misconfigured);
    let said = error.to_string();
    assert!(said.contains("does not exist") && said.contains("migrate()"), "{said}");
}

/// The user of a role that was granted this much.
async fn as_role(server: &Postgres, role: &'static str, grants: &'static str) -> PgPool {
    sqlx::raw_sql(grants).execute(&mut other(server).await).await.unwrap();
    let url = server.url().replace("postgres@", &format!("{role}@"));
    PgPoolOptions::new().connect(&url).await.unwrap()
}

#[tokio::test]
async fn what_an_administrator_has_made_needs_no_right_to_make_it() {
    let server = Postgres::shared();
    store(&server, "made").await;
    let grants = "CREATE ROLE worker LOGIN; GRANT USAGE ON SCHEMA made TO worker;
        GRANT SELECT, INSERT, UPDATE, DELETE ON made.axum_sessions TO worker";
    let store = PostgresStore::new(as_role(&server, "worker", grants).await).schema("made").unwrap();
    store.migrate().await.unwrap();
    assert_eq!(store.set(&key(), &record("data"), When::Absent).await.unwrap(), Written::Done);
}

#[tokio::test]
async fn a_missing_right_is_told_as_such() {
    let server = Postgres::shared();
    let (key, first) = super::kit::stored(&store(&server, "reader").await, record("first")).await;
    let grants = "CREATE ROLE reader LOGIN; GRANT USAGE ON SCHEMA reader TO reader;
        GRANT SELECT ON reader.axum_sessions TO reader";
    let store = PostgresStore::new(as_role(&server, "reader", grants).await).schema("reader").unwrap();
    assert_eq!(store.get(&key).await.unwrap(), Some(first));
    assert_eq!(kind(store.set(&key, &record("x"), When::Present).await), StoreErrorKind::Denied);
    assert_eq!(kind(store.destroy(&key).await), StoreErrorKind::Denied);
    let elsewhere = store.schema("not_there").unwrap();
    assert_eq!(kind(elsewhere.migrate().await), StoreErrorKind::Denied);
}

#[tokio::test]
async fn another_table_of_this_name_is_refused_and_left_alone() {
    let server = Postgres::shared();
    for (schema, columns) in [
        ("foreign_columns", "id bytea PRIMARY KEY, session jsonb, expires timestamptz"),
        ("foreign_types", "id text, tag bigint, expires_at timestamptz, principal text, data text"),
    ] {
        let make: &'static str =
            format!("CREATE SCHEMA {schema}; CREATE TABLE {schema}.axum_sessions ({columns})").leak();
        sqlx::raw_sql(make).execute(&mut other(&server).await).await.unwrap();
        let store = PostgresStore::new(pool(server.port(), &[])).schema(schema).unwrap();
        assert_eq!(kind(store.migrate().await), StoreErrorKind::Misconfigured, "{schema}");
    }
}

#[tokio::test]
async fn the_search_path_decides_where_no_schema_is_named() {
    let server = Postgres::shared();
    sqlx::raw_sql("CREATE SCHEMA mine").execute(&mut other(&server).await).await.unwrap();
    let store = PostgresStore::new(pool(server.port(), &[("search_path", "mine")]));
    store.migrate().await.unwrap();
    store.migrate().await.unwrap();
    let named = store_with(server.port(), "mine", &[]).await;
    let (key, first) = super::kit::stored(&store, record("first")).await;
    assert_eq!(named.get(&key).await.unwrap(), Some(first));
}

//! `migrate` over what is not ours, and where the search path says.

use axum_generic_session::{
    Store,
    store::{PostgresStore, StoreErrorKind},
};

use super::{
    kit::{kind, record, stored},
    servers::postgres::Postgres,
    sql::Engine,
};

#[tokio::test]
async fn another_table_of_this_name_is_refused_and_left_alone() {
    let server = Postgres::shared();
    for (schema, columns) in [
        ("foreign_columns", "id bytea PRIMARY KEY, session jsonb, expires timestamptz"),
        ("foreign_types", "id text, tag bigint, expires_at timestamptz, principal text, data text"),
    ] {
        let make = format!("CREATE SCHEMA {schema}; CREATE TABLE {schema}.axum_sessions ({columns})");
        server.script(&make).await;
        let store = Postgres::store_on(Postgres::pool(server.port(), 8, ""), schema);
        assert_eq!(kind(store.migrate().await), StoreErrorKind::Misconfigured, "{schema}");
    }
}

#[tokio::test]
async fn the_search_path_decides_where_no_schema_is_named() {
    let server = Postgres::shared();
    server.script("CREATE SCHEMA mine").await;
    let store = PostgresStore::new(Postgres::pool(server.port(), 8, "SET search_path = mine"));
    store.migrate().await.unwrap();
    store.migrate().await.unwrap();
    let named = server.store("mine").await;
    let (key, first) = stored(&store, record("first")).await;
    assert_eq!(named.get(&key).await.unwrap(), Some(first));
}

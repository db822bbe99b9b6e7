//! `migrate` over what is not ours, and in other schemas.

use axum_generic_session::{Store, store::StoreErrorKind};

use super::{
    kit::{kind, record, stored},
    servers::mariadb::MariaDb,
    sql::Engine,
};

#[tokio::test]
async fn another_table_of_this_name_is_refused_and_left_alone() {
    let server = MariaDb::shared();
    let make = "CREATE TABLE foreign_columns (id CHAR(22) PRIMARY KEY, session TEXT, expires TIMESTAMP)";
    server.script(make).await;
    let store = MariaDb::store_on(MariaDb::pool(server.port(), 8, ""), "foreign_columns");
    assert_eq!(kind(store.migrate().await), StoreErrorKind::Misconfigured);
    for bad in ["a b", "a`b", "", "1a"] {
        assert_eq!(kind(store.clone().table(bad)), StoreErrorKind::Misconfigured);
        assert_eq!(kind(store.clone().schema(bad)), StoreErrorKind::Misconfigured);
    }
}

#[tokio::test]
async fn schemas_are_apart_and_must_exist() {
    let server = MariaDb::shared();
    server.script("CREATE DATABASE elsewhere").await;
    let here = server.store("apart").await;
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

//! What the obvious statement gets wrong.

use axum_generic_session::{
    Store,
    store::{StoreErrorKind, When},
};
use sqlx::Row;

use super::{
    kit::{kind, record, stored},
    servers::postgres::Postgres,
    sql::Engine,
};

#[tokio::test]
async fn large_records_come_back_whole_or_are_refused_before_they_are_sent() {
    let server = Postgres::shared();
    let store = server.store("large").await;
    for size in [65_535, 65_536, 70_000, 1 << 20, 20 << 20] {
        let (key, record) = stored(&store, record(vec![0xa5; size])).await;
        assert_eq!(store.get(&key).await.unwrap(), Some(record));
    }
    let (key, small) = stored(&store, record("small")).await;
    let huge = record(vec![0; 1 << 30]);
    assert_eq!(kind(store.set(&key, &huge, When::Tagged(small.tag)).await), StoreErrorKind::TooLarge);
    assert_eq!(store.get(&key).await.unwrap(), Some(small));
}

#[tokio::test]
async fn a_stolen_dump_holds_nothing_that_a_cookie_needs() {
    let server = Postgres::shared();
    let store = server.store("dump").await;
    let (key, _) = stored(&store, record("data")).await;
    let sql = "SELECT t::text FROM dump.axum_sessions t";
    let rows = sqlx::query(sql).fetch_all(&mut server.other().await).await.unwrap();
    let dump: String = rows.iter().map(|row| row.get::<String, _>(0)).collect();
    let hex: String = key.digest().iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(dump.contains(&hex), "the row is there, under the digest");
    assert!(!dump.contains(key.as_str()));
}

/// Two names for one table are two stores only if they are two tables.
#[tokio::test]
async fn tables_and_schemas_are_apart() {
    let server = Postgres::shared();
    let one = server.store("apart_one").await;
    let two = server.store("apart_two").await;
    let (key, _) = stored(&one, record("one")).await;
    assert_eq!(two.get(&key).await.unwrap(), None);
    let table = one.clone().table("Other_Table").unwrap();
    table.migrate().await.unwrap();
    assert_eq!(table.get(&key).await.unwrap(), None);
    for bad in ["a b", "a\"b", "", "1a"] {
        assert_eq!(kind(one.clone().table(bad)), StoreErrorKind::Misconfigured);
        assert_eq!(kind(one.clone().schema(bad)), StoreErrorKind::Misconfigured);
    }
    assert!(one.get(&key).await.unwrap().is_some());
}

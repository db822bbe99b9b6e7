//! What PostgreSQL answers when it cannot do its work, and what the store makes of it.

use axum_generic_session::store::StoreErrorKind;

use super::{
    kit::{kind, record, stored},
    servers::postgres::Postgres,
    sql::{Engine, faults::refuses_writes_and_goes_on_reading},
};

#[tokio::test]
async fn a_read_only_database_refuses_writes_and_goes_on_reading() {
    let server = Postgres::shared();
    let (key, first) = stored(&server.store("read_only").await, record("first")).await;
    let pool = Postgres::pool(server.port(), 2, "SET default_transaction_read_only = on");
    let store = Postgres::store_on(pool, "read_only");
    refuses_writes_and_goes_on_reading(&store, &key, &first).await;
    assert_eq!(kind(store.sweep(10).await), StoreErrorKind::ReadOnly);
}

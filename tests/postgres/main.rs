//! Sessions in PostgreSQL: the contract, the traps, the faults.
#![cfg(all(feature = "postgres-store", feature = "store-contract"))]
#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

#[path = "../servers/mod.rs"]
mod servers;

use axum_generic_session::store::{PostgresStore, contract::Contract};
use servers::postgres::Postgres;
use sqlx::{PgPool, postgres::PgPoolOptions};

async fn pool(url: &str) -> PgPool {
    PgPoolOptions::new().max_connections(8).connect(url).await.expect("a connection")
}

/// A store in a schema of the test's own.
async fn store(server: &Postgres, schema: &str) -> PostgresStore {
    let store = PostgresStore::new(pool(&server.url()).await).schema(schema).unwrap();
    store.migrate().await.unwrap();
    store
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract() {
    let server = Postgres::shared();
    let report = Contract::new(|| store(&server, "contract")).run().await;
    assert_eq!(report.left_out(), ["to the millisecond"], "{report}");
}

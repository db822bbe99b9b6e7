//! Sessions in PostgreSQL: the contract, the traps, the faults.
#![cfg(all(feature = "postgres-store", feature = "store-contract"))]
#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

mod doubt;
mod faults;
#[path = "../figures/mod.rs"]
mod figures;
mod hands;
#[path = "../kit/mod.rs"]
mod kit;
#[path = "../kit/doubt.rs"]
mod lost;
mod migrate;
mod outages;
mod partitions;
mod owners;
#[path = "../servers/mod.rs"]
mod servers;
mod sweeps;
mod traps;

use std::time::Duration;

use axum_generic_session::store::{PostgresStore, contract::Contract};
use servers::postgres::Postgres;
use sqlx::{
    Executor, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

/// A pool of at most this many connections, with these settings.
fn pool_of(connections: u32, port: u16, settings: &[(&str, &str)]) -> PgPool {
    let options =
        PgConnectOptions::new().host("127.0.0.1").port(port).username("postgres").database("postgres");
    let set = settings.iter().map(|(name, value)| format!("SET {name} = '{value}';")).collect::<String>();
    let set: &'static str = set.leak();
    PgPoolOptions::new()
        .max_connections(connections)
        .test_before_acquire(false)
        .acquire_timeout(Duration::from_secs(20))
        .after_connect(move |connection, _| Box::pin(async move { connection.execute(set).await.map(drop) }))
        .connect_lazy_with(options)
}

fn pool(port: u16, settings: &[(&str, &str)]) -> PgPool {
    pool_of(8, port, settings)
}

/// A store in a schema of the test's own.
async fn store_with(port: u16, schema: &str, settings: &[(&str, &str)]) -> PostgresStore {
    let store = PostgresStore::new(pool(port, settings)).schema(schema).unwrap();
    store.migrate().await.unwrap();
    store
}

async fn store(server: &Postgres, schema: &str) -> PostgresStore {
    store_with(server.port(), schema, &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract() {
    let server = Postgres::shared();
    let report = Contract::new(|| store(&server, "contract")).run().await;
    assert_eq!(report.left_out(), ["to the millisecond"], "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn finds_sessions_by_their_principal() {
    let server = Postgres::shared();
    Contract::new(|| store(&server, "owners")).rounds(20).run_by_principal().await;
    for isolation in ["repeatable read", "serializable"] {
        let schema = format!("owners_{}", &isolation[..6]);
        let settings = [("default_transaction_isolation", isolation)];
        let open = || store_with(server.port(), &schema, &settings);
        Contract::new(open).rounds(5).run_by_principal().await;
    }
}

/// The trap: the database's default isolation may be one at which an update that has waited fails.
#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract_where_transactions_are_serializable() {
    let server = Postgres::shared();
    let settings = [("default_transaction_isolation", "serializable"), ("TimeZone", "Asia/Tokyo")];
    let open = || store_with(server.port(), "serializable", &settings);
    Contract::new(open).rounds(15).run().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract_where_reads_are_repeatable() {
    let server = Postgres::shared();
    let settings = [("default_transaction_isolation", "repeatable read"), ("TimeZone", "America/New_York")];
    let open = || store_with(server.port(), "repeatable", &settings);
    Contract::new(open).rounds(15).run().await;
}

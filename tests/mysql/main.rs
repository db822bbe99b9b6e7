//! Sessions in MariaDB: the contract, the traps, the faults.
#![cfg(all(feature = "mysql-store", feature = "store-contract"))]
#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

#[path = "../servers/mod.rs"]
mod servers;

use axum_generic_session::store::{MySqlStore, contract::Contract};
use servers::mariadb::MariaDb;
use sqlx::{MySqlPool, mysql::MySqlPoolOptions};

async fn pool(url: &str) -> MySqlPool {
    MySqlPoolOptions::new().max_connections(8).connect(url).await.expect("a connection")
}

/// A store in a table of the test's own.
async fn store(server: &MariaDb, table: &str) -> MySqlStore {
    let store = MySqlStore::new(pool(&server.url()).await).table(table).unwrap();
    store.migrate().await.unwrap();
    store
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract() {
    let server = MariaDb::shared();
    let report = Contract::new(|| store(&server, "contract")).run().await;
    assert_eq!(report.left_out(), ["to the millisecond"], "{report}");
}

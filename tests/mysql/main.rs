//! Sessions in MariaDB: the contract, the traps, the faults.
#![cfg(all(feature = "mysql-store", feature = "store-contract"))]
#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

mod doubt;
mod faults;
#[path = "../figures/mod.rs"]
mod figures;
#[path = "../kit/mod.rs"]
mod kit;
#[path = "../kit/doubt.rs"]
mod lost;
mod migrate;
mod outages;
mod owners;
#[path = "../servers/mod.rs"]
mod servers;
mod sweeps;
mod traps;

use std::time::Duration;

use axum_generic_session::store::{MySqlStore, contract::Contract};
use servers::mariadb::MariaDb;
use sqlx::{
    Executor, MySqlPool,
    mysql::{MySqlConnectOptions, MySqlPoolOptions},
};

/// A pool of at most this many connections, each of which first runs `setting`.
fn pool_of(connections: u32, port: u16, setting: &'static str) -> MySqlPool {
    let options = MySqlConnectOptions::new().host("127.0.0.1").port(port).username("root").database("app");
    MySqlPoolOptions::new()
        .max_connections(connections)
        .test_before_acquire(false)
        .acquire_timeout(Duration::from_secs(20))
        .after_connect(move |connection, _| {
            Box::pin(async move { connection.execute(setting).await.map(drop) })
        })
        .connect_lazy_with(options)
}

fn pool(port: u16) -> MySqlPool {
    pool_of(8, port, "DO 0")
}

/// A store in a table of the test's own.
async fn store_with(port: u16, table: &str, setting: &'static str) -> MySqlStore {
    let store = MySqlStore::new(pool_of(8, port, setting)).table(table).unwrap();
    store.migrate().await.unwrap();
    store
}

async fn store(server: &MariaDb, table: &str) -> MySqlStore {
    store_with(server.port(), table, "DO 0").await
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract() {
    let server = MariaDb::shared();
    let report = Contract::new(|| store(&server, "contract")).run().await;
    assert_eq!(report.left_out(), ["to the millisecond"], "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn finds_sessions_by_their_principal() {
    let server = MariaDb::shared();
    Contract::new(|| store(&server, "owners")).rounds(20).run_by_principal().await;
    for level in ["SERIALIZABLE", "READ-COMMITTED", "READ-UNCOMMITTED"] {
        let setting: &'static str = format!("SET SESSION tx_isolation = '{level}'").leak();
        Contract::new(|| store_with(server.port(), "owners", setting)).rounds(10).run_by_principal().await;
    }
}

/// The traps together: a session that is not strict, in another time zone, at each isolation level.
#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract_whatever_the_session_is_set_to() {
    let server = MariaDb::shared();
    for setting in [
        "SET SESSION tx_isolation = 'SERIALIZABLE', sql_mode = '', time_zone = 'SYSTEM'",
        "SET SESSION tx_isolation = 'READ-COMMITTED', sql_mode = 'ANSI_QUOTES', time_zone = '+13:00'",
        "SET SESSION tx_isolation = 'READ-UNCOMMITTED', sql_mode = 'ORACLE', time_zone = '-12:00'",
    ] {
        Contract::new(|| store_with(server.port(), "hostile", setting)).rounds(15).run().await;
    }
}

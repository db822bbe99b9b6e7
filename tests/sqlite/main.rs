//! Sessions in SQLite: the contract, the traps, the faults.
#![cfg(all(feature = "sqlite-store", feature = "store-contract"))]

use std::path::PathBuf;

use axum_generic_session::{
    store::{SqliteStore, contract::Contract},
    testing::ManualClock,
};
use tempfile::TempDir;

/// A folder of the test's own, and where in it the sessions are.
fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("sessions.db");
    (folder, path)
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract() {
    let (_folder, path) = place();
    let clock = ManualClock::new();
    let report = Contract::new(|| async { SqliteStore::builder(&path).clock(clock.clone()).open().unwrap() })
        .clock(clock.clone())
        .run()
        .await;
    assert!(report.left_out().is_empty(), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract_through_one_handle_by_the_clock_of_the_machine() {
    let (_folder, path) = place();
    let store = SqliteStore::open(&path).unwrap();
    let report = Contract::new(|| async { store.clone() }).run().await;
    assert_eq!(report.left_out(), ["to the millisecond"], "{report}");
}

//! The stores that need no server: the conformance suite over them, over stores that break it (which it must
//! find), and what they promise beyond it.
#![cfg(all(feature = "store-contract", feature = "memory-store"))]
#![allow(clippy::unwrap_used, reason = "an unwrap that fails is a test that fails")]

mod broken;
mod broken_owners;
mod cached;
mod limits;
mod probe;
mod three_method;

use axum_generic_session::{MemoryStore, store::contract::Contract, testing::ManualClock};

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_store_keeps_the_contract() {
    let clock = ManualClock::new();
    let store = MemoryStore::new().clock(clock.clone());
    let report = Contract::new(|| async { store.clone() }).clock(clock).run().await;
    assert!(report.left_out().is_empty(), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_store_keeps_the_contract_by_the_clock_of_the_machine() {
    let store = MemoryStore::new();
    let report = Contract::new(|| async { store.clone() }).run().await;
    assert_eq!(report.left_out(), ["to the millisecond"], "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_store_finds_sessions_by_their_principal() {
    let clock = ManualClock::new();
    let store = MemoryStore::new().clock(clock.clone());
    Contract::new(|| async { store.clone() }).clock(clock).run_by_principal().await;
}

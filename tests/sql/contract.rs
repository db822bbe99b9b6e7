//! The conformance suite.

use axum_generic_session::store::contract::Contract;

use super::{Engine, LEVELS};

pub async fn keeps_the_contract<E: Engine>() {
    let server = E::shared();
    let report = Contract::new(|| server.store("contract")).run().await;
    assert_eq!(report.left_out(), ["to the millisecond"], "{report}");
}

pub async fn finds_sessions_by_their_principal<E: Engine>() {
    let server = E::shared();
    Contract::new(|| server.store("owners")).rounds(20).run_by_principal().await;
    for level in LEVELS {
        let setting = E::isolation(level);
        Contract::new(|| server.store_with("owners", &setting)).rounds(8).run_by_principal().await;
    }
}

//! Sweeping beside somebody who writes.

use std::time::Duration;

use axum_generic_session::store::Tag;

use super::{
    kit::{living, soon, stored},
    servers::postgres::Postgres,
    sql::Engine,
};

/// A session whose writer has its row locked at the moment of the sweep is left for the next one.
#[tokio::test]
async fn a_row_that_is_being_written_is_not_waited_for() {
    let server = Postgres::shared();
    let store = server.store("busy").await;
    let (held, _) = stored(&store, living(Duration::ZERO, "dead")).await;
    stored(&store, living(Duration::ZERO, "dead")).await;
    let mut other = server.locked("busy", &held, Tag::random()).await;
    assert_eq!(soon("sweep", store.sweep(10)).await.unwrap(), 1);
    Postgres::run(&mut other, "ROLLBACK").await;
    assert_eq!(store.sweep(10).await.unwrap(), 1);
}

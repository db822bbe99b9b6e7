//! The end of a principal's sessions, at the moment when one of them gets a new id.

use axum_generic_session::store::{ByPrincipal, Owner, Record, Which};

use super::{
    kit::{eventually, record, soon, stored},
    servers::mariadb::MariaDb,
    store_with,
    traps::{other, waiting},
};

const ADA: Owner<'static> = Owner { prefix: "test:", principal: "ada" };

/// The trap: a `DELETE` that reads along the index of principals has gone past the place to which a row is moved, and
/// does not find it where it was.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_being_moved_does_not_escape() {
    let server = MariaDb::shared();
    for setting in [
        "SET SESSION tx_isolation = 'READ-UNCOMMITTED'",
        "SET SESSION tx_isolation = 'READ-COMMITTED'",
        "SET SESSION tx_isolation = 'REPEATABLE-READ'",
        "SET SESSION tx_isolation = 'SERIALIZABLE'",
    ] {
        let store = store_with(server.port(), "moved", setting).await;
        // Before and behind the place that it leaves.
        for new in [[0; 32], [0xff; 32]] {
            let ours = Record { principal: Some("ada".into()), ..record("ada's") };
            let (key, _) = stored(&store, ours).await;
            // Another node's rotation, between its statement and its commit.
            let mut other = other(&server).await;
            sqlx::raw_sql("BEGIN").execute(&mut other).await.unwrap();
            let rotate = "UPDATE moved SET id = ?, tag = tag + 1 WHERE id = ?";
            let old = key.digest();
            let moved = sqlx::query(rotate).bind(&new[..]).bind(&old[..]);
            assert_eq!(moved.execute(&mut other).await.unwrap().rows_affected(), 1);
            let end = tokio::spawn({
                let store = store.clone();
                async move { store.destroy_of(ADA, Which::All).await }
            });
            eventually("the end waits", async || waiting(&server, "moved").await == 1).await;
            sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
            assert_eq!(soon("the end", end).await.unwrap().unwrap(), 1, "{setting}");
            assert_eq!(store.sessions_of(ADA).await.unwrap(), [], "{setting}");
        }
    }
}

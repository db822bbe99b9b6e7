//! The end of a principal's sessions, at the moment when one of them gets a new id.

use axum_generic_session::store::{ByPrincipal, Owner, Record, Which};

use super::{Engine, LEVELS};
use crate::kit::{eventually, key as fresh, record, soon, stored};

const ADA: Owner<'static> = Owner { prefix: "test:", principal: "ada" };

/// The trap: a `DELETE` that has waited for the move of a row must look for it where it is then; one that reads
/// along the index of principals has gone past the place to which the row is moved, and does not find it where it
/// was.
pub async fn a_session_that_is_being_moved_does_not_escape<E: Engine>() {
    let server = E::shared();
    // Before and behind the place that the session leaves.
    let (before, behind) = ([0; 32], [0xff; 32]);
    let others = Which::AllBut(fresh().digest());
    for level in LEVELS {
        let store = server.store_with("moved", &E::isolation(level)).await;
        for (new, which) in [(before, Which::All), (behind, Which::All), (before, others), (behind, others)] {
            let ours = Record { principal: Some("ada".into()), ..record("ada's") };
            let (key, _) = stored(&store, ours).await;
            // Another node's rotation, between its statement and its commit.
            let (table, new, old) = (E::table("moved"), E::bytes(&new), E::bytes(&key.digest()));
            let rotate = format!("UPDATE {table} SET id = {new}, tag = tag + 1 WHERE id = {old}");
            let mut other = server.begun(&rotate).await;
            let end = tokio::spawn({
                let store = store.clone();
                async move { store.destroy_of(ADA, which).await }
            });
            eventually("the end waits", async || server.waiting("moved").await == 1).await;
            E::run(&mut other, "COMMIT").await;
            assert_eq!(soon("the end", end).await.unwrap().unwrap(), 1, "{level}");
            assert_eq!(store.sessions_of(ADA).await.unwrap(), [], "{level}");
        }
    }
}

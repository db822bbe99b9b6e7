//! The end of a principal's sessions, at the moment when one of them gets a new id.

use axum_generic_session::store::{ByPrincipal, Owner, Record, Which};

use super::{
    kit::{eventually, key as fresh, record, soon, stored},
    servers::postgres::Postgres,
    store_with,
    traps::{other, waiting},
};

const ADA: Owner<'static> = Owner { prefix: "test:", principal: "ada" };

/// The trap: a `DELETE` that has waited for the move of a row must look for it where it is then.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_being_moved_does_not_escape() {
    let server = Postgres::shared();
    for level in ["read committed", "repeatable read", "serializable"] {
        let schema = format!("moved_{}", level.replace(' ', "_"));
        let store = store_with(server.port(), &schema, &[("default_transaction_isolation", level)]).await;
        for which in [Which::All, Which::AllBut(fresh().digest())] {
            let ours = Record { principal: Some("ada".into()), ..record("ada's") };
            let (key, _) = stored(&store, ours).await;
            // Another node's rotation, between its statement and its commit.
            let mut other = other(&server).await;
            sqlx::raw_sql("BEGIN").execute(&mut other).await.unwrap();
            let rotate: &'static str =
                format!("UPDATE {schema}.axum_sessions SET id = $1, tag = tag + 1 WHERE id = $2").leak();
            let [old, new] = [key.digest(), fresh().digest()];
            let moved = sqlx::query(rotate).bind(&new[..]).bind(&old[..]);
            assert_eq!(moved.execute(&mut other).await.unwrap().rows_affected(), 1);
            let end = tokio::spawn({
                let store = store.clone();
                async move { store.destroy_of(ADA, which).await }
            });
            eventually("the end waits", async || waiting(&server, &schema).await == 1).await;
            sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
            assert_eq!(soon("the end", end).await.unwrap().unwrap(), 1, "{level}");
            assert_eq!(store.sessions_of(ADA).await.unwrap(), [], "{level}");
        }
    }
}

//! A table in partitions, as a plan for very many sessions has it. The application makes it; the store does not mind.

use axum_generic_session::store::{PostgresStore, contract::Contract};
use sqlx::Executor;

use crate::{servers::postgres::Postgres, sql::Engine};

const PARTITIONS: usize = 8;

async fn store(server: &Postgres, schema: &str, level: &str) -> PostgresStore {
    let pool = Postgres::pool(server.port(), 8, &Postgres::isolation(level));
    let table = format!("{schema}.axum_sessions");
    let mut ddl = format!(
        "BEGIN; SELECT pg_advisory_xact_lock(1); CREATE SCHEMA IF NOT EXISTS {schema};
         CREATE TABLE IF NOT EXISTS {table} (
             id bytea PRIMARY KEY, tag bigint NOT NULL, expires_at bigint NOT NULL, principal bytea,
             data bytea NOT NULL
         ) PARTITION BY HASH (id);"
    );
    for part in 0..PARTITIONS {
        ddl.push_str(&format!(
            "CREATE TABLE IF NOT EXISTS {table}_{part} PARTITION OF {table}
             FOR VALUES WITH (MODULUS {PARTITIONS}, REMAINDER {part});"
        ));
    }
    ddl.push_str("COMMIT;");
    let ddl: &'static str = ddl.leak();
    pool.execute(ddl).await.unwrap();
    let store = Postgres::store_on(pool, schema);
    store.migrate().await.unwrap();
    store
}

/// A session that gets a new id may move to another partition: who waits for its row is told that it has moved, and
/// looks again.
#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract_in_partitions() {
    let server = Postgres::shared();
    for (schema, level) in [("partitions", "read committed"), ("partitions_rr", "repeatable read")] {
        let report = Contract::new(|| store(&server, schema, level)).rounds(30).run().await;
        assert_eq!(report.left_out(), ["to the millisecond"], "{report}");
        Contract::new(|| store(&server, schema, level)).rounds(10).run_by_principal().await;
    }
}

//! PostgreSQL, as the tests of every engine ask for it.

use std::{sync::Arc, time::Duration};

use axum_generic_session::store::{PostgresStore, StoreError, Sweeper};
use sqlx::{
    Executor, PgConnection, PgPool, Row,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::{
    servers::postgres::Postgres,
    sql::{Engine, SqlStore},
};

impl SqlStore for PostgresStore {
    async fn migrate(&self) -> Result<(), StoreError> {
        self.migrate().await
    }

    async fn sweep(&self, batch: u32) -> Result<u64, StoreError> {
        self.sweep(batch).await
    }

    fn sweep_every(&self, every: Duration) -> Sweeper {
        self.sweep_every(every)
    }
}

/// A place is a schema.
impl Engine for Postgres {
    type Db = sqlx::Postgres;
    type Store = PostgresStore;

    const NAME: &'static str = "PostgreSQL";

    fn start(settings: &[&str]) -> Self {
        Self::start(settings)
    }

    fn shared() -> Arc<Self> {
        Self::shared()
    }

    fn kill(&mut self) {
        self.kill();
    }

    fn restart(&mut self) {
        self.restart();
    }

    fn port(&self) -> u16 {
        self.port()
    }

    fn url(&self) -> String {
        self.url()
    }

    fn url_of(&self, user: &str) -> String {
        self.url().replace("postgres@", &format!("{user}@"))
    }

    fn pool(port: u16, connections: u32, setting: &str) -> PgPool {
        let options =
            PgConnectOptions::new().host("127.0.0.1").port(port).username("postgres").database("postgres");
        let setting: &'static str = setting.to_owned().leak();
        PgPoolOptions::new()
            .max_connections(connections)
            .test_before_acquire(false)
            .acquire_timeout(Duration::from_secs(20))
            .after_connect(move |connection, _| {
                Box::pin(async move { connection.execute(setting).await.map(drop) })
            })
            .connect_lazy_with(options)
    }

    fn store_on(pool: PgPool, place: &str) -> PostgresStore {
        PostgresStore::new(pool).schema(place).unwrap()
    }

    fn table(place: &str) -> String {
        format!("{place}.axum_sessions")
    }

    fn bytes(bytes: &[u8]) -> String {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("'\\x{hex}'")
    }

    fn isolation(level: &str) -> String {
        format!("SET default_transaction_isolation = '{level}'")
    }

    async fn run(connection: &mut PgConnection, sql: &str) -> u64 {
        let sql: &'static str = sql.to_owned().leak();
        sqlx::raw_sql(sql).execute(connection).await.unwrap().rows_affected()
    }

    async fn number(&self, sql: &str) -> i64 {
        let sql: &'static str = sql.to_owned().leak();
        sqlx::raw_sql(sql).fetch_one(&mut self.other().await).await.unwrap().get(0)
    }

    async fn waiters(&self, schema: &str) -> Vec<i64> {
        let sql = "SELECT pid::bigint FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE $1";
        let query = sqlx::query_scalar(sql).bind(format!("%{schema}%"));
        query.fetch_all(&mut self.other().await).await.unwrap()
    }
}

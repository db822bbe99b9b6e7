//! MariaDB, as the tests of every engine ask for it.

use std::{sync::Arc, time::Duration};

use axum_generic_session::store::{MySqlStore, StoreError, Sweeper};
use sqlx::{
    Executor, MySql, MySqlConnection, MySqlPool, Row,
    mysql::{MySqlConnectOptions, MySqlPoolOptions},
};

use crate::{
    servers::mariadb::MariaDb,
    sql::{Engine, SqlStore},
};

impl SqlStore for MySqlStore {
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

/// A place is a table.
impl Engine for MariaDb {
    type Db = MySql;
    type Store = MySqlStore;

    const NAME: &'static str = "MariaDB";

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
        self.url().replace("root@", &format!("{user}@"))
    }

    fn pool(port: u16, connections: u32, setting: &str) -> MySqlPool {
        let options =
            MySqlConnectOptions::new().host("127.0.0.1").port(port).username("root").database("app");
        let setting: &'static str = if setting.is_empty() { "DO 0" } else { setting.to_owned().leak() };
        MySqlPoolOptions::new()
            .max_connections(connections)
            .test_before_acquire(false)
            .acquire_timeout(Duration::from_secs(20))
            .after_connect(move |connection, _| {
                Box::pin(async move { connection.execute(setting).await.map(drop) })
            })
            .connect_lazy_with(options)
    }

    fn store_on(pool: MySqlPool, place: &str) -> MySqlStore {
        MySqlStore::new(pool).table(place).unwrap()
    }

    fn table(place: &str) -> String {
        place.to_owned()
    }

    fn bytes(bytes: &[u8]) -> String {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("x'{hex}'")
    }

    fn isolation(level: &str) -> String {
        format!("SET SESSION TRANSACTION ISOLATION LEVEL {level}")
    }

    async fn run(connection: &mut MySqlConnection, sql: &str) -> u64 {
        let sql: &'static str = sql.to_owned().leak();
        sqlx::raw_sql(sql).execute(connection).await.unwrap().rows_affected()
    }

    /// A number that is alone, or has its name before it, as those of `SHOW` have.
    async fn number(&self, sql: &str) -> i64 {
        let sql: &'static str = sql.to_owned().leak();
        let row = sqlx::raw_sql(sql).fetch_one(&mut self.other().await).await.unwrap();
        row.try_get::<i64, _>(0).unwrap_or_else(|_| row.get::<String, _>(1).parse().unwrap())
    }

    /// From the engine's own report: the table `innodb_trx` shows an old state for as long as somebody keeps looking
    /// at it.
    async fn waiters(&self, table: &str) -> Vec<i64> {
        let status =
            sqlx::raw_sql("SHOW ENGINE INNODB STATUS").fetch_one(&mut self.other().await).await.unwrap();
        let report: String = status.get(2);
        let transactions = report.split("---TRANSACTION");
        let waiting =
            transactions.filter(|text| text.contains("LOCK WAIT") && text.contains(&format!("`{table}`")));
        waiting
            .map(|text| {
                let (_, id) = text.split_once("thread id ").expect("whose it is");
                id.split(',').next().and_then(|id| id.parse().ok()).expect("a number")
            })
            .collect()
    }
}

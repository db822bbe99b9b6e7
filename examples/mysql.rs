//! Sessions in MySQL or MariaDB, over the pool that the application has.
//!
//!     mariadb -e "CREATE DATABASE site"                               # or MySQL 8
//!     cargo run --example mysql --features mysql-store         # http://127.0.0.1:3000
//!     cargo run --example mysql --features mysql-store -- 8080 mysql://me:secret@db.internal/site

use std::{error::Error, time::Duration};

use axum_generic_session::{MySqlStore, SessionLayer};
use sqlx::mysql::MySqlPoolOptions;

mod common;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let port = args.next().map_or(Ok(3000), |text| text.parse())?;
    let url = args.next().unwrap_or_else(|| "mysql://root@127.0.0.1/site".into());
    let pool = MySqlPoolOptions::new().acquire_timeout(Duration::from_secs(2)).connect(&url).await?;
    let store = MySqlStore::new(pool);
    store.migrate().await?;
    // Expired sessions are never served; this is what removes them from the table.
    let sweeper = store.sweep_every(Duration::from_secs(60));
    common::serve(common::site(SessionLayer::new(store), "MySQL"), port).await?;
    sweeper.stop().await;
    Ok(())
}

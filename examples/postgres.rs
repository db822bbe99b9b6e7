//! Sessions in PostgreSQL, over the pool that the application has.
//!
//!     createdb site                                                   # any PostgreSQL 12 or newer
//!     cargo run --example postgres --features postgres-store         # http://127.0.0.1:3000
//!     cargo run --example postgres --features postgres-store -- 8080 postgres://me:secret@db.internal/site

use std::{error::Error, time::Duration};

use axum_generic_session::{PostgresStore, SessionLayer};
use sqlx::postgres::PgPoolOptions;

mod common;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let port = args.next().map_or(Ok(3000), |text| text.parse())?;
    let url = args.next().unwrap_or_else(|| "postgres://127.0.0.1/site".into());
    let pool = PgPoolOptions::new().acquire_timeout(Duration::from_secs(2)).connect(&url).await?;
    let store = PostgresStore::new(pool);
    store.migrate().await?;
    // Expired sessions are never served; this is what removes them from the table.
    let sweeper = store.sweep_every(Duration::from_secs(60));
    common::serve(common::site(SessionLayer::new(store), "PostgreSQL"), port).await?;
    sweeper.stop().await;
    Ok(())
}

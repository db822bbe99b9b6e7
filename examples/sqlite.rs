//! Sessions in a file: they survive a restart, and need no server.
//!
//!     cargo run --example sqlite --features sqlite-store             # http://127.0.0.1:3000, sessions.db
//!     cargo run --example sqlite --features sqlite-store -- 8080 /var/lib/site/sessions.db
//!
//! Visit the page, stop the program with Ctrl-C, start it again: the count goes on.

use std::error::Error;

use axum_generic_session::{SessionLayer, SqliteStore};

mod common;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let port = args.next().map_or(Ok(3000), |text| text.parse())?;
    let file = args.next().unwrap_or_else(|| "sessions.db".into());
    let store = SqliteStore::open(&file)?;
    let app = common::site(SessionLayer::new(store.clone()), format!("SQLite, {file}"));
    common::serve(app, port).await?;
    store.close().await;
    Ok(())
}

//! Sessions in Redis or Valkey, for sites of more than one server.
//!
//!     redis-server --port 6379 &                                      # or any Redis 6.2 or newer, or Valkey
//!     cargo run --example redis --features redis-store               # http://127.0.0.1:3000
//!     cargo run --example redis --features redis-store -- 8080 redis://sessions.internal:6379/1

use std::error::Error;

use axum_generic_session::{RedisStore, SessionLayer};

mod common;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let port = args.next().map_or(Ok(3000), |text| text.parse())?;
    let url = args.next().unwrap_or_else(|| "redis://127.0.0.1:6379".into());
    let store = RedisStore::connect(&url).await?;
    common::serve(common::site(SessionLayer::new(store), "Redis"), port).await
}

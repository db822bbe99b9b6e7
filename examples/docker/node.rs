//! One server of several: the site of the store examples, with its sessions in Redis. For `compose.yaml` beside it; it
//! runs without containers as well:
//!
//!     redis-server --port 6379 &
//!     NAME=one LISTEN=127.0.0.1:3001 cargo run --example docker --features redis-store &
//!     NAME=two LISTEN=127.0.0.1:3002 cargo run --example docker --features redis-store

use std::{env, error::Error, net::SocketAddr};

use axum::routing::get;
use axum_generic_session::{RedisStore, SessionLayer};
use tokio::signal::unix::{SignalKind, signal};

#[path = "../common/mod.rs"]
#[allow(dead_code, reason = "`serve` listens on loopback only")]
mod common;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let setting = |name, default: &str| env::var(name).unwrap_or_else(|_| default.into());
    let listen: SocketAddr = setting("LISTEN", "127.0.0.1:3000").parse()?;
    let store = RedisStore::connect(&setting("REDIS_URL", "redis://127.0.0.1:6379")).await?;
    let app = common::site(SessionLayer::new(store), setting("NAME", "a server"))
        // Outside of the session layer: it answers while Redis is away.
        .route("/health", get(|| async { "ok\n" }));
    let listener = tokio::net::TcpListener::bind(listen).await?;
    println!("http://{}", listener.local_addr()?);
    let mut stop = signal(SignalKind::terminate())?;
    let stop = async move {
        stop.recv().await;
    };
    axum::serve(listener, app).with_graceful_shutdown(stop).await?;
    Ok(())
}

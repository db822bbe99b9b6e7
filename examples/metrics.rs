//! Figures for Prometheus: a page that counts, and `/metrics` beside it.
//!
//!     cargo run --features metrics --example metrics     # http://127.0.0.1:3000 and /metrics
//!
//! The dashboard that draws them is `docs/grafana/axum-generic-session.json`.

use std::{error::Error as StdError, net::Ipv4Addr};

use axum::{Router, routing::get};
use axum_generic_session::{
    CookieOptions, Error, MemoryStore, Session, SessionLayer,
    metrics::{SIZE_BUCKETS, SIZE_BYTES, STORE_BUCKETS, STORE_SECONDS},
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};

async fn home(session: Session) -> Result<String, Error> {
    let visits = session.value::<u64>("visits").await?.unwrap_or(0) + 1;
    session.insert("visits", visits).await?;
    Ok(format!("{visits} visits\n"))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn StdError>> {
    let port = std::env::args().nth(1).map_or(Ok(3000), |text| text.parse())?;
    // Before the layer is built, so that the metrics are described.
    let prometheus = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Full(STORE_SECONDS.into()), &STORE_BUCKETS)?
        .set_buckets_for_metric(Matcher::Full(SIZE_BYTES.into()), &SIZE_BUCKETS)?
        .install_recorder()?;

    let sessions = SessionLayer::new(MemoryStore::new()).cookie(CookieOptions::new().secure(false));
    let app = Router::new()
        .route("/", get(home))
        .layer(sessions)
        .route("/metrics", get(async move || prometheus.render()));

    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    println!("http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

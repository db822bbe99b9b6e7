//! Two servers behind one address, in turn; sign in on one, sign out on the other.
//!
//!     redis-server --port 6379 &
//!     cargo run --example two_nodes --features redis-store           # http://127.0.0.1:3000
//!     cargo run --example two_nodes --features redis-store -- 8080 redis://sessions.internal:6379
//!
//! The page says which server has answered. Each has its own connection and its own layer; what they share is Redis.

use std::{
    error::Error,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{StatusCode, Uri},
    response::{IntoResponse, Response},
};
use axum_generic_session::{RedisStore, SessionLayer};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};

mod common;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let port = args.next().map_or(Ok(3000), |text| text.parse())?;
    let url = args.next().unwrap_or_else(|| "redis://127.0.0.1:6379".into());
    let nodes = [node("server A", &url).await?, node("server B", &url).await?];

    let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
    let turn = Arc::new(AtomicUsize::new(0));
    let front = Router::new().fallback(move |mut request: Request| async move {
        let node = nodes[turn.fetch_add(1, Relaxed) % nodes.len()];
        let path = request.uri().path_and_query().map_or("/", |p| p.as_str());
        match format!("http://{node}{path}").parse::<Uri>() {
            Ok(uri) => *request.uri_mut() = uri,
            Err(_) => return StatusCode::BAD_REQUEST.into_response(),
        }
        match client.request(request).await {
            Ok(response) => response.map(Body::new),
            Err(_) => Response::new(Body::from("the server behind this address does not answer")),
        }
    });
    common::serve(front, port).await
}

/// A server of its own, on a port of its own.
async fn node(name: &str, url: &str) -> Result<SocketAddr, Box<dyn Error>> {
    let store = RedisStore::connect(url).await?;
    let app = common::site(SessionLayer::new(store), name);
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(address)
}

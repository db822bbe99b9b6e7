//! A page that counts your visits.
//!
//!     cargo run --example quickstart            # http://127.0.0.1:3000
//!     cargo run --example quickstart -- 8080    # another port

use std::{error::Error, net::Ipv4Addr};

use axum::{Router, response::Html, routing::get};
use axum_generic_session::{CookieOptions, MemoryStore, Session, SessionLayer};
use serde::{Deserialize, Serialize};

#[derive(Default, Serialize, Deserialize)]
struct Visits {
    count: u64,
}

async fn home(session: Session<Visits>) -> Result<Html<String>, axum_generic_session::Error> {
    let count = session
        .update(|visits| {
            visits.count += 1;
            visits.count
        })
        .await?;
    let times = if count == 1 { "for the first time" } else { "again" };
    Ok(Html(format!(
        "<!doctype html><title>Visits</title>\
         <body style='font: 1.2rem/1.5 system-ui; display: grid; place-content: center; min-height: 90vh'>\
         <p>You are here {times}.<h1>{count} {}</h1><p><a href='/'>Come back</a></body>",
        if count == 1 { "visit" } else { "visits" }
    )))
}

async fn forget(session: Session) -> Result<&'static str, axum_generic_session::Error> {
    session.destroy()?;
    Ok("Forgotten.\n")
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let port = std::env::args().nth(1).map_or(Ok(3000), |text| text.parse())?;
    let sessions = SessionLayer::new(MemoryStore::new())
        // The default cookie is for https. This page is plain http, for development.
        .cookie(CookieOptions::new().secure(false));
    let app = Router::new().route("/", get(home)).route("/forget", get(forget)).layer(sessions);
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    println!("http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

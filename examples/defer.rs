//! A site whose pages load the session for every request, with routes that only load it if they want it.
//!
//!     cargo run --example defer                 # http://127.0.0.1:3000
//!
//! Watch the number of store calls on each page: `/static` never makes one, `/maybe` only with `?look`.

use std::{error::Error as StdError, net::Ipv4Addr};

use axum::{Router, extract::RawQuery, response::Html, routing::get};
use axum_generic_session::{CookieOptions, Error, MemoryStore, Session, SessionLayer, testing::ProbeStore};

type Store = ProbeStore<MemoryStore>;

async fn home(session: Session) -> Result<Html<String>, Error> {
    let visits = session.value::<u64>("visits").await?.unwrap_or(0) + 1;
    session.insert("visits", visits).await?;
    Ok(page(&format!("{visits} visits of this page. The session was loaded before the handler ran.")))
}

async fn maybe(RawQuery(query): RawQuery, session: Session) -> Result<Html<String>, Error> {
    if query.as_deref() != Some("look") {
        return Ok(page("The handler has a session and did not look at it: no store call."));
    }
    let visits = session.value::<u64>("visits").await?.unwrap_or(0);
    Ok(page(&format!("Looked now: {visits} visits of the home page.")))
}

async fn unused() -> Html<String> {
    page("This page knows nothing of sessions, and costs nothing.")
}

fn page(text: &str) -> Html<String> {
    Html(format!(
        "<!doctype html><title>defer</title><body style='font: 1rem/1.6 system-ui; margin: 3rem'><p>{text}\
         <p><a href='/'>home</a> · <a href='/maybe'>maybe</a> · <a href='/maybe?look'>maybe, looking</a> · \
         <a href='/static'>static</a> · <a href='/calls'>store calls so far</a>"
    ))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn StdError>> {
    let port = std::env::args().nth(1).map_or(Ok(3000), |text| text.parse())?;
    let store: Store = ProbeStore::new(MemoryStore::new());
    let eager = SessionLayer::new(store.clone()).cookie(CookieOptions::new().secure(false));
    // The same sessions, the same cookie; only when they are loaded differs.
    let deferred = eager.clone().defer(true);

    let pages = Router::new().route("/", get(home)).layer(eager);
    let rare = Router::new().route("/maybe", get(maybe)).route("/static", get(unused)).layer(deferred);
    let calls = get(move || async move { format!("{:#?}\n", store.calls()) });
    let app = Router::new().merge(pages).merge(rare).route("/calls", calls);

    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    println!("http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

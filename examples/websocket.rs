//! The session after the response: a WebSocket that counts its messages in it.
//!
//!     cargo run --example websocket             # http://127.0.0.1:3000
//!
//! Once the socket is open there is no response that would save the session, so each change is saved where it is
//! made: `transact` for a counter, `update` and `save` for anything else.

use std::{error::Error as StdError, net::Ipv4Addr};

use axum::{
    Router,
    extract::ws::{Message, WebSocket, WebSocketUpgrade},
    response::{Html, Response},
    routing::get,
};
use axum_generic_session::{CookieOptions, Error, MemoryStore, Session, SessionLayer};
use serde::{Deserialize, Serialize};

#[derive(Default, Serialize, Deserialize)]
struct Chat {
    messages: u64,
    last: Option<String>,
}

async fn page(session: Session<Chat>) -> Result<Html<String>, Error> {
    // A socket cannot set a cookie: the page sees to it that there is a session.
    session.force_save();
    let chat = session.get().await?;
    Ok(Html(format!(
        "<!doctype html><title>websocket</title><body style='font: 1rem/1.6 system-ui; margin: 3rem'>\
         <p>{} messages so far, in all of your tabs. Last: <b id=last>{}</b>\
         <form onsubmit='s.send(t.value); t.value=\"\"; return false'><input id=t autofocus><button>Send</button></form>\
         <ul id=log></ul><script>const s = new WebSocket(`ws://${{location.host}}/socket`);\
         s.onmessage = e => log.append(Object.assign(document.createElement('li'), {{textContent: e.data}}));</script>",
        chat.messages,
        chat.last.as_deref().unwrap_or("none").replace('&', "&amp;").replace('<', "&lt;"),
    )))
}

async fn socket(upgrade: WebSocketUpgrade, session: Session<Chat>) -> Response {
    upgrade.on_upgrade(move |socket| async move {
        if let Err(error) = talk(socket, session).await {
            tracing::warn!(%error, "the conversation ended");
        }
    })
}

async fn talk(mut socket: WebSocket, session: Session<Chat>) -> Result<(), Box<dyn StdError + Send + Sync>> {
    while let Some(Message::Text(text)) = socket.recv().await.transpose()? {
        // Two tabs may talk at once: counted against the store, so that none is lost.
        let number = session
            .transact(|chat| {
                chat.messages += 1;
                chat.messages
            })
            .await;
        match number {
            Ok(number) => socket.send(Message::text(format!("message {number}: {text}"))).await?,
            // Logged out in another tab: the store says so, and nothing revives the session.
            Err(error) if error.is_gone() => {
                socket.send(Message::text("your session has ended")).await?;
                break;
            }
            Err(error) => return Err(error.into()),
        }
        session.update(|chat| chat.last = Some(text.to_string())).await?;
        session.save().await?;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn StdError>> {
    tracing_subscriber::fmt().with_env_filter("info").init();
    let port = std::env::args().nth(1).map_or(Ok(3000), |text| text.parse())?;
    let sessions = SessionLayer::new(MemoryStore::new()).cookie(CookieOptions::new().secure(false));
    let app = Router::new().route("/", get(page)).route("/socket", get(socket)).layer(sessions);
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    println!("http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

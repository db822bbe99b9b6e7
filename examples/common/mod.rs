//! The little site that the store examples serve: it counts visits, and lets you in and out.

use std::{error::Error as StdError, net::Ipv4Addr};

use axum::{
    Extension, Router,
    response::{Html, Redirect},
    routing::{get, post},
};
use axum_generic_session::{CookieOptions, Error, Session, SessionLayer};
use serde::{Deserialize, Serialize};

#[derive(Default, Serialize, Deserialize)]
struct Visitor {
    name: Option<String>,
    visits: u64,
}

/// Who answers: shown on the page.
#[derive(Clone)]
struct Server(String);

async fn home(
    Extension(Server(server)): Extension<Server>,
    session: Session<Visitor>,
) -> Result<Html<String>, Error> {
    let visitor = session
        .update(|v| {
            v.visits += 1;
            v.visits
        })
        .await?;
    let who = match &session.get().await?.name {
        Some(name) => {
            format!("{name}, signed in. <form method=post action=/logout><button>Sign out</button></form>")
        }
        None => "a guest. <form method=post action=/login><button>Sign in as Ada</button></form>".to_owned(),
    };
    Ok(Html(format!(
        "<!doctype html><title>{server}</title><body style='font: 1.1rem/1.6 system-ui; margin: 4rem auto; \
         max-width: 30rem'><h1>Visit {visitor}</h1><p>You are {who}<p><small>{server}</small>"
    )))
}

async fn login(session: Session<Visitor>) -> Result<Redirect, Error> {
    session.renew().await?;
    session.update(|v| v.name = Some("Ada".into())).await?;
    Ok(Redirect::to("/"))
}

async fn logout(session: Session<Visitor>) -> Result<Redirect, Error> {
    session.destroy()?;
    Ok(Redirect::to("/"))
}

/// The site, its sessions in this layer's store.
pub(crate) fn site(sessions: SessionLayer, server: impl Into<String>) -> Router {
    // Plain http, for development.
    let sessions = sessions.cookie(CookieOptions::new().secure(false));
    Router::new()
        .route("/", get(home))
        .route("/login", post(login))
        .route("/logout", post(logout))
        .layer(sessions)
        .layer(Extension(Server(server.into())))
}

/// Serves it on 127.0.0.1 until Ctrl-C; then the requests under way are finished.
pub(crate) async fn serve(app: Router, port: u16) -> Result<(), Box<dyn StdError>> {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    println!("http://{}", listener.local_addr()?);
    let stop = async {
        tokio::signal::ctrl_c().await.ok();
    };
    axum::serve(listener, app).with_graceful_shutdown(stop).await?;
    Ok(())
}

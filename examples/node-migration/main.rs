//! A site on its way from Node to axum, route by route: `/account` is still koa, `/cart` is still express, everything
//! else is axum, which also stands in front. One cookie, one session in one Redis; its visitors do not notice.
//!
//!     examples/node-migration/run.sh           # starts Redis and all three; then http://localhost:3000

mod proxy;

use std::{env, error::Error as StdError, net::Ipv4Addr};

use axum::{
    Form, Router,
    response::{Html, Redirect},
    routing::{get, post},
};
use axum_generic_session::{CookieOptions, Error, MaxAge, RedisStore, SameSite, Session, SessionLayer};
use serde::{Deserialize, Serialize};

/// What koa, express and axum know of a visitor. What else they keep in the session stays as it is.
#[derive(Default, Serialize, Deserialize)]
struct Visitor {
    /// koa's.
    user: Option<String>,
    /// express's.
    cart: Vec<String>,
    /// axum's.
    theme: Theme,
}

#[derive(Clone, Copy, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Theme {
    #[default]
    Light,
    Dark,
}

#[derive(Deserialize)]
struct Choice {
    theme: Theme,
}

async fn home(session: Session<Visitor>) -> Result<Html<String>, Error> {
    let visitor = session.get().await?;
    let who = visitor.user.as_deref().unwrap_or("stranger").replace('&', "&amp;").replace('<', "&lt;");
    let scheme = match visitor.theme {
        Theme::Light => "light",
        Theme::Dark => "dark",
    };
    Ok(Html(format!(
        "<!doctype html><html lang='en' style='color-scheme:{scheme}'><meta charset='utf-8'><title>Shop</title>\
         <h1>Hello {who}</h1><p id='cart'>{} in your cart</p><p id='theme'>{scheme}</p>\
         <a href='/account'>Account</a> <a href='/cart'>Cart</a>\
         <form method='post' action='/theme'><button name='theme' value='dark'>Dark</button>\
         <button name='theme' value='light'>Light</button></form>\
         <form method='post' action='/logout'><button>Sign out</button></form>",
        visitor.cart.len()
    )))
}

async fn theme(session: Session<Visitor>, Form(choice): Form<Choice>) -> Result<Redirect, Error> {
    session.update(|v| v.theme = choice.theme).await?;
    Ok(Redirect::to("/"))
}

async fn logout(session: Session) -> Result<Redirect, Error> {
    session.destroy()?;
    Ok(Redirect::to("/"))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn StdError>> {
    tracing_subscriber::fmt().init();
    let port = |name| env::var(name)?.parse::<u16>().map_err(Box::<dyn StdError>::from);
    let secrets = env::var("SECRETS")?;
    let secrets: Vec<_> = secrets.split(',').collect();

    let store = RedisStore::connect(&format!("redis://127.0.0.1:{}", port("REDIS_PORT")?)).await?;
    // As express is told: `cookie: { sameSite: 'lax' }`. On https all three say `secure`, too.
    let cookie = CookieOptions::new().secure(false).same_site(SameSite::Lax).max_age(MaxAge::BrowserSession);
    let sessions = SessionLayer::express(store, &secrets).cookie(cookie);

    // The layer goes around axum's own routes; what goes on to Node takes its cookies along.
    let app = Router::new()
        .route("/", get(home))
        .route("/theme", post(theme))
        .route("/logout", post(logout))
        .layer(sessions)
        .route("/account", proxy::to(port("KOA_PORT")?))
        .route("/account/{*rest}", proxy::to(port("KOA_PORT")?))
        .route("/cart", proxy::to(port("EXPRESS_PORT")?));
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port("PORT")?)).await?;
    println!("http://localhost:{}", port("PORT")?);
    axum::serve(listener, app).await?;
    Ok(())
}

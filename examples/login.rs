//! A login as it should be: a new id at login, "remember me", a flash message, a page for members only.
//!
//!     cargo run --example login                 # http://127.0.0.1:3000, user ada, password lovelace

use std::{error::Error as StdError, net::Ipv4Addr, time::Duration};

use axum::{
    Form, Router,
    extract::{FromRequestParts, Request},
    http::request::Parts,
    middleware::{self, Next},
    response::{Html, IntoResponse, Redirect, Response},
    routing::{get, post},
};
use axum_generic_session::{CookieOptions, Error, MaxAge, MemoryStore, Rolling, Session, SessionLayer};
use serde::{Deserialize, Serialize};

/// What the session knows of the visitor.
#[derive(Default, Serialize, Deserialize)]
struct Visitor {
    user: Option<String>,
    /// Shown once, on the next page.
    flash: Option<String>,
}

/// A signed-in user; a handler that asks for one is reached by no one else.
struct User(String);

impl<S: Send + Sync> FromRequestParts<S> for User {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let session = Session::<Visitor>::from_request_parts(parts, state).await;
        let session = session.map_err(IntoResponse::into_response)?;
        let visitor = session.get().await.map_err(IntoResponse::into_response)?;
        match &visitor.user {
            Some(name) => Ok(Self(name.clone())),
            None => {
                let flash = Some("Sign in first.".to_owned());
                session.update(|v| v.flash = flash).await.map_err(IntoResponse::into_response)?;
                Err(Redirect::to("/login").into_response())
            }
        }
    }
}

#[derive(Deserialize)]
struct Credentials {
    user: String,
    password: String,
    remember: Option<String>,
}

async fn home(session: Session<Visitor>) -> Result<Html<String>, Error> {
    let flash = session.update(|v| v.flash.take()).await?;
    let visitor = session.get().await?;
    let body = match &visitor.user {
        Some(name) => format!(
            "<h1>Hello {name}</h1><p><a href='/diary'>Your diary</a>\
             <form method='post' action='/logout'><button>Sign out</button></form>"
        ),
        None => "<h1>Welcome</h1><p><a href='/login'>Sign in</a>".to_owned(),
    };
    Ok(page(flash, &body))
}

async fn login_form(session: Session<Visitor>) -> Result<Html<String>, Error> {
    let flash = session.update(|v| v.flash.take()).await?;
    Ok(page(
        flash,
        "<h1>Sign in</h1><form method='post' action='/login'>\
         <label>Name <input name='user' autocomplete='username' autofocus required></label>\
         <label>Password <input name='password' type='password' autocomplete='current-password' required></label>\
         <label><input name='remember' type='checkbox'> Remember me for 30 days</label>\
         <button>Sign in</button></form><p><small>ada, lovelace</small>",
    ))
}

async fn login(session: Session<Visitor>, Form(form): Form<Credentials>) -> Result<Redirect, Error> {
    // A site keeps hashes (argon2) and compares those; the session part is the same.
    if (form.user.as_str(), form.password.as_str()) != ("ada", "lovelace") {
        session.update(|v| v.flash = Some("That was not right.".into())).await?;
        return Ok(Redirect::to("/login"));
    }
    // The id from before the login is dead from here on, whoever planted or saw it.
    session.renew().await?;
    session
        .update(|v| {
            v.user = Some(form.user);
            v.flash = Some("Good to see you.".into());
        })
        .await?;
    if form.remember.is_some() {
        session.update_cookie(|c| c.max_age = MaxAge::For(Duration::from_secs(30 * 24 * 60 * 60))).await?;
    }
    Ok(Redirect::to("/"))
}

async fn logout(session: Session<Visitor>) -> Result<Redirect, Error> {
    session.destroy()?;
    // What follows belongs to a new session, with a new id.
    session.update(|v| v.flash = Some("See you soon.".into())).await?;
    Ok(Redirect::to("/"))
}

async fn diary(User(name): User) -> Html<String> {
    page(None, &format!("<h1>Diary of {name}</h1><p>Nothing happened today.<p><a href='/'>Back</a>"))
}

/// Pages of a member must not come back from the browser's history after the logout.
async fn no_store(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.headers_mut().insert("cache-control", axum::http::HeaderValue::from_static("no-store"));
    response
}

fn page(flash: Option<String>, body: &str) -> Html<String> {
    let flash = flash.map_or(String::new(), |text| format!("<p role='status' class='flash'>{text}</p>"));
    Html(format!(
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>Diary</title>\
         <meta name='viewport' content='width=device-width'>\
         <style>:root{{color-scheme:light dark}}body{{font:1rem/1.6 system-ui;max-width:24rem;margin:12vh auto;\
         padding:0 1rem}}label{{display:block;margin:.6rem 0}}input:not([type=checkbox]){{display:block;width:100%;\
         box-sizing:border-box;padding:.4rem;font:inherit}}button{{padding:.4rem 1rem;font:inherit}}\
         .flash{{padding:.5rem 1rem;border-left:.3rem solid #4a8}}</style>{flash}{body}"
    ))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn StdError>> {
    let port = std::env::args().nth(1).map_or(Ok(3000), |text| text.parse())?;
    let sessions = SessionLayer::new(MemoryStore::new())
        .ttl(Duration::from_secs(30 * 60))
        .rolling(Rolling::After(0.1))
        .max_lifetime(Duration::from_secs(90 * 24 * 60 * 60))
        // The default cookie is for https. This site is plain http, for development.
        .cookie(CookieOptions::new().secure(false));
    let app = Router::new()
        .route("/", get(home))
        .route("/login", get(login_form).post(login))
        .route("/logout", post(logout))
        .route("/diary", get(diary))
        .layer(middleware::from_fn(no_store))
        .layer(sessions);
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    println!("http://{}  (ada, lovelace)", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

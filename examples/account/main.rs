//! A small shop with accounts: a whole site around its sessions, to start your own from.
//!
//!     cargo run --example account --features sqlite-store              # http://127.0.0.1:3000, account.db
//!     cargo run --example account --features sqlite-store,redis-store -- --redis redis://127.0.0.1
//!
//! No build step: pages by maud, one style sheet, a script of a few lines that nothing depends on.
//!
//! | file | what it is about |
//! |---|---|
//! | `visit.rs` | what the session knows of every visitor; CSRF tokens, flash messages, members |
//! | `account.rs` | signing up, in and out, "remember me", a new password |
//! | `devices.rs` | where a member is signed in, and ending it |
//! | `cart.rs` | a cart that guests have too, and that survives the login |
//! | `pages.rs` | the frame of every page, forms, errors |
//! | `users.rs`, `attempts.rs` | names and passwords; how often one may be guessed |

use std::{net::SocketAddr, sync::Arc};

use axum::{
    BoxError, Router,
    extract::{DefaultBodyLimit, Request},
    http::{HeaderValue, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use axum_generic_session::{
    CookieOptions, Listing, Main, MaxAge, Rolling, SessionLayer, Sessions, SqliteStore,
};

mod flags;
mod users;
mod attempts;
mod visit;
mod pages;
mod cart;
mod account;
mod devices;

use flags::Flags;

/// What the handlers share.
struct Site {
    users: users::Users,
    attempts: attempts::Attempts,
    /// The sessions of a member, outside of this request's own.
    sessions: Sessions<Main, Listing>,
    flags: Flags,
}

type Layer = SessionLayer<Main, Listing>;

/// The rules of every session of this site.
fn rules(sessions: Layer, flags: &Flags) -> Layer {
    sessions
        // A member has so many devices at most; the one signed in longest ago makes room.
        .keep_newest(10)
        // The idle timeout, and the absolute one. "Remember me" is a longer idle timeout: see `account.rs`.
        .ttl(flags.idle)
        .max_lifetime(flags.absolute)
        // One small write per request, so that the countdown on the page is exact. With `Rolling::After(0.1)` it would
        // be one in three minutes at most.
        .rolling(Rolling::EveryRequest)
        .cookie(
            CookieOptions::new()
                // Who does not want to be remembered is forgotten when the browser is closed.
                .max_age(MaxAge::BrowserSession)
                // Plain http, for development. Leave this out where there is https.
                .secure(false),
        )
}

fn router(site: Arc<Site>, sessions: Layer) -> Router {
    let pages = Router::new()
        .route("/", get(cart::shop))
        .route("/cart", get(cart::show).post(cart::change))
        .route("/checkout", post(cart::checkout))
        .route("/signup", get(account::sign_up_form).post(account::sign_up))
        .route("/signin", get(account::sign_in_form).post(account::sign_in))
        .route("/signout", post(account::sign_out))
        .route("/account", get(account::show))
        .route("/account/password", get(account::password_form).post(account::change_password))
        .route("/devices/end", post(devices::end))
        .route("/devices/end-others", post(devices::end_others))
        .route("/theme", post(visit::set_theme))
        .layer(sessions)
        .with_state(site);
    Router::new()
        .merge(pages)
        // No session, and so no store call and no longer life, for what needs none.
        .route("/away", get(pages::away))
        .fallback(pages::not_found)
        .layer(middleware::map_response(pages::explain))
        .layer(middleware::from_fn(headers))
        .route("/style.css", get(|| async { asset("text/css", include_str!("style.css")) }))
        .route("/script.js", get(|| async { asset("text/javascript", include_str!("script.js")) }))
        .route("/icon.svg", get(|| async { asset("image/svg+xml", include_str!("icon.svg")) }))
        .layer(DefaultBodyLimit::max(16 * 1024))
}

fn asset(kind: &'static str, text: &'static str) -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "max-age=300"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, text)
}

/// What a page may do, and who may keep it.
async fn headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for (name, value) in [
        // After a logout the back button finds nothing, and no cache has one member's page for another.
        (header::CACHE_CONTROL, "no-store"),
        // Nothing inline: a name or a comment that was not escaped could still not run.
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; form-action 'self'; \
             base-uri 'none'; frame-ancestors 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let flags = match Flags::read(std::env::args().skip(1)) {
        Ok(flags) => flags,
        Err(why) => {
            eprintln!("{why}\n\n{}", flags::USAGE);
            std::process::exit(2);
        }
    };
    let log = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into());
    tracing_subscriber::fmt().with_env_filter(log).with_writer(std::io::stderr).init();
    let sessions = match &flags.redis {
        #[cfg(feature = "redis-store")]
        Some(url) => SessionLayer::by_principal(axum_generic_session::RedisStore::connect(url).await?),
        #[cfg(not(feature = "redis-store"))]
        Some(_) => return Err("--redis needs the feature redis-store: add it to --features".into()),
        None => SessionLayer::by_principal(SqliteStore::open(&flags.db)?),
    };
    let sessions = rules(sessions, &flags);
    let site = Arc::new(Site {
        users: users::Users::open(&flags.db)?,
        attempts: attempts::Attempts::default(),
        sessions: sessions.sessions()?,
        flags: flags.clone(),
    });
    let app = router(site, sessions);
    // Loopback only. Facing the world this stands behind a server that speaks TLS, with `secure(false)` gone.
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", flags.port)).await?;
    println!("http://{}  (plain http, for development; {flags})", listener.local_addr()?);
    let stop = async {
        tokio::signal::ctrl_c().await.ok();
    };
    axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>())
        .with_graceful_shutdown(stop)
        .await?;
    Ok(())
}

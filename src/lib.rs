//! Server-side sessions for axum: a handler declares [`Session<T>`]; nothing is read, written or sent unless it is
//! used; what is written survives concurrency, faults and attackers.
//!
//! ```no_run
//! use axum::{Router, routing::get};
//! use axum_generic_session::{Error, MemoryStore, Session, SessionLayer};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Default, Serialize, Deserialize)]
//! struct Visits {
//!     count: u64,
//! }
//!
//! async fn home(session: Session<Visits>) -> Result<String, Error> {
//!     let count = session.update(|v| { v.count += 1; v.count }).await?;
//!     Ok(format!("{count} views"))
//! }
//!
//! #[tokio::main]
//! async fn main() -> std::io::Result<()> {
//!     let sessions = SessionLayer::new(MemoryStore::new());
//!     let app = Router::new().route("/", get(home)).layer(sessions);
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
//!     axum::serve(listener, app).await
//! }
//! ```
//!
//! The default cookie is `Secure`. Browsers send such cookies to `http://localhost` too; for other clients over plain
//! http set [`CookieOptions::secure(false)`](CookieOptions::secure).
//!
//! # The guide
//!
//! This page is what everybody needs to know. The [guide] goes on: [start](guide::start),
//! [typed sessions](guide::typed), [login](guide::login), [defer](guide::defer), [stores](guide::stores),
//! [more than one process](guide::scaling), [after the response](guide::after_response), [testing](guide::testing),
//! [observability](guide::observability),
//! [security](guide::security), [recipes](guide::recipes) (`CurrentUser`, OAuth, CSRF, CORS, mobile apps, tenants, carts...),
//! and the [questions that everybody asks](guide::faq).
//!
//! # A session and its views
//!
//! A session is one JSON object. `Session<T>` sees the fields that `T` has, with `T::default()` for those that are not
//! stored; [`update`](Session::update) writes back those that the closure changed. Two types are two views of one
//! session, in one handler or in several:
//!
//! ```
//! # use axum_generic_session::{Error, Session};
//! # use serde::{Deserialize, Serialize};
//! #[derive(Default, Serialize, Deserialize)]
//! struct User { user: Option<String> }
//!
//! #[derive(Default, Serialize, Deserialize)]
//! struct Cart { items: Vec<String> }
//!
//! async fn checkout(user: Session<User>, cart: Session<Cart>) -> Result<String, Error> {
//!     let (user, bought) = (user.get().await?, cart.update(|c| c.items.drain(..).count()).await?);
//!     Ok(format!("{} bought {bought}", user.user.as_deref().unwrap_or("a guest")))
//! }
//! ```
//!
//! [`get`](Session::get) gives a snapshot in an `Arc`. Changing it does not compile, since nobody would save it:
//!
//! ```compile_fail,E0594
//! # use axum_generic_session::{Error, Session};
//! # #[derive(Default, serde::Serialize, serde::Deserialize)] struct Cart { items: u32 }
//! # async fn add(session: Session<Cart>) -> Result<(), Error> {
//! let mut cart = session.get().await?;
//! cart.items += 1;
//! # Ok(()) }
//! ```
//!
//! Without a type, `Session` has keys and values: [`value`](Session::value), [`insert`](Session::insert),
//! [`remove`](Session::remove), [`take`](Session::take). A handler that always reads may take [`Loaded<T>`], one that
//! also serves paths without a session `Option<Session<T>>`.
//!
//! # When it is saved
//!
//! After the handler has answered and before the answer leaves, once, if anything is different from what is stored;
//! a value set to what it was is no difference. So a redirect never outruns its save, and a 2xx says that the change is
//! in the store. A handler that panics, is cancelled or answers 5xx
//! ([`commit_on`](SessionLayer::commit_on)) has changed nothing.
//!
//! | the handler | store | cookie |
//! |---|---|---|
//! | did not use the session | - | - |
//! | [`prevent_save`](Session::prevent_save) | - | - |
//! | [`destroy`](Session::destroy) | ends it | cleared |
//! | [`regenerate`](Session::regenerate), wrote | new one, then ends the old | set |
//! | [`renew`](Session::renew) | the same under a new id | set |
//! | changed it, or [`force_save`](Session::force_save) | updated | set |
//! | is a new visitor's and wrote | created | set |
//! | only read it, and [`rolling`](SessionLayer::rolling) is due | life extended | set |
//! | only read it | - | - |
//!
//! [`save`](Session::save) does it now. [`transact`](Session::transact) reads, changes and writes against the store, now,
//! again and again until no other request comes between.
//!
//! # Two requests at once
//!
//! A save is a compare-and-swap. If another request has saved meanwhile, the fields that this one changed are put onto
//! what the other wrote. A field that both changed gets the later one's value, unless one removed it: then it stays
//! removed. If the session has ended meanwhile, the save is refused with 409 and nothing is revived.
//! [`strict`](SessionLayer::strict) refuses instead of merging.
//!
//! # Login
//!
//! Call [`renew`](Session::renew) at every login and every change of rights: the id from before, which somebody may have
//! planted or seen, is dead afterwards. Call [`destroy`](Session::destroy) at logout. ["Remember me", idle and absolute
//! timeouts](guide::login).
//!
//! # Elsewhere
//!
//! By default each request loads its session before the handler runs; with [`defer(true)`](SessionLayer::defer) one that
//! does not take its session [does not even look at the cookie](guide::defer). In a WebSocket, an event stream or a spawned
//! task there is no end of the request that would save: [`save`](Session::save) and [`transact`](Session::transact)
//! [write at once](guide::after_response). Outside of requests [`SessionLayer::sessions`] loads, changes and ends sessions
//! by id.
//!
//! # Sessions of a person
//!
//! [`Session::set_principal`] says at login whose a session is. With a layer made by [`SessionLayer::by_principal`] the same
//! handle finds them all: [`Sessions::of`] lists the devices of a person, ends one, all others, or all; the example of
//! [`SessionsOf`] is a page of devices. [`keep_newest`](SessionLayer::keep_newest) bounds their number. A store that cannot
//! find sessions by their principal is refused by the compiler.
//!
//! # When the store fails
//!
//! The call that asked gets an [`Error`]; with `?` it becomes a response with a status and no body, its cause in the log. No
//! cookie is changed: an outage logs nobody out. [`error_handler`](SessionLayer::error_handler) decides otherwise, per
//! operation.
//!
//! # Features
//!
//! | feature | default | for |
//! |---|---|---|
//! | `memory-store` | yes | [`MemoryStore`], the embedded store |
//! | `sqlite-store` | | sessions in a file |
//! | `redis-store` | | Redis and Valkey; `redis-rustls` for TLS |
//! | `postgres-store`, `mysql-store` | | over the application's sqlx pool |
//! | `tower-sessions-store` | | stores written for tower-sessions 0.15, as stores and for taking their sessions over; `tower-sessions-014-store` for 0.14 |
//! | `metrics` | | figures through the facade of the crate `metrics`, and a Grafana dashboard: [observability](guide::observability) |
//! | `inspector` | | a page for operators: counts, plots, the store, one session by its handle |
//! | `testing` | | [helpers for the tests of an application](guide::testing) |
//! | `store-contract` | | the conformance suite, for whoever writes a store |
#![cfg_attr(docsrs, feature(doc_cfg))]
// Tests and examples may print, unwrap and share modules; the library may not.
#![cfg_attr(
    not(test),
    warn(
        clippy::future_not_send,
        clippy::print_stdout,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        unreachable_pub
    )
)]

// In the order of a request's way: a module uses only those above it.
mod error;
mod clock;
mod id;
mod keyring;
mod cookie;
mod scan;
mod object;
mod fields;
mod view;
mod codec;
mod transport;
pub mod store;
mod hooks;
mod lifetime;
#[cfg(feature = "metrics")]
pub mod metrics;
mod observe;
mod engine;
mod config;
mod listing;
mod takeover;
mod rules;
mod state;
mod commit;
mod session;
mod slot;
mod extract;
mod principal;
mod manager;
mod layer;
mod service;
#[cfg(feature = "inspector")]
pub mod inspector;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(doc)]
pub mod guide;
#[cfg(test)]
mod properties;

pub use ::cookie::{Key, SameSite};

#[cfg(feature = "inspector")]
pub use crate::inspector::Inspector;
#[cfg(feature = "memory-store")]
pub use crate::store::MemoryStore;
#[cfg(feature = "mysql-store")]
pub use crate::store::MySqlStore;
#[cfg(feature = "postgres-store")]
pub use crate::store::PostgresStore;
#[cfg(feature = "redis-store")]
pub use crate::store::RedisStore;
#[cfg(feature = "sqlite-store")]
pub use crate::store::SqliteStore;
pub use crate::{
    clock::{Clock, SystemClock, Timestamp},
    commit::Saved,
    cookie::{CookieOptions, MaxAge, Priority},
    error::{ConfigError, Error, Operation},
    extract::Loaded,
    hooks::{Candidate, Draft, Failure, Snapshot, Verdict},
    id::{SessionId, StoreKey},
    layer::SessionLayer,
    lifetime::Rolling,
    listing::{CanList, Listing, NoListing},
    manager::Sessions,
    principal::{Listed, SessionsOf},
    service::{SessionFuture, SessionService},
    session::{Main, Map, Session},
    state::ForcedId,
    store::{CachedStore, Store},
    transport::{IdTransport, Transport},
    view::SessionData,
};
/// The driver of [`RedisStore`], in the version that its interface takes.
#[cfg(feature = "redis-store")]
#[doc(no_inline)]
pub use ::redis;

#[cfg(all(doctest, feature = "memory-store"))]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(all(
    doctest,
    feature = "memory-store",
    feature = "redis-store",
    feature = "postgres-store",
    feature = "tower-sessions-store"
))]
#[doc = include_str!("../docs/migrating.md")]
struct Migrating;

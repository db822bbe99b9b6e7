//! A page for operators; feature `inspector`: how many sessions there are, what has happened to them within the last
//! hour, how the store does, and one session by its handle, with a button that ends it.
//!
//! ```
//! use axum::{Router, routing::get};
//! use axum_generic_session::{Inspector, MemoryStore, Session, SessionLayer};
//!
//! # fn main() -> Result<(), axum_generic_session::ConfigError> {
//! # async fn home(_: Session) {}
//! let sessions = SessionLayer::new(MemoryStore::new());
//! let inspector = Inspector::new(&sessions)?;
//! let app: Router = Router::new()
//!     .route("/", get(home))
//!     .layer(sessions)
//!     .nest("/operators/sessions", inspector.router()); // behind whatever guards your operators' pages
//! # let _ = app;
//! # Ok(()) }
//! ```
//!
//! **Whoever sees the page can end sessions: mount it behind your own authentication**, or on an address that only
//! operators reach, or in development only.
//!
//! What it shows is what this process has seen since the inspector was made: an hour of counts in steps of ten seconds,
//! the last 2000 sessions or somewhat more, the last 100 events. It is kept in memory, about a megabyte, and asks the store
//! for nothing until one session is looked at. How many sessions there are in all is told by stores that know it
//! ([`Store::held`](crate::Store::held)).
//!
//! No session id can be seen or computed from what it shows: a session goes by its handle
//! ([`StoreKey::handle`](crate::StoreKey::handle)), the name that it has in the log. Of a session's data it shows the keys, the
//! types and the sizes; the values only with [`show_values`](Inspector::show_values). The pages load nothing from
//! elsewhere, run without JavaScript, may be neither cached nor framed, and a session is ended only by a form of its own.

mod guard;
mod overview;
mod page;
mod plot;
mod session;
mod words;

use std::{fmt, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::{Path, Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::map_response,
    response::{IntoResponse, Response},
    routing::{get, post},
};

use self::page::Place;
use crate::{config::Config, error::ConfigError, layer::SessionLayer, observe::journal::Journal};

/// The pages; see the [module](crate::inspector).
pub struct Inspector {
    shared: Arc<Shared>,
    show_values: bool,
}

/// What the pages are made from.
struct Shared {
    config: Arc<Config>,
    journal: Arc<Journal>,
    /// Stands in each form of this process, and in none of another site's.
    token: String,
}

#[derive(Clone)]
struct Pages {
    shared: Arc<Shared>,
    show_values: bool,
}

impl Inspector {
    /// An inspector of this layer's sessions. From now on, what happens to them is written down; clones of the layer
    /// share it, whether they were made before or after.
    ///
    /// # Errors
    /// As [`SessionLayer::check`].
    pub fn new<K, L>(layer: &SessionLayer<K, L>) -> Result<Self, ConfigError> {
        let config = layer.ready()?;
        let journal = config.engine.watch().open_journal(&config.clock);
        let shared = Shared { config, journal, token: guard::token() };
        Ok(Self { shared: Arc::new(shared), show_values: false })
    }

    /// Whether the page of a session shows what is in it. Default `false`: visitors' data are none of an operator's
    /// business, and what is shown on a screen is in the next screenshot.
    #[must_use]
    pub fn show_values(mut self, show: bool) -> Self {
        self.show_values = show;
        self
    }

    /// The pages, to be nested where operators find them.
    pub fn router<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        let pages = Pages { shared: self.shared.clone(), show_values: self.show_values };
        Router::new()
            .route("/", get(overview))
            .route("/overview", get(overview))
            .route("/session/{handle}", get(session))
            .route("/session/{handle}/end", post(end))
            .route("/style.css", get(async || asset("text/css; charset=utf-8", include_str!("style.css"))))
            .route("/live.js", get(async || asset("text/javascript; charset=utf-8", include_str!("live.js"))))
            .fallback(elsewhere)
            .layer(map_response(guard::headers))
            .with_state(pages)
    }
}

impl fmt::Debug for Inspector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inspector")
            .field("cookie", &self.shared.config.carrier.name)
            .field("show_values", &self.show_values)
            .finish_non_exhaustive()
    }
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static(kind))], text).into_response()
}

async fn overview(State(pages): State<Pages>, request: Request) -> Response {
    overview::page(&pages, &Place::of(&request)).into_response()
}

async fn elsewhere(State(pages): State<Pages>, request: Request) -> Response {
    page::not_found(&pages, &Place::of(&request), "There is no such page.").into_response()
}

async fn session(State(pages): State<Pages>, Path(handle): Path<String>, request: Request) -> Response {
    session::page(&pages, &Place::of(&request), &handle).await
}

async fn end(State(pages): State<Pages>, Path(handle): Path<String>, request: Request) -> Response {
    let place = Place::of(&request);
    if !guard::is_ours(&pages.shared.token, request).await {
        let why = "This did not come from a form of this page, or the process was started anew since. \
                   Go back, reload, and try again.";
        return page::refused(&pages, &place, why).into_response();
    }
    let Some((key, _)) = pages.shared.journal.find(&handle) else {
        return page::not_found(&pages, &place, session::UNSEEN).into_response();
    };
    let Config { engine, limits, observer, .. } = &*pages.shared.config;
    match engine.destroy(limits, &key).await {
        Ok(()) => {
            observer.destroyed(&key);
            let back = format!("{}?ended={}", place.overview(), key.handle());
            redirect(&back)
        }
        Err(error) => page::failed(&pages, &place, &error).into_response(),
    }
}

fn redirect(to: &str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    if let Ok(to) = HeaderValue::from_str(to) {
        response.headers_mut().insert(header::LOCATION, to);
    }
    response
}

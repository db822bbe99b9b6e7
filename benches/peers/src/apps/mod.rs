//! The same small application on each session layer: same routes, same data, same answers.

mod around;
mod axum_session;
mod empty;
mod extension;
mod least;
pub mod ours;
mod plain;
mod tower_sessions;

use std::{convert::Infallible, sync::OnceLock};

use axum::{
    Router,
    body::{Body, HttpBody as _},
    extract::Request,
    http::{
        HeaderValue, Uri,
        header::{ACCEPT, COOKIE, HOST, SET_COOKIE, USER_AGENT},
    },
    response::Response,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::sync::Barrier;
use tower_service::Service;

pub use self::around::App;
use self::tower_sessions as tower;

/// Who takes part.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Peer {
    /// axum without a session layer.
    Plain,
    /// axum with a layer that does nothing.
    Empty,
    /// axum with its own layer for a shared value.
    Extension,
    /// As little as a session layer can be.
    Least,
    Ours,
    TowerSessions,
    AxumSession,
}

impl Peer {
    pub const ALL: [Self; 7] = [
        Self::Plain,
        Self::Empty,
        Self::Extension,
        Self::Least,
        Self::Ours,
        Self::TowerSessions,
        Self::AxumSession,
    ];
    pub const WITH_SESSIONS: [Self; 3] = [Self::Ours, Self::TowerSessions, Self::AxumSession];

    pub fn has_sessions(self) -> bool {
        !matches!(self, Self::Plain | Self::Empty | Self::Extension)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain axum",
            Self::Empty => "empty layer",
            Self::Extension => "Extension(Arc)",
            Self::Least => "least session",
            Self::Ours => "axum-generic-session",
            Self::TowerSessions => "tower-sessions",
            Self::AxumSession => "axum_session",
        }
    }

    /// The name as an argument of this program.
    pub fn word(self) -> &'static str {
        ["plain", "empty", "extension", "least", "ours", "tower-sessions", "axum-session"][self as usize]
    }

    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|peer| peer.word() == word)
    }
}

/// How the session layer is set up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Nothing is loaded before the handler asks: the way that every peer can work.
    Deferred,
    /// The same with signed cookies.
    Signed,
    /// As `Deferred`, on a router that has not been told its state: how tests call it.
    Unfinished,
    /// As `Deferred`, with the layer around the router.
    Around,
    /// Loaded before the handler runs. For peers that do not know this, as `Deferred`.
    Eager,
}

impl Mode {
    /// The name of how a server can be set up, as an argument of this program.
    pub fn word(self) -> &'static str {
        if self == Self::Around { "around" } else { "within" }
    }

    pub fn of_word(word: &str) -> Option<Self> {
        [Self::Deferred, Self::Around].into_iter().find(|mode| mode.word() == word)
    }
}

/// The application of a peer, its store empty, wherever its layer stands.
pub async fn any(peer: Peer, mode: Mode) -> Box<dyn App> {
    if mode == Mode::Around { around::app(peer).await } else { Box::new(app(peer, mode).await) }
}

/// The application of a peer, its store empty, with its layer in the router.
pub async fn app(peer: Peer, mode: Mode) -> Router {
    let app: Router = match peer {
        Peer::Plain => plain::routes(),
        Peer::Empty => empty::app(),
        Peer::Extension => extension::app(),
        Peer::Least => least::app(),
        Peer::Ours => ours::app(mode),
        Peer::TowerSessions => tower::app(mode),
        Peer::AxumSession => axum_session::app(mode).await,
    };
    // `axum::serve` does this; without it axum puts the layers around the handler anew for each request.
    if mode == Mode::Unfinished { app } else { app.with_state(()) }
}

/// What a session holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Size {
    /// 200 bytes of JSON: a logged-in visitor.
    Small,
    /// 4 kilobytes: the same visitor with a full cart.
    Large,
}

impl Size {
    pub fn fill(self) -> &'static str {
        match self {
            Self::Small => "/fill/small",
            Self::Large => "/fill/large",
        }
    }

    pub fn data(self) -> Map<String, Value> {
        let mut data = Map::new();
        data.insert("n".into(), json!(1));
        data.insert("lang".into(), json!("en"));
        data.insert("user".into(), json!({"id": 4711, "name": "Ada Lovelace"}));
        data.insert("csrf".into(), json!("k3JYx0bq0T5uQH2m8s1LrWvZ4nCdEfGaPqRsTuVwXyZ"));
        data.insert("seen".into(), json!("2026-05-17T09:30:00Z"));
        data.insert("path".into(), json!("/shop/household/kitchen/knives?page=2"));
        if self == Self::Large {
            let items = (0..26).map(|i| {
                let title = format!(
                    "a useful thing for the house, number {i}: it comes in blue and in green, and is \
                     made to last"
                );
                json!({"sku": format!("A-{i:06}"), "title": title, "price": 1299 + i, "quantity": 1})
            });
            data.insert("cart".into(), items.collect());
        }
        data
    }
}

/// The values that two requests write at one time, one each.
pub const SIDES: [&str; 2] = ["left", "right"];

/// Waits until somebody else waits here, too.
pub async fn meet() {
    static PLACE: OnceLock<Barrier> = OnceLock::new();
    PLACE.get_or_init(|| Barrier::new(2)).wait().await;
}

/// What a new visitor's session gets: one value of about 200 bytes.
pub fn profile() -> Value {
    Value::Object(Size::Small.data())
}

/// A request as a browser would send it, but for the headers that no layer looks at.
pub fn request(path: &'static str, cookie: Option<&HeaderValue>) -> Request {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = Uri::from_static(path);
    let headers = request.headers_mut();
    headers.insert(HOST, HeaderValue::from_static("shop.example"));
    headers.insert(USER_AGENT, HeaderValue::from_static("Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0"));
    headers.insert(ACCEPT, HeaderValue::from_static("text/html"));
    if let Some(cookie) = cookie {
        headers.insert(COOKIE, cookie.clone());
    }
    request
}

/// One request through the whole application.
pub async fn call<S>(app: &mut S, path: &'static str, cookie: Option<&HeaderValue>) -> Response
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    let response = app.call(request(path, cookie)).await;
    let response = response.unwrap_or_else(|never| match never {});
    assert!(response.status().is_success(), "{path}: {}", response.status());
    assert!(!response.body().is_end_stream(), "{path}: an empty answer");
    response
}

/// Makes sessions, and gives the cookies of their visitors.
pub async fn visitors<S>(app: &mut S, size: Size, count: usize) -> Vec<HeaderValue>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    let mut cookies = Vec::with_capacity(count);
    for _ in 0..count {
        let response = call(app, size.fill(), None).await;
        let cookie = cookie_of(&response);
        // A clone makes the first of the shared bytes; later ones allocate nothing.
        drop(cookie.clone());
        cookies.push(cookie);
    }
    cookies
}

/// The `Cookie` header of a browser that has got this response.
fn cookie_of(response: &Response) -> HeaderValue {
    let pairs = response.headers().get_all(SET_COOKIE).iter().filter_map(|set| {
        let text = set.to_str().ok()?;
        text.split(';').next()
    });
    let cookie = pairs.collect::<Vec<_>>().join("; ");
    HeaderValue::try_from(cookie).expect("cookies are text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_what_they_are_called() {
        for (size, bytes) in [(Size::Small, 190..=210), (Size::Large, 3900..=4200)] {
            let length = serde_json::to_vec(&size.data()).expect("JSON").len();
            assert!(bytes.contains(&length), "{size:?}: {length}");
        }
    }
}

//! A browser for tests: it keeps cookies and sends them back.

use std::{collections::BTreeMap, fmt};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    http::{
        HeaderMap, Method, Request, StatusCode,
        header::{CONTENT_TYPE, COOKIE, SET_COOKIE},
    },
};
use cookie::Cookie;
use tower::ServiceExt;

use crate::{
    clock::{Clock, SharedClock, Timestamp},
    cookie::path_matches,
};

/// A visitor of a `Router`: no server, no port, but cookies as a browser keeps them (path, `Max-Age`,
/// `Expires`, removal; `Secure` and `Domain` are taken as met).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use axum::{Router, routing::get};
/// use axum_generic_session::{MemoryStore, Session, SessionLayer, testing::Client};
///
/// async fn count(session: Session) -> String {
///     let n = session.value::<u64>("n").await.unwrap().unwrap_or(0) + 1;
///     session.insert("n", n).await.unwrap();
///     n.to_string()
/// }
///
/// let app = Router::new().route("/", get(count)).layer(SessionLayer::new(MemoryStore::new()));
/// let mut visitor = Client::new(app.clone());
/// assert_eq!(visitor.get("/").await.text(), "1");
/// assert_eq!(visitor.get("/").await.text(), "2");
/// assert_eq!(Client::new(app).get("/").await.text(), "1", "somebody else");
/// # }
/// ```
#[derive(Clone)]
pub struct Client {
    app: Router,
    clock: SharedClock,
    jar: BTreeMap<(String, String), Kept>,
}

#[derive(Clone)]
struct Kept {
    value: String,
    expires: Option<Timestamp>,
}

impl Client {
    /// A visitor without cookies.
    #[must_use]
    pub fn new(app: Router) -> Self {
        Self { app, clock: SharedClock::System, jar: BTreeMap::new() }
    }

    /// Lets cookies grow old by this clock.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = SharedClock::of(clock);
        self
    }

    /// `GET path`.
    pub async fn get(&mut self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty())).await
    }

    /// `POST path` with a form, `name=value&...`.
    pub async fn post(&mut self, path: &str, form: &str) -> Answer {
        let request = Request::post(path).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.send(request.body(Body::from(form.to_owned()))).await
    }

    /// Any request. The visitor's cookies are added to it, and those of the answer kept.
    ///
    /// # Panics
    /// When the request cannot be built or the answer's body cannot be read: this is for tests.
    pub async fn send(&mut self, request: Result<Request<Body>, axum::http::Error>) -> Answer {
        let mut request = request.expect("a request");
        let path = request.uri().path().to_owned();
        if let Some(cookies) = self.cookie_header(&path).and_then(|text| text.parse().ok()) {
            request.headers_mut().append(COOKIE, cookies);
        }
        let method = request.method().clone();
        let Ok(response) = self.app.clone().oneshot(request).await;
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.expect("a body");
        self.keep(&parts.headers, &path);
        Answer { method, path, status: parts.status, headers: parts.headers, body }
    }

    /// What would be sent as `Cookie` to this path.
    #[must_use]
    pub fn cookie_header(&self, path: &str) -> Option<String> {
        let now = self.clock.now();
        let cookies: Vec<_> = self
            .jar
            .iter()
            .filter(|((_, cookie_path), kept)| {
                path_matches(cookie_path, path) && kept.expires.is_none_or(|end| end > now)
            })
            .map(|((name, _), kept)| format!("{name}={}", kept.value))
            .collect();
        (!cookies.is_empty()).then(|| cookies.join("; "))
    }

    /// The value of the cookie of this name.
    #[must_use]
    pub fn cookie(&self, name: &str) -> Option<&str> {
        self.jar.iter().find(|((n, _), _)| n == name).map(|(_, kept)| kept.value.as_str())
    }

    /// Plants a cookie for the whole site, as an attacker or an old browser may.
    pub fn set_cookie(&mut self, name: &str, value: &str) {
        self.jar.retain(|(n, _), _| n != name);
        self.jar.insert((name.into(), "/".into()), Kept { value: value.into(), expires: None });
    }

    /// Forgets all cookies.
    pub fn clear_cookies(&mut self) {
        self.jar.clear();
    }

    fn keep(&mut self, headers: &HeaderMap, request_path: &str) {
        let now = self.clock.now();
        for line in headers.get_all(SET_COOKIE) {
            let Some(cookie) = line.to_str().ok().and_then(|text| Cookie::parse(text).ok()) else { continue };
            // RFC 6265 section 5.3: Max-Age wins over Expires.
            let by_age = cookie.max_age().map(|age| match age.try_into() {
                Ok(age) => now.saturating_add(age),
                Err(_) => Timestamp::EPOCH,
            });
            let by_date = cookie.expires_datetime().map(|date| {
                Timestamp::from_millis(u64::try_from(date.unix_timestamp() * 1000).unwrap_or_default())
            });
            let expires = by_age.or(by_date);
            let path = cookie.path().unwrap_or(request_path).to_owned();
            let key = (cookie.name().to_owned(), path);
            if expires.is_some_and(|end| end <= now) {
                self.jar.remove(&key);
            } else {
                self.jar.insert(key, Kept { value: cookie.value().to_owned(), expires });
            }
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({} cookies)", self.jar.len())
    }
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    method: Method,
    path: String,
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl Answer {
    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is not.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| {
            panic!("{} {} answered no JSON ({e}): {}", self.method, self.path, self.text())
        })
    }

    /// The lines of `Set-Cookie`.
    #[must_use]
    pub fn set_cookies(&self) -> Vec<String> {
        self.headers
            .get_all(SET_COOKIE)
            .iter()
            .map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned())
            .collect()
    }

    /// A header's value; empty if it is not there.
    #[must_use]
    pub fn header(&self, name: &str) -> String {
        let values = self.headers.get_all(name).iter();
        values.map(|v| String::from_utf8_lossy(v.as_bytes())).collect::<Vec<_>>().join(", ")
    }

    /// This answer, if its status is the one expected.
    ///
    /// # Panics
    /// When it is not; the message shows the body.
    #[must_use]
    pub fn expect_status(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{} {} answered: {}", self.method, self.path, self.text());
        self
    }
}

//! How an id travels: header, bearer token, the application's own way, several of them, and a forced id.
#![cfg(all(feature = "memory-store", feature = "testing"))]

mod site;

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue},
    middleware::{Next, from_fn},
    response::Response,
};
use axum_generic_session::{
    ForcedId, IdTransport, Key, SessionId, Transport,
    testing::{Answer, Client},
};
use serde_json::json;
use site::{COOKIE, Site};

const X_SESSION: &str = "x-session-id";

fn by_header() -> Transport {
    Transport::header(HeaderName::from_static(X_SESSION))
}

async fn with(visitor: &mut Client, path: &str, header: &str, value: &str) -> Answer {
    visitor.send(Request::get(path).header(header, value).body(Body::empty())).await
}

#[tokio::test]
async fn a_header_brings_the_id_and_takes_it_back() {
    let site = Site::with(|layer| layer.transport(by_header()));
    let mut app = site.visitor();
    let answer = app.get("/set/user/alice").await.expect_status(200);
    assert_eq!((answer.set_cookies().len(), answer.header("vary").as_str()), (0, X_SESSION));
    assert_eq!(answer.header("cache-control"), "private");
    let id = answer.header(X_SESSION);
    assert_eq!(site.data(&id).await.unwrap(), json!({"user": "alice"}));
    let answer = with(&mut app, "/read", X_SESSION, &id).await;
    assert_eq!((answer.json(), answer.headers.contains_key(X_SESSION)), (json!({"user": "alice"}), false));
    let renewed = with(&mut app, "/renew", X_SESSION, &id).await.header(X_SESSION);
    assert_ne!(renewed, id);
    let answer = with(&mut app, "/logout", X_SESSION, &renewed).await.expect_status(200);
    assert_eq!(answer.headers.get(X_SESSION).unwrap(), "", "forget your id");
    assert_eq!(site.store.inner().len(), 0);
}

#[tokio::test]
async fn cookies_mean_nothing_to_a_header_transport() {
    let site = Site::with(|layer| layer.transport(by_header()));
    let id = site.visitor().get("/set/user/alice").await.header(X_SESSION);
    let mut visitor = site.visitor();
    visitor.set_cookie(COOKIE, &id);
    assert_eq!(visitor.get("/read").await.json(), json!({}));
}

#[tokio::test]
async fn a_bearer_token_is_an_id() {
    let site = Site::with(|layer| layer.transport(Transport::bearer()));
    let mut app = site.visitor();
    let answer = app.get("/set/user/alice").await.expect_status(200);
    let id = answer.header(X_SESSION);
    assert_eq!(answer.header("vary"), "authorization");
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let answer = with(&mut app, "/read", "authorization", &format!("{scheme} {id}")).await;
        assert_eq!(answer.json(), json!({"user": "alice"}), "{scheme}");
    }
    for wrong in
        [format!("Basic {id}"), id.clone(), "Bearer".into(), "Bearer ".into(), format!("Bearer {id} {id}")]
    {
        let answer = with(&mut app, "/read", "authorization", &wrong).await;
        assert_eq!(answer.json(), json!({}), "{wrong}");
    }
    let answer = with(&mut app, "/logout", "authorization", &format!("Bearer {id}")).await.expect_status(200);
    assert_eq!(answer.headers.get(X_SESSION).unwrap(), "", "forget your token");
    assert_eq!(site.store.inner().len(), 0);
}

#[tokio::test]
async fn of_several_ways_the_first_that_brings_an_id_is_answered() {
    let site =
        Site::with(|layer| layer.transport(Transport::cookie().or(by_header()).or(Transport::bearer())));
    let mut browser = site.visitor();
    let answer = browser.get("/set/user/alice").await.expect_status(200);
    assert_eq!(
        (answer.set_cookies().len(), answer.headers.contains_key(X_SESSION)),
        (1, false),
        "new: the first"
    );
    assert_eq!(answer.header("vary"), "cookie, x-session-id, authorization");
    let id = browser.cookie(COOKIE).unwrap().to_owned();

    let answer = with(&mut site.visitor(), "/set/a/1", X_SESSION, &id).await.expect_status(200);
    assert_eq!((answer.set_cookies().len(), answer.header(X_SESSION)), (0, id.clone()), "the way it came");
    let answer = with(&mut site.visitor(), "/set/b/2", "authorization", &format!("Bearer {id}")).await;
    assert_eq!((answer.set_cookies().len(), answer.header(X_SESSION)), (0, id.clone()));

    let answer = with(&mut browser, "/read", X_SESSION, "another").await;
    assert_eq!(answer.json(), json!({"user": "alice", "a": "1", "b": "2"}), "the cookie comes first");
    let mut odd = site.visitor();
    odd.set_cookie(COOKIE, "no id, it has spaces");
    let answer = with(&mut odd, "/read", X_SESSION, &id).await;
    assert_eq!(answer.json()["user"], "alice", "what is no id is passed over");
}

#[tokio::test]
async fn an_unknown_id_in_a_header_is_answered_there() {
    let site = Site::with(|layer| layer.transport(Transport::cookie().or(by_header())));
    let answer = with(&mut site.visitor(), "/set/a/1", X_SESSION, "chosen-by-the-client").await;
    assert_eq!(answer.set_cookies().len(), 0);
    assert_ne!(answer.header(X_SESSION), "chosen-by-the-client");
    assert_eq!(site.data(&answer.header(X_SESSION)).await.unwrap(), json!({"a": "1"}));
}

#[tokio::test]
async fn only_cookies_are_signed() {
    let key = Key::from(&[1; 64]);
    let site = Site::with(|layer| layer.keys([&key]).transport(by_header().or(Transport::cookie())));
    let id = site.visitor().get("/set/a/1").await.header(X_SESSION);
    assert_eq!(id.len(), 32, "a client of an API sees the id itself");
    let mut visitor = site.visitor();
    visitor.set_cookie(COOKIE, &id);
    assert_eq!(visitor.get("/read").await.json(), json!({}), "in a cookie it needs its signature");
}

/// An id in a query-like header pair, as an application may have inherited it.
struct Ticket;

impl IdTransport for Ticket {
    fn read(&self, headers: &HeaderMap) -> Option<String> {
        Some(headers.get("x-ticket")?.to_str().ok()?.strip_prefix("no ")?.to_owned())
    }
    fn write(&self, headers: &mut HeaderMap, id: &SessionId) {
        headers.insert("x-ticket", HeaderValue::from_str(&format!("no {}", id.expose())).unwrap());
    }
    fn clear(&self, headers: &mut HeaderMap) {
        headers.insert("x-ticket", HeaderValue::from_static("void"));
    }
    fn vary(&self) -> Option<HeaderName> {
        Some(HeaderName::from_static("x-ticket"))
    }
}

#[tokio::test]
async fn the_applications_own_way() {
    let site = Site::with(|layer| layer.transport(Transport::custom(Ticket)));
    let answer = site.visitor().get("/set/user/alice").await.expect_status(200);
    assert_eq!(answer.header("vary"), "x-ticket");
    let ticket = answer.header("x-ticket");
    let mut visitor = site.visitor();
    assert_eq!(with(&mut visitor, "/read", "x-ticket", &ticket).await.json(), json!({"user": "alice"}));
    assert_eq!(with(&mut visitor, "/logout", "x-ticket", &ticket).await.header("x-ticket"), "void");
    assert_eq!(with(&mut visitor, "/read", "x-ticket", &ticket).await.json(), json!({}));
    for bad in ["no ", "no \u{7f}", "no a b", &format!("no {}", "a".repeat(257))] {
        let request = Request::get("/set/a/1").header("x-ticket", bad.as_bytes()).body(Body::empty());
        if request.is_ok() {
            let answer = visitor.send(request).await.expect_status(200);
            assert_ne!(answer.header("x-ticket"), bad, "what is no id never reaches the store");
        }
    }
}

async fn by_query(mut request: Request, next: Next) -> Response {
    if let Some(id) = request.uri().query().and_then(SessionId::parse) {
        request.extensions_mut().insert(ForcedId(id));
    }
    next.run(request).await
}

#[tokio::test]
async fn a_forced_id_wins_and_is_looked_up_like_any_other() {
    for deferred in [false, true] {
        let site = Site::with(|layer| layer.defer(deferred));
        let alice = site.known("alice").await;
        let id = alice.cookie(COOKIE).unwrap();
        let mut visitor = Client::new(site.app().layer(from_fn(by_query)));
        visitor.set_cookie(COOKIE, "something-else");
        assert_eq!(visitor.get(&format!("/read?{id}")).await.json(), json!({"user": "alice"}));
        let answer = visitor.get("/set/user/mallory?forced-and-unknown").await.expect_status(200);
        assert_eq!(answer.set_cookies().len(), 1);
        assert_ne!(visitor.cookie(COOKIE), Some("forced-and-unknown"), "and replaced if nobody was given it");
        assert_eq!(site.data("forced-and-unknown").await, None);
    }
}

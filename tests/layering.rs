//! Where the layer stands: nested and repeated, per route, under nested and merged routers, several kinds at once.
#![cfg(all(feature = "memory-store", feature = "testing"))]

mod site;

use axum::{
    Extension, Router,
    body::{Body, to_bytes},
    extract::{MatchedPath, OriginalUri, Path, Request},
    handler::Handler,
    http::header::SET_COOKIE,
    middleware::{Next, from_fn},
    response::Response,
    routing::{any, get, get_service, post},
};
use axum_generic_session::{
    Error, Key, Map, MemoryStore, Rolling, Session, SessionLayer,
    testing::{Client, ManualClock, ProbeStore},
};
use serde_json::json;
use site::{COOKIE, Site, at_path};
use std::{convert::Infallible, time::Duration};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};

async fn count(session: Session) -> Result<String, Error> {
    let n = session.value::<u64>("n").await?.unwrap_or(0) + 1;
    session.insert("n", n).await?;
    Ok(n.to_string())
}

async fn nothing() -> &'static str {
    "hello"
}

fn layer() -> (ProbeStore<MemoryStore>, SessionLayer) {
    let store = ProbeStore::new(MemoryStore::new());
    (store.clone(), SessionLayer::new(store))
}

#[tokio::test]
async fn a_second_layer_of_the_same_cookie_stands_aside() {
    for (outer, inner) in [(false, false), (false, true), (true, false), (true, true)] {
        let (store, sessions) = layer();
        let app = Router::new()
            .route("/", get(count).layer(sessions.clone().defer(inner)))
            .layer(sessions.clone().defer(inner))
            .layer(sessions.defer(outer));
        let mut visitor = Client::new(app);
        for n in 1..=3 {
            let answer = visitor.get("/").await.expect_status(200);
            assert_eq!((answer.text(), answer.set_cookies().len()), (n.to_string(), 1));
        }
        let calls = store.calls();
        assert_eq!((calls.get, calls.set, calls.total()), (2, 3, 5), "outer {outer}, inner {inner}");
    }
}

#[tokio::test]
async fn an_eager_layer_inside_of_a_deferred_one_loads_and_prolongs() {
    let clock = ManualClock::new();
    let store = ProbeStore::new(MemoryStore::new().clock(clock.clone()));
    let sessions = SessionLayer::new(store.clone()).clock(clock.clone()).rolling(Rolling::EveryRequest);
    let app = Router::new()
        .route("/count", get(count))
        .route("/eager", get(nothing).layer(sessions.clone()))
        .route("/deferred", get(nothing))
        .layer(sessions.defer(true));
    let mut visitor = Client::new(app).clock(clock.clone());
    let _ = visitor.get("/count").await;
    let _ = store.take_calls();
    clock.advance(Duration::from_secs(60));
    assert_eq!(visitor.get("/deferred").await.set_cookies(), [""; 0]);
    assert_eq!(store.take_calls().total(), 0);
    assert_eq!(visitor.get("/eager").await.set_cookies().len(), 1);
    let calls = store.take_calls();
    assert_eq!((calls.get, calls.touch, calls.total()), (1, 1, 2));
}

#[tokio::test]
async fn each_route_may_choose_when_to_load() {
    let (store, sessions) = layer();
    let eager =
        Router::new().route("/eager", get(nothing)).route("/count", get(count)).layer(sessions.clone());
    let deferred = Router::new().route("/asset", get(nothing)).layer(sessions.clone().defer(true));
    let app = eager.merge(deferred).route("/here", get(nothing.layer(sessions.defer(true))));
    let mut visitor = Client::new(app);
    let _ = visitor.get("/count").await.expect_status(200);
    for (path, calls) in [("/eager", 1), ("/asset", 0), ("/here", 0), ("/nowhere", 0)] {
        let _ = store.take_calls();
        let _ = visitor.get(path).await;
        assert_eq!(store.take_calls().total(), calls, "{path}");
    }
}

#[tokio::test]
async fn the_cookies_path_is_that_of_the_whole_url_under_nested_routers() {
    let (_, sessions) = layer();
    let scoped = sessions.cookie(at_path("/admin"));
    let inner = Router::new().route("/count", get(count)).fallback(count);
    for app in [
        Router::new().nest("/admin", inner.clone().layer(scoped.clone())),
        Router::new().nest("/admin", inner.clone()).layer(scoped.clone()),
        Router::new().nest("/admin", Router::new().merge(inner.clone())).layer(scoped.clone()),
        Router::new().nest("/admin", Router::new().route_service("/count", any(count).layer(scoped.clone()))),
    ] {
        let mut visitor = Client::new(app);
        for n in 1..=2 {
            let answer = visitor.get("/admin/count").await.expect_status(200);
            assert_eq!(answer.text(), n.to_string());
            assert!(answer.set_cookies()[0].contains("; Path=/admin; "), "{:?}", answer.set_cookies());
        }
    }
    let whole = sessions_at("/").layer(Router::new().nest("/a", Router::new().nest("/b", inner)));
    let mut visitor = Client::new(Router::new().fallback_service(whole));
    assert_eq!(visitor.get("/a/b/count").await.text(), "1");
    assert_eq!(visitor.get("/a/b/count").await.text(), "2");
}

fn sessions_at(path: &'static str) -> SessionLayer {
    layer().1.cookie(at_path(path))
}

#[tokio::test]
async fn fallbacks_and_methods_are_covered_like_routes() {
    let app = Router::new()
        .route("/methods", get(count).post(count).fallback(count))
        .route("/posts", post(count))
        .fallback(count)
        .method_not_allowed_fallback(count)
        .layer(layer().1);
    let mut visitor = Client::new(app);
    assert_eq!(visitor.get("/methods").await.text(), "1");
    assert_eq!(visitor.post("/methods", "").await.text(), "2");
    assert_eq!(visitor.get("/posts").await.text(), "3", "the wrong method");
    assert_eq!(visitor.get("/no/such/page").await.text(), "4");
    let head = visitor.send(Request::head("/methods").body(Body::empty())).await.expect_status(200);
    assert_eq!((head.text().as_str(), head.set_cookies().len()), ("", 1));
}

#[tokio::test]
async fn the_layer_goes_around_handlers_services_and_whole_applications() {
    let (_, sessions) = layer();
    let plain = service_fn(|request: Request| async move {
        let there = !request.extensions().is_empty();
        Ok::<_, Infallible>(Response::new(Body::from(there.to_string())))
    });
    let app = Router::new()
        .route("/handler", get(count.layer(sessions.clone())))
        .route("/service", get_service(ServiceBuilder::new().layer(sessions.clone()).service(plain)))
        .route_layer(sessions.clone());
    let mut visitor = Client::new(app);
    assert_eq!(visitor.get("/handler").await.text(), "1");
    assert_eq!(visitor.get("/service").await.text(), "true");

    let whole = sessions.layer(Router::new().route("/count", get(count)));
    let mut visitor = Client::new(Router::new().fallback_service(whole));
    assert_eq!(visitor.get("/count").await.text(), "1");
    assert_eq!(visitor.get("/count").await.text(), "2");
}

#[tokio::test]
async fn around_a_router_what_the_request_has_with_it_stays_there() {
    async fn all(
        session: Session,
        Path(page): Path<String>,
        matched: MatchedPath,
        OriginalUri(uri): OriginalUri,
        before: Option<Extension<u8>>,
    ) -> Result<String, Error> {
        let n = count(session).await?;
        let before = before.map(|Extension(number)| number);
        Ok(format!("{n} {page} {} {} {before:?}", matched.as_str(), uri.path()))
    }
    let (_, sessions) = layer();
    let app = sessions.defer(true).layer(Router::new().route("/page/{page}", get(all)));
    for before in [None, Some(7_u8)] {
        let mut request = Request::get("/page/one").body(Body::empty()).unwrap();
        before.map(|number| request.extensions_mut().insert(number));
        let answer = app.clone().oneshot(request).await.unwrap();
        assert!(answer.headers().contains_key(SET_COOKIE));
        let text = to_bytes(answer.into_body(), 100).await.unwrap();
        assert_eq!(text, format!("1 one /page/{{page}} /page/one {before:?}"));
    }
}

enum Admin {}

#[tokio::test]
async fn several_kinds_of_session_live_side_by_side() {
    async fn both(site: Session, admin: Session<Map, Admin>) -> Result<String, Error> {
        admin.insert("role", "root").await?;
        Ok(format!("{} {}", count(site).await?, admin.get().await?.len()))
    }
    let key = Key::from(&[1; 64]);
    let (store, sessions) = layer();
    let admin =
        SessionLayer::new(store.clone()).name("admin.sid").prefix("admin:").keys([&key]).kind::<Admin>();
    let app = Router::new()
        .route("/both", get(both))
        .route("/leave", get(|admin: Session<Map, Admin>| async move { admin.destroy() }))
        .layer(sessions.defer(true))
        .layer(admin.defer(true));
    let mut visitor = Client::new(app);
    let answer = visitor.get("/both").await.expect_status(200);
    assert_eq!((answer.text().as_str(), answer.set_cookies().len()), ("1 1", 2));
    assert_eq!(visitor.get("/both").await.text(), "2 1");
    let answer = visitor.get("/leave").await.expect_status(200);
    assert!(answer.set_cookies()[0].starts_with("admin.sid=; "), "{:?}", answer.set_cookies());
    assert_eq!(store.inner().len(), 1, "the visitor's own session goes on");
    assert!(visitor.cookie(COOKIE).is_some());
}

#[tokio::test]
async fn a_middleware_and_a_handler_share_the_session_without_waiting_for_each_other() {
    async fn visits(session: Session, request: Request, next: Next) -> Response {
        let before = session.get().await.unwrap();
        session.insert("visits", before.len()).await.unwrap();
        let response = next.run(request).await;
        // The handler's change is seen, and one after the handler counts too.
        let n = session.value::<u64>("n").await.unwrap();
        session.insert("seen", n).await.unwrap();
        response
    }
    let site = Site::new();
    let app = Router::new().route("/", get(count)).layer(from_fn(visits)).layer(site.layer.clone());
    let mut visitor = Client::new(app).clock(site.clock.clone());
    let _ = visitor.get("/").await.expect_status(200);
    assert_eq!(site.data_of(&visitor).await.unwrap(), json!({"visits": 0, "n": 1, "seen": 1}));
    assert_eq!(site.store.calls().set, 1);
}

#[tokio::test]
async fn without_a_layer_the_error_names_the_fix() {
    let app = Router::new()
        .route("/needs", get(count))
        .route("/asks", get(|s: Option<Session>| async move { s.is_some().to_string() }))
        .route("/why", get(|r: Result<Session, Error>| async move { r.unwrap_err().to_string() }))
        .layer(layer().1.kind::<Admin>());
    let mut visitor = Client::new(app);
    let answer = visitor.get("/needs").await.expect_status(500);
    assert_eq!(answer.text(), "", "the client is told nothing");
    assert_eq!(visitor.get("/asks").await.text(), "false", "another kind's layer is none");
    assert_eq!(
        visitor.get("/why").await.text(),
        "no session here: add `.layer(SessionLayer::new(store))` to the router after its routes, or, if it is \
         there, look whether the request's path lies outside the cookie's `path`; see \
         https://docs.rs/axum-generic-session/latest/axum_generic_session/guide/faq/index.html\
         #a-handler-answers-500-no-session-here"
    );
}

#[tokio::test]
async fn two_layers_of_one_kind_and_two_cookies_serve_two_parts_of_a_site() {
    let (store, shop) = layer();
    let app = Router::new()
        .route("/shop", get(count))
        .layer(shop.clone().name("shop.sid"))
        .merge(Router::new().route("/blog", get(count)).layer(shop.name("blog.sid")));
    let mut visitor = Client::new(app);
    for n in 1..=2 {
        assert_eq!(visitor.get("/shop").await.text(), n.to_string());
        assert_eq!(visitor.get("/blog").await.text(), n.to_string());
    }
    assert_eq!(store.inner().len(), 2);
    assert!(visitor.cookie("shop.sid").is_some() && visitor.cookie("blog.sid").is_some());
}

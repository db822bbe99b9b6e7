//! What a request may cost in allocations above the same handler in a layer that does nothing. Counts do not depend on how busy
//! the machine is, so a regression fails here and not in somebody's profile.
#![cfg(all(feature = "memory-store", feature = "testing"))]

use std::convert::Infallible;

use allocation_counter::measure;
use axum::{
    Router,
    body::Body,
    http::{Request, header::COOKIE},
    response::Response,
    routing::get,
};
use axum_generic_session::{Error, Key, MemoryStore, Session, SessionLayer, testing::Client};
use serde::{Deserialize, Serialize};
use tower::{Layer, Service, ServiceExt, layer::util::Identity};

/// About as much text as a session of `size` bytes has, in entries of 80 bytes.
async fn fill(session: Session, size: usize) -> Result<(), Error> {
    session.insert("count", 1).await?;
    for i in 0..size / 80 {
        session.insert(&format!("key{i:02}"), "x".repeat(68)).await?;
    }
    Ok(())
}

fn routes() -> Router {
    Router::new()
        .route("/plain", get(async || "ok"))
        .route("/untouched", get(async |_: Session| "ok"))
        .route("/read", get(async |s: Session| s.value::<u64>("count").await.map(|_| "ok")))
        .route("/same", get(async |s: Session| s.insert("count", 1).await.map(|()| "ok")))
        .route("/change", get(count))
        .route(
            "/view/change",
            get(async |s: Session<Counter>| s.update(|c| c.count += 1).await.map(|()| "ok")),
        )
        .route("/fill/200", get(async |s: Session| fill(s, 200).await))
        .route("/fill/4000", get(async |s: Session| fill(s, 4000).await))
}

#[derive(Default, Serialize, Deserialize)]
struct Counter {
    count: u64,
}

async fn count(session: Session) -> Result<&'static str, Error> {
    let count: u64 = session.value("count").await?.unwrap_or(0);
    session.insert("count", count + 1).await?;
    Ok("ok")
}

/// Allocations of one request, the building of the request left out.
fn allocations<S>(app: &S, path: &str, cookie: Option<&str>) -> u64
where
    S: Service<Request<Body>, Response = Response, Error = Infallible> + Clone,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let once = || {
        let mut request = Request::get(path);
        if let Some(cookie) = cookie {
            request = request.header(COOKIE, cookie);
        }
        let request = request.body(Body::empty()).unwrap();
        let app = app.clone();
        let mut counted = 0;
        let info = measure(|| {
            let response: Result<_, Infallible> = runtime.block_on(app.oneshot(request));
            counted = response.unwrap().status().as_u16().into();
        });
        assert_eq!(counted, 200_u64, "{path}");
        info.count_total
    };
    // The first request pays for what is made once: thread locals, the random generator.
    once();
    once()
}

/// Above a layer that does nothing, for which axum allocates too. The routers know their state, as `axum::serve` sees to
/// it; one that does not puts its layers around the handler anew for each request.
fn above_empty(layer: &SessionLayer, path: &str, cookie: Option<&str>) -> u64 {
    let empty = allocations(&routes().layer(Identity::new()).with_state(()), "/plain", cookie);
    allocations(&routes().layer(layer.clone()).with_state(()), path, cookie) - empty
}

fn cookie_of(layer: &SessionLayer, path: &str) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let mut visitor = Client::new(routes().layer(layer.clone()));
    let _ = runtime.block_on(visitor.get(path)).expect_status(200);
    visitor.cookie_header("/").unwrap()
}

#[test]
fn a_request_costs_no_more_than_its_budget() {
    let unsigned = SessionLayer::new(MemoryStore::new()).defer(true);
    let signed = SessionLayer::new(MemoryStore::new()).defer(true).keys([&Key::from(&[7; 64])]);
    let eager = SessionLayer::new(MemoryStore::new());
    let (small, large) = (cookie_of(&unsigned, "/fill/200"), cookie_of(&unsigned, "/fill/4000"));
    let (by_key, before) = (cookie_of(&signed, "/fill/200"), cookie_of(&eager, "/fill/200"));
    let table = [
        ("untouched, no cookie", &unsigned, "/plain", None, 2),
        ("untouched, cookie", &unsigned, "/plain", Some(&small), 2),
        ("untouched, signed cookie", &signed, "/plain", Some(&by_key), 2),
        ("extracted, not asked", &unsigned, "/untouched", Some(&small), 2),
        ("read, 200 B", &unsigned, "/read", Some(&small), 2),
        ("read, 4 KB", &unsigned, "/read", Some(&large), 2),
        ("read, signed", &signed, "/read", Some(&by_key), 3),
        ("the same value written, 200 B", &unsigned, "/same", Some(&small), 2),
        ("changed, 200 B", &unsigned, "/change", Some(&small), 4),
        ("a view changed, 200 B", &unsigned, "/view/change", Some(&small), 5),
        // One of them where it is the first of its shard.
        ("new", &unsigned, "/change", None, 5),
        ("loaded before the handler, no cookie", &eager, "/plain", None, 2),
        ("loaded before the handler, 200 B", &eager, "/plain", Some(&before), 2),
    ];
    let mut over = Vec::new();
    for (what, layer, path, cookie, budget) in table {
        let taken = above_empty(layer, path, cookie.map(String::as_str));
        println!("{what}: {taken} of {budget}");
        if taken > budget {
            over.push(format!("{what}: {taken} allocations, the budget is {budget}"));
        }
    }
    assert!(over.is_empty(), "{over:#?}");
}

/// Around the router, where axum boxes nothing for it, a session layer is dearer than none by the box of the value that it hands on.
#[test]
fn around_the_router_a_request_costs_one() {
    let layer = SessionLayer::new(MemoryStore::new()).defer(true);
    let cookie = cookie_of(&layer, "/fill/200");
    let router = routes().with_state(());
    for cookie in [None, Some(&*cookie)] {
        let none = allocations(&router, "/plain", cookie);
        assert_eq!(allocations(&layer.layer(router.clone()), "/plain", cookie) - none, 1, "{cookie:?}");
    }
    let none = allocations(&router, "/plain", None);
    assert_eq!(allocations(&layer.layer(router), "/read", Some(&cookie)) - none, 1, "read");
}

//! Calls that hang, too many of them, and too much in one.

use std::time::Duration;

use axum_generic_session::{Map, Operation, SessionLayer, testing::Client};
use serde_json::json;
use tokio::time::Instant;

use super::{
    PATHS,
    site::{COOKIE, Site, in_another_tab},
    timed,
};

#[tokio::test(start_paused = true)]
async fn a_call_that_hangs_is_given_up() {
    for (path, operation) in PATHS {
        let site = Site::with(|layer| layer.operation_timeout(Duration::from_secs(5)));
        let mut visitor = site.known("alice").await;
        let id = visitor.cookie(COOKIE).unwrap().to_owned();
        let gate = site.store.hold(operation);
        let (status, seconds) = timed(in_another_tab(&visitor, path), Instant::now()).await;
        assert_eq!((status, seconds), (503, 5), "{path} {operation:?}");
        drop(gate);
        assert_eq!(site.data(&id).await.unwrap(), json!({"user": "alice"}), "{path}");
        let _ = visitor.get("/read").await.expect_status(200);
    }
    let site = Site::new();
    let by_default = SessionLayer::new(site.store.clone());
    let mut visitor = Client::new(site.under(by_default));
    let _ = visitor.get("/set/user/alice").await.expect_status(200);
    let _gate = site.store.hold(Operation::Get);
    assert_eq!(timed(in_another_tab(&visitor, "/read"), Instant::now()).await, (503, 2), "by default");
}

#[tokio::test(start_paused = true)]
async fn writers_of_one_session_do_not_add_up_their_waiting() {
    let site = Site::with(|layer| layer.operation_timeout(Duration::from_secs(2)));
    let visitor = site.known("alice").await;
    let gates: Vec<_> = (0..20).map(|_| site.store.hold(Operation::Set)).collect();
    let start = Instant::now();
    let writers: Vec<_> = (0..20).map(|n| in_another_tab(&visitor, &format!("/set/k{n}/1"))).collect();
    for writer in writers {
        let (status, seconds) = timed(writer, start).await;
        assert!(status == 503 && seconds <= 4, "{status} after {seconds} s");
    }
    drop(gates);
}

#[tokio::test(start_paused = true)]
async fn no_more_calls_wait_than_are_allowed() {
    let site = Site::with(|layer| layer.max_in_flight(3));
    let mut visitor = site.known("alice").await;
    let gates: Vec<_> = (0..3).map(|_| site.store.hold(Operation::Get)).collect();
    let waiting: Vec<_> = (0..3).map(|_| in_another_tab(&visitor, "/read")).collect();
    for gate in &gates {
        gate.reached().await;
    }
    let start = Instant::now();
    let refused = visitor.get("/read").await.expect_status(503);
    assert_eq!((refused.header("retry-after").as_str(), start.elapsed().as_secs()), ("1", 0), "at once");
    assert_eq!(site.store.calls().get, 3, "the fourth never got there");
    drop(gates);
    for answer in waiting {
        let _ = answer.await.unwrap().expect_status(200);
    }
    let _ = visitor.get("/read").await.expect_status(200);
}

#[tokio::test]
async fn what_is_too_large_is_refused_before_the_store_sees_it() {
    let long = "x".repeat(600);
    let site = Site::with(|layer| layer.max_size(1000));
    let mut visitor = site.known("alice").await;
    let _ = visitor.get(&format!("/set/a/{long}")).await.expect_status(200);
    let before = site.data_of(&visitor).await;
    let _ = site.store.take_calls();
    let answer = visitor.get(&format!("/set/b/{long}")).await.expect_status(500);
    assert_eq!((answer.text().as_str(), answer.set_cookies().len()), ("", 0));
    assert_eq!(site.store.take_calls().set, 0);
    assert_eq!(site.data_of(&visitor).await, before);
    assert_eq!(site.visitor().get(&format!("/set/b/{long}{long}")).await.status, 500);
    let why = axum_generic_session::testing::session(Map::new());
    why.insert("a", "x".repeat(1024 * 1024)).await.unwrap();
    let why = why.save().await.unwrap_err();
    assert!(why.is_data());
    let why = why.to_string();
    assert!(why.starts_with("the session would take 10486"), "{why}");
    assert!(
        why.contains(" bytes, more than the layer's `max_size` of 1048576; see https://docs.rs/"),
        "{why}"
    );
}

#[tokio::test]
async fn a_session_of_the_largest_size_is_stored_and_one_byte_more_is_not() {
    let site = Site::new();
    let visitor = site.known("alice").await;
    let size = site.record(visitor.cookie(COOKIE).unwrap()).await.unwrap().data.len();
    for (max, stored) in [(size, 1), (size - 1, 0)] {
        let site = Site::with(|layer| layer.max_size(max));
        let answer = site.visitor().get("/set/user/alice").await;
        assert_eq!((answer.status == 200, site.store.inner().len()), (stored == 1, stored), "{max}");
    }
}

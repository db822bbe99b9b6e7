//! A request that is cut off, wherever it stands: the store holds the old session or the new one, never neither.
#![cfg(all(feature = "memory-store", feature = "testing"))]

#[cfg(all(
    feature = "sqlite-store",
    feature = "redis-store",
    feature = "postgres-store",
    feature = "mysql-store"
))]
mod engines;
#[path = "../figures/mod.rs"]
mod figures;
mod scene;
#[cfg(all(
    feature = "sqlite-store",
    feature = "redis-store",
    feature = "postgres-store",
    feature = "mysql-store"
))]
#[path = "../servers/mod.rs"]
mod servers;
#[path = "../site/mod.rs"]
mod site;

use axum::{
    body::Body,
    error_handling::HandleErrorLayer,
    http::{Request, StatusCode},
    routing::get,
};
use axum_generic_session::{
    Error, MemoryStore, Operation, Session, Store, StoreKey, Timestamp,
    store::{ByPrincipal, Found, Owner, Record, StoreError, When, Which, Written},
    testing::Client,
};
use scene::{Pace, Scene};
use serde_json::json;
use site::{COOKIE, Site};
use std::{future::poll_fn, task::Poll, time::Duration};
use tokio::{
    runtime::Handle,
    task::yield_now,
    time::{sleep, timeout},
};
use tower::{ServiceBuilder, ServiceExt, timeout::TimeoutLayer};

#[tokio::test(start_paused = true)]
async fn at_every_await_the_end_is_the_old_session_or_the_new_one() {
    let store = MemoryStore::new();
    scene::at_every_await("memory", &store, || store.clone(), Pace::EachTurn, 1).await;
}

/// The control: a rotation that destroys before it writes, which a transaction that is cut off leaves halfway.
#[tokio::test(start_paused = true)]
#[should_panic(expected = "(None, None, [])")]
async fn a_store_that_loses_a_session_between_two_steps_is_found_out() {
    let store = MemoryStore::new();
    scene::at_every_await("control", &store, || Torn(store.clone()), Pace::EachTurn, 1).await;
}

struct Torn(MemoryStore);

impl Store for Torn {
    async fn get(&self, key: &StoreKey) -> Result<Option<Record>, StoreError> {
        self.0.get(key).await
    }
    async fn set(&self, key: &StoreKey, record: &Record, when: When) -> Result<Written, StoreError> {
        self.0.set(key, record, when).await
    }
    async fn touch(&self, key: &StoreKey, expires_at: Timestamp) -> Result<bool, StoreError> {
        self.0.touch(key, expires_at).await
    }
    async fn destroy(&self, key: &StoreKey) -> Result<(), StoreError> {
        self.0.destroy(key).await
    }
    async fn rotate(
        &self,
        old: &StoreKey,
        _: When,
        new: &StoreKey,
        record: &Record,
    ) -> Result<Written, StoreError> {
        self.0.destroy(old).await?;
        yield_now().await;
        self.0.set(new, record, When::Absent).await
    }
}

impl ByPrincipal for Torn {
    async fn sessions_of(&self, owner: Owner<'_>) -> Result<Vec<Found>, StoreError> {
        self.0.sessions_of(owner).await
    }
    async fn destroy_of(&self, owner: Owner<'_>, which: Which) -> Result<u64, StoreError> {
        self.0.destroy_of(owner, which).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_has_begun_runs_to_its_end() {
    let scene = Scene::in_memory(Duration::ZERO, true);
    let mut ran_on = 0;
    for polls in 0..60 {
        let id = scene.known().await;
        let answered = scene.cut_off("/login/bob", id, polls).await;
        ran_on += usize::from(answered.is_none() && scene.data(id).await.is_none());
    }
    assert!(ran_on >= 3, "{ran_on} cuts fell into the commit");
}

#[tokio::test(start_paused = true)]
async fn a_timeout_layer_may_strike_at_any_moment() {
    for path in ["/login/bob", "/logout", "/anew", "/set/a/1"] {
        for limit in 1..=60 {
            let scene = Scene::in_memory(Duration::from_millis(7), false);
            let id = scene.known().await;
            let handle = |_: tower::BoxError| async { StatusCode::GATEWAY_TIMEOUT };
            let limit = TimeoutLayer::new(Duration::from_millis(limit));
            let limited = ServiceBuilder::new().layer(HandleErrorLayer::new(handle)).layer(limit);
            let mut visitor = Client::new(scene.app.clone().layer(limited));
            visitor.set_cookie(COOKIE, &scene.id(id));
            let status = visitor.get(path).await.status.as_u16();
            sleep(Duration::from_secs(60)).await;
            let (old, live) = (scene.data(id).await, scene.store.len());
            let untouched = old == Some(json!({"user": "alice"})) && live == 1;
            let done = match path {
                "/logout" => live == 0,
                "/set/a/1" => old.is_some() && live == 1,
                _ => old.is_none() && live == 1,
            };
            assert!(untouched || done, "{path} {status} {old:?} {live}");
            assert!(done || status == 504, "{path}: {status} and nothing done");
        }
    }
}

#[tokio::test]
async fn a_panic_or_a_5xx_changes_nothing() {
    async fn spoil(s: &Session) -> Result<(), Error> {
        s.insert("a", 1).await?;
        s.renew().await?;
        s.id().await?;
        s.destroy()?;
        s.insert("b", 2).await
    }
    let site = Site::new()
        .page(
            "/panic",
            get(|s: Session| async move {
                spoil(&s).await?;
                if true {
                    panic!("on purpose")
                }
                Ok::<_, Error>(())
            }),
        )
        .page(
            "/fails",
            get(|s: Session| async move {
                spoil(&s).await?;
                Ok::<_, Error>(StatusCode::BAD_GATEWAY)
            }),
        );
    let mut visitor = site.known("alice").await;
    let panicked = site::in_another_tab(&visitor, "/panic").await;
    assert!(panicked.unwrap_err().is_panic());
    assert_eq!(visitor.get("/fails").await.expect_status(502).set_cookies(), [""; 0]);
    assert_eq!(visitor.get("/read").await.json(), json!({"user": "alice"}));
    assert_eq!((site.store.calls().set, site.store.inner().len()), (0, 1));
    let _ = visitor.get("/login/bob").await.expect_status(200);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_load_is_begun_again_and_a_dropped_save_goes_on() {
    let site = Site::deferred();
    let probe = site.store.clone();
    let site = site.page(
        "/impatient",
        get(move |s: Session| async move {
            use axum_generic_session::Operation::{Get, Set};
            let gate = probe.hold(Get);
            assert!(timeout(Duration::from_millis(10), s.get()).await.is_err());
            gate.open();
            assert_eq!(s.get().await?.len(), 1, "the load is begun again");
            s.insert("a", 1).await?;
            let gate = probe.hold(Set);
            assert!(timeout(Duration::from_millis(10), s.save()).await.is_err());
            gate.open();
            sleep(Duration::from_millis(10)).await;
            s.insert("b", 2).await
        }),
    );
    let mut visitor = site.known("alice").await;
    let _ = visitor.get("/impatient").await.expect_status(200);
    assert_eq!(site.data_of(&visitor).await.unwrap(), json!({"user": "alice", "a": 1, "b": 2}));
    let calls = site.store.calls();
    assert_eq!((calls.get, calls.set), (2, 2), "the save that went on, and the last one");
}

/// A commit is its request's own work, and a task of its own only once the request is gone, whoever drops it and where.
#[tokio::test]
async fn a_commit_is_handed_on_by_who_drops_it() {
    let site = Site::new();
    let mut visitor = site.known("alice").await;
    let alive = || Handle::current().metrics().num_alive_tasks();
    let before = alive();
    let tasks = || alive() - before;
    let held = site.store.hold(Operation::Set);
    let cookie = visitor.cookie_header("/").unwrap();
    let request = Request::get("/set/a/1").header("cookie", cookie).body(Body::empty()).unwrap();
    let mut answer = Box::pin(site.app().oneshot(request));
    while poll_fn(|cx| Poll::Ready(answer.as_mut().poll(cx).is_pending())).await
        && site.store.calls().set == 0
    {
        yield_now().await;
    }
    assert_eq!(tasks(), 0);
    // On a thread that knows of no runtime.
    std::thread::spawn(move || drop(answer)).join().unwrap();
    assert_eq!(tasks(), 1);
    held.open();
    while tasks() > 0 {
        yield_now().await;
    }
    assert_eq!(visitor.get("/read").await.json(), json!({"user": "alice", "a": "1"}));
}

/// Where others have been waited for.
#[tokio::test]
async fn a_commit_that_panics_holds_nobody_up_and_is_not_handed_on() {
    let site = Site::with(|layer| {
        layer.before_save(|draft| async move {
            yield_now().await;
            assert_eq!(draft.value::<String>("a")?, None, "on purpose");
            Ok(())
        })
    });
    let mut visitor = site.known("alice").await;
    let alive = || Handle::current().metrics().num_alive_tasks();
    let before = alive();
    for _ in 0..3 {
        let panicked = site::in_another_tab(&visitor, "/set/a/1").await;
        assert!(panicked.unwrap_err().is_panic());
        assert_eq!(alive(), before);
        assert_eq!(visitor.get("/read").await.json(), json!({"user": "alice"}));
    }
    let _ = visitor.get("/logout").await.expect_status(200);
    assert_eq!(visitor.get("/read").await.json(), json!({}));
}

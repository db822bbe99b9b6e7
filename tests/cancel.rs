//! A request that is cut off, wherever it stands: the store holds the old session or the new one, never neither.
#![cfg(all(feature = "memory-store", feature = "testing"))]

mod figures;
mod site;

use axum::{
    Router,
    body::Body,
    error_handling::HandleErrorLayer,
    extract::Request,
    http::{StatusCode, header},
    routing::get,
};
use axum_generic_session::{
    Error, Map, MemoryStore, Session, SessionId, SessionLayer, Store, StoreKey, Timestamp,
    store::{Record, StoreError, When, Written},
    testing::Client,
};
use figures::Figure;
use serde_json::{Value, json};
use site::{COOKIE, Site, Stepwise, object};
use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::Poll,
    time::Duration,
};
use tokio::{
    task::yield_now,
    time::{sleep, timeout},
};
use tower::{ServiceBuilder, ServiceExt, timeout::TimeoutLayer};

/// A store on which every call waits, before and after the deed.
#[derive(Clone)]
struct Slow {
    store: MemoryStore,
    /// Zero: it lets others run twice. Otherwise it takes this long, twice.
    pause: Duration,
}

impl Slow {
    async fn wait(&self) {
        if self.pause.is_zero() {
            yield_now().await;
            yield_now().await;
        } else {
            sleep(self.pause).await;
        }
    }

    async fn around<T>(&self, call: impl Future<Output = T> + Send) -> T {
        self.wait().await;
        let done = call.await;
        self.wait().await;
        done
    }
}

impl Store for Slow {
    async fn get(&self, key: &StoreKey) -> Result<Option<Record>, StoreError> {
        self.around(self.store.get(key)).await
    }
    async fn set(&self, key: &StoreKey, record: &Record, when: When) -> Result<Written, StoreError> {
        self.around(self.store.set(key, record, when)).await
    }
    async fn touch(&self, key: &StoreKey, expires_at: Timestamp) -> Result<bool, StoreError> {
        self.around(self.store.touch(key, expires_at)).await
    }
    async fn destroy(&self, key: &StoreKey) -> Result<(), StoreError> {
        self.around(self.store.destroy(key)).await
    }
    async fn rotate(
        &self,
        old: &StoreKey,
        when: When,
        new: &StoreKey,
        record: &Record,
    ) -> Result<Written, StoreError> {
        self.around(self.store.rotate(old, when, new, record)).await
    }
}

/// A site over a slow store whose next new id is known.
struct Scene {
    store: MemoryStore,
    app: Router,
    drawn: Arc<AtomicUsize>,
}

impl Scene {
    fn new(pause: Duration, atomic: bool) -> Self {
        let store = MemoryStore::new();
        let drawn = Arc::new(AtomicUsize::new(0));
        let counter = drawn.clone();
        let slow = Slow { store: store.clone(), pause };
        let layer = if atomic { SessionLayer::new(slow) } else { SessionLayer::new(Stepwise(slow)) };
        let layer = layer.gen_id(move |_| {
            let n = counter.fetch_add(1, SeqCst);
            async move { Ok(format!("id-{n}")) }
        });
        Self { store, app: pages().under(layer), drawn }
    }

    async fn data(&self, n: usize) -> Option<Value> {
        let key = StoreKey::hashed("axum:sess:", &SessionId::parse(&format!("id-{n}")).unwrap());
        self.store.get(&key).await.unwrap().as_ref().map(object)
    }

    /// A visitor `{"user": "alice"}`, and the number of her id.
    async fn known(&self) -> usize {
        let n = self.drawn.load(SeqCst);
        let _ = Client::new(self.app.clone()).get("/set/user/alice").await.expect_status(200);
        n
    }

    /// Polls a request of hers so many times, and drops it. Whether it has been answered by then.
    async fn cut_off(&self, path: &str, id: usize, polls: usize) -> bool {
        let request =
            Request::get(path).header(header::COOKIE, format!("{COOKIE}=id-{id}")).body(Body::empty());
        let mut answering = Box::pin(self.app.clone().oneshot(request.unwrap()));
        for _ in 0..polls {
            if poll_fn(|cx| Poll::Ready(answering.as_mut().poll(cx))).await.is_ready() {
                return true;
            }
            yield_now().await;
        }
        drop(answering);
        // On a paused clock this returns when nobody has anything left to do.
        sleep(Duration::from_secs(60)).await;
        false
    }
}

async fn transact(session: &Session) -> Result<(), Error> {
    session.transact(|map: &mut Map| map.insert("n".into(), 1.into())).await.map(drop)
}

fn pages() -> Site {
    Site::new()
        .page(
            "/anew",
            get(|s: Session| async move {
                s.regenerate()?;
                yield_now().await;
                s.insert("user", "dave").await
            }),
        )
        .page(
            "/save",
            get(|s: Session| async move {
                s.renew().await?;
                s.insert("user", "bob").await?;
                s.save().await?;
                yield_now().await;
                s.insert("later", 1).await
            }),
        )
        .page("/transact", get(|s: Session| async move { transact(&s).await }))
        .page(
            "/transact/anew",
            get(|s: Session| async move {
                s.renew().await?;
                transact(&s).await
            }),
        )
}

/// Old and new session, as the store may hold them in the end.
type End = (Option<Value>, Option<Value>);

#[tokio::test(start_paused = true)]
async fn at_every_await_the_end_is_the_old_session_or_the_new_one() {
    let alice = || Some(json!({"user": "alice"}));
    let bob = || Some(json!({"user": "bob"}));
    let renewed = || Some(json!({"user": "alice", "n": 1}));
    let table: [(&str, Vec<End>); 8] = [
        ("/set/a/1", vec![(alice(), None), (Some(json!({"user": "alice", "a": "1"})), None)]),
        ("/renew", vec![(alice(), None), (None, alice())]),
        ("/login/bob", vec![(alice(), None), (None, bob())]),
        ("/logout", vec![(alice(), None), (None, None)]),
        ("/anew", vec![(alice(), None), (None, Some(json!({"user": "dave"})))]),
        ("/save", vec![(alice(), None), (None, bob()), (None, Some(json!({"user": "bob", "later": 1})))]),
        ("/transact", vec![(alice(), None), (renewed(), None)]),
        // A transaction is the handler's own, and may be cut off between two steps: then both live.
        ("/transact/anew", vec![(alice(), None), (alice(), renewed()), (None, renewed())]),
    ];
    let figure = Figure::of("B7", "memory");
    let mut cuts = 0;
    for atomic in [true, false] {
        for (path, ends) in &table {
            let scene = Scene::new(Duration::ZERO, atomic);
            let mut seen = Vec::new();
            for polls in 0.. {
                let id = scene.known().await;
                let answered = scene.cut_off(path, id, polls).await;
                cuts += usize::from(!answered);
                let new = scene.drawn.load(SeqCst);
                let end = (scene.data(id).await, if new > id + 1 { scene.data(id + 1).await } else { None });
                assert!(ends.contains(&end), "{path} cut off after {polls} polls: {end:?}");
                if !seen.contains(&end) {
                    seen.push(end);
                }
                if answered {
                    break;
                }
                // Nothing stays locked.
                let again = scene.cut_off("/set/again/1", id, usize::MAX);
                assert!(again.await, "{path} after {polls} polls");
                assert!(polls < 200, "{path} does not end");
            }
            assert!(seen.len() >= 2, "{path}: the cut has met {seen:?} only");
        }
    }
    figure.count("cuts", cuts).count("lost", 0).report();
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_has_begun_runs_to_its_end() {
    let scene = Scene::new(Duration::ZERO, true);
    let mut ran_on = 0;
    for polls in 0..60 {
        let id = scene.known().await;
        let answered = scene.cut_off("/login/bob", id, polls).await;
        ran_on += usize::from(!answered && scene.data(id).await.is_none());
    }
    assert!(ran_on >= 3, "{ran_on} cuts fell into the commit");
}

#[tokio::test(start_paused = true)]
async fn a_timeout_layer_may_strike_at_any_moment() {
    for path in ["/login/bob", "/logout", "/anew", "/set/a/1"] {
        for limit in 1..=60 {
            let scene = Scene::new(Duration::from_millis(7), false);
            let id = scene.known().await;
            let handle = |_: tower::BoxError| async { StatusCode::GATEWAY_TIMEOUT };
            let limit = TimeoutLayer::new(Duration::from_millis(limit));
            let limited = ServiceBuilder::new().layer(HandleErrorLayer::new(handle)).layer(limit);
            let mut visitor = Client::new(scene.app.clone().layer(limited));
            visitor.set_cookie(COOKIE, &format!("id-{id}"));
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

//! A site over a store on which every call waits, and a request that is dropped where it stands.

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{StatusCode, header},
    routing::get,
};
use axum_generic_session::{
    Error, Map, MemoryStore, Session, SessionId, SessionLayer, Store, StoreKey, Timestamp,
    store::{ByPrincipal, Found, Owner, Record, StoreError, When, Which, Written},
    testing::Client,
};
use serde_json::{Value, json};
use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::Poll,
    time::Duration,
};
use tokio::{task::yield_now, time::sleep};
use tower::ServiceExt;

use crate::{
    figures::Figure,
    site::{COOKIE, Site, Stepwise, object},
};

/// A store on which every call waits, before and after the deed.
#[derive(Clone)]
struct Slow<S> {
    store: S,
    /// Zero: it lets others run twice. Otherwise it takes this long, twice.
    pause: Duration,
    calls: Arc<()>,
}

impl<S> Slow<S> {
    async fn wait(&self) {
        if self.pause.is_zero() {
            yield_now().await;
            yield_now().await;
        } else {
            sleep(self.pause).await;
        }
    }

    async fn around<T>(&self, call: impl Future<Output = T> + Send) -> T {
        let _under_way = self.calls.clone();
        self.wait().await;
        let done = call.await;
        self.wait().await;
        done
    }
}

impl<S: Store> Store for Slow<S> {
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

impl<S: ByPrincipal> ByPrincipal for Slow<S> {
    async fn sessions_of(&self, owner: Owner<'_>) -> Result<Vec<Found>, StoreError> {
        self.around(self.store.sessions_of(owner)).await
    }
    async fn destroy_of(&self, owner: Owner<'_>, which: Which) -> Result<u64, StoreError> {
        self.around(self.store.destroy_of(owner, which)).await
    }
}

impl<S: ByPrincipal> ByPrincipal for Stepwise<S> {
    async fn sessions_of(&self, owner: Owner<'_>) -> Result<Vec<Found>, StoreError> {
        self.0.sessions_of(owner).await
    }
    async fn destroy_of(&self, owner: Owner<'_>, which: Which) -> Result<u64, StoreError> {
        self.0.destroy_of(owner, which).await
    }
}

/// When a request is polled again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// At each turn of the runtime, so that it may also be cut off between two steps of a commit that goes on without it.
    EachTurn,
    /// When it says that it can go on: where an engine is waited for, turns are without number.
    #[allow(dead_code, reason = "not every set of features has an engine")]
    WhenWoken,
}

/// A site over a slow store whose next new id is known.
pub struct Scene<S> {
    /// Read past the layer, and past what is slow.
    pub store: S,
    pub app: Router,
    pub drawn: Arc<AtomicUsize>,
    /// What its ids begin with: the engine may be that of other tests, too.
    name: String,
    calls: Arc<()>,
    pace: Pace,
}

impl Scene<MemoryStore> {
    pub fn in_memory(pause: Duration, atomic: bool) -> Self {
        let store = MemoryStore::new();
        Self::new(&store, store.clone(), pause, atomic, Pace::EachTurn)
    }
}

impl<S: ByPrincipal> Scene<S> {
    /// The layer's store may be another than the one that is looked into.
    fn new(store: &S, layers: impl ByPrincipal, pause: Duration, atomic: bool, pace: Pace) -> Self
    where
        S: Clone,
    {
        let drawn = Arc::new(AtomicUsize::new(0));
        let name = SessionId::random().expose()[..8].to_owned();
        let (counter, prefix, calls) = (drawn.clone(), name.clone(), Arc::default());
        let slow = Slow { store: layers, pause, calls: Arc::clone(&calls) };
        let layer = if atomic {
            SessionLayer::by_principal(slow)
        } else {
            SessionLayer::by_principal(Stepwise(slow))
        };
        let layer = layer.operation_timeout(Duration::from_secs(60)).gen_id(move |_| {
            let id = format!("{prefix}-{}", counter.fetch_add(1, SeqCst));
            async move { Ok(id) }
        });
        Self { store: store.clone(), app: pages().pages.layer(layer), drawn, name, calls, pace }
    }

    pub fn id(&self, n: usize) -> String {
        format!("{}-{n}", self.name)
    }

    fn key(&self, n: usize) -> StoreKey {
        StoreKey::hashed(PREFIX, &SessionId::parse(&self.id(n)).unwrap())
    }

    pub async fn data(&self, n: usize) -> Option<Value> {
        self.store.get(&self.key(n)).await.unwrap().as_ref().map(object)
    }

    /// All of one moment: an engine may be busy yet with what its caller has left.
    async fn end(&self, old: usize, new: Option<usize>) -> End {
        loop {
            let before = self.both(old, new).await;
            // Only those pages make anybody the owner that are called so, and only of the new session.
            let principal = self.id(old);
            let owner = Owner { prefix: PREFIX, principal: &principal };
            let listed = self.store.sessions_of(owner).await.unwrap();
            let listed = listed.iter().map(|one| new.is_some_and(|new| one.digest == self.key(new).digest()));
            let listed = listed.collect::<Vec<_>>();
            if self.both(old, new).await == before {
                return (before.0, before.1, listed);
            }
        }
    }

    async fn both(&self, old: usize, new: Option<usize>) -> (Option<Value>, Option<Value>) {
        let before = self.data(old).await;
        match new {
            Some(new) => (before, self.data(new).await),
            None => (before, None),
        }
    }

    /// A visitor `{"user": "alice"}`, and the number of her id.
    pub async fn known(&self) -> usize {
        let n = self.drawn.load(SeqCst);
        let _ = Client::new(self.app.clone()).get("/set/user/alice").await.expect_status(200);
        n
    }

    /// Polls a request of hers so many times, each as soon as it can go on, and drops it. What it was answered by then.
    pub async fn cut_off(&self, path: &str, id: usize, polls: usize) -> Option<StatusCode> {
        let cookie = format!("{COOKIE}={}", self.id(id));
        let request = Request::get(path).header(header::COOKIE, cookie).body(Body::empty());
        let mut answering = Box::pin(self.app.clone().oneshot(request.unwrap()));
        let mut left = polls;
        let answered = poll_fn(|cx| {
            let Some(fewer) = left.checked_sub(1) else { return Poll::Ready(None) };
            left = fewer;
            match answering.as_mut().poll(cx) {
                Poll::Ready(answer) => Poll::Ready(Some(answer.unwrap().status())),
                Poll::Pending if left == 0 => Poll::Ready(None),
                Poll::Pending => {
                    if self.pace == Pace::EachTurn {
                        cx.waker().wake_by_ref();
                    }
                    Poll::Pending
                }
            }
        });
        let answered = answered.await;
        drop(answering);
        self.settle().await;
        answered
    }

    /// Waits until nobody has anything left to do. Who has, and is in no call of the store, is about to run.
    async fn settle(&self) {
        let mut idle = 0;
        // One is the scene's, one its layer's.
        let at_rest = 2;
        while idle < 10 {
            if Arc::strong_count(&self.calls) == at_rest {
                idle += 1;
                yield_now().await;
            } else {
                idle = 0;
                sleep(Duration::from_millis(1)).await;
            }
        }
    }
}

/// What the layer's keys begin with.
const PREFIX: &str = "axum:sess:";

/// Old and new session, as the store may hold them in the end, and their owner's list: whether each is the new one.
type End = (Option<Value>, Option<Value>, Vec<bool>);

/// What becomes of alice and of whoever comes after her, by the page that is asked for.
fn ends() -> [(&'static str, Vec<End>); 10] {
    let alice = || Some(json!({"user": "alice"}));
    let bob = || Some(json!({"user": "bob"}));
    let renewed = || Some(json!({"user": "alice", "n": 1}));
    let of = |ends: Vec<(Option<Value>, Option<Value>)>| {
        ends.into_iter().map(|(old, new)| (old, new, Vec::new())).collect()
    };
    // Whoever has an owner is in the list of that owner.
    let owned = |ends: Vec<(Option<Value>, Option<Value>)>| {
        let listed = |new: &Option<Value>| new.iter().map(|_| true).collect();
        ends.into_iter().map(|(old, new)| (old, new.clone(), listed(&new))).collect()
    };
    [
        ("/set/a/1", of(vec![(alice(), None), (Some(json!({"user": "alice", "a": "1"})), None)])),
        ("/renew", of(vec![(alice(), None), (None, alice())])),
        ("/login/bob", of(vec![(alice(), None), (None, bob())])),
        ("/logout", of(vec![(alice(), None), (None, None)])),
        ("/anew", of(vec![(alice(), None), (None, Some(json!({"user": "dave"})))])),
        ("/save", of(vec![(alice(), None), (None, bob()), (None, Some(json!({"user": "bob", "later": 1})))])),
        ("/own", owned(vec![(alice(), None), (None, alice())])),
        ("/transact", of(vec![(alice(), None), (renewed(), None)])),
        // A transaction is the handler's own, and may be cut off between two steps: then both live.
        ("/transact/anew", of(vec![(alice(), None), (alice(), renewed()), (None, renewed())])),
        ("/transact/own", owned(vec![(alice(), None), (alice(), renewed()), (None, renewed())])),
    ]
}

/// B7: cuts each kind of request at every await, with a rotation of one step and of several; so often.
pub async fn at_every_await<S: ByPrincipal + Clone, L: ByPrincipal>(
    engine: &str,
    store: &S,
    layers: impl Fn() -> L,
    pace: Pace,
    times: usize,
) {
    let figure = Figure::of("B7", engine);
    let ends = ends();
    let (mut cuts, mut went_on) = (0, 0);
    for atomic in [true, false].repeat(times) {
        let scene = Scene::new(store, layers(), Duration::ZERO, atomic, pace);
        let mut left = Vec::new();
        for (path, ends) in &ends {
            let mut seen = Vec::new();
            for polls in 0.. {
                let id = scene.known().await;
                let answered = scene.cut_off(path, id, polls).await;
                let new = scene.drawn.load(SeqCst);
                let next = (new > id + 1).then_some(id + 1);
                let end = scene.end(id, next).await;
                assert!(ends.contains(&end), "{engine}: {path} cut off after {polls} polls: {end:?}");
                if answered.is_none() {
                    cuts += 1;
                    went_on += usize::from(end != ends[0]);
                }
                left.push((path, polls, id, next, ends));
                if !seen.contains(&end) {
                    seen.push(end);
                }
                if let Some(status) = answered {
                    assert_eq!(status, 200, "{engine}: {path}");
                    break;
                }
                assert!(polls < 1000, "{engine}: {path} does not end");
            }
            assert!(seen.len() >= 2, "{engine}: {path}: the cut has met {seen:?} only");
        }
        // What the engine was still busy with has not torn anything apart later, and nothing stays locked.
        for (path, polls, id, next, ends) in left {
            let end = scene.end(id, next).await;
            assert!(ends.contains(&end), "{engine}: {path} cut off after {polls} polls, later: {end:?}");
            let again = scene.cut_off("/set/again/1", id, usize::MAX).await;
            assert_eq!(again, Some(StatusCode::OK), "{engine}: {path} after {polls} polls");
        }
    }
    assert!(went_on * 10 >= cuts, "{engine}: of {cuts} cuts, {went_on} fell into the commit");
    figure.count("cuts", cuts).count("into_a_commit", went_on).count("lost", 0).report();
}

async fn transact(session: &Session) -> Result<(), Error> {
    session.transact(|map: &mut Map| map.insert("n".into(), 1.into())).await.map(drop)
}

/// A login, of whom the old id names.
async fn own(session: &Session) -> Result<(), Error> {
    let principal = session.id().await?.expose().to_owned();
    session.renew().await?;
    session.set_principal(principal).await
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
        .page("/own", get(|s: Session| async move { own(&s).await }))
        .page(
            "/transact/own",
            get(|s: Session| async move {
                own(&s).await?;
                transact(&s).await
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

//! One run of requests whose store calls wait for a schedule.

use axum::{Router, extract::Path, routing::get};
use axum_generic_session::{
    Error, MemoryStore, Rolling, Session, SessionId, SessionLayer, Store, StoreKey, Timestamp,
    store::{Record, StoreError, When, Written},
    testing::{Answer, Client, ManualClock},
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};
use tokio::{
    sync::{OnceCell, oneshot},
    task::JoinHandle,
};
use tower::Layer;

use crate::site::{COOKIE, Site, Stepwise, object};

/// What stands between the requests and the store.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Kind {
    /// Rotation is one step, as in SQL.
    Atomic,
    /// Rotation is the provided one, in several steps, as in a Redis cluster.
    Stepwise,
    /// Conditions are ignored: the control.
    Careless,
}

/// The calls of one request, waiting for the schedule.
#[derive(Clone)]
struct Turnstile {
    kind: Kind,
    store: MemoryStore,
    request: usize,
    waiting: Waiting,
}

type Waiting = Arc<Mutex<BTreeMap<usize, oneshot::Sender<()>>>>;

impl Turnstile {
    async fn pass(&self) {
        let (go, gone) = oneshot::channel();
        let before = self.waiting.lock().unwrap().insert(self.request, go);
        assert!(before.is_none(), "a request makes one store call at a time");
        gone.await.unwrap();
    }
}

impl Store for Turnstile {
    async fn get(&self, key: &StoreKey) -> Result<Option<Record>, StoreError> {
        self.pass().await;
        self.store.get(key).await
    }

    async fn set(&self, key: &StoreKey, record: &Record, when: When) -> Result<Written, StoreError> {
        self.pass().await;
        if self.kind != Kind::Careless {
            return self.store.set(key, record, when).await;
        }
        self.store.destroy(key).await?;
        self.store.set(key, record, When::Absent).await
    }

    async fn touch(&self, key: &StoreKey, expires_at: Timestamp) -> Result<bool, StoreError> {
        self.pass().await;
        let alive = self.store.touch(key, expires_at).await?;
        Ok(alive || self.kind == Kind::Careless)
    }

    async fn destroy(&self, key: &StoreKey) -> Result<(), StoreError> {
        self.pass().await;
        self.store.destroy(key).await
    }

    async fn rotate(
        &self,
        old: &StoreKey,
        when: When,
        new: &StoreKey,
        record: &Record,
    ) -> Result<Written, StoreError> {
        self.pass().await;
        self.store.rotate(old, when, new, record).await
    }
}

/// What a session holds and until when; `None`: it is dead.
pub type State = Option<(Value, Timestamp)>;

/// What one request did, as far as anybody can tell at the end.
#[derive(Clone, PartialEq, Debug)]
pub struct Effect {
    pub status: u16,
    body: String,
    /// The session of the new id that it gave; `None` if it gave none. (Of two logouts at one time both remove the
    /// cookie, which one after the other they do not; nobody minds.)
    new: Option<State>,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Outcome {
    /// The session under the id of the beginning.
    pub old: State,
    pub effects: BTreeMap<usize, Effect>,
}

/// The id and the record of the session that every run begins with.
static ALICE: OnceCell<(String, Record)> = OnceCell::const_new();

async fn alice() -> (String, Record) {
    let clock = ManualClock::new();
    let store = MemoryStore::new().clock(clock.clone());
    let mut visitor = Client::new(under(SessionLayer::new(store.clone()).clock(clock)));
    for path in ["/set/user/alice", "/transact/5"] {
        let _ = visitor.get(path).await.expect_status(200);
    }
    let id = visitor.cookie(COOKIE).unwrap().to_owned();
    let record = store.get(&key_of(&id)).await.unwrap().unwrap();
    (id, record)
}

fn key_of(id: &str) -> StoreKey {
    StoreKey::hashed("axum:sess:", &SessionId::parse(id).unwrap())
}

/// One run: what came of it, and at each step the choice made, of how many. `choose` is told the step, and how many calls
/// there are to choose from.
pub async fn run(
    kind: Kind,
    requests: &BTreeMap<usize, &str>,
    mut choose: impl FnMut(usize, usize) -> usize,
) -> (Outcome, Vec<(usize, usize)>) {
    let clock = ManualClock::new();
    let store = MemoryStore::new().clock(clock.clone());
    let (id, record) = ALICE.get_or_init(alice).await;
    assert_eq!(store.set(&key_of(id), record, When::Absent).await.unwrap(), Written::Done);
    clock.advance(Duration::from_secs(60));

    let waiting = Waiting::default();
    let mut going: BTreeMap<usize, JoinHandle<Answer>> = BTreeMap::new();
    for (&request, path) in requests {
        let turnstile = Turnstile { kind, store: store.clone(), request, waiting: waiting.clone() };
        let layer = match kind {
            Kind::Stepwise => SessionLayer::new(Stepwise(turnstile)),
            Kind::Atomic | Kind::Careless => SessionLayer::new(turnstile),
        };
        let layer = layer
            .clock(clock.clone())
            .rolling(Rolling::EveryRequest)
            .operation_timeout(Duration::from_secs(3600));
        let mut tab = Client::new(under(layer));
        tab.set_cookie(COOKIE, id);
        let path = path.to_string();
        going.insert(request, tokio::spawn(async move { tab.get(&path).await }));
    }
    let (mut choices, mut answers) = (Vec::new(), BTreeMap::new());
    loop {
        // The clock of the runtime is paused: it moves on when nobody has anything left to do.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let done: Vec<_> = going.iter().filter(|(_, task)| task.is_finished()).map(|(n, _)| *n).collect();
        for request in done {
            let answer = going.remove(&request).unwrap().await.unwrap();
            if kind != Kind::Careless {
                assert_honest(&store, id, &answer).await;
            }
            answers.insert(request, answer);
        }
        let mut waiting = waiting.lock().unwrap();
        if waiting.is_empty() {
            break;
        }
        let choice = choose(choices.len(), waiting.len());
        choices.push((choice, waiting.len()));
        let request = *waiting.keys().nth(choice).unwrap();
        waiting.remove(&request).unwrap().send(()).unwrap();
    }
    assert!(going.is_empty(), "nobody hangs");
    let mut effects = BTreeMap::new();
    for (request, answer) in answers {
        let new = match given(&answer) {
            Some(new) if !new.is_empty() && &new != id => Some(state(&store, &new).await),
            _ => None,
        };
        let (status, body) = (answer.status.as_u16(), answer.text());
        effects.insert(request, Effect { status, body, new });
    }
    (Outcome { old: state(&store, id).await, effects }, choices)
}

/// The value of the session cookie that an answer sets.
fn given(answer: &Answer) -> Option<String> {
    let lines = answer.set_cookies();
    assert!(lines.len() <= 1, "{lines:?}");
    Some(lines.first()?.split(['=', ';']).nth(1).unwrap().to_owned())
}

async fn state(store: &MemoryStore, id: &str) -> State {
    store.get(&key_of(id)).await.unwrap().map(|record| (object(&record), record.expires_at))
}

/// At the moment of its answer, a request's cookie tells the truth.
async fn assert_honest(store: &MemoryStore, id: &str, answer: &Answer) {
    match given(answer) {
        Some(value) if value.is_empty() => {
            assert_eq!(state(store, id).await, None, "a removal of a live session")
        }
        Some(value) => assert!(state(store, &value).await.is_some(), "a cookie of a dead session {answer:?}"),
        None => {}
    }
    if answer.status == 409 {
        assert_eq!(given(answer), None, "a refusal sends no cookie");
    }
}

/// All pages under this layer; made once, since there are as many layers as there are requests.
fn under(layer: SessionLayer) -> Router {
    static PAGES: LazyLock<Router> = LazyLock::new(pages);
    Router::new().fallback_service(layer.layer(PAGES.clone()))
}

fn pages() -> Router {
    async fn transact(session: Session, Path(by): Path<u64>) -> Result<String, Error> {
        let add = |map: &mut axum_generic_session::Map| {
            let n = map.get("n").and_then(Value::as_u64).unwrap_or(0) + by;
            map.insert("n".into(), n.into());
            n.to_string()
        };
        session.transact(add).await
    }
    async fn anew(session: Session) -> Result<(), Error> {
        session.regenerate()?;
        session.insert("user", "dave").await
    }
    async fn flash(session: Session) -> Result<(), Error> {
        session.destroy()?;
        session.insert("flash", "bye").await
    }
    let only = || [("only".to_owned(), 1.into())].into_iter().collect();
    Site::new()
        .page("/transact/{by}", get(transact))
        .page("/anew", get(anew))
        .page("/flash", get(flash))
        .page("/replace", get(move |s: Session| async move { s.set(only()).await }))
        .pages
}

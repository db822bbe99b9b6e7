//! tower-sessions 0.15 with its memory store, and 0.14 with its PostgreSQL store as published.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::{Router, extract::Query, routing::get};
use axum_generic_session::{
    Key, Map, MemoryStore, Session, SessionId, SessionLayer, Store,
    store::{
        Guarantee, Legacy, Predecessor, StoreError, ThreeMethodStore, TowerSessions, TowerSessions014,
        contract::{Contract, Report},
    },
    testing::Client,
};
use serde_json::json;
use sqlx::postgres::PgPoolOptions;
use tokio::sync::Notify;
use tower_sessions::SessionManagerLayer;
use tower_sessions_core::SessionStore as _;
use tower_sessions_core_014 as core_014;
use tower_sessions_memory_store::MemoryStore as TheirMemoryStore;
use tower_sessions_sqlx_store::PostgresStore as TheirPostgresStore;

use crate::servers::postgres::Postgres;

/// What a store of theirs cannot promise, and nothing else, is left out.
fn assert_kept(report: &Report) {
    let promised = |name: &&str| !name.starts_with("race: ") && *name != "touch never shortens";
    let left_out: Vec<_> = report.left_out().into_iter().filter(promised).collect();
    assert_eq!(left_out, ["to the millisecond"], "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn their_memory_store_keeps_the_contract_but_for_the_races() {
    let engine = TheirMemoryStore::default();
    let open = || async { ThreeMethodStore::new(TowerSessions::new(engine.clone())) };
    assert_kept(&Contract::new(open).resolution(Duration::from_secs(1)).run().await);
    assert_eq!(Store::guarantee(&open().await), Guarantee::LastWriteWins);
}

async fn postgres(server: &Postgres, schema: &str) -> TheirPostgresStore {
    let pool = PgPoolOptions::new().max_connections(4).connect(&server.url()).await.expect("a connection");
    let store = TheirPostgresStore::new(pool).with_schema_name(schema).expect("a schema");
    store.migrate().await.expect("a table");
    store
}

#[tokio::test(flavor = "multi_thread")]
async fn their_postgres_store_keeps_the_contract_but_for_the_races() {
    let server = Postgres::shared();
    let open = || async { ThreeMethodStore::new(TowerSessions014::new(postgres(&server, "contract").await)) };
    assert_kept(&Contract::new(open).resolution(Duration::from_secs(1)).run().await);
}

/// The application as it was: `/?user=ada` signs in.
fn before() -> Router {
    async fn home(session: tower_sessions::Session, Query(query): Query<Map>) -> String {
        for (key, value) in query {
            session.insert(&key, value).await.expect("a session");
        }
        session.get::<String>("user").await.expect("a session").unwrap_or_default()
    }
    Router::new().route("/", get(home))
}

/// The application as it is now.
fn now(layer: SessionLayer) -> Router {
    async fn home(session: Session, Query(query): Query<Map>) -> Result<String, axum_generic_session::Error> {
        if query.contains_key("logout") {
            session.destroy()?;
            return Ok(String::new());
        }
        session.update(|s| s.extend(query)).await?;
        Ok(session.value::<String>("user").await?.unwrap_or_default())
    }
    Router::new().route("/", get(home)).layer(layer)
}

/// The same browser at the application as it is now.
fn upgraded(visitor: &Client, app: Router) -> Client {
    let mut after = Client::new(app);
    for pair in visitor.cookie_header("/").iter().flat_map(|header| header.split("; ")) {
        let (name, value) = pair.split_once('=').expect("a cookie");
        after.set_cookie(name, value);
    }
    after
}

#[tokio::test(flavor = "multi_thread")]
async fn visitors_of_tower_sessions_stay_signed_in() {
    let key = Key::generate();
    for signed in [false, true] {
        let theirs = TheirMemoryStore::default();
        let manager = SessionManagerLayer::new(theirs.clone());
        let app = match signed {
            true => before().layer(manager.with_signed(key.clone())),
            false => before().layer(manager),
        };
        let mut visitor = Client::new(app.clone());
        let _ = visitor.get("/?user=ada").await.expect_status(200);
        let cookie = visitor.cookie("id").expect("their cookie").to_owned();

        let layer = SessionLayer::new(MemoryStore::new()).name("id").take_over(TowerSessions::new(theirs));
        let layer = if signed { layer.keys([&key]) } else { layer };
        let mut after = upgraded(&visitor, now(layer));
        for _ in 0..2 {
            let answer = after.get("/").await.expect_status(200);
            assert_eq!((answer.text(), answer.set_cookies()), ("ada".into(), vec![]), "signed: {signed}");
        }
        assert_eq!(visitor.get("/").await.text(), "", "it has moved");

        // From here on it is a session as any other.
        let _ = after.get("/?theme=dark").await.expect_status(200);
        let mut copy = after.clone();
        assert_eq!(after.get("/").await.text(), "ada");
        let _ = after.get("/?logout=1").await.expect_status(200);
        assert_eq!((copy.get("/").await.text(), after.cookie("id")), (String::new(), None));
        visitor.set_cookie("id", &cookie);
        assert_eq!(visitor.get("/").await.text(), "", "nor does the old application know it");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strangers_or_a_dead_cookie_is_no_session() {
    let theirs = TheirMemoryStore::default();
    let layer =
        SessionLayer::new(MemoryStore::new()).name("id").take_over(TowerSessions::new(theirs.clone()));
    let ended = tower_sessions_core::session::Record {
        id: Default::default(),
        data: [("user".to_owned(), json!("ada"))].into(),
        expiry_date: time::OffsetDateTime::now_utc() - time::Duration::seconds(1),
    };
    theirs.save(&ended).await.expect("a record");
    for id in [ended.id.to_string(), SessionId::random().expose().to_owned(), "no-id-of-theirs".into()] {
        let mut visitor = Client::new(now(layer.clone()));
        visitor.set_cookie("id", &id);
        let answer = visitor.get("/").await.expect_status(200);
        assert_eq!((answer.text(), answer.set_cookies()), (String::new(), vec![]));
    }
}

/// A session of tower-sessions 0.14, as its own code writes it.
async fn signed_in(store: &TheirPostgresStore) -> String {
    let session = core_014::Session::new(None, Arc::new(store.clone()), None);
    session.insert("user", "ada").await.expect("a session");
    session.insert("deep", json!({ "list": [1, 2.5, null, "é"], "big": u64::MAX })).await.expect("a session");
    session.save().await.expect("a record");
    session.id().expect("an id").to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn many_requests_at_once_move_a_session_once() {
    let server = Postgres::shared();
    let theirs = postgres(&server, "at_once").await;
    let ours = MemoryStore::new();
    let layer = SessionLayer::new(ours.clone()).name("id").take_over(TowerSessions014::new(theirs.clone()));
    let app = now(layer.clone());
    for _ in 0..10 {
        let id = signed_in(&theirs).await;
        let requests: Vec<_> = (0..8)
            .map(|n| {
                let mut visitor = Client::new(app.clone());
                visitor.set_cookie("id", &id);
                tokio::spawn(async move { visitor.get(&format!("/?k{n}=1")).await })
            })
            .collect();
        for request in requests {
            assert_eq!(request.await.expect("an answer").expect_status(200).text(), "ada");
        }
        let id = SessionId::parse(&id).expect("an id");
        let session = layer.sessions().expect("a layer").load::<Map>(&id).await.expect("a store");
        let data = session.expect("the session").get().await.expect("its data");
        assert_eq!(data["deep"], json!({ "list": [1, 2.5, null, "é"], "big": u64::MAX }));
        assert_eq!((0..8).filter(|n| data.contains_key(&format!("k{n}"))).count(), 8, "{data:?}");
        let left = core_014::SessionStore::load(&theirs, &id.expose().parse().expect("an id")).await;
        assert_eq!(left.expect("their store"), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_never_came_can_be_ended_too() {
    let server = Postgres::shared();
    let theirs = postgres(&server, "never_came").await;
    let layer = SessionLayer::new(MemoryStore::new()).take_over(TowerSessions014::new(theirs.clone()));
    let id = SessionId::parse(&signed_in(&theirs).await).expect("an id");
    let sessions = layer.sessions().expect("a layer");
    sessions.destroy(&id).await.expect("a logout");
    assert!(sessions.load::<Map>(&id).await.expect("a store").is_none());
}

/// Their store, with a plug that can be pulled.
struct Plugged {
    theirs: TowerSessions014<TheirPostgresStore>,
    finds: Arc<AtomicBool>,
    removes: Arc<AtomicBool>,
    /// Once: what has been found waits, and says so.
    slow: Option<Arc<[Notify; 2]>>,
    asked: AtomicBool,
}

impl Plugged {
    fn new(theirs: &TheirPostgresStore) -> Self {
        let (on, off) = (Arc::new(AtomicBool::new(true)), AtomicBool::new(false));
        let theirs = TowerSessions014::new(theirs.clone());
        Self { theirs, finds: on.clone(), removes: on, slow: None, asked: off }
    }
}

impl Predecessor for Plugged {
    async fn find(&self, id: &SessionId) -> Result<Option<Legacy>, StoreError> {
        if !self.finds.load(Relaxed) {
            return Err(StoreError::unavailable("unplugged"));
        }
        let found = self.theirs.find(id).await;
        if let Some(gate) = self.slow.as_ref().filter(|_| !self.asked.swap(true, Relaxed)) {
            gate[0].notify_one();
            gate[1].notified().await;
        }
        found
    }

    async fn remove(&self, id: &SessionId) -> Result<(), StoreError> {
        match self.removes.load(Relaxed) {
            true => self.theirs.remove(id).await,
            false => Err(StoreError::unavailable("unplugged")),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_old_store_is_away_nobody_is_logged_out_and_nothing_is_in_two_places() {
    let server = Postgres::shared();
    let theirs = postgres(&server, "unplugged").await;
    let (finds, removes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let plugged = Plugged { finds: finds.clone(), removes: removes.clone(), ..Plugged::new(&theirs) };
    let ours = MemoryStore::new();
    let layer = SessionLayer::new(ours.clone()).name("id").take_over(plugged);
    let mut unread = Client::new(now(layer.clone().defer(true)));
    let mut visitor = Client::new(now(layer));
    visitor.set_cookie("id", &signed_in(&theirs).await);
    for plug in [&finds, &removes] {
        let answer = visitor.get("/").await;
        assert_eq!((answer.status.as_u16(), answer.set_cookies()), (503, vec![]));
        assert_eq!(ours.len(), 0);
        plug.store(true, Relaxed);
    }
    assert_eq!(visitor.get("/").await.expect_status(200).text(), "ada");
    removes.store(false, Relaxed);
    assert_eq!(visitor.get("/?logout=1").await.status.as_u16(), 503, "a logout that may not have been one");
    assert_eq!(visitor.get("/").await.text(), "ada", "and was none");
    // What cannot be read can be ended, in both places.
    removes.store(true, Relaxed);
    finds.store(false, Relaxed);
    let id = signed_in(&theirs).await;
    unread.set_cookie("id", &id);
    assert_eq!(unread.get("/?logout=1").await.expect_status(200).set_cookies().len(), 1);
    finds.store(true, Relaxed);
    unread.set_cookie("id", &id);
    assert_eq!(unread.get("/").await.expect_status(200).text(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_found_before_a_logout_does_not_come_back_after_it() {
    let server = Postgres::shared();
    let theirs = postgres(&server, "logout").await;
    let ours = MemoryStore::new();
    let node = |old: Plugged| {
        let layer = SessionLayer::new(ours.clone()).name("id").operation_timeout(Duration::from_secs(60));
        now(layer.take_over(old))
    };
    let gate = Arc::new([Notify::new(), Notify::new()]);
    let slow = Plugged { slow: Some(gate.clone()), ..Plugged::new(&theirs) };
    let (slow, quick) = (node(slow), node(Plugged::new(&theirs)));
    let id = signed_in(&theirs).await;
    let mut late = Client::new(slow);
    late.set_cookie("id", &id);
    let late = tokio::spawn(async move { late.get("/").await });
    gate[0].notified().await;
    // Meanwhile, on another node, the visitor comes and goes.
    let mut visitor = Client::new(quick);
    visitor.set_cookie("id", &id);
    assert_eq!(visitor.get("/").await.expect_status(200).text(), "ada");
    let _ = visitor.get("/?logout=1").await.expect_status(200);
    gate[1].notify_one();
    let answer = late.await.expect("an answer").expect_status(200);
    assert_eq!((answer.text(), answer.set_cookies(), ours.len()), (String::new(), vec![], 0));
}

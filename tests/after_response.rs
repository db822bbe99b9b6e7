//! Handles that outlive their response (WebSockets, spawned tasks), and sessions without a request.
#![cfg(all(feature = "memory-store", feature = "testing"))]

mod site;

use axum::{
    RequestPartsExt,
    extract::{
        Request,
        ws::{Message, WebSocketUpgrade},
    },
    http::StatusCode,
    response::Response,
    routing::get,
};
use axum_generic_session::{
    CookieOptions, Error, Map, MaxAge, Operation, Saved, Session, SessionId, Verdict,
    store::StoreErrorKind,
    testing::{Client, Fault},
};
use serde_json::{Value, json};
use site::{COOKIE, Site};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tracing_subscriber::{Layer, layer::SubscriberExt};

/// A site whose page hands its session out, to be used when the answer has gone.
fn keeping(site: Site) -> (Site, Arc<Mutex<Option<Session>>>) {
    let kept = Arc::new(Mutex::new(None));
    let keep = kept.clone();
    let page = move |s: Session| async move {
        s.get().await?;
        *keep.lock().unwrap() = Some(s);
        Ok::<_, Error>(())
    };
    (site.page("/keep", get(page)), kept)
}

/// The session of `visitor`, after an answer.
async fn late(site: Site, visitor: fn(&Site) -> Client) -> (Site, Client, Session) {
    let (site, kept) = keeping(site);
    let mut visitor = visitor(&site);
    let _ = visitor.get("/keep").await.expect_status(200);
    let session = kept.lock().unwrap().take().unwrap();
    (site, visitor, session)
}

async fn late_of_alice() -> (Site, Client, Session) {
    let (site, kept) = keeping(Site::new());
    let mut visitor = site.known("alice").await;
    let _ = visitor.get("/keep").await.expect_status(200);
    let session = kept.lock().unwrap().take().unwrap();
    (site, visitor, session)
}

/// Counts the errors that are logged on this thread.
#[derive(Clone, Default)]
struct Errors(Arc<Mutex<usize>>);

impl Errors {
    fn listen(&self) -> tracing::subscriber::DefaultGuard {
        tracing::subscriber::set_default(tracing_subscriber::registry().with(self.clone()))
    }

    fn take(&self) -> usize {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl<S: tracing::Subscriber> Layer<S> for Errors {
    fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
        if *event.metadata().level() == tracing::Level::ERROR {
            *self.0.lock().unwrap() += 1;
        }
    }
}

#[tokio::test]
async fn a_late_change_is_saved_by_save() {
    let (site, visitor, session) = late_of_alice().await;
    session.insert("a", 1).await.unwrap();
    assert_eq!(site.data_of(&visitor).await.unwrap(), json!({"user": "alice"}), "not by itself");
    assert_eq!(session.save().await.unwrap(), Saved::Updated);
    session.remove("user").await.unwrap();
    session.update_cookie(|c| c.max_age = MaxAge::For(Duration::from_secs(7))).await.unwrap();
    assert_eq!(session.save().await.unwrap(), Saved::Updated);
    assert_eq!(session.save().await.unwrap(), Saved::Unchanged);
    assert_eq!(site.data_of(&visitor).await.unwrap(), json!({"a": 1}));
    let record = site.record(visitor.cookie(COOKIE).unwrap()).await.unwrap();
    assert_eq!(record.expires_at, site.after(Duration::from_secs(7)));
}

#[tokio::test]
async fn a_late_save_merges_with_what_requests_have_saved_since() {
    let (site, mut visitor, session) = late_of_alice().await;
    let _ = visitor.get("/set/b/2").await.expect_status(200);
    session.insert("a", 1).await.unwrap();
    session.save().await.unwrap();
    let n = session.transact(|map| map.len()).await.unwrap();
    assert_eq!((n, visitor.get("/read").await.json()), (3, json!({"user": "alice", "a": 1, "b": "2"})));
    let _ = visitor.get("/logout").await.expect_status(200);
    session.insert("a", 2).await.unwrap();
    assert!(session.save().await.unwrap_err().is_gone());
    assert!(session.transact(|map| map.clear()).await.unwrap_err().is_gone());
    assert_eq!(site.store.inner().len(), 0);
    session.prevent_save();
}

#[tokio::test]
async fn a_late_logout_takes_place_when_it_is_saved() {
    let (site, mut visitor, session) = late_of_alice().await;
    session.destroy().unwrap();
    assert_eq!(session.save().await.unwrap(), Saved::Destroyed);
    assert_eq!(site.store.inner().len(), 0);
    assert_eq!(visitor.get("/read").await.json(), json!({}));
}

#[tokio::test]
async fn what_needs_a_cookie_is_refused_when_none_can_be_sent() {
    let (site, _, session) = late_of_alice().await;
    assert!(session.renew().await.unwrap_err().is_closed());
    assert!(session.regenerate().unwrap_err().is_closed());
    session.destroy().unwrap();
    session.insert("a", 1).await.unwrap();
    let why = session.save().await.unwrap_err();
    assert!(why.is_closed());
    let sentence =
        "the response has been sent: a new session's id cannot reach the client; see https://docs.rs/";
    assert!(why.to_string().starts_with(sentence), "{why}");
    assert!(session.transact(|map| map.clear()).await.unwrap_err().is_closed());
    assert_eq!(site.store.inner().len(), 1, "no session without a visitor was made");
    session.clear().await.unwrap();
    assert_eq!(session.save().await.unwrap(), Saved::Destroyed, "the logout alone needs no cookie");

    let (site, _, session) = late(Site::new(), Site::visitor).await;
    session.insert("a", 1).await.unwrap();
    assert!(session.save().await.unwrap_err().is_closed(), "a first save");
    assert_eq!(site.store.inner().len(), 0);
    session.prevent_save();
}

#[tokio::test]
async fn a_session_that_is_asked_for_after_the_answer_can_be_changed_but_not_begun() {
    for known in [true, false] {
        let kept = Arc::new(Mutex::new(None));
        let keep = kept.clone();
        let page = move |request: Request| async move { *keep.lock().unwrap() = Some(request) };
        let site = Site::deferred().page("/keep", get(page));
        let mut visitor = if known { site.known("alice").await } else { site.visitor() };
        let _ = visitor.get("/keep").await.expect_status(200);
        let (mut parts, _) = kept.lock().unwrap().take().unwrap().into_parts();
        let session: Session = parts.extract().await.unwrap();
        session.insert("a", 1).await.unwrap();
        if known {
            assert_eq!(session.save().await.unwrap(), Saved::Updated);
            assert_eq!(site.data_of(&visitor).await.unwrap(), json!({"user": "alice", "a": 1}));
        } else {
            assert!(session.save().await.unwrap_err().is_closed());
            session.prevent_save();
        }
    }
}

#[tokio::test]
async fn a_late_change_that_nobody_saves_is_an_error_in_the_log() {
    let errors = Errors::default();
    let _listening = errors.listen();
    let (_site, _, session) = late_of_alice().await;
    session.insert("a", 1).await.unwrap();
    let other = session.clone();
    drop(session);
    assert_eq!(errors.take(), 0, "somebody may save it yet");
    drop(other);
    assert_eq!(errors.take(), 1);

    let (_site, _, session) = late_of_alice().await;
    session.destroy().unwrap();
    drop(session);
    assert_eq!(errors.take(), 1, "a logout too");

    let (_site, _, session) = late_of_alice().await;
    session.insert("a", 1).await.unwrap();
    session.save().await.unwrap();
    session.get().await.unwrap();
    drop(session);
    let (_site, _, session) = late_of_alice().await;
    session.insert("user", "alice").await.unwrap();
    drop(session);
    let (_site, _, session) = late_of_alice().await;
    session.insert("a", 1).await.unwrap();
    session.prevent_save();
    drop(session);
    assert_eq!(errors.take(), 0, "saved, unchanged, and not to be saved are none");
}

#[tokio::test]
async fn requests_that_end_early_or_in_error_log_nothing_about_unsaved_changes() {
    let errors = Errors::default();
    let _listening = errors.listen();
    let site = Site::with(|layer| layer.error_handler(|_| async { Verdict::Continue })).page(
        "/stuck",
        get(|s: Session| async move {
            s.insert("a", 1).await.unwrap();
            std::future::pending::<()>().await;
        }),
    );
    let mut visitor = site.known("alice").await;
    let stuck = site::in_another_tab(&visitor, "/stuck");
    tokio::task::yield_now().await;
    stuck.abort();
    assert!(stuck.await.unwrap_err().is_cancelled());
    let _ = visitor.get("/set/a/1/then/500").await.expect_status(500);
    site.store.fail(Operation::Set, Fault::before(StoreErrorKind::ReadOnly));
    let _ = visitor.get("/set/a/1").await.expect_status(200);
    site.store.fail(Operation::Get, Fault::before(StoreErrorKind::ReadOnly));
    let _ = visitor.get("/set/a/1").await.expect_status(200);
    assert_eq!(errors.take(), 0);
}

#[tokio::test]
async fn after_a_5xx_the_session_is_as_it_was() {
    let (site, kept) = keeping(Site::with(|layer| layer.max_lifetime(Duration::from_secs(100))));
    let keep = kept.clone();
    let site = site.page(
        "/fails",
        get(move |s: Session| async move {
            s.regenerate()?;
            s.insert("user", "mallory").await?;
            s.id().await?;
            *keep.lock().unwrap() = Some(s);
            Ok::<_, Error>(StatusCode::INTERNAL_SERVER_ERROR)
        }),
    );
    let mut visitor = site.known("alice").await;
    let id = visitor.cookie(COOKIE).unwrap().to_owned();
    let end = site.record(&id).await.unwrap().expires_at;
    site.clock.advance(Duration::from_secs(60));
    let _ = visitor.get("/fails").await.expect_status(500);
    let session = kept.lock().unwrap().take().unwrap();
    assert_eq!(session.id().await.unwrap().expose(), id);
    assert_eq!(session.value::<String>("user").await.unwrap().as_deref(), Some("alice"));
    session.insert("late", 1).await.unwrap();
    session.save().await.unwrap();
    let record = site.record(&id).await.unwrap();
    assert_eq!(site::object(&record), json!({"user": "alice", "late": 1}));
    assert_eq!(record.expires_at, end, "its absolute limit is still counted from its beginning");
}

#[tokio::test]
async fn a_websocket_gets_its_cookie_with_the_upgrade_and_saves_while_it_is_open() {
    async fn socket(upgrade: WebSocketUpgrade, session: Session) -> Result<Response, Error> {
        session.insert("messages", 0).await?;
        Ok(upgrade.on_upgrade(async move |mut socket| {
            let count = |map: &mut Map| {
                let n = map["messages"].as_u64().unwrap_or(0) + 1;
                map.insert("messages".into(), n.into());
            };
            session.transact(count).await.unwrap();
            session.insert("open", true).await.unwrap();
            let said = format!("{:?}", session.save().await.unwrap());
            socket.send(Message::text(said)).await.unwrap();
        }))
    }
    let site = Site::deferred().page("/socket", get(socket));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(axum::serve(listener, site.app()).into_future());
    let mut client = TcpStream::connect(address).await.unwrap();
    let request = "GET /socket HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    client.write_all(request.as_bytes()).await.unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"Updated") {
        let mut bytes = [0; 1024];
        let n =
            tokio::time::timeout(Duration::from_secs(30), client.read(&mut bytes)).await.unwrap().unwrap();
        assert!(n > 0, "closed after {:?}", String::from_utf8_lossy(&seen));
        seen.extend(&bytes[..n]);
    }
    server.abort();
    let head = String::from_utf8_lossy(&seen).into_owned();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let id = head.split("axum.sid=").nth(1).and_then(|rest| rest.split(';').next()).expect("a cookie");
    assert_eq!(site.data(id).await.unwrap(), json!({"messages": 1, "open": true}));
}

#[tokio::test]
async fn outside_of_a_request_sessions_are_loaded_changed_and_ended_by_their_id() {
    let site =
        Site::with(|layer| layer.ttl(Duration::from_secs(100)).cookie(CookieOptions::new().path("/app")));
    let site = site.page("/app/set", get(|s: Session| async move { s.insert("user", "alice").await })).page(
        "/app/read",
        get(|s: Session| async move { s.value::<u64>("credit").await.map(|n| format!("{n:?}")) }),
    );
    let mut visitor = site.visitor();
    let _ = visitor.get("/app/set").await.expect_status(200);
    let id = SessionId::parse(visitor.cookie(COOKIE).unwrap()).unwrap();
    let sessions = site.layer.sessions().unwrap();

    site.clock.advance(Duration::from_secs(50));
    let session = sessions.load::<Map>(&id).await.unwrap().expect("a session");
    assert_eq!(session.id().await.unwrap(), id);
    assert_eq!(session.value::<String>("user").await.unwrap().as_deref(), Some("alice"));
    session.insert("credit", 10).await.unwrap();
    assert_eq!(session.save().await.unwrap(), Saved::Updated);
    session.transact(|map| map.insert("credit".into(), 11.into())).await.unwrap();
    assert!(session.renew().await.unwrap_err().is_closed());
    assert_eq!(visitor.get("/app/read").await.text(), "Some(11)");
    assert_eq!(site.record(id.expose()).await.unwrap().expires_at, site.after(Duration::from_secs(100)));

    assert!(sessions.load::<Map>(&SessionId::random()).await.unwrap().is_none());
    sessions.clone().destroy(&id).await.unwrap();
    sessions.destroy(&id).await.unwrap();
    assert!(sessions.load::<Map>(&id).await.unwrap().is_none());
    session.insert("credit", 12).await.unwrap();
    assert!(session.save().await.unwrap_err().is_gone());
    session.prevent_save();
}

#[tokio::test]
async fn outside_of_a_request_a_failure_is_an_error_and_an_invalid_session_none() {
    let errors = Errors::default();
    let _listening = errors.listen();
    let site = Site::with(|layer| {
        layer
            .error_handler(|_| async { Verdict::Continue })
            .valid(|candidate| async move { Ok(candidate.session().value::<Value>("banned")?.is_none()) })
    });
    let mut visitor = site.known("alice").await;
    let id = SessionId::parse(visitor.cookie(COOKIE).unwrap()).unwrap();
    let sessions = site.layer.sessions().unwrap();
    site.store.fail(Operation::Get, Fault::before(StoreErrorKind::ReadOnly));
    let why = sessions.load::<Map>(&id).await.unwrap_err();
    assert_eq!(why.operation(), Some(Operation::Get), "an outage is not \"no such session\"");
    site.store.fail(Operation::Destroy, Fault::before(StoreErrorKind::ReadOnly));
    assert_eq!(sessions.destroy(&id).await.unwrap_err().operation(), Some(Operation::Destroy));
    site.store.heal();
    let _ = visitor.get("/set/banned/1").await.expect_status(200);
    assert!(sessions.load::<Map>(&id).await.unwrap().is_none());
    assert_eq!(errors.take(), 0, "and nobody has anything unsaved");
}

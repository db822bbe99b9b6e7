//! Ids, keys and data appear nowhere but where they must: not in logs, `Debug`, errors or bodies, and no id in the store.
#![cfg(all(feature = "memory-store", feature = "testing"))]

mod site;

use axum::{
    body::Body,
    extract::{Path, Request},
    http::header,
    routing::get,
};
use axum_generic_session::{
    ForcedId, Key, Loaded, Map, Operation, Rolling, Session, SessionId, SessionLayer, Store, StoreKey,
    Verdict,
    store::{Applied, StoreErrorKind, Tag, ThreeMethodStore, When},
    testing::{Client, Fault},
};
use site::{COOKIE, Cache, Site, in_another_tab};
use std::{
    io::Write,
    sync::{Arc, Mutex, PoisonError},
};
use tracing_subscriber::fmt::MakeWriter;

/// All that was logged, and all that a test adds.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<String>>);

impl Seen {
    fn add(&self, text: impl AsRef<str>) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.push_str(text.as_ref());
        seen.push('\n');
    }

    fn text(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Every event and span of this thread, down to TRACE, with all fields, goes here from now on.
    fn listen(&self) -> tracing::subscriber::DefaultGuard {
        let to = self.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_span_events(tracing_subscriber::fmt::format::FmtSpan::FULL)
            .with_ansi(false)
            .with_writer(to)
            .finish();
        tracing::subscriber::set_default(subscriber)
    }
}

impl Write for Seen {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.add(String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Seen {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// A value that is searched for.
const SECRET: &str = "hunter2-and-the-mothers-maiden-name";

/// What must not be seen of this cookie value: the id, the signature, the store's key, in any coding of theirs.
fn needles(cookie: &str) -> Vec<String> {
    let id = &cookie[cookie.len().saturating_sub(32)..];
    let parsed = SessionId::parse(id).unwrap();
    let key = StoreKey::hashed("axum:sess:", &parsed);
    let hex: String = key.digest().iter().map(|byte| format!("{byte:02x}")).collect();
    let digest = key.as_str().strip_prefix("axum:sess:").unwrap().to_owned();
    let mut needles = vec![id.to_owned(), digest, hex];
    if cookie.len() > 32 {
        needles.push(cookie[..cookie.len() - 32].to_owned());
    }
    needles
}

fn assert_hidden(seen: &str, needles: &[String]) {
    for needle in needles.iter().map(String::as_str).chain([SECRET]) {
        let at = seen.find(needle);
        assert!(at.is_none(), "{needle} in: {}", &seen[at.unwrap().saturating_sub(200)..]);
    }
}

#[tokio::test]
async fn a_whole_life_at_trace_level_shows_no_secret() {
    let seen = Seen::default();
    let _listening = seen.listen();
    let hooks = seen.clone();
    let key = Key::from(&[42; 64]);
    let site = Site::with(|layer| {
        let (valid, save, failed) = (hooks.clone(), hooks.clone(), hooks.clone());
        layer
            .keys([&key])
            .rolling(Rolling::EveryRequest)
            .max_size(2000)
            .valid(move |candidate| {
                valid.add(format!("{candidate:?}"));
                async { Ok(true) }
            })
            .before_save(move |draft| {
                save.add(format!("{draft:?}"));
                async { Ok(()) }
            })
            .error_handler(move |failure| {
                failed.add(format!("{failure:?} {} {:?}", failure.error(), failure.error()));
                async { Verdict::Fail }
            })
    });
    let said = seen.clone();
    let debug = get(move |s: Session, loaded: Loaded<Map>, Path(n): Path<usize>| async move {
        s.insert("secret", format!("{SECRET}{n}")).await?;
        let (id, cookie) = (s.id().await?, s.cookie().await?);
        said.add(format!("{s:?} {loaded:?} {id:?} {cookie:?} {:?}", ForcedId(id.clone())));
        for why in
            [s.view::<Wrong>().get().await.err(), s.value::<u8>("secret").await.err()].into_iter().flatten()
        {
            said.add(format!("{why} {why:?} {:?}", std::error::Error::source(&why)));
        }
        s.save().await.map(drop)
    });
    let site = site.page("/debug/{n}", debug);
    #[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
    struct Wrong {
        secret: Vec<u8>,
    }

    let mut cookies = Vec::new();
    let mut visitor = site.visitor();
    let large = format!("/set/large/{}", SECRET.repeat(60));
    let secret = format!("/set/secret/{SECRET}");
    let paths = [
        "/debug/1",
        "/",
        "/read",
        "/count",
        "/debug/2",
        "/renew",
        &secret,
        &large,
        "/set/a/1/then/500",
        "/login/x",
    ];
    for path in paths {
        let answer = visitor.get(path).await;
        seen.add(format!("{:?}", answer.headers));
        if answer.status != 200 {
            seen.add(answer.text());
        }
        cookies.push(visitor.cookie(COOKIE).unwrap().to_owned());
    }
    for operation in Operation::ALL {
        for kind in
            [StoreErrorKind::Unavailable(Applied::Unknown), StoreErrorKind::Corrupt, StoreErrorKind::Full]
        {
            for path in ["/debug/3", "/read", "/renew", "/logout"] {
                let mut somebody = site.known(SECRET).await;
                cookies.push(somebody.cookie(COOKIE).unwrap().to_owned());
                site.store.fail(operation, Fault::before(kind));
                let answer = somebody.get(path).await;
                if answer.status != 200 {
                    seen.add(answer.text());
                }
                site.store.heal();
            }
        }
    }
    // A merge with a clash, a record that cannot be read, an unknown id.
    let mut visitor = site.known(SECRET).await;
    cookies.push(visitor.cookie(COOKIE).unwrap().to_owned());
    let gate = site.store.hold(Operation::Set);
    let late = in_another_tab(&visitor, "/debug/4");
    gate.reached().await;
    let mut other =
        Client::new(site.under(SessionLayer::new(site.store.clone()).clock(site.clock.clone()).keys([&key])));
    other.set_cookie(COOKIE, visitor.cookie(COOKIE).unwrap());
    let _ = other.get("/debug/5").await.expect_status(200);
    gate.open();
    let _ = late.await.unwrap();
    let id = visitor.cookie(COOKIE).unwrap()[44..].to_owned();
    let mut record = site.record(&id).await.unwrap();
    record.data = format!("{{\"v\":1,\"created\":1}}\n{{\"secret\":{SECRET}}}").into();
    record.tag = Tag::random();
    site.store.inner().set(&site.key(&id), &record, When::Present).await.unwrap();
    seen.add(visitor.get("/read").await.text());
    let sessions = site.layer.sessions().unwrap();
    let why = sessions.load::<Map>(&SessionId::parse(&id).unwrap()).await.unwrap_err();
    seen.add(format!("{why} {why:?} {record:?} {:?}", site.key(&id)));
    sessions.destroy(&SessionId::parse(&id).unwrap()).await.unwrap();
    let _ = visitor.get("/read").await;
    seen.add(format!("{:?} {sessions:?} {:?} {visitor:?} {:?}", site.layer, key_ring(&site), site.store));

    let text = seen.text();
    for expected in [
        "session saved",
        "session request failed",
        "no such session",
        "the same keys",
        "Candidate",
        "Failure",
        "Draft",
    ] {
        assert!(
            text.contains(expected),
            "nobody has said {expected:?}: is this test still listening?\n{text}"
        );
    }
    let mut needles: Vec<_> = cookies.iter().flat_map(|cookie| needles(cookie)).collect();
    needles.push("KioqKioqKioq".into()); // the key, 42 42 42, in base64
    needles.push("2a2a2a2a".into());
    needles.push("42, 42, 42".into());
    assert_hidden(&text, &needles);
}

/// The layer again, as somebody may print it inside of something else.
fn key_ring(site: &Site) -> SessionLayer {
    site.layer.clone().keys([&Key::from(&[42; 64])])
}

#[tokio::test]
async fn the_store_sees_no_id() {
    let site = Site::new();
    let cache = Cache::new(site.clock.clone());
    let key = Key::from(&[42; 64]);
    for signed in [false, true] {
        let store = ThreeMethodStore::new(cache.clone()).clock(site.clock.clone());
        let layer = SessionLayer::new(store).clock(site.clock.clone());
        let layer = if signed { layer.keys([&key]) } else { layer };
        let mut visitor = Client::new(site.under(layer));
        let mut ids = Vec::new();
        for path in ["/set/a/1", "/renew", "/count", "/login/alice"] {
            let _ = visitor.get(path).await.expect_status(200);
            let cookie = visitor.cookie(COOKIE).unwrap();
            ids.push(cookie[cookie.len() - 32..].to_owned());
        }
        let dump = cache.dump();
        assert!(dump.contains("axum:sess:") && dump.contains("alice"), "a dump of the store: {dump}");
        for id in &ids {
            assert!(!dump.contains(&**id), "{id} in {dump}");
        }
    }
}

#[tokio::test]
async fn hash_ids_off_is_the_only_way_to_an_id_in_the_store() {
    let site = Site::new();
    let cache = Cache::new(site.clock.clone());
    let store = ThreeMethodStore::new(cache.clone()).clock(site.clock.clone());
    let mut visitor =
        Client::new(site.under(SessionLayer::new(store).hash_ids(false).clock(site.clock.clone())));
    let _ = visitor.get("/set/a/1").await.expect_status(200);
    assert!(cache.dump().contains(visitor.cookie(COOKIE).unwrap()));
}

#[tokio::test]
async fn commits_are_logged_within_the_span_of_their_request() {
    use tracing::Instrument;
    let seen = Seen::default();
    let _listening = seen.listen();
    let site = Site::new();
    let gate = site.store.hold(Operation::Set);
    let mut visitor = site.visitor();
    let request = async move { visitor.get("/set/a/1").await };
    let answering = tokio::spawn(request.instrument(tracing::info_span!("request", number = 7)));
    gate.reached().await;
    gate.open();
    let _ = answering.await.unwrap().expect_status(200);
    let text = seen.text();
    let saved = text.lines().find(|line| line.contains("session saved")).expect("the event");
    assert!(saved.contains("request{number=7}"), "{saved}");
}

#[tokio::test]
async fn a_wrong_cookie_is_no_event_of_importance() {
    let seen = Seen::default();
    let _listening = seen.listen();
    let site = Site::with(|layer| layer.keys([&Key::from(&[42; 64])]));
    let forged = Request::get("/read").header(header::COOKIE, "axum.sid=forged").body(Body::empty());
    let _ = site.visitor().send(forged).await.expect_status(200);
    let unknown = Site::new();
    let request = Request::get("/read").header(header::COOKIE, "axum.sid=unknown").body(Body::empty());
    let _ = unknown.visitor().send(request).await.expect_status(200);
    let text = seen.text();
    for level in ["ERROR", "WARN", "INFO"] {
        assert!(!text.contains(level), "{text}");
    }
}

#[tokio::test]
async fn an_error_tells_its_cause_to_the_log_and_not_to_the_client() {
    let seen = Seen::default();
    let _listening = seen.listen();
    let site = Site::new();
    site.store.fail(Operation::Set, Fault::before(StoreErrorKind::Denied));
    let answer = site.visitor().get("/set/a/1").await.expect_status(500);
    assert_eq!(answer.text(), "");
    let text = seen.text();
    assert!(text.contains("the session store denies access: the probe was told to fail"), "{text}");
}

//! The memory store is asked without waiting for it, and what is usual is committed at once. Beside it the same site over the
//! same store that has to be waited for: of random lives of two visitors both must say the same at each step.
#![cfg(all(feature = "memory-store", feature = "testing"))]

mod site;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::{
    Extension, Router,
    body::Body,
    extract::Path,
    http::{HeaderMap, Request, StatusCode, header::COOKIE as COOKIE_HEADER},
    routing::get,
};
use axum_generic_session::{
    Error, Key, MemoryStore, Rolling, Session, SessionId, SessionLayer, Store, StoreKey, Timestamp,
    store::{Record, Tag, When, Written},
    testing::{Answer, Client, ManualClock},
};
use proptest::{prelude::*, sample::select, test_runner::TestRunner};
use serde_json::{Value, json};
use site::{COOKIE, Site, act, cases, object};
use tower::ServiceExt;

/// What a handler may do, one after the other. Those with a wave are what another tab does while the handler is at work.
const WORDS: [&str; 21] = [
    "read",
    "write",
    "same",
    "more",
    "remove",
    "clear",
    "settings",
    "login",
    "destroy",
    "regenerate",
    "renew",
    "force",
    "prevent",
    "auto",
    "save",
    "id",
    "large",
    "~write",
    "~more",
    "~destroy",
    "~renew",
];
const VISITORS: usize = 2;

#[derive(Clone, Debug)]
enum Step {
    /// A visitor's request: what its handler does, and what it answers.
    Visit { who: usize, words: String, status: u16 },
    /// Time passes, in minutes.
    Later(u64),
    /// A visitor sends the cookie from before the last one.
    Back(usize),
}

#[derive(Clone, Copy, Debug)]
struct Settings {
    defer: bool,
    rolling: u8,
    allow_empty: bool,
    signed: bool,
    limited: bool,
    own_ids: bool,
    stamped: bool,
}

impl Settings {
    fn of(self, mut layer: SessionLayer) -> SessionLayer {
        let rolling = [Rolling::Off, Rolling::EveryRequest, Rolling::After(0.5)];
        layer = layer.defer(self.defer).allow_empty(self.allow_empty).max_size(500);
        layer = layer.rolling(rolling[usize::from(self.rolling)]);
        if self.signed {
            layer = layer.keys([&Key::from(&[7; 64])]);
        }
        if self.limited {
            layer = layer.max_lifetime(Duration::from_secs(36 * 3600));
        }
        if self.own_ids {
            layer = layer.gen_id(|_| async { Ok(SessionId::random().expose().to_owned()) });
        }
        if self.stamped {
            layer = layer.before_save(|draft| async move { Ok(draft.insert("stamp", 1)?) });
        }
        layer
    }
}

type Itself = Extension<Arc<OnceLock<Router>>>;

async fn page(
    session: Session,
    Extension(itself): Itself,
    headers: HeaderMap,
    Path((words, status)): Path<(String, u16)>,
) -> Result<(StatusCode, String), Error> {
    let mut id = String::new();
    for word in words.split('+') {
        match word {
            "more" => {
                let n = session.value::<u64>("n").await?.unwrap_or(0);
                session.insert("n", n + 1).await?;
            }
            "remove" => session.remove("new").await?,
            "large" => session.insert("large", "x".repeat(500)).await?,
            "login" => session.set_principal("ada").await?,
            "id" => id = session.id().await?.expose().to_owned(),
            word => match word.strip_prefix('~') {
                Some(word) => meanwhile(&itself, &headers, word).await,
                None => act(&session, word).await?,
            },
        }
    }
    Ok((StatusCode::from_u16(status).expect("a status"), id))
}

async fn meanwhile(itself: &OnceLock<Router>, headers: &HeaderMap, word: &str) {
    let mut request = Request::get(format!("/act/{word}/200"));
    for cookie in headers.get_all(COOKIE_HEADER) {
        request = request.header(COOKIE_HEADER, cookie);
    }
    let app = itself.get().expect("it runs").clone();
    let _ = app.oneshot(request.body(Body::empty()).expect("a request")).await;
}

/// A site, and who visits it.
struct World {
    store: MemoryStore,
    visitors: Vec<Client>,
    before: Vec<Option<String>>,
}

impl World {
    fn new(store: MemoryStore, layer: SessionLayer, pages: &Router, clock: &ManualClock) -> Self {
        let itself = Arc::<OnceLock<Router>>::default();
        let app = pages.clone().layer(layer).layer(Extension(itself.clone()));
        assert!(itself.set(app.clone()).is_ok());
        let visitors = vec![Client::new(app).clock(clock.clone()); VISITORS];
        Self { store, visitors, before: vec![None; VISITORS] }
    }

    /// What the visitor is answered, and what the store has then: ids and tags apart, which are drawn.
    async fn visit(&mut self, who: usize, path: &str) -> (String, Option<(Value, String)>) {
        let cookie = self.visitors[who].cookie(COOKIE).map(str::to_owned);
        let answer = self.visitors[who].get(path).await;
        let now = self.visitors[who].cookie(COOKIE).map(str::to_owned);
        let is_as_told = now.as_ref().is_some_and(|now| now.contains(&answer.text()));
        let told = format!("{}, as told: {is_as_told}, another: {}", said(&answer), now != cookie);
        if now != cookie {
            self.before[who] = cookie;
        }
        let id = now.as_deref().and_then(|value| SessionId::parse(value.rsplit('=').next()?));
        let record = match id {
            Some(id) => self.store.get(&StoreKey::hashed("axum:sess:", &id)).await.expect("in memory"),
            None => None,
        };
        let stored = record.map(|r| (object(&r), format!("{:?} {:?}", r.expires_at, r.principal)));
        (told, stored)
    }

    fn back(&mut self, who: usize) {
        if let Some(cookie) = self.before[who].take() {
            self.visitors[who].set_cookie(COOKIE, &cookie);
        }
    }
}

/// An answer but for what is drawn.
fn said(answer: &Answer) -> String {
    let cookies: Vec<_> = answer
        .set_cookies()
        .iter()
        .map(|line| {
            let (pair, attributes) = line.split_once(';').expect("attributes");
            format!("{} bytes;{attributes}", pair.len())
        })
        .collect();
    let (vary, cache) = (answer.header("vary"), answer.header("cache-control"));
    format!("{} {cookies:?} {vary} {cache}", answer.status)
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let words = prop::collection::vec(select(&WORDS[..]), 1..4).prop_map(|words| words.join("+"));
    let status = prop_oneof![4 => Just(200), 1 => Just(500)];
    let visit =
        (0..VISITORS, words, status).prop_map(|(who, words, status)| Step::Visit { who, words, status });
    let step = prop_oneof![
        8 => visit,
        1 => (1_u64..2000).prop_map(Step::Later),
        1 => (0..VISITORS).prop_map(Step::Back),
    ];
    prop::collection::vec(step, 1..24)
}

fn settings() -> impl Strategy<Value = Settings> {
    // What takes waiting anyway is seldom, so that most goes the short way.
    let seldom = || prop::bool::weighted(0.1);
    (any::<(bool, bool, bool, bool)>(), 0_u8..3, seldom(), seldom()).prop_map(
        |((defer, allow_empty, signed, limited), rolling, own_ids, stamped)| Settings {
            defer,
            rolling,
            allow_empty,
            signed,
            limited,
            own_ids,
            stamped,
        },
    )
}

#[test]
fn a_store_at_hand_and_one_that_is_waited_for_come_to_the_same() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let property = |(settings, steps): (Settings, Vec<Step>)| {
        runtime.block_on(async {
            let site = Site::with(|layer| settings.of(layer)).page("/act/{words}/{status}", get(page));
            let store = MemoryStore::new().clock(site.clock.clone());
            let layer = settings.of(SessionLayer::new(store.clone()).clock(site.clock.clone()));
            let mut at_hand = World::new(store, layer, &site.pages, &site.clock);
            let mut waited_for =
                World::new(site.store.inner().clone(), site.layer.clone(), &site.pages, &site.clock);
            // Which of those that have expired are swept first depends on their ids.
            let mut none_has_expired = true;
            for step in steps {
                match step {
                    Step::Visit { who, words, status } => {
                        let path = format!("/act/{words}/{status}");
                        let (one, other) =
                            (at_hand.visit(who, &path).await, waited_for.visit(who, &path).await);
                        prop_assert_eq!(one, other, "{}", path);
                        prop_assert!(!none_has_expired || at_hand.store.len() == waited_for.store.len());
                    }
                    Step::Later(minutes) => {
                        site.clock.advance(Duration::from_secs(60 * minutes));
                        none_has_expired = false;
                    }
                    Step::Back(who) => {
                        at_hand.back(who);
                        waited_for.back(who);
                    }
                }
            }
            Ok(())
        })
    };
    TestRunner::new(cases(2048)).run(&(settings(), steps()), property).unwrap();
}

/// A place that a first write could not have is not where the session is: neither is it written there on a second try, nor
/// does what stands there become the visitor's.
#[tokio::test]
async fn a_place_that_is_not_to_be_had_is_given_up() {
    let store = MemoryStore::new().max_entries(1);
    let wider = store.clone().max_entries(3);
    let taken = wider.clone();
    let pages = Router::new()
        .route("/set", get(|session: Session| async move { session.insert("mine", true).await }))
        .route(
            "/taken",
            get(async move |session: Session| {
                let key = StoreKey::hashed("axum:sess:", &session.id().await?);
                let data = "{\"v\":1,\"created\":1}\n{\"theirs\":true}".into();
                let record = Record { tag: Tag::random(), expires_at: Timestamp::MAX, principal: None, data };
                assert_eq!(taken.set(&key, &record, When::Absent).await.expect("room"), Written::Done);
                session.insert("mine", true).await
            }),
        )
        .route(
            "/read",
            get(|session: Session| async move { Ok::<_, Error>(session.get().await?.len().to_string()) }),
        );
    let app = |store: &MemoryStore| pages.clone().layer(SessionLayer::new(store.clone()));

    let (mut first, mut second) = (Client::new(app(&store)), Client::new(app(&store)));
    let _ = first.get("/set").await.expect_status(200);
    let refused = second.get("/set").await.expect_status(507);
    assert!(refused.set_cookies().is_empty());
    assert_eq!(store.len(), 1);

    let mut second = Client::new(app(&wider));
    let _ = second.get("/taken").await.expect_status(200);
    assert_eq!(second.get("/read").await.text(), "1");
    let id = SessionId::parse(second.cookie(COOKIE).expect("a cookie")).expect("an id");
    let record =
        store.get(&StoreKey::hashed("axum:sess:", &id)).await.expect("in memory").expect("a session");
    assert_eq!(object(&record), json!({"mine": true}));
    assert_eq!(store.len(), 3);
}

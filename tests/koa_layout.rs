//! What koa-generic-session and koa-redis were seen to send and store (`oracle/interop`), spoken and read here.
#![cfg(all(feature = "memory-store", feature = "testing"))]

use axum::{
    Router,
    body::Body,
    extract::Query,
    http::{Request, header::COOKIE},
    routing::get,
};
use axum_generic_session::{
    Clock, CookieOptions, Error, Map, MaxAge, MemoryStore, Rolling, Session, SessionId, SessionLayer, Store,
    StoreKey, Timestamp,
    store::{Layout, Record, Tag, When, Written},
    testing::{Answer, Client, ManualClock, ProbeStore},
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{collections::HashMap, time::Duration};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

type Kept = ProbeStore<MemoryStore>;

struct Site {
    store: Kept,
    clock: ManualClock,
    layer: SessionLayer,
}

impl Site {
    fn new(keys: &[String], settings: impl FnOnce(SessionLayer) -> SessionLayer) -> Self {
        let clock = ManualClock::new();
        let store = ProbeStore::new(MemoryStore::new().clock(clock.clone()));
        let layer = settings(SessionLayer::koa(store.clone(), keys).clock(clock.clone()));
        Self { store, clock, layer }
    }

    fn visitor(&self) -> Client {
        let app = Router::new().route("/", get(page)).layer(self.layer.clone());
        Client::new(app).clock(self.clock.clone())
    }

    fn visitor_if_sound(&self) -> Option<Client> {
        self.layer.check().is_ok().then(|| self.visitor())
    }

    /// Whose session a `Cookie` header opens, of some that are there, and what is sent.
    async fn read(&self, cookies: &str) -> (Option<String>, Vec<String>) {
        for id in ["abc", "def", "a%20b", "zzz"] {
            self.plant(id, &format!(r#"{{"cookie":{{"maxAge":null}},"id":"{id}"}}"#)).await;
        }
        let answer = self.send(cookies).await;
        (answer.json()["id"].as_str().map(str::to_owned), answer.set_cookies())
    }

    /// A request with this very `Cookie` header.
    async fn send(&self, cookies: &str) -> Answer {
        let request = Request::get("/").header(COOKIE, cookies.as_bytes()).body(Body::empty());
        self.visitor().send(request).await.expect_status(200)
    }

    fn key(prefix: &str, id: &str) -> StoreKey {
        StoreKey::plain(prefix, &SessionId::parse(id).expect(id)).with_layout(Layout::Plain)
    }

    /// Text that koa has stored.
    async fn plant(&self, id: &str, text: &str) {
        let data = text.as_bytes().to_vec();
        let record =
            Record { tag: Tag::of(&data), expires_at: Timestamp::MAX, principal: None, data: data.into() };
        let key = Self::key("koa:sess:", id);
        let there = self.store.get(&key).await.unwrap().map_or(When::Absent, |_| When::Present);
        assert_eq!(self.store.set(&key, &record, there).await.unwrap(), Written::Done);
    }

    /// What is stored, and for how many milliseconds.
    async fn stored(&self, prefix: &str, id: &str) -> Option<(String, u128)> {
        let record = self.store.get(&Self::key(prefix, id)).await.unwrap()?;
        let life = record.expires_at.saturating_since(self.clock.now()).as_millis();
        Some((String::from_utf8(record.data.to_vec()).unwrap(), life))
    }
}

#[derive(Deserialize)]
struct Wishes {
    count: Option<u8>,
    text: Option<u8>,
    remove: Option<u8>,
    regenerate: Option<u8>,
    rewrite: Option<u8>,
    expires: Option<u64>,
}

/// The application that was recorded: it does what the query says, and shows the data.
async fn page(session: Session, Query(wishes): Query<Wishes>) -> Result<String, Error> {
    if wishes.regenerate.is_some() {
        session.regenerate()?;
        session.insert("user", 1).await?;
    }
    if wishes.rewrite.is_some() {
        session.set(Map::from_iter([("foo".to_owned(), json!("bar"))])).await?;
    }
    if wishes.count.is_some() {
        let count = session.value::<u64>("count").await?.unwrap_or_default();
        session.insert("count", count + 1).await?;
    }
    if wishes.text.is_some() {
        session.insert("text", "déjà € 😀 \"quoted\" </script>").await?;
    }
    if let Some(seconds) = wishes.expires {
        let end = ManualClock::new().now().saturating_add(Duration::from_secs(seconds));
        session.update_cookie(|cookie| cookie.max_age = MaxAge::Until(end)).await?;
    }
    let shown = Value::Object((*session.get().await?).clone()).to_string();
    if wishes.remove.is_some() {
        session.destroy()?;
    }
    Ok(shown)
}

fn read<T: serde::de::DeserializeOwned>(text: &str) -> T {
    serde_json::from_str(text).unwrap()
}

#[derive(Deserialize)]
struct Keygrip {
    vectors: Vec<Vector>,
    behaviour: HashMap<String, Exchange>,
}

#[derive(Deserialize)]
struct Vector {
    why: String,
    algorithm: String,
    keys: Vec<String>,
    name: String,
    value: String,
    sig: String,
    sigs_by_key: Vec<String>,
}

#[derive(Deserialize)]
struct Exchange {
    #[serde(default)]
    keys: Vec<String>,
    cookie_header: Option<String>,
    returned: Option<String>,
    set_cookie: Vec<String>,
}

fn keygrip() -> Keygrip {
    read(include_str!("oracle/interop/keygrip-vectors.json"))
}

#[tokio::test]
async fn every_signature_of_keygrip_is_made_and_taken() {
    let vectors = keygrip().vectors;
    assert_eq!(vectors.len(), 11);
    for Vector { why, algorithm, keys, name, value, sig, sigs_by_key } in vectors {
        let is_id = SessionId::parse(&value).is_some();
        let id = value.clone();
        let site = Site::new(&keys, |layer| {
            let layer = layer.name(&*name);
            if is_id { layer.gen_id(move |_| std::future::ready(Ok(id.clone()))) } else { layer }
        });
        let mut visitor = site.visitor();
        let mut sent = visitor.get("/?count=1").await.expect_status(200).set_cookies();
        if value.is_empty() {
            sent = visitor.get("/?remove=1").await.expect_status(200).set_cookies();
        } else if !is_id {
            // koa's cookies sign any text; no id is made of this one.
            let answer = site.send(&format!("{name}={value}; {name}.sig={sig}")).await;
            assert_eq!((answer.text().as_str(), answer.set_cookies().len()), ("{}", 0), "{why}");
            continue;
        }
        let made = sent[1].starts_with(&format!("{name}.sig={sig}; "));
        assert_eq!(made, algorithm == "sha1", "{why}: {sent:?}");
        for (i, signature) in sigs_by_key.iter().enumerate().filter(|_| is_id) {
            let answer = site.send(&format!("{name}={value}; {name}.sig={signature}")).await;
            let taken = answer.text() == r#"{"count":1}"#;
            assert_eq!(taken, algorithm == "sha1", "{why}, key {i}");
            let anew = if taken && i > 0 { 2 } else { 0 };
            assert_eq!(answer.set_cookies().len(), anew, "{why}, key {i}: an old key's cookie is sent anew");
        }
    }
}

#[tokio::test]
async fn cookies_are_sent_and_read_as_koas_own() {
    let browser = |layer: SessionLayer| {
        let layer = layer.cookie(cookie().max_age(MaxAge::BrowserSession));
        layer.gen_id(|_| std::future::ready(Ok("abc".to_owned())))
    };
    let behaviour = keygrip().behaviour;
    assert_eq!(behaviour.len(), 19);
    for (what, Exchange { keys, cookie_header, returned, set_cookie }) in behaviour {
        let site = Site::new(&keys, browser);
        let mut visitor = site.visitor_if_sound();
        match (&*what, &mut visitor) {
            ("get, no keys" | "set, no keys", visitor) => {
                assert!(visitor.is_none(), "{what}");
                let refused = site.layer.check().unwrap_err().to_string();
                assert!(refused.contains("the list of keys is empty"), "{what}: {refused}");
            }
            // koa-generic-session always gives options, and so do we.
            (
                "set, options left out: not signed at all"
                | "set null without options: a reset, no signature",
                _,
            ) => {}
            ("set, signed" | "set, options without signed: signed because there are keys", Some(visitor)) => {
                assert_eq!(visitor.get("/?count=1").await.set_cookies(), set_cookie, "{what}");
            }
            ("set null: a reset, with a signature of the empty value", Some(visitor)) => {
                visitor.get("/?count=1").await;
                assert_eq!(visitor.get("/?remove=1").await.set_cookies(), set_cookie, "{what}");
            }
            (_, _) => {
                let (read, sent) = site.read(&cookie_header.expect(&what)).await;
                // An empty id is none.
                let id = returned.filter(|id| !id.is_empty());
                assert_eq!(read, id, "{what}");
                match &*set_cookie {
                    // A signature that is renewed travels with its cookie; a wrong one is left alone
                    // (`docs/differences.md`).
                    [signature] if read.is_some() => {
                        assert_eq!(sent, ["koa.sid=abc; path=/; httponly", signature], "{what}");
                    }
                    _ => assert_eq!(sent, [""; 0], "{what}"),
                }
            }
        }
    }
}

#[derive(Deserialize)]
struct Capture {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    title: String,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    request: Option<String>,
    #[serde(default)]
    stored: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    raw: String,
    ttl_s: i64,
}

fn capture(title: &str) -> Vec<Step> {
    let capture: Capture = read(include_str!("oracle/interop/redis-capture.json"));
    capture.cases.into_iter().find(|case| case.title == title).expect(title).steps
}

fn keys() -> [String; 2] {
    ["keys".to_owned(), "keykeys".to_owned()]
}

fn cookie() -> CookieOptions {
    CookieOptions::new().secure(false).same_site(None).max_age(DAY)
}

/// Plays what was captured, and compares what is stored after each step: the text to the byte, the life in seconds.
async fn play(title: &str, prefix: &str, settings: impl FnOnce(SessionLayer) -> SessionLayer) {
    let site = Site::new(&keys(), settings);
    let mut visitor = site.visitor();
    let mut id = String::new();
    for (i, step) in capture(title).into_iter().enumerate() {
        let answer = visitor.get(&step.request.expect(title)).await.expect_status(200);
        if let Some(line) = answer.set_cookies().first() {
            id = line["koa.sid=".len()..].split(';').next().unwrap().to_owned();
        }
        let stored = if id.is_empty() { None } else { site.stored(prefix, &id).await };
        let expected = step.stored.first().map(|entry| (entry.raw.clone(), entry.ttl_s));
        let stored = stored.map(|(text, life)| (text, i64::try_from(life).unwrap() / 1000));
        match expected {
            // What koa-redis keeps for ever ends here with the session's life.
            Some((raw, -1)) => assert_eq!(stored, Some((raw, 86_400)), "{title}, step {i}"),
            expected => assert_eq!(stored, expected, "{title}, step {i}"),
        }
    }
}

#[tokio::test]
async fn records_are_koa_rediss_to_the_byte() {
    play("defaults", "koa:sess:", |layer| layer).await;
    play("text outside ASCII", "koa:sess:", |layer| layer).await;
    play("regenerate", "koa:sess:", |layer| layer).await;
    play("a prefix", "app:", |layer| layer.prefix("app:")).await;
    play("rolling: every read is a write", "koa:sess:", |layer| layer.rolling(Rolling::EveryRequest)).await;
    play("ttl option in ms", "koa:sess:", |layer| layer.ttl(Duration::from_millis(90_500))).await;
    let age = |ms| move |layer: SessionLayer| layer.cookie(cookie().max_age(Duration::from_millis(ms)));
    play("maxAge 1500 ms rounds up to 2 s", "koa:sess:", age(1500)).await;
    play("maxAge 1 ms rounds up to 1 s", "koa:sess:", age(1)).await;
    let browser = |layer: SessionLayer| layer.cookie(cookie().max_age(MaxAge::BrowserSession));
    play("maxAge null: no expiry in redis", "koa:sess:", browser).await;
}

#[tokio::test]
async fn what_koa_has_decided_about_a_cookie_goes_back_as_it_came() {
    let site = Site::new(&keys(), |layer| layer);
    let mut visitor = site.visitor();
    visitor.get("/?count=1").await;
    let id = visitor.cookie("koa.sid").unwrap().to_owned();
    let half_a_minute = "2023-11-14T22:13:50.000Z";
    // The second step of the capture: a maxAge beside the date, which koa itself prefers for the cookie.
    let raws: Vec<_> = capture("expires in 30 s, maxAge left alone")
        .iter()
        .map(|step| step.stored[0].raw.replace("<iso date>", half_a_minute))
        .collect();
    site.plant(&id, &raws[0]).await;
    let sent = visitor.get("/?count=1").await.expect_status(200).set_cookies();
    assert_eq!(site.stored("koa:sess:", &id).await, Some((raws[1].clone(), 30_000)));
    assert!(
        sent[0].contains("expires=Tue, 14 Nov 2023 22:13:50 GMT"),
        "the session's end, not its maxAge: {sent:?}"
    );
    // An end that is set here stands alone, so that koa's cookie ends with the session too.
    let mut other = site.visitor();
    other.get("/?count=1&expires=30").await;
    let (text, life) = site.stored("koa:sess:", other.cookie("koa.sid").unwrap()).await.unwrap();
    assert!(text.contains(&format!(r#""maxAge":null,"expires":"{half_a_minute}""#)), "{text}");
    assert_eq!(life, 30_000);
}

#[tokio::test]
async fn what_is_no_session_in_koas_layout_is_left_for_somebody_to_look_at() {
    for text in ["not json", "\"text\"", "0", "[1]"] {
        let site = Site::new(&keys(), |layer| layer);
        let mut visitor = site.visitor();
        visitor.get("/?count=1").await;
        let id = visitor.cookie("koa.sid").unwrap().to_owned();
        site.plant(&id, text).await;
        assert_eq!(visitor.get("/?count=1").await.expect_status(500).text(), "");
        assert_eq!(site.stored("koa:sess:", &id).await.unwrap().0, text);
    }
}

#[tokio::test]
async fn settings_that_koa_takes_for_no_end_are_refused() {
    let zero = Site::new(&keys(), |layer| layer.cookie(cookie().max_age(Duration::ZERO)));
    assert!(zero.layer.check().is_err());
    let zero = Site::new(&keys(), |layer| layer.ttl(Duration::ZERO));
    assert!(zero.layer.check().is_err());
}

#[tokio::test]
async fn a_cookie_of_koas_lasts_as_long_as_the_session_where_nothing_else_is_said() {
    for (ttl, expected) in [(None, 86_400_000), (Some(Duration::from_secs(3600)), 3_600_000)] {
        let site = Site::new(&keys(), |layer| {
            let layer = layer.cookie(CookieOptions::new());
            ttl.into_iter().fold(layer, SessionLayer::ttl)
        });
        let mut visitor = site.visitor();
        let _ = visitor.get("/?count=1").await.expect_status(200);
        let (text, life) = site.stored("koa:sess:", visitor.cookie("koa.sid").unwrap()).await.unwrap();
        assert_eq!(
            (read::<Value>(&text)["cookie"]["maxAge"].as_u64(), life),
            (Some(expected), expected.into())
        );
    }
}

#[tokio::test]
async fn the_node_layouts_have_no_room_for_a_principal() {
    let page = |s: Session| async move { s.set_principal("42").await.unwrap_err().to_string() };
    for layer in
        [SessionLayer::koa(MemoryStore::new(), &["key"]), SessionLayer::express(MemoryStore::new(), &["key"])]
    {
        let answer = Client::new(Router::new().route("/", get(page)).layer(layer)).get("/").await;
        assert!(answer.expect_status(200).text().contains("no room for a principal"));
    }
}

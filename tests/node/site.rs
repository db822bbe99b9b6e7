//! A site of several applications behind one address, and words for talking to it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{Query, State},
    response::Json,
    routing::get,
};
use axum_generic_session::{
    Error, MaxAge, RedisStore, Session, SessionLayer, Timestamp,
    testing::{Answer, Client},
};
use serde_json::{Map, Value, json};
use tokio::sync::Notify;

use crate::{
    proxy,
    servers::{node::Node, redis::Redis},
};

/// Redis, and what is in it.
pub struct Site {
    pub redis: Redis,
    pub store: RedisStore,
}

impl Site {
    pub async fn start() -> Self {
        let redis = tokio::task::spawn_blocking(Redis::start).await.expect("a Redis");
        let store = RedisStore::connect(&redis.url()).await.expect("a store");
        Self { redis, store }
    }

    /// The application `koa` or `express`, with these settings of its script.
    pub async fn app(&self, name: &str, settings: Value) -> Node {
        self.node(&format!("{name}.js"), settings).await
    }

    /// Another one, of this script.
    pub async fn node(&self, script: &str, mut settings: Value) -> Node {
        settings["redis"] = json!(self.redis.port());
        let script = format!("tests/node/{script}");
        let started = tokio::task::spawn_blocking(move || Node::start(&script, settings));
        started.await.expect("an application of Node")
    }

    /// The keys in Redis.
    pub fn keys(&self) -> Vec<String> {
        self.redis.run(&["KEYS", "*"])
    }

    /// The value under the only key that begins so.
    pub fn raw(&self, prefix: &str) -> String {
        self.redis.run(&["GET", &self.key(prefix)])
    }

    /// How long that value lives, in milliseconds; -1 for ever.
    pub fn ttl(&self, prefix: &str) -> i64 {
        self.redis.run(&["PTTL", &self.key(prefix)])
    }

    /// Whether the request that began at `since` has given that value a life of so many seconds.
    pub fn lives(&self, prefix: &str, seconds: i64, since: Instant) -> bool {
        let left = self.ttl(prefix);
        let passed = i64::try_from(since.elapsed().as_millis()).expect("a short test");
        // Each side cuts its clock to milliseconds.
        left <= seconds * 1000 && left + passed + 3 >= seconds * 1000
    }

    /// Lets the value end soon.
    pub fn expire_soon(&self, prefix: &str) {
        let () = self.redis.run(&["EXPIRE", &self.key(prefix), "100"]);
    }

    pub fn key(&self, prefix: &str) -> String {
        let keys: Vec<String> = self.keys().into_iter().filter(|key| key.starts_with(prefix)).collect();
        assert_eq!(keys.len(), 1, "one session under {prefix}: {}", self.keys().len());
        keys[0].clone()
    }

    /// How often sessions have been written since the last call, by whomever.
    pub fn writes(&self) -> u64 {
        let calls = self.redis.calls();
        self.redis.reset_calls();
        ["set", "setex"].iter().filter_map(|name| calls.get(*name)).sum()
    }
}

/// One address: `/koa`, `/express` and `/axum`.
#[derive(Default)]
pub struct Front {
    router: Router,
    gates: Gates,
}

impl Front {
    pub fn app(self, name: &str, app: &Node) -> Self {
        self.with(|router| router.route(&format!("/{name}"), proxy::to(app.port())))
    }

    /// The axum application: its requests say the same things as those to the applications of Node.
    pub fn axum(self, layer: SessionLayer) -> Self {
        let app = Router::new().route("/axum", get(act)).with_state(self.gates.clone()).layer(layer);
        self.with(|router| router.merge(app))
    }

    /// More of axum.
    pub fn routes(self, app: Router) -> Self {
        self.with(|router| router.merge(app))
    }

    fn with(self, change: impl FnOnce(Router) -> Router) -> Self {
        Self { router: change(self.router), gates: self.gates }
    }

    pub fn visitor(&self) -> Client {
        Client::new(self.router.clone())
    }

    /// The visitor of another front, cookies and all, comes to this one: the applications have been started anew.
    pub fn take_over(&self, other: &Client) -> Client {
        let mut visitor = self.visitor();
        for pair in other.cookie_header("/").iter().flat_map(|header| header.split("; ")) {
            let (name, value) = pair.split_once('=').expect("a cookie");
            visitor.set_cookie(name, value);
        }
        visitor
    }

    /// Waits until a request to axum stands at this gate.
    pub async fn reached(&self, gate: &str) {
        self.gates.get(gate).reached.notified().await;
    }

    /// Lets it go on.
    pub fn open(&self, gate: &str) {
        self.gates.get(gate).opened.notify_one();
    }
}

/// Where requests to axum wait.
#[derive(Clone, Default)]
struct Gates(Arc<Mutex<HashMap<String, Arc<Gate>>>>);

#[derive(Default)]
struct Gate {
    reached: Notify,
    opened: Notify,
}

impl Gates {
    fn get(&self, name: &str) -> Arc<Gate> {
        self.0.lock().expect("no panic").entry(name.to_owned()).or_default().clone()
    }
}

async fn act(
    State(gates): State<Gates>,
    Query(query): Query<HashMap<String, String>>,
    session: Session,
) -> Result<Json<Value>, Error> {
    session.get().await?;
    if query.contains_key("regenerate") {
        session.regenerate()?;
    }
    if query.contains_key("renew") {
        session.renew().await?;
    }
    if let Some(name) = query.get("hold") {
        let gate = gates.get(name);
        gate.reached.notify_one();
        gate.opened.notified().await;
    }
    if let Some(age) = query.get("age") {
        let age = match age.parse() {
            Ok(ms) => MaxAge::For(Duration::from_millis(ms)),
            Err(_) => MaxAge::BrowserSession,
        };
        session.update_cookie(|c| c.max_age = age).await?;
    }
    if let Some(end) = query.get("until") {
        let end = Timestamp::from_millis(end.parse().unwrap_or_default());
        session.update_cookie(|c| c.max_age = MaxAge::Until(end)).await?;
    }
    if let Some(text) = query.get("set") {
        let values: Map<String, Value> = serde_json::from_str(text).unwrap_or_default();
        session.update(|s| s.extend(values)).await?;
    }
    if let Some(key) = query.get("remove") {
        session.remove(key).await?;
    }
    let id = session.id().await?.expose().to_owned();
    if query.contains_key("destroy") {
        session.destroy()?;
    }
    Ok(Json(json!({ "id": id, "session": *session.get().await? })))
}

/// `/app?set=<json>`: changes the session.
pub fn set(app: &str, values: &Value) -> String {
    format!("/{app}?set={}", encoded(&values.to_string()))
}

pub fn encoded(text: &str) -> String {
    text.bytes()
        .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

/// The session that an answer shows, without its cookie settings.
pub fn data(answer: &Answer) -> Value {
    let mut session = answer.json()["session"].take();
    if let Some(session) = session.as_object_mut() {
        session.remove("cookie");
    }
    session
}

/// A text with its dates made equal: what is left must be the same to the byte.
pub fn undated(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let iso = from.get(..24).filter(|d| d.ends_with('Z') && &d[4..5] == "-" && &d[10..11] == "T");
        let http = from.get(..24).filter(|d| d.ends_with("GMT"));
        let length = match (iso, http) {
            (Some(_), _) => {
                out.push_str("<iso>");
                24
            }
            (_, Some(_)) => {
                // The day of the week in front of it, too.
                out.truncate(out.len().saturating_sub("Thu, ".len()));
                out.push_str("<date>");
                24
            }
            _ => {
                out.push_str(&from[..1]);
                1
            }
        };
        rest = &from[length..];
    }
    out + rest
}

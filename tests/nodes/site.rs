//! One node of the site, and visitors who go from node to node with one cookie.

use std::{sync::Arc, time::Duration};

use axum::{Extension, Json, Router, body::Body, extract::Path, http::Request, routing::get};
use axum_generic_session::{
    Error, Map, Rolling, Session, SessionLayer,
    testing::{Answer, Client},
};
use serde_json::Value;
use tokio::{sync::Barrier, time::timeout};

/// Longer than anything here may take.
const LIMIT: Duration = Duration::from_secs(60);

/// The cookie's name.
const COOKIE: &str = "axum.sid";

/// A handler that has loaded its session waits here twice: until all have loaded theirs, and until they may go on.
#[derive(Clone)]
pub struct Gate(Arc<Barrier>);

impl Gate {
    /// For so many, the one who holds the gate included.
    pub fn of(count: usize) -> Self {
        Self(Arc::new(Barrier::new(count)))
    }

    pub async fn wait(&self) {
        timeout(LIMIT, self.0.wait()).await.expect("everybody comes to the gate");
    }
}

#[derive(Clone)]
pub struct Node {
    pub layer: SessionLayer,
    late_by: Duration,
    app: Router,
    rolling: Router,
}

impl Node {
    pub fn new(layer: SessionLayer) -> Self {
        let layer = layer.ttl_with(|session| session.value("ttl").ok().flatten().map(Duration::from_millis));
        let rolling = pages().layer(layer.clone().rolling(Rolling::EveryRequest));
        Self { app: pages().layer(layer.clone()), layer, late_by: Duration::ZERO, rolling }
    }

    /// What it shows may be so old.
    pub fn late_by(self, late_by: Duration) -> Self {
        Self { late_by, ..self }
    }

    /// A visitor of this node with this id in the cookie.
    pub fn visitor(&self, id: &str) -> Client {
        visitor(&self.app, id)
    }

    /// The same where every request extends the session's life.
    pub fn rolling_visitor(&self, id: &str) -> Client {
        visitor(&self.rolling, id)
    }

    /// A new session that holds `{"user": "anna"}`; its id.
    pub async fn login(&self) -> String {
        let mut visitor = Client::new(self.app.clone());
        let _ = visitor.get("/set/user/anna").await.expect_status(200);
        visitor.cookie(COOKIE).expect("a cookie").to_owned()
    }

    /// What a visitor with this id is shown: an empty object if the session is not there.
    pub async fn shows(&self, id: &str) -> Value {
        tokio::time::sleep(self.late_by).await;
        self.visitor(id).get("/").await.expect_status(200).json()
    }
}

fn visitor(app: &Router, id: &str) -> Client {
    let mut visitor = Client::new(app.clone());
    visitor.set_cookie(COOKIE, id);
    visitor
}

/// The id that a visitor has after an answer.
pub fn id_of(visitor: &Client) -> &str {
    visitor.cookie(COOKIE).unwrap_or_default()
}

/// A request that waits at the gate once it has loaded its session.
pub async fn through(gate: &Gate, mut visitor: Client, path: &str) -> (Answer, Client) {
    let request = Request::get(path).extension(gate.clone()).body(Body::empty());
    let answer = timeout(LIMIT, visitor.send(request)).await.expect("an answer");
    (answer, visitor)
}

fn pages() -> Router {
    Router::new()
        .route("/", get(read))
        .route("/set/{key}/{value}", get(set))
        .route("/add", get(add))
        .route("/renew", get(renew))
        .route("/regenerate", get(regenerate))
        .route("/logout", get(logout))
}

type MayWait = Option<Extension<Gate>>;

/// Loads the session; then, if there is a gate, waits there.
async fn load(session: &Session, gate: MayWait) -> Result<(), Error> {
    session.get().await?;
    if let Some(Extension(gate)) = gate {
        gate.wait().await;
        gate.wait().await;
    }
    Ok(())
}

async fn read(session: Session, gate: MayWait) -> Result<Json<Map>, Error> {
    load(&session, gate).await?;
    Ok(Json(session.get().await?.as_ref().clone()))
}

async fn set(
    session: Session,
    gate: MayWait,
    Path((key, value)): Path<(String, String)>,
) -> Result<(), Error> {
    load(&session, gate).await?;
    // Numbers are numbers: a life in milliseconds is one.
    match value.parse::<u64>() {
        Ok(number) => session.insert(&key, number).await,
        Err(_) => session.insert(&key, value).await,
    }
}

async fn add(session: Session, gate: MayWait) -> Result<(), Error> {
    load(&session, gate).await?;
    session
        .transact(|map| {
            let count = map.get("count").and_then(Value::as_u64).unwrap_or(0);
            map.insert("count".into(), (count + 1).into());
        })
        .await
}

async fn renew(session: Session, gate: MayWait) -> Result<(), Error> {
    load(&session, gate).await?;
    session.renew().await
}

async fn regenerate(session: Session, gate: MayWait) -> Result<(), Error> {
    load(&session, gate).await?;
    session.regenerate()
}

async fn logout(session: Session, gate: MayWait) -> Result<(), Error> {
    load(&session, gate).await?;
    session.destroy()
}

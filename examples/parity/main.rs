//! The application that koa-generic-session was recorded with, on this crate: the other half of `tests/oracle`.
//!
//!     cargo run --release --features testing --example parity -- default 0
//!
//! It prints its port and serves the pages of `tests/oracle/lib/routes.js` under one of the settings of
//! `tests/oracle/configs.json`, with a control plane (`/__store/...`, `/__clock/...`, `/__gate/...`) for the player.

mod control;
mod gates;
mod hooks;
mod journal;
mod page;
mod pages;
mod query;
mod scene;
mod settings;
mod store;
mod visit;

use std::{
    error::Error as StdError,
    net::Ipv4Addr,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Json, Router,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use serde_json::json;
use tower::ServiceExt;

use crate::{query::Query, scene::Scene, settings::Setting};

/// The application as it is since the last reset.
#[derive(Clone)]
struct Stage {
    scene: Arc<Scene>,
    app: Router,
}

impl Stage {
    fn new(setting: Arc<Setting>) -> Self {
        let scene = Arc::new(Scene::new(setting));
        Self { app: scene.router(), scene }
    }
}

type Shared = Arc<Mutex<Stage>>;

async fn dispatch(State(shared): State<Shared>, request: Request) -> Response {
    let stage = shared.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let path = request.uri().path();
    if path == "/__store/reset" {
        *shared.lock().unwrap_or_else(PoisonError::into_inner) = Stage::new(stage.scene.setting.clone());
        return Json(json!({ "reset": true })).into_response();
    }
    if path.starts_with("/__") {
        let query = Query::parse(request.uri().query().unwrap_or_default());
        return Json(control::answer(&stage.scene, path, &query).await).into_response();
    }
    match stage.app.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

// One thread: requests that the player lets go at one time go on in the order that it has given them.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn StdError>> {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_else(|| "default".to_owned());
    let port = arguments.next().map_or(Ok(0), |port| port.parse())?;
    let setting = Setting::named(&name).ok_or_else(|| format!("there is no setting called {name}"))?;
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let stage: Shared = Arc::new(Mutex::new(Stage::new(Arc::new(setting))));
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    println!("{}", listener.local_addr()?.port());
    axum::serve(listener, Router::new().fallback(dispatch).with_state(stage)).await?;
    Ok(())
}

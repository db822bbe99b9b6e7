//! The pages of the recorded applications, path by path.

mod replacing;
mod saving;
mod using;

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use axum_generic_session::Session;

use crate::{
    query::Query,
    scene::Scene,
    visit::{Failure, Reply, Visit, text},
};

/// Serves every path.
pub(crate) async fn serve(
    State(scene): State<Arc<Scene>>,
    session: Option<Session>,
    request: Request,
) -> Response {
    let path = request.uri().path().to_owned();
    let Some(session) = session else { return "no session".into_response() };
    let query = Query::parse(request.uri().query().unwrap_or_default());
    let visit = Visit { session, query, scene };
    match answer(&path, &visit).await {
        Ok(reply) => reply.into_response(),
        Err(Failure::Session(error)) => error.into_response(),
        Err(Failure::Own(StatusCode::INTERNAL_SERVER_ERROR, _)) if !visit.scene.setting.own_error_page => {
            (StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error").into_response()
        }
        Err(Failure::Own(status, message)) => (status, message).into_response(),
    }
}

async fn answer(path: &str, visit: &Visit) -> Result<Reply, Failure> {
    if let Some(reply) = using::page(path, visit).await? {
        return Ok(reply);
    }
    if let Some(reply) = replacing::page(path, visit).await? {
        return Ok(reply);
    }
    if let Some(reply) = saving::page(path, visit).await? {
        return Ok(reply);
    }
    visit.session.get().await?;
    Ok(text("has session"))
}

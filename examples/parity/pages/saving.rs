//! Saving at once, saving or not saving at the end, and answers out of the ordinary.

use axum::{
    body::Body,
    http::{StatusCode, header::LOCATION},
    response::IntoResponse,
};
use futures_util::stream;
use serde_json::json;

use crate::visit::{Answer, Failure, Reply, Visit, bump, oops, text};

pub(crate) async fn page(path: &str, v: &Visit) -> Answer {
    let session = &v.session;
    Ok(Some(match path {
        "/session/save" => {
            let count = v.bump().await?;
            let before = v.id().await?;
            session.save().await?;
            v.pause().await;
            Reply::Json(json!({ "count": count, "sameId": before == v.id().await? }))
        }
        "/session/save-unchanged" => {
            session.save().await?;
            text(v.printed("count").await?)
        }
        "/session/save-without-load" => {
            session.save().await?;
            text("saved")
        }
        "/session/save-then-change" => {
            v.bump().await?;
            session.save().await?;
            text(v.bump().await?)
        }
        "/session/save-twice" => {
            v.bump().await?;
            session.save().await?;
            session.save().await?;
            text("saved")
        }
        "/session/save-null" => {
            session.get().await?;
            session.destroy()?;
            session.save().await?;
            text("saved")
        }
        "/session/save-throw" => {
            v.bump().await?;
            session.save().await?;
            return Err(oops());
        }
        "/session/save-prevented" => {
            session.prevent_save();
            v.bump().await?;
            session.save().await?;
            text("saved")
        }
        "/session/save-forced" => {
            session.force_save();
            session.get().await?;
            session.save().await?;
            text("saved")
        }
        "/session/save-hold" => {
            v.bump().await?;
            v.pause().await;
            session.save().await?;
            text(v.id().await?)
        }
        // A handler cannot move its request to another path.
        "/session/save-caught" | "/session/save-wrong-path" => {
            v.bump().await?;
            v.caught(session.save().await)
        }
        _ => return steering(path, v).await,
    }))
}

async fn steering(path: &str, v: &Visit) -> Answer {
    let session = &v.session;
    Ok(Some(match path {
        "/session/force-save" => {
            session.force_save();
            text(format!("{}, true", v.printed("count").await?))
        }
        "/session/force-save-untouched" => {
            session.force_save();
            text("forced")
        }
        "/session/prevent-save" => {
            session.prevent_save();
            text(format!("{}, false", v.bump().await?))
        }
        "/session/prevent-remove" => {
            session.prevent_save();
            session.destroy()?;
            text("0, false")
        }
        "/session/force-remove" => {
            session.force_save();
            session.destroy()?;
            text("0, true")
        }
        "/session/prevent-then-reset" => {
            session.prevent_save();
            let count = v.bump().await?;
            session.auto_save();
            text(count)
        }
        // Zero is neither yes nor no.
        "/session/prevent-zero" => {
            session.auto_save();
            text(v.bump().await?)
        }
        _ => return unusual(path, v).await,
    }))
}

async fn unusual(path: &str, v: &Visit) -> Answer {
    let session = &v.session;
    Ok(Some(match path {
        "/session/error" => {
            v.bump().await?;
            return Err(oops());
        }
        "/session/error-untouched" => return Err(oops()),
        "/session/error-status" => {
            v.bump().await?;
            return Err(Failure::Own(StatusCode::FORBIDDEN, "not allowed".to_owned()));
        }
        "/session/status" => {
            let count = v.bump().await?;
            let code = v.query.number("code").and_then(|code| StatusCode::from_u16(code).ok());
            let code = code.ok_or_else(|| Failure::unfit("that is no status"))?;
            Reply::Other((code, count.to_string()).into_response())
        }
        "/session/redirect" => {
            v.bump().await?;
            let to = "/session/get";
            let page = (StatusCode::FOUND, [(LOCATION, to)], format!("Redirecting to {to}."));
            Reply::Other(page.into_response())
        }
        // The head of the answer is gone when the body is made: what is changed there is saved there.
        "/session/flush" => {
            session.get().await?;
            let session = session.clone();
            streamed(async move {
                let count = session.update(bump).await?;
                session.save().await?;
                Ok(count.to_string())
            })
        }
        "/session/flush-remove" => {
            session.get().await?;
            let session = session.clone();
            streamed(async move {
                session.destroy()?;
                session.save().await?;
                Ok("0".to_owned())
            })
        }
        _ => return Ok(None),
    }))
}

/// An answer whose body comes after its head; what goes wrong then can only be said in the body.
fn streamed(
    body: impl Future<Output = Result<String, axum_generic_session::Error>> + Send + 'static,
) -> Reply {
    let body = async move { body.await.or_else(|error| Ok::<_, std::io::Error>(error.to_string())) };
    Reply::Other(Body::from_stream(stream::once(body)).into_response())
}

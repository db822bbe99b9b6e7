//! Replacing, removing and regenerating a session.

use axum_generic_session::Map;
use serde_json::{Value, json};

use crate::visit::{Answer, Failure, Reply, Visit, oops, text};

pub(crate) async fn page(path: &str, v: &Visit) -> Answer {
    let session = &v.session;
    Ok(Some(match path {
        "/session/remove" => {
            v.before().await;
            session.destroy()?;
            v.pause().await;
            text("0")
        }
        "/session/remove-after-get" => {
            v.bump().await?;
            session.destroy()?;
            text("0")
        }
        "/session/remove-twice" => {
            session.destroy()?;
            session.destroy()?;
            text("0")
        }
        "/session/remove-then-read" => {
            session.destroy()?;
            Reply::Json(json!({ "session": v.shown().await? }))
        }
        "/session/remove-then-set" => {
            session.destroy()?;
            session.set(foo()).await?;
            Reply::Json(json!({ "session": v.data().await? }))
        }
        "/session/rewrite" => {
            session.set(foo()).await?;
            as_saved(v).await?
        }
        "/session/rewrite-after-get" => {
            session.get().await?;
            session.set(foo()).await?;
            as_saved(v).await?
        }
        "/session/rewrite-with-cookie" => {
            session.set(foo()).await?;
            Reply::Json(v.shown().await?)
        }
        "/session/assign" => {
            assign(v).await?;
            text("assigned")
        }
        "/session/assign-undefined" => {
            session.destroy()?;
            text("assigned")
        }
        // The settings live beside the data: going back to the layer's is all that can be done to them.
        "/session/drop-cookie-field" => {
            let defaults = v.scene.layer_cookie();
            session.update_cookie(|cookie| *cookie = defaults).await?;
            text("dropped")
        }
        "/session/error-remove" => {
            session.destroy()?;
            return Err(oops());
        }
        _ => return regenerating(path, v).await,
    }))
}

fn foo() -> Map {
    Map::from_iter([("foo".to_owned(), json!("bar"))])
}

/// The data with what `before_save` adds to them: koa writes the body when the session has been saved, here the handler
/// says so.
async fn as_saved(v: &Visit) -> Result<Reply, Failure> {
    v.session.save().await?;
    Ok(Reply::Json(Value::Object(v.data().await?)))
}

/// `ctx.session = v`: an object replaces the session, nothing ends it, and there is no session of anything else.
async fn assign(v: &Visit) -> Result<(), Failure> {
    let value = serde_json::from_str(&v.query.get("v").unwrap_or_default());
    match value.map_err(|_| Failure::unfit("that is no JSON"))? {
        Value::Object(mut data) => {
            data.remove("cookie");
            v.session.set(data).await?;
        }
        Value::Null | Value::Bool(false) => v.session.destroy()?,
        Value::Number(number) if number.as_f64() == Some(0.0) => v.session.destroy()?,
        Value::String(text) if text.is_empty() => v.session.destroy()?,
        _ => return Err(Failure::unfit("a session is an object")),
    }
    Ok(())
}

async fn regenerating(path: &str, v: &Visit) -> Answer {
    let session = &v.session;
    let put_data = || session.insert("data", "foo");
    Ok(Some(match path {
        "/session/regenerate" => {
            session.regenerate()?;
            put_data().await?;
            v.pause().await;
            text(v.id().await?)
        }
        "/session/regenerate-with-data" => {
            session.insert("foo", "bar").await?;
            session.regenerate()?;
            put_data().await?;
            let mut answer = json!({ "hasSession": true, "sid": v.id().await? });
            if let Some(left) = session.value::<Value>("foo").await? {
                answer["foo"] = left;
            }
            Reply::Json(answer)
        }
        "/session/regenerate-empty" => {
            session.regenerate()?;
            text(v.id().await?)
        }
        "/session/regenerate-keep" => {
            let data = v.data().await?;
            session.regenerate()?;
            session.update(|new| new.extend(data)).await?;
            text(v.id().await?)
        }
        "/session/regenerate-twice" => {
            session.regenerate()?;
            let first = v.id().await?;
            session.regenerate()?;
            put_data().await?;
            Reply::Json(json!({ "first": first, "second": v.id().await? }))
        }
        "/session/regenerate-remove" => {
            session.regenerate()?;
            session.destroy()?;
            text(v.id().await?)
        }
        "/session/regenerate-save" => {
            session.regenerate()?;
            put_data().await?;
            let before = v.id().await?;
            session.save().await?;
            Reply::Json(json!({ "before": before, "after": v.id().await? }))
        }
        "/session/regenerate-prevent-save" => {
            session.prevent_save();
            session.regenerate()?;
            put_data().await?;
            text(v.id().await?)
        }
        "/session/regenerate-throw" => {
            session.regenerate()?;
            put_data().await?;
            return Err(oops());
        }
        "/session/regenerate-result" => {
            session.regenerate()?;
            Reply::Json(json!({ "type": "undefined" }))
        }
        _ => return Ok(None),
    }))
}

//! Reading and changing; cookie settings; the store beside the session.

use std::time::Duration;

use axum_generic_session::{Clock, MaxAge, SessionId};
use serde_json::{Value, json};

use crate::visit::{Answer, Failure, Reply, Visit, text};

pub(crate) async fn page(path: &str, v: &Visit) -> Answer {
    let session = &v.session;
    Ok(Some(match path {
        "/session/get" => {
            v.before().await;
            let count = v.bump().await?;
            v.pause().await;
            text(count)
        }
        "/session/nothing" => {
            let count = v.printed("count").await?;
            v.pause().await;
            text(count)
        }
        "/session/notuse" => {
            v.pause().await;
            text("not touched")
        }
        "/session/empty" => {
            session.get().await?;
            text("read")
        }
        "/session/show" => Reply::Json(json!({ "session": v.shown().await? })),
        "/session/id" | "/session/id-only" => text(v.id().await?),
        "/session/isnew" => Reply::Json(json!({ "isNew": session.is_new().await? })),
        "/session/same" => {
            if let Some(count) = session.value::<Value>("count").await? {
                session.insert("count", count).await?;
            }
            text(v.printed("count").await?)
        }
        "/session/set" => {
            if let Some(num) = v.query.get("num") {
                session.insert("num", number(&num)).await?;
            }
            if let Some(data) = v.query.get("data") {
                session.insert("data", data).await?;
            }
            v.pause().await;
            text(v.printed("data").await?)
        }
        "/session/unset" => {
            session.remove(&v.query.get("k").unwrap_or_default()).await?;
            text("unset")
        }
        "/session/reorder" => {
            let data = v.data().await?;
            let keys: Vec<_> = data.keys().rev().cloned().collect();
            session.clear().await?;
            for key in &keys {
                session.insert(key, &data[key]).await?;
            }
            text(["cookie".to_owned()].into_iter().chain(keys).collect::<Vec<_>>().join(","))
        }
        "/session/nested" => {
            let visits = session.update(|data| {
                let user = data.entry("user").or_insert_with(|| json!({ "visits": [] }));
                let visits = user["visits"].as_array_mut()?;
                visits.push(json!(visits.len()));
                Some(visits.len())
            });
            text(visits.await?.unwrap_or_default())
        }
        "/session/undo" => {
            v.bump().await?;
            let count = session.update(|data| {
                let count = data.get("count").and_then(Value::as_u64).unwrap_or(1) - 1;
                match count {
                    0 => data.remove("count"),
                    count => data.insert("count".to_owned(), json!(count)),
                };
            });
            count.await?;
            text(v.printed("count").await?)
        }
        "/session/touch-no-await" => text("touched"),
        "/session/has" => text("has session"),
        "/session/double-read" => {
            let (first, second) = tokio::join!(session.get(), session.get());
            Reply::Json(json!({ "first": "object", "second": "object", "same": first? == second? }))
        }
        "/session/changepath" => {
            session.get().await?;
            Reply::Json(json!({ "type": "object" }))
        }
        "/session/force-sid" => text(v.bump().await?),
        _ => return cookie_page(path, v).await,
    }))
}

/// As JSON writes what JavaScript reads from text.
fn number(text: &str) -> Value {
    let number = text.parse::<f64>().unwrap_or(f64::NAN);
    if number.fract() == 0.0 { json!(number as i64) } else { json!(number) }
}

async fn cookie_page(path: &str, v: &Visit) -> Answer {
    let session = &v.session;
    let ms = v.query.get("ms").unwrap_or_default();
    Ok(Some(match path {
        "/session/httponly" => {
            session.update_cookie(|cookie| cookie.http_only = !cookie.http_only).await?;
            text(format!("httpOnly: {}", session.cookie().await?.http_only))
        }
        "/session/maxage" => {
            let max_age = if ms == "null" { MaxAge::BrowserSession } else { MaxAge::For(duration(&ms)?) };
            session.update_cookie(|cookie| cookie.max_age = max_age).await?;
            text(format!("maxAge: {ms}"))
        }
        "/session/maxage-lower" => {
            let max_age = MaxAge::For(duration(&ms)?);
            session.update_cookie(|cookie| cookie.max_age = max_age).await?;
            text("maxage")
        }
        "/session/expires" => {
            let seconds = v.query.number::<f64>("s").unwrap_or_default();
            let now = v.scene.clock.now();
            let end = match Duration::try_from_secs_f64(seconds) {
                Ok(ahead) => now.saturating_add(ahead),
                Err(_) => now,
            };
            session.update_cookie(|cookie| cookie.max_age = MaxAge::Until(end)).await?;
            text("expires")
        }
        "/session/cookie-path" => {
            let path = v.query.get("p").unwrap_or_default();
            session.update_cookie(|cookie| cookie.path = path.into()).await?;
            text("path")
        }
        // Whether cookies are signed is the layer's business, not one visitor's.
        "/session/cookie-signed" => {
            session.get().await?;
            text("signed")
        }
        "/session/ttl" => {
            match v.query.get("ms").as_deref() {
                None => session.remove("ttl").await?,
                Some("string") => session.insert("ttl", "1000").await?,
                Some(ms) => session.insert("ttl", number(ms)).await?,
            }
            text("ttl")
        }
        _ => return store_page(path, v).await,
    }))
}

/// A length of time in milliseconds; a negative one is over already.
fn duration(ms: &str) -> Result<Duration, Failure> {
    let number = ms.parse::<f64>().ok().filter(|ms| !ms.is_nan());
    let ms = number.ok_or_else(|| Failure::unfit("a length of time is a number"))?;
    Duration::try_from_secs_f64(ms.max(0.0) / 1000.0).map_err(|_| Failure::unfit("that is too long"))
}

/// The application's own handle on its store.
async fn store_page(path: &str, v: &Visit) -> Answer {
    if path == "/session/store-prefix" {
        v.session.get().await?;
        return Ok(Some(text(v.scene.setting.layers[0].prefix)));
    }
    let Some(action) = path.strip_prefix("/session/store-") else { return Ok(None) };
    let id = SessionId::parse(&v.query.get("sid").unwrap_or_default());
    let id = id.ok_or_else(|| Failure::unfit("that is no session id"))?;
    let scene = &v.scene;
    Ok(Some(match action {
        "get" => Reply::Json(json!({ "value": scene.stored(&id).await? })),
        "set" => {
            let session = v.query.get("v").unwrap_or_else(|| r#"{"cookie":{},"count":7}"#.to_owned());
            scene.keep(&id, session).await?;
            text("set")
        }
        "destroy" => {
            scene.end(&id).await?;
            text("destroyed")
        }
        _ => return Ok(None),
    }))
}

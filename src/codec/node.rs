//! The layouts of koa-generic-session and express-session: the session's own keys, and beside them a member `cookie`
//! with the visitor's cookie settings. What only Node knows of in there goes back as it came.

#[cfg(test)]
mod tests;

use std::time::Duration;

use axum::body::Bytes;
use cookie::SameSite;
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{Codec, Content, Head, millis, priority_of, priority_word, same_site_of};
use crate::{
    clock::Timestamp,
    cookie::{CookieLife, CookieOptions, MaxAge},
    lifetime::{DEFAULT_TTL, Life},
    object::Object,
    store::BoxError,
};

/// The member in which the Node libraries keep a session's cookie settings.
const COOKIE_MEMBER: &str = "cookie";

pub(super) fn decode(codec: Codec, data: Bytes, layer: &CookieOptions) -> Result<Content, BoxError> {
    let mut object = Object::parse(data).ok_or("the stored text is no JSON object")?;
    let stored = object.get(COOKIE_MEMBER).and_then(|text| Object::parse(Bytes::copy_from_slice(text)));
    object.remove(COOKIE_MEMBER);
    let own = stored.as_ref().map(|stored| options_of(codec, stored, layer)).filter(|own| own != layer);
    let head = Head { cookie: own.map(Box::new), stored_cookie: stored.map(Box::new), ..Head::default() };
    Ok(Content { head, object })
}

/// What the member `cookie` says. What it does not say, or says in a way that makes no sense, is as in the layer.
fn options_of(codec: Codec, stored: &Object, layer: &CookieOptions) -> CookieOptions {
    let value = |name: &str| stored.get(name).and_then(|text| serde_json::from_slice::<Value>(text).ok());
    let text = |name: &str| value(name).and_then(|v| v.as_str().map(str::to_owned));
    let mut own = layer.clone();
    if let Some(path) = text("path") {
        own.path = path.into();
    }
    if let Some(domain) = text("domain") {
        own.domain = Some(domain.into());
    }
    let flag = |name: &str, old: bool| value(name).and_then(|v| v.as_bool()).unwrap_or(old);
    own.http_only = flag("httpOnly", own.http_only);
    own.secure = flag("secure", own.secure);
    own.overwrite = flag("overwrite", own.overwrite);
    own.partitioned = flag("partitioned", own.partitioned);
    match value("sameSite") {
        Some(Value::String(word)) => own.same_site = same_site_of(&word),
        Some(Value::Bool(true)) => own.same_site = Some(SameSite::Strict),
        Some(Value::Bool(false) | Value::Null) => own.same_site = None,
        _ => {}
    }
    if let Some(word) = text("priority") {
        own.priority = priority_of(&word);
    }
    let age = value(if codec == Codec::Express { "originalMaxAge" } else { "maxAge" });
    match age {
        // `cookie.expires = false` is how express used to say "until the browser is closed".
        Some(Value::Null | Value::Bool(false)) => own.max_age = MaxAge::BrowserSession,
        Some(Value::Number(ms)) => own.max_age = MaxAge::For(millis_of(&ms)),
        _ => {}
    }
    // Of express only the age counts: its `expires` is when the last save thought it would end.
    if codec != Codec::Express
        && let Some(end) = text("expires").as_deref().and_then(moment_of)
    {
        own.max_age = MaxAge::Until(end);
    }
    own
}

pub(super) fn write(
    codec: Codec,
    head: &Head,
    object: &Object,
    layer: &CookieOptions,
    life: Life,
    out: &mut Vec<u8>,
) -> Result<(), BoxError> {
    if object.get(COOKIE_MEMBER).is_some() {
        return Err("the key `cookie` holds the cookie's settings in the layouts of koa and express: \
                    use `update_cookie`, or another key"
            .into());
    }
    let options = head.cookie.as_deref().unwrap_or(layer);
    let known = head.stored_cookie.as_deref().map(|stored| (stored, options_of(codec, stored, layer)));
    let mut cookie = match known {
        // Settings that nobody changed go back as they came.
        Some((stored, before)) if before == *options => stored.clone(),
        Some((stored, _)) => cookie_of(codec, options, stored.clone()),
        None => cookie_of(codec, options, cookie_of(codec, layer, Object::default())),
    };
    if codec == Codec::Express {
        let end = match life.cookie {
            CookieLife::Until(end) => json!(iso_date(end)),
            CookieLife::BrowserSession | CookieLife::Removal => Value::Null,
        };
        put(&mut cookie, "expires", &end);
    }
    out.extend_from_slice(b"{\"cookie\":");
    cookie.write(out);
    if !object.is_empty() {
        out.push(b',');
        object.write_entries(out);
    }
    out.push(b'}');
    Ok(())
}

/// The member `cookie` for these settings, its parts in the order in which the library itself writes them.
fn cookie_of(codec: Codec, options: &CookieOptions, mut cookie: Object) -> Object {
    let age = match options.max_age {
        MaxAge::For(age) => json!(millis(age)),
        MaxAge::BrowserSession | MaxAge::Ttl | MaxAge::Until(_) => Value::Null,
    };
    let http_only = ("httpOnly", Some(json!(options.http_only)));
    let path = ("path", Some(json!(options.path)));
    let domain = ("domain", options.domain.as_ref().map(|d| json!(d)));
    let secure = ("secure", options.secure.then_some(json!(true)));
    let same_site = ("sameSite", options.same_site.map(|s| json!(s.to_string().to_ascii_lowercase())));
    let partitioned = ("partitioned", options.partitioned.then_some(json!(true)));
    let priority = ("priority", options.priority.map(|p| json!(priority_word(p))));
    let parts = match codec {
        Codec::Native => Vec::new(),
        Codec::Koa { signed } => {
            let kept = |name: &str| cookie.get(name).and_then(|text| serde_json::from_slice(text).ok());
            let overwrite = ("overwrite", Some(json!(options.overwrite)));
            let signed = ("signed", Some(kept("signed").unwrap_or(json!(signed))));
            // koa's cookies know `expires` only where there is no `maxAge`.
            let expires = match options.max_age {
                MaxAge::Until(end) => Some(json!(iso_date(end))),
                _ => None,
            };
            let ends = [("maxAge", Some(age)), ("expires", expires)];
            let mut parts = vec![http_only, path, overwrite, signed];
            parts.extend(ends.into_iter().chain([domain, secure, same_site, partitioned, priority]));
            // What the application has decided comes before koa's own defaults.
            parts.sort_by_key(|(name, value)| value.as_ref().is_none_or(|value| is_koa_default(name, value)));
            parts
        }
        Codec::Express => {
            let (age, expires) = (("originalMaxAge", Some(age)), ("expires", Some(Value::Null)));
            vec![age, partitioned, priority, expires, secure, http_only, domain, path, same_site]
        }
    };
    for (name, value) in parts {
        match value {
            Some(value) => put(&mut cookie, name, &value),
            None => cookie.remove(name),
        }
    }
    cookie
}

fn is_koa_default(name: &str, value: &Value) -> bool {
    match name {
        "httpOnly" | "overwrite" | "signed" => *value == json!(true),
        "path" => *value == json!("/"),
        "maxAge" => *value == json!(millis(DEFAULT_TTL)),
        _ => false,
    }
}

fn put(object: &mut Object, key: &str, value: &Value) {
    object.put(key, value.to_string().as_bytes());
}

fn millis_of(number: &serde_json::Number) -> Duration {
    let ms = number.as_f64().unwrap_or(0.0).max(0.0);
    Duration::try_from_secs_f64(ms / 1000.0).unwrap_or(Duration::MAX)
}

fn iso_date(moment: Timestamp) -> String {
    let nanos = i128::from(moment.as_millis()) * 1_000_000;
    let date = OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (hour, minute, second, milli) = date.time().as_hms_milli();
    format!("{}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z", date.date())
}

fn moment_of(iso: &str) -> Option<Timestamp> {
    let date = OffsetDateTime::parse(iso, &Rfc3339).ok()?;
    let millis = u64::try_from(date.unix_timestamp_nanos() / 1_000_000).unwrap_or(0);
    Some(Timestamp::from_millis(millis))
}

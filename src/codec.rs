//! Record data as text: this crate's envelope, and the layouts of the Node libraries.

use std::{borrow::Cow, time::Duration};

use axum::body::Bytes;
use cookie::SameSite;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    clock::Timestamp,
    cookie::{CookieLife, CookieOptions, MaxAge, Priority},
    lifetime::{DEFAULT_TTL, Life},
    object::Object,
    store::{BoxError, Layout, Tag},
};

/// The version that the envelope carries and that this code reads.
const VERSION: u32 = 1;
/// The member in which the Node libraries keep a session's cookie settings.
const COOKIE_MEMBER: &str = "cookie";

/// Whose text the data are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Codec {
    /// Two lines of JSON: `{"v":1,"created":<ms>}`, with the visitor's cookie settings if there are any, and the
    /// session's object. The second line is never copied or parsed as a whole.
    Native,
    /// koa-generic-session: one object, the cookie settings in its member `cookie`, which also says whether the
    /// cookie is signed.
    Koa { signed: bool },
    /// express-session: the same with other names, and the expiry inside.
    Express,
}

/// A decoded record.
#[derive(Clone, Debug, Default)]
pub(crate) struct Content {
    /// When the session began. The Node layouts do not know.
    pub(crate) created: Option<Timestamp>,
    /// The visitor's cookie settings, where they differ from the layer's.
    pub(crate) cookie: Option<Box<CookieOptions>>,
    /// The member `cookie` as it was stored, so that what only Node knows of survives.
    pub(crate) stored_cookie: Option<Object>,
    pub(crate) object: Object,
}

impl Codec {
    pub(crate) fn layout(self) -> Layout {
        match self {
            Self::Native => Layout::Native,
            Self::Koa { .. } | Self::Express => Layout::Plain,
        }
    }

    /// The tag of a new version of a record.
    pub(crate) fn tag(self, data: &[u8]) -> Tag {
        match self.layout() {
            Layout::Native => Tag::random(),
            Layout::Plain => Tag::of(data),
        }
    }

    /// What this layout has no words for; `Err` is the sentence that says what it has instead.
    pub(crate) fn check(self, own: &CookieOptions) -> Result<(), String> {
        match (self, own.max_age) {
            (Self::Express, MaxAge::Until(_)) => {
                Err("express keeps how long a session lasts from its last use, and no \
                                                      fixed end: use `MaxAge::For`"
                    .into())
            }
            _ => Ok(()),
        }
    }

    /// Reads a record's data. The error says what is wrong with them and nothing of what they say.
    pub(crate) fn decode(self, data: &Bytes, layer: &CookieOptions) -> Result<Content, BoxError> {
        match self {
            Self::Native => decode_native(data, layer),
            Self::Koa { .. } | Self::Express => decode_node(self, data, layer),
        }
    }

    /// Writes a record's data.
    pub(crate) fn encode(
        self,
        content: &Content,
        layer: &CookieOptions,
        life: Life,
    ) -> Result<Bytes, BoxError> {
        match self {
            Self::Native => encode_native(content, layer),
            Self::Koa { .. } | Self::Express => encode_node(self, content, layer, life),
        }
    }
}

#[derive(Deserialize)]
struct Header {
    v: u32,
    created: u64,
    #[serde(default)]
    cookie: Option<Overrides>,
}

/// The visitor's cookie settings, as far as they differ from the layer's. Empty text is "none".
#[derive(Serialize, Deserialize, Default, PartialEq)]
struct Overrides {
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    domain: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    http_only: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secure: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    same_site: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_age: Option<Age>,
    #[serde(skip_serializing_if = "Option::is_none")]
    partitioned: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    overwrite: Option<bool>,
}

/// [`MaxAge`] in milliseconds.
#[derive(Serialize, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Age {
    Ttl,
    BrowserSession,
    For(u64),
    Until(u64),
}

fn decode_native(data: &Bytes, layer: &CookieOptions) -> Result<Content, BoxError> {
    let end = data.iter().position(|b| *b == b'\n').ok_or("the envelope has no header line")?;
    let header: Header =
        serde_json::from_slice(&data[..end]).map_err(|_| "the envelope's header is no header")?;
    if header.v != VERSION {
        return Err(
            format!("the envelope has version {}, this code reads version {VERSION}", header.v).into()
        );
    }
    let object =
        Object::parse(data.slice(end + 1..)).map_err(|_| "the envelope's data are no JSON object")?;
    Ok(Content {
        created: Some(Timestamp::from_millis(header.created)),
        cookie: header.cookie.map(|overrides| Box::new(overrides.onto(layer))),
        stored_cookie: None,
        object,
    })
}

fn encode_native(content: &Content, layer: &CookieOptions) -> Result<Bytes, BoxError> {
    let mut out = Vec::with_capacity(64 + content.object.size_hint());
    out.extend_from_slice(b"{\"v\":1,\"created\":");
    let created = content.created.unwrap_or(Timestamp::EPOCH).as_millis();
    serde_json::to_writer(&mut out, &created)?;
    if let Some(cookie) = &content.cookie {
        let overrides = Overrides::between(layer, cookie);
        if overrides != Overrides::default() {
            out.extend_from_slice(b",\"cookie\":");
            serde_json::to_writer(&mut out, &overrides)?;
        }
    }
    out.extend_from_slice(b"}\n");
    content.object.write(&mut out);
    Ok(out.into())
}

impl Overrides {
    fn between(layer: &CookieOptions, own: &CookieOptions) -> Self {
        fn differ<T: PartialEq, U>(layer: &T, own: &T, give: impl Fn(&T) -> U) -> Option<U> {
            (layer != own).then(|| give(own))
        }
        let text = |t: &Option<Cow<'static, str>>| t.as_deref().unwrap_or_default().to_owned();
        Self {
            path: differ(&layer.path, &own.path, ToString::to_string),
            domain: differ(&layer.domain, &own.domain, text),
            http_only: differ(&layer.http_only, &own.http_only, |v| *v),
            secure: differ(&layer.secure, &own.secure, |v| *v),
            same_site: differ(&layer.same_site, &own.same_site, |v| {
                v.map_or_else(String::new, |s| s.to_string())
            }),
            max_age: differ(&layer.max_age, &own.max_age, |v| match v {
                MaxAge::Ttl => Age::Ttl,
                MaxAge::BrowserSession => Age::BrowserSession,
                MaxAge::For(age) => Age::For(millis(*age)),
                MaxAge::Until(end) => Age::Until(end.as_millis()),
            }),
            partitioned: differ(&layer.partitioned, &own.partitioned, |v| *v),
            priority: differ(&layer.priority, &own.priority, |v| v.map_or("", priority_word).to_owned()),
            overwrite: differ(&layer.overwrite, &own.overwrite, |v| *v),
        }
    }

    fn onto(self, layer: &CookieOptions) -> CookieOptions {
        let mut own = layer.clone();
        if let Some(path) = self.path {
            own.path = path.into();
        }
        if let Some(domain) = self.domain {
            own.domain = Some(domain.into()).filter(|d: &Cow<'_, str>| !d.is_empty());
        }
        own.http_only = self.http_only.unwrap_or(own.http_only);
        own.secure = self.secure.unwrap_or(own.secure);
        if let Some(same_site) = self.same_site {
            own.same_site = same_site_of(&same_site);
        }
        if let Some(age) = self.max_age {
            own.max_age = match age {
                Age::Ttl => MaxAge::Ttl,
                Age::BrowserSession => MaxAge::BrowserSession,
                Age::For(age) => MaxAge::For(Duration::from_millis(age)),
                Age::Until(end) => MaxAge::Until(Timestamp::from_millis(end)),
            };
        }
        own.partitioned = self.partitioned.unwrap_or(own.partitioned);
        if let Some(priority) = self.priority {
            own.priority = priority_of(&priority);
        }
        own.overwrite = self.overwrite.unwrap_or(own.overwrite);
        own
    }
}

fn decode_node(codec: Codec, data: &Bytes, layer: &CookieOptions) -> Result<Content, BoxError> {
    let mut object = Object::parse(data.clone()).map_err(|_| "the stored text is no JSON object")?;
    let stored = object.get(COOKIE_MEMBER).and_then(|text| Object::parse(Bytes::copy_from_slice(text)).ok());
    object.remove(COOKIE_MEMBER);
    let own = stored.as_ref().map(|stored| node_options(codec, stored, layer)).filter(|own| own != layer);
    Ok(Content { created: None, cookie: own.map(Box::new), stored_cookie: stored, object })
}

/// What the member `cookie` says. What it does not say, or says in a way that makes no sense, is as in the layer.
fn node_options(codec: Codec, stored: &Object, layer: &CookieOptions) -> CookieOptions {
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

fn encode_node(
    codec: Codec,
    content: &Content,
    layer: &CookieOptions,
    life: Life,
) -> Result<Bytes, BoxError> {
    if content.object.get(COOKIE_MEMBER).is_some() {
        return Err("the key `cookie` holds the cookie's settings in the layouts of koa and express: \
                    use `update_cookie`, or another key"
            .into());
    }
    let options = content.cookie.as_deref().unwrap_or(layer);
    let known = content.stored_cookie.as_ref().map(|stored| (stored, node_options(codec, stored, layer)));
    let mut cookie = match known {
        // Settings that nobody changed go back as they came.
        Some((stored, before)) if before == *options => stored.clone(),
        Some((stored, _)) => node_cookie(codec, options, stored.clone()),
        None => node_cookie(codec, options, node_cookie(codec, layer, Object::default())),
    };
    if codec == Codec::Express {
        let end = match life.cookie {
            CookieLife::Until(end) => json!(iso_date(end)),
            CookieLife::BrowserSession | CookieLife::Removal => Value::Null,
        };
        put(&mut cookie, "expires", &end);
    }
    let mut out = Vec::with_capacity(128 + content.object.size_hint());
    out.extend_from_slice(b"{\"cookie\":");
    cookie.write(&mut out);
    if !content.object.is_empty() {
        out.push(b',');
        content.object.write_entries(&mut out);
    }
    out.push(b'}');
    Ok(out.into())
}

/// The member `cookie` for these settings, its parts in the order in which the library itself writes them.
fn node_cookie(codec: Codec, options: &CookieOptions, mut cookie: Object) -> Object {
    let always = |value: Value| Some(value);
    let age = match options.max_age {
        MaxAge::For(age) => json!(millis(age)),
        MaxAge::BrowserSession | MaxAge::Ttl | MaxAge::Until(_) => Value::Null,
    };
    let domain = ("domain", options.domain.as_ref().map(|d| json!(d)));
    let secure = ("secure", options.secure.then_some(json!(true)));
    let same_site = ("sameSite", options.same_site.map(|s| json!(s.to_string().to_ascii_lowercase())));
    let partitioned = ("partitioned", options.partitioned.then_some(json!(true)));
    let priority = ("priority", options.priority.map(|p| json!(priority_word(p))));
    let http_only = ("httpOnly", always(json!(options.http_only)));
    let path = ("path", always(json!(options.path)));
    let parts = match codec {
        Codec::Native => Vec::new(),
        Codec::Koa { signed } => {
            // koa's cookies know `expires` only where there is no `maxAge`.
            let expires = match options.max_age {
                MaxAge::Until(end) => always(json!(iso_date(end))),
                _ => None,
            };
            let signed = cookie.get("signed").map_or(json!(signed), raw_value);
            let (overwrite, signed) = (always(json!(options.overwrite)), always(signed));
            let (overwrite, signed) = (("overwrite", overwrite), ("signed", signed));
            let ends = [("maxAge", always(age)), ("expires", expires)];
            let rest = [domain, secure, same_site, partitioned, priority];
            let mut parts: Vec<_> =
                [http_only, path, overwrite, signed].into_iter().chain(ends).chain(rest).collect();
            // What the application has decided comes before koa's own defaults.
            parts.sort_by_key(|(name, value)| {
                matches!(
                    (*name, value),
                    ("httpOnly" | "overwrite" | "signed", Some(Value::Bool(true))) | (_, None)
                ) || (*name == "path" && *value == Some(json!("/")))
                    || (*name == "maxAge" && *value == Some(json!(millis(DEFAULT_TTL))))
            });
            parts
        }
        Codec::Express => {
            let (age, expires) = (("originalMaxAge", always(age)), ("expires", always(Value::Null)));
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

/// JSON text that was read before, as a value.
fn raw_value(text: &[u8]) -> Value {
    serde_json::from_slice(text).unwrap_or_default()
}

fn put(object: &mut Object, key: &str, value: &Value) {
    object.put(key, value.to_string().as_bytes());
}

fn millis(age: Duration) -> u64 {
    u64::try_from(age.as_millis()).unwrap_or(u64::MAX)
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

fn same_site_of(word: &str) -> Option<SameSite> {
    match word.to_ascii_lowercase().as_str() {
        "strict" => Some(SameSite::Strict),
        "lax" => Some(SameSite::Lax),
        "none" => Some(SameSite::None),
        _ => None,
    }
}

fn priority_word(priority: Priority) -> &'static str {
    match priority {
        Priority::Low => "low",
        Priority::Medium => "medium",
        Priority::High => "high",
    }
}

fn priority_of(word: &str) -> Option<Priority> {
    match word.to_ascii_lowercase().as_str() {
        "low" => Some(Priority::Low),
        "medium" => Some(Priority::Medium),
        "high" => Some(Priority::High),
        _ => None,
    }
}

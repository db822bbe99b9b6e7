//! Record data as text: this crate's envelope, and the layouts of the Node libraries.

mod header;
mod node;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, mem, sync::Arc, time::Duration};

use axum::body::Bytes;
use cookie::SameSite;
use serde::{Deserialize, Serialize};

use self::header::{HEADER, SINCE, USUAL_HEAD, plain_header};
use crate::{
    clock::Timestamp,
    cookie::{CookieOptions, MaxAge, Priority},
    lifetime::Life,
    object::{Object, Written, notes},
    store::{BoxError, Layout, Tag},
};

/// The version that the envelope carries and that this code reads.
const VERSION: u32 = 1;
/// Whose text the data are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Codec {
    /// Two lines of JSON: `{"v":1,"created":<ms>}`, with the moment of the login and the visitor's cookie settings
    /// if there are any, and the session's object. The second line is never copied or parsed as a whole.
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
    pub(crate) head: Head,
    pub(crate) object: Object,
}

impl Content {
    /// Puts what has been read in the place of nothing, as nearly always, which need not be dropped for that.
    #[inline]
    pub(crate) fn fill(&mut self, read: Self) {
        if self.is_nothing() {
            mem::forget(mem::replace(self, read));
        } else {
            *self = read;
        }
    }

    #[inline]
    fn is_nothing(&self) -> bool {
        let Head { created: _, since: _, cookie, stored_cookie } = &self.head;
        cookie.is_none() && stored_cookie.is_none() && self.object.is_blank()
    }
}

/// What a record says of its session beside the data.
#[derive(Clone, Debug, Default)]
pub(crate) struct Head {
    /// When the session began. The Node layouts do not know.
    pub(crate) created: Option<Timestamp>,
    /// Since when it has belonged to its principal, if it has one.
    pub(crate) since: Option<Timestamp>,
    /// The visitor's cookie settings, where they differ from the layer's.
    pub(crate) cookie: Option<Box<CookieOptions>>,
    /// The member `cookie` as it was stored, so that what only Node knows of survives.
    pub(crate) stored_cookie: Option<Box<Object>>,
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
                Err("express keeps how long a session lasts, and no fixed end: use `MaxAge::For`".into())
            }
            _ => Ok(()),
        }
    }

    /// Reads a record's data. The error says what is wrong with them and nothing of what they say.
    pub(crate) fn decode(self, data: Bytes, layer: &CookieOptions) -> Result<Content, BoxError> {
        match self {
            Self::Native => decode_native(data, layer),
            Self::Koa { .. } | Self::Express => node::decode(self, data, layer),
        }
    }

    /// The same of data with notes of where the keys lie.
    #[inline]
    pub(crate) fn decode_noted(self, data: Arc<[u8]>, layer: &CookieOptions) -> Result<Content, BoxError> {
        let (text, notes) = notes::split(&data);
        if self == Self::Native
            && !notes.is_empty()
            && let Some((head, length)) = plain_header(text)
        {
            return Ok(Content { head, object: Object::noted(data, length) });
        }
        self.decode(Bytes::copy_from_slice(text), layer)
    }

    /// Writes a record's data.
    pub(crate) fn encode(
        self,
        head: &Head,
        object: &Object,
        layer: &CookieOptions,
        life: Life,
    ) -> Result<Bytes, BoxError> {
        let mut data = Vec::with_capacity(USUAL_HEAD + object.size_hint());
        self.write(head, object, layer, life, &mut data)?;
        Ok(data.into_boxed_slice().into())
    }

    /// The same with notes of where the keys lie and the tag of this version; that tag, and how long the data are without.
    pub(crate) fn encode_noted(
        self,
        head: &Head,
        object: &Object,
        layer: &CookieOptions,
        life: Life,
    ) -> Result<(Arc<[u8]>, Tag, usize), BoxError> {
        // The object of another layout has members that are not the session's.
        let known = Some(object).filter(|_| self == Self::Native);
        let (data, (tag, length)) = Written::by(|data| {
            data.reserve(object.most());
            self.write(head, object, layer, life, data)?;
            let (tag, length) = (self.tag(data), data.len());
            notes::append(data, known, tag);
            Ok::<_, BoxError>((tag, length))
        })?;
        Ok(((&*data).into(), tag, length))
    }

    fn write(
        self,
        head: &Head,
        object: &Object,
        layer: &CookieOptions,
        life: Life,
        out: &mut Vec<u8>,
    ) -> Result<(), BoxError> {
        match self {
            Self::Native => write_native(head, object, layer, out),
            Self::Koa { .. } | Self::Express => node::write(self, head, object, layer, life, out),
        }
    }
}

#[derive(Deserialize)]
struct Header {
    v: u32,
    created: u64,
    #[serde(default)]
    since: Option<u64>,
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

const NO_OBJECT: &str = "the envelope's data are no JSON object";

fn decode_native(data: Bytes, layer: &CookieOptions) -> Result<Content, BoxError> {
    if let Some((head, length)) = plain_header(&data) {
        let object = Object::parse_from(data, length).ok_or(NO_OBJECT)?;
        return Ok(Content { head, object });
    }
    let end = data.iter().position(|b| *b == b'\n').ok_or("the envelope has no header line")?;
    let header: Header =
        serde_json::from_slice(&data[..end]).map_err(|_| "the envelope's header is no header")?;
    if header.v != VERSION {
        return Err(
            format!("the envelope has version {}, this code reads version {VERSION}", header.v).into()
        );
    }
    // The line break is white space before the object.
    let object = Object::parse_from(data, end).ok_or(NO_OBJECT)?;
    let head = Head {
        created: Some(Timestamp::from_millis(header.created)),
        since: header.since.map(Timestamp::from_millis),
        cookie: header.cookie.map(|overrides| Box::new(overrides.onto(layer))),
        stored_cookie: None,
    };
    Ok(Content { head, object })
}

fn write_native(
    head: &Head,
    object: &Object,
    layer: &CookieOptions,
    out: &mut Vec<u8>,
) -> Result<(), BoxError> {
    out.extend_from_slice(HEADER);
    serde_json::to_writer(&mut *out, &head.created.unwrap_or(Timestamp::EPOCH).as_millis())?;
    if let Some(since) = head.since {
        out.extend_from_slice(SINCE);
        serde_json::to_writer(&mut *out, &since.as_millis())?;
    }
    if let Some(cookie) = &head.cookie {
        let overrides = Overrides::between(layer, cookie);
        if overrides != Overrides::default() {
            out.extend_from_slice(b",\"cookie\":");
            serde_json::to_writer(&mut *out, &overrides)?;
        }
    }
    out.extend_from_slice(b"}\n");
    object.write(out);
    Ok(())
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

fn millis(age: Duration) -> u64 {
    u64::try_from(age.as_millis()).unwrap_or(u64::MAX)
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

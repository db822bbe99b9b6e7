//! How the session id travels: in a cookie, in a header, or the application's own way. Never sees the store.

mod cookies;
mod incoming;
mod presented;

use std::{borrow::Cow, fmt, sync::Arc};

use axum::http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{AUTHORIZATION, COOKIE},
};

use self::cookies::append_cookie;
pub(crate) use self::cookies::is_there;
pub(crate) use self::presented::{Captured, Presented, Signature, Signed};
use crate::{
    clock::Timestamp,
    cookie::{Attributes, CookieLife, CookieOptions, Style},
    id::SessionId,
    keyring::{KeyRing, Scheme},
};

/// The application's own way for an id to travel (the originals' `sessionIdStore`).
///
/// ```
/// use axum::http::{HeaderMap, HeaderValue};
/// use axum_generic_session::{IdTransport, SessionId};
///
/// /// The id in `x-device-token`; a logout is told by an empty one.
/// struct DeviceToken;
///
/// impl IdTransport for DeviceToken {
///     fn read(&self, headers: &HeaderMap) -> Option<String> {
///         Some(headers.get("x-device-token")?.to_str().ok()?.to_owned())
///     }
///     fn write(&self, headers: &mut HeaderMap, id: &SessionId) {
///         if let Ok(value) = HeaderValue::from_str(id.expose()) {
///             headers.insert("x-device-token", value);
///         }
///     }
///     fn clear(&self, headers: &mut HeaderMap) {
///         headers.insert("x-device-token", HeaderValue::from_static(""));
///     }
/// }
/// ```
pub trait IdTransport: Send + Sync + 'static {
    /// The id that the request brings, if it brings one.
    fn read(&self, headers: &HeaderMap) -> Option<String>;
    /// Sends the id with the response.
    fn write(&self, headers: &mut HeaderMap, id: &SessionId);
    /// Tells the client to forget its id.
    fn clear(&self, headers: &mut HeaderMap);
    /// The request header that the response depends on, for `Vary`.
    fn vary(&self) -> Option<HeaderName> {
        None
    }
}

/// Where the session id is looked for, and sent.
///
/// ```
/// use axum_generic_session::Transport;
///
/// // Browsers by cookie, the mobile app by `Authorization: Bearer <id>`.
/// let transport = Transport::cookie().or(Transport::bearer());
/// ```
#[derive(Clone, Debug)]
pub struct Transport(Vec<Way>);

#[derive(Clone)]
enum Way {
    Cookie,
    Header(HeaderName),
    Bearer,
    Custom(Arc<dyn IdTransport>),
}

impl Transport {
    /// The session cookie: the default.
    #[must_use]
    pub fn cookie() -> Self {
        Self(vec![Way::Cookie])
    }

    /// A header of this name, such as `x-session-id`, in the request and in the response. An empty value in the
    /// response tells the client to forget its id.
    #[must_use]
    pub fn header(name: HeaderName) -> Self {
        Self(vec![Way::Header(name)])
    }

    /// `Authorization: Bearer <id>` in the request, `x-session-id` in the response.
    #[must_use]
    pub fn bearer() -> Self {
        Self(vec![Way::Bearer])
    }

    /// The application's own.
    #[must_use]
    pub fn custom(transport: impl IdTransport) -> Self {
        Self(vec![Way::Custom(Arc::new(transport))])
    }

    /// This one, and if it finds no id the other. The response goes the way that the request came; a new visitor
    /// gets the first.
    #[must_use]
    pub fn or(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }
}

impl Way {
    /// The request header that brings the id.
    fn vary(&self) -> Option<HeaderName> {
        match self {
            Self::Cookie => Some(COOKIE),
            Self::Header(name) => Some(name.clone()),
            Self::Bearer => Some(AUTHORIZATION),
            Self::Custom(custom) => custom.vary(),
        }
    }
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cookie => f.write_str("Cookie"),
            Self::Header(name) => write!(f, "Header({name})"),
            Self::Bearer => f.write_str("Bearer"),
            Self::Custom(_) => f.write_str("Custom"),
        }
    }
}

/// A `Set-Cookie` to be: who gets what, until when.
pub(crate) struct Issue<'a> {
    pub(crate) id: &'a SessionId,
    /// What of it is signed, if that is known.
    pub(crate) signed: Option<Signed>,
    /// The visitor's own settings, if there are any.
    pub(crate) own: Option<&'a CookieOptions>,
    pub(crate) life: CookieLife,
    /// The moment that the life is counted from.
    pub(crate) at: Timestamp,
}

/// The transport with all that it needs to know of the layer.
#[derive(Clone, Debug)]
pub(crate) struct Carrier {
    pub(crate) transport: Transport,
    pub(crate) name: Box<str>,
    pub(crate) keys: Option<KeyRing>,
    pub(crate) style: Style,
    /// The layer's cookie settings, as they are sent to most visitors.
    attributes: Attributes,
    overwrite: bool,
    /// The request headers that decide which session a response is about.
    vary: Vec<HeaderName>,
}

impl Carrier {
    pub(crate) fn new(name: &str, keys: Option<KeyRing>, style: Style) -> Self {
        let (transport, name) = (Transport::cookie(), name.into());
        let cookie = CookieOptions::default();
        let attributes = Attributes::of(&cookie, style);
        Self { transport, name, keys, style, attributes, overwrite: cookie.overwrite, vary: Vec::new() }
    }

    /// Makes once what all responses have in common, when the settings are complete.
    pub(crate) fn prepare(&mut self, cookie: &CookieOptions) {
        self.attributes = Attributes::of(cookie, self.style);
        self.overwrite = cookie.overwrite;
        self.vary = self.transport.0.iter().filter_map(Way::vary).collect();
    }

    /// Sends the id, the way it came (`way`), or the first way.
    pub(crate) fn write(&self, headers: &mut HeaderMap, way: usize, issue: &Issue<'_>) {
        match &self.transport.0[way] {
            Way::Cookie => self.write_cookie(headers, issue),
            Way::Header(name) => insert(headers, name.clone(), issue.id.expose()),
            Way::Bearer => insert(headers, SESSION_HEADER, issue.id.expose()),
            Way::Custom(custom) => custom.write(headers, issue.id),
        }
    }

    /// Tells the client to forget its id.
    pub(crate) fn clear(&self, headers: &mut HeaderMap, way: usize, own: Option<&CookieOptions>) {
        match &self.transport.0[way] {
            Way::Cookie => {
                // What has no life is counted from no moment.
                let end = (CookieLife::Removal, Timestamp::EPOCH);
                self.send(headers, &self.name, "", own, end);
                if let Some(keys) = self.keys.as_ref().filter(|keys| keys.scheme() == Scheme::Keygrip) {
                    // As koa does: a browser that keeps it has a signature of nothing.
                    let signature = keys.detached(&self.name, "");
                    self.send(headers, &format!("{}.sig", self.name), &signature, own, end);
                }
            }
            Way::Header(name) => insert(headers, name.clone(), ""),
            Way::Bearer => insert(headers, SESSION_HEADER, ""),
            Way::Custom(custom) => custom.clear(headers),
        }
    }

    /// The request headers that decide which session a response is about.
    pub(crate) fn vary(&self) -> &[HeaderName] {
        &self.vary
    }

    fn write_cookie(&self, headers: &mut HeaderMap, issue: &Issue<'_>) {
        let Issue { id, ref signed, own, life, at } = *issue;
        let end = (life, at);
        let known = signed.as_ref().and_then(Signed::as_str).map(Cow::Borrowed);
        match &self.keys {
            None => self.send(headers, &self.name, id.expose(), own, end),
            Some(keys) if keys.scheme() == Scheme::Keygrip => {
                self.send(headers, &self.name, id.expose(), own, end);
                let signature = known.unwrap_or_else(|| keys.detached(&self.name, id.expose()).into());
                self.send(headers, &format!("{}.sig", self.name), &signature, own, end);
            }
            Some(keys) => {
                let sealed = known.unwrap_or_else(|| keys.seal(id.expose()).into());
                self.send(headers, &self.name, &sealed, own, end);
            }
        }
    }

    fn send(
        &self,
        headers: &mut HeaderMap,
        name: &str,
        value: &str,
        own: Option<&CookieOptions>,
        (life, at): (CookieLife, Timestamp),
    ) {
        let (text, overwrite) = match own {
            None => (self.attributes.set_cookie(name, value, life, at), self.overwrite),
            Some(own) => (Attributes::of(own, self.style).set_cookie(name, value, life, at), own.overwrite),
        };
        append_cookie(headers, name, text, overwrite);
    }
}

const SESSION_HEADER: HeaderName = HeaderName::from_static("x-session-id");

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    // An id is made of cookie octets, all of which a header may carry.
    if let Ok(mut value) = HeaderValue::from_str(value) {
        value.set_sensitive(true);
        headers.insert(name, value);
    }
}

//! The session cookie: its attributes, the rules they must keep, and its text in `Set-Cookie`.

use std::{borrow::Cow, fmt::Write as _, time::Duration};

use ::cookie::SameSite;
use time::{OffsetDateTime, format_description::BorrowedFormatItem, macros::format_description};

use crate::{clock::Timestamp, error::see};

/// RFC 6265bis section 5.5: a browser keeps no cookie longer.
pub(crate) const MAX_AGE_LIMIT: Duration = Duration::from_secs(400 * 24 * 60 * 60);
/// RFC 6265 section 6.1: a browser keeps a cookie of this many bytes, attributes included. Of those, 1024 are for
/// the longest signed id and the attributes of bounded length.
const NAME_PATH_DOMAIN_LIMIT: usize = 4096 - 1024;
/// RFC 6265bis section 5.6: one attribute's value, in bytes.
const ATTRIBUTE_LIMIT: usize = 1024;

/// How long the browser keeps the cookie.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum MaxAge {
    /// As long as the session lives on the server.
    #[default]
    Ttl,
    /// Until the browser is closed. The server still has its `ttl`.
    BrowserSession,
    /// This long after each time the cookie is sent. In a visitor's own settings it is the session's life as
    /// well ("remember me"). Zero ends the session. Browsers cut at 400 days (RFC 6265bis).
    For(Duration),
    /// Until this moment. Only for one visitor: as a layer's setting it would some day lie in the past.
    Until(Timestamp),
}

/// Which cookies a browser gives up first (`Priority`, an extension of Chromium).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Priority {
    /// Given up first.
    Low,
    /// As without the attribute.
    Medium,
    /// Given up last.
    High,
}

/// The attributes of the session cookie; for all visitors in
/// [`SessionLayer::cookie`](crate::SessionLayer::cookie), for one in
/// [`Session::update_cookie`](crate::Session::update_cookie).
///
/// The defaults are the safe ones: `Path=/; HttpOnly; Secure; SameSite=Lax`, kept as long as the session.
///
/// ```
/// use axum_generic_session::{CookieOptions, MaxAge};
///
/// let options = CookieOptions::new().path("/app").max_age(MaxAge::BrowserSession);
/// assert!(options.secure && options.http_only);
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct CookieOptions {
    /// The path on which there is a session, and below it (RFC 6265 section 5.1.4). Default `/`.
    pub path: Cow<'static, str>,
    /// The domain, if subdomains are to get the cookie too. Default none: this host only.
    pub domain: Option<Cow<'static, str>>,
    /// Hidden from scripts. Default `true`.
    pub http_only: bool,
    /// Sent over https only (browsers make an exception for `localhost`). Default `true`.
    pub secure: bool,
    /// Whether other sites' requests carry the cookie. Default `Lax`: links do, forms and images do not.
    pub same_site: Option<SameSite>,
    /// How long the browser keeps it. Default [`MaxAge::Ttl`].
    pub max_age: MaxAge,
    /// Kept apart for each top-level site (`Partitioned`, CHIPS). Default `false`.
    pub partitioned: bool,
    /// Default none.
    pub priority: Option<Priority>,
    /// Whether a `Set-Cookie` of the same name that the handler wrote is replaced. Default `true`.
    pub overwrite: bool,
}

impl Default for CookieOptions {
    fn default() -> Self {
        Self {
            path: Cow::Borrowed("/"),
            domain: None,
            http_only: true,
            secure: true,
            same_site: Some(SameSite::Lax),
            max_age: MaxAge::Ttl,
            partitioned: false,
            priority: None,
            overwrite: true,
        }
    }
}

impl CookieOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the [`path`](Self::path).
    #[must_use]
    pub fn path(mut self, path: impl Into<Cow<'static, str>>) -> Self {
        self.path = path.into();
        self
    }

    /// Sets the [`domain`](Self::domain).
    #[must_use]
    pub fn domain(mut self, domain: impl Into<Cow<'static, str>>) -> Self {
        self.domain = Some(domain.into());
        self
    }

    /// Sets [`http_only`](Self::http_only).
    #[must_use]
    pub fn http_only(mut self, http_only: bool) -> Self {
        self.http_only = http_only;
        self
    }

    /// Sets [`secure`](Self::secure). `false` is for development over plain http.
    #[must_use]
    pub fn secure(mut self, secure: bool) -> Self {
        self.secure = secure;
        self
    }

    /// Sets [`same_site`](Self::same_site).
    #[must_use]
    pub fn same_site(mut self, same_site: impl Into<Option<SameSite>>) -> Self {
        self.same_site = same_site.into();
        self
    }

    /// Sets [`max_age`](Self::max_age).
    #[must_use]
    pub fn max_age(mut self, max_age: impl Into<MaxAge>) -> Self {
        self.max_age = max_age.into();
        self
    }

    /// Sets [`partitioned`](Self::partitioned).
    #[must_use]
    pub fn partitioned(mut self, partitioned: bool) -> Self {
        self.partitioned = partitioned;
        self
    }

    /// Sets the [`priority`](Self::priority).
    #[must_use]
    pub fn priority(mut self, priority: impl Into<Option<Priority>>) -> Self {
        self.priority = priority.into();
        self
    }

    /// Sets [`overwrite`](Self::overwrite).
    #[must_use]
    pub fn overwrite(mut self, overwrite: bool) -> Self {
        self.overwrite = overwrite;
        self
    }

    /// The rules of RFC 6265bis; `Err` is the sentence that says how to keep them.
    pub(crate) fn check(&self, name: &str) -> Result<(), String> {
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(format!(
                "the cookie name {name:?} must be one or more letters, digits or any of !#$%&'*+-.^_`|~:"
            ));
        }
        let domain = self.domain.as_deref().unwrap_or_default();
        if name.len() + self.path.len() + domain.len() > NAME_PATH_DOMAIN_LIMIT {
            return Err(
                "the cookie's name, path and domain must have at most 3072 bytes together: with the id, \
                        browsers take no more than 4096"
                    .into(),
            );
        }
        if !self.path.starts_with('/') {
            return Err(format!("the cookie path {:?} must start with `/`", self.path));
        }
        for (what, value) in [("path", Some(&self.path)), ("domain", self.domain.as_ref())] {
            let Some(value) = value else { continue };
            let is_text = value.bytes().all(|b| matches!(b, 0x20..=0x7e) && b != b';');
            if value.len() > ATTRIBUTE_LIMIT || !is_text || value.ends_with(' ') {
                return Err(format!(
                    "the cookie {what} {value:?} must be at most 1024 printable ASCII characters without `;` or a \
                     space at the end"
                ));
            }
        }
        if let Some(domain) = &self.domain {
            let labels = domain.strip_prefix('.').unwrap_or(domain);
            if labels.is_empty()
                || !labels.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
            {
                return Err(format!(
                    "the cookie domain {domain:?} must be a host name such as `example.com`"
                ));
            }
        }
        if !self.secure {
            for (claim, made) in [
                ("SameSite=None", self.same_site == Some(SameSite::None)),
                ("Partitioned", self.partitioned),
                ("the prefix __Host-", has_prefix(name, "__Host-")),
                ("the prefix __Secure-", has_prefix(name, "__Secure-")),
            ] {
                if made {
                    return Err(format!(
                        "{claim} needs a secure cookie: set `secure(true)`, or drop {claim}{}",
                        see!("security", "the-cookie")
                    ));
                }
            }
        }
        if has_prefix(name, "__Host-") && (self.path != "/" || self.domain.is_some()) {
            return Err("the prefix __Host- needs the path `/` and no domain".into());
        }
        if matches!(self.max_age, MaxAge::For(age) if age > MAX_AGE_LIMIT) {
            return Err("browsers keep no cookie longer than 400 days: set `max_age` to at most that".into());
        }
        Ok(())
    }
}

impl From<Duration> for MaxAge {
    fn from(age: Duration) -> Self {
        Self::For(age)
    }
}

// RFC 6265bis section 4.1.3: browsers compare the prefixes without regard to case.
fn has_prefix(name: &str, prefix: &str) -> bool {
    name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

// RFC 9110 `token`, and the colon, which the originals' own tests use and every browser takes.
const fn is_token(byte: u8) -> bool {
    matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~' | b':')
        || byte.is_ascii_alphanumeric()
}

/// RFC 6265 section 5.1.4: whether a browser sends a cookie of `cookie_path` to `path`.
pub(crate) fn path_matches(cookie_path: &str, path: &str) -> bool {
    match path.strip_prefix(cookie_path) {
        Some(rest) => rest.is_empty() || cookie_path.ends_with('/') || rest.starts_with('/'),
        None => false,
    }
}

/// How a cookie says when it ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Style {
    /// `Max-Age`, the attributes in the usual capitals.
    MaxAge,
    /// koa's `cookies`: `Expires` only, attributes in lower case and in its order.
    Koa,
    /// express's `cookie`: `Expires` only, attributes in its order.
    Express,
}

/// The life of one `Set-Cookie`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CookieLife {
    /// Until the browser is closed.
    BrowserSession,
    /// Until this moment.
    Until(Timestamp),
    /// Take the cookie away.
    Removal,
}

/// The text of a `Set-Cookie`.
pub(crate) fn set_cookie(
    name: &str,
    value: &str,
    options: &CookieOptions,
    life: CookieLife,
    now: Timestamp,
    style: Style,
) -> String {
    let mut text = String::with_capacity(name.len() + value.len() + 128);
    text.push_str(name);
    text.push('=');
    text.push_str(value);
    match style {
        Style::MaxAge => write_attributes(&mut text, options, life, now),
        Style::Koa => write_koa_attributes(&mut text, options, life),
        Style::Express => write_express_attributes(&mut text, options, life),
    }
    text
}

fn write_attributes(text: &mut String, options: &CookieOptions, life: CookieLife, now: Timestamp) {
    push(text, "; Path=", &options.path);
    if let Some(domain) = &options.domain {
        push(text, "; Domain=", domain);
    }
    match life {
        CookieLife::BrowserSession => {}
        CookieLife::Until(end) => {
            let seconds = end.saturating_since(now).min(MAX_AGE_LIMIT).as_millis().div_ceil(1000);
            // Writing to a `String` does not fail.
            let _ = write!(text, "; Max-Age={seconds}");
        }
        // Both, since old browsers know only `Expires` and a removal must not fail.
        CookieLife::Removal => text.push_str("; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT"),
    }
    if let Some(same_site) = options.same_site {
        push(text, "; SameSite=", same_site_name(same_site));
    }
    for (word, on) in [
        ("; Secure", options.secure),
        ("; HttpOnly", options.http_only),
        ("; Partitioned", options.partitioned),
    ] {
        if on {
            text.push_str(word);
        }
    }
    if let Some(priority) = options.priority {
        push(text, "; Priority=", priority_name(priority));
    }
}

fn write_koa_attributes(text: &mut String, options: &CookieOptions, life: CookieLife) {
    push(text, "; path=", &options.path);
    push_expires(text, "; expires=", life);
    if let Some(domain) = &options.domain {
        push(text, "; domain=", domain);
    }
    if let Some(priority) = options.priority {
        push(text, "; priority=", &priority_name(priority).to_ascii_lowercase());
    }
    if let Some(same_site) = options.same_site {
        push(text, "; samesite=", &same_site_name(same_site).to_ascii_lowercase());
    }
    for (word, on) in [
        ("; secure", options.secure),
        ("; httponly", options.http_only),
        ("; partitioned", options.partitioned),
    ] {
        if on {
            text.push_str(word);
        }
    }
}

fn write_express_attributes(text: &mut String, options: &CookieOptions, life: CookieLife) {
    if let Some(domain) = &options.domain {
        push(text, "; Domain=", domain);
    }
    push(text, "; Path=", &options.path);
    push_expires(text, "; Expires=", life);
    for (word, on) in [
        ("; HttpOnly", options.http_only),
        ("; Secure", options.secure),
        ("; Partitioned", options.partitioned),
    ] {
        if on {
            text.push_str(word);
        }
    }
    if let Some(priority) = options.priority {
        push(text, "; Priority=", priority_name(priority));
    }
    if let Some(same_site) = options.same_site {
        push(text, "; SameSite=", same_site_name(same_site));
    }
}

fn push(text: &mut String, name: &str, value: &str) {
    text.push_str(name);
    text.push_str(value);
}

fn push_expires(text: &mut String, name: &str, life: CookieLife) {
    let end = match life {
        CookieLife::BrowserSession => return,
        CookieLife::Until(end) => end,
        CookieLife::Removal => Timestamp::EPOCH,
    };
    text.push_str(name);
    text.push_str(&http_date(end));
}

/// RFC 9110 section 5.6.7: `Sun, 06 Nov 1994 08:49:37 GMT`.
pub(crate) fn http_date(moment: Timestamp) -> String {
    const FORMAT: &[BorrowedFormatItem<'_>] = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    let seconds = i64::try_from(moment.as_millis() / 1000).unwrap_or(i64::MAX);
    OffsetDateTime::from_unix_timestamp(seconds)
        .ok()
        .and_then(|date| date.format(FORMAT).ok())
        // `Timestamp::MAX` is the last second that has such a date.
        .unwrap_or_else(|| "Fri, 31 Dec 9999 23:59:59 GMT".into())
}

fn same_site_name(same_site: SameSite) -> &'static str {
    match same_site {
        SameSite::Strict => "Strict",
        SameSite::Lax => "Lax",
        SameSite::None => "None",
    }
}

fn priority_name(priority: Priority) -> &'static str {
    match priority {
        Priority::Low => "Low",
        Priority::Medium => "Medium",
        Priority::High => "High",
    }
}

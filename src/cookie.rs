//! The session cookie: its attributes, the rules they must keep, and its text in `Set-Cookie` (`text`).

#[cfg(test)]
mod tests;
mod text;

use std::{borrow::Cow, time::Duration};

use ::cookie::SameSite;

pub(crate) use self::text::{Attributes, CookieLife, Style};
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

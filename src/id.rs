//! Session ids: minted here, never adopted; and the keys under which stores know them.

use std::{fmt, sync::Arc};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::RngCore;
use sha2::{Digest, Sha256};

use crate::store::Layout;

/// Random bytes of an id, as in the originals' `uid-safe`: 192 bits, three times what OWASP asks for.
const ID_BYTES: usize = 24;
/// The longest id that is looked at, whoever made it, in bytes.
const MAX_ID: usize = 256;

/// The secret that a visitor presents: 32 characters of base64url, or what a custom `gen_id` made.
///
/// Whoever knows it is the visitor, so `Debug` does not show it; [`expose`](Self::expose) does.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SessionId(Arc<str>);

impl SessionId {
    /// A new id: 24 bytes from a CSPRNG that the operating system seeds, as 32 characters of base64url.
    #[must_use]
    pub fn random() -> Self {
        let mut bytes = [0; ID_BYTES];
        rand::thread_rng().fill_bytes(&mut bytes);
        let mut text = [0; ID_BYTES / 3 * 4];
        match URL_SAFE_NO_PAD.encode_slice(bytes, &mut text) {
            Ok(_) => Self(String::from_utf8_lossy(&text).into()),
            Err(_) => Self(URL_SAFE_NO_PAD.encode(bytes).into()),
        }
    }

    /// Reads an id from text: `None` unless it is 1 to 256 characters that may stand in a cookie
    /// (RFC 6265 `cookie-octet`). Anything else is never shown to a store.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::is_id(text).then(|| Self(text.into()))
    }

    fn is_id(text: &str) -> bool {
        !text.is_empty() && text.len() <= MAX_ID && text.bytes().all(is_cookie_octet)
    }

    /// The id itself. Handle it like a password.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// RFC 6265 section 4.1.1: what may stand in a cookie's value without quotes.
pub(crate) const fn is_cookie_octet(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x2b | 0x2d..=0x3a | 0x3c..=0x5b | 0x5d..=0x7e)
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId(REDACTED)")
    }
}

/// What a store knows a session by: the layer's prefix and, by default, a digest of the id.
///
/// A stolen dump of such keys logs nobody in: the digest cannot be turned back into the id, and sent as a
/// cookie it finds nothing. `Debug` shows a few characters, enough to follow one session through a log.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct StoreKey {
    text: Box<str>,
    prefix: usize,
    layout: Layout,
}

impl StoreKey {
    /// `prefix + base64url(SHA-256(id))`.
    #[must_use]
    pub fn hashed(prefix: &str, id: &SessionId) -> Self {
        let mut text = String::with_capacity(prefix.len() + 43);
        text.push_str(prefix);
        URL_SAFE_NO_PAD.encode_string(Sha256::digest(id.expose()), &mut text);
        Self { text: text.into(), prefix: prefix.len(), layout: Layout::Native }
    }

    /// `prefix + id`, as the Node libraries store it. A dump of such keys is a list of passwords.
    #[must_use]
    pub fn plain(prefix: &str, id: &SessionId) -> Self {
        let mut text = String::with_capacity(prefix.len() + id.expose().len());
        text.push_str(prefix);
        text.push_str(id.expose());
        Self { text: text.into(), prefix: prefix.len(), layout: Layout::Native }
    }

    /// The same key, its record in the layout of another program.
    #[must_use]
    pub fn with_layout(mut self, layout: Layout) -> Self {
        self.layout = layout;
        self
    }

    /// The whole key, for engines whose keys are text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// SHA-256 of the whole key, for engines whose keys have a fixed length.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.text.as_bytes()).into()
    }

    /// How the record under this key lies in the engine.
    #[must_use]
    pub const fn layout(&self) -> Layout {
        self.layout
    }

    /// A name for logs and lists of sessions: eight characters of a digest of the key. It finds nothing in
    /// a store and opens nothing as a cookie.
    #[must_use]
    pub fn handle(&self) -> String {
        URL_SAFE_NO_PAD.encode(&Sha256::digest(self.digest())[..6])
    }
}

impl fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreKey({}#{})", &self.text[..self.prefix], self.handle())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_ids_are_distinct_and_well_formed() {
        let ids: std::collections::HashSet<_> = (0..10_000).map(|_| SessionId::random()).collect();
        assert_eq!(ids.len(), 10_000);
        for id in &ids {
            assert_eq!(id.expose().len(), 32);
            assert!(id.expose().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
        }
    }

    #[test]
    fn only_cookie_octets_are_ids() {
        for good in ["a", "unknown-sid", "s:1", "../x:y*", &"a".repeat(256)] {
            assert!(SessionId::parse(good).is_some(), "{good}");
        }
        for bad in ["", " ", "a b", "a;b", "a,b", "a\"b", "a\\b", "a\0b", "sid€", "a\r\n", &"a".repeat(257)]
        {
            assert!(SessionId::parse(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn nothing_about_an_id_is_printed() {
        let id = SessionId::random();
        let key = StoreKey::hashed("app:", &id);
        assert!(!format!("{id:?} {key:?}").contains(id.expose()));
        assert!(!key.as_str().contains(id.expose()));
        assert!(!format!("{:?}", StoreKey::plain("koa:sess:", &id)).contains(id.expose()));
    }

    #[test]
    fn the_hashed_key_is_the_digest_of_the_id() {
        let id = SessionId::parse("abc").expect("an id");
        assert_eq!(StoreKey::hashed("p:", &id).as_str(), "p:ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0");
        assert_eq!(StoreKey::plain("p:", &id).as_str(), "p:abc");
    }
}

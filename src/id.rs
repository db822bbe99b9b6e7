//! Session ids: minted here, never adopted; and the keys under which stores know them.

#[cfg(test)]
mod tests;

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::{Arc, OnceLock},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::RngCore;
use sha2::{Digest, Sha256};
use wide::u8x16;

use crate::store::Layout;

/// Random bytes of an id, as in the originals' `uid-safe`: 192 bits, three times what OWASP asks for.
const ID_BYTES: usize = 24;
/// The same as base64url, in characters.
const ID_TEXT: u8 = 32;
const _: () = assert!(ID_BYTES / 3 * 4 == ID_TEXT as usize && SHORT_ID >= ID_TEXT as usize);
/// The longest id that is looked at, whoever made it, in bytes.
const MAX_ID: usize = 256;
/// Room for an id in place: 32 characters of base64url, or the 36 of a UUID; and for a prefix.
const SHORT_ID: usize = 38;
/// Characters of base64url for a SHA-256.
const DIGEST_TEXT: usize = 43;

/// The secret that a visitor presents: 32 characters of base64url, or what a custom `gen_id` made.
///
/// Whoever knows it is the visitor, so `Debug` does not show it; [`expose`](Self::expose) does.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SessionId(Text);

/// Text that lies in place if it has the usual length of an id or a prefix: to read a request's id allocates nothing, and
/// to copy a prefix touches nothing that other threads touch.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) enum Text {
    /// The length, and as many bytes; zeros behind them.
    Short(u8, [u8; SHORT_ID]),
    Long(Arc<str>),
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self::short(text.as_bytes()).unwrap_or_else(|| Self::Long(text.into()))
    }
}

impl Text {
    /// Of bytes that are known to be ASCII.
    fn of_ascii(bytes: &[u8]) -> Option<Self> {
        Self::short(bytes).or_else(|| Some(Self::Long(str::from_utf8(bytes).ok()?.into())))
    }

    /// `None`: too long to lie in place.
    fn short(text: &[u8]) -> Option<Self> {
        let mut bytes = [0; SHORT_ID];
        bytes.get_mut(..text.len())?.copy_from_slice(text);
        Some(Self::Short(text.len() as u8, bytes))
    }

    pub(crate) fn as_str(&self) -> &str {
        match self {
            // Made of text.
            Self::Short(..) => str::from_utf8(self.as_bytes()).unwrap_or_default(),
            Self::Long(text) => text,
        }
    }

    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Short(length, bytes) => &bytes[..usize::from(*length)],
            Self::Long(text) => text.as_bytes(),
        }
    }
}

impl SessionId {
    /// A new id: 24 bytes from a CSPRNG that the operating system seeds, as 32 characters of base64url.
    #[must_use]
    pub fn random() -> Self {
        let mut bytes = [0; ID_BYTES];
        rand::thread_rng().fill_bytes(&mut bytes);
        let mut text = [0; SHORT_ID];
        // There is room, as asserted above.
        let _ = URL_SAFE_NO_PAD.encode_slice(bytes, &mut text);
        Self(Text::Short(ID_TEXT, text))
    }

    /// Reads an id from text: `None` unless it is 1 to 256 characters that may stand in a cookie
    /// (RFC 6265 `cookie-octet`). Anything else is never shown to a store.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::of_octets(text.as_bytes())
    }

    /// The same of bytes of which nobody knows yet whether they are text.
    pub(crate) fn of_octets(octets: &[u8]) -> Option<Self> {
        if octets.is_empty() || octets.len() > MAX_ID || !are_cookie_octets(octets) {
            return None;
        }
        Text::of_ascii(octets).map(Self)
    }

    /// The id itself. Handle it like a password.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.as_str()
    }

    fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// RFC 6265 section 4.1.1: what may stand in a cookie's value without quotes.
pub(crate) const fn is_cookie_octet(byte: u8) -> bool {
    (byte > 0x20) & (byte < 0x7f) & (byte != b'"') & (byte != b',') & (byte != b';') & (byte != b'\\')
}

/// Whether there is no other byte among them. All are looked at, 16 at once, which goes faster than to stop at a bad one.
fn are_cookie_octets(bytes: &[u8]) -> bool {
    let (parts, rest) = bytes.as_chunks::<16>();
    let bad = parts.iter().fold(u8x16::ZERO, |bad, part| {
        let part = u8x16::new(*part);
        let is = |byte| part.simd_eq(u8x16::splat(byte));
        let outside = part.min(u8x16::splat(0x20)).simd_eq(part) | part.max(u8x16::splat(0x7f)).simd_eq(part);
        bad | outside | is(b'"') | is(b',') | is(b';') | is(b'\\')
    });
    bad == u8x16::ZERO && rest.iter().all(|byte| is_cookie_octet(*byte))
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
pub struct StoreKey {
    prefix: Text,
    name: Name,
    layout: Layout,
    /// The whole key, once somebody has asked for it: the memory store does without.
    text: OnceLock<Box<str>>,
}

/// What stands behind the prefix.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Name {
    /// The SHA-256 of the id, to be written as base64url.
    Digest([u8; 32]),
    Plain(SessionId),
}

impl StoreKey {
    /// `prefix + base64url(SHA-256(id))`.
    #[must_use]
    pub fn hashed(prefix: &str, id: &SessionId) -> Self {
        Self::new(prefix.into(), id, true)
    }

    /// `prefix + id`, as the Node libraries store it. A dump of such keys is a list of passwords.
    #[must_use]
    pub fn plain(prefix: &str, id: &SessionId) -> Self {
        Self::new(prefix.into(), id, false)
    }

    /// The same with a prefix that has been made before.
    pub(crate) fn new(prefix: Text, id: &SessionId, hashed: bool) -> Self {
        let name =
            if hashed { Name::Digest(Sha256::digest(id.as_bytes()).into()) } else { Name::Plain(id.clone()) };
        Self { prefix, name, layout: Layout::Native, text: OnceLock::new() }
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
        self.text.get_or_init(|| {
            let mut text = String::with_capacity(self.prefix().len() + DIGEST_TEXT);
            text.push_str(self.prefix());
            match &self.name {
                Name::Digest(digest) => URL_SAFE_NO_PAD.encode_string(digest, &mut text),
                Name::Plain(id) => text.push_str(id.expose()),
            }
            text.into()
        })
    }

    /// What stands before the id or its digest.
    #[must_use]
    pub fn prefix(&self) -> &str {
        self.prefix.as_str()
    }

    /// SHA-256 of the whole key, for engines whose keys have a fixed length.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.as_str()).into()
    }

    /// 32 bytes that stand for the key within this process: a digest that is known anyway, apart for each prefix.
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        let Name::Digest(mut digest) = self.name else { return self.digest() };
        // FNV-1a. A prefix is the application's word, so nobody chooses one to meet another; and to meet across two
        // prefixes an id would have to be found for a given digest.
        let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        let prefix = self.prefix.as_bytes().iter().copied().fold(0xcbf2_9ce4_8422_2325, fold);
        for (byte, part) in digest.iter_mut().zip(prefix.to_le_bytes()) {
            *byte ^= part;
        }
        digest
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
        handle(&self.digest())
    }
}

/// The handle of the key with this [digest](StoreKey::digest).
pub(crate) fn handle(digest: &[u8; 32]) -> String {
    URL_SAFE_NO_PAD.encode(&Sha256::digest(digest)[..6])
}

impl fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreKey({}#{})", self.prefix(), self.handle())
    }
}

impl Clone for StoreKey {
    fn clone(&self) -> Self {
        let (prefix, name) = (self.prefix.clone(), self.name.clone());
        Self { prefix, name, layout: self.layout, text: OnceLock::new() }
    }
}

impl PartialEq for StoreKey {
    fn eq(&self, other: &Self) -> bool {
        (&self.prefix, &self.name, self.layout) == (&other.prefix, &other.name, other.layout)
    }
}

impl Eq for StoreKey {}

impl Hash for StoreKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.prefix, &self.name, self.layout).hash(state);
    }
}

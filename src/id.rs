//! Session ids: minted here, never adopted; and the keys under which stores know them.

mod key;
#[cfg(test)]
mod tests;
mod text;

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::RngCore;
use wide::u8x16;

pub use self::key::StoreKey;
use self::text::Text;
pub(crate) use self::{key::handle, text::Prefix};

/// Random bytes of an id, as in the originals' `uid-safe`: 192 bits, three times what OWASP asks for.
const ID_BYTES: usize = 24;
/// The same as base64url, in characters.
const ID_TEXT: usize = 32;
const _: () = assert!(ID_BYTES / 3 * 4 == ID_TEXT);
/// The longest id that is looked at, whoever made it, in bytes.
const MAX_ID: usize = 256;
/// Room for an id in place: 32 characters of base64url, or the 36 of a UUID.
const ROOM: usize = 48;

/// The secret that a visitor presents: 32 characters of base64url, or what a custom `gen_id` made.
///
/// Whoever knows it is the visitor, so `Debug` does not show it; [`expose`](Self::expose) does.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SessionId(Text<ROOM>);

impl SessionId {
    /// A new id: 24 bytes from a CSPRNG that the operating system seeds, as 32 characters of base64url.
    #[must_use]
    pub fn random() -> Self {
        let mut bytes = [0; ID_BYTES];
        rand::thread_rng().fill_bytes(&mut bytes);
        let mut text = [0; ID_TEXT];
        // There is room, as asserted above.
        let _ = URL_SAFE_NO_PAD.encode_slice(bytes, &mut text);
        Self(Text::of_exactly(&text))
    }

    /// Reads an id from text: `None` unless it is 1 to 256 characters that may stand in a cookie
    /// (RFC 6265 `cookie-octet`). Anything else is never shown to a store.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::of_octets(text.as_bytes())
    }

    /// The same of bytes of which nobody knows yet whether they are text.
    #[inline]
    pub(crate) fn of_octets(octets: &[u8]) -> Option<Self> {
        if octets.is_empty() || octets.len() > MAX_ID || !are_cookie_octets(octets) {
            return None;
        }
        Some(Self(match <&[u8; ID_TEXT]>::try_from(octets) {
            Ok(own) => Text::of_exactly(own),
            Err(_) => Text::of(octets),
        }))
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

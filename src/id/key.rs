//! The keys under which stores know sessions.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::OnceLock,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256, compress256};

use super::{ID_TEXT, SessionId, text::Prefix};
use crate::store::Layout;

/// Characters of base64url for a SHA-256.
const DIGEST_TEXT: usize = 43;

/// What a store knows a session by: the layer's prefix and, by default, a digest of the id.
///
/// A stolen dump of such keys logs nobody in: the digest cannot be turned back into the id, and sent as a
/// cookie it finds nothing. `Debug` shows a few characters, enough to follow one session through a log.
pub struct StoreKey {
    prefix: Prefix,
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
    pub(crate) fn new(prefix: Prefix, id: &SessionId, hashed: bool) -> Self {
        let name = if hashed { Name::Digest(sha256(id.as_bytes())) } else { Name::Plain(id.clone()) };
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

    /// Four words that stand for the key within this process: a digest that is known anyway, apart for each prefix.
    pub(crate) fn fingerprint(&self) -> [u64; 4] {
        let (digest, print) = match &self.name {
            // To meet across two prefixes an id would have to be found for a given digest.
            Name::Digest(digest) => (digest, self.prefix.print()),
            Name::Plain(_) => (&self.digest(), 0),
        };
        let (words, _) = digest.as_chunks();
        let [first, second, third, fourth] = [0, 1, 2, 3].map(|i| u64::from_le_bytes(words[i]));
        [first ^ print, second, third, fourth]
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

/// SHA-256. Of an id of our own the one block is padded here: the general way takes half as long again for its buffer.
fn sha256(text: &[u8]) -> [u8; 32] {
    /// FIPS 180-4, section 5.3.3.
    const INITIAL: [u32; 8] = [
        0x6a09_e667,
        0xbb67_ae85,
        0x3c6e_f372,
        0xa54f_f53a,
        0x510e_527f,
        0x9b05_688c,
        0x1f83_d9ab,
        0x5be0_cd19,
    ];
    /// Section 5.1.1: a bit, and behind zeros how many bits there are.
    const PADDING: [u8; 64 - ID_TEXT] = {
        let mut padding = [0; 64 - ID_TEXT];
        padding[0] = 0x80;
        [padding[64 - ID_TEXT - 2], padding[64 - ID_TEXT - 1]] = (ID_TEXT as u16 * 8).to_be_bytes();
        padding
    };
    let Ok(id) = <&[u8; ID_TEXT]>::try_from(text) else { return Sha256::digest(text).into() };
    let mut block = [0; 64];
    block[..ID_TEXT].copy_from_slice(id);
    block[ID_TEXT..].copy_from_slice(&PADDING);
    let mut words = INITIAL;
    compress256(&mut words, &[block.into()]);
    let mut digest = [0; 32];
    for (bytes, word) in digest.as_chunks_mut::<4>().0.iter_mut().zip(words) {
        *bytes = word.to_be_bytes();
    }
    digest
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_text_of_any_length_is_the_usual_one() {
        for length in 0..=130 {
            let text: Vec<u8> = (0..length).map(|i: u8| i.wrapping_mul(7)).collect();
            assert_eq!(sha256(&text), <[u8; 32]>::from(Sha256::digest(&text)), "{length}");
        }
    }
}

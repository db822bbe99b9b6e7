//! Signing keys: the first signs, each verifies, and a comparison tells nothing by its duration.

use std::fmt::{self, Write as _};

use base64::{
    Engine,
    engine::general_purpose::{GeneralPurpose, STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use cookie::Key;
use hmac::{Hmac, Mac};
use sha1::Sha1;
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// Who else reads and writes the signature.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Scheme {
    /// The `cookie` crate, and with it axum-extra's `SignedCookieJar`: base64 of HMAC-SHA-256 over the
    /// value, in front of the value.
    CookieJar,
    /// koa's `cookies` with `keygrip`: base64url of HMAC-SHA-1 over `name=value`, in a cookie `name.sig`.
    Keygrip,
    /// `cookie-signature` of express: `s:value.` and base64 without padding of HMAC-SHA-256 over the value.
    Express,
}

/// A list of keys with their HMAC state prepared: a signature costs no key set-up.
#[derive(Clone)]
pub(crate) struct KeyRing {
    scheme: Scheme,
    keys: Box<[Prepared]>,
}

#[derive(Clone)]
enum Prepared {
    Sha1(Hmac<Sha1>),
    Sha256(Hmac<Sha256>),
}

/// Base64 of 32 bytes, padded: what stands in front of a value signed by the `cookie` crate.
const JAR_SIGNATURE: usize = 44;
/// Room for the text of a MAC of any scheme, in bytes.
const MAC_TEXT: usize = JAR_SIGNATURE;

impl KeyRing {
    /// Keys of the `cookie` crate, shared with the application's own signed cookies.
    pub(crate) fn cookie_jar<'a>(keys: impl IntoIterator<Item = &'a Key>) -> Self {
        Self::prepare(Scheme::CookieJar, keys.into_iter().map(Key::signing))
    }

    /// The text secrets of the Node libraries.
    pub(crate) fn secrets<S: AsRef<[u8]>>(scheme: Scheme, secrets: &[S]) -> Self {
        Self::prepare(scheme, secrets.iter().map(AsRef::as_ref))
    }

    fn prepare<'a>(scheme: Scheme, keys: impl Iterator<Item = &'a [u8]>) -> Self {
        // HMAC takes a key of any length, so neither constructor refuses.
        let keys = keys
            .filter_map(|key| match scheme {
                Scheme::Keygrip => Hmac::new_from_slice(key).ok().map(Prepared::Sha1),
                Scheme::CookieJar | Scheme::Express => Hmac::new_from_slice(key).ok().map(Prepared::Sha256),
            })
            .collect();
        Self { scheme, keys }
    }

    pub(crate) fn scheme(&self) -> Scheme {
        self.scheme
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The id as it travels, signed by the first key. With [`Scheme::Keygrip`] it travels bare, and
    /// [`detached`](Self::detached) gives what goes beside it.
    pub(crate) fn seal(&self, id: &str) -> String {
        let Some(key) = self.keys.first() else { return id.to_owned() };
        match self.scheme {
            Scheme::Keygrip => id.to_owned(),
            Scheme::CookieJar => {
                let mut text = String::with_capacity(JAR_SIGNATURE + id.len());
                key.sign(&[id.as_bytes()], |mac| STANDARD.encode_string(mac, &mut text));
                // The reader decodes, so a `%` of the id's own goes out as what decodes to one.
                text.push_str(&id.replace('%', "%25"));
                text
            }
            Scheme::Express => {
                let mut text = format!("s:{id}.");
                key.sign(&[id.as_bytes()], |mac| STANDARD_NO_PAD.encode_string(mac, &mut text));
                uri_component(&text)
            }
        }
    }

    /// The signature that keygrip puts into the cookie `name.sig`.
    pub(crate) fn detached(&self, name: &str, value: &str) -> String {
        let mut text = String::with_capacity(27);
        if let Some(key) = self.keys.first() {
            key.sign(&[name.as_bytes(), b"=", value.as_bytes()], |mac| {
                URL_SAFE_NO_PAD.encode_string(mac, &mut text)
            });
        }
        text
    }

    /// Opens what [`seal`](Self::seal) made: the id, and which key it was (0: the one that signs now).
    #[inline]
    pub(crate) fn open<'a>(&self, text: &'a [u8]) -> Option<(&'a [u8], usize)> {
        match self.scheme {
            Scheme::CookieJar => {
                let (signature, id) = text.split_at_checked(JAR_SIGNATURE)?;
                Some((id, self.verify(&[id], &STANDARD, signature)?))
            }
            Scheme::Express => {
                let text = text.strip_prefix(b"s:")?;
                let (id, signature) = text.split_at(text.iter().rposition(|byte| *byte == b'.')?);
                Some((id, self.verify(&[id], &STANDARD_NO_PAD, &signature[1..])?))
            }
            Scheme::Keygrip => None,
        }
    }

    /// Checks what [`detached`](Self::detached) made: which key it was.
    pub(crate) fn open_detached(&self, name: &str, value: &[u8], signature: &[u8]) -> Option<usize> {
        self.verify(&[name.as_bytes(), b"=", value], &URL_SAFE_NO_PAD, signature)
    }

    /// Which key it was; they are tried one after the other.
    #[inline]
    fn verify(&self, message: &[&[u8]], base64: &GeneralPurpose, signature: &[u8]) -> Option<usize> {
        // As text, in which a MAC has only one form: to write ours takes less time than to read theirs.
        let is_made_by = |key: &Prepared| {
            let mut text = [0; MAC_TEXT];
            let length = key.sign(message, |mac| base64.encode_slice(mac, &mut text));
            length.is_ok_and(|length| same(&text[..length], signature))
        };
        self.keys.iter().position(is_made_by)
    }
}

impl Prepared {
    #[inline]
    fn sign<R>(&self, message: &[&[u8]], give: impl FnOnce(&[u8]) -> R) -> R {
        match self {
            Self::Sha1(mac) => give(&fed(mac, message).finalize().into_bytes()),
            Self::Sha256(mac) => give(&fed(mac, message).finalize().into_bytes()),
        }
    }
}

/// `encodeURIComponent`, as the `cookie` package of Node writes a value: `s:` becomes `s%3A`.
fn uri_component(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a `String` does not fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

fn fed<M: Mac + Clone>(prepared: &M, message: &[&[u8]]) -> M {
    let mut mac = prepared.clone();
    for part in message {
        mac.update(part);
    }
    mac
}

/// Whether both are the same, in a time that says nothing about where they differ.
#[inline]
fn same(ours: &[u8], theirs: &[u8]) -> bool {
    if ours.len() != theirs.len() {
        return false;
    }
    // By eight, since each step is one that the compiler is kept from seeing through.
    let ((ours, our_rest), (theirs, their_rest)) = (ours.as_chunks(), theirs.as_chunks());
    let pairs = ours.iter().zip(theirs).map(|(a, b)| u64::from_ne_bytes(*a).ct_eq(&u64::from_ne_bytes(*b)));
    pairs.fold(our_rest.ct_eq(their_rest), |same, pair| same & pair).into()
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyRing({:?}, {} keys, REDACTED)", self.scheme, self.keys.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cookie::{Cookie, CookieJar};

    #[test]
    fn keygrip_vectors() {
        let ring = |keys: &[&str]| KeyRing::secrets(Scheme::Keygrip, keys);
        let table: [(&[&str], &str, &str, &str); 5] = [
            (
                &["keys", "keykeys"],
                "koss:test_sid",
                "bGX1r5jcQHX4CqO1Heiy_DLvkTpQvx3M",
                "ZvZ8W0x9akbySx-9kEUkVPqAd2g",
            ),
            (&["keys", "keykeys"], "koa.sid", "", "4Q4t-o__7Oasf7VtZqUFKLy4m7A"),
            (
                &["keykeys", "keys"],
                "koa.sid",
                "1HQzv4wBmHiLRCxdBWlJR5V2yuQ5PVVn",
                "ijzOGLoef6qTprsSE7I0z8KCQPE",
            ),
            (&["newest", "older", "oldest"], "koa.sid", "abc", "6TLf_kCKGSBwVJ0mCsQy9BemihY"),
            (&["clé €"], "koa.sid", "abc", "CeuUlVejXbEZ0173c4YWzT5IPig"),
        ];
        for (keys, name, value, signature) in table {
            assert_eq!(ring(keys).detached(name, value), signature, "{keys:?} {name}={value}");
            assert_eq!(ring(keys).open_detached(name, value.as_bytes(), signature.as_bytes()), Some(0));
        }
        let rotated = ring(&["newest", "older", "oldest"]);
        assert_eq!(rotated.open_detached("koa.sid", b"abc", b"lfPW8Y0TEOgx9RNPaEal-ZD1bsM"), Some(1));
        assert_eq!(rotated.open_detached("koa.sid", b"abc", b"6TLf_kCKGSBwVJ0mCsQy9BemihY="), None, "padded");
    }

    /// Made by cookie-signature 1.2.2 and `encodeURIComponent`.
    #[test]
    fn express_vectors() {
        let ring = |keys: &[&str]| KeyRing::secrets(Scheme::Express, keys);
        let long = "k".repeat(65);
        let table = [
            (
                "keyboard cat",
                "bGX1r5jcQHX4CqO1Heiy_DLvkTpQvx3M",
                "s%3AbGX1r5jcQHX4CqO1Heiy_DLvkTpQvx3M.6jKVXgdM3HrFuxQ8ql%2F3sGzNBYOVJfLsROAuMs6Kn3A",
            ),
            ("clé €", "abc", "s%3Aabc.jQVC6Tm7Y2v%2Fe5u9Phvr5K4FiZDXTq81qd0x7zK%2BSzQ"),
            (&long, "abc", "s%3Aabc.7TeOXfow3JiBS6CbLmENm2r2YFSSLO75SA2glKPxGy0"),
            (
                "newest",
                "a.b:c/d+e=f",
                "s%3Aa.b%3Ac%2Fd%2Be%3Df.L%2Feo00rKx3wBsEHJAUqyvmi5%2Fqu4m5Gye6%2BNaYWrMhQ",
            ),
        ];
        for (key, id, cookie) in table {
            assert_eq!(ring(&[key]).seal(id), cookie);
        }
        let rotated = ring(&["newest", "older"]);
        let open = |text: &'static str| rotated.open(text.as_bytes());
        assert_eq!(open("s:abc.1x0ue2f68/eLzRCSyZN/80hdtjcnmBILrDkO1/bLT6E"), Some((&b"abc"[..], 0)));
        assert_eq!(open("s:abc.LV3teNbJjvYyl1GZ1KyfSu5TdJDXVH4jIHR3iWO6gXY"), Some((&b"abc"[..], 1)));
        for forged in [
            "abc",
            "s:abc",
            "s:abc.",
            "abc.1x0ue2f68/eLzRCSyZN/80hdtjcnmBILrDkO1/bLT6E",
            "s:abc.1x0ue2f68/eLzRCSyZN/80hdtjcnmBILrDkO1/bLT6E=",
        ] {
            assert_eq!(open(forged), None, "{forged}");
        }
    }

    #[test]
    fn the_cookie_crate_reads_what_is_sealed_and_the_reverse() {
        let key = Key::generate();
        let ring = KeyRing::cookie_jar([&key]);
        let mut jar = CookieJar::new();
        jar.signed_mut(&key).add(Cookie::new("sid", "abc"));
        let theirs = jar.get("sid").expect("a cookie").value().to_owned();
        assert_eq!(ring.seal("abc"), theirs);
        assert_eq!(ring.open(theirs.as_bytes()), Some((&b"abc"[..], 0)));
    }

    #[test]
    fn no_single_byte_can_be_changed() {
        let (old, new) = (Key::generate(), Key::generate());
        let sealed = KeyRing::cookie_jar([&old]).seal("abcdefghijklmnop");
        let ring = KeyRing::cookie_jar([&new, &old]);
        assert_eq!(ring.open(sealed.as_bytes()), Some((&b"abcdefghijklmnop"[..], 1)));
        for i in 0..sealed.len() {
            for byte in [b'A', b'B', b'=', b'0'] {
                let mut bytes = sealed.clone().into_bytes();
                if bytes[i] != byte {
                    bytes[i] = byte;
                    assert_eq!(ring.open(&bytes), None, "byte {i} as {}", byte as char);
                }
            }
            assert_eq!(ring.open(&sealed.as_bytes()[..i]), None, "cut to {i}");
        }
    }

    #[test]
    fn what_is_longer_or_shorter_is_another() {
        let ours = b"0123456789abcdefghijkl";
        assert!(same(ours, ours) && same(b"", b""));
        for length in 0..ours.len() {
            assert!(!same(ours, &ours[..length]) && !same(&ours[..length], ours), "{length}");
        }
        // Eight by eight and at the end they are alike.
        let with_more = [&ours[..16], b"********", &ours[16..]].concat();
        assert!(!same(ours, &with_more) && !same(&with_more, ours));
    }

    #[test]
    fn a_ring_without_keys_says_so() {
        assert!(KeyRing::secrets::<&str>(Scheme::Keygrip, &[]).is_empty());
        assert!(!KeyRing::secrets(Scheme::Keygrip, &["key"]).is_empty());
    }

    #[test]
    fn keys_are_not_printed() {
        assert_eq!(
            format!("{:?}", KeyRing::secrets(Scheme::Keygrip, &["hunter2"])),
            "KeyRing(Keygrip, 1 keys, REDACTED)"
        );
    }
}

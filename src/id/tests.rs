use std::hash::{Hash, Hasher};

use sha2::{Digest, Sha256};

use super::*;
use crate::store::Layout;

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
    for place in 0..40 {
        for byte in 0..=u8::MAX {
            let mut id = [b'a'; 40];
            id[place] = byte;
            assert_eq!(SessionId::of_octets(&id).is_some(), is_cookie_octet(byte), "{byte} at {place}");
        }
    }
    for bad in ["", " ", "a b", "a;b", "a,b", "a\"b", "a\\b", "a\0b", "sid€", "a\r\n", &"a".repeat(257)] {
        assert!(SessionId::parse(bad).is_none(), "{bad:?}");
    }
}

#[test]
fn nothing_about_an_id_is_printed() {
    let id = SessionId::random();
    let key = StoreKey::hashed("app:", &id);
    assert_eq!(format!("{id:?}"), "SessionId(REDACTED)");
    assert!(!format!("{key:?}").contains(id.expose()));
    assert!(!key.as_str().contains(id.expose()));
    assert!(!format!("{:?}", StoreKey::plain("koa:sess:", &id)).contains(id.expose()));
}

#[test]
fn the_hashed_key_is_the_digest_of_the_id() {
    let id = SessionId::parse("abc").expect("an id");
    assert_eq!(StoreKey::hashed("p:", &id).as_str(), "p:ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0");
    assert_eq!(StoreKey::plain("p:", &id).as_str(), "p:abc");
}

#[test]
fn the_octets_of_a_cookie_are_those_of_the_rfc() {
    let allowed: Vec<u8> =
        [0x21..=0x21, 0x23..=0x2b, 0x2d..=0x3a, 0x3c..=0x5b, 0x5d..=0x7e].into_iter().flatten().collect();
    let taken: Vec<u8> = (0..=u8::MAX).filter(|byte| is_cookie_octet(*byte)).collect();
    assert_eq!(taken, allowed);
}

#[test]
fn the_digests_of_a_key_are_those_of_its_text() {
    let id = SessionId::parse("abc").expect("an id");
    let key = StoreKey::hashed("p:", &id);
    let digest: [u8; 32] = Sha256::digest(key.as_str()).into();
    assert_eq!((key.prefix(), key.digest()), ("p:", digest));
    assert_eq!(key.handle(), URL_SAFE_NO_PAD.encode(&Sha256::digest(digest)[..6]));
    assert_eq!(format!("{key:?}"), format!("StoreKey(p:#{})", key.handle()));
}

#[test]
fn keys_are_equal_by_prefix_id_and_layout() {
    let hash = |key: &StoreKey| {
        let mut state = std::hash::DefaultHasher::new();
        key.hash(&mut state);
        state.finish()
    };
    let [a, b] = ["a", "b"].map(|id| SessionId::parse(id).expect("an id"));
    let key = StoreKey::hashed("p:", &a);
    let again = StoreKey::hashed("p:", &a);
    // Only one of them has been asked for its text.
    assert_eq!(again.as_str(), key.clone().as_str());
    assert_eq!((&key, hash(&key)), (&again, hash(&again)));
    for other in [
        StoreKey::hashed("p:", &b),
        StoreKey::hashed("q:", &a),
        StoreKey::plain("p:", &a),
        StoreKey::hashed("p:", &a).with_layout(Layout::Plain),
    ] {
        assert!(key != other && hash(&key) != hash(&other), "{other:?}");
    }
    assert_eq!(key.layout(), Layout::Native);
    assert_eq!(key.with_layout(Layout::Plain).clone().layout(), Layout::Plain);
}

#[test]
fn fingerprints_tell_ids_and_prefixes_apart() {
    let id = |n: u32| SessionId::parse(&format!("id-{n}")).expect("an id");
    let mut seen = std::collections::HashSet::new();
    for prefix in ["", "a", "b", "ab", "ba", "aa", "a:", "b:", "session:", "sessions:"] {
        for n in 0..50 {
            assert!(seen.insert(StoreKey::hashed(prefix, &id(n)).fingerprint()), "{prefix:?} {n}");
        }
    }
    let plain = StoreKey::plain("p:", &id(1));
    let words = |digest: [u8; 32]| {
        [0, 8, 16, 24].map(|i| u64::from_le_bytes(digest[i..i + 8].try_into().expect("eight")))
    };
    assert_eq!(plain.fingerprint(), words(plain.digest()));
    // FNV-1a of "a", as its authors give it, over the first eight bytes of the digest.
    let mut expected = words(Sha256::digest("id-1").into());
    expected[0] ^= 0xaf63_dc4c_8601_ec8c;
    assert_eq!(StoreKey::hashed("a", &id(1)).fingerprint(), expected);
}

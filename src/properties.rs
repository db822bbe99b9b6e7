//! What holds for any data: on the way in and out of the store, in a comparison, in a merge.

use std::{collections::BTreeMap, time::Duration};

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, header};
use cookie::{Key, SameSite};
use proptest::{
    prelude::*,
    test_runner::{Config, RngSeed},
};
use serde_json::{Map, Value};

use crate::{
    Timestamp,
    codec::{Codec, Head},
    cookie::{CookieLife, CookieOptions, MaxAge, Priority, Style},
    keyring::{KeyRing, Scheme},
    lifetime::Life,
    object::{Object, merge, notes, same_value},
    store::Layout,
    transport::{Carrier, Transport},
};

fn cases(number: u32) -> Config {
    let rng_seed = RngSeed::Fixed(20_231_114);
    Config { failure_persistence: None, rng_seed, ..Config::with_cases(number) }
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        // serde_json reads long fractions a little off.
        any::<i32>().prop_map(|n| Value::from(f64::from(n) / 8.0)),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((".{0,3}", inner), 0..4)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

/// Few keys, so that they meet.
fn map() -> impl Strategy<Value = Map<String, Value>> {
    prop::collection::vec((prop_oneof!["[a-d]", "\\PC{0,2}", "[\"\\\\\n]"], value()), 0..6)
        .prop_map(|pairs| pairs.into_iter().collect())
}

fn object(map: &Map<String, Value>) -> Object {
    Object::of(map).expect("a map")
}

fn read(object: &Object) -> Map<String, Value> {
    let mut text = Vec::new();
    object.write(&mut text);
    serde_json::from_slice(&text).expect("JSON")
}

/// The merge, key by key, in the words of its rule.
fn merged(base: Option<&Value>, mine: Option<&Value>, theirs: Option<&Value>) -> Option<Value> {
    let winner = match () {
        () if mine == base => theirs,
        () if theirs == base => mine,
        () if mine.is_none() || theirs.is_none() => None,
        () => mine,
    };
    winner.cloned()
}

fn options() -> impl Strategy<Value = CookieOptions> {
    let ages = prop_oneof![
        Just(MaxAge::Ttl),
        Just(MaxAge::BrowserSession),
        (0..34_560_000_000_u64).prop_map(|ms| MaxAge::For(Duration::from_millis(ms))),
        (0..9_999_999_999_999_u64).prop_map(|ms| MaxAge::Until(Timestamp::from_millis(ms))),
    ];
    let sites =
        prop::option::of(prop_oneof![Just(SameSite::Lax), Just(SameSite::Strict), Just(SameSite::None)]);
    let priorities =
        prop::option::of(prop_oneof![Just(Priority::Low), Just(Priority::Medium), Just(Priority::High)]);
    let domain = prop::option::of("[a-z]{1,9}");
    ("/[ -:<-~]{0,9}", domain, sites, ages, priorities, any::<[bool; 4]>()).prop_map(
        |(path, domain, same_site, max_age, priority, [http_only, secure, partitioned, overwrite])| {
            CookieOptions {
                path: path.into(),
                domain: domain.map(Into::into),
                http_only,
                secure,
                same_site,
                max_age,
                partitioned,
                priority,
                overwrite,
            }
        },
    )
}

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn an_object_is_read_as_it_was_written(map in map()) {
        let object = object(&map);
        prop_assert_eq!(read(&object), map.clone());
        for (key, value) in &map {
            let text = object.get(key).expect("the key");
            prop_assert_eq!(&serde_json::from_slice::<Value>(text).expect("JSON"), value);
        }
    }

    #[test]
    fn of_a_key_twice_the_last_counts(pairs in prop::collection::vec(("[a-c]", any::<u8>()), 0..30)) {
        let members: Vec<_> = pairs.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
        let text = format!("{{{}}}", members.join(","));
        let object = Object::parse(text.clone().into()).expect("an object");
        prop_assert_eq!(read(&object), serde_json::from_str::<Map<String, Value>>(&text).expect("JSON"));
        prop_assert_eq!(object.iter().count(), pairs.iter().map(|(key, _)| key).collect::<std::collections::BTreeSet<_>>().len());
    }

    #[test]
    fn changes_lead_from_one_object_to_the_other(from in map(), to in map()) {
        let (from, to) = (object(&from), object(&to));
        let mut there = from.clone();
        for (key, value) in from.changes_to(&to) {
            there.apply(&key, value);
        }
        prop_assert!(there.same(&to) && to.same(&there));
        prop_assert_eq!(from.same(&to), read(&from) == read(&to));
    }

    #[test]
    fn values_are_the_same_if_they_are_equal(a in value(), b in value()) {
        let text = |value: &Value| serde_json::to_vec(value).expect("JSON");
        let pretty = serde_json::to_vec_pretty(&a).expect("JSON");
        prop_assert!(same_value(&text(&a), &pretty), "spaces mean nothing");
        prop_assert_eq!(same_value(&text(&a), &text(&b)), a == b);
    }

    #[test]
    fn a_merge_follows_its_rule(base in map(), mine in map(), theirs in map()) {
        let result = merge(&object(&base), &object(&mine), &object(&theirs));
        let keys: std::collections::BTreeSet<_> = base.keys().chain(mine.keys()).chain(theirs.keys()).collect();
        let expected: BTreeMap<_, _> = keys
            .into_iter()
            .filter_map(|key| Some((key.clone(), merged(base.get(key), mine.get(key), theirs.get(key))?)))
            .collect();
        prop_assert_eq!(read(&result.object).into_iter().collect::<BTreeMap<_, _>>(), expected);
        // With no change of mine, or the same on both sides, it is theirs.
        for mine in [&base, &theirs] {
            let result = merge(&object(&base), &object(mine), &object(&theirs));
            prop_assert_eq!((read(&result.object), result.clashes), (theirs.clone(), 0));
        }
    }

    #[test]
    fn a_record_is_decoded_as_it_was_encoded(map in map(), created: u32, since: Option<u32>, own in prop::option::of(options()), layer in options()) {
        let life = Life { store: Timestamp::MAX, cookie: CookieLife::Until(Timestamp::MAX) };
        let own = own.filter(|own| *own != layer);
        let created = Timestamp::from_millis(created.into());
        let since = since.map(|since| Timestamp::from_millis(since.into()));
        let head = Head { created: Some(created), since, cookie: own.clone().map(Box::new), stored_cookie: None };
        let object = object(&map);
        let data = Codec::Native.encode(&head, &object, &layer, life).expect("encoded");
        let back = Codec::Native.decode(data, &layer).expect("decoded");
        let read_back = (back.head.created, back.head.since, back.head.cookie.as_deref());
        prop_assert_eq!(read_back, (Some(created), since, own.as_ref()));
        prop_assert_eq!(read(&back.object), map.clone());
        // The same with notes of where the keys lie; the text is the same.
        let (data, tag, length) = Codec::Native.encode_noted(&head, &object, &layer, life).expect("encoded");
        prop_assert_eq!(notes::split(&data).0.len(), length);
        prop_assert_eq!(&notes::noted(&Bytes::copy_from_slice(&data[..length]), Layout::Native, tag), &data);
        let noted = Codec::Native.decode_noted(data, &layer).expect("decoded");
        let read_back = (noted.head.created, noted.head.since, noted.head.cookie.as_deref());
        prop_assert_eq!(read_back, (Some(created), since, own.as_ref()));
        prop_assert!(noted.object.iter().eq(back.object.iter()));
        for codec in [Codec::Koa { signed: true }, Codec::Express] {
            let encoded = codec.encode(&head, &object, &layer, life);
            prop_assert_eq!(encoded.is_err(), map.contains_key("cookie"));
            let Ok(data) = encoded else { continue };
            let back = codec.decode(data, &layer).expect("decoded");
            prop_assert_eq!(read(&back.object), map.clone());
        }
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(data in prop::collection::vec(any::<u8>(), 0..64), text in "[{}\\[\\]:,\"a0-9.eEn\n-]{0,64}") {
        let layer = CookieOptions::new();
        let text = Bytes::from(text);
        let framed = Bytes::from([b"{\"v\":1,\"created\":1}\n", &data[..]].concat());
        for bytes in [Bytes::from(data), text, framed] {
            for codec in [Codec::Native, Codec::Koa { signed: true }, Codec::Express] {
                if let Ok(content) = codec.decode(bytes.clone(), &layer) {
                    // What is nested is not looked into; that it ends where it does is all that is known of it.
                    let mut text = Vec::new();
                    content.object.write(&mut text);
                    let again = Object::parse(text.into()).expect("what was read can be written and read");
                    prop_assert!(again.iter().eq(content.object.iter()));
                }
            }
        }
    }

    #[test]
    fn no_cookie_header_makes_the_transport_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "[sid=.;:%\" 0-9A-F]{0,60}") {
        let keys = [None, Some(Scheme::CookieJar), Some(Scheme::Keygrip), Some(Scheme::Express)];
        for scheme in keys {
            let keys = scheme.map(|scheme| match scheme {
                Scheme::CookieJar => KeyRing::cookie_jar([&Key::from(&[1; 64])]),
                Scheme::Keygrip | Scheme::Express => KeyRing::secrets(scheme, &["key"]),
            });
            let signed = keys.is_some();
            let mut carrier = Carrier::new("sid", keys, Style::MaxAge);
            carrier.transport = Transport::cookie().or(Transport::bearer());
            for bytes in [&bytes[..], text.as_bytes(), &[b"sid=", &bytes[..]].concat()] {
                let Ok(value) = HeaderValue::from_bytes(bytes) else { continue };
                let headers = HeaderMap::from_iter([(header::COOKIE, value.clone()), (header::AUTHORIZATION, value)]);
                let found = carrier.read(&carrier.capture(&headers));
                prop_assert!(found.is_none_or(|found| !signed || found.way == 1), "nothing forged is taken");
            }
        }
    }
}

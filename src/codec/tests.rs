use super::{header::eight_digits, *};
use crate::cookie::CookieLife;

const LIFE: Life = Life { store: Timestamp::MAX, cookie: CookieLife::BrowserSession };

fn read(text: &str, layer: &CookieOptions) -> Result<Content, String> {
    Codec::Native.decode(Bytes::copy_from_slice(text.as_bytes()), layer).map_err(|why| why.to_string())
}

fn written(content: &Content, layer: &CookieOptions) -> String {
    let bytes = Codec::Native.encode(&content.head, &content.object, layer, LIFE).expect("an envelope");
    String::from_utf8(bytes.into()).expect("text")
}

#[test]
fn the_usual_header_is_read_without_a_parser() {
    let header = |created: &str| format!("{{\"v\":1,\"created\":{created}}}\n{{}}");
    for (created, expected) in [
        ("0", Some((0, None))),
        ("7", Some((7, None))),
        ("10", Some((10, None))),
        ("1700000000123", Some((1_700_000_000_123, None))),
        ("123456789012345", Some((123_456_789_012_345, None))),
        ("1,\"since\":20", Some((1, Some(20)))),
        ("1,\"since\":1700000000123", Some((1, Some(1_700_000_000_123)))),
        ("1234567890123456", None),
        ("", None),
        ("01", None),
        ("-1", None),
        ("1.5", None),
        ("1,\"since\":", None),
        ("1,\"since\":02", None),
        ("1,\"since\":2,\"cookie\":{}", None),
        ("1,\"cookie\":{}", None),
    ] {
        let text = header(created);
        let read = plain_header(text.as_bytes()).map(|(head, length)| {
            assert_eq!((head.cookie, length), (None, text.len() - 2), "{created:?}");
            (head.created, head.since)
        });
        let at = |ms| Some(Timestamp::from_millis(ms));
        assert_eq!(read, expected.map(|(created, since)| (at(created), since.and_then(at))), "{created:?}");
    }
    for other in ["", "{\"v\":2,\"created\":1}\n{}", "{\"v\":1,\"created\":1", "{\"v\":1,\"created\":1} \n{}"]
    {
        assert!(plain_header(other.as_bytes()).is_none(), "{other:?}");
    }
}

#[test]
fn eight_digits_are_read_as_one_by_one_and_nothing_else_is() {
    for millis in [0, 1, 9, 12_345_678, 87_654_321, 99_999_999, 10_000_000, 90_909_090] {
        let text = format!("{millis:08}");
        let digits: &[u8; 8] = text.as_bytes().try_into().expect("eight");
        assert_eq!(eight_digits(digits), Some(millis));
        for place in 0..8 {
            for byte in 0..=u8::MAX {
                let mut text = *digits;
                text[place] = byte;
                let read = str::from_utf8(&text).ok().filter(|_| byte.is_ascii_digit()).map(|t| t.parse());
                assert_eq!(eight_digits(&text), read.map(|read| read.expect("digits")), "{text:?}");
            }
        }
    }
}

const TAG: [u8; 8] = *b"the tag.";

#[test]
fn notes_say_where_the_keys_lie() {
    let text = |json: &str| format!("{{\"v\":1,\"created\":1}}\n{json}");
    let long = format!("\"{}\"", "x".repeat(65_534));
    let many: Vec<_> = (0..40_000).map(|i| format!("\"{i}\":0")).collect();
    for (json, length) in [
        (r#"{"a":1,"bc":[2, {"d":3}],"":"é"}"#, 6),
        (r#"{"é":1}"#, 2),
        (&format!(r#"{{"a":{long},"b":1}}"#), 1 + 3 + 2),
        (&format!("{{{}}}", many.join(",")), 0),
        (r#"{"a\n":1,"b":2}"#, 0),
        ("{}", 0),
        // As somebody else may have written it.
        (r#"{"a": 1}"#, 0),
        (r#"{"a":1} "#, 0),
        (r#"{"a":1,"a":2}"#, 0),
        ("no object", 0),
    ] {
        let text = Bytes::from(text(json));
        let data = notes::noted(&text, Layout::Native, TAG.into());
        assert_eq!(notes::tag(&data), TAG.into());
        let (without, notes) = notes::split(&data);
        assert_eq!((without, notes.len()), (&*text, length), "{json}");
        let (plain, noted) = (
            Codec::Native.decode(text, &CookieOptions::new()),
            Codec::Native.decode_noted(data, &CookieOptions::new()),
        );
        match (plain, noted) {
            (Ok(plain), Ok(noted)) => assert!(plain.object.iter().eq(noted.object.iter()), "{json}"),
            (plain, noted) => assert_eq!((plain.is_err(), noted.is_err()), (true, true), "{json}"),
        }
    }
    let plain = Bytes::from_static(b"{\"cookie\":{}}");
    assert_eq!(notes::split(&notes::noted(&plain, Layout::Plain, TAG.into())), (&*plain, &[][..]));
}

#[test]
fn what_has_no_notes_has_none() {
    assert!(notes::split(b"").0.is_empty());
    let more = [&b"\xff\xff"[..], &TAG].concat();
    assert_eq!(notes::split(&more), (&*more, &[][..]), "more notes than there is text");
}

#[test]
fn what_is_no_envelope_is_refused_with_a_sentence() {
    let layer = CookieOptions::new();
    for (text, expected) in [
        ("", "no header line"),
        ("{\"v\":1,\"created\":1}", "no header line"),
        ("{\"v\":1}\n{}", "header is no header"),
        ("[]\n{}", "header is no header"),
        ("{\"v\":2,\"created\":1}\n{}", "version 2, this code reads version 1"),
        ("{\"v\":1,\"created\":1}\n[]", "no JSON object"),
        ("{\"v\":1,\"created\":1,\"since\":2}\n", "no JSON object"),
    ] {
        let why = read(text, &layer).expect_err(text);
        assert!(why.contains(expected), "{text:?}: {why}");
    }
}

#[test]
fn the_envelope_says_what_differs_from_the_layer_and_comes_back() {
    let layer = CookieOptions::new().path("/app").domain("example.com").priority(Priority::Low);
    let none = CookieOptions::new().path("/").same_site(None);
    let all = layer
        .clone()
        .domain("example.org")
        .http_only(false)
        .secure(false)
        .same_site(SameSite::Strict)
        .max_age(Duration::from_millis(1500))
        .partitioned(true)
        .priority(Priority::High)
        .overwrite(false);
    let table = [
        (None, ""),
        (Some(layer.clone()), ""),
        (Some(none), r#","cookie":{"path":"/","domain":"","same_site":"","priority":""}"#),
        (
            Some(all),
            r#","cookie":{"domain":"example.org","http_only":false,"secure":false,"same_site":"Strict","max_age":{"for":1500},"partitioned":true,"priority":"high","overwrite":false}"#,
        ),
        (Some(layer.clone().max_age(MaxAge::BrowserSession)), r#","cookie":{"max_age":"browser_session"}"#),
        (
            Some(layer.clone().max_age(MaxAge::Until(Timestamp::from_millis(9)))),
            r#","cookie":{"max_age":{"until":9}}"#,
        ),
    ];
    for (own, expected) in table {
        for since in [None, Some(Timestamp::from_millis(8))] {
            let head = Head {
                created: Some(Timestamp::from_millis(7)),
                since,
                cookie: own.clone().map(Box::new),
                stored_cookie: None,
            };
            let object = Object::parse(Bytes::from_static(b"{\"a\":1}")).expect("an object");
            let content = Content { head, object };
            let login = since.map_or("", |_| ",\"since\":8");
            let text = written(&content, &layer);
            assert_eq!(text, format!("{{\"v\":1,\"created\":7{login}{expected}}}\n{{\"a\":1}}"));
            let back = read(&text, &layer).expect(&text);
            assert_eq!((back.head.created, back.head.since), (content.head.created, since), "{text}");
            let differing = own.as_ref().filter(|own| **own != layer);
            assert_eq!(back.head.cookie.as_deref(), differing, "{text}");
            assert!(back.object.same(&content.object) && back.head.stored_cookie.is_none(), "{text}");
        }
    }
    let browser = CookieOptions::new().max_age(MaxAge::BrowserSession);
    let head = Head { cookie: Some(Box::default()), ..Head::default() };
    let ttl = Content { head, ..Content::default() };
    let text = written(&ttl, &browser);
    assert_eq!(text, "{\"v\":1,\"created\":0,\"cookie\":{\"max_age\":\"ttl\"}}\n{}");
    assert_eq!(read(&text, &browser).expect(&text).head.cookie, ttl.head.cookie);
}

#[test]
fn words_are_read_as_they_are_written_in_any_case() {
    for same_site in [SameSite::Strict, SameSite::Lax, SameSite::None] {
        let word = same_site.to_string();
        assert_eq!(same_site_of(&word), Some(same_site));
        assert_eq!(same_site_of(&word.to_lowercase()), Some(same_site));
    }
    for (priority, word) in [(Priority::Low, "low"), (Priority::Medium, "medium"), (Priority::High, "high")] {
        assert_eq!((priority_word(priority), priority_of(word)), (word, Some(priority)));
        assert_eq!(priority_of(&word.to_uppercase()), Some(priority));
    }
    assert_eq!((same_site_of("other"), priority_of("other")), (None, None));
}

#[test]
fn a_layout_has_its_tags_and_its_limits() {
    let koa = Codec::Koa { signed: true };
    assert_eq!(
        [Codec::Native, koa, Codec::Express].map(Codec::layout),
        [Layout::Native, Layout::Plain, Layout::Plain]
    );
    assert_ne!(Codec::Native.tag(b"{}"), Codec::Native.tag(b"{}"));
    assert_eq!(koa.tag(b"{}"), Tag::of(b"{}"));
    let until = CookieOptions::new().max_age(MaxAge::Until(Timestamp::MAX));
    assert!(Codec::Express.check(&until).is_err_and(|why| why.contains("MaxAge::For")));
    for (codec, options) in [(Codec::Native, &until), (koa, &until), (Codec::Express, &CookieOptions::new())]
    {
        assert_eq!(codec.check(options), Ok(()), "{codec:?}");
    }
}

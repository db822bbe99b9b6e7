use super::*;
use crate::cookie::Priority;

const KOA: Codec = Codec::Koa { signed: true };

fn lasting(cookie: CookieLife) -> Life {
    Life { store: Timestamp::MAX, cookie }
}

fn read(codec: Codec, text: &str) -> Content {
    codec.decode(Bytes::copy_from_slice(text.as_bytes()), &CookieOptions::new()).expect(text)
}

fn written(codec: Codec, content: &Content, cookie: CookieLife) -> String {
    let bytes = codec
        .encode(&content.head, &content.object, &CookieOptions::new(), lasting(cookie))
        .expect("a record");
    String::from_utf8(bytes.into()).expect("text")
}

#[test]
fn a_cookie_member_is_read_setting_by_setting() {
    let new = CookieOptions::new;
    let until = |ms| new().max_age(MaxAge::Until(Timestamp::from_millis(ms)));
    let both = [
        (r#""path":"/app""#, new().path("/app")),
        (r#""path":7"#, new()),
        (r#""domain":"example.com""#, new().domain("example.com")),
        (r#""httpOnly":false"#, new().http_only(false)),
        (r#""secure":false"#, new().secure(false)),
        (r#""secure":"yes""#, new()),
        (r#""overwrite":false"#, new().overwrite(false)),
        (r#""partitioned":true"#, new().partitioned(true)),
        (r#""sameSite":"none""#, new().same_site(SameSite::None)),
        (r#""sameSite":true"#, new().same_site(SameSite::Strict)),
        (r#""sameSite":false"#, new().same_site(None)),
        (r#""sameSite":null"#, new().same_site(None)),
        (r#""sameSite":7"#, new()),
        (r#""priority":"high""#, new().priority(Priority::High)),
    ];
    let koa = [
        (r#""maxAge":null"#, new().max_age(MaxAge::BrowserSession)),
        (r#""maxAge":false"#, new().max_age(MaxAge::BrowserSession)),
        (r#""maxAge":1500"#, new().max_age(Duration::from_millis(1500))),
        (r#""maxAge":0.5"#, new().max_age(Duration::from_micros(500))),
        (r#""maxAge":-5"#, new().max_age(Duration::ZERO)),
        (r#""maxAge":1e300"#, new().max_age(Duration::MAX)),
        (r#""maxAge":"1500""#, new()),
        (r#""originalMaxAge":1500"#, new()),
        (r#""maxAge":1500,"expires":"1970-01-01T00:00:02.500Z""#, until(2500)),
        (r#""expires":"1969-01-01T00:00:00.000Z""#, until(0)),
        (r#""expires":"soon""#, new()),
    ];
    let express = [
        (r#""originalMaxAge":1500"#, new().max_age(Duration::from_millis(1500))),
        (r#""originalMaxAge":null"#, new().max_age(MaxAge::BrowserSession)),
        (r#""maxAge":1500"#, new()),
        (r#""expires":"1970-01-01T00:00:02.500Z""#, new()),
    ];
    let of = |codec, table: Vec<_>| table.into_iter().map(move |(text, own)| (codec, text, own));
    let tables =
        of(KOA, [&both[..], &koa].concat()).chain(of(Codec::Express, [&both[..], &express].concat()));
    for (codec, text, own) in tables {
        let content = read(codec, &format!(r#"{{"cookie":{{{text}}},"a":1}}"#));
        // Settings that are the layer's are nobody's own.
        assert_eq!(
            content.head.cookie.as_deref(),
            Some(&own).filter(|own| **own != new()),
            "{codec:?} {text}"
        );
        assert!(content.object.same(&Object::of(&json!({"a": 1})).expect("an object")), "{codec:?} {text}");
    }
}

#[test]
fn a_new_cookie_member_is_written_as_the_library_does() {
    let own = |options: CookieOptions| Content {
        head: Head { cookie: Some(Box::new(options)), ..Head::default() },
        ..Content::default()
    };
    let new = CookieOptions::new;
    let full = || {
        new()
            .path("/app")
            .domain("example.com")
            .http_only(false)
            .same_site(SameSite::Strict)
            .partitioned(true)
            .priority(Priority::High)
            .overwrite(false)
    };
    let end = CookieLife::Until(Timestamp::from_millis(86_400_123));
    let table = [
        (
            KOA,
            Content::default(),
            end,
            r#""maxAge":null,"secure":true,"sameSite":"lax","httpOnly":true,"path":"/","overwrite":true,"signed":true"#,
        ),
        (
            KOA,
            own(new().max_age(DEFAULT_TTL)),
            end,
            r#""maxAge":86400000,"secure":true,"sameSite":"lax","httpOnly":true,"path":"/","overwrite":true,"signed":true"#,
        ),
        (
            Codec::Koa { signed: false },
            own(new().max_age(Duration::from_millis(1500))),
            end,
            r#""signed":false,"maxAge":1500,"secure":true,"sameSite":"lax","httpOnly":true,"path":"/","overwrite":true"#,
        ),
        (
            KOA,
            own(new().max_age(MaxAge::Until(Timestamp::from_millis(86_400_123)))),
            end,
            r#""maxAge":null,"secure":true,"sameSite":"lax","httpOnly":true,"path":"/","overwrite":true,"signed":true,"expires":"1970-01-02T00:00:00.123Z""#,
        ),
        (
            KOA,
            own(full()),
            end,
            r#""maxAge":null,"secure":true,"sameSite":"strict","httpOnly":false,"path":"/app","overwrite":false,"signed":true,"domain":"example.com","partitioned":true,"priority":"high""#,
        ),
        (
            Codec::Express,
            own(full()),
            end,
            r#""originalMaxAge":null,"expires":"1970-01-02T00:00:00.123Z","secure":true,"httpOnly":false,"path":"/app","sameSite":"strict","partitioned":true,"priority":"high","domain":"example.com""#,
        ),
        (
            Codec::Express,
            own(new().max_age(Duration::from_millis(1500))),
            end,
            r#""originalMaxAge":1500,"expires":"1970-01-02T00:00:00.123Z","secure":true,"httpOnly":true,"path":"/","sameSite":"lax""#,
        ),
        (
            Codec::Express,
            Content::default(),
            CookieLife::BrowserSession,
            r#""originalMaxAge":null,"expires":null,"secure":true,"httpOnly":true,"path":"/","sameSite":"lax""#,
        ),
    ];
    for (codec, content, life, expected) in table {
        assert_eq!(written(codec, &content, life), format!("{{\"cookie\":{{{expected}}}}}"), "{codec:?}");
    }
}

#[test]
fn the_layers_own_settings_come_first_in_koas_order() {
    let layer = CookieOptions::new().secure(false).same_site(None).max_age(DEFAULT_TTL);
    for (layer, expected) in [
        (layer.clone(), r#""httpOnly":true,"path":"/","overwrite":true,"signed":true,"maxAge":86400000"#),
        (
            layer.clone().path("/app"),
            r#""path":"/app","httpOnly":true,"overwrite":true,"signed":true,"maxAge":86400000"#,
        ),
        (
            layer.clone().http_only(false),
            r#""httpOnly":false,"path":"/","overwrite":true,"signed":true,"maxAge":86400000"#,
        ),
        (
            layer.max_age(Duration::ZERO),
            r#""maxAge":0,"httpOnly":true,"path":"/","overwrite":true,"signed":true"#,
        ),
    ] {
        let bytes = KOA
            .encode(&Head::default(), &Object::default(), &layer, lasting(CookieLife::Removal))
            .expect("a record");
        assert_eq!(str::from_utf8(&bytes), Ok(&*format!("{{\"cookie\":{{{expected}}}}}")));
    }
}

#[test]
fn what_only_node_knows_of_a_cookie_member_is_kept() {
    let life = CookieLife::Until(Timestamp::EPOCH);
    let text = r#"{"cookie":{"maxAge":5,"signed":false,"own":{"x":1}},"a":1}"#;
    let mut content = read(KOA, text);
    assert_eq!(written(KOA, &content, life), text, "nobody has changed a setting");
    content.head.cookie = Some(Box::new(CookieOptions::new().path("/app").max_age(Duration::from_millis(5))));
    let expected = r#"{"cookie":{"maxAge":5,"signed":false,"own":{"x":1},"path":"/app","secure":true,"sameSite":"lax","httpOnly":true,"overwrite":true},"a":1}"#;
    assert_eq!(written(KOA, &content, life), expected);
    let text = r#"{"cookie":{"originalMaxAge":5,"expires":"then","own":1},"a":1}"#;
    let expected = r#"{"cookie":{"originalMaxAge":5,"expires":"1970-01-01T00:00:00.000Z","own":1},"a":1}"#;
    assert_eq!(written(Codec::Express, &read(Codec::Express, text), life), expected);
}

#[test]
fn a_key_that_would_be_taken_for_settings_is_refused() {
    let object = Object::of(&json!({"cookie": 1})).expect("an object");
    let content = Content { object, ..Content::default() };
    let why = KOA
        .encode(&content.head, &content.object, &CookieOptions::new(), lasting(CookieLife::Removal))
        .expect_err("refused");
    assert!(why.to_string().contains("update_cookie"), "{why}");
}

use super::*;

const LIMIT: Duration = Duration::from_secs(34_560_000);

#[test]
fn settings_that_break_a_rule_are_told_which() {
    let new = CookieOptions::new;
    let long = |length: usize| "/".repeat(length);
    let hosts = |length: usize| "h".repeat(length);
    let full = || new().path(long(1024)).domain(hosts(1024));
    let open = || new().secure(false);
    let table = [
        ("sid", new(), ""),
        ("", new(), "the cookie name"),
        ("s id", new(), "the cookie name"),
        ("s;", new(), "the cookie name"),
        ("é", new(), "the cookie name"),
        (&*"n".repeat(1024), full(), ""),
        (&*"n".repeat(1025), full(), "3072 bytes together"),
        (&*"n".repeat(3071), new(), ""),
        (&*"n".repeat(3072), new(), "3072 bytes together"),
        ("sid", new().path(""), "must start with `/`"),
        ("sid", new().path("app"), "must start with `/`"),
        ("sid", new().path("/a b~"), ""),
        ("sid", new().path("/a "), "the cookie path"),
        ("sid", new().path("/a;b"), "the cookie path"),
        ("sid", new().path("/a\x7f"), "the cookie path"),
        ("sid", new().path("/a\x1f"), "the cookie path"),
        ("sid", new().path("/é"), "the cookie path"),
        ("sid", new().path(long(1024)), ""),
        ("sid", new().path(long(1025)), "the cookie path"),
        ("sid", new().domain(hosts(1024)), ""),
        ("sid", new().domain(hosts(1025)), "the cookie domain"),
        ("sid", new().domain("Example-1.com"), ""),
        ("sid", new().domain(".example.com"), ""),
        ("sid", new().domain(""), "a host name such as"),
        ("sid", new().domain("."), "a host name such as"),
        ("sid", new().domain("a_b.com"), "a host name such as"),
        ("sid", new().domain("a b.com"), "a host name such as"),
        ("sid", open(), ""),
        ("sid", open().same_site(None), ""),
        ("sid", open().same_site(SameSite::None), "SameSite=None needs a secure cookie"),
        ("sid", open().partitioned(true), "Partitioned needs a secure cookie"),
        ("__Host-sid", open(), "__Host- needs a secure cookie"),
        ("__sEcUrE-sid", open(), "__Secure- needs a secure cookie"),
        ("sid", new().same_site(SameSite::None).partitioned(true), ""),
        ("__Secure-sid", new().path("/app").domain("example.com"), ""),
        ("__Host-sid", new(), ""),
        ("__hOsT-sid", new().path("/app"), "the path `/` and no domain"),
        ("__Host-sid", new().domain("example.com"), "the path `/` and no domain"),
        ("__Host", new().path("/app").domain("example.com"), ""),
        ("sid", new().max_age(LIMIT), ""),
        ("sid", new().max_age(LIMIT + Duration::from_millis(1)), "400 days"),
    ];
    for (name, options, expected) in table {
        match options.check(name) {
            Ok(()) => assert_eq!(expected, "", "{name:?} {options:?}"),
            Err(why) => {
                assert!(!expected.is_empty() && why.contains(expected), "{name:?} {options:?}: {why}")
            }
        }
    }
}

#[test]
fn a_name_is_made_of_tokens_and_colons() {
    let taken: Vec<u8> = (0..=u8::MAX).filter(|byte| is_token(*byte)).collect();
    let allowed = b"!#$%&'*+-.0123456789:ABCDEFGHIJKLMNOPQRSTUVWXYZ^_`abcdefghijklmnopqrstuvwxyz|~";
    assert_eq!(taken, allowed);
}

#[test]
fn a_cookie_goes_to_its_path_and_below() {
    for (cookie, path, expected) in [
        ("/", "/", true),
        ("/", "/app", true),
        ("/app", "/app", true),
        ("/app", "/app/", true),
        ("/app", "/app/deep", true),
        ("/app", "/apple", false),
        ("/app", "/", false),
        ("/app/", "/app/deep", true),
        ("/app/", "/app/", true),
        ("/app/", "/app", false),
    ] {
        assert_eq!(path_matches(cookie, path), expected, "{cookie} {path}");
    }
}

#[test]
fn each_setting_sets_what_it_is_called() {
    let options = CookieOptions::new()
        .path("/app")
        .domain("example.com")
        .http_only(false)
        .secure(false)
        .same_site(SameSite::Strict)
        .max_age(LIMIT)
        .partitioned(true)
        .priority(Priority::Low)
        .overwrite(false);
    let expected = CookieOptions {
        path: "/app".into(),
        domain: Some("example.com".into()),
        http_only: false,
        secure: false,
        same_site: Some(SameSite::Strict),
        max_age: MaxAge::For(LIMIT),
        partitioned: true,
        priority: Some(Priority::Low),
        overwrite: false,
    };
    assert_eq!(options, expected);
}

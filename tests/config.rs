//! Settings that cannot work, and the sentence that says how to mend each.
#![cfg(all(feature = "memory-store", feature = "testing"))]

mod site;

use axum::Router;
use axum_generic_session::{
    CookieOptions, Key, MaxAge, MemoryStore, Rolling, SameSite, SessionLayer, Timestamp,
    store::ThreeMethodStore, testing::ManualClock,
};
use site::{Cache, at_path};
use std::time::Duration;

fn layer() -> SessionLayer {
    SessionLayer::new(MemoryStore::new())
}

fn why(layer: &SessionLayer) -> String {
    let why = layer.check().expect_err("a setting that cannot work").to_string();
    assert_eq!(layer.sessions().map(drop).unwrap_err().to_string(), why);
    let why = why.strip_prefix("session layer: ").expect("the part of the program");
    // That the pages exist is tested in `guide.rs`.
    why.split("; see https://docs.rs/").next().unwrap_or_default().to_owned()
}

fn cookie(options: CookieOptions) -> SessionLayer {
    layer().cookie(options)
}

#[test]
fn each_impossible_setting_has_its_sentence() {
    let new = CookieOptions::new;
    let unsafe_ = || new().secure(false);
    let name = "must be one or more letters, digits or any of !#$%&'*+-.^_`|~:";
    let text = "must be at most 1024 printable ASCII characters without `;` or a space at the end";
    let host = "must be a host name such as `example.com`";
    let secure = |what: &str| format!("{what} needs a secure cookie: set `secure(true)`, or drop {what}");
    let prefix = "the prefix __Host- needs the path `/` and no domain";
    let bounds = "`max_size`, `max_in_flight` and `operation_timeout` must not be zero";
    let (no_keys, no_secrets): ([&Key; 0], [&str; 0]) = ([], []);
    let no_end = "`max_lifetime` needs to know when a session began, which the layouts of koa and express do not \
                  tell: leave it out, or use `SessionLayer::new`";
    let empty = "the list of keys is empty: give at least one, or leave `keys` out for unsigned cookies";
    let table: Vec<(SessionLayer, String)> = vec![
        (layer().name(""), format!("the cookie name \"\" {name}")),
        (layer().name("a b"), format!("the cookie name \"a b\" {name}")),
        (layer().name("a=b"), format!("the cookie name \"a=b\" {name}")),
        (layer().name("sid;"), format!("the cookie name \"sid;\" {name}")),
        (layer().name("sid\r\n"), format!("the cookie name \"sid\\r\\n\" {name}")),
        (layer().name("sïd"), format!("the cookie name \"sïd\" {name}")),
        (cookie(at_path("app")), "the cookie path \"app\" must start with `/`".into()),
        (cookie(at_path("")), "the cookie path \"\" must start with `/`".into()),
        (cookie(at_path("/a;b")), format!("the cookie path \"/a;b\" {text}")),
        (cookie(at_path("/a\r\n")), format!("the cookie path \"/a\\r\\n\" {text}")),
        (cookie(at_path("/a ")), format!("the cookie path \"/a \" {text}")),
        (cookie(at_path("/é")), format!("the cookie path \"/é\" {text}")),
        (cookie(new().domain("a;b")), format!("the cookie domain \"a;b\" {text}")),
        (cookie(new().domain("")), format!("the cookie domain \"\" {host}")),
        (cookie(new().domain(".")), format!("the cookie domain \".\" {host}")),
        (cookie(new().domain("https://example.com")), format!("the cookie domain \"https://example.com\" {host}")),
        (cookie(unsafe_().same_site(SameSite::None)), secure("SameSite=None")),
        (cookie(unsafe_().partitioned(true)), secure("Partitioned")),
        (cookie(unsafe_()).name("__Host-sid"), secure("the prefix __Host-")),
        (cookie(unsafe_()).name("__secure-sid"), secure("the prefix __Secure-")),
        (cookie(at_path("/app")).name("__Host-sid"), prefix.into()),
        (cookie(new().domain("example.com")).name("__HOST-sid"), prefix.into()),
        (
            cookie(new().max_age(Duration::from_secs(400 * 86_400 + 1))),
            "browsers keep no cookie longer than 400 days: set `max_age` to at most that".into(),
        ),
        (
            cookie(new().max_age(Duration::ZERO)),
            "the cookie's `max_age` is zero, so every session would be born dead: give it a duration, or use \
             `MaxAge::BrowserSession`"
                .into(),
        ),
        (
            cookie(new().max_age(MaxAge::Until(Timestamp::MAX))),
            "`MaxAge::Until` is for one visitor: as the layer's setting it will lie in the past some day; use \
             `MaxAge::For` or `ttl`"
                .into(),
        ),
        (layer().ttl(Duration::ZERO), "`ttl` is zero, so every session would be born dead: give it a duration".into()),
        (
            layer().max_lifetime(Duration::ZERO),
            "`max_lifetime` is zero, so every session would be born dead: give it a duration".into(),
        ),
        (layer().prefix("a b"), "the store prefix must be at most 256 visible ASCII characters".into()),
        (layer().prefix("x".repeat(257)), "the store prefix must be at most 256 visible ASCII characters".into()),
        (layer().keys(no_keys), empty.into()),
        (SessionLayer::koa(MemoryStore::new(), &no_secrets), empty.into()),
        (SessionLayer::express(MemoryStore::new(), &["s"]).max_lifetime(Duration::from_secs(9)), no_end.into()),
        (layer().max_size(0), bounds.into()),
        (layer().max_in_flight(0), bounds.into()),
        (layer().operation_timeout(Duration::ZERO), bounds.into()),
    ];
    for (layer, expected) in table {
        assert_eq!(why(&layer), expected);
    }
    for fraction in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
        let sentence = why(&layer().rolling(Rolling::After(fraction)));
        assert_eq!(
            sentence,
            format!("`Rolling::After({fraction})` must be a fraction from 0.0 to 1.0 of the life")
        );
    }
    let long = [layer().name("n".repeat(3072)), cookie(at_path("/")).name("n".repeat(4000))];
    for layer in long {
        let sentence = "the cookie's name, path and domain must have at most 3072 bytes together: with the id, browsers \
                        take no more than 4096";
        assert_eq!(why(&layer), sentence);
    }
}

#[test]
fn what_can_work_is_accepted() {
    let new = CookieOptions::new;
    for layer in [
        layer(),
        layer().name("__Host-sid"),
        layer().name("n".repeat(3071)),
        layer().prefix(""),
        layer().ttl(Duration::MAX).max_lifetime(Duration::MAX),
        layer().rolling(Rolling::After(0.0)).rolling(Rolling::After(1.0)),
        layer().reconnect_timeout(Duration::ZERO),
        layer().operation_timeout(Duration::MAX),
        cookie(new().same_site(SameSite::None).partitioned(true).domain(".example.com")),
        cookie(new().max_age(Duration::from_secs(400 * 86_400))),
        cookie(new().path("/a b,c=\"d\"")),
        cookie(new().secure(false)),
        SessionLayer::koa(MemoryStore::new(), &["one", "two"]),
        SessionLayer::express(MemoryStore::new(), &["one"]).unsigned(),
        SessionLayer::new(ThreeMethodStore::new(Cache::new(ManualClock::new()))),
    ] {
        layer.check().unwrap_or_else(|why| panic!("{why}: {layer:?}"));
    }
}

#[test]
#[should_panic(
    expected = "session layer: SameSite=None needs a secure cookie: set `secure(true)`, or drop SameSite=None"
)]
fn what_was_not_checked_panics_where_the_router_is_built() {
    let _: Router = Router::new().layer(cookie(CookieOptions::new().same_site(SameSite::None).secure(false)));
}

#[test]
fn a_setting_may_be_mended_after_a_check() {
    let broken = layer().name("");
    assert!(broken.check().is_err());
    let mended = broken.clone().name("sid");
    assert!(mended.check().is_ok());
    assert!(broken.check().is_err(), "the first is as it was");
    assert!(mended.name("a b").check().is_err(), "and a checked one is checked again when it is changed");
}

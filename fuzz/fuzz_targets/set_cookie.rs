//! Cookie settings: refused when the layer is built, or sent so that they read back as what they are.
#![no_main]

use std::time::Duration;

use axum::{Router, routing::get};
use axum_generic_session::{
    CookieOptions, Error, MaxAge, MemoryStore, SameSite, Session, SessionLayer, Timestamp,
};
use axum_generic_session_fuzz::{key, visit};
use libfuzzer_sys::fuzz_target;

/// Outside of the cookie's path there is no session.
async fn page(session: Option<Session>) -> Result<(), Error> {
    match session {
        Some(session) => session.insert("a", 1).await,
        None => Ok(()),
    }
}

fuzz_target!(|input: (&str, &str, Option<&str>, u16, u64)| {
    let (name, path, domain, flags, number) = input;
    let flag = |bit: u32| flags >> bit & 1 == 1;
    let same_site = [None, Some(SameSite::Lax), Some(SameSite::Strict), Some(SameSite::None)];
    let mut options = CookieOptions::new()
        .path(path.to_owned())
        .http_only(flag(0))
        .secure(flag(1))
        .partitioned(flag(2))
        .same_site(same_site[usize::from(flags >> 3 & 3)]);
    options.max_age = match flags >> 5 & 3 {
        0 => MaxAge::Ttl,
        1 => MaxAge::BrowserSession,
        2 => MaxAge::For(Duration::from_secs(number)),
        _ => MaxAge::Until(Timestamp::from_millis(number)),
    };
    if let Some(domain) = domain {
        options = options.domain(domain.to_owned());
    }
    let layer =
        SessionLayer::new(MemoryStore::new()).name(name).cookie(options).ttl(Duration::from_millis(number));
    let layer = if flag(7) { layer.keys([&key()]) } else { layer };
    if layer.check().is_err() {
        return;
    }
    let (status, headers) = visit(&Router::new().route("/", get(page)).layer(layer), []);
    assert_eq!(status, 200);
    for line in headers.get_all("set-cookie") {
        let line = line.to_str().expect("ASCII");
        assert!(line.bytes().all(|byte| (0x20..0x7f).contains(&byte)));
        let mut parts = line.split("; ");
        let (sent, value) = parts.next().and_then(|pair| pair.split_once('=')).expect("a pair");
        assert_eq!(sent, name);
        assert!(name.len() + value.len() <= 4096);
        for part in parts {
            match part.split_once('=').unwrap_or((part, "")) {
                ("Path", sent) => assert_eq!(sent, path),
                ("Domain", sent) => assert_eq!(Some(sent), domain),
                ("Max-Age", age) => assert!(age.parse::<u64>().expect("a number") <= 34_560_000),
                ("HttpOnly", "") => assert!(flag(0)),
                ("Secure", "") => assert!(flag(1)),
                ("Partitioned", "") => assert!(flag(2)),
                ("SameSite" | "Expires" | "Priority", _) => {}
                (other, _) => panic!("an attribute that nobody asked for: {other}"),
            }
        }
    }
});

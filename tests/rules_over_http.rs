//! The table of the finalizer, seen from outside: for each row what the store is asked and what the client is sent.
#![cfg(all(feature = "memory-store", feature = "testing"))]

mod site;

use axum::{
    extract::Path,
    routing::{MethodRouter, get},
};
use axum_generic_session::{Error, Rolling, Session, SessionId, SessionLayer, testing::Calls};
use site::{COOKIE, Site, act};
use std::time::Duration;

/// A page whose handler does what its path says, word by word.
fn acts() -> MethodRouter {
    get(async |session: Session, Path(words): Path<String>| -> Result<(), Error> {
        for word in words.split('+') {
            act(&session, word).await?;
        }
        Ok(())
    })
}

/// What the client is sent.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Cookie {
    None,
    /// The one it has.
    Same,
    /// One with a new id.
    New,
    Removal,
}
use Cookie::{New, None as NoCookie, Removal, Same};

const NO: Calls = Calls { get: 0, set: 0, touch: 0, destroy: 0, rotate: 0 };
const READ: Calls = Calls { get: 1, ..NO };
const SET: Calls = Calls { set: 1, ..NO };
const READ_SET: Calls = Calls { get: 1, set: 1, ..NO };
const READ_TOUCH: Calls = Calls { get: 1, touch: 1, ..NO };
const READ_DESTROY: Calls = Calls { get: 1, destroy: 1, ..NO };
const READ_ROTATE: Calls = Calls { get: 1, rotate: 1, ..NO };
const READ_SET_DESTROY: Calls = Calls { get: 1, set: 1, destroy: 1, ..NO };

type Row = (&'static str, Calls, Cookie);

async fn check(
    settings: impl Fn(SessionLayer) -> SessionLayer,
    known: bool,
    rows: impl IntoIterator<Item = Row>,
) {
    for (words, calls, cookie) in rows {
        let site = Site::with(&settings).page("/act/{words}", acts());
        let mut visitor = if known { site.known("alice").await } else { site.visitor() };
        site.clock.advance(Duration::from_secs(60));
        let before = visitor.cookie(COOKIE).map(str::to_owned);
        let answer = visitor.get(&format!("/act/{words}")).await.expect_status(200);
        assert_eq!(site.store.calls(), calls, "{words}: calls of the store");
        let lines = answer.set_cookies();
        assert!(lines.len() <= 1, "{words}: {lines:?}");
        let sent = match (lines.first(), visitor.cookie(COOKIE)) {
            (None, _) => NoCookie,
            (Some(_), None) => Removal,
            (Some(_), now) if now == before.as_deref() => Same,
            (Some(_), _) => New,
        };
        assert_eq!(sent, cookie, "{words}: {lines:?}");
    }
}

#[tokio::test]
async fn a_new_visitor() {
    let rows = [
        ("nothing", NO, NoCookie),
        ("read", NO, NoCookie),
        ("write", SET, New),
        ("write+clear", NO, NoCookie),
        ("settings", SET, New),
        ("destroy", NO, NoCookie),
        ("write+destroy", NO, NoCookie),
        ("destroy+write", SET, New),
        ("regenerate", NO, NoCookie),
        ("regenerate+write", SET, New),
        ("renew", NO, NoCookie),
        ("renew+write", SET, New),
        ("read+force", SET, New),
        ("write+prevent", NO, NoCookie),
        ("read+prevent+force", SET, New),
        ("write+prevent+auto", SET, New),
        ("read+force+auto", NO, NoCookie),
    ];
    check(|layer| layer, false, rows.into_iter().chain([("force", SET, New)])).await;
    check(|layer| layer.defer(true), false, rows.into_iter().chain([("force", NO, NoCookie)])).await;
}

#[tokio::test]
async fn a_new_visitor_where_empty_sessions_are_allowed() {
    let used = [
        ("read", SET, New),
        ("write+clear", SET, New),
        ("regenerate", SET, New),
        ("renew", SET, New),
        ("destroy", NO, NoCookie),
        ("destroy+save", NO, NoCookie),
        ("read+prevent", NO, NoCookie),
    ];
    check(|layer| layer.allow_empty(true), false, used.into_iter().chain([("nothing", SET, New)])).await;
    let deferred = |layer: SessionLayer| layer.allow_empty(true).defer(true);
    check(deferred, false, used.into_iter().chain([("nothing", NO, NoCookie)])).await;
}

const KNOWN: [Row; 19] = [
    ("read", READ, NoCookie),
    ("same", READ, NoCookie),
    ("write", READ_SET, Same),
    ("clear", READ_SET, Same),
    ("settings", READ_SET, Same),
    ("read+force", READ_SET, Same),
    ("write+prevent", READ, NoCookie),
    ("read+destroy", READ_DESTROY, Removal),
    ("write+destroy", READ_DESTROY, Removal),
    ("destroy+write", READ_SET_DESTROY, New),
    ("regenerate", READ_DESTROY, Removal),
    ("regenerate+same", READ_SET_DESTROY, New),
    ("regenerate+force", READ_SET_DESTROY, New),
    ("renew", READ_ROTATE, New),
    ("renew+write", READ_ROTATE, New),
    ("renew+clear", READ_DESTROY, Removal),
    ("renew+renew", READ_ROTATE, New),
    ("renew+destroy", READ_DESTROY, Removal),
    ("destroy+renew+write", READ_SET_DESTROY, New),
];

#[tokio::test]
async fn a_known_visitor() {
    let eager = [
        ("nothing", READ, NoCookie),
        ("force", READ_SET, Same),
        ("destroy", READ_DESTROY, Removal),
        ("destroy+force", READ_DESTROY, Removal),
        ("regenerate+destroy", READ_DESTROY, Removal),
        ("prevent", READ, NoCookie),
        ("destroy+prevent", READ, NoCookie),
    ];
    check(|layer| layer, true, KNOWN.into_iter().chain(eager)).await;
    let deferred = [
        ("nothing", NO, NoCookie),
        ("force", NO, NoCookie),
        // A logout looks at what it ends, for the settings of the cookie that it takes away.
        ("destroy", READ_DESTROY, Removal),
        ("destroy+force", READ_DESTROY, Removal),
        ("regenerate+destroy", READ_DESTROY, Removal),
        ("destroy+prevent", NO, NoCookie),
        ("prevent", NO, NoCookie),
        ("read+renew+prevent", READ, NoCookie),
        ("read+destroy+prevent", READ, NoCookie),
    ];
    check(|layer| layer.defer(true), true, KNOWN.into_iter().chain(deferred)).await;
}

#[tokio::test]
async fn a_known_visitor_of_a_site_where_use_prolongs() {
    let rows = [
        ("read", READ_TOUCH, Same),
        ("same", READ_TOUCH, Same),
        ("write", READ_SET, Same),
        ("read+prevent", READ, NoCookie),
        ("read+destroy", READ_DESTROY, Removal),
        ("renew", READ_ROTATE, New),
    ];
    let rolling = |layer: SessionLayer| layer.rolling(Rolling::EveryRequest);
    check(rolling, true, rows.into_iter().chain([("nothing", READ_TOUCH, Same)])).await;
    let deferred = |layer: SessionLayer| layer.rolling(Rolling::EveryRequest).defer(true);
    check(deferred, true, rows.into_iter().chain([("nothing", NO, NoCookie)])).await;
    check(rolling, false, [("read", NO, NoCookie), ("write", SET, New)]).await;
}

#[tokio::test]
async fn an_emptied_session_with_allow_empty_goes_on_under_a_new_id() {
    let rows = [
        ("renew+clear", READ_ROTATE, New),
        ("regenerate", READ_SET_DESTROY, New),
        ("read+destroy+save", READ_DESTROY, Removal),
    ];
    check(|layer| layer.allow_empty(true), true, rows).await;
}

#[tokio::test]
async fn a_visitor_whose_session_is_gone() {
    let gone = |words: &'static str| async move {
        let site = Site::with(|layer| layer.defer(true)).page("/act/{words}", acts());
        let mut visitor = site.known("alice").await;
        let id = SessionId::parse(visitor.cookie(COOKIE).unwrap()).unwrap();
        site.layer.sessions().unwrap().destroy(&id).await.unwrap();
        visitor.get(&format!("/act/{words}")).await.expect_status(200).set_cookies().len()
    };
    // A late answer must not take a newer login's cookie away, but a logout was asked for.
    for (words, cookies) in
        [("read", 0), ("renew", 0), ("destroy", 1), ("read+destroy", 1), ("regenerate", 1)]
    {
        assert_eq!(gone(words).await, cookies, "{words}");
    }
}

#[tokio::test]
async fn a_session_that_ends_by_its_own_settings_is_ended() {
    let over = |layer: SessionLayer| {
        layer.ttl_with(|session| session.value::<u8>("new").ok()?.map(|_| Duration::ZERO))
    };
    check(over, true, [("write", READ_DESTROY, Removal), ("read", READ, NoCookie)]).await;
    check(over, false, [("write", NO, NoCookie)]).await;
}

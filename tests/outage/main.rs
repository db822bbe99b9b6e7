//! The store fails, hangs, is away, or holds what cannot be read.
#![cfg(all(feature = "memory-store", feature = "testing"))]

mod connection;
mod corrupt;
mod doubt;
#[path = "../figures/mod.rs"]
mod figures;
mod limits;
#[path = "../site/mod.rs"]
mod site;

use axum::{extract::Path, routing::get};
use axum_generic_session::{
    Error, Map, Operation, Session,
    store::{Applied, StoreErrorKind},
    testing::{Answer, Client, Fault},
};
use figures::Figure;
use serde_json::{Value, json};
use site::{COOKIE, Site};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};
use tokio::time::Instant;

const AWAY: StoreErrorKind = StoreErrorKind::Unavailable(Applied::No);
const IN_DOUBT: StoreErrorKind = StoreErrorKind::Unavailable(Applied::Unknown);
const KINDS: [(StoreErrorKind, u16); 8] = [
    (AWAY, 503),
    (IN_DOUBT, 503),
    (StoreErrorKind::ReadOnly, 503),
    (StoreErrorKind::Full, 507),
    (StoreErrorKind::TooLarge, 500),
    (StoreErrorKind::Corrupt, 500),
    (StoreErrorKind::Denied, 500),
    (StoreErrorKind::Misconfigured, 500),
];
const PATHS: [(&str, Operation); 5] = [
    ("/read", Operation::Get),
    ("/set/a/1", Operation::Get),
    ("/set/a/1", Operation::Set),
    ("/logout", Operation::Destroy),
    ("/login/bob", Operation::Rotate),
];

async fn add(session: Session) -> Result<(), Error> {
    let more = |map: &mut Map| {
        let n = map.get("n").and_then(Value::as_u64).unwrap_or(0) + 1;
        map.insert("n".into(), n.into());
    };
    session.transact(more).await
}

/// The answer, and how many seconds after `start` it came.
async fn timed(answer: tokio::task::JoinHandle<Answer>, start: Instant) -> (u16, u64) {
    let status = answer.await.unwrap().status.as_u16();
    (status, start.elapsed().as_secs())
}

#[tokio::test]
async fn a_failure_is_told_and_changes_neither_session_nor_cookie() {
    for (kind, status) in KINDS {
        for (path, operation) in PATHS {
            for deferred in [false, true] {
                let site = Site::with(|layer| layer.defer(deferred));
                let mut visitor = site.known("alice").await;
                let id = visitor.cookie(COOKIE).unwrap().to_owned();
                let before = site.record(&id).await;
                site.store.fail(operation, Fault::before(kind));
                let answer = visitor.get(path).await.expect_status(status);
                assert_eq!((answer.text().as_str(), answer.set_cookies().len()), ("", 0), "{kind:?} {path}");
                assert_eq!(
                    answer.header("retry-after"),
                    if status == 503 { "1" } else { "" },
                    "{kind:?} {path}"
                );
                site.store.heal();
                assert_eq!(site.record(&id).await, before, "{kind:?} {path}: byte for byte");
                assert_eq!(visitor.get("/read").await.expect_status(200).json(), json!({"user": "alice"}));
            }
        }
    }
}

/// B5.
#[tokio::test]
async fn no_answer_below_500_while_saving_fails() {
    let site = Site::new().page(
        "/swallows",
        get(|s: Session| async move {
            s.insert("a", 1).await?;
            assert!(s.save().await.unwrap_err().is_unavailable());
            Ok::<_, Error>("all is well")
        }),
    );
    let mut visitor = site.known("alice").await;
    for operation in [Operation::Set, Operation::Rotate, Operation::Destroy] {
        site.store.fail(operation, Fault::before(AWAY));
    }
    let paths = ["/set/a/1", "/count", "/login/bob", "/logout", "/regenerate", "/renew", "/swallows"];
    let figure = Figure::of("B5", "memory");
    let (writes, mut failed, mut unsaved) = (10_000, 0, 0);
    for round in 0.. {
        if failed + unsaved == writes {
            break;
        }
        let path = paths[round % paths.len()];
        let mut somebody = if round % 2 == 0 { visitor.clone() } else { site.visitor() };
        let answer = somebody.get(path).await;
        // Somebody without a session has nothing to end or to renew.
        let nothing_to_do = round % 2 == 1 && ["/logout", "/regenerate", "/renew"].contains(&path);
        if nothing_to_do {
            assert_eq!(answer.status, 200, "{path}");
        } else if answer.status.is_server_error() {
            failed += 1;
        } else {
            unsaved += 1;
        }
        assert_eq!(answer.set_cookies(), [""; 0], "{path}");
    }
    figure.count("failed_writes", writes).count("answered_below_500", unsaved).report();
    assert_eq!(unsaved, 0);
    site.store.heal();
    assert_eq!(visitor.get("/read").await.json(), json!({"user": "alice"}));
    assert_eq!(site.store.inner().len(), 1);
}

#[tokio::test]
async fn an_eager_page_does_not_run_without_its_session_and_a_deferred_one_is_told() {
    for deferred in [false, true] {
        let ran = Arc::new(AtomicUsize::new(0));
        let count = ran.clone();
        let site = Site::with(|layer| layer.defer(deferred)).page(
            "/page",
            get(move |s: Session| async move {
                count.fetch_add(1, SeqCst);
                let why = s.get().await.unwrap_err();
                assert_eq!((why.operation(), why.is_unavailable()), (Some(Operation::Get), true));
                "a page without a session"
            }),
        );
        let mut visitor = site.known("alice").await;
        site.store.fail(Operation::Get, Fault::before(AWAY));
        let answer = visitor.get("/page").await.expect_status(if deferred { 200 } else { 503 });
        assert_eq!((ran.load(SeqCst), answer.set_cookies().len()), (usize::from(deferred), 0));
        let untouched = visitor.get("/").await;
        assert_eq!(untouched.status.as_u16(), if deferred { 200 } else { 503 });
    }
}

#[tokio::test]
async fn a_failed_ending_of_the_old_session_leaves_no_half_of_a_regeneration() {
    async fn anew(s: Session, Path(name): Path<String>) -> Result<(), Error> {
        s.regenerate()?;
        s.insert("user", name).await
    }
    let site = Site::new().page("/anew/{name}", get(anew));
    let mut visitor: Client = site.known("alice").await;
    site.store.fail(Operation::Destroy, Fault::before(AWAY).times(2));
    assert_eq!(visitor.get("/anew/bob").await.expect_status(503).set_cookies(), [""; 0]);
    assert_eq!(site.store.inner().len(), 1, "the new one has been taken back");
    assert_eq!(visitor.get("/read").await.json(), json!({"user": "alice"}));
    site.store.heal();
    let _ = visitor.get("/anew/bob").await.expect_status(200);
    assert_eq!(visitor.get("/read").await.json(), json!({"user": "bob"}));
}

#[tokio::test]
async fn a_regeneration_that_can_end_neither_session_leaves_the_visitor_the_old_one() {
    async fn anew(s: Session) -> Result<(), Error> {
        s.regenerate()?;
        s.insert("user", "bob").await
    }
    let site = Site::new().page("/anew", get(anew));
    let mut visitor = site.known("alice").await;
    site.store.fail(Operation::Destroy, Fault::before(AWAY));
    assert_eq!(visitor.get("/anew").await.expect_status(503).set_cookies(), [""; 0]);
    assert_eq!(site.store.inner().len(), 2, "one of which nobody has the id");
    site.store.heal();
    assert_eq!(visitor.get("/read").await.json(), json!({"user": "alice"}));
}

#[tokio::test]
async fn a_logout_does_not_need_the_session_to_be_readable() {
    let site = Site::with(|layer| layer.defer(true));
    let mut visitor = site.known("alice").await;
    let id = visitor.cookie(COOKIE).unwrap().to_owned();
    site.store.fail(Operation::Get, Fault::before(AWAY));
    let answer = visitor.get("/logout").await.expect_status(200);
    assert_eq!(answer.set_cookies().len(), 1, "the cookie is taken away");
    site.store.heal();
    assert!(site.record(&id).await.is_none(), "and the session is dead");
}

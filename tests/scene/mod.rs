//! Everything that can happen to sessions, once.

#![allow(unreachable_pub, reason = "shared by test crates")]

use axum::{body::Body, http::Request};
use axum_generic_session::{
    Operation, Rolling, SessionId, Store, StoreKey, Verdict,
    store::{Applied, StoreErrorKind, Tag, When},
    testing::Fault,
};

use super::site::{COOKIE, Site, in_another_tab};

const SECRET: &str = "hunter2";

/// A site where everything happens that can happen to sessions; the cookies that visitors had.
pub async fn everything() -> (Site, Vec<String>) {
    let site = Site::with(|layer| {
        layer
            .rolling(Rolling::EveryRequest)
            .valid(|candidate| async move { Ok(candidate.session().value::<String>("banned")?.is_none()) })
            .discard_corrupt(true)
            .error_handler(|failure| async move {
                match failure.operation() {
                    Operation::Touch => Verdict::Continue,
                    _ => Verdict::Fail,
                }
            })
    });
    let mut cookies = Vec::new();
    let mut visitor = site.known(SECRET).await;
    cookies.push(visitor.cookie(COOKIE).unwrap().to_owned());
    let _ = visitor.get("/read").await.expect_status(200);
    let _ = visitor.get("/renew").await.expect_status(200);
    cookies.push(visitor.cookie(COOKIE).unwrap().to_owned());
    // Two at once: merged, the same key changed by both.
    let gate = site.store.hold_answer(Operation::Get);
    let late = in_another_tab(&visitor, "/set/a/1");
    gate.reached().await;
    let _ = visitor.get("/set/a/2").await.expect_status(200);
    gate.open();
    let _ = late.await.unwrap().expect_status(200);
    // A touch, and a save, after the logout.
    for path in ["/read", "/set/a/3"] {
        let mut visitor = site.known(SECRET).await;
        let gate = site.store.hold_answer(Operation::Get);
        let late = in_another_tab(&visitor, path);
        gate.reached().await;
        let _ = visitor.get("/logout").await.expect_status(200);
        gate.open();
        let _ = late.await.unwrap();
    }
    // A login by somebody else at the same time is never merged.
    let mut visitor = site.known(SECRET).await;
    let gate = site.store.hold_answer(Operation::Get);
    let late = in_another_tab(&visitor, "/set/a/4");
    gate.reached().await;
    let id = SessionId::parse(visitor.cookie(COOKIE).unwrap()).unwrap();
    let mut record = site.record(id.expose()).await.unwrap();
    (record.principal, record.tag) = (Some("somebody else".into()), Tag::random());
    site.store.inner().set(&site.key(id.expose()), &record, When::Present).await.unwrap();
    gate.open();
    let _ = late.await.unwrap().expect_status(409);
    // An unknown id, one that cannot be read, one that is not valid, and outages.
    let request = Request::get("/read").header("cookie", "axum.sid=unknown-id").body(Body::empty());
    let _ = site.visitor().send(request).await.expect_status(200);
    (record.data, record.tag) = (SECRET.into(), Tag::random());
    site.store.inner().set(&site.key(id.expose()), &record, When::Present).await.unwrap();
    let _ = visitor.get("/read").await.expect_status(200);
    let mut banned = site.known(SECRET).await;
    for path in ["/set/banned/1", "/read"] {
        let _ = banned.get(path).await.expect_status(200);
    }
    let mut late = site.known(SECRET).await;
    cookies.push(late.cookie(COOKIE).unwrap().to_owned());
    for (operation, path, status) in [(Operation::Get, "/read", 503), (Operation::Touch, "/read", 200)] {
        site.store.fail(operation, Fault::before(StoreErrorKind::Unavailable(Applied::No)).times(2));
        let _ = late.get(path).await.expect_status(status);
        site.store.heal();
    }
    site.store.disconnect();
    tokio::task::yield_now().await;
    site.store.reconnect();
    tokio::task::yield_now().await;
    let _ = late.get("/read").await.expect_status(200);
    (site, cookies)
}

/// Nothing of these may be seen: ids, keys, data.
pub fn assert_hidden(text: &str, cookies: &[String]) {
    for cookie in cookies {
        let key = StoreKey::hashed("axum:sess:", &SessionId::parse(cookie).unwrap());
        for needle in [cookie, key.as_str(), key.as_str().trim_start_matches("axum:sess:"), SECRET] {
            assert!(!text.contains(needle), "{needle} in {text}");
        }
    }
}

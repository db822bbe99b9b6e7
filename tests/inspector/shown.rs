//! Counts, plots, one session; the outage; where the pages may be mounted.

use std::time::Duration;

use axum::Router;
use axum_generic_session::{
    Inspector, Operation, Rolling, SessionLayer,
    store::{Applied, StoreErrorKind},
    testing::{Client, Fault},
};

use crate::{
    AT, links, mounted, operator,
    site::{Cache, Site, in_another_tab},
    tile,
};

#[tokio::test]
async fn every_page_comes_with_its_guards() {
    let site = Site::new();
    let mut operator = operator(&site);
    let mut visitor = site.known("alice").await;
    let _ = visitor.get("/read").await.expect_status(200);
    let overview = operator.get(AT).await.expect_status(200).text();
    let session = links(&overview).remove(0);
    for (path, status) in [
        (AT, 200),
        ("/operators/sessions/style.css", 200),
        ("/operators/sessions/live.js", 200),
        (&session, 200),
        ("/operators/sessions/session/nobody00", 404),
        ("/operators/sessions/nothing", 404),
    ] {
        let answer = operator.get(path).await.expect_status(status);
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
        assert_eq!(answer.header("x-frame-options"), "DENY", "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("referrer-policy"), "same-origin", "{path}");
        let policy = answer.header("content-security-policy");
        assert!(
            policy.starts_with("default-src 'none';") && policy.contains("frame-ancestors 'none'"),
            "{path}"
        );
        assert!(!policy.contains("unsafe"), "{policy}");
        assert!(answer.set_cookies().is_empty(), "{path}");
        // Nothing that the policy would stop, and nothing from elsewhere.
        let text = answer.text();
        for forbidden in [" style=", "<style", "<script>", " onclick", "http://", "https://"] {
            assert!(!text.contains(forbidden), "{forbidden} in {path}");
        }
    }
}

#[tokio::test]
async fn what_happens_is_counted() {
    let site = Site::with(|layer| layer.rolling(Rolling::EveryRequest));
    let mut operator = operator(&site);
    let empty = operator.get(AT).await.text();
    for name in ["Live", "Created", "Loads", "Saves", "Conflicts", "Refusals", "Errors"] {
        assert_eq!(tile(&empty, name), "0", "{name}");
    }
    assert!(empty.contains("No session has passed by yet."));

    let mut visitor = site.known("alice").await;
    let _ = visitor.get("/read").await.expect_status(200);
    // Two requests at once: merged.
    let gate = site.store.hold_answer(Operation::Get);
    let late = in_another_tab(&visitor, "/set/a/1");
    gate.reached().await;
    let _ = visitor.get("/set/b/1").await.expect_status(200);
    gate.open();
    let _ = late.await.unwrap().expect_status(200);
    // A save after the logout: refused.
    let gate = site.store.hold_answer(Operation::Get);
    let late = in_another_tab(&visitor, "/set/a/2");
    gate.reached().await;
    let _ = visitor.get("/logout").await.expect_status(200);
    gate.open();
    let _ = late.await.unwrap().expect_status(409);
    // And an outage, for one request.
    let mut other = site.known("bob").await;
    site.store.fail(Operation::Get, Fault::before(StoreErrorKind::Unavailable(Applied::No)).times(1));
    let _ = other.get("/read").await.expect_status(503);
    site.store.heal();

    let page = operator.get(AT).await.text();
    for (name, count) in [
        ("Live", "1"),
        ("Created", "2"),
        ("Loads", "5"),
        ("Saves", "4"),
        ("Conflicts", "1"),
        ("Refusals", "1"),
        ("Errors", "1"),
    ] {
        assert_eq!(tile(&page, name), count, "{name}");
    }
    for said in [
        "Begun and ended, the last 10 min. created: 2, new id: 0, ended: 1.",
        "Conflicts and errors, the last 10 min. merged: 1, unknown id: 0, refused: 1, failed: 1.",
        "a save was refused: the session had ended",
        "a load or a commit failed: unavailable",
        "conflict, merged",
        "conditional writes",
    ] {
        assert!(page.contains(said), "{said} in {page}");
    }
    assert_eq!(links(&page).len(), 1, "who has left is not listed");

    // The window moves on.
    site.clock.advance(Duration::from_secs(15 * 60));
    assert_eq!(tile(&operator.get(AT).await.text(), "Created"), "0");
    let hour = operator.get(&format!("{AT}?minutes=60")).await.text();
    assert_eq!(tile(&hour, "Created"), "2");
    assert!(hour.contains("the last 60 min"));
    site.clock.advance(Duration::from_secs(60 * 60));
    assert_eq!(tile(&operator.get(&format!("{AT}?minutes=60")).await.text(), "Created"), "0");
}

#[tokio::test]
async fn a_clone_of_the_layer_is_seen_too() {
    let site = Site::new();
    let before = site.layer.clone();
    let mut operator = operator(&site);
    for layer in [before, site.layer.clone().defer(true), site.layer.clone()] {
        let _ = Client::new(site.under(layer)).get("/set/a/1").await.expect_status(200);
    }
    assert_eq!(tile(&operator.get(AT).await.text(), "Created"), "3");
}

#[tokio::test]
async fn a_store_that_cannot_count_is_said_to_be_seen_only() {
    let site = Site::new();
    let store = axum_generic_session::store::ThreeMethodStore::new(Cache::new(site.clock.clone()));
    let layer = SessionLayer::new(store.clock(site.clock.clone())).clock(site.clock.clone());
    let mut operator = Client::new(mounted(&Inspector::new(&layer).unwrap()));
    let _ = Client::new(site.under(layer)).get("/set/a/1").await.expect_status(200);
    let page = operator.get(AT).await.text();
    assert_eq!(tile(&page, "Live"), "1");
    assert!(page.contains("seen by this process") && page.contains("last write wins"), "{page}");
}

#[tokio::test]
async fn one_session_by_its_handle_its_values_masked() {
    let site = Site::new();
    let open = Inspector::new(&site.layer).unwrap().show_values(true);
    let (mut open, mut masked) = (Client::new(mounted(&open)), operator(&site));
    let mut visitor = site.visitor();
    let _ = visitor.get("/set/note/%3Cscript%3Ehunter2").await.expect_status(200);
    site.clock.advance(Duration::from_secs(120));
    let path = links(&masked.get(AT).await.text()).remove(0);
    let id = visitor.cookie(crate::site::COOKIE).unwrap().to_owned();
    assert!(path.ends_with(&site.key(&id).handle()), "the handle is the one that the log shows");

    let page = masked.get(&path).await.expect_status(200).text();
    for said in ["<dd>2 min</dd>", "note", "text", "17 B", "••••••", "Inspector::show_values(true)"]
    {
        assert!(page.contains(said), "{said} in {page}");
    }
    assert!(!page.contains("hunter2"), "{page}");
    let page = open.get(&path).await.expect_status(200).text();
    assert!(page.contains("&lt;script&gt;hunter2") && !page.contains("<script>"), "{page}");

    // To look at a session is no use of it.
    let before = site.record(&id).await.unwrap();
    let _ = masked.get(&path).await;
    assert_eq!(site.record(&id).await.unwrap(), before);
}

#[tokio::test]
async fn a_session_that_cannot_be_read_can_still_be_ended() {
    use axum_generic_session::{
        Store,
        store::{Tag, When},
    };
    let site = Site::new();
    let mut operator = operator(&site);
    let visitor = site.known("alice").await;
    let path = links(&operator.get(AT).await.text()).remove(0);
    let id = visitor.cookie(crate::site::COOKIE).unwrap();
    let mut record = site.record(id).await.unwrap();
    record.data = "hunter2, no session".into();
    record.tag = Tag::random();
    site.store.inner().set(&site.key(id), &record, When::Present).await.unwrap();
    let page = operator.get(&path).await.expect_status(200).text();
    assert!(page.contains("cannot be read as a session") && page.contains("End this session"), "{page}");
    assert!(!page.contains("hunter2"));
}

#[tokio::test]
async fn an_outage_is_told_without_the_drivers_words() {
    let site = Site::new();
    let mut operator = operator(&site);
    let mut visitor = site.known("alice").await;
    let _ = visitor.get("/read").await.expect_status(200);
    let page = operator.get(AT).await.text();
    assert!(page.contains("memory connected"), "{page}");
    let path = links(&page).remove(0);
    site.store.disconnect();
    // The inspector itself does not need the store.
    let page = operator.get(AT).await.expect_status(200).text();
    assert!(page.contains("memory disconnected for"), "{page}");
    site.store.reconnect();
    site.store.fail(Operation::Get, Fault::before(StoreErrorKind::Denied));
    let page = operator.get(&path).await.expect_status(503).text();
    assert!(page.contains("the session store denies access") && !page.contains("the probe"), "{page}");
}

#[tokio::test]
async fn links_are_right_wherever_the_pages_are() {
    let site = Site::new();
    let _ = site.known("alice").await;
    let inspector = Inspector::new(&site.layer).unwrap();
    let _ = site.known("bob").await;
    for (app, overview) in [
        (Router::new().nest("/a/b", inspector.router()), "/a/b"),
        (Router::new().nest("/a/b", inspector.router()), "/a/b/overview"),
        (Router::new().nest("/a/b/", inspector.router()), "/a/b/"),
        (inspector.router(), "/"),
    ] {
        let mut operator = Client::new(app);
        let base = url(overview, "");
        let page = operator.get(overview).await.expect_status(200).text();
        let mut seen = 0;
        for link in page.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
            if !link.starts_with('#') {
                let _ = operator.get(&url(&base, link)).await.expect_status(200);
                seen += 1;
            }
        }
        assert!(seen > 4, "{seen} links at {overview}");
        let session = page.split("href=\"").find_map(|rest| rest.split_once("session/")).unwrap().1;
        let session = session.split('"').next().unwrap();
        let above = overview.trim_end_matches("overview").trim_end_matches('/');
        let session = format!("{above}/session/{session}");
        let page = operator.get(&session).await.expect_status(200).text();
        for link in page.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
            if !link.starts_with('#') {
                let _ = operator.get(&url(&session, link)).await.expect_status(200);
            }
        }
    }
}

/// What a browser makes of a relative link.
fn url(page: &str, link: &str) -> String {
    let link = link.split('?').next().unwrap_or_default();
    let mut parts: Vec<_> = page.split('/').collect();
    if link.is_empty() {
        return page.to_owned();
    }
    parts.pop();
    for part in link.split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    let path = parts.join("/");
    if link.ends_with('.') { format!("{path}/") } else { path }
}

#[tokio::test]
async fn nobody_puts_words_onto_the_page() {
    let site = Site::new();
    let mut operator = operator(&site);
    let page = operator.get(&format!("{AT}?ended=Call-0800-12345-now&minutes=99999999999")).await.text();
    assert!(!page.contains("0800") && page.contains("the last 10 min"), "{page}");
    let page = operator.get(&format!("{AT}?ended=abcdefg1")).await.text();
    assert!(page.contains("abcdefg1</code> was signed out"), "{page}");
}

//! What caches are told: a page that depended on the session says so, one that did not stays cacheable.
#![cfg(all(feature = "memory-store", feature = "testing"))]

mod site;

use axum::{http::header, response::IntoResponse, routing::get};
use axum_generic_session::{Error, Operation, Rolling, Session, store::StoreErrorKind, testing::Fault};
use site::Site;

#[tokio::test]
async fn every_way_of_asking_makes_the_answer_vary() {
    let site = Site::new()
        .page("/get", get(|s: Session| async move { s.get().await.map(drop) }))
        .page("/value", get(|s: Session| async move { s.value::<u8>("nothing").await.map(drop) }))
        .page("/take", get(|s: Session| async move { s.take::<u8>("nothing").await.map(drop) }))
        .page("/is_new", get(|s: Session| async move { s.is_new().await.map(drop) }))
        .page("/cookie", get(|s: Session| async move { s.cookie().await.map(drop) }))
        .page("/update", get(|s: Session| async move { s.update(|_| ()).await }))
        .page("/save", get(|s: Session| async move { s.save().await.map(drop) }))
        .page("/loaded", get(|_: axum_generic_session::Loaded<axum_generic_session::Map>| async {}))
        .page("/transact", get(|s: Session| async move { s.transact(|_| ()).await }));
    for mut visitor in [site.visitor(), site.known("alice").await] {
        for path in [
            "/get",
            "/value",
            "/take",
            "/is_new",
            "/cookie",
            "/update",
            "/save",
            "/loaded",
            "/transact",
            "/id",
        ] {
            let answer = visitor.get(path).await.expect_status(200);
            assert_eq!(answer.header("vary"), "cookie", "{path}");
            assert_eq!(answer.header("cache-control"), "", "{path}: no cookie, so nothing private");
        }
    }
}

#[tokio::test]
async fn a_page_that_did_not_ask_stays_cacheable() {
    for deferred in [false, true] {
        let site = Site::with(|layer| layer.defer(deferred));
        for mut visitor in [site.visitor(), site.known("alice").await] {
            for path in ["/", "/untouched", "/not/here"] {
                let answer = visitor.get(path).await;
                assert_eq!(
                    (answer.header("vary"), answer.header("cache-control")),
                    Default::default(),
                    "{path}"
                );
            }
        }
    }
}

#[tokio::test]
async fn an_answer_with_a_cookie_is_private() {
    let site = Site::with(|layer| layer.rolling(Rolling::EveryRequest));
    let mut visitor = site.visitor();
    for path in ["/set/a/1", "/set/a/2", "/read", "/", "/untouched", "/renew", "/logout"] {
        let answer = visitor.get(path).await.expect_status(200);
        assert_eq!(answer.set_cookies().len(), 1, "{path}");
        assert_eq!(
            (&*answer.header("vary"), &*answer.header("cache-control")),
            ("cookie", "private"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn what_the_handler_said_more_strictly_stays_and_what_it_said_against_goes() {
    for (said, told) in [
        ("no-store", "no-store"),
        ("private", "private"),
        ("Private, max-age=60", "Private, max-age=60"),
        ("NO-STORE, no-cache", "NO-STORE, no-cache"),
        ("no-cache", "private, no-cache"),
        ("max-age=60", "private, max-age=60"),
        ("public, max-age=60", "private, max-age=60"),
        ("Public, s-maxage=9, max-age=60, immutable", "private, max-age=60, immutable"),
        ("public", "private"),
        ("private=\"x-field\", max-age=60", "private, private=\"x-field\", max-age=60"),
        ("no-cache=\"a, b\"", "private, no-cache=\"a, b\""),
        ("", "private"),
    ] {
        let site = Site::new().page(
            "/page",
            get(move |s: Session| async move {
                s.insert("a", 1).await?;
                Ok::<_, Error>(([(header::CACHE_CONTROL, said)], "x").into_response())
            }),
        );
        let mut visitor = site.visitor();
        assert_eq!(visitor.get("/page").await.header("cache-control"), told, "{said}");
        assert_eq!(
            visitor.get("/page").await.header("cache-control"),
            said,
            "without a cookie it is the handler's"
        );
    }
}

#[tokio::test]
async fn what_the_handler_varies_by_is_kept() {
    for (said, told) in [
        ("accept", "accept, cookie"),
        ("Cookie", "Cookie"),
        ("accept, COOKIE", "accept, COOKIE"),
        ("*", "*"),
        ("x-cookie", "x-cookie, cookie"),
    ] {
        let site = Site::new().page(
            "/page",
            get(move |s: Session| async move {
                s.get().await?;
                Ok::<_, Error>(([(header::VARY, said)], "x"))
            }),
        );
        assert_eq!(site.visitor().get("/page").await.header("vary"), told);
    }
}

#[tokio::test]
async fn errors_that_depended_on_the_session_vary_too() {
    let site = Site::deferred();
    let mut visitor = site.known("alice").await;
    site.store.fail(Operation::Get, Fault::before(StoreErrorKind::ReadOnly));
    assert_eq!(visitor.get("/read").await.expect_status(503).header("vary"), "cookie");
    site.store.heal();
    assert_eq!(visitor.get("/set/a/1/then/500").await.expect_status(500).header("vary"), "cookie");
}

#[tokio::test]
async fn the_headers_can_be_left_to_the_application() {
    let site = Site::with(|layer| layer.cache_headers(false));
    let answer = site.visitor().get("/set/a/1").await.expect_status(200);
    assert_eq!(answer.set_cookies().len(), 1);
    assert_eq!((answer.header("vary"), answer.header("cache-control")), Default::default());
}

//! What a request costs, counted: calls of the store, headers added.
#![cfg(all(feature = "memory-store", feature = "testing"))]

mod site;

use axum::{Router, routing::get};
use axum_generic_session::{
    Error, Loaded, Map, Rolling, Session,
    testing::{Calls, Client},
};
use serde_json::Value;
use site::Site;

const NO: Calls = Calls { get: 0, set: 0, touch: 0, destroy: 0, rotate: 0 };

async fn cost_of(site: &Site, visitor: &mut Client, path: &str) -> Calls {
    let _ = site.store.take_calls();
    let _ = visitor.get(path).await.expect_status(200);
    site.store.take_calls()
}

#[tokio::test]
async fn an_untouched_deferred_request_costs_nothing_at_all() {
    let site = Site::with(|layer| layer.defer(true).rolling(Rolling::EveryRequest).allow_empty(true));
    let page = || get(|| async { ([("x-mine", "1")], "hello") });
    let site = site.page("/page", page());
    let plain = Client::new(Router::new().route("/page", page())).get("/page").await;
    for mut visitor in [site.visitor(), site.known("alice").await] {
        let _ = site.store.take_calls();
        for path in ["/page", "/untouched", "/", "/not/here"] {
            let answer = visitor.get(path).await;
            assert_eq!(site.store.take_calls(), NO, "{path}");
            assert_eq!((answer.header("vary"), answer.set_cookies().len()), (String::new(), 0), "{path}");
        }
        assert_eq!(
            visitor.get("/page").await.headers,
            plain.headers,
            "not a header more than without a layer"
        );
    }
}

#[tokio::test]
async fn a_request_reads_once_and_writes_once_however_often_it_asks() {
    async fn busy(a: Session, b: Loaded<Map>, c: Option<Session>) -> Result<(), Error> {
        for n in 0..10 {
            a.insert("n", n).await?;
            b.session().update(|map| map.insert("m".into(), n.into())).await?;
            let c = c.as_ref().unwrap();
            let (..) = tokio::join!(c.get(), a.get(), a.is_new(), c.id(), a.cookie());
        }
        Ok(())
    }
    for deferred in [false, true] {
        let site = Site::with(|layer| layer.defer(deferred)).page("/busy", get(busy));
        let mut visitor = site.visitor();
        assert_eq!(cost_of(&site, &mut visitor, "/busy").await, Calls { set: 1, ..NO }, "new");
        assert_eq!(cost_of(&site, &mut visitor, "/busy").await, Calls { get: 1, ..NO }, "nothing changed");
        assert_eq!(cost_of(&site, &mut visitor, "/read").await, Calls { get: 1, ..NO }, "read");
        assert_eq!(
            cost_of(&site, &mut visitor, "/count").await,
            Calls { get: 1, set: 1, ..NO },
            "read and change"
        );
        assert_eq!(cost_of(&site, &mut visitor, "/renew").await, Calls { get: 1, rotate: 1, ..NO }, "renew");
        assert_eq!(
            cost_of(&site, &mut visitor, "/logout").await,
            Calls { get: 1, destroy: 1, ..NO },
            "logout"
        );
    }
}

#[tokio::test]
async fn a_rolling_read_costs_one_call_more_when_it_is_due() {
    let site = Site::with(|layer| layer.rolling(Rolling::EveryRequest));
    let mut visitor = site.known("alice").await;
    assert_eq!(cost_of(&site, &mut visitor, "/read").await, Calls { get: 1, touch: 1, ..NO });
    assert_eq!(
        cost_of(&site, &mut visitor, "/count").await,
        Calls { get: 1, set: 1, ..NO },
        "a save prolongs too"
    );
    let site = Site::with(|layer| layer.rolling(Rolling::After(0.5)));
    let mut visitor = site.known("alice").await;
    assert_eq!(cost_of(&site, &mut visitor, "/read").await, Calls { get: 1, ..NO });
}

#[tokio::test]
async fn what_the_handler_commits_itself_is_not_paid_twice() {
    let add = |s: Session| async move {
        s.transact(|map| {
            let n = map.get("n").and_then(Value::as_u64).unwrap_or(0) + 1;
            map.insert("n".into(), n.into());
        })
        .await
    };
    let site = Site::with(|layer| layer.rolling(Rolling::EveryRequest))
        .page(
            "/save",
            get(|s: Session| async move {
                s.insert("a", 1).await?;
                s.save().await.map(drop)
            }),
        )
        .page("/look", get(|s: Session| async move { s.transact(|map| map.len()).await.map(drop) }))
        .page("/add", get(add));
    let mut visitor = site.visitor();
    assert_eq!(cost_of(&site, &mut visitor, "/save").await, Calls { set: 1, ..NO });
    assert_eq!(cost_of(&site, &mut visitor, "/add").await, Calls { get: 1, set: 1, ..NO });
    let look = cost_of(&site, &mut visitor, "/look").await;
    assert_eq!(look, Calls { get: 2, touch: 1, ..NO }, "a transaction that changes nothing has looked again");
}

#[tokio::test]
async fn a_stranger_costs_one_read_and_nobody_none() {
    let site = Site::with(|layer| layer.rolling(Rolling::EveryRequest));
    let mut visitor = site.visitor();
    assert_eq!(cost_of(&site, &mut visitor, "/read").await, NO, "no cookie, no call");
    assert_eq!(cost_of(&site, &mut visitor, "/logout").await, NO);
    visitor.set_cookie(site::COOKIE, "unknown");
    assert_eq!(cost_of(&site, &mut visitor, "/read").await, Calls { get: 1, ..NO });
    visitor.set_cookie(site::COOKIE, "no id");
    assert_eq!(cost_of(&site, &mut visitor, "/read").await, NO);
}

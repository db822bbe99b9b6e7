//! Where the application joins in: `valid`, `before_save`, `error_handler`, `gen_id`.
#![cfg(all(feature = "memory-store", feature = "testing"))]

mod site;

use axum::{body::Body, extract::Request, http::StatusCode, response::IntoResponse, routing::get};
use axum_generic_session::{
    Error, Operation, Session, SessionLayer, Verdict,
    store::{Applied, StoreErrorKind},
    testing::Fault,
};
use serde_json::json;
use site::{COOKIE, Site};
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

const AWAY: StoreErrorKind = StoreErrorKind::Unavailable(Applied::No);

#[tokio::test]
async fn valid_judges_each_loaded_session_by_its_content_and_the_request() {
    let judged = Arc::new(AtomicUsize::new(0));
    let count = judged.clone();
    let site = Site::with(|layer| {
        layer.valid(move |candidate| {
            count.fetch_add(1, SeqCst);
            async move {
                tokio::task::yield_now().await;
                let agent = candidate.parts().headers.get("user-agent").and_then(|v| v.to_str().ok());
                let bound = candidate.session().value::<String>("agent")?;
                Ok(bound.is_none() || bound.as_deref() == agent)
            }
        })
    });
    let mut visitor = site.visitor();
    let _ = visitor.get("/set/agent/firefox").await.expect_status(200);
    assert_eq!(judged.load(SeqCst), 0, "a new session is nobody's yet");
    let id = visitor.cookie(COOKIE).unwrap().to_owned();
    let by = |agent: &str| Request::get("/read").header("user-agent", agent).body(Body::empty());
    assert_eq!(visitor.send(by("firefox")).await.json(), json!({"agent": "firefox"}));
    assert_eq!(judged.load(SeqCst), 1);
    let stolen = visitor.send(by("curl")).await.expect_status(200);
    assert_eq!(stolen.json(), json!({}), "an invalid session is empty");
    assert!(stolen.set_cookies()[0].starts_with("axum.sid=; "), "and ends");
    assert_eq!(site.data(&id).await, None);
}

#[tokio::test]
async fn what_is_written_into_an_invalid_session_is_a_new_one() {
    let site = Site::with(|layer| {
        layer.valid(|candidate| async move { Ok(candidate.session().value::<String>("banned")?.is_none()) })
    });
    let mut visitor = site.known("mallory").await;
    let _ = visitor.get("/set/banned/yes").await;
    let id = visitor.cookie(COOKIE).unwrap().to_owned();
    let answer = visitor.get("/set/a/1/then/500").await;
    assert_eq!(
        (answer.set_cookies().len(), site.data(&id).await.is_some()),
        (0, true),
        "nothing happens on a 5xx"
    );
    let _ = visitor.get("/set/a/1").await.expect_status(200);
    assert_ne!(visitor.cookie(COOKIE), Some(&*id));
    assert_eq!(site.data(&id).await, None);
    assert_eq!(site.data_of(&visitor).await.unwrap(), json!({"a": "1"}));
}

#[tokio::test]
async fn a_valid_hook_that_fails_is_an_error_and_ends_nothing() {
    let site = Site::with(|layer| layer.valid(|_| async { Err("the user database is away".into()) }));
    let mut visitor = site.visitor();
    let _ = visitor.get("/set/user/alice").await.expect_status(200);
    let answer = visitor.get("/read").await.expect_status(500);
    assert_eq!((answer.text().as_str(), answer.set_cookies().len()), ("", 0));
    assert!(site.data_of(&visitor).await.is_some());
}

#[tokio::test]
async fn before_save_adds_to_what_is_saved() {
    let site = Site::with(|layer| {
        layer.before_save(|draft| async move {
            tokio::task::yield_now().await;
            draft.insert("last_path", draft.parts().uri.path())?;
            if draft.value::<String>("secret")?.is_some() {
                draft.remove("secret");
            }
            Ok(())
        })
    });
    let mut visitor = site.visitor();
    let _ = visitor.get("/set/secret/x").await.expect_status(200);
    assert_eq!(site.data_of(&visitor).await.unwrap(), json!({"last_path": "/set/secret/x"}));
    let _ = visitor.get("/renew").await.expect_status(200);
    assert_eq!(site.data_of(&visitor).await.unwrap(), json!({"last_path": "/renew"}));
}

#[tokio::test]
async fn before_save_sees_every_save_and_nothing_else() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let site = Site::with(|layer| {
        layer.rolling(axum_generic_session::Rolling::EveryRequest).before_save(move |_| {
            count.fetch_add(1, SeqCst);
            async { Ok(()) }
        })
    })
    .page(
        "/saves",
        get(|s: Session| async move {
            s.insert("a", 1).await?;
            s.save().await.map(drop)
        }),
    )
    .page(
        "/transacts",
        get(|s: Session| async move { s.transact(|m| m.insert("b".into(), 1.into())).await.map(drop) }),
    );
    let mut visitor = site.visitor();
    for (path, expected) in [
        ("/read", 0),
        ("/set/user/alice", 1),
        ("/read", 0),
        ("/set/user/alice", 0),
        ("/renew", 1),
        ("/saves", 1),
        ("/transacts", 1),
        ("/transacts", 0),
        ("/logout", 0),
        ("/transacts", 1),
    ] {
        let _ = visitor.get(path).await.expect_status(200);
        assert_eq!(asked.swap(0, SeqCst), expected, "{path}");
    }
}

#[tokio::test]
async fn a_before_save_that_fails_saves_nothing() {
    let site = Site::with(|layer| layer.before_save(|_| async { Err("not on my watch".into()) }));
    let site = site.page(
        "/tries",
        get(|s: Session| async move {
            let why = s.transact(|m| m.insert("a".into(), 1.into())).await.unwrap_err();
            assert_eq!(why.to_string(), "the before_save hook failed: not on my watch");
            assert_eq!(s.get().await?.len(), 0, "and leaves no trace");
            Ok::<_, Error>(())
        }),
    );
    let mut visitor = site.visitor();
    assert_eq!(visitor.get("/set/a/1").await.expect_status(500).set_cookies(), [""; 0]);
    assert_eq!(visitor.get("/tries").await.expect_status(200).set_cookies(), [""; 0]);
    assert_eq!(site.store.calls().total(), 0);
}

/// A site that writes down which operations failed, and answers as told.
fn watched(verdict: fn(Operation) -> Verdict) -> (Site, Arc<Mutex<Vec<Operation>>>) {
    let failures = Arc::new(Mutex::new(Vec::new()));
    let seen = failures.clone();
    let site = Site::with(|layer: SessionLayer| {
        layer.rolling(axum_generic_session::Rolling::EveryRequest).error_handler(move |failure| {
            assert!(failure.error().is_unavailable());
            assert_eq!(failure.error().operation(), Some(failure.operation()));
            assert!(failure.parts().uri.path().len() > 1, "the request is there");
            seen.lock().unwrap().push(failure.operation());
            async move { verdict(failure.operation()) }
        })
    });
    (site, failures)
}

const PATHS: [(&str, Operation); 5] = [
    ("/read", Operation::Get),
    ("/set/a/1", Operation::Set),
    ("/read", Operation::Touch),
    ("/logout", Operation::Destroy),
    ("/renew", Operation::Rotate),
];

#[tokio::test]
async fn the_error_handler_hears_of_each_failed_operation_once() {
    let verdicts: [(fn(Operation) -> Verdict, u16); 3] = [
        (|_| Verdict::Fail, 503),
        (|op| Verdict::Respond((StatusCode::IM_A_TEAPOT, format!("no {op:?}")).into_response()), 418),
        (|_| Verdict::Continue, 200),
    ];
    for (verdict, status) in verdicts {
        for (path, operation) in PATHS {
            // What the handler was asked to end must not look as if it had ended.
            let ends = matches!(operation, Operation::Destroy | Operation::Rotate);
            let status = if status == 200 && ends { 503 } else { status };
            let (site, failures) = watched(verdict);
            let mut visitor = site.known("alice").await;
            let id = visitor.cookie(COOKIE).unwrap().to_owned();
            site.store.fail(operation, Fault::before(AWAY));
            // A logout or a new id that has not come about must not look as if it had.
            let ends = matches!(operation, Operation::Destroy | Operation::Rotate);
            let status = if status == 200 && ends { 503 } else { status };
            let answer = visitor.get(path).await.expect_status(status);
            assert_eq!(*failures.lock().unwrap(), [operation], "{path} {status}");
            assert_eq!(answer.set_cookies(), [""; 0], "{path} {status}: an outage changes no cookie");
            if status == 418 {
                assert_eq!(answer.text(), format!("no {operation:?}"));
            }
            site.store.heal();
            assert_eq!(site.data(&id).await.unwrap(), json!({"user": "alice"}), "{path} {status}");
        }
    }
}

#[tokio::test]
async fn a_request_that_goes_on_without_its_session_saves_nothing() {
    let (site, _) = watched(|_| Verdict::Continue);
    let site = site.page(
        "/page",
        get(|s: Session| async move {
            assert_eq!(s.get().await?.len(), 0, "empty for this request");
            s.insert("user", "nobody").await?;
            assert!(s.save().await.unwrap_err().is_data());
            assert!(s.transact(|m| m.clear()).await.unwrap_err().is_data());
            s.renew().await?;
            s.force_save();
            Ok::<_, Error>("the shop is open")
        }),
    );
    let mut visitor = site.known("alice").await;
    site.store.fail(Operation::Get, Fault::before(AWAY));
    let answer = visitor.get("/page").await.expect_status(200);
    assert_eq!((answer.text().as_str(), answer.set_cookies().len()), ("the shop is open", 0));
    site.store.heal();
    assert_eq!(visitor.get("/read").await.json(), json!({"user": "alice"}));
}

#[tokio::test]
async fn a_logout_of_a_session_that_could_not_be_loaded_takes_place_or_fails() {
    for path in ["/logout", "/regenerate"] {
        let (site, failures) =
            watched(|op| if op == Operation::Get { Verdict::Continue } else { Verdict::Fail });
        let mut visitor = site.known("alice").await;
        let id = visitor.cookie(COOKIE).unwrap().to_owned();
        site.store.fail(Operation::Get, Fault::before(AWAY));
        site.store.fail(Operation::Destroy, Fault::before(AWAY));
        assert_eq!(visitor.get(path).await.expect_status(503).set_cookies(), [""; 0]);
        assert_eq!(*failures.lock().unwrap(), [Operation::Get, Operation::Destroy], "{path}");
        site.store.fail(Operation::Destroy, Fault::before(AWAY).times(0));
        assert!(
            visitor.get(path).await.expect_status(200).set_cookies()[0].starts_with("axum.sid=; "),
            "{path}"
        );
        assert_eq!(site.data(&id).await, None, "{path}");
        let _ = site.visitor().get(path).await.expect_status(200);
    }
}

#[tokio::test]
async fn ids_may_be_the_applications_own() {
    let drawn = Arc::new(AtomicUsize::new(0));
    let site = Site::with(|layer| {
        layer.gen_id(move |parts| {
            let n = drawn.fetch_add(1, SeqCst);
            async move {
                tokio::task::yield_now().await;
                Ok(format!("{}-{n}", parts.headers.get("host").map_or("x", |h| h.to_str().unwrap())))
            }
        })
    });
    let mut visitor = site.visitor();
    let request = Request::get("/set/a/1").header("host", "shop").body(Body::empty());
    let _ = visitor.send(request).await.expect_status(200);
    assert_eq!(visitor.cookie(COOKIE), Some("shop-0"));
    let _ = visitor.get("/renew").await.expect_status(200);
    assert_eq!(visitor.cookie(COOKIE), Some("x-1"));
}

#[tokio::test]
async fn an_id_that_is_none_or_fails_is_an_error() {
    let site = Site::with(|layer| layer.gen_id(|_| async { Err("the ticket machine is broken".into()) }));
    assert_eq!(site.visitor().get("/set/a/1").await.expect_status(500).set_cookies(), [""; 0]);
    let long = "x".repeat(257);
    for bad in ["", "a b", "a;b", "é", "a\r\nSet-Cookie: x=y", &long] {
        let bad = bad.to_owned();
        let site = Site::with(|layer| {
            layer.gen_id(move |_| {
                let id = bad.clone();
                async move { Ok(id) }
            })
        });
        assert_eq!(site.visitor().get("/set/a/1").await.expect_status(500).set_cookies(), [""; 0]);
        assert_eq!(site.store.calls().total(), 0);
    }
}

#[tokio::test]
async fn an_id_that_is_taken_is_drawn_again_and_never_shared() {
    // Each id is given three times.
    let drawn = Arc::new(AtomicUsize::new(0));
    let site = Site::with(|layer| {
        layer.gen_id(move |_| {
            let n = drawn.fetch_add(1, SeqCst) / 3;
            async move { Ok(format!("id-{n}")) }
        })
    });
    for name in ["alice", "bob", "carol"] {
        let mut visitor = site.known(name).await;
        assert_eq!(visitor.get("/read").await.json(), json!({"user": name}));
        let _ = visitor.get("/renew").await.expect_status(200);
        assert_eq!(visitor.get("/read").await.json(), json!({"user": name}), "nobody was overwritten");
    }
    assert_eq!(site.store.inner().len(), 3);
}

#[tokio::test]
async fn a_generator_of_taken_ids_is_found_out() {
    let site = Site::with(|layer| layer.gen_id(|_| async { Ok("always-the-same".to_owned()) }));
    let site = site.page(
        "/why",
        get(|s: Session| async move {
            s.renew().await?;
            let why = s.save().await.unwrap_err();
            assert_eq!(why.to_string(), "no usable session id: `gen_id` gives ids that are taken");
            Err::<(), _>(why)
        }),
    );
    let mut first = site.known("alice").await;
    let answer = site.visitor().get("/set/user/bob").await.expect_status(500);
    assert_eq!(answer.set_cookies(), [""; 0]);
    assert_eq!(site.store.take_calls().set, 8, "bounded");
    let _ = first.get("/renew").await.expect_status(500);
    assert_eq!(site.store.take_calls().rotate, 8, "bounded");
    let _ = first.get("/why").await.expect_status(500);
    assert_eq!(first.get("/read").await.json(), json!({"user": "alice"}));
}

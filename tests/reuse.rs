//! What a request leaves behind is room for the next one of its thread, and must be nothing else: whatever somebody has
//! done with a session, the stranger who comes next finds a new one.
#![cfg(all(feature = "memory-store", feature = "testing"))]

mod site;

use std::{
    future::{pending, poll_fn},
    sync::{Arc, Mutex},
    task::Poll,
    time::Duration,
};

use axum::{Router, body::Body, extract::Path, http::Request, http::StatusCode, routing::get};
use axum_generic_session::{Error, Map, MaxAge, Session, testing::Client};
use serde_json::{Value, json};
use site::{COOKIE, Site};
use tower::ServiceExt;

const DEEDS: [&str; 15] = [
    "read",
    "write",
    "belong",
    "remember",
    "identify",
    "renew",
    "regenerate",
    "destroy",
    "prevent",
    "force",
    "fail",
    "keep",
    "keep and write",
    "panic",
    "hang up",
];

/// Whose handle is still there when the answer has gone.
type Kept = Arc<Mutex<Vec<Session>>>;

async fn deed(what: &str, session: Session, kept: &Kept) -> Result<StatusCode, Error> {
    match what {
        "read" => drop(session.get().await?),
        "write" => session.insert("secret", "hers").await?,
        "belong" => session.set_principal("alice").await?,
        "remember" => {
            let age = MaxAge::For(Duration::from_secs(77));
            session.update_cookie(|cookie| cookie.max_age = age).await?;
            session.insert("secret", "hers").await?;
        }
        "identify" => drop(session.id().await?),
        "renew" => session.renew().await?,
        "regenerate" => {
            session.regenerate()?;
            session.insert("secret", "hers").await?;
        }
        "destroy" => session.destroy()?,
        "prevent" => {
            session.insert("secret", "hers").await?;
            session.prevent_save();
        }
        "force" => session.force_save(),
        "fail" => {
            session.insert("secret", "hers").await?;
            return Ok(StatusCode::INTERNAL_SERVER_ERROR);
        }
        "keep" => {
            session.get().await?;
            kept.lock().unwrap().push(session);
        }
        "keep and write" => {
            session.insert("secret", "hers").await?;
            kept.lock().unwrap().push(session);
        }
        "panic" => {
            session.update(|_: &mut Map| panic!("on purpose")).await?;
        }
        "hang up" => {
            session.insert("secret", "hers").await?;
            pending::<()>().await;
        }
        other => panic!("nobody does `{other}`"),
    }
    Ok(StatusCode::OK)
}

/// All that can be seen of a session.
async fn look(session: Session) -> Result<axum::Json<Value>, Error> {
    let handle = session.handle().await?;
    let (data, new) = (session.get().await?, session.is_new().await?);
    let own = session.cookie().await?.max_age;
    Ok(axum::Json(json!({
        "data": &*data, "new": new, "handle": handle, "principal": session.principal().await?, "life": format!("{own:?}"),
    })))
}

fn site(defer: bool) -> (Site, Kept) {
    let kept = Kept::default();
    let mine = kept.clone();
    let does = move |Path(what): Path<String>, session: Session| {
        let mine = mine.clone();
        async move { deed(&what.replace('-', " "), session, &mine).await }
    };
    // By its response's status a deed that fails is none.
    let site = Site::with(|layer| layer.defer(defer).commit_on(|status| !status.is_server_error()));
    (site.page("/do/{what}", get(does)).page("/look", get(look)).page("/plain", get(|| async {})), kept)
}

/// One request, in the way that the deed asks for.
async fn act(app: &Router, what: &str, cookie: Option<&str>) {
    let mut request = Request::get(format!("/do/{}", what.replace(' ', "-")));
    if let Some(cookie) = cookie {
        request = request.header("cookie", cookie);
    }
    let mut answer = Box::pin(app.clone().oneshot(request.body(Body::empty()).unwrap()));
    match what {
        "panic" => assert!(tokio::spawn(answer).await.unwrap_err().is_panic()),
        "hang up" => {
            let waits = poll_fn(|cx| Poll::Ready(answer.as_mut().poll(cx).is_pending()));
            assert!(waits.await);
        }
        _ => drop(answer.await.unwrap()),
    }
}

#[tokio::test]
async fn a_stranger_finds_nothing_of_whoever_was_there_before() {
    for defer in [true, false] {
        for what in DEEDS {
            for known in [true, false] {
                let (site, kept) = site(defer);
                let app = site.app();
                let before = if known { site.known("alice").await.cookie_header("/") } else { None };
                act(&app, what, before.as_deref()).await;
                kept.lock().unwrap().clear();
                let about = format!("after `{what}`, defer: {defer}, with a session: {known}");
                let mut stranger = Client::new(app).clock(site.clock.clone());
                let _ = stranger.get("/plain").await.expect_status(200);
                assert_eq!(stranger.cookie(COOKIE), None, "{about}");
                let seen = stranger.get("/look").await.expect_status(200).json();
                let nothing =
                    json!({"data": {}, "new": true, "handle": null, "principal": null, "life": "Ttl"});
                assert_eq!(seen, nothing, "{about}");
                assert_eq!(stranger.cookie(COOKIE), None, "{about}");
                // And can do all that a visitor can.
                let _ = stranger.get("/set/user/bob").await.expect_status(200);
                assert_eq!(site.data_of(&stranger).await, Some(json!({"user": "bob"})), "{about}");
                let _ = stranger.get("/do/renew").await.expect_status(200);
                assert_eq!(stranger.get("/look").await.json()["data"], json!({"user": "bob"}), "{about}");
            }
        }
    }
}

/// What a handle that is still held says does not change when others come.
#[tokio::test]
async fn a_kept_handle_stays_its_own() {
    let (site, kept) = site(true);
    let alice = site.known("alice").await;
    act(&site.app(), "keep", alice.cookie_header("/").as_deref()).await;
    for name in ["bob", "carol"] {
        drop(site.known(name).await);
    }
    let hers = kept.lock().unwrap().pop().unwrap();
    assert_eq!(hers.value::<String>("user").await.unwrap().as_deref(), Some("alice"));
    hers.insert("later", 1).await.unwrap();
    hers.save().await.unwrap();
    assert_eq!(site.data_of(&alice).await, Some(json!({"user": "alice", "later": 1})));
}

#[tokio::test]
async fn a_layer_that_is_gone_keeps_nothing_alive() {
    let held = Arc::new(());
    let settings = held.clone();
    let site = Site::with(|layer| {
        layer.defer(true).commit_on(move |status| {
            let _mine = &settings;
            !status.is_server_error()
        })
    });
    let mut visitor = site.known("alice").await;
    for path in ["/read", "/set/a/1"] {
        let _ = visitor.get(path).await;
    }
    drop((visitor, site));
    assert_eq!(Arc::strong_count(&held), 1);
}

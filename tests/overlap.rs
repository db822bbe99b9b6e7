//! Inside of one request: what is changed and intended while a save of it waits for the store.
#![cfg(all(feature = "memory-store", feature = "testing"))]

mod site;

use axum::routing::get;
use axum_generic_session::{Error, Key, MaxAge, Operation, Saved, Session, testing::Answer};
use serde_json::{Value, json};
use site::{COOKIE, Site};
use std::{pin::Pin, time::Duration};

type Later = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// A request that writes `{"first": 1}` and saves it; `meanwhile` runs when the save stands before the store.
async fn during_a_save(
    site: Site,
    operation: Operation,
    before: fn(Session) -> Later,
    meanwhile: fn(Session) -> Later,
) -> (Site, String, Answer) {
    let probe = site.store.clone();
    let page = move |session: Session| async move {
        session.insert("first", 1).await?;
        before(session.clone()).await?;
        let gate = probe.hold(operation);
        let saving = tokio::spawn({
            let session = session.clone();
            async move { session.save().await }
        });
        gate.reached().await;
        meanwhile(session).await?;
        gate.open();
        saving.await.unwrap().map(|saved| format!("{saved:?}"))
    };
    let site = site.page("/page", get(page));
    let mut visitor = site.known("alice").await;
    let id = visitor.cookie(COOKIE).unwrap().to_owned();
    let answer = visitor.get("/page").await.expect_status(200);
    (site, id, answer)
}

fn nothing(_: Session) -> Later {
    Box::pin(async { Ok(()) })
}

fn new_id(answer: &Answer) -> String {
    let lines = answer.set_cookies();
    assert_eq!(lines.len(), 1, "{lines:?}");
    lines[0].split(['=', ';']).nth(1).unwrap().to_owned()
}

#[tokio::test]
async fn a_logout_is_not_lost_beside_a_save() {
    fn logout(s: Session) -> Later {
        Box::pin(async move { s.destroy() })
    }
    let (site, id, answer) = during_a_save(Site::new(), Operation::Set, nothing, logout).await;
    assert_eq!(answer.text(), format!("{:?}", Saved::Updated));
    assert!(answer.set_cookies()[0].starts_with("axum.sid=; "), "{:?}", answer.set_cookies());
    assert_eq!(site.data(&id).await, None);
}

#[tokio::test]
async fn a_logout_and_what_was_written_after_it_are_not_lost_beside_a_save() {
    fn flash(s: Session) -> Later {
        Box::pin(async move {
            s.destroy()?;
            s.insert("flash", "bye").await
        })
    }
    let (site, id, answer) = during_a_save(Site::new(), Operation::Set, nothing, flash).await;
    assert_eq!(site.data(&id).await, None);
    assert_eq!(site.data(&new_id(&answer)).await.unwrap(), json!({"flash": "bye"}));
}

#[tokio::test]
async fn a_renewal_is_not_lost_beside_a_save() {
    fn renew(s: Session) -> Later {
        Box::pin(async move { s.renew().await })
    }
    let (site, id, answer) = during_a_save(Site::new(), Operation::Set, nothing, renew).await;
    assert_eq!(site.data(&id).await, None);
    assert_eq!(site.data(&new_id(&answer)).await.unwrap(), json!({"user": "alice", "first": 1}));
}

#[tokio::test]
async fn a_change_is_not_lost_beside_a_save() {
    fn write(s: Session) -> Later {
        Box::pin(async move {
            s.remove("user").await?;
            s.insert("second", 2).await
        })
    }
    let (site, id, _) = during_a_save(Site::new(), Operation::Set, nothing, write).await;
    assert_eq!(site.data(&id).await.unwrap(), json!({"first": 1, "second": 2}));
}

#[tokio::test]
async fn a_replacement_is_not_lost_beside_a_save() {
    fn replace(s: Session) -> Later {
        Box::pin(async move { s.clear().await })
    }
    let (site, id, _) = during_a_save(Site::new(), Operation::Set, nothing, replace).await;
    assert_eq!(site.data(&id).await.unwrap(), json!({}));
}

/// What is stored in the end if `meanwhile` runs while what `before` has done waits for the store, and another tab writes
/// `{"other": "1"}` when that has been saved: the next save meets it.
async fn stored_beside_another_tab(before: fn(Session) -> Later, meanwhile: fn(Session) -> Later) -> Value {
    let site = Site::new();
    let mut other = site.known("alice").await;
    let id = other.cookie(COOKIE).unwrap().to_owned();
    let probe = site.store.clone();
    let page = move |session: Session| async move {
        before(session.clone()).await?;
        let gate = probe.hold(Operation::Set);
        let saving = tokio::spawn({
            let session = session.clone();
            async move { session.save().await }
        });
        gate.reached().await;
        meanwhile(session).await?;
        gate.open();
        assert_eq!(saving.await.unwrap()?, Saved::Updated);
        let _ = other.get("/set/other/1").await.expect_status(200);
        Ok::<_, Error>(())
    };
    let site = site.page("/page", get(page));
    let mut visitor = site.visitor();
    visitor.set_cookie(COOKIE, &id);
    let _ = visitor.get("/page").await.expect_status(200);
    site.data(&id).await.unwrap()
}

#[tokio::test]
async fn what_is_replaced_beside_a_save_is_not_merged_with_what_others_write() {
    fn write(s: Session) -> Later {
        Box::pin(async move { s.insert("first", 1).await })
    }
    fn clear(s: Session) -> Later {
        Box::pin(async move { s.clear().await })
    }
    fn replace(s: Session) -> Later {
        Box::pin(async move { s.set(json!({"mine": 1}).as_object().unwrap().clone()).await })
    }
    assert_eq!(stored_beside_another_tab(write, clear).await, json!({}));
    assert_eq!(stored_beside_another_tab(write, replace).await, json!({"mine": 1}));
    // A replacement that has been saved is no more than what is stored: what comes later is merged.
    let merged = json!({"mine": 1, "first": 1, "other": "1"});
    assert_eq!(stored_beside_another_tab(replace, write).await, merged);
}

#[tokio::test]
async fn cookie_settings_are_not_lost_beside_a_save() {
    fn remember(s: Session) -> Later {
        Box::pin(async move { s.update_cookie(|c| c.max_age = MaxAge::For(Duration::from_secs(7))).await })
    }
    let (site, id, answer) = during_a_save(Site::new(), Operation::Set, nothing, remember).await;
    assert!(answer.set_cookies()[0].contains("; Max-Age=7; "), "{:?}", answer.set_cookies());
    let left = site.record(&id).await.unwrap().expires_at;
    assert_eq!(left, site.after(Duration::from_secs(7)));
}

#[tokio::test]
async fn a_principal_is_not_lost_beside_a_save() {
    fn login(s: Session) -> Later {
        Box::pin(async move { s.set_principal("42").await })
    }
    let (site, id, _) = during_a_save(Site::new(), Operation::Set, nothing, login).await;
    assert_eq!(site.record(&id).await.unwrap().principal.as_deref(), Some("42"));
}

#[tokio::test]
async fn what_is_written_beside_a_logout_is_a_new_session() {
    fn logout(s: Session) -> Later {
        Box::pin(async move { s.destroy() })
    }
    fn flash(s: Session) -> Later {
        Box::pin(async move { s.insert("flash", "bye").await })
    }
    let (site, id, answer) = during_a_save(Site::new(), Operation::Destroy, logout, flash).await;
    assert_eq!(answer.text(), format!("{:?}", Saved::Destroyed));
    assert_eq!(site.data(&id).await, None);
    assert_eq!(site.data(&new_id(&answer)).await.unwrap(), json!({"flash": "bye"}));
}

#[tokio::test]
async fn what_is_written_beside_the_end_of_a_session_that_is_over_ends_with_it() {
    let site = Site::new();
    let probe = site.store.clone();
    let page = move |s: Session| async move {
        s.update_cookie(|c| c.max_age = MaxAge::For(Duration::ZERO)).await?;
        let gate = probe.hold(Operation::Destroy);
        let saving = tokio::spawn({
            let s = s.clone();
            async move { s.save().await }
        });
        gate.reached().await;
        s.insert("late", 1).await?;
        gate.open();
        assert_eq!(saving.await.unwrap()?, Saved::Destroyed);
        assert_eq!(s.value::<u8>("late").await?, None);
        Ok::<_, Error>(())
    };
    let site = site.page("/page", get(page));
    let lines = site.known("alice").await.get("/page").await.expect_status(200).set_cookies();
    assert!(lines.len() == 1 && lines[0].starts_with("axum.sid=; "), "{lines:?}");
    assert_eq!(site.store.inner().len(), 0);
}

#[tokio::test]
async fn a_logout_beside_a_renewal_ends_the_new_id() {
    fn renew(s: Session) -> Later {
        Box::pin(async move { s.renew().await })
    }
    fn logout(s: Session) -> Later {
        Box::pin(async move { s.destroy() })
    }
    let (site, _, answer) = during_a_save(Site::new(), Operation::Rotate, renew, logout).await;
    assert!(answer.set_cookies()[0].starts_with("axum.sid=; "), "{:?}", answer.set_cookies());
    assert_eq!(site.store.inner().len(), 0);
}

#[tokio::test]
async fn a_save_under_way_when_the_handler_fails_still_sends_its_cookie() {
    let site = Site::new();
    let probe = site.store.clone();
    let (gates, mut gate_of) = tokio::sync::mpsc::unbounded_channel();
    let site = site.page(
        "/page",
        get(move |s: Session| async move {
            s.insert("first", 1).await?;
            let gate = probe.hold(Operation::Set);
            tokio::spawn({
                let s = s.clone();
                async move { s.save().await }
            });
            gate.reached().await;
            gates.send(gate).unwrap();
            s.insert("second", 2).await?;
            Ok::<_, Error>(axum::http::StatusCode::INTERNAL_SERVER_ERROR)
        }),
    );
    let answering = site::in_another_tab(&site.visitor(), "/page");
    gate_of.recv().await.unwrap().open();
    let answer = answering.await.unwrap().expect_status(500);
    assert_eq!(
        site.data(&new_id(&answer)).await.unwrap(),
        json!({"first": 1}),
        "saved, and nothing but that"
    );
}

#[tokio::test]
async fn a_failed_transaction_leaves_no_trace_and_can_be_tried_again() {
    use axum_generic_session::{store::StoreErrorKind, testing::Fault};
    let site = Site::with(|layer| layer.keys([&Key::from(&[1; 64])]));
    let probe = site.store.clone();
    let site = site.page(
        "/page",
        get(move |s: Session| async move {
            let add = |map: &mut axum_generic_session::Map| {
                let n = map.get("n").and_then(Value::as_u64).unwrap_or(0) + 1;
                map.insert("n".into(), n.into());
                n
            };
            probe.fail(Operation::Set, Fault::before(StoreErrorKind::ReadOnly));
            assert!(s.transact(add).await.unwrap_err().store_error().is_some());
            assert_eq!(s.value::<u64>("n").await?, None);
            probe.heal();
            assert_eq!(s.transact(add).await?, 1, "not twice");
            Ok::<_, Error>(())
        }),
    );
    for mut visitor in [site.visitor(), site.known("alice").await] {
        let _ = visitor.get("/page").await.expect_status(200);
        let _ = visitor.get("/read").await;
        assert_eq!(visitor.get("/read").await.json()["n"], 1);
    }
}

//! A connection that ends in the middle of a call.

use std::time::Duration;

#[cfg(feature = "testing")]
use axum::{Router, routing::get};
#[cfg(feature = "testing")]
use axum_generic_session::{Map, Session, SessionLayer, testing::Client};
use axum_generic_session::{
    RedisStore,
    store::{Store, When, Written},
};
#[cfg(feature = "testing")]
use serde_json::Value;

#[cfg(feature = "testing")]
use super::SOON;
use super::{HOUR, NO, Scene, UNKNOWN, key, kind, record, soon};

/// F2, F3, F4, F7: the request does not arrive, or not whole. Nothing has changed; the same call again does it.
#[tokio::test]
async fn a_request_that_is_cut_changes_nothing_and_can_be_repeated() {
    let mut scene = Scene::set().await;
    let after = record("after");
    for bytes in [0, 1, 20, 90] {
        let key = scene.key.clone();
        scene.proxy.cut_request("EVALSHA", bytes);
        let cut = soon(scene.store.set(&key, &after, When::Tagged(scene.before.tag))).await;
        assert_eq!(kind(cut), Some(UNKNOWN), "set, after {bytes} bytes");
        scene.reconnected().await;
        assert!(scene.stored().await.is_some_and(|found| found == scene.before));

        scene.proxy.cut_request("EVALSHA", bytes);
        let later = scene.before.expires_at.saturating_add(HOUR);
        assert_eq!(kind(soon(scene.store.touch(&key, later)).await), Some(UNKNOWN), "touch");
        scene.reconnected().await;
        assert!(scene.stored().await.is_some_and(|found| found.expires_at == scene.before.expires_at));

        scene.proxy.cut_request("DEL", bytes.min(10));
        assert_eq!(kind(soon(scene.store.destroy(&key)).await), Some(UNKNOWN), "destroy");
        scene.reconnected().await;
        assert!(scene.stored().await.is_some_and(|found| found == scene.before));

        let new = self::key();
        scene.proxy.cut_request("EVALSHA", bytes);
        let cut = soon(scene.store.rotate(&key, When::Tagged(scene.before.tag), &new, &after)).await;
        assert_eq!(kind(cut), Some(UNKNOWN), "rotate");
        scene.reconnected().await;
        assert!(scene.stored().await.is_some_and(|found| found == scene.before));
        assert!(scene.store.get(&new).await.unwrap().is_none());

        // There is nothing to be in doubt about in a read.
        scene.proxy.cut_request("GET", bytes.min(10));
        assert_eq!(kind(soon(scene.store.get(&key)).await), Some(NO), "get");
        scene.reconnected().await;
    }
    assert_eq!(scene.proxy.cuts(), 20, "each of them was cut");
    let again = soon(scene.store.set(&scene.key, &after, When::Tagged(scene.before.tag))).await.unwrap();
    assert!(again == Written::Done);
}

/// F6: it has happened, and nobody was told. The same call again recognises it.
#[tokio::test]
async fn a_write_whose_answer_is_cut_is_recognised_when_it_is_repeated() {
    let mut scene = Scene::set().await;
    for bytes in [0, 1, 2] {
        let (key, new, one, two, three) = (key(), key(), record("1"), record("2"), record("3"));
        for (record, when) in [(&one, When::Absent), (&two, When::Tagged(one.tag)), (&three, When::Present)] {
            scene.proxy.cut_reply(if when == When::Absent { "PXAT" } else { "EVALSHA" }, bytes);
            assert_eq!(kind(soon(scene.store.set(&key, record, when)).await), Some(UNKNOWN), "{when:?}");
            scene.reconnected().await;
            assert!(
                soon(scene.store.get(&key)).await.unwrap().is_some_and(|found| found == *record),
                "it landed"
            );
            assert!(soon(scene.store.set(&key, record, when)).await.unwrap() == Written::Done, "{when:?}");
        }

        let moved = record("moved");
        scene.proxy.cut_reply("EVALSHA", bytes);
        let cut = soon(scene.store.rotate(&key, When::Tagged(three.tag), &new, &moved)).await;
        assert_eq!(kind(cut), Some(UNKNOWN), "rotate");
        scene.reconnected().await;
        assert!(soon(scene.store.get(&key)).await.unwrap().is_none(), "the old one has ended");
        let again = soon(scene.store.rotate(&key, When::Tagged(three.tag), &new, &moved)).await.unwrap();
        assert!(again == Written::Done);
        assert!(soon(scene.store.get(&new)).await.unwrap().is_some_and(|found| found == moved));

        scene.proxy.cut_reply("DEL", bytes);
        assert_eq!(kind(soon(scene.store.destroy(&new)).await), Some(UNKNOWN), "destroy");
        scene.reconnected().await;
        assert_eq!(kind(soon(scene.store.destroy(&new)).await), None);
        assert!(soon(scene.store.get(&new)).await.unwrap().is_none());
    }
    // Somebody else has written in between: then it is a conflict, and never a second write.
    let (ours, theirs) = (record("ours"), record("theirs"));
    scene.proxy.cut_reply("EVALSHA", 0);
    let cut = soon(scene.store.set(&scene.key, &ours, When::Tagged(scene.before.tag))).await;
    assert_eq!(kind(cut), Some(UNKNOWN));
    scene.reconnected().await;
    let other = RedisStore::connect(&scene.server.url()).await.unwrap();
    assert!(other.set(&scene.key, &theirs, When::Tagged(ours.tag)).await.unwrap() == Written::Done);
    let again = soon(scene.store.set(&scene.key, &ours, When::Tagged(scene.before.tag))).await.unwrap();
    assert!(again == Written::Conflict(Some(theirs)));
}

/// The same in a site: the client needs some milliseconds to reconnect, and until then refuses at once. No visitor
/// is to notice, nor anything to be counted twice.
#[cfg(feature = "testing")]
#[tokio::test]
async fn a_request_whose_write_is_cut_waits_for_the_connection_and_succeeds() {
    let scene = Scene::set().await;
    let add = |session: Session| async move {
        let more = |map: &mut Map| {
            let n = map.get("n").and_then(Value::as_u64).unwrap_or(0) + 1;
            map.insert("n".into(), n.into());
            n
        };
        session.transact(more).await.map(|n| n.to_string())
    };
    let app = Router::new()
        .route("/add", get(add))
        .route("/renew", get(|session: Session| async move { session.renew().await }))
        .route("/logout", get(|session: Session| async move { session.destroy() }))
        .layer(SessionLayer::new(scene.store.clone()).name("id").operation_timeout(SOON));
    let mut visitor = Client::new(app);
    let _ = visitor.get("/add").await.expect_status(200);
    let mut counted = 1;
    for round in 0..20 {
        let cut = |needle| match round % 2 {
            0 => scene.proxy.cut_request(needle, round),
            _ => scene.proxy.cut_reply(needle, 0),
        };
        cut("EVALSHA");
        counted += 1;
        assert_eq!(visitor.get("/add").await.expect_status(200).text(), counted.to_string());
        cut("EVALSHA");
        assert_eq!(visitor.get("/renew").await.expect_status(200).set_cookies().len(), 1);
        let mut leaving = visitor.clone();
        if round == 19 {
            cut("DEL");
            let _ = leaving.get("/logout").await.expect_status(200);
            assert_eq!(visitor.get("/add").await.expect_status(200).text(), "1", "a new session");
        }
    }
    assert_eq!(scene.proxy.cuts(), 41, "each of them was cut");
}

/// One cut ends all calls on the connection; the next ones have a new one.
#[tokio::test]
async fn calls_beside_a_cut_one_fail_with_it_and_none_hangs() {
    let mut scene = Scene::set().await;
    scene.proxy.delay(Duration::from_millis(20));
    let (store, key) = (scene.store.clone(), scene.key.clone());
    let calls: Vec<_> = (0..200)
        .map(|_| {
            let (store, key) = (store.clone(), key.clone());
            tokio::spawn(async move { store.get(&key).await })
        })
        .collect();
    scene.proxy.cut_reply("GET", 30);
    let mut failed = 0;
    for call in calls {
        match soon(call).await.unwrap() {
            Ok(found) => assert!(found.is_some_and(|found| found == scene.before)),
            Err(error) => {
                assert_eq!(error.kind(), NO, "{error}");
                failed += 1;
            }
        }
    }
    assert!(failed > 0 && scene.proxy.cuts() == 1);
    scene.proxy.delay(Duration::ZERO);
    scene.reconnected().await;
    assert!(scene.stored().await.is_some());
}

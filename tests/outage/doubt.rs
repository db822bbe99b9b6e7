//! A write whose answer is lost.

use axum::routing::get;
use axum_generic_session::{
    MemoryStore, Operation, SessionLayer, Store,
    store::{Tag, When},
    testing::{Client, Fault, ProbeStore},
};
use serde_json::{Value, json};

use super::{
    IN_DOUBT, add,
    site::{COOKIE, Site, in_another_tab},
};

#[tokio::test]
async fn a_write_whose_answer_was_lost_is_recognised() {
    for (path, operation, expected) in [
        ("/set/a/1", Operation::Set, json!({"user": "alice", "a": "1"})),
        ("/add", Operation::Set, json!({"user": "alice", "n": 1})),
        ("/login/bob", Operation::Rotate, json!({"user": "bob"})),
        ("/logout", Operation::Destroy, Value::Null),
    ] {
        let site = Site::new().page("/add", get(add));
        let mut visitor = site.known("alice").await;
        site.store.fail(operation, Fault::after(IN_DOUBT).times(1));
        assert_eq!(visitor.get(path).await.expect_status(200).set_cookies().len(), 1, "{path}");
        assert_eq!(site.data_of(&visitor).await.unwrap_or_default(), expected, "{path}");
        assert_eq!(site.store.inner().len(), usize::from(path != "/logout"), "{path}");
    }
    let site = Site::new();
    let mut newcomer = site.visitor();
    site.store.fail(Operation::Set, Fault::after(IN_DOUBT).times(1));
    let _ = newcomer.get("/set/a/1").await.expect_status(200);
    assert_eq!(site.data_of(&newcomer).await.unwrap(), json!({"a": "1"}));
    assert_eq!(site.store.inner().len(), 1, "created once");
}

/// The write has been made, its answer is lost, and before it can be tried again another request has gone on from it.
/// To change a value again is harmless. To count again is not, nor to say that nothing was saved.
#[tokio::test]
async fn a_lost_write_that_others_have_built_on_is_not_taken_for_one_that_was_refused() {
    for (strict, path, status, expected) in [
        (false, "/add", 503, json!({"user": "alice", "n": 1, "b": "2"})),
        (false, "/set/a/1", 200, json!({"user": "alice", "a": "1", "b": "2"})),
        (true, "/set/a/1", 503, json!({"user": "alice", "a": "1", "b": "2"})),
    ] {
        let site = Site::with(|layer| layer.strict(strict)).page("/add", get(add));
        let visitor = site.known("alice").await;
        site.store.fail(Operation::Set, Fault::after(IN_DOUBT).times(1));
        let gate = site.store.hold_answer(Operation::Set);
        let lost = in_another_tab(&visitor, path);
        gate.reached().await;
        let other =
            Client::new(site.under(SessionLayer::new(site.store.inner().clone()).clock(site.clock.clone())));
        let mut other = other.clock(site.clock.clone());
        other.set_cookie(COOKIE, visitor.cookie(COOKIE).unwrap());
        let _ = other.get("/set/b/2").await.expect_status(200);
        gate.open();
        let answer = lost.await.unwrap().expect_status(status);
        assert_eq!(answer.set_cookies().len(), usize::from(status == 200), "{path}");
        assert_eq!(site.data_of(&visitor).await.unwrap(), expected, "{path}");
    }
}

#[tokio::test]
async fn a_lost_increment_to_a_session_that_has_moved_since_is_not_reported_as_refused() {
    let site = Site::new().page("/add", get(add));
    let visitor = site.known("alice").await;
    site.store.fail(Operation::Set, Fault::after(IN_DOUBT).times(1));
    let gate = site.store.hold_answer(Operation::Set);
    let lost = in_another_tab(&visitor, "/add");
    gate.reached().await;
    let (key, new) = (site.key(visitor.cookie(COOKIE).unwrap()), site.key(&"n".repeat(32)));
    let mut record = site.store.inner().get(&key).await.unwrap().unwrap();
    record.tag = Tag::random();
    site.store.inner().rotate(&key, When::Present, &new, &record).await.unwrap();
    gate.open();
    let answer = lost.await.unwrap().expect_status(503);
    assert_eq!(
        (answer.set_cookies().len(), site.data(&"n".repeat(32)).await.unwrap()["n"].as_u64()),
        (0, Some(1))
    );
}

/// koa's layout has no room for a tag of our own: what stands there may be ours, or another's equal click.
#[tokio::test]
async fn a_lost_write_in_koas_layout_is_not_taken_for_one_that_was_refused() {
    let store = ProbeStore::new(MemoryStore::new());
    let site = Site::new().page("/add", get(add));
    let layer = SessionLayer::koa(store.clone(), &["a key of some length, as koa has it"]);
    let mut visitor = Client::new(site.under(layer));
    let lose = |operation| store.fail(operation, Fault::after(IN_DOUBT).times(1));

    lose(Operation::Set);
    assert_eq!(visitor.get("/set/user/alice").await.expect_status(503).set_cookies(), [""; 0]);
    assert_eq!(store.inner().len(), 1, "nobody has its id, and there is no second one");
    let _ = visitor.get("/set/user/alice").await.expect_status(200);

    lose(Operation::Set);
    let _ = visitor.get("/add").await.expect_status(503);
    assert_eq!(visitor.get("/read").await.json(), json!({"user": "alice", "n": 1}), "counted once");
    lose(Operation::Set);
    let _ = visitor.get("/set/a/1").await.expect_status(200);
    assert_eq!(visitor.get("/read").await.json(), json!({"user": "alice", "n": 1, "a": "1"}));
    lose(Operation::Rotate);
    assert_eq!(visitor.get("/login/bob").await.expect_status(503).set_cookies(), [""; 0]);
}

#[tokio::test]
async fn a_write_in_doubt_twice_is_an_error_and_either_old_or_new() {
    let site = Site::new();
    let mut visitor = site.known("alice").await;
    site.store.fail(Operation::Set, Fault::after(IN_DOUBT));
    assert_eq!(visitor.get("/set/a/1").await.expect_status(503).set_cookies(), [""; 0]);
    site.store.heal();
    assert_eq!(visitor.get("/read").await.json(), json!({"user": "alice", "a": "1"}));
    assert_eq!(visitor.get("/set/a/2").await.expect_status(200).set_cookies().len(), 1);
}

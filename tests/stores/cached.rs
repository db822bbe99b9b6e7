//! A store near by in front of one far away: what it may show, for how long, and what it must not do.

use std::{sync::Arc, time::Duration};

use axum::{Router, body::Bytes, routing::get};
use axum_generic_session::{
    CachedStore, Clock, Error, Map, MemoryStore, Operation, Rolling, Session, SessionId, SessionLayer, Store,
    StoreKey,
    store::{
        Applied, ByPrincipal, Connection, Layout, Owner, Record, StoreErrorKind, Tag, When, Which, Written,
        contract::Contract,
    },
    testing::{Calls, Client, Fault, ManualClock, ProbeStore},
};
use serde_json::json;

const AWAY: StoreErrorKind = StoreErrorKind::Unavailable(Applied::No);
const HOUR: Duration = Duration::from_secs(3600);
const STALENESS: Duration = Duration::from_secs(2);
const TICK: Duration = Duration::from_millis(1);

type Probe = ProbeStore<MemoryStore>;
type Cached = Arc<CachedStore<Probe, Probe>>;

fn key() -> StoreKey {
    StoreKey::hashed("test:", &SessionId::random())
}

/// One engine, a node with a front, and what both see of the time.
struct Scene {
    clock: ManualClock,
    front: Probe,
    back: Probe,
    node: Cached,
    key: StoreKey,
    record: Record,
}

impl Scene {
    /// With a session that the node has read.
    async fn set() -> Self {
        let clock = ManualClock::new();
        let memory = || ProbeStore::new(MemoryStore::new().clock(clock.clone()));
        let (front, back) = (memory(), memory());
        let node = node(&front, &back, &clock);
        let record = record(&clock, "1");
        let scene = Self { clock, front, back, node, key: key(), record };
        assert_eq!(scene.node.set(&scene.key, &scene.record, When::Absent).await.unwrap(), Written::Done);
        assert_eq!(scene.read().await.as_ref(), Some(&scene.record));
        let _ = scene.back.take_calls();
        scene
    }

    /// Another node: a front of its own, that has read the session too.
    async fn another(&self) -> Cached {
        let front = ProbeStore::new(MemoryStore::new().clock(self.clock.clone()));
        let other = node(&front, &self.back, &self.clock);
        assert!(other.get(&self.key).await.unwrap().is_some());
        let _ = self.back.take_calls();
        other
    }

    async fn read(&self) -> Option<Record> {
        self.node.get(&self.key).await.unwrap()
    }

    fn next(&self, data: &'static str) -> Record {
        record(&self.clock, data)
    }
}

fn node(front: &Probe, back: &Probe, clock: &ManualClock) -> Cached {
    Arc::new(CachedStore::new(front.clone(), back.clone(), STALENESS).clock(clock.clone()))
}

fn record(clock: &ManualClock, data: &'static str) -> Record {
    let expires_at = clock.now().saturating_add(HOUR);
    Record { tag: Tag::random(), expires_at, principal: Some("ada".into()), data: Bytes::from(data) }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cached_store_keeps_the_contract() {
    let clock = ManualClock::new();
    let memory = || MemoryStore::new().clock(clock.clone());
    let store = Arc::new(CachedStore::new(memory(), memory(), HOUR).clock(clock.clone()));
    let report = Contract::new(|| async { Arc::clone(&store) }).clock(clock.clone()).run().await;
    assert!(report.left_out().is_empty(), "{report}");
    Contract::new(|| async { Arc::clone(&store) }).clock(clock.clone()).run_by_principal().await;
    // With no time to be stale in, nodes with a front of their own are as one.
    let back = memory();
    let open = || async { CachedStore::new(memory(), back.clone(), Duration::ZERO).clock(clock.clone()) };
    let report = Contract::new(open).clock(clock.clone()).run().await;
    assert!(report.left_out().is_empty(), "{report}");
}

#[tokio::test]
async fn a_read_is_answered_near_by_until_it_is_too_old() {
    let scene = Scene::set().await;
    for _ in 0..100 {
        assert_eq!(
            scene.read().await.as_ref(),
            Some(&scene.record),
            "the record itself, its true end included"
        );
    }
    assert_eq!(scene.back.take_calls().total(), 0);
    scene.clock.advance(STALENESS - TICK);
    assert_eq!((scene.read().await.is_some(), scene.back.take_calls().total()), (true, 0));
    scene.clock.advance(TICK);
    assert_eq!((scene.read().await.is_some(), scene.back.take_calls().get), (true, 1));
    // The front's own time does not count, nor does a copy from a time to come.
    let early = ManualClock::new();
    let front = ProbeStore::new(MemoryStore::new().clock(early.clone()));
    let node = node(&front, &scene.back, &scene.clock);
    for _ in 0..2 {
        assert!(node.get(&scene.key).await.unwrap().is_some());
        scene.clock.advance(STALENESS);
    }
    assert_eq!(scene.back.take_calls().get, 2);
    scene.clock.set(early.now());
    assert!(node.get(&scene.key).await.unwrap().is_some());
    assert_eq!(scene.back.take_calls().get, 1);
}

#[tokio::test]
async fn what_has_expired_is_gone_although_there_is_a_copy() {
    let scene = Scene::set().await;
    let brief = Record { expires_at: scene.clock.now().saturating_add(STALENESS / 2), ..scene.next("2") };
    scene.node.set(&scene.key, &brief, When::Present).await.unwrap();
    assert_eq!(scene.read().await, Some(brief));
    scene.clock.advance(STALENESS / 2);
    assert_eq!(scene.read().await, None);
}

#[tokio::test]
async fn an_unknown_session_is_asked_for_each_time() {
    let scene = Scene::set().await;
    let (key, new) = (key(), scene.next("new"));
    assert_eq!(scene.node.get(&key).await.unwrap(), None);
    scene.back.inner().set(&key, &new, When::Absent).await.unwrap();
    assert_eq!(scene.node.get(&key).await.unwrap(), Some(new), "a login on another node");
}

#[tokio::test]
async fn what_a_node_has_changed_it_sees_at_once() {
    let scene = Scene::set().await;
    let Scene { node, key, .. } = &scene;
    let two = scene.next("2");
    assert_eq!(node.set(key, &two, When::Tagged(scene.record.tag)).await.unwrap(), Written::Done);
    assert_eq!(scene.read().await.as_ref(), Some(&two));
    let later = two.expires_at.saturating_add(HOUR);
    assert!(node.touch(key, later).await.unwrap());
    let _ = scene.back.take_calls();
    assert_eq!(scene.read().await, Some(Record { expires_at: later, ..two.clone() }));
    assert_eq!(scene.back.take_calls().total(), 0, "extending a life does not cost the copy");
    let (new, three) = (self::key(), scene.next("3"));
    assert_eq!(node.rotate(key, When::Tagged(two.tag), &new, &three).await.unwrap(), Written::Done);
    assert_eq!((scene.read().await, node.get(&new).await.unwrap()), (None, Some(three)));
    node.destroy(&new).await.unwrap();
    assert_eq!(node.get(&new).await.unwrap(), None);
}

#[tokio::test]
async fn a_logout_is_seen_by_the_others_in_time_and_undone_by_none() {
    for late in ["set", "rotate", "touch", "nothing"] {
        let scene = Scene::set().await;
        let (other, key) = (scene.another().await, &scene.key);
        scene.node.destroy(key).await.unwrap();
        assert_eq!(scene.read().await, None, "here at once");
        scene.clock.advance(STALENESS - TICK);
        assert_eq!(other.get(key).await.unwrap().as_ref(), Some(&scene.record), "there it is a copy");
        let (new, when) = (self::key(), When::Tagged(scene.record.tag));
        match late {
            "set" => assert_eq!(other.set(key, &scene.next("2"), when).await.unwrap(), Written::Gone),
            "rotate" => {
                assert_eq!(other.rotate(key, when, &new, &scene.next("2")).await.unwrap(), Written::Gone);
            }
            "touch" => assert!(!other.touch(key, scene.record.expires_at).await.unwrap()),
            _ => scene.clock.advance(TICK),
        }
        for node in [&scene.node, &other] {
            assert_eq!(node.get(key).await.unwrap(), None, "{late}");
            assert_eq!(node.get(&new).await.unwrap(), None, "{late}");
        }
    }
}

#[tokio::test]
async fn an_owners_sessions_end_here_at_once_and_there_in_time() {
    let scene = Scene::set().await;
    let (other, key) = (scene.another().await, &scene.key);
    let ada = Owner { prefix: key.prefix(), principal: "ada" };
    assert_eq!(scene.node.sessions_of(ada).await.unwrap().len(), 1);
    assert_eq!(scene.node.destroy_of(ada, Which::All).await.unwrap(), 1);
    assert_eq!(scene.read().await, None, "here at once");
    assert!(other.get(key).await.unwrap().is_some(), "there it is a copy");
    scene.clock.advance(STALENESS);
    assert_eq!(other.get(key).await.unwrap(), None);
    // What is read from now on is copied again.
    let next = scene.next("2");
    assert_eq!(scene.node.set(key, &next, When::Absent).await.unwrap(), Written::Done);
    assert_eq!(scene.read().await.as_ref(), Some(&next));
    let _ = scene.back.take_calls();
    assert_eq!(scene.read().await.as_ref(), Some(&next));
    assert_eq!(scene.back.take_calls().get, 0, "answered near by");
}

#[tokio::test]
async fn an_old_copy_leads_to_a_conflict_and_then_to_the_record_that_is_there() {
    let scene = Scene::set().await;
    let (other, two) = (scene.another().await, scene.next("2"));
    let when = When::Tagged(scene.record.tag);
    assert_eq!(scene.node.set(&scene.key, &two, when).await.unwrap(), Written::Done);
    let late = other.set(&scene.key, &scene.next("3"), when).await.unwrap();
    assert_eq!(late, Written::Conflict(Some(two.clone())));
    assert_eq!(other.get(&scene.key).await.unwrap(), Some(two));
}

/// The answer to a read is under way while the session is changed or ended here.
#[tokio::test]
async fn a_slow_read_does_not_put_back_what_has_ended_meanwhile() {
    for held in ["the answer of the back", "the front"] {
        for end in ["destroy", "rotate", "set", "touch"] {
            let scene = Scene::set().await;
            scene.clock.advance(STALENESS);
            let gate = match held {
                "the front" => scene.front.hold(Operation::Set),
                _ => scene.back.hold_answer(Operation::Get),
            };
            let (node, key) = (scene.node.clone(), scene.key.clone());
            let slow = tokio::spawn(async move { node.get(&key).await.unwrap() });
            gate.reached().await;
            let (node, key, next) = (scene.node.clone(), scene.key.clone(), scene.next("2"));
            let back = scene.back.clone();
            let ending = tokio::spawn(async move {
                match end {
                    "destroy" => node.destroy(&key).await.unwrap(),
                    "rotate" => drop(node.rotate(&key, When::Present, &self::key(), &next).await.unwrap()),
                    "set" => drop(node.set(&key, &next, When::Present).await.unwrap()),
                    _ => {
                        back.inner().destroy(&key).await.unwrap();
                        assert!(!node.touch(&key, next.expires_at).await.unwrap());
                    }
                }
            });
            let mut ending = Some(ending);
            if held != "the front" {
                ending.take().unwrap().await.unwrap();
            }
            gate.open();
            assert_eq!(slow.await.unwrap().as_ref(), Some(&scene.record), "it was read before the end");
            if let Some(ending) = ending {
                ending.await.unwrap();
            }
            let _ = scene.back.take_calls();
            let now = scene.read().await.map(|record| record.data);
            let expected = (end == "set").then(|| Bytes::from("2"));
            assert_eq!((now, scene.back.take_calls().get), (expected, 1), "{end}, {held}");
        }
    }
}

/// The write has been sent, and is not done yet: what is read now may be what it is about to end.
#[tokio::test]
async fn a_read_during_a_write_leaves_no_copy_and_neither_does_a_write_that_is_given_up() {
    for moment in ["before", "after"] {
        let scene = Scene::set().await;
        let gate = match moment {
            "before" => scene.back.hold(Operation::Destroy),
            _ => scene.back.hold_answer(Operation::Destroy),
        };
        let (node, key) = (scene.node.clone(), scene.key.clone());
        let ending = tokio::spawn(async move { node.destroy(&key).await });
        gate.reached().await;
        assert_eq!(scene.read().await.is_some(), moment == "before");
        assert!(scene.front.inner().is_empty(), "no copy");
        if moment == "after" {
            ending.abort();
            assert!(ending.await.unwrap_err().is_cancelled());
        } else {
            gate.open();
            ending.await.unwrap().unwrap();
        }
        assert_eq!(scene.read().await, None, "{moment}");
    }
}

#[tokio::test]
async fn a_front_that_fails_or_is_full_is_done_without() {
    let operations =
        [Operation::Get, Operation::Set, Operation::Touch, Operation::Destroy, Operation::Rotate];
    for kind in [AWAY, StoreErrorKind::Full, StoreErrorKind::Corrupt] {
        let scene = Scene::set().await;
        scene.clock.advance(STALENESS);
        for operation in operations {
            scene.front.fail(operation, Fault::before(kind));
        }
        let Scene { node, key, .. } = &scene;
        assert_eq!(scene.read().await.as_ref(), Some(&scene.record));
        let (two, when) = (scene.next("2"), When::Tagged(scene.record.tag));
        assert_eq!(node.set(key, &two, when).await.unwrap(), Written::Done);
        assert!(node.touch(key, two.expires_at).await.unwrap());
        assert_eq!(scene.read().await.as_ref(), Some(&two));
        let new = self::key();
        assert_eq!(node.rotate(key, When::Present, &new, &two).await.unwrap(), Written::Done);
        node.destroy(&new).await.unwrap();
        assert_eq!(node.get(&new).await.unwrap(), None);
        scene.front.heal();
        assert_eq!(scene.read().await, None, "and nothing old comes back with it");
    }
    let scene = Scene::set().await;
    let tiny = MemoryStore::new().clock(scene.clock.clone()).max_entries(1);
    let small = CachedStore::new(tiny, scene.back.clone(), HOUR);
    let small = small.clock(scene.clock.clone());
    let (other, two) = (key(), scene.next("2"));
    scene.back.inner().set(&other, &two, When::Absent).await.unwrap();
    let _ = scene.back.take_calls();
    for _ in 0..2 {
        assert_eq!(small.get(&scene.key).await.unwrap().as_ref(), Some(&scene.record));
        assert_eq!(small.get(&other).await.unwrap().as_ref(), Some(&two));
    }
    assert_eq!(scene.back.take_calls().get, 3, "the first one has found room");
    // What is no copy, is none.
    let front = ProbeStore::new(MemoryStore::new().clock(scene.clock.clone()));
    front.inner().set(&scene.key, &scene.next("short"), When::Absent).await.unwrap();
    let node = node(&front, &scene.back, &scene.clock);
    for _ in 0..2 {
        assert_eq!(node.get(&scene.key).await.unwrap().as_ref(), Some(&scene.record));
    }
    assert_eq!(scene.back.take_calls().get, 1);
}

#[tokio::test]
async fn while_the_back_is_away_copies_are_shown_until_they_are_old_and_nothing_else() {
    let scene = Scene::set().await;
    let Scene { node, key, back, .. } = &scene;
    for operation in [Operation::Get, Operation::Set, Operation::Touch, Operation::Destroy, Operation::Rotate]
    {
        back.fail(operation, Fault::before(AWAY));
    }
    back.disconnect();
    let connection = node.connection().unwrap();
    assert!(matches!(*connection.borrow(), Connection::Disconnected { .. }));
    assert_eq!(scene.read().await.as_ref(), Some(&scene.record));
    assert_eq!(node.touch(key, scene.record.expires_at).await.unwrap_err().kind(), AWAY);
    scene.clock.advance(STALENESS);
    assert_eq!(node.get(key).await.unwrap_err().kind(), AWAY, "no session would be a logout");
    back.heal();
    assert!(scene.read().await.is_some());
    // A write that fails may have been carried out: what it was about is not shown any more.
    back.fail(Operation::Destroy, Fault::after(StoreErrorKind::Unavailable(Applied::Unknown)));
    assert!(node.destroy(key).await.is_err());
    assert_eq!(scene.read().await, None);
}

#[tokio::test]
async fn records_of_koas_layout_are_copied_too() {
    let scene = Scene::set().await;
    let key = StoreKey::plain("koa:", &SessionId::random()).with_layout(Layout::Plain);
    let data = Bytes::from_static(br#"{"cookie":{}}"#);
    let plain = Record { tag: Tag::of(&data), principal: None, data, ..scene.record.clone() };
    assert_eq!(scene.node.set(&key, &plain, When::Absent).await.unwrap(), Written::Done);
    let _ = scene.back.take_calls();
    for _ in 0..3 {
        assert_eq!(scene.node.get(&key).await.unwrap().as_ref(), Some(&plain));
    }
    assert_eq!(scene.back.take_calls().get, 1);
    assert_eq!(scene.node.set(&key, &plain, When::Tagged(plain.tag)).await.unwrap(), Written::Done);
}

/// A whole site: what a request costs, and rolling by the true end of the session.
#[tokio::test]
async fn a_site_over_a_cached_store_reads_near_by_and_rolls_in_time() {
    async fn page(session: Session) -> Result<String, Error> {
        Ok(session.get().await?.len().to_string())
    }
    let clock = ManualClock::new();
    let back = ProbeStore::new(MemoryStore::new().clock(clock.clone()));
    let node = || {
        let front = MemoryStore::new().clock(clock.clone());
        let store = CachedStore::new(front, back.clone(), STALENESS).clock(clock.clone());
        let layer = SessionLayer::new(store).clock(clock.clone()).ttl(HOUR).rolling(Rolling::After(0.5));
        let add = |s: Session| async move {
            s.transact(|map: &mut Map| drop(map.insert("n".into(), json!(1)))).await
        };
        let logout = |s: Session| async move { s.destroy() };
        let pages = Router::new().route("/", get(page)).route("/add", get(add)).route("/logout", get(logout));
        Client::new(pages.layer(layer)).clock(clock.clone())
    };
    let (mut here, mut there) = (node(), node());
    let _ = here.get("/add").await.expect_status(200);
    there.set_cookie("axum.sid", here.cookie("axum.sid").unwrap());
    assert_eq!(there.get("/").await.expect_status(200).text(), "1", "a login is seen at once");
    let _ = back.take_calls();
    for _ in 0..10 {
        assert_eq!(there.get("/").await.expect_status(200).text(), "1");
    }
    assert_eq!(back.take_calls(), Calls::default());
    clock.advance(HOUR / 2 + TICK);
    for _ in 0..10 {
        assert_eq!(there.get("/").await.expect_status(200).text(), "1");
    }
    assert_eq!(back.take_calls(), Calls { get: 1, touch: 1, ..Calls::default() }, "extended once");
    clock.advance(HOUR / 2);
    assert_eq!(there.get("/").await.expect_status(200).text(), "1", "and lives");
    here.set_cookie("axum.sid", there.cookie("axum.sid").unwrap());
    let _ = here.get("/logout").await.expect_status(200);
    clock.advance(STALENESS);
    assert_eq!(there.get("/").await.expect_status(200).text(), "0");
}

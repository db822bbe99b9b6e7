//! Two requests at one time, steered by gates. Each race is run twice: over a store that keeps its conditions, and
//! over one that ignores them, where the harm that the conditions prevent must be seen.
#![cfg(all(feature = "memory-store", feature = "testing"))]

mod site;

use axum::{extract::Path, routing::get};
use axum_generic_session::{
    Error, MemoryStore, Operation, Rolling, Session, SessionId, SessionLayer, Store, StoreKey, Timestamp,
    Verdict,
    store::{Guarantee, Record, StoreError, Tag, When, Written},
    testing::{Answer, Client, ManualClock, ProbeStore},
};
use serde_json::{Value, json};
use site::{COOKIE, PATIENCE, Site, in_another_tab, object};

/// A store like those of many session libraries: it writes what it is given.
#[derive(Clone)]
struct Careless(MemoryStore);

impl Store for Careless {
    async fn get(&self, key: &StoreKey) -> Result<Option<Record>, StoreError> {
        self.0.get(key).await
    }
    async fn set(&self, key: &StoreKey, record: &Record, _: When) -> Result<Written, StoreError> {
        self.0.destroy(key).await?;
        self.0.set(key, record, When::Absent).await
    }
    async fn touch(&self, key: &StoreKey, expires_at: Timestamp) -> Result<bool, StoreError> {
        // As where a "touch" saves the session as it was loaded.
        let data = "{\"v\":1,\"created\":1700000000000}\n{\"user\":\"alice\"}";
        let loaded = Record { tag: Tag::random(), expires_at, principal: None, data: data.into() };
        self.set(key, &loaded, When::Absent).await.map(|_| true)
    }
    async fn destroy(&self, key: &StoreKey) -> Result<(), StoreError> {
        self.0.destroy(key).await
    }
    fn guarantee(&self) -> Guarantee {
        Guarantee::LastWriteWins
    }
}

/// A store to which somebody else has always just written.
#[derive(Clone)]
struct Busy(MemoryStore);

impl Store for Busy {
    async fn get(&self, key: &StoreKey) -> Result<Option<Record>, StoreError> {
        self.0.get(key).await
    }
    async fn set(&self, key: &StoreKey, record: &Record, when: When) -> Result<Written, StoreError> {
        if let When::Tagged(_) = when {
            let there = self.0.get(key).await?.unwrap();
            let theirs = Record { tag: Tag::random(), ..there };
            assert_eq!(self.0.set(key, &theirs, When::Present).await?, Written::Done);
        }
        self.0.set(key, record, when).await
    }
    async fn touch(&self, key: &StoreKey, expires_at: Timestamp) -> Result<bool, StoreError> {
        self.0.touch(key, expires_at).await
    }
    async fn destroy(&self, key: &StoreKey) -> Result<(), StoreError> {
        self.0.destroy(key).await
    }
}

/// A site over any store, on two nodes, with a visitor who is known to both. (On one node writers of one session
/// take turns, so that they hardly meet.)
struct Scene<S> {
    store: ProbeStore<S>,
    late: Client,
    visitor: Client,
    /// The id at the beginning.
    id: String,
}

fn key(id: &str) -> StoreKey {
    StoreKey::hashed("axum:sess:", &SessionId::parse(id).unwrap())
}

impl<S: Store> Scene<S> {
    async fn new(store: S) -> Self {
        Self::with(store, |layer| layer).await
    }

    async fn with(store: S, settings: fn(SessionLayer) -> SessionLayer) -> Self {
        let store = ProbeStore::new(store);
        let [node, other] = [(), ()]
            .map(|()| pages().under(settings(SessionLayer::new(store.clone()).operation_timeout(PATIENCE))));
        let mut visitor = Client::new(node);
        let _ = visitor.get("/set/user/alice").await.expect_status(200);
        let id = visitor.cookie(COOKIE).unwrap().to_owned();
        let mut late = Client::new(other);
        late.set_cookie(COOKIE, &id);
        Self { store, late, visitor, id }
    }

    async fn data(&self, id: &str) -> Option<Value> {
        self.store.inner().get(&key(id)).await.unwrap().as_ref().map(object)
    }

    /// `late` stands before its `operation`; `between` runs; `late` goes on. Its answer, and that of `between`.
    async fn overtake(&mut self, late: &str, operation: Operation, between: &str) -> (Answer, Answer) {
        let gate = self.store.hold(operation);
        let late = in_another_tab(&self.late, late);
        gate.reached().await;
        let between = self.visitor.get(between).await.expect_status(200);
        gate.open();
        (late.await.unwrap(), between)
    }
}

async fn save_and_go_on(session: Session) -> Result<(), Error> {
    session.insert("a", 1).await?;
    session.save().await?;
    session.insert("b", 2).await
}

fn pages() -> Site {
    let only = || [("only".to_owned(), 1.into())].into_iter().collect();
    Site::new()
        .page("/transact/{n}", get(transact))
        .page("/save-and-go-on", get(save_and_go_on))
        .page(
            "/set-forced/{key}/{value}",
            get(|s: Session, Path((key, value)): Path<(String, String)>| async move {
                s.force_save();
                s.insert(&key, value).await
            }),
        )
        .page("/replace", get(move |s: Session| async move { s.set(only()).await }))
        .page(
            "/renew-and-transact",
            get(|s: Session| async move {
                s.renew().await?;
                transact(s, Path(1)).await
            }),
        )
}

async fn transact(session: Session, Path(n): Path<u64>) -> Result<(), Error> {
    session
        .transact(|map| {
            let now = map.get("n").and_then(Value::as_u64).unwrap_or(0);
            map.insert("n".into(), (now + n).into());
        })
        .await
}

fn careless() -> Careless {
    Careless(MemoryStore::new())
}

#[tokio::test]
async fn a_save_does_not_revive_a_session_that_was_logged_out() {
    let mut scene = Scene::new(MemoryStore::new()).await;
    let (late, _) = scene.overtake("/set/n/1", Operation::Set, "/logout").await;
    let late = late.expect_status(409);
    assert_eq!(late.set_cookies(), [""; 0], "neither a cookie that revives nor one that removes a newer");
    assert_eq!(scene.data(&scene.id).await, None);

    let mut control = Scene::new(careless()).await;
    let (late, _) = control.overtake("/set/n/1", Operation::Set, "/logout").await;
    assert_eq!(late.status, 200);
    assert!(control.data(&control.id).await.is_some(), "the control is logged in again");
}

#[tokio::test]
async fn a_save_does_not_revive_an_id_that_was_renewed() {
    for between in ["/renew", "/login/bob", "/regenerate"] {
        let mut scene = Scene::new(MemoryStore::new()).await;
        let (late, _) = scene.overtake("/set/n/1", Operation::Set, between).await;
        assert_eq!(late.expect_status(409).set_cookies(), [""; 0]);
        assert_eq!(scene.data(&scene.id).await, None, "{between}");
    }
    let mut control = Scene::new(careless()).await;
    let (_, _) = control.overtake("/set/n/1", Operation::Set, "/login/bob").await;
    assert!(control.data(&control.id).await.is_some(), "the control's old id opens a session");
}

fn rolling(layer: SessionLayer) -> SessionLayer {
    layer.rolling(Rolling::EveryRequest)
}

#[tokio::test]
async fn a_reader_that_prolongs_does_not_revive_either() {
    for between in ["/logout", "/renew", "/login/bob"] {
        let mut scene = Scene::with(MemoryStore::new(), rolling).await;
        let (late, between_answer) = scene.overtake("/read", Operation::Touch, between).await;
        let late = late.expect_status(200);
        assert_eq!(late.json(), json!({"user": "alice"}), "it was logged in when it was read");
        assert_eq!(late.set_cookies(), [""; 0], "the browser is not set back to the old id");
        assert_eq!(between_answer.set_cookies().len(), 1);
        assert_eq!(scene.data(&scene.id).await, None, "{between}");
        if between != "/logout" {
            assert!(
                scene.data(scene.visitor.cookie(COOKIE).unwrap()).await.is_some(),
                "{between}: the new id lives"
            );
        }

        let mut control = Scene::with(careless(), rolling).await;
        let (late, _) = control.overtake("/read", Operation::Touch, between).await;
        assert_eq!(late.set_cookies().len(), 1, "the control sends the old cookie");
        assert!(control.data(&control.id).await.is_some(), "and has revived it");
    }
}

#[tokio::test]
async fn two_writers_of_different_keys_are_both_kept() {
    let mut scene = Scene::new(MemoryStore::new()).await;
    let (late, _) = scene.overtake("/set/a/1", Operation::Set, "/set/b/2").await;
    assert_eq!(late.expect_status(200).set_cookies().len(), 1);
    assert_eq!(scene.data(&scene.id).await.unwrap(), json!({"user": "alice", "a": "1", "b": "2"}));
    assert_eq!(scene.store.calls().get, 2, "one each: the refusal shows the record");

    let mut control = Scene::new(careless()).await;
    let (_, _) = control.overtake("/set/a/1", Operation::Set, "/set/b/2").await;
    assert_eq!(control.data(&control.id).await.unwrap(), json!({"user": "alice", "a": "1"}), "b is lost");
}

#[tokio::test]
async fn of_two_writers_of_one_key_the_later_wins_and_a_removal_beats_an_edit() {
    for (late, between, expected) in [
        ("/set/user/late", "/set/user/early", json!({"user": "late"})),
        ("/remove/user", "/set/user/early", json!({})),
        ("/set/user/late", "/remove/user", json!({})),
        ("/set/user/same", "/set/user/same", json!({"user": "same"})),
        ("/replace", "/set/a/1", json!({"only": 1})),
        ("/set/a/1", "/replace", json!({"only": 1, "a": "1"})),
    ] {
        let mut scene = Scene::new(MemoryStore::new()).await;
        let (answer, _) = scene.overtake(late, Operation::Set, between).await;
        assert_eq!(answer.status, 200, "{late} over {between}");
        assert_eq!(scene.data(&scene.id).await.unwrap(), expected, "{late} over {between}");
    }
}

#[tokio::test]
async fn transactions_lose_no_increment() {
    let mut scene = Scene::new(MemoryStore::new()).await;
    let (late, _) = scene.overtake("/transact/1", Operation::Set, "/transact/10").await;
    let _ = late.expect_status(200);
    assert_eq!(scene.data(&scene.id).await.unwrap()["n"], 11);

    let mut control = Scene::new(careless()).await;
    let (_, _) = control.overtake("/transact/1", Operation::Set, "/transact/10").await;
    assert_eq!(control.data(&control.id).await.unwrap()["n"], 1, "the control has lost ten");
}

#[tokio::test]
async fn a_transaction_in_a_renewed_session_loses_no_increment_either() {
    let mut scene = Scene::new(MemoryStore::new()).await;
    let gate = scene.store.hold(Operation::Rotate);
    let late = in_another_tab(&scene.late, "/renew-and-transact");
    gate.reached().await;
    let _ = scene.visitor.get("/transact/10").await.expect_status(200);
    gate.open();
    let late = late.await.unwrap().expect_status(200);
    let line = late.set_cookies().remove(0);
    let new = line.split(['=', ';']).nth(1).unwrap();
    assert_eq!(scene.data(new).await.unwrap(), json!({"user": "alice", "n": 11}));
    assert_eq!(scene.data(&scene.id).await, None);
    assert_eq!(
        scene.store.calls().rotate,
        2,
        "the refused one, and the one of the transaction; none at the end"
    );
}

#[tokio::test]
async fn a_transaction_of_a_session_that_has_ended_is_told() {
    let mut scene = Scene::new(MemoryStore::new()).await;
    let (late, _) = scene.overtake("/transact/1", Operation::Set, "/logout").await;
    assert_eq!(late.expect_status(409).set_cookies(), [""; 0]);
    assert_eq!(scene.data(&scene.id).await, None);
}

#[tokio::test]
async fn a_renewal_carries_what_was_saved_meanwhile_and_happens_once() {
    let mut scene = Scene::new(MemoryStore::new()).await;
    let (late, _) = scene.overtake("/login/bob", Operation::Rotate, "/set/cart/book").await;
    let line = late.expect_status(200).set_cookies().remove(0);
    let new = line.split(['=', ';']).nth(1).unwrap();
    assert_eq!(scene.data(new).await.unwrap(), json!({"user": "bob", "cart": "book"}));
    assert_eq!(scene.data(&scene.id).await, None);

    let mut scene = Scene::new(MemoryStore::new()).await;
    let (late, _) = scene.overtake("/renew", Operation::Rotate, "/renew").await;
    assert_eq!(late.expect_status(409).set_cookies(), [""; 0]);
    assert_eq!(scene.store.inner().len(), 1, "one session, the one whose cookie was sent");
    assert!(scene.data(scene.visitor.cookie(COOKIE).unwrap()).await.is_some());
}

#[tokio::test]
async fn a_logout_wins_over_whatever_was_under_way() {
    for (late, operation) in [
        ("/set/a/1", Operation::Set),
        ("/renew", Operation::Rotate),
        ("/login/bob", Operation::Rotate),
        ("/transact/1", Operation::Set),
    ] {
        let mut scene = Scene::with(MemoryStore::new(), rolling).await;
        let (answer, _) = scene.overtake(late, operation, "/logout").await;
        assert_eq!((answer.status.as_u16(), answer.set_cookies().len()), (409, 0), "{late}");
        assert_eq!(scene.store.inner().len(), 0, "{late}");
    }
}

#[tokio::test]
async fn a_session_that_ended_after_an_early_save_sends_no_cookie() {
    let told: fn(SessionLayer) -> SessionLayer = |layer| layer;
    let passed: fn(SessionLayer) -> SessionLayer =
        |layer| layer.error_handler(|_| async { Verdict::Continue });
    for (settings, status) in [(told, 409), (passed, 200)] {
        let mut scene = Scene::with(MemoryStore::new(), settings).await;
        scene.store.hold(Operation::Set).open();
        let (late, _) = scene.overtake("/save-and-go-on", Operation::Set, "/logout").await;
        assert_eq!(late.expect_status(status).set_cookies(), [""; 0]);
        assert_eq!(scene.data(&scene.id).await, None);
        assert_eq!(scene.store.calls().set, 3, "the login's, the early one, and the one that came too late");
    }
}

#[tokio::test]
async fn a_late_logout_ends_what_was_saved_meanwhile() {
    let mut scene = Scene::new(MemoryStore::new()).await;
    let (late, _) = scene.overtake("/logout", Operation::Destroy, "/set/a/1").await;
    assert!(late.expect_status(200).set_cookies()[0].starts_with("axum.sid=; "));
    assert_eq!(scene.store.inner().len(), 0);
}

#[tokio::test]
async fn a_session_that_has_become_somebody_elses_is_not_merged_with() {
    let scene = Scene::new(MemoryStore::new()).await;
    let gate = scene.store.hold(Operation::Set);
    let late = in_another_tab(&scene.late, "/set/order/1");
    gate.reached().await;
    let mut record = scene.store.inner().get(&key(&scene.id)).await.unwrap().unwrap();
    record.principal = Some("mallory".into());
    let when = When::Tagged(record.tag);
    record.tag = Tag::random();
    scene.store.inner().set(&key(&scene.id), &record, when).await.unwrap();
    gate.open();
    assert_eq!(late.await.unwrap().expect_status(409).set_cookies(), [""; 0]);
    assert_eq!(scene.data(&scene.id).await.unwrap(), json!({"user": "alice"}));
}

#[tokio::test]
async fn a_merge_makes_no_session_younger() {
    let scene = Scene::new(MemoryStore::new()).await;
    let gate = scene.store.hold(Operation::Set);
    let late = in_another_tab(&scene.late, "/set/order/1");
    gate.reached().await;
    let there = scene.store.inner().get(&key(&scene.id)).await.unwrap().unwrap();
    let text = String::from_utf8(there.data.to_vec()).unwrap();
    let (header, rest) = text.split_once('\n').unwrap();
    let younger = Record {
        tag: Tag::random(),
        data: format!("{{\"v\":1,\"created\":4000000000000}}\n{rest}").into(),
        ..there
    };
    scene.store.inner().set(&key(&scene.id), &younger, When::Present).await.unwrap();
    gate.open();
    let _ = late.await.unwrap().expect_status(200);
    let merged = scene.store.inner().get(&key(&scene.id)).await.unwrap().unwrap();
    assert!(merged.data.starts_with(header.as_bytes()), "{:?}", merged.data);
}

#[tokio::test]
async fn a_strict_layer_refuses_instead_of_merging_and_transactions_go_on() {
    let strict = |layer: SessionLayer| layer.strict(true);
    let mut scene = Scene::with(MemoryStore::new(), strict).await;
    let (late, _) = scene.overtake("/set/a/1", Operation::Set, "/set/b/2").await;
    assert_eq!(late.expect_status(409).set_cookies(), [""; 0]);
    assert_eq!(scene.data(&scene.id).await.unwrap(), json!({"user": "alice", "b": "2"}));
    let (late, _) = scene.overtake("/transact/1", Operation::Set, "/transact/10").await;
    let _ = late.expect_status(200);
    assert_eq!(scene.data(&scene.id).await.unwrap()["n"], 11);
    let (late, _) = scene.overtake("/renew", Operation::Rotate, "/set/c/3").await;
    let _ = late.expect_status(200);
}

/// Sixteen writers on four nodes: layers of their own over one store, so that only the tag stands between them.
#[tokio::test(flavor = "multi_thread")]
async fn sixteen_writers_on_four_nodes_lose_nothing() {
    let store = MemoryStore::new();
    let nodes: Vec<_> = (0..4).map(|_| pages().under(SessionLayer::new(store.clone()))).collect();
    let mut first = Client::new(nodes[0].clone());
    let _ = first.get("/set/user/alice").await.expect_status(200);
    let id = first.cookie(COOKIE).unwrap().to_owned();
    let writers = (0..16).map(|writer| {
        let mut tab = Client::new(nodes[writer % 4].clone());
        tab.set_cookie(COOKIE, &id);
        tokio::spawn(async move {
            for round in 0..25 {
                let path =
                    if round % 2 == 0 { "/transact/1".into() } else { format!("/set/k{writer}.{round}/v") };
                let _ = tab.get(&path).await.expect_status(200);
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let stored = object(&store.get(&key(&id)).await.unwrap().unwrap());
    assert_eq!(stored["n"], 16 * 13, "every increment");
    assert_eq!(stored.as_object().unwrap().len(), 2 + 16 * 12, "every key");
}

/// In any order of events the logged-out id is dead at the end; the rounds give a broken rule its occasion.
#[tokio::test(flavor = "multi_thread")]
async fn after_five_hundred_crowded_logouts_no_cookie_opens_anything() {
    let clock = ManualClock::new();
    let store = MemoryStore::new().clock(clock.clone());
    let layer = || SessionLayer::new(store.clone()).clock(clock.clone()).rolling(Rolling::EveryRequest);
    let nodes = [pages().under(layer()), pages().under(layer())];
    for round in 0..500 {
        let mut owner = Client::new(nodes[0].clone());
        let _ = owner.get("/set/user/alice").await.expect_status(200);
        let id = owner.cookie(COOKIE).unwrap().to_owned();
        let crowd: Vec<_> = ["/set/a/1", "/read", "/transact/1", "/logout", "/set/b/2", "/read"]
            .into_iter()
            .enumerate()
            .map(|(n, path)| {
                let mut tab = Client::new(nodes[n % 2].clone());
                tab.set_cookie(COOKIE, &id);
                tokio::spawn(async move { tab.get(path).await.status.as_u16() })
            })
            .collect();
        for tab in crowd {
            let status = tab.await.unwrap();
            assert!([200, 409].contains(&status), "round {round}: {status}");
        }
        assert_eq!(store.get(&key(&id)).await.unwrap(), None, "round {round}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_others_always_write_first_is_an_answer_of_503() {
    let mut scene = Scene::new(Busy(MemoryStore::new())).await;
    let _ = scene.store.take_calls();
    for path in ["/set/a/1", "/transact/1"] {
        assert_eq!(scene.visitor.get(path).await.expect_status(503).set_cookies(), [""; 0], "{path}");
        assert_eq!(scene.store.take_calls().set, 64, "{path}: it was tried, and not for ever");
        assert_eq!(scene.data(&scene.id).await.unwrap(), json!({"user": "alice"}), "{path}");
    }
}

#[tokio::test]
async fn a_forced_save_is_made_though_another_has_written_the_same() {
    for (late, sets) in [("/set/a/1", 2), ("/set-forced/a/1", 3)] {
        let mut scene = Scene::new(MemoryStore::new()).await;
        let _ = scene.store.take_calls();
        let (late, _) = scene.overtake(late, Operation::Set, "/set/a/1").await;
        let _ = late.expect_status(200);
        assert_eq!(scene.data(&scene.id).await.unwrap(), json!({"user": "alice", "a": "1"}));
        assert_eq!(scene.store.take_calls().set, sets);
    }
}

#[tokio::test]
async fn a_transaction_that_changes_nothing_is_asked_again_when_others_have_written() {
    let site = Site::new();
    let probe = site.store.clone();
    let look = move |s: Session| async move {
        let key = key(s.id().await?.expose());
        let mut seen = Vec::new();
        s.transact(|map| seen.push(map["user"].clone())).await?;
        let there = probe.inner().get(&key).await.unwrap().unwrap();
        let data = String::from_utf8(there.data.to_vec()).unwrap().replace("alice", "bob");
        let theirs = Record { tag: Tag::random(), data: data.into(), ..there };
        probe.inner().set(&key, &theirs, When::Present).await.unwrap();
        s.transact(|map| seen.push(map["user"].clone())).await?;
        Ok::<_, Error>(Value::from(seen).to_string())
    };
    let site = site.page("/look", get(look));
    let mut visitor = site.known("alice").await;
    let _ = site.store.take_calls();
    assert_eq!(visitor.get("/look").await.expect_status(200).json(), json!(["alice", "alice", "bob"]));
    assert_eq!(site.store.take_calls().set, 0);
}

//! The store fails, hangs, is away, or holds what cannot be read.
#![cfg(all(feature = "memory-store", feature = "testing"))]

mod figures;
mod site;

use axum::{body::Bytes, extract::Path, routing::get};
use axum_generic_session::{
    Error, Map, MemoryStore, Operation, Session, SessionLayer, Store,
    store::{Applied, Record, StoreErrorKind, Tag, When},
    testing::{Answer, Client, Fault, ProbeStore},
};
use figures::{Figure, size};
use serde_json::{Value, json};
use site::{COOKIE, Site, in_another_tab};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::time::{Instant, sleep};

const AWAY: StoreErrorKind = StoreErrorKind::Unavailable(Applied::No);
const IN_DOUBT: StoreErrorKind = StoreErrorKind::Unavailable(Applied::Unknown);

const KINDS: [(StoreErrorKind, u16); 8] = [
    (AWAY, 503),
    (IN_DOUBT, 503),
    (StoreErrorKind::ReadOnly, 503),
    (StoreErrorKind::Full, 507),
    (StoreErrorKind::TooLarge, 500),
    (StoreErrorKind::Corrupt, 500),
    (StoreErrorKind::Denied, 500),
    (StoreErrorKind::Misconfigured, 500),
];

const PATHS: [(&str, Operation); 5] = [
    ("/read", Operation::Get),
    ("/set/a/1", Operation::Get),
    ("/set/a/1", Operation::Set),
    ("/logout", Operation::Destroy),
    ("/login/bob", Operation::Rotate),
];

#[tokio::test]
async fn a_failure_is_told_and_changes_neither_session_nor_cookie() {
    for (kind, status) in KINDS {
        for (path, operation) in PATHS {
            for deferred in [false, true] {
                let site = Site::with(|layer| layer.defer(deferred));
                let mut visitor = site.known("alice").await;
                let id = visitor.cookie(COOKIE).unwrap().to_owned();
                let before = site.record(&id).await;
                site.store.fail(operation, Fault::before(kind));
                let answer = visitor.get(path).await.expect_status(status);
                assert_eq!((answer.text().as_str(), answer.set_cookies().len()), ("", 0), "{kind:?} {path}");
                assert_eq!(
                    answer.header("retry-after"),
                    if status == 503 { "1" } else { "" },
                    "{kind:?} {path}"
                );
                site.store.heal();
                assert_eq!(site.record(&id).await, before, "{kind:?} {path}: byte for byte");
                assert_eq!(visitor.get("/read").await.expect_status(200).json(), json!({"user": "alice"}));
            }
        }
    }
}

/// B5.
#[tokio::test]
async fn no_answer_below_500_while_saving_fails() {
    let site = Site::new().page(
        "/swallows",
        get(|s: Session| async move {
            s.insert("a", 1).await?;
            assert!(s.save().await.unwrap_err().is_unavailable());
            Ok::<_, Error>("all is well")
        }),
    );
    let mut visitor = site.known("alice").await;
    for operation in [Operation::Set, Operation::Rotate, Operation::Destroy] {
        site.store.fail(operation, Fault::before(AWAY));
    }
    let paths = ["/set/a/1", "/count", "/login/bob", "/logout", "/regenerate", "/renew", "/swallows"];
    let figure = Figure::of("B5", "memory");
    let (writes, mut failed, mut unsaved) = (10_000, 0, 0);
    for round in 0.. {
        if failed + unsaved == writes {
            break;
        }
        let path = paths[round % paths.len()];
        let mut somebody = if round % 2 == 0 { visitor.clone() } else { site.visitor() };
        let answer = somebody.get(path).await;
        // Somebody without a session has nothing to end or to renew.
        let nothing_to_do = round % 2 == 1 && ["/logout", "/regenerate", "/renew"].contains(&path);
        if nothing_to_do {
            assert_eq!(answer.status, 200, "{path}");
        } else if answer.status.is_server_error() {
            failed += 1;
        } else {
            unsaved += 1;
        }
        assert_eq!(answer.set_cookies(), [""; 0], "{path}");
    }
    figure.count("failed_writes", writes).count("answered_below_500", unsaved).report();
    assert_eq!(unsaved, 0);
    site.store.heal();
    assert_eq!(visitor.get("/read").await.json(), json!({"user": "alice"}));
    assert_eq!(site.store.inner().len(), 1);
}

#[tokio::test]
async fn an_eager_page_does_not_run_without_its_session_and_a_deferred_one_is_told() {
    for deferred in [false, true] {
        let ran = Arc::new(AtomicUsize::new(0));
        let count = ran.clone();
        let site = Site::with(|layer| layer.defer(deferred)).page(
            "/page",
            get(move |s: Session| async move {
                count.fetch_add(1, SeqCst);
                let why = s.get().await.unwrap_err();
                assert_eq!((why.operation(), why.is_unavailable()), (Some(Operation::Get), true));
                "a page without a session"
            }),
        );
        let mut visitor = site.known("alice").await;
        site.store.fail(Operation::Get, Fault::before(AWAY));
        let answer = visitor.get("/page").await.expect_status(if deferred { 200 } else { 503 });
        assert_eq!((ran.load(SeqCst), answer.set_cookies().len()), (usize::from(deferred), 0));
        let untouched = visitor.get("/").await;
        assert_eq!(untouched.status.as_u16(), if deferred { 200 } else { 503 });
    }
}

async fn add(session: Session) -> Result<(), Error> {
    let more = |map: &mut Map| {
        let n = map.get("n").and_then(Value::as_u64).unwrap_or(0) + 1;
        map.insert("n".into(), n.into());
    };
    session.transact(more).await
}

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

/// As a client does that reconnects by itself: until then each call is refused at once.
#[tokio::test(start_paused = true)]
async fn a_write_that_is_cut_is_tried_again_when_the_connection_is_back() {
    for (path, operation) in
        [("/set/a/1", Operation::Set), ("/login/bob", Operation::Rotate), ("/logout", Operation::Destroy)]
    {
        for (back_after, status, seconds) in [(1, 200, 1), (3, 503, 2)] {
            for lost in [Fault::before(AWAY), Fault::before(IN_DOUBT), Fault::after(IN_DOUBT)] {
                let site = Site::with(|layer| layer.operation_timeout(Duration::from_secs(2)));
                let visitor = site.known("alice").await;
                site.store.fail(operation, lost.times(1));
                let gate = site.store.hold(operation);
                let (start, answer) = (Instant::now(), in_another_tab(&visitor, path));
                gate.reached().await;
                site.store.disconnect();
                gate.open();
                let store = site.store.clone();
                let outage = tokio::spawn(async move {
                    sleep(Duration::from_secs(back_after)).await;
                    store.reconnect();
                });
                assert_eq!(timed(answer, start).await, (status, seconds), "{path} {lost:?}");
                outage.await.unwrap();
            }
        }
    }
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

/// What is under the visitor's id becomes `data`.
async fn overwrite(site: &Site, id: &str, data: &[u8]) -> Record {
    let mut record = site.record(id).await.unwrap();
    record.tag = Tag::random();
    record.data = Bytes::copy_from_slice(data);
    site.store.inner().set(&site.key(id), &record, When::Present).await.unwrap();
    record
}

/// What a record may have become that was `good` once: cut off, of another kind, or of another version.
fn corrupted(good: &[u8]) -> Vec<Vec<u8>> {
    let mut corrupt: Vec<Vec<u8>> = (0..good.len()).map(|end| good[..end].to_vec()).collect();
    let bodies = ["null", "[]", "1", "\"x\"", "{\"a\":}", "{\"a\":1}{}", "{\"a\":\"\u{1}\"}"];
    corrupt.extend(bodies.map(|body| format!("{{\"v\":1,\"created\":0}}\n{body}").into_bytes()));
    let headers = [
        "{}",
        "{\"v\":2,\"created\":0}",
        "{\"v\":1}",
        "{\"v\":1,\"created\":-1}",
        "",
        "{\"v\":1,\"created\":1e99}",
    ];
    corrupt.extend(headers.map(|header| format!("{header}\n{{}}").into_bytes()));
    corrupt.extend([
        b"\xff\xfe\n{}".to_vec(),
        b"{\"v\":1,\"created\":0}\n{\"a\":\"\xff\"}".to_vec(),
        vec![0; 64],
    ]);
    corrupt
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_an_error_and_never_overwritten() {
    let site = Site::with(|layer| layer.rolling(axum_generic_session::Rolling::EveryRequest));
    let mut visitor = site.known("alice").await;
    let id = visitor.cookie(COOKIE).unwrap().to_owned();
    let good = site.record(&id).await.unwrap().data;
    for data in corrupted(&good) {
        let stored = overwrite(&site, &id, &data).await;
        for path in ["/read", "/set/a/1", "/count", "/renew", "/logout", "/regenerate", "/"] {
            let answer = visitor.get(path).await.expect_status(500);
            assert_eq!((answer.text().as_str(), answer.set_cookies().len()), ("", 0), "{path}");
        }
        assert_eq!(site.record(&id).await, Some(stored), "{:?}", String::from_utf8_lossy(&data));
    }
}

/// B6. A load that fails, or that finds what cannot be read, changes nothing.
#[tokio::test]
async fn no_failed_load_changes_what_is_stored() {
    let figure = Figure::of("B6", "memory");
    let loads = size(10_000, 100_000);
    let mut sites = Vec::new();
    for deferred in [false, true] {
        let rolling = axum_generic_session::Rolling::EveryRequest;
        let site = Site::with(|layer| layer.rolling(rolling).defer(deferred));
        let visitor = site.known("alice").await;
        let id = visitor.cookie(COOKIE).unwrap().to_owned();
        let good = site.record(&id).await.unwrap();
        let corrupt = corrupted(&good.data);
        sites.push((site, visitor, id, good.data, corrupt));
    }
    let paths = ["/read", "/set/a/1", "/count", "/remove/user", "/login/bob"];
    let mut changed = 0;
    for n in 0..loads {
        let (site, visitor, id, good, corrupt) = &mut sites[n % 2];
        let (kind, status) = KINDS[n / 2 % KINDS.len()];
        let (data, status) = if n % 3 == 0 {
            site.store.fail(Operation::Get, Fault::before(kind));
            (&**good, status)
        } else {
            (&*corrupt[n / 2 % corrupt.len()], 500)
        };
        let stored = overwrite(site, id, data).await;
        let answer = visitor.get(paths[n % paths.len()]).await.expect_status(status);
        assert_eq!((answer.text().as_str(), answer.set_cookies().len()), ("", 0));
        site.store.heal();
        changed += usize::from(site.record(id).await != Some(stored) || site.store.inner().len() != 1);
    }
    figure.count("failed_loads", loads).count("changed", changed).report();
    assert_eq!(changed, 0);
}

#[tokio::test]
async fn no_flipped_bit_of_a_record_is_a_panic() {
    let site = Site::new();
    let mut visitor = site.known("alice").await;
    let id = visitor.cookie(COOKIE).unwrap().to_owned();
    let good = site.record(&id).await.unwrap().data;
    for bit in 0..good.len() * 8 {
        let mut data = good.to_vec();
        data[bit / 8] ^= 1 << (bit % 8);
        let stored = overwrite(&site, &id, &data).await;
        let status = visitor.get("/read").await.status.as_u16();
        assert!([200, 500].contains(&status), "bit {bit}: {status}");
        assert_eq!(site.record(&id).await, Some(stored), "bit {bit}");
    }
}

#[tokio::test]
async fn a_layer_may_discard_what_cannot_be_read() {
    let site = Site::with(|layer| layer.discard_corrupt(true));
    for (path, left) in [("/read", None), ("/set/a/1", Some(json!({"a": "1"}))), ("/", None)] {
        let mut visitor = site.known("alice").await;
        let id = visitor.cookie(COOKIE).unwrap().to_owned();
        overwrite(&site, &id, b"garbage").await;
        let answer = visitor.get("/set/a/1/then/500").await.expect_status(500);
        assert_eq!((answer.set_cookies().len(), site.record(&id).await.is_some()), (0, true), "not on a 5xx");
        let _ = visitor.get(path).await.expect_status(200);
        assert_eq!(site.record(&id).await, None, "{path}");
        assert_eq!(site.data_of(&visitor).await, left, "{path}");
    }
}

#[tokio::test]
async fn what_is_too_large_is_refused_before_the_store_sees_it() {
    let long = "x".repeat(600);
    let site = Site::with(|layer| layer.max_size(1000));
    let mut visitor = site.known("alice").await;
    let _ = visitor.get(&format!("/set/a/{long}")).await.expect_status(200);
    let before = site.data_of(&visitor).await;
    let _ = site.store.take_calls();
    let answer = visitor.get(&format!("/set/b/{long}")).await.expect_status(500);
    assert_eq!((answer.text().as_str(), answer.set_cookies().len()), ("", 0));
    assert_eq!(site.store.take_calls().set, 0);
    assert_eq!(site.data_of(&visitor).await, before);
    assert_eq!(site.visitor().get(&format!("/set/b/{long}{long}")).await.status, 500);
    let why = axum_generic_session::testing::session(Map::new());
    why.insert("a", "x".repeat(1024 * 1024)).await.unwrap();
    let why = why.save().await.unwrap_err();
    assert!(why.is_data());
    let why = why.to_string();
    assert!(why.starts_with("the session would take 10486"), "{why}");
    assert!(
        why.contains(" bytes, more than the layer's `max_size` of 1048576; see https://docs.rs/"),
        "{why}"
    );
}

/// The answer, and how many seconds after `start` it came.
async fn timed(answer: tokio::task::JoinHandle<Answer>, start: Instant) -> (u16, u64) {
    let status = answer.await.unwrap().status.as_u16();
    (status, start.elapsed().as_secs())
}

#[tokio::test(start_paused = true)]
async fn requests_wait_together_for_a_lost_connection() {
    let site = Site::new();
    let visitor = site.known("alice").await;
    let newcomer = site.visitor();
    let second = Duration::from_secs(1);

    site.store.disconnect();
    let start = Instant::now();
    let mut waiting = Vec::new();
    for somebody in [&visitor, &newcomer, &visitor] {
        waiting.push(in_another_tab(somebody, "/read"));
        sleep(3 * second).await;
    }
    assert_eq!(site.store.calls().total(), 0, "nobody has asked the store");
    site.store.reconnect();
    for answer in waiting {
        assert_eq!(timed(answer, start).await, (200, 9), "all go on when it is back");
    }

    site.store.disconnect();
    let start = Instant::now();
    let early = in_another_tab(&visitor, "/read");
    sleep(7 * second).await;
    let later = in_another_tab(&newcomer, "/set/a/1");
    assert_eq!(timed(early, start).await, (503, 10), "the limit is counted from the loss");
    assert_eq!(timed(later, start).await, (503, 10));
    assert_eq!(timed(in_another_tab(&visitor, "/read"), start).await, (503, 10), "later ones fail at once");
    site.store.reconnect();
    assert_eq!(timed(in_another_tab(&visitor, "/read"), start).await, (200, 10), "and work at once");
}

#[tokio::test(start_paused = true)]
async fn the_time_to_wait_for_a_connection_is_a_setting() {
    for (limit, expected) in [(0, 0), (1, 1), (60, 60)] {
        let site = Site::with(|layer| layer.reconnect_timeout(Duration::from_secs(limit)));
        let visitor = site.known("alice").await;
        site.store.disconnect();
        assert_eq!(timed(in_another_tab(&visitor, "/read"), Instant::now()).await, (503, expected));
    }
    let site = Site::with(|layer| layer.reconnect_timeout(Duration::MAX));
    let visitor = site.known("alice").await;
    site.store.disconnect();
    let patient = in_another_tab(&visitor, "/read");
    sleep(Duration::from_secs(365 * 24 * 60 * 60)).await;
    assert!(!patient.is_finished());
    site.store.reconnect();
    assert_eq!(patient.await.unwrap().status, 200);
    let site = Site::deferred();
    site.store.disconnect();
    assert_eq!(timed(in_another_tab(&site.visitor(), "/untouched"), Instant::now()).await, (200, 0));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_hangs_is_given_up() {
    for (path, operation) in PATHS {
        let site = Site::with(|layer| layer.operation_timeout(Duration::from_secs(5)));
        let mut visitor = site.known("alice").await;
        let id = visitor.cookie(COOKIE).unwrap().to_owned();
        let gate = site.store.hold(operation);
        let (status, seconds) = timed(in_another_tab(&visitor, path), Instant::now()).await;
        assert_eq!((status, seconds), (503, 5), "{path} {operation:?}");
        drop(gate);
        assert_eq!(site.data(&id).await.unwrap(), json!({"user": "alice"}), "{path}");
        let _ = visitor.get("/read").await.expect_status(200);
    }
    let site = Site::new();
    let by_default = SessionLayer::new(site.store.clone());
    let mut visitor = Client::new(site.under(by_default));
    let _ = visitor.get("/set/user/alice").await.expect_status(200);
    let _gate = site.store.hold(Operation::Get);
    assert_eq!(timed(in_another_tab(&visitor, "/read"), Instant::now()).await, (503, 2), "by default");
}

#[tokio::test(start_paused = true)]
async fn writers_of_one_session_do_not_add_up_their_waiting() {
    let site = Site::with(|layer| layer.operation_timeout(Duration::from_secs(2)));
    let visitor = site.known("alice").await;
    let gates: Vec<_> = (0..20).map(|_| site.store.hold(Operation::Set)).collect();
    let start = Instant::now();
    let writers: Vec<_> = (0..20).map(|n| in_another_tab(&visitor, &format!("/set/k{n}/1"))).collect();
    for writer in writers {
        let (status, seconds) = timed(writer, start).await;
        assert!(status == 503 && seconds <= 4, "{status} after {seconds} s");
    }
    drop(gates);
}

#[tokio::test(start_paused = true)]
async fn no_more_calls_wait_than_are_allowed() {
    let site = Site::with(|layer| layer.max_in_flight(3));
    let mut visitor = site.known("alice").await;
    let gates: Vec<_> = (0..3).map(|_| site.store.hold(Operation::Get)).collect();
    let waiting: Vec<_> = (0..3).map(|_| in_another_tab(&visitor, "/read")).collect();
    for gate in &gates {
        gate.reached().await;
    }
    let start = Instant::now();
    let refused = visitor.get("/read").await.expect_status(503);
    assert_eq!((refused.header("retry-after").as_str(), start.elapsed().as_secs()), ("1", 0), "at once");
    assert_eq!(site.store.calls().get, 3, "the fourth never got there");
    drop(gates);
    for answer in waiting {
        let _ = answer.await.unwrap().expect_status(200);
    }
    let _ = visitor.get("/read").await.expect_status(200);
}

#[tokio::test]
async fn a_failed_ending_of_the_old_session_leaves_no_half_of_a_regeneration() {
    async fn anew(s: Session, Path(name): Path<String>) -> Result<(), Error> {
        s.regenerate()?;
        s.insert("user", name).await
    }
    let site = Site::new().page("/anew/{name}", get(anew));
    let mut visitor: Client = site.known("alice").await;
    site.store.fail(Operation::Destroy, Fault::before(AWAY).times(2));
    assert_eq!(visitor.get("/anew/bob").await.expect_status(503).set_cookies(), [""; 0]);
    assert_eq!(site.store.inner().len(), 1, "the new one has been taken back");
    assert_eq!(visitor.get("/read").await.json(), json!({"user": "alice"}));
    site.store.heal();
    let _ = visitor.get("/anew/bob").await.expect_status(200);
    assert_eq!(visitor.get("/read").await.json(), json!({"user": "bob"}));
}

#[tokio::test]
async fn a_logout_does_not_need_the_session_to_be_readable() {
    let site = Site::with(|layer| layer.defer(true));
    let mut visitor = site.known("alice").await;
    let id = visitor.cookie(COOKIE).unwrap().to_owned();
    site.store.fail(Operation::Get, Fault::before(AWAY));
    let answer = visitor.get("/logout").await.expect_status(200);
    assert_eq!(answer.set_cookies().len(), 1, "the cookie is taken away");
    site.store.heal();
    assert!(site.record(&id).await.is_none(), "and the session is dead");
}

#[tokio::test]
async fn a_regeneration_that_can_end_neither_session_leaves_the_visitor_the_old_one() {
    async fn anew(s: Session) -> Result<(), Error> {
        s.regenerate()?;
        s.insert("user", "bob").await
    }
    let site = Site::new().page("/anew", get(anew));
    let mut visitor = site.known("alice").await;
    site.store.fail(Operation::Destroy, Fault::before(AWAY));
    assert_eq!(visitor.get("/anew").await.expect_status(503).set_cookies(), [""; 0]);
    assert_eq!(site.store.inner().len(), 2, "one of which nobody has the id");
    site.store.heal();
    assert_eq!(visitor.get("/read").await.json(), json!({"user": "alice"}));
}

#[tokio::test]
async fn a_session_of_the_largest_size_is_stored_and_one_byte_more_is_not() {
    let site = Site::new();
    let visitor = site.known("alice").await;
    let size = site.record(visitor.cookie(COOKIE).unwrap()).await.unwrap().data.len();
    for (max, stored) in [(size, 1), (size - 1, 0)] {
        let site = Site::with(|layer| layer.max_size(max));
        let answer = site.visitor().get("/set/user/alice").await;
        assert_eq!((answer.status == 200, site.store.inner().len()), (stored == 1, stored), "{max}");
    }
}

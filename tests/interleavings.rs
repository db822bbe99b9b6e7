//! Every order in which the store calls of two (or three) requests can interleave, one run for each.
//!
//! The requests run for real, each on a node of its own. Their store calls wait for a schedule that lets one call
//! through at a time; schedules are enumerated until none is left. Whatever the order, the end must be one that the
//! requests could have reached one after the other, those that were refused with 409 left out.
#![cfg(all(feature = "memory-store", feature = "testing"))]

mod figures;
mod site;

use axum::{Router, extract::Path, routing::get};
use axum_generic_session::{
    Error, MemoryStore, Rolling, Session, SessionId, SessionLayer, Store, StoreKey, Timestamp,
    store::{Record, StoreError, When, Written},
    testing::{Answer, Client, ManualClock},
};
use figures::Figure;
use serde_json::Value;
use site::{COOKIE, Site, Stepwise, object};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{sync::oneshot, task::JoinHandle};

/// What stands between the requests and the store.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Kind {
    /// Rotation is one step, as in SQL.
    Atomic,
    /// Rotation is the provided one, in several steps, as in a Redis cluster.
    Stepwise,
    /// Conditions are ignored: the control.
    Careless,
}

/// The calls of one request, waiting for the schedule.
#[derive(Clone)]
struct Turnstile {
    kind: Kind,
    store: MemoryStore,
    request: usize,
    waiting: Waiting,
}

type Waiting = Arc<Mutex<BTreeMap<usize, oneshot::Sender<()>>>>;

impl Turnstile {
    async fn pass(&self) {
        let (go, gone) = oneshot::channel();
        let before = self.waiting.lock().unwrap().insert(self.request, go);
        assert!(before.is_none(), "a request makes one store call at a time");
        gone.await.unwrap();
    }
}

impl Store for Turnstile {
    async fn get(&self, key: &StoreKey) -> Result<Option<Record>, StoreError> {
        self.pass().await;
        self.store.get(key).await
    }

    async fn set(&self, key: &StoreKey, record: &Record, when: When) -> Result<Written, StoreError> {
        self.pass().await;
        if self.kind != Kind::Careless {
            return self.store.set(key, record, when).await;
        }
        self.store.destroy(key).await?;
        self.store.set(key, record, When::Absent).await
    }

    async fn touch(&self, key: &StoreKey, expires_at: Timestamp) -> Result<bool, StoreError> {
        self.pass().await;
        let alive = self.store.touch(key, expires_at).await?;
        Ok(alive || self.kind == Kind::Careless)
    }

    async fn destroy(&self, key: &StoreKey) -> Result<(), StoreError> {
        self.pass().await;
        self.store.destroy(key).await
    }

    async fn rotate(
        &self,
        old: &StoreKey,
        when: When,
        new: &StoreKey,
        record: &Record,
    ) -> Result<Written, StoreError> {
        self.pass().await;
        self.store.rotate(old, when, new, record).await
    }
}

/// What a session holds and until when; `None`: it is dead.
type State = Option<(Value, Timestamp)>;

/// What one request did, as far as anybody can tell at the end.
#[derive(Clone, PartialEq, Debug)]
struct Effect {
    status: u16,
    body: String,
    /// The session of the new id that it gave; `None` if it gave none. (Of two logouts at one time both remove the
    /// cookie, which one after the other they do not; nobody minds.)
    new: Option<State>,
}

#[derive(Clone, PartialEq, Debug)]
struct Outcome {
    /// The session under the id of the beginning.
    old: State,
    effects: BTreeMap<usize, Effect>,
}

/// One run: what came of it, and at each step the choice made, of how many.
async fn run(
    kind: Kind,
    requests: &BTreeMap<usize, &str>,
    schedule: &[usize],
) -> (Outcome, Vec<(usize, usize)>) {
    let clock = ManualClock::new();
    let store = MemoryStore::new().clock(clock.clone());
    let layer = |store: &MemoryStore| SessionLayer::new(store.clone()).clock(clock.clone());
    let mut visitor = Client::new(pages(layer(&store)));
    for path in ["/set/user/alice", "/transact/5"] {
        let _ = visitor.get(path).await.expect_status(200);
    }
    let id = visitor.cookie(COOKIE).unwrap().to_owned();
    clock.advance(Duration::from_secs(60));

    let waiting = Waiting::default();
    let mut going: BTreeMap<usize, JoinHandle<Answer>> = BTreeMap::new();
    for (&request, path) in requests {
        let turnstile = Turnstile { kind, store: store.clone(), request, waiting: waiting.clone() };
        let layer = match kind {
            Kind::Stepwise => SessionLayer::new(Stepwise(turnstile)),
            Kind::Atomic | Kind::Careless => SessionLayer::new(turnstile),
        };
        let layer = layer
            .clock(clock.clone())
            .rolling(Rolling::EveryRequest)
            .operation_timeout(Duration::from_secs(3600));
        let mut tab = Client::new(pages(layer));
        tab.set_cookie(COOKIE, &id);
        let path = path.to_string();
        going.insert(request, tokio::spawn(async move { tab.get(&path).await }));
    }
    let (mut choices, mut answers) = (Vec::new(), BTreeMap::new());
    loop {
        // The clock of the runtime is paused: it moves on when nobody has anything left to do.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let done: Vec<_> = going.iter().filter(|(_, task)| task.is_finished()).map(|(n, _)| *n).collect();
        for request in done {
            let answer = going.remove(&request).unwrap().await.unwrap();
            if kind != Kind::Careless {
                assert_honest(&store, &id, &answer).await;
            }
            answers.insert(request, answer);
        }
        let mut waiting = waiting.lock().unwrap();
        if waiting.is_empty() {
            break;
        }
        let choice = schedule.get(choices.len()).copied().unwrap_or(0);
        choices.push((choice, waiting.len()));
        let request = *waiting.keys().nth(choice).unwrap();
        waiting.remove(&request).unwrap().send(()).unwrap();
    }
    assert!(going.is_empty(), "nobody hangs");
    let mut effects = BTreeMap::new();
    for (request, answer) in answers {
        let new = match given(&answer) {
            Some(new) if !new.is_empty() && new != id => Some(state(&store, &new).await),
            _ => None,
        };
        let (status, body) = (answer.status.as_u16(), answer.text());
        effects.insert(request, Effect { status, body, new });
    }
    (Outcome { old: state(&store, &id).await, effects }, choices)
}

/// The value of the session cookie that an answer sets.
fn given(answer: &Answer) -> Option<String> {
    let lines = answer.set_cookies();
    assert!(lines.len() <= 1, "{lines:?}");
    Some(lines.first()?.split(['=', ';']).nth(1).unwrap().to_owned())
}

async fn state(store: &MemoryStore, id: &str) -> State {
    let key = StoreKey::hashed("axum:sess:", &SessionId::parse(id).unwrap());
    store.get(&key).await.unwrap().map(|record| (object(&record), record.expires_at))
}

/// At the moment of its answer, a request's cookie tells the truth.
async fn assert_honest(store: &MemoryStore, id: &str, answer: &Answer) {
    match given(answer) {
        Some(value) if value.is_empty() => {
            assert_eq!(state(store, id).await, None, "a removal of a live session")
        }
        Some(value) => assert!(state(store, &value).await.is_some(), "a cookie of a dead session {answer:?}"),
        None => {}
    }
    if answer.status == 409 {
        assert_eq!(given(answer), None, "a refusal sends no cookie");
    }
}

/// All runs of these requests, in every order of their calls.
async fn all_runs(kind: Kind, requests: &BTreeMap<usize, &str>) -> Vec<(Outcome, Vec<usize>)> {
    let (mut runs, mut schedule) = (Vec::new(), Vec::new());
    loop {
        let (outcome, mut choices) = run(kind, requests, &schedule).await;
        runs.push((outcome, choices.iter().map(|(choice, _)| *choice).collect()));
        // The next schedule: the last choice that has an alternative takes it.
        while choices.last().is_some_and(|(choice, of)| choice + 1 == *of) {
            choices.pop();
        }
        let Some(last) = choices.last_mut() else { return runs };
        last.0 += 1;
        schedule = choices.iter().map(|(choice, _)| *choice).collect();
    }
}

/// What the requests come to one after the other, in each order.
async fn one_after_the_other(requests: &BTreeMap<usize, &str>) -> Vec<Outcome> {
    // A schedule that always lets the lowest number through is a serial run; so number them in each order.
    let mut outcomes = Vec::new();
    for order in orders(&requests.keys().copied().collect::<Vec<_>>()) {
        let renumbered =
            order.iter().enumerate().map(|(place, request)| (place, requests[request])).collect();
        let (outcome, _) = run(Kind::Atomic, &renumbered, &[]).await;
        let effects = outcome.effects.into_iter().map(|(place, effect)| (order[place], effect)).collect();
        outcomes.push(Outcome { effects, ..outcome });
    }
    outcomes
}

fn orders(of: &[usize]) -> Vec<Vec<usize>> {
    if of.is_empty() {
        return vec![Vec::new()];
    }
    let first_and_rest = of.iter().flat_map(|first| {
        let rest: Vec<_> = of.iter().copied().filter(|other| other != first).collect();
        orders(&rest).into_iter().map(move |rest| [vec![*first], rest].concat())
    });
    first_and_rest.collect()
}

/// The first run, if there is one, whose outcome no serial order explains.
async fn unexplained(kind: Kind, paths: &[&str]) -> (usize, Option<String>) {
    let requests: BTreeMap<_, _> = paths.iter().copied().enumerate().collect();
    let runs = all_runs(kind, &requests).await;
    let mut serial: BTreeMap<Vec<usize>, Vec<Outcome>> = BTreeMap::new();
    for (outcome, schedule) in &runs {
        let taken: BTreeMap<_, _> =
            outcome.effects.iter().filter(|(_, e)| e.status == 200).map(|(n, _)| (*n, paths[*n])).collect();
        let refused = outcome.effects.values().filter(|e| e.status != 200);
        let ends = paths.iter().any(|path| ENDS.contains(path));
        if refused.clone().any(|e| e.status != 409 || !ends) {
            return (runs.len(), Some(format!("{paths:?} {schedule:?}: refused without need: {outcome:#?}")));
        }
        let numbers: Vec<_> = taken.keys().copied().collect();
        if !serial.contains_key(&numbers) {
            serial.insert(numbers.clone(), one_after_the_other(&taken).await);
        }
        let mut seen = outcome.clone();
        seen.effects.retain(|n, _| taken.contains_key(n));
        if !serial[&numbers].contains(&seen) {
            return (runs.len(), Some(format!("{paths:?} {schedule:?}: {outcome:#?}")));
        }
    }
    (runs.len(), None)
}

/// Requests after which the id of the beginning opens nothing.
const ENDS: [&str; 6] = ["/logout", "/renew", "/login/bob", "/regenerate", "/anew", "/flash"];
const OTHERS: [&str; 7] =
    ["/read", "/set/a/1", "/set/b/2", "/set/user/carol", "/remove/user", "/replace", "/transact/1"];

fn pages(layer: SessionLayer) -> Router {
    async fn transact(session: Session, Path(by): Path<u64>) -> Result<String, Error> {
        let add = |map: &mut axum_generic_session::Map| {
            let n = map.get("n").and_then(Value::as_u64).unwrap_or(0) + by;
            map.insert("n".into(), n.into());
            n.to_string()
        };
        session.transact(add).await
    }
    async fn anew(session: Session) -> Result<(), Error> {
        session.regenerate()?;
        session.insert("user", "dave").await
    }
    async fn flash(session: Session) -> Result<(), Error> {
        session.destroy()?;
        session.insert("flash", "bye").await
    }
    let only = || [("only".to_owned(), 1.into())].into_iter().collect();
    Site::new()
        .page("/transact/{by}", get(transact))
        .page("/anew", get(anew))
        .page("/flash", get(flash))
        .page("/replace", get(move |s: Session| async move { s.set(only()).await }))
        .under(layer)
}

#[tokio::test(start_paused = true)]
async fn two_requests_in_every_order_of_their_calls() {
    let paths = [&ENDS[..], &OTHERS[..]].concat();
    let figure = Figure::of("B18", "two requests");
    let mut total = 0;
    for kind in [Kind::Atomic, Kind::Stepwise] {
        for (n, first) in paths.iter().enumerate() {
            for second in &paths[n..] {
                // A removal beats an edit, also one that moves to a new id: nobody is logged in, the safe side.
                if *first == "/login/bob" && ["/remove/user", "/replace"].contains(second) {
                    continue;
                }
                let (runs, violation) = unexplained(kind, &[first, second]).await;
                assert_eq!(violation, None, "{kind:?}");
                total += runs;
            }
        }
    }
    figure.count("schedules", total).count("violations", 0).report();
    assert!(total > 1500, "only {total} runs: the calls no longer interleave");
}

#[tokio::test(start_paused = true)]
async fn three_requests_in_every_order_of_their_calls() {
    let figure = Figure::of("B18", "three requests");
    let mut total = 0;
    for paths in [
        ["/set/a/1", "/set/b/2", "/logout"],
        ["/set/a/1", "/login/bob", "/read"],
        ["/transact/1", "/transact/1", "/renew"],
        ["/transact/1", "/set/a/1", "/read"],
        ["/renew", "/renew", "/logout"],
        ["/remove/user", "/set/user/carol", "/read"],
    ] {
        let (runs, violation) = unexplained(Kind::Atomic, &paths).await;
        assert_eq!(violation, None);
        total += runs;
    }
    figure.count("schedules", total).count("violations", 0).report();
}

#[tokio::test(start_paused = true)]
async fn the_control_without_conditions_is_found_out() {
    for pair in [
        ["/set/a/1", "/set/b/2"],
        ["/set/a/1", "/logout"],
        ["/set/a/1", "/login/bob"],
        ["/transact/1", "/transact/1"],
        ["/transact/1", "/logout"],
    ] {
        let (_, violation) = unexplained(Kind::Careless, &pair).await;
        assert!(violation.is_some(), "{pair:?}: this checker finds nothing");
    }
}

/// `get` and then `insert` is what the documentation says it is: of two the later wins.
#[tokio::test(start_paused = true)]
async fn increments_outside_of_a_transaction_are_found_out_too() {
    let (_, violation) = unexplained(Kind::Atomic, &["/count", "/count"]).await;
    assert!(violation.is_some(), "this checker finds no lost increment");
}

//! A browser that writes values nobody else writes, and remembers what it was told about each.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use axum::Router;
use axum_generic_session::testing::{Answer, Client};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::Value;
use tokio::time::timeout;

use crate::Nodes;

const COOKIE: &str = "axum.sid";
/// No answer may take longer, whatever happens to the store.
const HANGS: Duration = Duration::from_secs(45);
/// So often a browser asks at the end, before it takes a site for dead.
const TRIES: u32 = 50;

#[derive(Default, Debug)]
pub struct Counts {
    pub requests: usize,
    pub acknowledged: usize,
    pub failed: usize,
    pub slowest: Duration,
    /// Answers of 5xx when all was quiet.
    pub asked_again: usize,
    /// Acknowledged, and not there.
    pub lost: usize,
    /// There, and neither acknowledged nor in doubt.
    pub invented: usize,
    /// Ended, and there.
    pub returned: usize,
}

impl Counts {
    pub fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.acknowledged += other.acknowledged;
        self.failed += other.failed;
        self.slowest = self.slowest.max(other.slowest);
        self.asked_again += other.asked_again;
        self.lost += other.lost;
        self.invented += other.invented;
        self.returned += other.returned;
    }
}

/// A session, as far as its browser can know.
struct Session {
    id: String,
    /// What each key may hold: more than one value while a write is in doubt.
    keys: BTreeMap<&'static str, Vec<Option<u64>>>,
    /// A logout or a change of id was not answered.
    may_have_ended: bool,
}

pub struct Browser {
    nodes: Nodes,
    chance: StdRng,
    next_value: u64,
    ended: Vec<String>,
    left: Vec<Session>,
    counts: Counts,
}

impl Browser {
    pub fn new(nodes: Nodes, number: usize) -> Self {
        let next_value = (number as u64 + 1) * 1_000_000_000;
        let chance = StdRng::seed_from_u64(number as u64);
        Self { nodes, chance, next_value, ended: Vec::new(), left: Vec::new(), counts: Counts::default() }
    }

    pub async fn until(mut self, stop: Arc<AtomicBool>) -> Self {
        while !stop.load(SeqCst) {
            self.one_life(&stop).await;
        }
        self
    }

    /// From a first write to a logout, or to a doubt after which nothing more can be said.
    async fn one_life(&mut self, stop: &AtomicBool) {
        let value = self.value();
        let (answer, visitor) = self.ask(Client::new(self.node(0)), format!("/set/a/{value}")).await;
        let Some(id) = visitor.cookie(COOKIE).filter(|_| answer.status == 200) else { return };
        let keys = BTreeMap::from([("a", vec![Some(value)]), ("b", vec![None]), ("c", vec![None])]);
        let mut session = Session { id: id.to_owned(), keys, may_have_ended: false };
        for _ in 0..self.chance.gen_range(1..200) {
            if stop.load(SeqCst) || session.may_have_ended {
                break;
            }
            match self.chance.gen_range(0..20) {
                0..8 => self.write(&mut session, "a").await,
                8..12 => self.write_in_two_tabs(&mut session).await,
                12..18 => self.read(&mut session).await,
                _ => self.renew(&mut session).await,
            }
            tokio::time::sleep(Duration::from_millis(self.chance.gen_range(0..6))).await;
        }
        if session.may_have_ended || self.chance.gen_bool(0.3) {
            self.left.push(session);
        } else {
            self.log_out(session).await;
        }
    }

    fn value(&mut self) -> u64 {
        self.next_value += 1;
        self.next_value
    }

    fn node(&self, number: usize) -> Router {
        self.nodes.lock().expect("no panic holds it")[number].clone()
    }

    fn at(&self, node: usize, session: &Session) -> Client {
        let mut visitor = Client::new(self.node(node));
        visitor.set_cookie(COOKIE, &session.id);
        visitor
    }

    async fn ask(&mut self, visitor: Client, path: String) -> (Answer, Client) {
        let (answer, visitor, took) = ask(visitor, path).await;
        self.count(&answer, took);
        (answer, visitor)
    }

    fn count(&mut self, answer: &Answer, took: Duration) {
        self.counts.requests += 1;
        self.counts.slowest = self.counts.slowest.max(took);
        self.counts.failed += usize::from(answer.status.is_server_error());
        self.counts.acknowledged += usize::from(answer.status.is_success());
    }

    async fn write(&mut self, session: &mut Session, key: &'static str) {
        let (value, node) = (self.value(), self.chance.gen_range(0..2));
        let (answer, _) = self.ask(self.at(node, session), format!("/set/{key}/{value}")).await;
        self.told(session, key, value, &answer);
    }

    /// Two requests at once, on two nodes, for two keys.
    async fn write_in_two_tabs(&mut self, session: &mut Session) {
        let (one, two) = (self.value(), self.value());
        let first = ask(self.at(0, session), format!("/set/b/{one}"));
        let second = ask(self.at(1, session), format!("/set/c/{two}"));
        let ((first, _, took), (second, _, also)) = tokio::join!(first, second);
        self.count(&first, took);
        self.count(&second, also);
        self.told(session, "b", one, &first);
        self.told(session, "c", two, &second);
    }

    /// Takes down what a write was answered.
    fn told(&mut self, session: &mut Session, key: &'static str, value: u64, answer: &Answer) {
        let allowed = session.keys.get_mut(key).expect("a key");
        match answer.status.as_u16() {
            // Without the cookie it was another session that was written.
            200 if answer.set_cookies().iter().any(|line| line.contains(&session.id)) => {
                *allowed = vec![Some(value)];
            }
            500.. => allowed.push(Some(value)),
            // Only a session that has ended is refused (409) or replaced (200), and nobody has ended this one.
            _ => {
                self.counts.lost += 1;
                session.may_have_ended = true;
            }
        }
    }

    async fn read(&mut self, session: &mut Session) {
        let (answer, _) = self.ask(self.at(self.chance.clone().gen_range(0..2), session), "/".into()).await;
        if answer.status == 200 {
            self.check(session, &answer.json());
        }
    }

    fn check(&mut self, session: &mut Session, found: &Value) {
        let is_gone = found.as_object().is_some_and(serde_json::Map::is_empty);
        if is_gone {
            self.counts.lost += usize::from(!session.may_have_ended);
            session.may_have_ended = true;
            return;
        }
        for (key, allowed) in &session.keys {
            let value = found.get(*key).and_then(Value::as_u64);
            if allowed.contains(&value) {
                continue;
            }
            // An older value in place of an acknowledged one, or one that was never sent or was refused.
            match value {
                Some(value) if value > allowed.iter().flatten().copied().max().unwrap_or(0) => {
                    self.counts.invented += 1;
                }
                _ => self.counts.lost += 1,
            }
        }
    }

    async fn renew(&mut self, session: &mut Session) {
        let (answer, visitor) = self.ask(self.at(1, session), "/renew".into()).await;
        match (answer.status.as_u16(), visitor.cookie(COOKIE)) {
            (200, Some(id)) if id != session.id => {
                let old = std::mem::replace(&mut session.id, id.to_owned());
                self.ended.push(old);
            }
            (500.., _) => session.may_have_ended = true,
            _ => {
                self.counts.lost += 1;
                session.may_have_ended = true;
            }
        }
    }

    async fn log_out(&mut self, mut session: Session) {
        let (answer, _) = self.ask(self.at(0, &session), "/logout".into()).await;
        if answer.status == 200 {
            self.ended.push(session.id);
        } else {
            session.may_have_ended = true;
            self.left.push(session);
        }
    }

    /// When all is quiet: does the store hold what this browser was told?
    pub async fn verify(mut self) -> Counts {
        for mut session in std::mem::take(&mut self.left) {
            for node in 0..2 {
                let answer = self.at_last(node, &session).await;
                self.check(&mut session, &answer.json());
            }
        }
        for id in std::mem::take(&mut self.ended) {
            let session = Session { id, keys: BTreeMap::new(), may_have_ended: true };
            let answer = self.at_last(1, &session).await;
            self.counts.returned += usize::from(answer.json() != serde_json::json!({}));
        }
        self.counts
    }

    /// What the site says once it answers: a machine that is busy may take longer than a call is given, but not for ever.
    async fn at_last(&mut self, node: usize, session: &Session) -> Answer {
        for _ in 0..TRIES {
            let answer = ask(self.at(node, session), "/".into()).await.0;
            if !answer.status.is_server_error() {
                return answer.expect_status(200);
            }
            self.counts.asked_again += 1;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("all is quiet, and there is no answer in {TRIES} tries");
    }
}

async fn ask(mut visitor: Client, path: String) -> (Answer, Client, Duration) {
    let start = Instant::now();
    let answer = timeout(HANGS, visitor.get(&path)).await;
    let answer = answer.unwrap_or_else(|_| panic!("{path} hangs"));
    (answer, visitor, start.elapsed())
}

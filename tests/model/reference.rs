//! The model: what a session is, without HTTP, a store, or anything that runs at once.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest_state_machine::ReferenceStateMachine;

pub const BROWSERS: usize = 3;
pub const SLOTS: usize = 2;
/// Seconds that a session lives after its last write.
pub const LIFE: u64 = 100;

pub type Data = BTreeMap<&'static str, u64>;

/// What a handler does with its session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Do {
    Read,
    Set(&'static str, u64),
    Remove(&'static str),
    Clear,
    /// Adds one to `n`, with `transact`.
    Add,
    Renew,
    RenewAndSet(&'static str, u64),
    Regenerate,
    RegenerateAndSet(&'static str, u64),
    Logout,
    LogoutThenSet(&'static str, u64),
    SetThenLogout(&'static str, u64),
}

#[derive(Clone, Debug)]
pub enum Step {
    /// A request of this browser, answered with this status.
    Request(usize, Do, u16),
    /// A request that has loaded its session, and waits.
    Begin(usize, usize, Do, u16),
    /// It goes on to its end.
    Finish(usize),
    /// The second browser gets the cookie of the first: a copied profile, or a thief.
    Copy(usize, usize),
    /// Seconds pass.
    Wait(u64),
}

#[derive(Clone, Debug)]
pub struct Session {
    pub data: Data,
    version: u64,
    expires: u64,
    ended: bool,
}

/// What the browser is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cookie {
    Nothing,
    /// The cookie of this session.
    Of(usize),
    Removal,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Answer {
    pub status: u16,
    pub cookie: Cookie,
}

/// A request on its way: what it has loaded, if there was anything.
#[derive(Clone, Debug)]
struct Flight {
    browser: usize,
    what: Do,
    status: u16,
    /// Whether a cookie came with it.
    sent: bool,
    base: Option<(usize, u64, Data)>,
}

#[derive(Clone, Debug)]
pub struct Model {
    pub rolling: bool,
    /// Whether the engine's clock can be moved.
    timed: bool,
    now: u64,
    pub sessions: Vec<Session>,
    pub browsers: [Option<usize>; BROWSERS],
    flights: [Option<Flight>; SLOTS],
    /// The answer to the last step, if it was answered.
    pub answer: Option<Answer>,
}

impl Model {
    pub fn new(rolling: bool, timed: bool) -> Self {
        Self {
            rolling,
            timed,
            now: 0,
            sessions: Vec::new(),
            browsers: [None; BROWSERS],
            flights: [const { None }; SLOTS],
            answer: None,
        }
    }

    pub fn is_timed(&self) -> bool {
        self.timed
    }

    pub fn is_alive(&self, session: usize) -> bool {
        let session = &self.sessions[session];
        !session.ended && session.expires > self.now
    }

    fn load(&self, browser: usize, what: Do, status: u16) -> Flight {
        let live = self.browsers[browser].filter(|session| self.is_alive(*session));
        let base = live.map(|session| {
            let Session { data, version, .. } = &self.sessions[session];
            (session, *version, data.clone())
        });
        Flight { browser, what, status, sent: self.browsers[browser].is_some(), base }
    }

    fn create(&mut self, data: Data) -> Cookie {
        self.sessions.push(Session { data, version: 0, expires: self.now + LIFE, ended: false });
        Cookie::Of(self.sessions.len() - 1)
    }

    fn end(&mut self, session: usize) {
        self.sessions[session].ended = true;
    }

    /// The rest of a request, as if nothing else ever happened at the same moment.
    fn finish(&mut self, flight: Flight) {
        let status = flight.status;
        let saved =
            if status >= 500 && flight.what != Do::Add { Some(Cookie::Nothing) } else { self.close(&flight) };
        let answer = match saved {
            Some(cookie) => Answer { status, cookie },
            None => Answer { status: 409, cookie: Cookie::Nothing },
        };
        match answer.cookie {
            Cookie::Nothing => {}
            Cookie::Of(session) => self.browsers[flight.browser] = Some(session),
            Cookie::Removal => self.browsers[flight.browser] = None,
        }
        self.answer = Some(answer);
    }

    /// What is sent; `None` if the session has ended and something was to be written to it.
    fn close(&mut self, flight: &Flight) -> Option<Cookie> {
        let known = flight.base.as_ref().map(|(session, ..)| *session);
        let mut mine = flight.base.as_ref().map(|(_, _, data)| data.clone()).unwrap_or_default();
        match flight.what {
            Do::Read | Do::Add | Do::Renew => {}
            Do::Set(key, value) | Do::RenewAndSet(key, value) => drop(mine.insert(key, value)),
            Do::Remove(key) => drop(mine.remove(key)),
            Do::Clear => mine.clear(),
            Do::Regenerate | Do::Logout | Do::SetThenLogout(..) => {
                // A logout takes the cookie away, whether or not it still opens something.
                let Some(known) = known else {
                    return Some(if flight.sent { Cookie::Removal } else { Cookie::Nothing });
                };
                self.end(known);
                return Some(Cookie::Removal);
            }
            Do::RegenerateAndSet(key, value) | Do::LogoutThenSet(key, value) => {
                known.into_iter().for_each(|known| self.end(known));
                return Some(self.create(Data::from([(key, value)])));
            }
        }
        let Some((session, version, base)) = &flight.base else {
            return Some(match flight.what {
                Do::Add => self.create(Data::from([("n", 1)])),
                _ if mine.is_empty() => Cookie::Nothing,
                _ => self.create(mine),
            });
        };
        let (session, live) = (*session, self.is_alive(*session));
        let renews = matches!(flight.what, Do::Renew | Do::RenewAndSet(..));
        let writes = renews || flight.what == Do::Add || mine != *base;
        if renews && mine.is_empty() {
            self.end(session);
            return Some(Cookie::Removal);
        }
        if !writes {
            let extends = self.rolling && live;
            if extends {
                self.sessions[session].expires = self.now + LIFE;
            }
            return Some(if extends { Cookie::Of(session) } else { Cookie::Nothing });
        }
        if !live {
            return None;
        }
        let theirs = self.sessions[session].data.clone();
        // A clear, unlike the removal of each key, is the word on keys that it has not seen, too.
        let mut merged = if flight.what == Do::Clear { Data::new() } else { merge(base, &mine, &theirs) };
        if flight.what == Do::Add {
            *merged.entry("n").or_default() += 1;
        }
        if renews {
            self.end(session);
            return Some(self.create(merged));
        }
        if *version != self.sessions[session].version && merged == theirs {
            // Another request has written the same; this one's visitor is told so, too.
            return Some(Cookie::Of(session));
        }
        let stored = &mut self.sessions[session];
        (stored.data, stored.version, stored.expires) = (merged, stored.version + 1, self.now + LIFE);
        Some(Cookie::Of(session))
    }
}

/// Key by key: what only one side changed is that side's; what both changed is mine, but what one removed is gone.
fn merge(base: &Data, mine: &Data, theirs: &Data) -> Data {
    let keys = base.keys().chain(mine.keys()).chain(theirs.keys());
    let merged = keys.filter_map(|key| {
        let (b, m, t) = (base.get(key), mine.get(key), theirs.get(key));
        let value = match (m == b, t == b) {
            (true, _) => t,
            (false, true) => m,
            (false, false) => t.and(m),
        };
        Some((*key, *value?))
    });
    merged.collect()
}

impl ReferenceStateMachine for Model {
    type State = Self;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Self> {
        any::<bool>().prop_map(|rolling| Self::new(rolling, true)).boxed()
    }

    fn transitions(state: &Self) -> BoxedStrategy<Step> {
        let busy: Vec<usize> = (0..SLOTS).filter(|slot| state.flights[*slot].is_some()).collect();
        let free: Vec<usize> = (0..SLOTS).filter(|slot| state.flights[*slot].is_none()).collect();
        let browser = || 0..BROWSERS;
        let status = || prop_oneof![6 => Just(200_u16), 1 => Just(404_u16), 1 => Just(500_u16)];
        let mut steps = vec![
            (6, (browser(), handler(), status()).prop_map(|(b, d, s)| Step::Request(b, d, s)).boxed()),
            (1, (browser(), browser()).prop_map(|(from, to)| Step::Copy(from, to)).boxed()),
        ];
        if state.timed {
            steps
                .push((1, prop_oneof![Just(1_u64), Just(LIFE - 1), Just(LIFE)].prop_map(Step::Wait).boxed()));
        }
        if !free.is_empty() {
            let begins = (prop::sample::select(free), browser(), handler(), status());
            steps.push((3, begins.prop_map(|(slot, b, d, s)| Step::Begin(slot, b, d, s)).boxed()));
        }
        if !busy.is_empty() {
            steps.push((3, prop::sample::select(busy).prop_map(Step::Finish).boxed()));
        }
        prop::strategy::Union::new_weighted(steps).boxed()
    }

    fn preconditions(state: &Self, step: &Step) -> bool {
        match step {
            Step::Begin(slot, ..) => state.flights[*slot].is_none(),
            Step::Finish(slot) => state.flights[*slot].is_some(),
            Step::Wait(_) => state.timed,
            Step::Request(..) | Step::Copy(..) => true,
        }
    }

    fn apply(mut state: Self, step: &Step) -> Self {
        state.answer = None;
        match *step {
            Step::Request(browser, what, status) => {
                let flight = state.load(browser, what, status);
                state.finish(flight);
            }
            Step::Begin(slot, browser, what, status) => {
                state.flights[slot] = Some(state.load(browser, what, status));
            }
            Step::Finish(slot) => {
                if let Some(flight) = state.flights[slot].take() {
                    state.finish(flight);
                }
            }
            Step::Copy(from, to) => state.browsers[to] = state.browsers[from],
            Step::Wait(seconds) => state.now += seconds,
        }
        state
    }
}

fn handler() -> impl Strategy<Value = Do> {
    let key = || prop::sample::select(vec!["a", "b", "n"]);
    let pair = || (key(), 0..3_u64);
    prop_oneof![
        2 => Just(Do::Read),
        6 => pair().prop_map(|(k, v)| Do::Set(k, v)),
        2 => key().prop_map(Do::Remove),
        1 => Just(Do::Clear),
        2 => Just(Do::Add),
        1 => Just(Do::Renew),
        1 => pair().prop_map(|(k, v)| Do::RenewAndSet(k, v)),
        1 => Just(Do::Regenerate),
        1 => pair().prop_map(|(k, v)| Do::RegenerateAndSet(k, v)),
        1 => Just(Do::Logout),
        1 => pair().prop_map(|(k, v)| Do::LogoutThenSet(k, v)),
        1 => pair().prop_map(|(k, v)| Do::SetThenLogout(k, v)),
    ]
}

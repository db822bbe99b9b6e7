//! The model: what a session is, without HTTP, a store, or anything that runs at once.

use std::{cmp::Reverse, collections::BTreeMap};

pub const BROWSERS: usize = 3;
pub const SLOTS: usize = 2;
/// Seconds that a session lives after its last write.
pub const LIFE: u64 = 100;
/// How many sessions of a principal stay, where a number is set.
pub const KEPT: usize = 2;
/// Whom sessions belong to.
pub const PEOPLE: [&str; 2] = ["anna", "ben"];

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
    /// A login: a principal, under a new id.
    Login(&'static str),
    /// The same under the old id.
    Own(&'static str),
    /// Signs out this principal's other sessions, at once.
    EndOthers(&'static str),
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
    /// This principal signs out this session, which may be theirs.
    EndOne(&'static str, usize),
    EndAll(&'static str),
}

#[derive(Clone, Debug)]
pub struct Session {
    pub data: Data,
    owner: Option<&'static str>,
    /// The number of the login that made it its owner's.
    since: usize,
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
pub struct Flight {
    browser: usize,
    what: Do,
    status: u16,
    /// Whether a cookie came with it.
    sent: bool,
    base: Option<(usize, Session)>,
}

#[derive(Clone, Debug)]
pub struct Model {
    pub rolling: bool,
    /// Whether a login ends the oldest of more than [`KEPT`].
    pub keeps_newest: bool,
    /// Whether the engine's clock can be moved.
    pub timed: bool,
    pub now: u64,
    logins: usize,
    pub sessions: Vec<Session>,
    pub browsers: [Option<usize>; BROWSERS],
    pub flights: [Option<Flight>; SLOTS],
    /// The answer to the last step, if it was answered.
    pub answer: Option<Answer>,
    /// How many sessions it has ended in a bulk, if it did.
    pub ended: Option<usize>,
}

impl Model {
    pub fn new(rolling: bool, keeps_newest: bool, timed: bool) -> Self {
        Self {
            rolling,
            keeps_newest,
            timed,
            now: 0,
            logins: 0,
            sessions: Vec::new(),
            browsers: [None; BROWSERS],
            flights: [const { None }; SLOTS],
            answer: None,
            ended: None,
        }
    }

    pub fn is_alive(&self, session: usize) -> bool {
        let session = &self.sessions[session];
        !session.ended && session.expires > self.now
    }

    /// The live sessions of a principal, the newest login first.
    pub fn of(&self, owner: &str) -> Vec<usize> {
        let theirs = |n: &usize| self.is_alive(*n) && self.sessions[*n].owner == Some(owner);
        let mut found: Vec<usize> = (0..self.sessions.len()).filter(theirs).collect();
        found.sort_by_key(|n| Reverse(self.sessions[*n].since));
        found
    }

    /// Ends those of a principal's sessions that are meant.
    pub fn end_of(&mut self, owner: &str, means: impl Fn(usize) -> bool) {
        let meant: Vec<usize> = self.of(owner).into_iter().filter(|n| means(*n)).collect();
        meant.iter().for_each(|n| self.end(*n));
        self.ended = Some(meant.len());
    }

    pub fn load(&self, browser: usize, what: Do, status: u16) -> Flight {
        let live = self.browsers[browser].filter(|session| self.is_alive(*session));
        let base = live.map(|session| (session, self.sessions[session].clone()));
        Flight { browser, what, status, sent: self.browsers[browser].is_some(), base }
    }

    fn create(&mut self, data: Data, owner: Option<&'static str>, since: Option<usize>) -> Cookie {
        let expires = self.now + LIFE;
        let session = Session { data, owner, since: since.unwrap_or(0), version: 0, expires, ended: false };
        self.sessions.push(session);
        if since.is_none() {
            self.logged_in(self.sessions.len() - 1);
        }
        Cookie::Of(self.sessions.len() - 1)
    }

    /// What is written for the first time under its owner: those that it is one too many for end.
    fn logged_in(&mut self, session: usize) {
        let Some(owner) = self.sessions[session].owner else { return };
        self.logins += 1;
        self.sessions[session].since = self.logins;
        if self.keeps_newest {
            self.of(owner).into_iter().skip(KEPT).for_each(|surplus| self.end(surplus));
        }
    }

    fn end(&mut self, session: usize) {
        self.sessions[session].ended = true;
    }

    /// The rest of a request, as if nothing else ever happened at the same moment.
    pub fn finish(&mut self, flight: Flight) {
        let status = flight.status;
        if let Do::EndOthers(owner) = flight.what {
            let own = flight.base.as_ref().map(|(session, _)| *session);
            self.end_of(owner, |session| Some(session) != own);
        }
        let saved =
            if status >= 500 && flight.what != Do::Add { Ok(Cookie::Nothing) } else { self.close(&flight) };
        let answer = match saved {
            Ok(cookie) => Answer { status, cookie },
            Err(cookie) => Answer { status: 409, cookie },
        };
        match answer.cookie {
            Cookie::Nothing => {}
            Cookie::Of(session) => self.browsers[flight.browser] = Some(session),
            Cookie::Removal => self.browsers[flight.browser] = None,
        }
        self.answer = Some(answer);
    }

    /// What is sent; an error if the session has ended, or become somebody else's, and something was to be written to it.
    fn close(&mut self, flight: &Flight) -> Result<Cookie, Cookie> {
        let known = flight.base.as_ref().map(|(session, _)| *session);
        let mut mine = flight.base.as_ref().map(|(_, base)| base.data.clone()).unwrap_or_default();
        let mut owner = flight.base.as_ref().and_then(|(_, base)| base.owner);
        match flight.what {
            Do::Read | Do::Add | Do::Renew | Do::EndOthers(_) => {}
            Do::Set(key, value) | Do::RenewAndSet(key, value) => drop(mine.insert(key, value)),
            Do::Remove(key) => drop(mine.remove(key)),
            Do::Clear => mine.clear(),
            Do::Login(name) | Do::Own(name) => owner = Some(name),
            Do::Regenerate | Do::Logout | Do::SetThenLogout(..) => {
                // A logout takes the cookie away, whether or not it still opens something.
                let Some(known) = known else {
                    return Ok(if flight.sent { Cookie::Removal } else { Cookie::Nothing });
                };
                self.end(known);
                return Ok(Cookie::Removal);
            }
            Do::RegenerateAndSet(key, value) | Do::LogoutThenSet(key, value) => {
                known.into_iter().for_each(|known| self.end(known));
                return Ok(self.create(Data::from([(key, value)]), None, None));
            }
        }
        let Some((session, base)) = &flight.base else {
            return Ok(match flight.what {
                Do::Add => self.create(Data::from([("n", 1)]), None, None),
                _ if mine.is_empty() && owner.is_none() => Cookie::Nothing,
                _ => self.create(mine, owner, None),
            });
        };
        let (session, live) = (*session, self.is_alive(*session));
        let renews = matches!(flight.what, Do::Renew | Do::RenewAndSet(..) | Do::Login(_));
        let logs_in = owner != base.owner;
        let writes = renews || logs_in || flight.what == Do::Add || mine != base.data;
        if renews && mine.is_empty() && owner.is_none() {
            self.end(session);
            return Ok(Cookie::Removal);
        }
        if !writes {
            return Ok(self.roll(session));
        }
        let theirs = self.sessions[session].clone();
        if !live || theirs.owner != base.owner {
            // A transaction is refused where it stands; its request goes on to its end, and has changed nothing.
            return Err(if flight.what == Do::Add { self.roll(session) } else { Cookie::Nothing });
        }
        // A clear, unlike the removal of each key, is the word on keys that it has not seen, too.
        let mut merged =
            if flight.what == Do::Clear { Data::new() } else { merge(&base.data, &mine, &theirs.data) };
        if flight.what == Do::Add {
            *merged.entry("n").or_default() += 1;
        }
        if renews {
            self.end(session);
            return Ok(self.create(merged, owner, (!logs_in).then_some(theirs.since)));
        }
        if base.version != theirs.version && merged == theirs.data && !logs_in {
            // Another request has written the same; this one's visitor is told so, too.
            return Ok(Cookie::Of(session));
        }
        let expires = self.now + LIFE;
        self.sessions[session] =
            Session { data: merged, owner, version: theirs.version + 1, expires, ..theirs };
        if logs_in {
            self.logged_in(session);
        }
        Ok(Cookie::Of(session))
    }

    /// A request that has changed nothing prolongs its session, if that is to be.
    fn roll(&mut self, session: usize) -> Cookie {
        if !self.rolling || !self.is_alive(session) {
            return Cookie::Nothing;
        }
        self.sessions[session].expires = self.now + LIFE;
        Cookie::Of(session)
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

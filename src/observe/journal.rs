//! What an inspector shows: the last hour in steps of ten seconds, the sessions that this process has seen lately, the
//! last events. All of it bounded, all of it in memory.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{Sight, What};
use crate::{
    clock::{SharedClock, Timestamp},
    error::Operation,
    id::StoreKey,
};

/// How long one step of the plots is.
pub(crate) const STEP: Duration = Duration::from_secs(10);
/// Steps that are kept: an hour.
pub(crate) const STEPS: usize = 360;
/// Sessions that are kept. When they are more by a quarter, the quarter that was not seen for longest goes.
const SESSIONS: usize = 2000;
/// Events that are kept.
const EVENTS: usize = 100;
/// Classes of latency: up to 2^n microseconds each, from 16 us to 4 s, and all above.
const CLASSES: usize = 20;
const FIRST_CLASS: u32 = 4;

pub(crate) struct Journal {
    clock: SharedClock,
    pages: Mutex<Pages>,
}

#[derive(Default)]
struct Pages {
    steps: VecDeque<Step>,
    sessions: HashMap<StoreKey, Seen>,
    events: VecDeque<Entry>,
}

/// What happened within one step.
#[derive(Clone, Default)]
pub(crate) struct Step {
    /// Counted from 1970.
    number: u64,
    counts: [u32; What::ALL.len()],
    calls: [Calls; Operation::ALL.len()],
}

/// The calls of one operation.
#[derive(Clone, Default)]
pub(crate) struct Calls {
    pub(crate) count: u32,
    pub(crate) errors: u32,
    pub(crate) longest: Duration,
    classes: [u32; CLASSES],
}

/// A session that passed by.
#[derive(Clone)]
pub(crate) struct Seen {
    pub(crate) sight: Sight,
    pub(crate) last: Timestamp,
    pub(crate) loads: u32,
    pub(crate) writes: u32,
}

/// An event of the list.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) at: Timestamp,
    pub(crate) what: Happened,
    pub(crate) key: Option<StoreKey>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Happened {
    Session(What),
    /// With the kind of the error.
    Failed(What, &'static str),
    Connected(bool),
}

/// The journal as it was at one moment.
pub(crate) struct Copied {
    pub(crate) now: Timestamp,
    /// From the oldest to the one that goes on, none left out.
    pub(crate) steps: Vec<Step>,
    /// The one that was seen last comes first.
    pub(crate) sessions: Vec<(StoreKey, Seen)>,
    /// The latest first.
    pub(crate) events: Vec<Entry>,
}

impl Journal {
    pub(crate) fn new(clock: SharedClock) -> Self {
        Self { clock, pages: Mutex::default() }
    }

    // Never held across an await.
    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Counts an event and puts it on the list; loads are too many for that.
    pub(crate) fn note(&self, what: What, key: Option<&StoreKey>) {
        let now = self.now();
        let mut pages = self.pages();
        pages.step(now).counts[what as usize] += 1;
        if !matches!(what, What::Loaded | What::Touched) {
            pages.list(Entry { at: now, what: Happened::Session(what), key: key.cloned() });
        }
    }

    pub(crate) fn failed(&self, what: What, key: Option<&StoreKey>, kind: &'static str) {
        let now = self.now();
        let mut pages = self.pages();
        pages.step(now).counts[what as usize] += 1;
        pages.list(Entry { at: now, what: Happened::Failed(what, kind), key: key.cloned() });
        if let (What::Gone, Some(key)) = (what, key) {
            pages.sessions.remove(key);
        }
    }

    pub(crate) fn status(&self, connected: bool) {
        let now = self.now();
        self.pages().list(Entry { at: now, what: Happened::Connected(connected), key: None });
    }

    /// A session passed by, on its way from the store or to it.
    pub(crate) fn seen(&self, what: What, key: &StoreKey, sight: Sight) {
        let now = self.now();
        let mut pages = self.pages();
        if !pages.sessions.contains_key(key) {
            pages.make_room();
        }
        let seen =
            pages.sessions.entry(key.clone()).or_insert(Seen { sight, last: now, loads: 0, writes: 0 });
        seen.sight = sight;
        seen.last = now;
        match what {
            What::Loaded => seen.loads = seen.loads.saturating_add(1),
            _ => seen.writes = seen.writes.saturating_add(1),
        }
    }

    pub(crate) fn extended(&self, key: &StoreKey, expires_at: Timestamp) {
        if let Some(seen) = self.pages().sessions.get_mut(key) {
            seen.sight.expires_at = seen.sight.expires_at.max(expires_at);
        }
    }

    pub(crate) fn ended(&self, key: &StoreKey) {
        self.pages().sessions.remove(key);
    }

    pub(crate) fn measured(&self, operation: Operation, took: Duration, failed: bool) {
        let now = self.now();
        self.pages().step(now).calls[operation as usize].add(took, failed);
    }

    /// The key of the session that is called so in logs.
    pub(crate) fn find(&self, handle: &str) -> Option<(StoreKey, Seen)> {
        let found = |key: &StoreKey| key.handle() == handle;
        self.pages()
            .sessions
            .iter()
            .find(|(key, _)| found(key))
            .map(|(key, seen)| (key.clone(), seen.clone()))
    }

    pub(crate) fn copied(&self) -> Copied {
        let now = self.now();
        let mut pages = self.pages();
        let current = pages.step(now).number;
        let mut steps: Vec<_> = (0..STEPS as u64)
            .map(|back| Step { number: current.saturating_sub(back), ..Step::default() })
            .rev()
            .collect();
        for kept in &pages.steps {
            let back = current.saturating_sub(kept.number);
            if let Some(step) = usize::try_from(back).ok().and_then(|back| STEPS.checked_sub(back + 1)) {
                steps[step] = kept.clone();
            }
        }
        let live = pages.sessions.iter().filter(|(_, seen)| seen.sight.expires_at > now);
        let mut sessions: Vec<_> = live.map(|(key, seen)| (key.clone(), seen.clone())).collect();
        let events = pages.events.iter().rev().cloned().collect();
        drop(pages);
        sessions.sort_by_key(|(_, seen)| std::cmp::Reverse(seen.last));
        Copied { now, steps, sessions, events }
    }
}

impl Pages {
    /// The step of now. A clock that was put back goes on in the last step.
    fn step(&mut self, now: Timestamp) -> &mut Step {
        let number = now.as_millis() / STEP.as_millis() as u64;
        if self.steps.back().is_none_or(|last| last.number < number) {
            if self.steps.len() == STEPS {
                self.steps.pop_front();
            }
            self.steps.push_back(Step { number, ..Step::default() });
        }
        let last = self.steps.len() - 1;
        &mut self.steps[last]
    }

    fn list(&mut self, entry: Entry) {
        if self.events.len() == EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(entry);
    }

    fn make_room(&mut self) {
        if self.sessions.len() < SESSIONS + SESSIONS / 4 {
            return;
        }
        let mut last: Vec<_> = self.sessions.values().map(|seen| seen.last).collect();
        let (_, limit, _) = last.select_nth_unstable(SESSIONS / 4);
        let limit = *limit;
        // Of those that were all seen at one moment, half may stay.
        let mut too_many = SESSIONS / 4;
        self.sessions.retain(|_, seen| {
            let goes = seen.last <= limit && too_many > 0;
            too_many -= usize::from(goes);
            !goes
        });
    }
}

impl Step {
    pub(crate) fn count(&self, what: What) -> u32 {
        self.counts[what as usize]
    }

    pub(crate) fn calls(&self, operation: Operation) -> &Calls {
        &self.calls[operation as usize]
    }
}

impl Calls {
    fn add(&mut self, took: Duration, failed: bool) {
        self.count += 1;
        self.errors += u32::from(failed);
        self.longest = self.longest.max(took);
        let bits = u128::BITS - took.as_micros().leading_zeros();
        let class = bits.saturating_sub(FIRST_CLASS) as usize;
        self.classes[class.min(CLASSES - 1)] += 1;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.errors += other.errors;
        self.longest = self.longest.max(other.longest);
        for (mine, theirs) in self.classes.iter_mut().zip(other.classes) {
            *mine += theirs;
        }
    }

    /// How long that share of the calls took at most: the upper end of a class, which is within a factor of two.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        let wanted = (f64::from(self.count) * share).ceil() as u32;
        let mut passed = 0;
        for (class, count) in self.classes.iter().enumerate() {
            passed += count;
            // The last class has no end.
            if passed >= wanted.max(1) && class + 1 < CLASSES {
                let end = Duration::from_micros(1 << (class as u32 + FIRST_CLASS));
                return end.min(self.longest);
            }
        }
        self.longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SessionId, testing::ManualClock};

    fn journal() -> (Journal, ManualClock) {
        let clock = ManualClock::new();
        (Journal::new(SharedClock::of(clock.clone())), clock)
    }

    fn key() -> StoreKey {
        StoreKey::hashed("p:", &SessionId::random())
    }

    fn sight(journal: &Journal) -> Sight {
        let expires_at = journal.now().saturating_add(Duration::from_secs(7200));
        Sight { created: None, expires_at, bytes: 10 }
    }

    #[test]
    fn what_is_older_than_an_hour_is_forgotten() {
        let (journal, clock) = journal();
        for _ in 0..2 * STEPS {
            journal.note(What::Created, None);
            clock.advance(STEP);
        }
        let copied = journal.copied();
        assert_eq!(copied.steps.len(), STEPS);
        assert_eq!(copied.steps.iter().map(|s| s.count(What::Created)).sum::<u32>() as usize, STEPS - 1);
        assert_eq!(copied.events.len(), EVENTS);
        clock.advance(Duration::from_secs(3600));
        assert!(journal.copied().steps.iter().all(|step| step.count(What::Created) == 0));
        assert!(journal.pages().steps.len() <= STEPS);
    }

    #[test]
    fn the_sessions_that_were_seen_last_are_kept() {
        let (journal, clock) = journal();
        let first = key();
        journal.seen(What::Created, &first, sight(&journal));
        for _ in 0..3 * SESSIONS {
            clock.advance(Duration::from_millis(1));
            journal.seen(What::Created, &key(), sight(&journal));
        }
        let last = key();
        journal.seen(What::Created, &last, sight(&journal));
        assert!(journal.pages().sessions.len() <= SESSIONS + SESSIONS / 4);
        assert!(journal.find(&first.handle()).is_none());
        assert!(journal.find(&last.handle()).is_some());
        // All at one moment: still bounded.
        for _ in 0..2 * SESSIONS {
            journal.seen(What::Created, &key(), sight(&journal));
        }
        assert!(journal.pages().sessions.len() <= SESSIONS + SESSIONS / 4);
        clock.advance(Duration::from_secs(7200));
        assert!(journal.copied().sessions.is_empty(), "they have expired");
    }

    #[test]
    fn quantiles_are_right_within_a_factor_of_two() {
        let mut calls = Calls::default();
        for micros in 1..=1000 {
            calls.add(Duration::from_micros(micros), false);
        }
        let within = |share, micros: u64| {
            let told = calls.quantile(share).as_micros() as u64;
            assert!((micros..=2 * micros).contains(&told), "{told} for {micros}");
        };
        within(0.5, 500);
        within(0.95, 950);
        assert_eq!(calls.quantile(1.0), Duration::from_micros(1000));
        assert_eq!(Calls::default().quantile(0.5), Duration::ZERO);
        calls.add(Duration::from_secs(100), true);
        assert_eq!((calls.quantile(1.0), calls.errors), (Duration::from_secs(100), 1));
    }

    #[test]
    fn a_clock_that_is_put_back_loses_nothing() {
        let (journal, clock) = journal();
        clock.advance(Duration::from_secs(100));
        journal.note(What::Saved, None);
        let earlier = Journal { clock: SharedClock::of(ManualClock::new()), pages: journal.pages };
        earlier.note(What::Saved, None);
        assert_eq!(earlier.copied().steps.last().map(|s| s.count(What::Saved)), Some(2));
    }
}

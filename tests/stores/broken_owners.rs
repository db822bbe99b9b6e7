//! The controls of what the suite asks of a store that finds sessions by principal: every way to get that wrong.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use axum_generic_session::{
    Clock, MemoryStore, Store, StoreKey, Timestamp,
    store::{
        ByPrincipal, Found, Owner, Record, StoreError, When, Which, Written,
        contract::{Contract, Report},
    },
    testing::ManualClock,
};
use tokio::task::yield_now;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Break {
    Nothing,
    ListsTheDestroyed,
    ListsTheExpired,
    ListsTheFirstOwners,
    ListsTheFirstRecord,
    ListsOnePage,
    ListsInTwoSteps,
    ForgetsTheMoved,
    ForgetsTheIndexWithTheLastLogin,
    ForgetsWhoCameDuringAnEnd,
    IgnoresPrefixes,
    FoldsNames,
    CutsNames,
    TrimsNames,
    MissesOne,
    CountsTheDead,
    EndsStrangers,
    EndsTheKept,
    WritesTheKeptBack,
    LooksAndThenEnds,
}

/// What became of a session, as the broken ones remember it.
#[derive(Clone)]
struct Entry {
    key: StoreKey,
    first: Record,
    last: Record,
    moved: bool,
    destroyed: bool,
    hidden: bool,
}

/// A memory store that is asked whose a session is, and this in front of the answer.
#[derive(Clone)]
struct Registry {
    store: MemoryStore,
    book: Arc<Mutex<BTreeMap<[u8; 32], Entry>>>,
    /// Of each principal: the end of what was written last.
    ends: Arc<Mutex<BTreeMap<Box<str>, Timestamp>>>,
    clock: ManualClock,
    how: Break,
}

impl Registry {
    fn new(clock: &ManualClock, how: Break) -> Self {
        let store = MemoryStore::new().clock(clock.clone());
        Self { store, book: Arc::default(), ends: Arc::default(), clock: clock.clone(), how }
    }

    fn book(&self) -> MutexGuard<'_, BTreeMap<[u8; 32], Entry>> {
        self.book.lock().unwrap()
    }

    fn note(&self, key: &StoreKey, record: &Record, moved: bool) {
        let new = Entry {
            key: key.clone(),
            first: record.clone(),
            last: record.clone(),
            moved,
            destroyed: false,
            hidden: false,
        };
        self.book().entry(key.digest()).or_insert(new).last = record.clone();
        if let Some(principal) = &record.principal {
            self.ends.lock().unwrap().insert(principal.clone(), record.expires_at);
        }
    }

    fn entry(&self, digest: &[u8; 32]) -> Option<Entry> {
        self.book().get(digest).cloned()
    }

    fn entries(&self, meant: impl Fn(&Entry) -> bool) -> Vec<Entry> {
        self.book().values().filter(|entry| meant(entry)).cloned().collect()
    }

    /// Of which records nobody has told that they are dead, and which are.
    fn expired_of(&self, owner: Owner<'_>) -> Vec<Entry> {
        let now = self.clock.now();
        self.entries(|entry| is_of(entry, owner) && !entry.destroyed && entry.last.expires_at <= now)
    }

    /// The live sessions of everybody whose name this store takes for the owner's.
    async fn live(&self, meant: impl Fn(&Entry) -> bool) -> Result<Vec<Found>, StoreError> {
        let mut found = Vec::new();
        for entry in self.entries(meant) {
            if let Some(record) = self.store.get(&entry.key).await? {
                found.push(Found { digest: entry.key.digest(), record });
            }
        }
        Ok(found)
    }

    async fn end(&self, found: &[Found]) -> Result<(), StoreError> {
        for one in found {
            if let Some(entry) = self.entry(&one.digest) {
                self.store.destroy(&entry.key).await?;
            }
        }
        Ok(())
    }

    async fn of(&self, owner: Owner<'_>, which: Which) -> Result<Vec<Found>, StoreError> {
        let mut found = self.store.sessions_of(owner).await?;
        found.retain(|one| which.means(&one.digest));
        Ok(found)
    }
}

fn is_of(entry: &Entry, owner: Owner<'_>) -> bool {
    entry.key.prefix() == owner.prefix && entry.last.principal.as_deref() == Some(owner.principal)
}

/// Long enough for others to come between.
async fn a_while() {
    for _ in 0..20 {
        yield_now().await;
    }
}

fn dead(entry: Entry) -> Found {
    Found { digest: entry.key.digest(), record: entry.last }
}

impl Store for Registry {
    async fn get(&self, key: &StoreKey) -> Result<Option<Record>, StoreError> {
        self.store.get(key).await
    }

    async fn set(&self, key: &StoreKey, record: &Record, when: When) -> Result<Written, StoreError> {
        let answer = self.store.set(key, record, when).await?;
        if answer == Written::Done {
            self.note(key, record, false);
        }
        Ok(answer)
    }

    async fn touch(&self, key: &StoreKey, expires_at: Timestamp) -> Result<bool, StoreError> {
        let alive = self.store.touch(key, expires_at).await?;
        if let Some(entry) = self.book().get_mut(&key.digest()).filter(|_| alive) {
            entry.last.expires_at = entry.last.expires_at.max(expires_at);
        }
        Ok(alive)
    }

    async fn destroy(&self, key: &StoreKey) -> Result<(), StoreError> {
        self.store.destroy(key).await?;
        if let Some(entry) = self.book().get_mut(&key.digest()) {
            entry.destroyed = true;
        }
        Ok(())
    }

    async fn rotate(
        &self,
        old: &StoreKey,
        when: When,
        new: &StoreKey,
        record: &Record,
    ) -> Result<Written, StoreError> {
        let answer = self.store.rotate(old, when, new, record).await?;
        if answer == Written::Done {
            self.note(new, record, true);
        }
        Ok(answer)
    }
}

impl ByPrincipal for Registry {
    async fn sessions_of(&self, owner: Owner<'_>) -> Result<Vec<Found>, StoreError> {
        let mut found = self.store.sessions_of(owner).await?;
        let names = |same: fn(&str, &str) -> bool| {
            self.live(move |entry| {
                let name = entry.last.principal.as_deref();
                entry.key.prefix() == owner.prefix && name.is_some_and(|name| same(name, owner.principal))
            })
        };
        match self.how {
            Break::ListsTheDestroyed => {
                found.extend(self.entries(|e| is_of(e, owner) && e.destroyed).into_iter().map(dead));
            }
            Break::ListsTheExpired => found.extend(self.expired_of(owner).into_iter().map(dead)),
            Break::ListsTheFirstOwners => {
                let theirs = |entry: &Entry| entry.first.principal.as_deref() == Some(owner.principal);
                found = self.live(|e| e.key.prefix() == owner.prefix && theirs(e)).await?;
            }
            Break::ListsTheFirstRecord => {
                for one in &mut found {
                    one.record = self.entry(&one.digest).map_or(one.record.clone(), |entry| entry.first);
                }
            }
            Break::ListsOnePage => found.truncate(100),
            Break::ListsInTwoSteps => {
                a_while().await;
                let seen: Vec<_> = found.iter().map(|one| one.digest).collect();
                found = self.live(|entry| seen.contains(&entry.key.digest())).await?;
            }
            Break::ForgetsTheMoved => {
                found.retain(|one| !self.entry(&one.digest).is_some_and(|entry| entry.moved));
            }
            Break::ForgetsTheIndexWithTheLastLogin => {
                let end = self.ends.lock().unwrap().get(owner.principal).copied();
                if end.is_some_and(|end| end <= self.clock.now()) {
                    found.clear();
                }
            }
            Break::ForgetsWhoCameDuringAnEnd => {
                found.retain(|one| !self.entry(&one.digest).is_some_and(|entry| entry.hidden));
            }
            Break::IgnoresPrefixes => {
                found = self.live(|e| e.last.principal.as_deref() == Some(owner.principal)).await?;
            }
            Break::FoldsNames => found = names(str::eq_ignore_ascii_case).await?,
            Break::CutsNames => {
                found = names(|a, b| a.chars().take(255).eq(b.chars().take(255))).await?;
            }
            Break::TrimsNames => found = names(|a, b| a.trim_end() == b.trim_end()).await?,
            _ => {}
        }
        Ok(found)
    }

    async fn destroy_of(&self, owner: Owner<'_>, which: Which) -> Result<u64, StoreError> {
        match (self.how, which) {
            (Break::MissesOne, _) => {
                let meant = self.of(owner, which).await?;
                self.end(meant.split_last().map_or(&[], |(_, rest)| rest)).await?;
                Ok(meant.len() as u64)
            }
            (Break::CountsTheDead, _) => {
                let dead = self.expired_of(owner).len() as u64;
                Ok(self.store.destroy_of(owner, which).await? + dead)
            }
            (Break::EndsStrangers, Which::Only(digest)) => {
                let meant = self.live(|entry| entry.key.digest() == digest).await?;
                self.end(&meant).await?;
                Ok(meant.len() as u64)
            }
            (Break::EndsTheKept, _) => self.store.destroy_of(owner, Which::All).await,
            (Break::WritesTheKeptBack, Which::AllBut(kept)) => {
                let Some(entry) = self.entry(&kept) else { return self.store.destroy_of(owner, which).await };
                let Some(record) = self.store.get(&entry.key).await? else { return Ok(0) };
                a_while().await;
                let ended = self.store.destroy_of(owner, Which::All).await?;
                self.store.set(&entry.key, &record, When::Absent).await?;
                Ok(ended.saturating_sub(1))
            }
            (Break::LooksAndThenEnds, _) => {
                let meant = self.of(owner, which).await?;
                a_while().await;
                self.end(&meant).await?;
                Ok(meant.len() as u64)
            }
            (Break::ForgetsWhoCameDuringAnEnd, Which::All) => {
                let ended = self.store.destroy_of(owner, which).await?;
                // Until somebody has come: a store that is as slow as that.
                for _ in 0..1000 {
                    if !self.store.sessions_of(owner).await?.is_empty() {
                        break;
                    }
                    yield_now().await;
                }
                self.book().values_mut().filter(|e| is_of(e, owner)).for_each(|e| e.hidden = true);
                Ok(ended)
            }
            _ => self.store.destroy_of(owner, which).await,
        }
    }
}

async fn report_on(how: Break) -> Report {
    let clock = ManualClock::new();
    let store = Registry::new(&clock, how);
    Contract::new(|| async { store.clone() }).clock(clock).rounds(20).check_by_principal().await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_found_where_nothing_is_broken() {
    let report = report_on(Break::Nothing).await;
    assert!(report.failed().is_empty() && report.left_out().is_empty(), "{report}");
}

const LISTED: &str = "a live session is in the list of the principal of its last write, and in no other list";
const ENDED: &str = "`destroy_of` ends those of the owner's sessions that are meant";
const NAMES: &str = "a principal is any text, and two are one only if they are equal";
const ESCAPES: &str = "nothing escapes `destroy_of`";
const PLAIN: &str = "a record in `Layout::Plain` has no principal, and is nobody's";

/// One test for each: the suite names the check that finds it, and the rule.
macro_rules! found {
    ($($test:ident: $how:ident => $check:literal, $rule:ident;)*) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $test() {
            let report = report_on(Break::$how).await;
            assert!(report.failed().contains(&$check), "{} was not found by `{}`\n{report}", stringify!($how), $check);
            assert!(report.to_string().contains($rule), "{report}");
            // Not by failing whatever it is given.
            assert!(!report.passed().is_empty(), "{report}");
        }
    )*};
}

found! {
    a_list_of_the_destroyed_is_found: ListsTheDestroyed => "of a principal: list", LISTED;
    a_list_of_the_expired_is_found: ListsTheExpired => "of a principal: expiry", LISTED;
    a_list_of_first_owners_is_found: ListsTheFirstOwners => "of a principal: list", LISTED;
    a_list_of_old_records_is_found: ListsTheFirstRecord => "of a principal: list", LISTED;
    a_list_of_one_page_is_found: ListsOnePage => "of a principal: many", LISTED;
    a_list_that_misses_who_is_moving_is_found: ListsInTwoSteps => "of a principal: list, race", LISTED;
    a_list_that_misses_who_was_moved_is_found: ForgetsTheMoved => "of a principal: list", LISTED;
    an_index_that_ends_with_the_last_login_is_found:
        ForgetsTheIndexWithTheLastLogin => "of a principal: expiry", LISTED;
    a_login_that_an_end_forgets_is_found: ForgetsWhoCameDuringAnEnd => "of a principal: logins, race", LISTED;
    a_list_of_namesakes_is_found: IgnoresPrefixes => "of a principal: list", LISTED;
    folded_names_are_found: FoldsNames => "of a principal: names", NAMES;
    cut_names_are_found: CutsNames => "of a principal: names", NAMES;
    trimmed_names_are_found: TrimsNames => "of a principal: names", NAMES;
    an_end_that_misses_one_is_found: MissesOne => "of a principal: end", ENDED;
    an_end_that_counts_the_dead_is_found: CountsTheDead => "of a principal: expiry", LISTED;
    an_end_of_strangers_is_found: EndsStrangers => "of a principal: end", ENDED;
    an_end_of_plain_records_is_found: EndsStrangers => "of a principal: plain", PLAIN;
    an_end_of_the_one_that_is_kept_is_found: EndsTheKept => "of a principal: end", ENDED;
    a_kept_one_that_is_written_back_is_found: WritesTheKeptBack => "of a principal: end others, race", ESCAPES;
    an_escape_is_found: LooksAndThenEnds => "of a principal: end, race", ESCAPES;
}

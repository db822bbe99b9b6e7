//! The controls: a plain map that keeps the contract, and every way to break it that the suite must find.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use axum::body::Bytes;
use axum_generic_session::{
    Clock, Store, StoreKey, Timestamp,
    store::{
        Connection, Layout, Record, StoreError, Tag, When, Written,
        contract::{Contract, Report},
    },
    testing::ManualClock,
};
use tokio::{sync::watch, task::yield_now};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Break {
    Nothing,
    IgnoresConditions,
    IgnoresTags,
    UpsertsWhenPresent,
    RefusesWithErrors,
    ShowsStaleConflicts,
    ForgetsItsOwnWrites,
    RecognisesBytes,
    DestroysNothing,
    DestroysEverything,
    ReturnsExpired,
    LetsExpiredStandInTheWay,
    ExpiresLate,
    KeepsTheFirstExpiry,
    EndsIn2038,
    CountsSeconds,
    GivesThePastASecond,
    TouchShortens,
    TouchRevives,
    TouchCreates,
    TouchChangesTheTag,
    TouchDoesNothing,
    RotateKeepsTheOld,
    RotateIgnoresConditions,
    RotateLeavesTheNew,
    RotateOverwrites,
    RotateShowsAStranger,
    RotateForgetsItsOwnWrites,
    CutsAt64KiB,
    StoresText,
    TrimsSpaces,
    ForgetsPrincipals,
    FoldsCase,
    CutsKeys,
    CachesOnItsNode,
    ChecksThenWrites,
    TouchWritesDataBack,
    WritesInPieces,
    SaysItIsAway,
}

/// Rounded up, as an engine does that counts seconds.
fn whole_seconds(moment: Timestamp) -> Timestamp {
    Timestamp::from_millis(moment.as_millis().div_ceil(1000) * 1000)
}

type Map = HashMap<String, Record>;

/// A store of one map. Its rotation is the provided one unless that is what is broken.
#[derive(Clone)]
struct OneMap {
    map: Arc<Mutex<Map>>,
    clock: ManualClock,
    how: Break,
    /// Held over a whole operation: the map's own lock is held for parts of it only.
    turn: Arc<Mutex<()>>,
    /// What this node has read, for the store that trusts it.
    cache: Arc<Mutex<Map>>,
}

impl OneMap {
    fn new(clock: &ManualClock, how: Break) -> Self {
        Self { map: Arc::default(), clock: clock.clone(), how, turn: Arc::default(), cache: Arc::default() }
    }

    /// Another node's handle on the same map.
    fn open(&self) -> Self {
        Self { cache: Arc::default(), ..self.clone() }
    }

    fn map(&self) -> MutexGuard<'_, Map> {
        self.map.lock().unwrap()
    }

    fn is(&self, how: Break) -> bool {
        self.how == how
    }

    fn name_of(&self, key: &StoreKey) -> String {
        match self.how {
            Break::FoldsCase => key.as_str().to_lowercase(),
            Break::CutsKeys => key.as_str().chars().take(255).collect(),
            _ => key.as_str().to_owned(),
        }
    }

    fn live(&self, key: &StoreKey) -> Option<Record> {
        let now = self.clock.now();
        let late = u64::from(self.is(Break::ExpiresLate));
        let is_live = |r: &&Record| r.expires_at.as_millis() + late > now.as_millis();
        self.map().get(&self.name_of(key)).filter(is_live).cloned()
    }

    /// What conditions look at.
    fn seen(&self, key: &StoreKey) -> Option<Record> {
        match self.how {
            Break::LetsExpiredStandInTheWay => self.map().get(&self.name_of(key)).cloned(),
            _ => self.live(key),
        }
    }

    fn verdict(&self, key: &StoreKey, record: &Record, when: When) -> Option<Written> {
        let recognises = match self.how {
            Break::ForgetsItsOwnWrites => false,
            Break::RecognisesBytes => true,
            _ => key.layout() == Layout::Native,
        };
        match (self.seen(key), when) {
            _ if self.is(Break::IgnoresConditions) => None,
            (Some(live), _) if live.tag == record.tag && recognises => Some(Written::Done),
            (None, When::Present) if self.is(Break::UpsertsWhenPresent) => None,
            (None, When::Present | When::Tagged(_)) => Some(Written::Gone),
            (Some(live), When::Absent) => Some(Written::Conflict(Some(live))),
            (Some(live), When::Tagged(tag)) if live.tag != tag && !self.is(Break::IgnoresTags) => {
                Some(Written::Conflict(Some(match self.how {
                    Break::ShowsStaleConflicts => Record { data: Bytes::from_static(b"stale"), ..live },
                    _ => live,
                })))
            }
            (None, When::Absent) | (Some(_), When::Present | When::Tagged(_)) => None,
        }
    }

    fn put(&self, key: &StoreKey, record: &Record) {
        let mut record = record.clone();
        let before = self.map().get(&self.name_of(key)).map(|before| before.expires_at);
        match self.how {
            Break::CutsAt64KiB => record.data.truncate(65_535),
            Break::StoresText => record.data = String::from_utf8_lossy(&record.data).into_owned().into(),
            Break::TrimsSpaces => record.data = record.data.trim_ascii_end().to_vec().into(),
            Break::ForgetsPrincipals => record.principal = None,
            Break::KeepsTheFirstExpiry => record.expires_at = before.unwrap_or(record.expires_at),
            Break::EndsIn2038 => {
                record.expires_at = record.expires_at.min(Timestamp::from_millis(i32::MAX as u64 * 1000));
            }
            Break::CountsSeconds => record.expires_at = whole_seconds(record.expires_at),
            Break::GivesThePastASecond => {
                let second = self.clock.now().saturating_add(Duration::from_secs(1));
                record.expires_at = record.expires_at.max(second);
            }
            _ => {}
        }
        self.map().insert(self.name_of(key), record);
    }
}

impl Store for OneMap {
    async fn get(&self, key: &StoreKey) -> Result<Option<Record>, StoreError> {
        match self.how {
            Break::ReturnsExpired => Ok(self.map().get(&self.name_of(key)).cloned()),
            Break::CachesOnItsNode => {
                let cached = self.cache.lock().unwrap().get(key.as_str()).cloned();
                if cached.is_some() {
                    return Ok(cached);
                }
                let found = self.live(key);
                if let Some(found) = &found {
                    self.cache.lock().unwrap().insert(key.as_str().to_owned(), found.clone());
                }
                Ok(found)
            }
            _ => Ok(self.live(key)),
        }
    }

    async fn set(&self, key: &StoreKey, record: &Record, when: When) -> Result<Written, StoreError> {
        if self.is(Break::ChecksThenWrites) {
            if let Some(refused) = self.verdict(key, record, when) {
                return Ok(refused);
            }
            yield_now().await;
            self.put(key, record);
            return Ok(Written::Done);
        }
        if self.is(Break::WritesInPieces) && self.verdict(key, record, when).is_none() {
            let half = Record { tag: Tag::random(), ..record.clone() };
            self.put(key, &half);
            yield_now().await;
        }
        let _turn = self.turn.lock().unwrap();
        match self.verdict(key, record, when) {
            Some(Written::Conflict(_)) if self.is(Break::RefusesWithErrors) => {
                Err(StoreError::corrupt("duplicate key"))
            }
            Some(refused) => Ok(refused),
            None => {
                self.put(key, record);
                Ok(Written::Done)
            }
        }
    }

    async fn touch(&self, key: &StoreKey, expires_at: Timestamp) -> Result<bool, StoreError> {
        if self.is(Break::TouchWritesDataBack) {
            let Some(mut record) = self.live(key) else { return Ok(false) };
            yield_now().await;
            record.expires_at = record.expires_at.max(expires_at);
            self.put(key, &record);
            return Ok(true);
        }
        let now = self.clock.now();
        let _turn = self.turn.lock().unwrap();
        let mut map = self.map();
        let name = self.name_of(key);
        if self.is(Break::TouchCreates) && !map.contains_key(&name) {
            map.insert(name, Record { tag: Tag::random(), expires_at, principal: None, data: Bytes::new() });
            return Ok(false);
        }
        let revives = self.is(Break::TouchRevives);
        let Some(record) = map.get_mut(&name).filter(|r| revives || r.expires_at > now) else {
            return Ok(false);
        };
        match self.how {
            Break::CountsSeconds => record.expires_at = record.expires_at.max(whole_seconds(expires_at)),
            Break::TouchShortens => record.expires_at = expires_at,
            Break::TouchDoesNothing => {}
            Break::TouchChangesTheTag => {
                record.expires_at = record.expires_at.max(expires_at);
                record.tag = Tag::random();
            }
            _ => record.expires_at = record.expires_at.max(expires_at),
        }
        Ok(true)
    }

    async fn destroy(&self, key: &StoreKey) -> Result<(), StoreError> {
        let _turn = self.turn.lock().unwrap();
        match self.how {
            Break::DestroysNothing => {}
            Break::DestroysEverything => self.map().clear(),
            _ => drop(self.map().remove(&self.name_of(key))),
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
        // The provided way, over a store that hides what is broken in this one.
        let whole = Provided(self.clone());
        match self.how {
            Break::RotateKeepsTheOld => self.set(new, record, When::Absent).await,
            Break::RotateIgnoresConditions => whole.rotate(old, When::Present, new, record).await,
            Break::RotateLeavesTheNew => {
                self.put(new, record);
                let nothing = Record { expires_at: Timestamp::EPOCH, tag: Tag::random(), ..record.clone() };
                self.set(old, &nothing, when).await
            }
            Break::RotateOverwrites => {
                self.destroy(new).await?;
                whole.rotate(old, when, new, record).await
            }
            Break::RotateShowsAStranger => match self.live(new) {
                Some(taken) => Ok(Written::Conflict(Some(taken))),
                None => whole.rotate(old, when, new, record).await,
            },
            Break::RotateForgetsItsOwnWrites => match self.live(new) {
                Some(_) => Ok(Written::Conflict(None)),
                None => whole.rotate(old, when, new, record).await,
            },
            _ => whole.rotate(old, when, new, record).await,
        }
    }

    fn connection(&self) -> Option<watch::Receiver<Connection>> {
        let away = Connection::Disconnected { since: tokio::time::Instant::now() };
        self.is(Break::SaysItIsAway).then(|| watch::channel(away).1)
    }
}

/// [`OneMap`] with the rotation that the trait provides.
struct Provided(OneMap);

impl Store for Provided {
    async fn get(&self, key: &StoreKey) -> Result<Option<Record>, StoreError> {
        self.0.get(key).await
    }
    async fn set(&self, key: &StoreKey, record: &Record, when: When) -> Result<Written, StoreError> {
        self.0.set(key, record, when).await
    }
    async fn touch(&self, key: &StoreKey, expires_at: Timestamp) -> Result<bool, StoreError> {
        self.0.touch(key, expires_at).await
    }
    async fn destroy(&self, key: &StoreKey) -> Result<(), StoreError> {
        self.0.destroy(key).await
    }
}

async fn report_on(how: Break) -> Report {
    let clock = ManualClock::new();
    let store = OneMap::new(&clock, how);
    Contract::new(|| async { store.open() }).clock(clock).rounds(20).check().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_map_with_the_provided_rotation_keeps_the_contract() {
    let report = report_on(Break::Nothing).await;
    assert!(report.failed().is_empty() && report.left_out().is_empty(), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_counts_seconds_may_say_so() {
    let clock = ManualClock::new();
    clock.advance(Duration::from_millis(300));
    let store = OneMap::new(&clock, Break::CountsSeconds);
    let contract = Contract::new(|| async { store.open() }).clock(clock.clone()).rounds(5);
    let report = contract.resolution(Duration::from_secs(1)).run().await;
    assert_eq!(report.left_out(), ["to the millisecond"], "{report}");
    assert!(
        Contract::new(|| async { store.open() })
            .clock(clock)
            .rounds(5)
            .check()
            .await
            .failed()
            .contains(&"expired")
    );
}

/// One test for each way to break the contract: the suite names the check that finds it.
macro_rules! found {
    ($($test:ident: $how:ident => $check:literal,)*) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $test() {
            let report = report_on(Break::$how).await;
            assert!(report.failed().contains(&$check), "{} was not found by `{}`\n{report}", stringify!($how), $check);
            // Not by failing whatever it is given.
            assert!(!report.passed().is_empty(), "{report}");
        }
    )*};
}

found! {
    ignored_conditions_are_found: IgnoresConditions => "conditions",
    ignored_tags_are_found: IgnoresTags => "conditions",
    an_upsert_is_found: UpsertsWhenPresent => "destroy",
    refusals_as_errors_are_found: RefusesWithErrors => "conditions",
    stale_conflicts_are_found: ShowsStaleConflicts => "conflict",
    forgotten_own_writes_are_found: ForgetsItsOwnWrites => "retry",
    equal_bytes_taken_for_a_retry_are_found: RecognisesBytes => "equal bytes",
    a_lost_increment_of_equal_bytes_is_found: RecognisesBytes => "race: counter",
    a_swallowed_destroy_is_found: DestroysNothing => "destroy",
    a_destroy_of_everything_is_found: DestroysEverything => "destroy",
    returned_expired_records_are_found: ReturnsExpired => "expired",
    expired_records_in_the_way_are_found: LetsExpiredStandInTheWay => "expired",
    a_late_expiry_is_found: ExpiresLate => "to the millisecond",
    a_kept_expiry_is_found: KeepsTheFirstExpiry => "expiry of a write",
    an_early_end_of_time_is_found: EndsIn2038 => "far future",
    a_second_for_the_past_is_found: GivesThePastASecond => "written expired",
    a_touch_that_shortens_is_found: TouchShortens => "touch never shortens",
    a_touch_that_revives_is_found: TouchRevives => "expired",
    a_touch_that_creates_is_found: TouchCreates => "touch",
    a_touch_that_changes_the_tag_is_found: TouchChangesTheTag => "touch",
    a_touch_that_does_nothing_is_found: TouchDoesNothing => "touch",
    a_rotation_that_keeps_the_old_is_found: RotateKeepsTheOld => "rotate",
    a_rotation_without_conditions_is_found: RotateIgnoresConditions => "rotate refused",
    a_rotation_that_leaves_the_new_is_found: RotateLeavesTheNew => "rotate refused",
    a_rotation_that_overwrites_is_found: RotateOverwrites => "rotate refused",
    a_rotation_that_shows_a_stranger_is_found: RotateShowsAStranger => "rotate refused",
    a_rotation_that_cannot_be_retried_is_found: RotateForgetsItsOwnWrites => "rotate retried",
    cut_data_is_found: CutsAt64KiB => "bytes",
    data_as_text_is_found: StoresText => "bytes",
    trimmed_data_is_found: TrimsSpaces => "bytes",
    forgotten_principals_are_found: ForgetsPrincipals => "principal",
    folded_case_is_found: FoldsCase => "keys",
    cut_keys_are_found: CutsKeys => "keys",
    a_cache_on_one_node_is_found: CachesOnItsNode => "nodes agree",
    lost_increments_are_found: ChecksThenWrites => "race: counter",
    two_creators_are_found: ChecksThenWrites => "race: create",
    a_resurrection_is_found: ChecksThenWrites => "race: destroy",
    a_rotation_that_does_not_exclude_is_found: ChecksThenWrites => "race: rotate",
    a_touch_that_writes_data_back_is_found: TouchWritesDataBack => "race: touch",
    a_write_in_pieces_is_found: WritesInPieces => "race: read",
    a_store_that_says_it_is_away_is_found: SaysItIsAway => "status",
}

#[tokio::test(flavor = "multi_thread")]
#[should_panic(expected = "the rule: `touch` extends the life of a live record")]
async fn the_panic_cites_the_rule() {
    let clock = ManualClock::new();
    let store = OneMap::new(&clock, Break::TouchShortens);
    Contract::new(|| async { store.open() }).clock(clock).rounds(1).run().await;
}

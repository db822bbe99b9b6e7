//! The conformance suite: what the [contract](crate::store) says, asked of a store.
//!
//! The stores of this crate run it, and a store of your own runs it in five lines:
//!
//! ```
//! use axum_generic_session::{MemoryStore, store::contract::Contract};
//!
//! # async fn in_a_test() {
//! // #[tokio::test(flavor = "multi_thread")]
//! // async fn my_store_keeps_the_contract() {
//! let engine = MemoryStore::new();
//! Contract::new(|| async { engine.clone() }).run().await;
//! // }
//! # }
//! # tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(in_a_test());
//! ```
//!
//! The closure opens one more handle on *the same* engine, as each node of a site would: a new pool, a new
//! connection. The suite opens four and lets them race. Every key begins with a prefix of the run's own, so
//! the engine need not be empty; what is left behind expires within an hour, but for a handful of records
//! that test the far future.
//!
//! A store that is [`Guarantee::LastWriteWins`] is not asked what it does not promise; the report
//! says so, check by check.

mod bench;
mod conditions;
mod expiry;
mod moves;
mod owners;
mod races;
mod report;
mod values;

use std::{sync::Arc, time::Duration};

use self::bench::Bench;
pub use self::report::Report;
use crate::{
    id::SessionId,
    store::{ByPrincipal, Guarantee, Layout, Store},
    testing::ManualClock,
};

/// How many handles are opened on the engine.
const NODES: usize = 4;
/// How exactly the contract counts time.
const MILLISECOND: Duration = Duration::from_millis(1);
/// The end of patience with one check.
const LIMIT: Duration = Duration::from_secs(120);

const ABSENT: &str = "expired is absent: from `expires_at` on a record is gone for `get`, for `touch` and for \
                      every condition of `set`";
const TABLE: &str = "`set` writes if its condition holds, and a refusal (`Gone`, `Conflict`) changes nothing; \
                     the table stands in the documentation of `store`";
const ATOMIC: &str =
    "conditions are atomic: no other writer comes between the check and the write, on any node";
const RETRY: &str = "a retry recognises itself: a record that carries the tag being written is `Done`";
const LITERAL: &str =
    "in `Layout::Plain` conditions are taken by the letter: equal bytes are not an own write";
const TOUCH: &str = "`touch` extends the life of a live record, never shortens it, and leaves tag and data alone; \
                     `false` means that there is none, and makes none";
const DESTROY: &str =
    "`destroy` ends a session for every later call; destroying what is not there is no error";
const ROTATE: &str = "`rotate` moves a session; a refusal leaves `old` as it was and nothing under `new`";
const OPAQUE: &str = "the data is opaque to the store: any bytes come back as they went in";
const KEYS: &str = "two keys that differ in any byte are two sessions";
const NODES_AGREE: &str = "`Ok` means that the write is in the engine: every node sees it at once";
const STATUS: &str = "`connection` says whether the engine can be reached; `None` is always connected";

const OWNED: &str = "a live session is in the list of the principal of its last write, and in no other list; keys of \
                     another prefix are another's";
const ENDED: &str =
    "`destroy_of` ends those of the owner's sessions that are meant, for every later call, and no others";
const NAMES: &str = "a principal is any text, and two are one only if they are equal";
const ESCAPES: &str = "nothing escapes `destroy_of`: what was the owner's when the call began is dead when it returns, \
                       also if it was written, prolonged or moved meanwhile";
const PLAIN: &str = "a record in `Layout::Plain` has no principal, and is nobody's";

/// One run of the suite: build it, then [`run`](Self::run) it.
#[derive(Clone, Debug)]
pub struct Contract<F> {
    open: F,
    clock: Option<ManualClock>,
    resolution: Duration,
    rounds: usize,
}

impl<F, Opening, S> Contract<F>
where
    F: Fn() -> Opening + Sync,
    Opening: Future<Output = S> + Send,
    S: Store,
{
    /// The suite over the store that `open` opens: each call a new handle on the same engine.
    #[must_use]
    pub const fn new(open: F) -> Self {
        Self { open, clock: None, resolution: MILLISECOND, rounds: 50 }
    }

    /// The store reads its time from this clock, so the suite moves it rather than wait.
    #[must_use]
    pub fn clock(mut self, clock: ManualClock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// How exactly the engine keeps an expiry; 1 ms unless set. One second for an engine that counts seconds.
    #[must_use]
    pub const fn resolution(mut self, resolution: Duration) -> Self {
        self.resolution = resolution;
        self
    }

    /// How often each race is run; 50 unless set.
    #[must_use]
    pub const fn rounds(mut self, rounds: usize) -> Self {
        self.rounds = rounds;
        self
    }

    /// Runs the suite, and panics with the whole report if anything in it failed.
    ///
    /// # Panics
    /// If the store breaks the contract.
    #[allow(clippy::must_use_candidate, reason = "that it returns at all is the answer most tests want")]
    pub async fn run(self) -> Report {
        let report = self.check().await;
        assert!(report.failed().is_empty(), "{report}");
        report
    }

    async fn bench(self) -> Bench<S> {
        let mut nodes = Vec::with_capacity(NODES);
        for _ in 0..NODES {
            nodes.push(Arc::new((self.open)().await));
        }
        let prefix = format!("contract-{}:", &SessionId::random().expose()[..8]);
        let Self { clock, resolution, rounds, .. } = self;
        Bench { nodes, clock, resolution, rounds, prefix }
    }

    /// Runs the suite and tells how it went, without judging.
    pub async fn check(self) -> Report {
        let bench = self.bench().await;
        let mut report = Report::new(bench.store().name());
        for layout in [Layout::Native, Layout::Plain] {
            one_by_one(&bench, layout, &mut report).await;
            at_once(&bench, layout, &mut report).await;
        }
        report.check(("keys", KEYS), None, LIMIT, values::keys(&bench)).await;
        report.check(("status", STATUS), None, LIMIT, async { values::status(&bench) }).await;
        report
    }

    /// Runs what the suite asks beyond [`run`](Self::run) of a store that finds sessions by their principal, and
    /// panics with the whole report if anything in it failed.
    ///
    /// ```
    /// # use axum_generic_session::{MemoryStore, store::contract::Contract};
    /// # async fn in_a_test() {
    /// let engine = MemoryStore::new();
    /// Contract::new(|| async { engine.clone() }).run_by_principal().await;
    /// # }
    /// # tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(in_a_test());
    /// ```
    ///
    /// # Panics
    /// If the store breaks the contract of [`ByPrincipal`].
    #[allow(clippy::must_use_candidate, reason = "that it returns at all is the answer most tests want")]
    pub async fn run_by_principal(self) -> Report
    where
        S: ByPrincipal,
    {
        let report = self.check_by_principal().await;
        assert!(report.failed().is_empty(), "{report}");
        report
    }

    /// The same, and tells how it went, without judging.
    pub async fn check_by_principal(self) -> Report
    where
        S: ByPrincipal,
    {
        let bench = self.bench().await;
        let mut report = Report::new(bench.store().name());
        let at = Some(Layout::Native);
        report.check(("of a principal: list", OWNED), at, LIMIT, owners::listed(&bench)).await;
        report.check(("of a principal: expiry", OWNED), at, LIMIT, owners::expiry(&bench)).await;
        report.check(("of a principal: end", ENDED), at, LIMIT, owners::ended(&bench)).await;
        report.check(("of a principal: names", NAMES), at, LIMIT, owners::names(&bench)).await;
        report.check(("of a principal: many", OWNED), at, LIMIT, owners::many(&bench)).await;
        report
            .check(("of a principal: end, race", ESCAPES), at, LIMIT, owners::races::none_escapes(&bench))
            .await;
        report
            .check(
                ("of a principal: end others, race", ESCAPES),
                at,
                LIMIT,
                owners::races::one_is_kept(&bench),
            )
            .await;
        report
            .check(("of a principal: list, race", OWNED), at, LIMIT, owners::races::always_listed(&bench))
            .await;
        report.check(("of a principal: logins, race", OWNED), at, LIMIT, owners::races::logins(&bench)).await;
        let plain = Some(Layout::Plain);
        report.check(("of a principal: plain", PLAIN), plain, LIMIT, owners::plain(&bench)).await;
        report
    }
}

/// The checks in which one call follows the other.
async fn one_by_one<S: Store>(bench: &Bench<S>, layout: Layout, report: &mut Report) {
    let at = Some(layout);
    let atomic = bench.store().guarantee() == Guarantee::Atomic;
    report.check(("conditions", TABLE), at, LIMIT, conditions::table(bench, layout)).await;
    report.check(("conflict", TABLE), at, LIMIT, conditions::conflict(bench, layout)).await;
    report.check(("destroy", DESTROY), at, LIMIT, conditions::destroy(bench, layout)).await;
    match layout {
        Layout::Native => {
            report.check(("retry", RETRY), at, LIMIT, conditions::retry(bench)).await;
            report.check(("principal", OPAQUE), at, LIMIT, values::principal(bench)).await;
            report.check(("tags", OPAQUE), at, LIMIT, values::tags(bench)).await;
            report.check(("rotate retried", RETRY), at, LIMIT, moves::retried(bench)).await;
        }
        Layout::Plain => {
            report.check(("equal bytes", LITERAL), at, LIMIT, conditions::equal_bytes(bench)).await;
        }
    }
    report.check(("expired", ABSENT), at, LIMIT, expiry::expired(bench, layout)).await;
    report.check(("written expired", ABSENT), at, LIMIT, expiry::written_expired(bench, layout)).await;
    report.check(("expiry of a write", ABSENT), at, LIMIT, expiry::of_a_write(bench, layout)).await;
    if bench.clock.is_some() && bench.resolution <= MILLISECOND {
        report.check(("to the millisecond", ABSENT), at, LIMIT, expiry::exact(bench, layout)).await;
    } else {
        report.leave_out(
            ("to the millisecond", ABSENT),
            at,
            "it takes a clock that can be moved by hand, and an engine that counts milliseconds",
        );
    }
    report.check(("touch", TOUCH), at, LIMIT, expiry::touch(bench, layout)).await;
    if atomic || layout == Layout::Native {
        report.check(("touch never shortens", TOUCH), at, LIMIT, expiry::never_shorter(bench, layout)).await;
    } else {
        report.leave_out(("touch never shortens", TOUCH), at, "the store says: last write wins");
    }
    report.check(("far future", ABSENT), at, LIMIT, expiry::far_future(bench, layout)).await;
    report.check(("rotate", ROTATE), at, LIMIT, moves::rotate(bench, layout)).await;
    report.check(("rotate refused", ROTATE), at, LIMIT, moves::refused(bench, layout)).await;
    report.check(("bytes", OPAQUE), at, LIMIT, values::bytes(bench, layout)).await;
    report.check(("nodes agree", NODES_AGREE), at, LIMIT, values::nodes_agree(bench, layout)).await;
    report.check(("batch", OPAQUE), at, LIMIT, values::batch(bench, layout)).await;
}

/// The checks in which many writers on several nodes act at the same time.
async fn at_once<S: Store>(bench: &Bench<S>, layout: Layout, report: &mut Report) {
    let at = Some(layout);
    if bench.store().guarantee() == Guarantee::LastWriteWins {
        for name in
            ["race: counter", "race: create", "race: destroy", "race: rotate", "race: touch", "race: read"]
        {
            report.leave_out((name, ATOMIC), at, "the store says: last write wins");
        }
        return;
    }
    report.check(("race: counter", ATOMIC), at, LIMIT, races::counter(bench, layout)).await;
    report.check(("race: create", ATOMIC), at, LIMIT, races::create(bench, layout)).await;
    report.check(("race: destroy", ATOMIC), at, LIMIT, races::destroy(bench, layout)).await;
    report.check(("race: rotate", ATOMIC), at, LIMIT, races::rotate(bench, layout)).await;
    report.check(("race: touch", TOUCH), at, LIMIT, races::touch(bench, layout)).await;
    report.check(("race: read", ATOMIC), at, LIMIT, races::read(bench, layout)).await;
}

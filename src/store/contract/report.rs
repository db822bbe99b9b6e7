//! What the suite found.

use std::{fmt, time::Duration};

use crate::store::{Layout, StoreError};

/// Why a check did not hold, in a sentence.
#[derive(Debug)]
pub(super) struct Broken(pub(super) String);

pub(super) type Verdict<T = ()> = Result<T, Broken>;

impl From<StoreError> for Broken {
    fn from(error: StoreError) -> Self {
        Self(format!("an error came where the contract has an answer: {error}"))
    }
}

/// The check goes on if `holds`; otherwise it ends with this complaint.
pub(super) fn ensure(holds: bool, complaint: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(Broken(complaint())) }
}

/// How one check went.
#[derive(Debug)]
struct Outcome {
    name: &'static str,
    rule: &'static str,
    layout: Option<Layout>,
    verdict: Result<(), Reason>,
}

#[derive(Debug)]
enum Reason {
    Broken(String),
    LeftOut(&'static str),
}

/// The checks of one run: which held, which did not, which were left out and why.
///
/// Its `Display` lists them, one line for each that held, and for each that did not the rule of the
/// contract and what was seen instead.
#[derive(Debug)]
pub struct Report {
    store: &'static str,
    outcomes: Vec<Outcome>,
}

impl Report {
    pub(super) const fn new(store: &'static str) -> Self {
        Self { store, outcomes: Vec::new() }
    }

    /// Runs one check, with an end to waiting: a store that hangs is a store that fails.
    pub(super) async fn check(
        &mut self,
        (name, rule): (&'static str, &'static str),
        layout: Option<Layout>,
        limit: Duration,
        check: impl Future<Output = Verdict> + Send,
    ) {
        let verdict = match tokio::time::timeout(limit, check).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(Broken(seen))) => Err(Reason::Broken(seen)),
            Err(_) => Err(Reason::Broken(format!("it was not through after {} s", limit.as_secs()))),
        };
        self.outcomes.push(Outcome { name, rule, layout, verdict });
    }

    pub(super) fn leave_out(
        &mut self,
        (name, rule): (&'static str, &'static str),
        layout: Option<Layout>,
        why: &'static str,
    ) {
        self.outcomes.push(Outcome { name, rule, layout, verdict: Err(Reason::LeftOut(why)) });
    }

    /// The names of the checks that held in every layout they ran in.
    #[must_use]
    pub fn passed(&self) -> Vec<&'static str> {
        let failed = self.failed();
        self.names(|verdict| verdict.is_ok()).into_iter().filter(|name| !failed.contains(name)).collect()
    }

    /// The names of the checks that did not hold. Empty: the store keeps the contract.
    #[must_use]
    pub fn failed(&self) -> Vec<&'static str> {
        self.names(|verdict| matches!(verdict, Err(Reason::Broken(_))))
    }

    /// The names of the checks that were left out in some layout, since the store does not promise what
    /// they check or the run has no means to check it. The `Display` gives the reasons.
    #[must_use]
    pub fn left_out(&self) -> Vec<&'static str> {
        self.names(|verdict| matches!(verdict, Err(Reason::LeftOut(_))))
    }

    fn names(&self, which: impl Fn(&Result<(), Reason>) -> bool) -> Vec<&'static str> {
        let mut names = Vec::new();
        for outcome in self.outcomes.iter().filter(|outcome| which(&outcome.verdict)) {
            if !names.contains(&outcome.name) {
                names.push(outcome.name);
            }
        }
        names
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let broken = self.outcomes.iter().filter(|o| matches!(o.verdict, Err(Reason::Broken(_)))).count();
        let word = if broken == 0 { "keeps" } else { "breaks" };
        write!(f, "the store `{}` {word} the contract of `axum_generic_session::store`", self.store)?;
        writeln!(f, " ({broken} of {} checks failed)", self.outcomes.len())?;
        for outcome in &self.outcomes {
            let layout = match outcome.layout {
                None => String::new(),
                Some(layout) => format!(" (Layout::{layout:?})"),
            };
            let name = outcome.name;
            match &outcome.verdict {
                Ok(()) => writeln!(f, "  held      {name}{layout}")?,
                Err(Reason::LeftOut(why)) => writeln!(f, "  left out  {name}{layout}: {why}")?,
                Err(Reason::Broken(seen)) => {
                    writeln!(f, "  BROKEN    {name}{layout}")?;
                    writeln!(f, "              the rule: {}", outcome.rule)?;
                    writeln!(f, "              was seen: {seen}")?;
                }
            }
        }
        Ok(())
    }
}

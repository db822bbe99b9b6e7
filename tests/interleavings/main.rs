//! Every order in which the store calls of two (or three) requests can interleave, one run for each.
//!
//! The requests run for real, each on a node of its own. Their store calls wait for a schedule that lets one call
//! through at a time; schedules are enumerated until none is left. Whatever the order, the end must be one that the
//! requests could have reached one after the other, those that were refused with 409 left out.
#![cfg(all(feature = "memory-store", feature = "testing"))]

#[path = "../figures/mod.rs"]
mod figures;
mod random;
mod run;
#[path = "../site/mod.rs"]
mod site;

use figures::Figure;
use run::{Kind, Outcome, run};
use std::collections::{BTreeMap, HashMap};

/// All runs of these requests, in every order of their calls.
async fn all_runs(kind: Kind, requests: &BTreeMap<usize, &str>) -> Vec<(Outcome, Vec<usize>)> {
    let (mut runs, mut schedule) = (Vec::new(), Vec::new());
    loop {
        let (outcome, mut choices) =
            run(kind, requests, |step, _| schedule.get(step).copied().unwrap_or(0)).await;
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

/// Knows what requests come to one after the other, in each order.
#[derive(Default)]
struct Judge {
    known: HashMap<Vec<&'static str>, Vec<Outcome>>,
}

impl Judge {
    /// Why no serial order of the requests explains what came of them; `None` if one does.
    async fn objection(&mut self, paths: &[&'static str], outcome: &Outcome) -> Option<String> {
        let served: Vec<usize> =
            outcome.effects.iter().filter(|(_, e)| e.status == 200).map(|(n, _)| *n).collect();
        let ends = paths.iter().any(|path| ENDS.contains(path));
        if outcome.effects.values().any(|e| e.status != 200 && (e.status != 409 || !ends)) {
            return Some(format!("{paths:?}: refused without need: {outcome:#?}"));
        }
        let of_served: Vec<_> = served.iter().map(|n| paths[*n]).collect();
        if !self.known.contains_key(&of_served) {
            let outcomes = one_after_the_other(&of_served).await;
            self.known.insert(of_served.clone(), outcomes);
        }
        let effects = served.iter().enumerate().map(|(place, n)| (place, outcome.effects[n].clone()));
        let seen = Outcome { effects: effects.collect(), ..outcome.clone() };
        (!self.known[&of_served].contains(&seen)).then(|| format!("{paths:?}: {outcome:#?}"))
    }
}

async fn one_after_the_other(paths: &[&str]) -> Vec<Outcome> {
    // A schedule that always lets the lowest number through is a serial run; so number them in each order.
    let mut outcomes = Vec::new();
    for order in orders(&(0..paths.len()).collect::<Vec<_>>()) {
        let renumbered = order.iter().enumerate().map(|(place, n)| (place, paths[*n])).collect();
        let (outcome, _) = run(Kind::Atomic, &renumbered, |_, _| 0).await;
        let effects = outcome.effects.into_iter().map(|(place, effect)| (order[place], effect)).collect();
        outcomes.push(Outcome { effects, ..outcome });
    }
    outcomes
}

/// The first run, if there is one, whose outcome no serial order explains.
async fn unexplained(kind: Kind, paths: &[&'static str]) -> (usize, Option<String>) {
    let requests: BTreeMap<_, _> = paths.iter().copied().enumerate().collect();
    let runs = all_runs(kind, &requests).await;
    let mut judge = Judge::default();
    for (outcome, schedule) in &runs {
        if let Some(objection) = judge.objection(paths, outcome).await {
            return (runs.len(), Some(format!("{schedule:?}: {objection}")));
        }
    }
    (runs.len(), None)
}

/// Requests after which the id of the beginning opens nothing.
const ENDS: [&str; 6] = ["/logout", "/renew", "/login/bob", "/regenerate", "/anew", "/flash"];
const OTHERS: [&str; 7] =
    ["/read", "/set/a/1", "/set/b/2", "/set/user/carol", "/remove/user", "/replace", "/transact/1"];

/// A removal beats an edit, also one that moves to a new id: nobody is logged in, the safe side.
fn is_left_out(paths: &[&str]) -> bool {
    paths.contains(&"/login/bob") && ["/remove/user", "/replace"].iter().any(|path| paths.contains(path))
}

#[tokio::test(start_paused = true)]
async fn two_requests_in_every_order_of_their_calls() {
    let paths = [&ENDS[..], &OTHERS[..]].concat();
    let figure = Figure::of("B18", "two requests");
    let mut total = 0;
    for kind in [Kind::Atomic, Kind::Stepwise] {
        for (n, first) in paths.iter().enumerate() {
            for second in &paths[n..] {
                if is_left_out(&[first, second]) {
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

//! Four requests at one time: too many orders to go through, so random ones, each from a seed of its own.

use std::{collections::BTreeMap, env, thread};

use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};
use tokio::runtime::Builder;

use crate::{
    ENDS, Judge, OTHERS,
    figures::{Figure, size},
    is_left_out,
    run::{Kind, run},
};

const REQUESTS: usize = 4;
/// So many seeds in a row are about the same requests: what these may come to is found out once.
const IN_A_ROW: u64 = 50;

/// The four requests of a seed.
fn requests_of(seed: u64) -> Vec<&'static str> {
    let mut random = StdRng::seed_from_u64(seed / IN_A_ROW);
    let pages = [&ENDS[..], &OTHERS[..]].concat();
    loop {
        let mut paths: Vec<_> = (0..REQUESTS).map(|_| *pages.choose(&mut random).unwrap()).collect();
        paths.sort_unstable();
        if !is_left_out(&paths) {
            return paths;
        }
    }
}

/// Lets the calls of a seed's requests through in the order of this seed. What no serial order explains.
async fn objection_to(seed: u64, kind: Kind, judge: &mut Judge) -> Option<String> {
    let mut random = StdRng::seed_from_u64(seed);
    let paths = requests_of(seed);
    let requests: BTreeMap<_, _> = paths.iter().copied().enumerate().collect();
    let (outcome, _) = run(kind, &requests, |_, waiting| random.gen_range(0..waiting)).await;
    let objection = judge.objection(&paths, &outcome).await?;
    Some(format!("AGS_SEED={seed} shows it again: {kind:?}, {objection}"))
}

/// How many of these seeds met an objection, and the first one.
fn objections(seeds: impl Iterator<Item = u64>, kind: impl Fn(u64) -> Kind) -> (usize, Option<String>) {
    let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let (mut count, mut first, mut judge) = (0, None, Judge::default());
        for seed in seeds {
            if let Some(objection) = objection_to(seed, kind(seed), &mut judge).await {
                count += 1;
                first.get_or_insert(objection);
            }
        }
        (count, first)
    })
}

#[test]
fn four_requests_in_random_orders_of_their_calls() {
    let figure = Figure::of("B18", "four requests");
    let first = env::var("AGS_SEED").map_or(0, |seed| seed.parse().expect("AGS_SEED is a number"));
    let sets = size(60, 1_000_000 / IN_A_ROW as usize) as u64;
    let kind = |seed| if seed % 2 == 0 { Kind::Atomic } else { Kind::Stepwise };
    let threads = thread::available_parallelism().map_or(1, usize::from) as u64;
    let violations: Vec<_> = thread::scope(|scope| {
        let parts = (0..threads).map(|part| {
            let sets = (part..sets).step_by(threads as usize);
            let seeds = sets.flat_map(move |set| (0..IN_A_ROW).map(move |n| first + set * IN_A_ROW + n));
            scope.spawn(move || objections(seeds, kind))
        });
        let parts: Vec<_> = parts.collect();
        parts.into_iter().filter_map(|part| part.join().unwrap().1).collect()
    });
    assert!(violations.is_empty(), "{}", violations.join("\n"));
    figure.count("schedules", (sets * IN_A_ROW) as usize).count("violations", 0).report();
}

/// The control: the same schedules over a store that ignores conditions.
#[test]
fn the_control_without_conditions_is_found_out_by_random_orders() {
    let figure = Figure::of("control", "four requests");
    let count = 10 * IN_A_ROW;
    let (found, _) = objections(0..count, |_| Kind::Careless);
    figure.count("schedules", count as usize).count("violations", found).report();
    assert!(found as u64 * 10 > count, "only {found} of {count} schedules were found out");
}

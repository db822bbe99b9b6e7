//! Browsers under way while their store is killed, cut off and frozen: what was acknowledged is there, what was refused is
//! not, what has ended stays so, and nobody hangs.
//!
//! `AGS_SECONDS=1800 cargo test --release --all-features --test soak -- --nocapture --test-threads 1` for a long one.
#![cfg(all(
    feature = "sqlite-store",
    feature = "redis-store",
    feature = "postgres-store",
    feature = "mysql-store",
    feature = "testing"
))]
#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

mod browser;
mod engines;
#[path = "../figures/mod.rs"]
mod figures;
#[path = "../servers/mod.rs"]
mod servers;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use axum::Router;
use browser::{Browser, Counts};
use engines::Engine;
use figures::{Figure, seconds, size};
use tokio::task::JoinSet;

/// What two nodes serve; a fault may replace a node by a new one over the same engine.
pub type Nodes = Arc<Mutex<[Router; 2]>>;

async fn soak(engine: impl Engine) {
    let all = run("B8", engine).await;
    assert_eq!((all.lost, all.invented, all.returned), (0, 0, 0));
}

/// The load, the faults, and what the browsers have found at the end.
async fn run(bar: &str, mut engine: impl Engine) -> Counts {
    let figure = Figure::of(bar, engine.name());
    let nodes: Nodes = Arc::new(Mutex::new([engine.node().await, engine.node().await]));
    let stop = Arc::new(AtomicBool::new(false));
    let mut running = JoinSet::new();
    for number in 0..size(12, 24) {
        running.spawn(Browser::new(nodes.clone(), number).until(stop.clone()));
    }
    let end = Instant::now() + seconds(5, 300);
    let every = Duration::from_millis(size(700, 5000) as u64);
    let mut faults = 0;
    while Instant::now() < end {
        tokio::time::sleep(every).await;
        engine.fault(faults, &nodes).await;
        faults += 1;
    }
    stop.store(true, SeqCst);
    let mut browsers = Vec::new();
    while let Some(browser) = running.join_next().await {
        browsers.push(browser.expect("no panic"));
    }
    engine.settle(&nodes).await;
    let mut all = Counts::default();
    let mut verifying: JoinSet<_> = browsers.into_iter().map(Browser::verify).collect();
    while let Some(found) = verifying.join_next().await {
        all.add(found.expect("no panic"));
    }
    figure
        .count("requests", all.requests)
        .count("faults", faults)
        .count("acknowledged", all.acknowledged)
        .count("refused_5xx", all.failed)
        .count("slowest_ms", usize::try_from(all.slowest.as_millis()).expect("a while"))
        .count("asked_again", all.asked_again)
        .count("lost", all.lost)
        .count("came_from_nowhere", all.invented)
        .count("returned", all.returned)
        .report();
    assert!(all.acknowledged > 0 && faults > 0, "nothing was tested");
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn redis() {
    soak(engines::OverRedis::start().await).await;
}

/// The control: an engine that a crash empties must be found out.
#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_forgets_is_found_out() {
    let all = run("control", engines::OverRedis::that_forgets().await).await;
    assert!(all.lost > 0, "the crashes of this test destroy nothing, or nobody looks: {all:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres() {
    soak(engines::OverPostgres::start().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb() {
    soak(engines::OverMariaDb::start().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite() {
    soak(engines::OverSqlite::start()).await;
}

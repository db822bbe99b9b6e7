//! Sweeping: bounded batches, only the dead, whatever the session's time zone, for as long as it is wanted.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use axum_generic_session::Store;

use super::{Engine, SqlStore};
use crate::kit::{eventually, living, load::short_lives, soon, stored};

const SOON: Duration = Duration::from_secs(20 * 60);

/// The trap: a moment that goes through local time deletes live sessions west of Greenwich and keeps dead ones east
/// of it. Sessions that end within the hour are alive in every zone.
pub async fn the_time_zone_of_the_session_has_no_part_in_it<E: Engine>(zones: &[&str]) {
    let server = E::shared();
    for (number, zone) in zones.iter().enumerate() {
        let store = server.store_with(&format!("zone_{number}"), zone).await;
        let (live, record) = stored(&store, living(SOON, "live")).await;
        for _ in 0..3 {
            stored(&store, living(Duration::ZERO, "dead")).await;
        }
        assert_eq!(store.sweep(100).await.unwrap(), 3, "{zone}");
        assert_eq!(store.get(&live).await.unwrap(), Some(record), "{zone}");
    }
}

pub async fn a_sweep_is_a_bounded_batch<E: Engine>() {
    let server = E::shared();
    let store = server.store("batch").await;
    for _ in 0..25 {
        stored(&store, living(Duration::ZERO, "dead")).await;
    }
    stored(&store, living(SOON, "live")).await;
    let mut swept = Vec::new();
    for _ in 0..4 {
        swept.push(store.sweep(10).await.unwrap());
    }
    assert_eq!(swept, [10, 10, 5, 0]);
    assert_eq!(server.rows("batch").await, 1);
}

pub async fn four_sweepers_beside_writers_take_no_live_session<E: Engine>(zones: [&str; 4]) {
    let server = E::shared();
    let mut sweepers = Vec::new();
    for zone in zones {
        let node = server.store_with("beside", zone).await;
        sweepers.push(node.sweep_every(Duration::from_millis(10)));
    }
    let store = Arc::new(server.store("beside").await);
    let counts = short_lives(&store, 16, 12).await;
    assert_eq!(counts.live_lost.load(Ordering::SeqCst), 0, "{counts:?}");
    assert_eq!(counts.dead_served.load(Ordering::SeqCst), 0, "{counts:?}");
    let kept = counts.kept.load(Ordering::SeqCst);
    eventually("the dead are swept", async || server.rows("beside").await == kept).await;
    for sweeper in sweepers {
        soon("stop", sweeper.stop()).await;
    }
}

pub async fn a_sweeper_goes_on_until_it_is_dropped_or_stopped<E: Engine>() {
    let server = E::shared();
    let store = server.store("until").await;
    let sweeper = store.sweep_every(Duration::from_millis(10));
    for _ in 0..600 {
        stored(&store, living(Duration::ZERO, "dead")).await;
    }
    eventually("more than one batch is swept", async || server.rows("until").await == 0).await;
    soon("stop", sweeper.stop()).await;
    stored(&store, living(Duration::ZERO, "dead")).await;
    drop(store.sweep_every(Duration::from_millis(1)));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(server.rows("until").await, 1);
}

//! Sweeping: bounded batches, only the dead, whatever the session's time zone, for as long as it is wanted.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use axum_generic_session::{Store, store::PostgresStore};
use sqlx::Row;

use super::{
    kit::{eventually, living, load::short_lives, soon, stored},
    servers::postgres::Postgres,
    store, store_with,
    traps::other,
};

const ZONES: [&str; 5] = ["UTC", "America/New_York", "Asia/Tokyo", "Pacific/Kiritimati", "Etc/GMT+12"];
const SOON: Duration = Duration::from_secs(20 * 60);

async fn rows(server: &Postgres, schema: &str) -> i64 {
    let sql: &'static str = format!("SELECT count(*) FROM {schema}.axum_sessions").leak();
    sqlx::query(sql).fetch_one(&mut other(server).await).await.unwrap().get(0)
}

/// The trap: `timestamptz < now() at time zone 'utc'` deletes live sessions west of Greenwich and keeps dead
/// ones east of it. Sessions that end within the hour are alive in every zone.
#[tokio::test]
async fn the_time_zone_of_the_session_has_no_part_in_it() {
    let server = Postgres::shared();
    for (number, zone) in ZONES.into_iter().enumerate() {
        let store = store_with(server.port(), &format!("zone_{number}"), &[("TimeZone", zone)]).await;
        let (live, record) = stored(&store, living(SOON, "live")).await;
        for _ in 0..3 {
            stored(&store, living(Duration::ZERO, "dead")).await;
        }
        assert_eq!(store.sweep(100).await.unwrap(), 3, "{zone}");
        assert_eq!(store.get(&live).await.unwrap(), Some(record), "{zone}");
    }
}

#[tokio::test]
async fn a_sweep_is_a_bounded_batch() {
    let server = Postgres::shared();
    let store = store(&server, "batch").await;
    for _ in 0..25 {
        stored(&store, living(Duration::ZERO, "dead")).await;
    }
    stored(&store, living(SOON, "live")).await;
    let mut swept = Vec::new();
    for _ in 0..4 {
        swept.push(store.sweep(10).await.unwrap());
    }
    assert_eq!(swept, [10, 10, 5, 0]);
    assert_eq!(rows(&server, "batch").await, 1);
}

/// A session whose writer has its row locked at the moment of the sweep is left for the next one.
#[tokio::test]
async fn a_row_that_is_being_written_is_not_waited_for() {
    let server = Postgres::shared();
    let store = store(&server, "busy").await;
    let (held, _) = stored(&store, living(Duration::ZERO, "dead")).await;
    stored(&store, living(Duration::ZERO, "dead")).await;
    let mut other =
        super::traps::locked(&server, "busy", &held, axum_generic_session::store::Tag::random()).await;
    assert_eq!(soon("sweep", store.sweep(10)).await.unwrap(), 1);
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    assert_eq!(store.sweep(10).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn four_sweepers_beside_writers_take_no_live_session() {
    let server = Postgres::shared();
    let mut sweepers = Vec::new();
    for zone in &ZONES[1..] {
        let node = store_with(server.port(), "beside", &[("TimeZone", zone)]).await;
        sweepers.push(node.sweep_every(Duration::from_millis(10)));
    }
    let store = Arc::new(store(&server, "beside").await);
    let counts = short_lives(&store, 16, 12).await;
    assert_eq!(counts.live_lost.load(Ordering::SeqCst), 0, "{counts:?}");
    assert_eq!(counts.dead_served.load(Ordering::SeqCst), 0, "{counts:?}");
    let kept = counts.kept.load(Ordering::SeqCst) as i64;
    eventually("the dead are swept", async || rows(&server, "beside").await == kept).await;
    for sweeper in sweepers {
        soon("stop", sweeper.stop()).await;
    }
}

#[tokio::test]
async fn a_sweeper_goes_on_until_it_is_dropped_or_stopped() {
    let server = Postgres::shared();
    let store: PostgresStore = store(&server, "until").await;
    let sweeper = store.sweep_every(Duration::from_millis(10));
    for _ in 0..600 {
        stored(&store, living(Duration::ZERO, "dead")).await;
    }
    eventually("more than one batch is swept", async || rows(&server, "until").await == 0).await;
    soon("stop", sweeper.stop()).await;
    stored(&store, living(Duration::ZERO, "dead")).await;
    drop(store.sweep_every(Duration::from_millis(1)));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(rows(&server, "until").await, 1);
}

//! The server away, killed, and back.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum_generic_session::{
    Store,
    store::{Applied, StoreErrorKind, When},
};

use super::{Engine, SqlStore, impatient};
use crate::{
    figures::{Figure, faults},
    kit::{eventually, history::History, kind, living, record, soon, stored},
};

/// A store that says soon that nobody is there.
fn store_on<E: Engine>(server: &E, place: &str) -> E::Store {
    E::store_on(impatient(E::pool(server.port(), 8, ""), Duration::from_secs(1)), place)
}

pub async fn a_server_that_is_away_is_unavailable_and_nothing_has_to_be_restarted<E: Engine>() {
    let mut server = E::start(&[]);
    let store = store_on(&server, "away");
    store.migrate().await.unwrap();
    let sweeper = store.sweep_every(Duration::from_millis(10));
    let (figure, mut slowest) = (Figure::of("B11", E::NAME), Duration::ZERO);
    for outage in 0..3 {
        let (kept, first) = stored(&store, record("kept")).await;
        server.kill();
        let answer = soon("set", store.set(&kept, &record("x"), When::Tagged(first.tag))).await;
        assert!(matches!(kind(answer), StoreErrorKind::Unavailable(_)), "{outage}");
        let answer = soon("get", store.get(&kept)).await;
        assert_eq!(kind(answer), StoreErrorKind::Unavailable(Applied::No), "{outage}");
        assert!(matches!(kind(soon("destroy", store.destroy(&kept)).await), StoreErrorKind::Unavailable(_)));
        server.restart();
        let up = Instant::now();
        eventually("it answers again", async || store.get(&kept).await.is_ok()).await;
        slowest = slowest.max(up.elapsed());
        assert!(store.get(&kept).await.unwrap().is_some());
        // The sweeper has lived through it.
        let (dead, _) = stored(&store, living(Duration::ZERO, "dead")).await;
        let (table, id) = (E::table("away"), E::bytes(&dead.digest()));
        let left = format!("SELECT count(*) FROM {table} WHERE id = {id}");
        eventually("it is swept", async || server.number(&left).await == 0).await;
    }
    figure.count("outages", 3).count("back_after_ms", slowest.as_millis() as usize).report();
    drop(sweeper);
}

pub async fn every_acknowledged_write_survives_kill_9<E: Engine>() {
    let mut server = E::start(&[]);
    let figure = Figure::of("B9", E::NAME);
    let (mut histories, mut slowest) = (Vec::new(), Duration::ZERO);
    let kills = faults(4, 200);
    server.store("durable").await;
    for round in 0..kills {
        let history = Arc::new(History::default());
        let mut writers = tokio::task::JoinSet::new();
        for _ in 0..8 {
            writers.spawn(Arc::clone(&history).write(store_on(&server, "durable")));
        }
        let enough = 300 + 50 * (round % 4);
        eventually("they have written", async || history.acknowledged() >= enough).await;
        server.kill();
        history.end();
        while let Some(done) = soon("the writers end", writers.join_next()).await {
            done.expect("a writer");
        }
        let down = Instant::now();
        server.restart();
        slowest = slowest.max(down.elapsed());
        history.verify(&server.store("durable").await).await;
        histories.push(history);
    }
    // Nor has a later crash taken what was there after an earlier one.
    let (store, mut acknowledged) = (server.store("durable").await, 0);
    for history in histories {
        history.verify(&store).await;
        acknowledged += history.acknowledged();
    }
    figure
        .count("kills", kills)
        .count("acknowledged", acknowledged)
        .count("lost", 0)
        .count("server_up_after_ms", slowest.as_millis() as usize)
        .report();
}

//! A model of sessions beside real ones: random lives of several browsers, step by step. A sequence on which the two
//! differ shrinks to the shortest that does.
#![cfg(all(
    feature = "memory-store",
    feature = "sqlite-store",
    feature = "redis-store",
    feature = "postgres-store",
    feature = "mysql-store",
    feature = "testing"
))]
#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

#[path = "../figures/mod.rs"]
mod figures;
mod reference;
#[path = "../servers/mod.rs"]
mod servers;
mod steps;
mod system;

use std::{
    cell::Cell,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
};

use axum_generic_session::{
    Clock, MemoryStore, MySqlStore, PostgresStore, RedisStore, SqliteStore, SystemClock, store::ByPrincipal,
    testing::ManualClock,
};
use figures::{Figure, size};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use proptest_state_machine::ReferenceStateMachine;
use reference::{Model, Step};
use servers::{
    mariadb::MariaDb,
    postgres::Postgres,
    redis::{Redis, RedisCluster},
};
use sqlx::{MySqlPool, PgPool};
use system::System;
use tokio::runtime::{Builder, Runtime};

/// The longest sequence.
const STEPS: usize = 60;

/// A model whose engine goes by its own clock.
struct Untimed;

impl ReferenceStateMachine for Untimed {
    type State = Model;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Model> {
        any::<(bool, bool)>().prop_map(|(rolling, keeps)| Model::new(rolling, keeps, false)).boxed()
    }

    fn transitions(state: &Model) -> BoxedStrategy<Step> {
        Model::transitions(state)
    }

    fn preconditions(state: &Model, step: &Step) -> bool {
        Model::preconditions(state, step)
    }

    fn apply(state: Model, step: &Step) -> Model {
        <Model as ReferenceStateMachine>::apply(state, step)
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Runs random sequences until so many steps have been taken.
fn compare<R, S>(engine: &str, steps: usize, runtime: &Runtime, open: impl Fn(Option<ManualClock>) -> S)
where
    R: ReferenceStateMachine<State = Model, Transition = Step>,
    R::State: 'static,
    S: ByPrincipal,
{
    let figure = Figure::of("B17", engine);
    let (taken, sequences) = (Cell::new(0), Cell::new(0));
    while taken.get() < steps {
        let config =
            Config { cases: 32, failure_persistence: None, max_shrink_iters: 2000, ..Config::default() };
        let tried =
            TestRunner::new(config).run(&R::sequential_strategy(1..STEPS), |(model, sequence, seen)| {
                let clock = model.timed.then(ManualClock::new);
                // An engine's own clock may be looked at, too.
                clock.iter().for_each(|clock| clock.set(SystemClock.now()));
                let mut system = System::new(open(clock.clone()), clock, &model);
                let mut model = model;
                for step in &sequence {
                    if let Some(seen) = &seen {
                        seen.fetch_add(1, SeqCst);
                    }
                    model = R::apply(model, step);
                    system.apply(runtime, &model, step);
                    taken.set(taken.get() + 1);
                }
                sequences.set(sequences.get() + 1);
                Ok(())
            });
        tried.unwrap_or_else(|difference| panic!("{engine} is not as the model: {difference}"));
    }
    figure.count("steps", taken.get()).count("sequences", sequences.get()).count("differences", 0).report();
}

#[test]
fn memory_is_as_the_model() {
    compare::<Model, _>("memory", size(5_000, 1_000_000), &runtime(), |clock| {
        MemoryStore::new().clock(clock.expect("a clock"))
    });
}

#[test]
fn sqlite_is_as_the_model() {
    let folder = tempfile::tempdir().unwrap();
    let number = AtomicUsize::new(0);
    compare::<Model, _>("SQLite", size(1_000, 50_000), &runtime(), |clock| {
        // A file for each sequence: the clock of each stands elsewhere.
        let file = format!("model_{}.db", number.fetch_add(1, SeqCst));
        SqliteStore::builder(folder.path().join(file)).clock(clock.expect("a clock")).open().unwrap()
    });
}

#[test]
fn redis_is_as_the_model() {
    let (redis, runtime) = (Redis::start(), runtime());
    let store = runtime.block_on(RedisStore::connect(&redis.url())).unwrap();
    compare::<Untimed, _>("Redis", size(1_000, 50_000), &runtime, |_| store.clone());
}

/// Where a session and its owner's list lie on different nodes.
#[test]
fn cluster_is_as_the_model() {
    let (cluster, runtime) = (RedisCluster::start(), runtime());
    let store = runtime.block_on(RedisStore::cluster(cluster.urls()).connect()).unwrap();
    compare::<Untimed, _>("Redis Cluster", size(600, 50_000), &runtime, |_| store.clone());
}

#[test]
fn postgres_is_as_the_model() {
    let (server, runtime) = (Postgres::shared(), runtime());
    let store = runtime.block_on(async {
        let store = PostgresStore::new(PgPool::connect(&server.url()).await.unwrap());
        store.migrate().await.unwrap();
        store
    });
    compare::<Untimed, _>("PostgreSQL", size(600, 50_000), &runtime, |_| store.clone());
}

#[test]
fn mariadb_is_as_the_model() {
    let (server, runtime) = (MariaDb::shared(), runtime());
    let store = runtime.block_on(async {
        let store = MySqlStore::new(MySqlPool::connect(&server.url()).await.unwrap());
        store.migrate().await.unwrap();
        store
    });
    compare::<Untimed, _>("MariaDB", size(600, 50_000), &runtime, |_| store.clone());
}

//! Several nodes of one site over one engine: no update is lost, and no session comes back.
//!
//! The same requests for every engine, with a control: a store that ignores the conditions of writes, as most session
//! stores do, must lose updates and bring sessions back under them, or they would prove nothing.
#![cfg(all(
    feature = "memory-store",
    feature = "sqlite-store",
    feature = "redis-store",
    feature = "postgres-store",
    feature = "mysql-store",
    feature = "testing"
))]
#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

mod control;
mod engines;
#[path = "../figures/mod.rs"]
mod figures;
mod returns;
#[path = "../servers/mod.rs"]
mod servers;
mod site;
mod updates;

use std::{future::Future, sync::Arc};

use tokio::{sync::Semaphore, task::JoinSet};

/// Runs a round so many times, some at once, and adds up what they counted.
async fn rounds<const N: usize, F>(count: usize, round: impl Fn(usize) -> F) -> [usize; N]
where
    F: Future<Output = [usize; N]> + Send + 'static,
{
    const AT_ONCE: usize = 24;
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut running = JoinSet::new();
    let mut sums = [0; N];
    let mut add = |done: Result<[usize; N], _>| {
        for (sum, one) in sums.iter_mut().zip(done.expect("a round")) {
            *sum += one;
        }
    };
    for number in 0..count {
        let place = places.clone().acquire_owned().await.expect("a place");
        let round = round(number);
        running.spawn(async move {
            let counted = round.await;
            drop(place);
            counted
        });
        while let Some(done) = running.try_join_next() {
            add(done);
        }
    }
    while let Some(done) = running.join_next().await {
        add(done);
    }
    sums
}

macro_rules! on_each_engine {
    ($($engine:ident)+) => {$(
        mod $engine {
            use crate::{control, engines::Engine, returns, updates};

            #[tokio::test(flavor = "multi_thread")]
            async fn no_update_of_another_key_is_lost() {
                updates::of_different_keys(&Engine::$engine()).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn no_increment_is_lost() {
                updates::of_one_counter(&Engine::$engine()).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn every_writer_of_a_hot_session_gets_through() {
                updates::of_a_hot_session(&Engine::$engine()).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn a_session_that_was_logged_out_does_not_return() {
                returns::after_logout(&Engine::$engine()).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn a_session_that_has_ended_otherwise_does_not_return() {
                returns::after_other_ends(&Engine::$engine()).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn a_cookie_from_before_the_logout_opens_nothing() {
                returns::cookies_after_logout(&Engine::$engine()).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn a_store_without_conditions_fails_these_tests() {
                control::loses_and_revives(&Engine::$engine().careless()).await;
            }
        }
    )+};
}

on_each_engine!(memory sqlite redis cached postgres mariadb);

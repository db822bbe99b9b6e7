//! Sessions in PostgreSQL: what every engine of SQL must pass, and what is its own.
#![cfg(all(feature = "postgres-store", feature = "store-contract"))]
#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

mod engine;
mod faults;
#[path = "../figures/mod.rs"]
mod figures;
mod hands;
#[path = "../kit/mod.rs"]
mod kit;
mod migrate;
mod partitions;
#[path = "../servers/mod.rs"]
mod servers;
#[path = "../sql/mod.rs"]
mod sql;
mod sweeps;
mod traps;

use axum_generic_session::store::{StoreErrorKind, contract::Contract};
use servers::postgres::Postgres;
use sql::Engine;

const UTC: &str = "SET TimeZone = 'UTC'";
const NEW_YORK: &str = "SET TimeZone = 'America/New_York'";
const TOKYO: &str = "SET TimeZone = 'Asia/Tokyo'";
const EARLIEST: &str = "SET TimeZone = 'Pacific/Kiritimati'";
const LATEST: &str = "SET TimeZone = 'Etc/GMT+12'";

sql::tests! { Postgres:
    contract::keeps_the_contract(),
    contract::finds_sessions_by_their_principal(),
    doubt::a_write_whose_answer_was_lost_is_recognised(),
    doubt::a_lost_write_that_others_have_built_on_is_in_doubt_not_in_conflict(),
    doubt::a_lost_write_to_a_session_that_was_ended_meanwhile_is_in_doubt(),
    doubt::a_request_that_was_lost_is_sent_again(),
    doubt::an_answer_that_stays_lost_is_in_doubt(),
    doubt::a_connection_killed_in_mid_query_is_replaced(|id| format!("SELECT pg_terminate_backend({id})")),
    faults::a_lock_that_is_held_too_long_is_unavailable_and_changes_nothing("SET lock_timeout = '50ms'"),
    faults::a_deadlock_is_tried_again(
        "SET deadlock_timeout = '300ms'",
        "SET deadlock_timeout = '50s'",
        async |server| server.log().matches("deadlock detected").count() as i64
    ),
    faults::an_exhausted_pool_is_unavailable_and_recovers(),
    faults::a_full_disk_is_told_and_logout_works(
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE 'No space left on device' USING ERRCODE = '53100'; END $$;
        CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON full_disk.axum_sessions
            FOR EACH ROW EXECUTE FUNCTION full_disk()"
    ),
    faults::a_statement_timeout_is_unavailable_and_certainly_not_applied("SET statement_timeout = '100ms'"),
    faults::what_was_not_written_by_a_store_is_corrupt(),
    faults::errors_do_not_quote_the_session(StoreErrorKind::Misconfigured, "check constraint"),
    migrate::eight_nodes_may_migrate_at_once_and_again("SELECT count(*) FROM pg_indexes WHERE schemaname ="),
    migrate::without_migrate_the_error_names_it("does not exist"),
    migrate::what_an_administrator_has_made_needs_no_right_to_make_it(
        "CREATE ROLE worker LOGIN; GRANT USAGE ON SCHEMA made TO worker;
        GRANT SELECT, INSERT, UPDATE, DELETE ON made.axum_sessions TO worker"
    ),
    migrate::a_missing_right_is_told_as_such(
        "CREATE ROLE reader LOGIN; GRANT USAGE ON SCHEMA reader TO reader;
        GRANT SELECT ON reader.axum_sessions TO reader"
    ),
    outages::a_server_that_is_away_is_unavailable_and_nothing_has_to_be_restarted(),
    outages::every_acknowledged_write_survives_kill_9(),
    owners::a_session_that_is_being_moved_does_not_escape(),
    sweeps::the_time_zone_of_the_session_has_no_part_in_it(&[UTC, NEW_YORK, TOKYO, EARLIEST, LATEST]),
    sweeps::a_sweep_is_a_bounded_batch(),
    sweeps::four_sweepers_beside_writers_take_no_live_session([NEW_YORK, TOKYO, EARLIEST, LATEST]),
    sweeps::a_sweeper_goes_on_until_it_is_dropped_or_stopped(),
    traps::a_refusal_brings_the_committed_record_not_the_stale_one(),
    traps::a_write_that_waited_for_a_logout_is_refused(),
    traps::ids_that_look_alike_are_two_sessions(""),
    traps::expiry_after_2038_and_to_the_second_of_the_servers_clock(),
    traps::every_call_is_one_statement_and_a_refused_write_two(
        &["log_statement=all", "fsync=off"],
        async |server| {
            let log = server.log();
            let ours = |line: &&str| line.contains("execute") && !line.contains("sqlx ping");
            log.lines().filter(ours).count() as i64
        }
    ),
}

/// The trap: the database's default isolation may be one at which an update that has waited fails.
#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract_where_transactions_are_serializable() {
    let server = Postgres::shared();
    let setting = format!("{}; {TOKYO}", Postgres::isolation("serializable"));
    Contract::new(|| server.store_with("serializable", &setting)).rounds(15).run().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract_where_reads_are_repeatable() {
    let server = Postgres::shared();
    let setting = format!("{}; {NEW_YORK}", Postgres::isolation("repeatable read"));
    Contract::new(|| server.store_with("repeatable", &setting)).rounds(15).run().await;
}

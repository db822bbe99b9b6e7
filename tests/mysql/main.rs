//! Sessions in MariaDB: what every engine of SQL must pass, and what is its own.
#![cfg(all(feature = "mysql-store", feature = "store-contract"))]
#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

mod engine;
mod faults;
#[path = "../figures/mod.rs"]
mod figures;
#[path = "../kit/mod.rs"]
mod kit;
mod migrate;
#[path = "../servers/mod.rs"]
mod servers;
#[path = "../sql/mod.rs"]
mod sql;
mod traps;

use axum_generic_session::store::{Applied, StoreErrorKind, contract::Contract};
use servers::mariadb::MariaDb;
use sql::Engine;

const ZONES: [&str; 4] = [
    "SET time_zone = 'SYSTEM'",
    "SET time_zone = '-12:00'",
    "SET time_zone = '+09:00'",
    "SET time_zone = '+13:00'",
];

sql::tests! { MariaDb:
    contract::keeps_the_contract(),
    contract::finds_sessions_by_their_principal(),
    doubt::a_write_whose_answer_was_lost_is_recognised(),
    doubt::a_lost_write_that_others_have_built_on_is_in_doubt_not_in_conflict(),
    doubt::a_lost_write_to_a_session_that_was_ended_meanwhile_is_in_doubt(),
    doubt::a_request_that_was_lost_is_sent_again(),
    doubt::an_answer_that_stays_lost_is_in_doubt(),
    doubt::a_connection_killed_in_mid_query_is_replaced(|id| format!("KILL {id}")),
    faults::a_lock_that_is_held_too_long_is_unavailable_and_changes_nothing(
        "SET SESSION innodb_lock_wait_timeout = 1"
    ),
    faults::a_deadlock_is_tried_again(
        "",
        "DO 0",
        async |server| server.number("SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'").await
    ),
    faults::an_exhausted_pool_is_unavailable_and_recovers(),
    faults::a_full_disk_is_told_and_logout_works(
        "CREATE TRIGGER full_disk BEFORE UPDATE ON full_disk FOR EACH ROW
            SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1114, MESSAGE_TEXT = 'The table is full'"
    ),
    faults::a_statement_timeout_is_unavailable_and_certainly_not_applied("SET SESSION max_statement_time = 0.1"),
    faults::what_was_not_written_by_a_store_is_corrupt(),
    faults::errors_do_not_quote_the_session(StoreErrorKind::Unavailable(Applied::Unknown), "CONSTRAINT"),
    migrate::eight_nodes_may_migrate_at_once_and_again(
        "SELECT count(DISTINCT index_name) FROM information_schema.statistics WHERE table_name ="
    ),
    migrate::without_migrate_the_error_names_it("doesn't exist"),
    migrate::what_an_administrator_has_made_needs_no_right_to_make_it(
        "CREATE USER worker@localhost; GRANT SELECT, INSERT, UPDATE, DELETE ON app.made TO worker@localhost"
    ),
    migrate::a_missing_right_is_told_as_such(
        "CREATE USER reader@localhost; GRANT SELECT ON app.reader TO reader@localhost"
    ),
    outages::a_server_that_is_away_is_unavailable_and_nothing_has_to_be_restarted(),
    outages::every_acknowledged_write_survives_kill_9(),
    owners::a_session_that_is_being_moved_does_not_escape(),
    sweeps::the_time_zone_of_the_session_has_no_part_in_it(&ZONES),
    sweeps::a_sweep_is_a_bounded_batch(),
    sweeps::four_sweepers_beside_writers_take_no_live_session(ZONES),
    sweeps::a_sweeper_goes_on_until_it_is_dropped_or_stopped(),
    traps::a_refusal_brings_the_committed_record_not_the_stale_one(),
    traps::a_write_that_waited_for_a_logout_is_refused(),
    traps::ids_that_look_alike_are_two_sessions("SET SESSION sql_mode = ''"),
    traps::expiry_after_2038_and_to_the_second_of_the_servers_clock(),
    traps::every_call_is_one_statement_and_a_refused_write_two(
        &["innodb_flush_log_at_trx_commit=0"],
        async |server| server.number("SHOW GLOBAL STATUS LIKE 'Com_stmt_execute'").await
    ),
}

/// The traps together: a session that is not strict, in another time zone, at each isolation level.
#[tokio::test(flavor = "multi_thread")]
async fn keeps_the_contract_whatever_the_session_is_set_to() {
    let server = MariaDb::shared();
    for setting in [
        "SET SESSION tx_isolation = 'SERIALIZABLE', sql_mode = '', time_zone = 'SYSTEM'",
        "SET SESSION tx_isolation = 'READ-COMMITTED', sql_mode = 'ANSI_QUOTES', time_zone = '+13:00'",
        "SET SESSION tx_isolation = 'READ-UNCOMMITTED', sql_mode = 'ORACLE', time_zone = '-12:00'",
    ] {
        Contract::new(|| server.store_with("hostile", setting)).rounds(15).run().await;
    }
}

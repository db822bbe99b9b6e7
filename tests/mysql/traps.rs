//! What the obvious statement, or the obvious column, gets wrong.

use std::time::Duration;

use axum_generic_session::{
    SessionId, Store, StoreKey, Timestamp,
    store::{MySqlStore, Record, StoreErrorKind, Tag, When, Written},
};
use sqlx::{Connection, MySqlConnection, Row};

use super::{
    kit::{HOUR, eventually, key as fresh, kind, living, record, soon, stored},
    pool_of,
    servers::mariadb::MariaDb,
    store, store_with,
};

/// A connection of another program.
pub(super) async fn other(server: &MariaDb) -> MySqlConnection {
    MySqlConnection::connect(&server.url()).await.unwrap()
}

/// One number, from SQL that names no value.
pub(super) async fn number(server: &MariaDb, sql: String) -> i64 {
    let sql: &'static str = sql.leak();
    let row = sqlx::query(sql).fetch_one(&mut other(server).await).await.unwrap();
    row.try_get::<i64, _>(0).unwrap_or_else(|_| row.get::<String, _>(1).parse().unwrap())
}

/// Another program's transaction that has changed, and so locked, a record.
pub(super) async fn locked(server: &MariaDb, table: &str, key: &StoreKey, tag: Tag) -> MySqlConnection {
    let mut other = other(server).await;
    sqlx::raw_sql("BEGIN").execute(&mut other).await.unwrap();
    let update: &'static str = format!("UPDATE {table} SET tag = ?, data = 'theirs' WHERE id = ?").leak();
    let tag = i64::from_be_bytes(*tag.as_bytes());
    let done = sqlx::query(update).bind(tag).bind(&key.digest()[..]).execute(&mut other).await.unwrap();
    assert_eq!(done.rows_affected(), 1);
    other
}

/// The connections whose statements on this table wait for a lock. From the engine's own report: the table
/// `innodb_trx` shows an old state for as long as somebody keeps looking at it.
pub(super) async fn waiters(server: &MariaDb, table: &str) -> Vec<u64> {
    let status =
        sqlx::raw_sql("SHOW ENGINE INNODB STATUS").fetch_one(&mut other(server).await).await.unwrap();
    let report: String = status.get(2);
    let transactions = report.split("---TRANSACTION");
    let waiting =
        transactions.filter(|text| text.contains("LOCK WAIT") && text.contains(&format!("`{table}`")));
    waiting
        .map(|text| {
            let (_, id) = text.split_once("thread id ").expect("whose it is");
            id.split(',').next().and_then(|id| id.parse().ok()).expect("a number")
        })
        .collect()
}

pub(super) async fn waiting(server: &MariaDb, table: &str) -> usize {
    waiters(server, table).await.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_brings_the_committed_record_not_the_stale_one() {
    let server = MariaDb::shared();
    for setting in [
        "SET SESSION tx_isolation = 'READ-COMMITTED'",
        "SET SESSION tx_isolation = 'REPEATABLE-READ'",
        "SET SESSION tx_isolation = 'SERIALIZABLE'",
    ] {
        let store = store_with(server.port(), "stale", setting).await;
        let (key, first) = stored(&store, record("first")).await;
        let theirs = Tag::random();
        let mut other = locked(&server, "stale", &key, theirs).await;
        let set = tokio::spawn({
            let (store, key) = (store.clone(), key.clone());
            async move { store.set(&key, &record("mine"), When::Tagged(first.tag)).await }
        });
        eventually("the write waits", async || waiting(&server, "stale").await == 1).await;
        sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
        match soon("the write", set).await.unwrap().unwrap() {
            Written::Conflict(Some(current)) => {
                assert_eq!((current.tag, &current.data[..]), (theirs, &b"theirs"[..]), "{setting}");
            }
            answer => panic!("{setting}: {answer:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_waited_for_a_logout_is_refused() {
    let server = MariaDb::shared();
    let store = store(&server, "logout").await;
    for tagged in [true, false] {
        let (key, first) = stored(&store, record("first")).await;
        let mut other = other(&server).await;
        sqlx::raw_sql("BEGIN").execute(&mut other).await.unwrap();
        let delete = "DELETE FROM logout WHERE id = ?";
        sqlx::query(delete).bind(&key.digest()[..]).execute(&mut other).await.unwrap();
        let when = if tagged { When::Tagged(first.tag) } else { When::Present };
        let set = tokio::spawn({
            let (store, key) = (store.clone(), key.clone());
            async move { store.set(&key, &record("mine"), when).await }
        });
        let touch = tokio::spawn({
            let (store, key) = (store.clone(), key.clone());
            async move { store.touch(&key, Timestamp::MAX).await }
        });
        eventually("both wait", async || waiting(&server, "logout").await == 2).await;
        sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
        assert_eq!(soon("the write", set).await.unwrap().unwrap(), Written::Gone);
        assert!(!soon("the touch", touch).await.unwrap().unwrap());
        assert_eq!(store.get(&key).await.unwrap(), None);
    }
}

/// The trap: as `char`, ids that differ by case or by a space at the end are one.
#[tokio::test]
async fn ids_that_look_alike_are_two_sessions() {
    let server = MariaDb::shared();
    let store = store_with(server.port(), "alike", "SET SESSION sql_mode = ''").await;
    let ids = ["abc", "ABC", "Abc", "abc.", "abc%20"];
    let keys = ids.map(|id| StoreKey::plain("p:", &SessionId::parse(id).unwrap()));
    for (key, id) in keys.iter().zip(ids) {
        assert_eq!(store.set(key, &record(id), When::Absent).await.unwrap(), Written::Done);
    }
    for (key, id) in keys.iter().zip(ids) {
        assert_eq!(store.get(key).await.unwrap().unwrap().data, id);
    }
}

/// The trap: a server that is not strict cuts a `BLOB` at 65,535 bytes, and a name at its column's width,
/// without a word.
#[tokio::test]
async fn a_server_that_is_not_strict_cuts_nothing() {
    let server = MariaDb::shared();
    let store = store_with(server.port(), "not_strict", "SET SESSION sql_mode = ''").await;
    for size in [65_535, 65_536, 70_000, 1 << 20] {
        let mut record = record(vec![0xa5; size]);
        record.principal = Some("é".repeat(size / 4).into());
        let (key, record) = stored(&store, record).await;
        assert_eq!(store.get(&key).await.unwrap(), Some(record));
    }
    let (key, small) = stored(&store, record("small")).await;
    let huge = record(vec![0; 1 << 24]);
    assert_eq!(kind(store.set(&key, &huge, When::Tagged(small.tag)).await), StoreErrorKind::TooLarge);
    assert_eq!(store.get(&key).await.unwrap(), Some(small));
}

/// The trap: a packet that is too large does not fail, it ends the connection.
#[tokio::test]
async fn a_record_that_is_too_large_for_the_servers_packets_is_not_sent() {
    let server = MariaDb::start(&["max_allowed_packet=1M"]);
    let pool = pool_of(1, server.port(), "DO 0");
    let store = MySqlStore::new(pool.clone());
    store.migrate().await.unwrap();
    let connection = async || sqlx::query_as("SELECT CONNECTION_ID()").fetch_one(&pool).await.unwrap();
    let before: (u64,) = connection().await;
    let (key, mut last) = stored(&store, record("small")).await;
    let mut refused = 0;
    for size in ((1 << 20) - 700..(1 << 20) + 300).step_by(25) {
        let next = record(vec![7; size]);
        match store.set(&key, &next, When::Tagged(last.tag)).await {
            Ok(written) => {
                assert_eq!((written, refused), (Written::Done, 0));
                last = next;
            }
            Err(error) => {
                assert_eq!(error.kind(), StoreErrorKind::TooLarge);
                assert!(error.to_string().contains("max_allowed_packet"), "{error}");
                refused += 1;
            }
        }
    }
    assert!(refused > 0 && last.data.len() > 1_000_000);
    assert_eq!(store.get(&key).await.unwrap(), Some(last.clone()));
    assert_eq!(connection().await, before, "no connection was lost over it");

    // Raised while the application runs: new connections take more, and so does the store.
    sqlx::raw_sql("SET GLOBAL max_allowed_packet = 8388608").execute(&pool).await.unwrap();
    let kill: &'static str = format!("KILL {}", before.0).leak();
    sqlx::raw_sql(kill).execute(&mut other(&server).await).await.unwrap();
    eventually("the connection is replaced", async || store.get(&key).await.is_ok()).await;
    let large = record(vec![7; 4 << 20]);
    assert_eq!(store.set(&key, &large, When::Tagged(last.tag)).await.unwrap(), Written::Done);
}

/// The trap: `UNIX_TIMESTAMP(NOW(3))` goes through local time, which has one hour of every autumn twice.
/// 2025-11-02 in New York: 05:30 UTC and 06:30 UTC are both 01:30.
#[tokio::test]
async fn the_hour_that_comes_twice_is_two_hours() {
    let server = MariaDb::shared();
    let settings = [
        ("SET time_zone = 'SYSTEM', timestamp = 1762061400", true),
        ("SET time_zone = 'SYSTEM', timestamp = 1762065000", false),
    ];
    let port = server.port();
    let local = "SET time_zone = 'SYSTEM', timestamp = 1762065000";
    let zone: (String,) =
        sqlx::query_as("SELECT CAST(NOW() AS CHAR)").fetch_one(&pool_of(1, port, local)).await.unwrap();
    assert_eq!(zone.0, "2025-11-02 01:30:00", "the server is in New York");

    let record = Record { expires_at: Timestamp::from_millis(1_762_063_200_000), ..record("six o'clock") };
    let (key, _) = stored(&store(&server, "twice").await, record).await;
    for (setting, alive) in settings {
        let store = MySqlStore::new(pool_of(1, port, setting)).table("twice").unwrap();
        assert_eq!(store.get(&key).await.unwrap().is_some(), alive, "{setting}");
        assert_eq!(store.touch(&key, Timestamp::EPOCH).await.unwrap(), alive, "{setting}");
        assert_eq!(store.sweep(10).await.unwrap(), u64::from(!alive), "{setting}");
    }
}

/// The trap: a `TIMESTAMP` ends in 2038.
#[tokio::test]
async fn expiry_after_2038_and_to_the_second_of_the_servers_clock() {
    let server = MariaDb::shared();
    let store = store(&server, "expiry").await;
    let (key, far) = stored(&store, living(HOUR * 24 * 365 * 30, "2055")).await;
    assert_eq!(store.get(&key).await.unwrap(), Some(far));
    let (key, _) = stored(&store, living(Duration::from_secs(2), "two seconds")).await;
    assert!(store.get(&key).await.unwrap().is_some());
    eventually("it expires", async || store.get(&key).await.unwrap().is_none()).await;
}

/// The trap: a server counts the rows that an update has changed; a touch that changes nothing must not look
/// like a dead session.
#[tokio::test]
async fn a_touch_that_changes_nothing_is_no_dead_session() {
    let server = MariaDb::shared();
    let store = store(&server, "touched").await;
    let (key, record) = stored(&store, record("data")).await;
    for _ in 0..3 {
        assert!(store.touch(&key, record.expires_at).await.unwrap());
        assert!(store.touch(&key, Timestamp::EPOCH).await.unwrap());
    }
    assert!(!store.touch(&fresh(), record.expires_at).await.unwrap());
}

#[tokio::test]
async fn a_stolen_dump_holds_nothing_that_a_cookie_needs() {
    let server = MariaDb::shared();
    let store = store(&server, "dump").await;
    let (key, _) = stored(&store, record("data")).await;
    let row = sqlx::query("SELECT id, data FROM dump").fetch_one(&mut other(&server).await).await.unwrap();
    assert_eq!(row.get::<Vec<u8>, _>(0), key.digest());
    assert_eq!(row.get::<Vec<u8>, _>(1), b"data");
}

/// One statement per call, counted by the server; a refused change reads what was in its way with a second.
#[tokio::test]
async fn every_call_is_one_statement() {
    let server = MariaDb::start(&["innodb_flush_log_at_trx_commit=0"]);
    let store = store(&server, "counted").await;
    let executed = async || number(&server, "SHOW GLOBAL STATUS LIKE 'Com_stmt_execute'".into()).await;
    // What counting itself costs.
    let (one, two) = (executed().await, executed().await);
    let (own, counting) = (two - one, two);
    assert!(own <= 1, "{one}, {counting}");

    let (key, next) = (fresh(), record("next"));
    let mut last = record("0");
    for (call, statements) in [
        ("create", 1),
        ("get", 1),
        ("get nothing", 1),
        ("tagged", 1),
        ("conflict", 2),
        ("gone", 2),
        ("present", 1),
        ("touch", 1),
        ("rotate", 1),
        ("destroy", 1),
    ] {
        let before = executed().await;
        match call {
            "create" => assert_eq!(store.set(&key, &last, When::Absent).await.unwrap(), Written::Done),
            "get" => assert!(store.get(&key).await.unwrap().is_some()),
            "get nothing" => assert!(store.get(&fresh()).await.unwrap().is_none()),
            "tagged" => {
                let answer = store.set(&key, &next, When::Tagged(last.tag)).await.unwrap();
                assert_eq!(answer, Written::Done);
                last = next.clone();
            }
            "conflict" => {
                let answer = store.set(&key, &record("x"), When::Tagged(Tag::random())).await.unwrap();
                assert_eq!(answer, Written::Conflict(Some(last.clone())));
            }
            "gone" => {
                let answer = store.set(&fresh(), &record("x"), When::Tagged(last.tag)).await.unwrap();
                assert_eq!(answer, Written::Gone);
            }
            "present" => {
                assert_eq!(store.set(&key, &last, When::Present).await.unwrap(), Written::Done);
            }
            "touch" => assert!(store.touch(&key, last.expires_at).await.unwrap()),
            "rotate" => {
                let answer = store.rotate(&key, When::Tagged(last.tag), &fresh(), &record("x")).await;
                assert_eq!(answer.unwrap(), Written::Done);
            }
            _ => store.destroy(&key).await.unwrap(),
        }
        assert_eq!(executed().await - before - own, statements, "{call}");
    }
}

//! What the obvious statement, or the obvious column, gets wrong.

use axum_generic_session::{
    Store, Timestamp,
    store::{MySqlStore, Record, StoreErrorKind, When, Written},
};
use sqlx::Row;

use super::{
    kit::{eventually, key as fresh, kind, record, stored},
    servers::mariadb::MariaDb,
    sql::Engine,
};

/// The trap: a server that is not strict cuts a `BLOB` at 65,535 bytes, and a name at its column's width,
/// without a word.
#[tokio::test]
async fn a_server_that_is_not_strict_cuts_nothing() {
    let server = MariaDb::shared();
    let store = server.store_with("not_strict", "SET SESSION sql_mode = ''").await;
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
    let pool = MariaDb::pool(server.port(), 1, "");
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
    server.script(&format!("KILL {}", before.0)).await;
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
    let now = sqlx::query_as("SELECT CAST(NOW() AS CHAR)");
    let zone: (String,) = now.fetch_one(&MariaDb::pool(port, 1, local)).await.unwrap();
    assert_eq!(zone.0, "2025-11-02 01:30:00", "the server is in New York");

    let record = Record { expires_at: Timestamp::from_millis(1_762_063_200_000), ..record("six o'clock") };
    let (key, _) = stored(&server.store("twice").await, record).await;
    for (setting, alive) in settings {
        let store = MariaDb::store_on(MariaDb::pool(port, 1, setting), "twice");
        assert_eq!(store.get(&key).await.unwrap().is_some(), alive, "{setting}");
        assert_eq!(store.touch(&key, Timestamp::EPOCH).await.unwrap(), alive, "{setting}");
        assert_eq!(store.sweep(10).await.unwrap(), u64::from(!alive), "{setting}");
    }
}

/// The trap: a server counts the rows that an update has changed; a touch that changes nothing must not look
/// like a dead session.
#[tokio::test]
async fn a_touch_that_changes_nothing_is_no_dead_session() {
    let server = MariaDb::shared();
    let store = server.store("touched").await;
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
    let store = server.store("dump").await;
    let (key, _) = stored(&store, record("data")).await;
    let row = sqlx::query("SELECT id, data FROM dump").fetch_one(&mut server.other().await).await.unwrap();
    assert_eq!(row.get::<Vec<u8>, _>(0), key.digest());
    assert_eq!(row.get::<Vec<u8>, _>(1), b"data");
}

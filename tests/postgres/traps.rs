//! What the obvious statement gets wrong.

use std::time::Duration;

use axum_generic_session::{
    SessionId, Store, StoreKey, Timestamp,
    store::{PostgresStore, StoreErrorKind, Tag, When, Written},
};
use sqlx::{Connection, PgConnection, Row};

use super::{
    kit::{HOUR, eventually, key as fresh, kind, living, record, soon, stored},
    servers::postgres::Postgres,
    store, store_with,
};

/// A connection of another program.
pub(super) async fn other(server: &Postgres) -> PgConnection {
    PgConnection::connect(&server.url()).await.unwrap()
}

/// Another program's transaction that has changed, and so locked, a record.
pub(super) async fn locked(server: &Postgres, schema: &str, key: &StoreKey, tag: Tag) -> PgConnection {
    let mut other = other(server).await;
    sqlx::raw_sql("BEGIN").execute(&mut other).await.unwrap();
    let update: &'static str =
        format!("UPDATE {schema}.axum_sessions SET tag = $1, data = 'theirs' WHERE id = $2").leak();
    let tag = i64::from_be_bytes(*tag.as_bytes());
    let done = sqlx::query(update).bind(tag).bind(&key.digest()[..]).execute(&mut other).await.unwrap();
    assert_eq!(done.rows_affected(), 1);
    other
}

/// How many statements on this schema wait for a lock.
pub(super) async fn waiting(server: &Postgres, schema: &str) -> i64 {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE $1";
    let row = sqlx::query(sql).bind(format!("%{schema}%")).fetch_one(&mut other(server).await).await;
    row.unwrap().get(0)
}

/// A writer waits for another one's lock; the record that comes back is what that one committed, at every
/// isolation level. (A plain `SELECT` beside the update shows the row from before.)
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_brings_the_committed_record_not_the_stale_one() {
    let server = Postgres::shared();
    for level in ["read committed", "repeatable read", "serializable"] {
        let schema = format!("stale_{}", level.replace(' ', "_"));
        let store = store_with(server.port(), &schema, &[("default_transaction_isolation", level)]).await;
        let (key, first) = stored(&store, record("first")).await;
        let theirs = Tag::random();
        let mut other = locked(&server, &schema, &key, theirs).await;
        let set = tokio::spawn({
            let (store, key) = (store.clone(), key.clone());
            async move { store.set(&key, &record("mine"), When::Tagged(first.tag)).await }
        });
        eventually("the write waits", async || waiting(&server, &schema).await == 1).await;
        sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
        match soon("the write", set).await.unwrap().unwrap() {
            Written::Conflict(Some(current)) => {
                assert_eq!((current.tag, &current.data[..]), (theirs, &b"theirs"[..]), "{level}");
            }
            answer => panic!("{level}: {answer:?}"),
        }
    }
}

/// The same wait, for a session that is destroyed meanwhile: gone stays gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_waited_for_a_logout_is_refused() {
    let server = Postgres::shared();
    for level in ["read committed", "serializable"] {
        let schema = format!("logout_{}", level.replace(' ', "_"));
        let store = store_with(server.port(), &schema, &[("default_transaction_isolation", level)]).await;
        for (name, when) in [("tagged", true), ("present", false)] {
            let (key, first) = stored(&store, record("first")).await;
            let mut other = other(&server).await;
            sqlx::raw_sql("BEGIN").execute(&mut other).await.unwrap();
            let delete: &'static str = format!("DELETE FROM {schema}.axum_sessions WHERE id = $1").leak();
            sqlx::query(delete).bind(&key.digest()[..]).execute(&mut other).await.unwrap();
            let when = if when { When::Tagged(first.tag) } else { When::Present };
            let set = tokio::spawn({
                let (store, key) = (store.clone(), key.clone());
                async move { store.set(&key, &record("mine"), when).await }
            });
            let touch = tokio::spawn({
                let (store, key) = (store.clone(), key.clone());
                async move { store.touch(&key, Timestamp::MAX).await }
            });
            eventually("both wait", async || waiting(&server, &schema).await == 2).await;
            sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
            assert_eq!(soon("the write", set).await.unwrap().unwrap(), Written::Gone, "{level}, {name}");
            assert!(!soon("the touch", touch).await.unwrap().unwrap(), "{level}, {name}");
            assert_eq!(store.get(&key).await.unwrap(), None);
        }
    }
}

/// Ids are bytes: no collation folds two of them into one, no encoding refuses one.
#[tokio::test]
async fn ids_that_look_alike_are_two_sessions() {
    let server = Postgres::shared();
    let store = store(&server, "alike").await;
    let ids = ["abc", "ABC", "Abc", "abc.", "abc%20"];
    let keys = ids.map(|id| StoreKey::plain("p:", &SessionId::parse(id).unwrap()));
    for (key, id) in keys.iter().zip(ids) {
        assert_eq!(store.set(key, &record(id), When::Absent).await.unwrap(), Written::Done);
    }
    for (key, id) in keys.iter().zip(ids) {
        assert_eq!(store.get(key).await.unwrap().unwrap().data, id);
    }
}

#[tokio::test]
async fn large_records_come_back_whole_or_are_refused_before_they_are_sent() {
    let server = Postgres::shared();
    let store = store(&server, "large").await;
    for size in [65_535, 65_536, 70_000, 1 << 20, 20 << 20] {
        let (key, record) = stored(&store, record(vec![0xa5; size])).await;
        assert_eq!(store.get(&key).await.unwrap(), Some(record));
    }
    let (key, small) = stored(&store, record("small")).await;
    let huge = record(vec![0; 1 << 30]);
    assert_eq!(kind(store.set(&key, &huge, When::Tagged(small.tag)).await), StoreErrorKind::TooLarge);
    assert_eq!(store.get(&key).await.unwrap(), Some(small));
}

#[tokio::test]
async fn a_stolen_dump_holds_nothing_that_a_cookie_needs() {
    let server = Postgres::shared();
    let store = store(&server, "dump").await;
    let (key, _) = stored(&store, record("data")).await;
    let sql = "SELECT t::text FROM dump.axum_sessions t";
    let rows = sqlx::query(sql).fetch_all(&mut other(&server).await).await.unwrap();
    let dump: String = rows.iter().map(|row| row.get::<String, _>(0)).collect();
    let hex: String = key.digest().iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(dump.contains(&hex), "the row is there, under the digest");
    assert!(!dump.contains(key.as_str()));
}

#[tokio::test]
async fn expiry_after_2038_and_to_the_second_of_the_servers_clock() {
    let server = Postgres::shared();
    let store = store(&server, "expiry").await;
    let (key, far) = stored(&store, living(HOUR * 24 * 365 * 30, "2055")).await;
    assert_eq!(store.get(&key).await.unwrap(), Some(far));
    let (key, _) = stored(&store, living(Duration::from_secs(2), "two seconds")).await;
    assert!(store.get(&key).await.unwrap().is_some());
    eventually("it expires", async || store.get(&key).await.unwrap().is_none()).await;
}

/// One statement per call, counted by the server, and a second one to see what a refused write has met.
#[tokio::test]
async fn every_call_is_one_statement_and_a_refused_write_two() {
    let server = Postgres::start(&["log_statement=all", "fsync=off"]);
    let store = store(&server, "counted").await;
    let (key, mut last) = stored(&store, record("0")).await;
    store.get(&key).await.unwrap();

    let statements = |log: String| {
        let ours = |line: &&str| line.contains("execute") && !line.contains("sqlx ping");
        log.lines().filter(ours).count()
    };
    let calls: [&str; 9] =
        ["get", "get nothing", "tagged", "present", "conflict", "gone", "touch", "rotate", "destroy"];
    for call in calls {
        let before = statements(server.log());
        let next = record("next");
        match call {
            "get" => assert!(store.get(&key).await.unwrap().is_some()),
            "get nothing" => assert!(store.get(&fresh()).await.unwrap().is_none()),
            "tagged" => {
                let answer = store.set(&key, &next, When::Tagged(last.tag)).await.unwrap();
                assert_eq!(answer, Written::Done);
                last = next;
            }
            "present" => {
                assert_eq!(store.set(&key, &next, When::Present).await.unwrap(), Written::Done);
                last = next;
            }
            "conflict" => {
                let answer = store.set(&key, &next, When::Tagged(Tag::random())).await.unwrap();
                assert_eq!(answer, Written::Conflict(Some(last.clone())));
            }
            "gone" => {
                let answer = store.set(&fresh(), &next, When::Tagged(last.tag)).await.unwrap();
                assert_eq!(answer, Written::Gone);
            }
            "touch" => assert!(store.touch(&key, last.expires_at).await.unwrap()),
            "rotate" => {
                let answer = store.rotate(&key, When::Tagged(last.tag), &fresh(), &next).await;
                assert_eq!(answer.unwrap(), Written::Done);
            }
            _ => store.destroy(&key).await.unwrap(),
        }
        let expected = if matches!(call, "conflict" | "gone") { 2 } else { 1 };
        assert_eq!(statements(server.log()) - before, expected, "{call}");
    }
}

/// Two names for one table are two stores only if they are two tables.
#[tokio::test]
async fn tables_and_schemas_are_apart() {
    let server = Postgres::shared();
    let one = store(&server, "apart_one").await;
    let two = store(&server, "apart_two").await;
    let (key, _) = stored(&one, record("one")).await;
    assert_eq!(two.get(&key).await.unwrap(), None);
    let table = one.clone().table("Other_Table").unwrap();
    table.migrate().await.unwrap();
    assert_eq!(table.get(&key).await.unwrap(), None);
    for bad in ["a b", "a\"b", "", "1a"] {
        assert_eq!(kind(one.clone().table(bad)), StoreErrorKind::Misconfigured);
        assert_eq!(kind(PostgresStore::schema(one.clone(), bad)), StoreErrorKind::Misconfigured);
    }
    assert!(one.get(&key).await.unwrap().is_some());
}

//! What MariaDB answers when it cannot do its work, and what the store makes of it.

use std::time::Duration;

use axum_generic_session::{
    Store,
    store::{Applied, MySqlStore, StoreErrorKind, Tag, When, Written},
};
use sqlx::mysql::MySqlPoolOptions;

use super::{
    kit::{eventually, key, kind, record, soon, stored},
    pool_of,
    servers::mariadb::MariaDb,
    store, store_with,
    traps::{locked, number, other, waiting},
};

const UNAVAILABLE: StoreErrorKind = StoreErrorKind::Unavailable(Applied::No);

#[tokio::test]
async fn a_lock_that_is_held_too_long_is_unavailable_and_changes_nothing() {
    let server = MariaDb::shared();
    let setting = "SET SESSION innodb_lock_wait_timeout = 1";
    let store = store_with(server.port(), "lock_timeout", setting).await;
    let (key, first) = stored(&store, record("first")).await;
    let mut other = locked(&server, "lock_timeout", &key, Tag::random()).await;
    let mine = record("mine");
    let set = store.set(&key, &mine, When::Tagged(first.tag));
    let (set, touch, destroy) = soon("they fail", async {
        tokio::join!(set, store.touch(&key, first.expires_at), store.destroy(&key))
    })
    .await;
    assert_eq!(kind(set), UNAVAILABLE);
    assert_eq!(kind(touch), UNAVAILABLE);
    assert_eq!(kind(destroy), UNAVAILABLE);
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    assert_eq!(store.get(&key).await.unwrap(), Some(first.clone()));
    assert_eq!(store.set(&key, &mine, When::Tagged(first.tag)).await.unwrap(), Written::Done);
}

/// The store's rotation holds the old row and waits for the new id, which the other holds, who then waits for
/// the old row: InnoDB ends the transaction that has changed less, and the store tries again.
#[tokio::test(flavor = "multi_thread")]
async fn a_deadlock_is_tried_again() {
    let server = MariaDb::start(&["innodb_flush_log_at_trx_commit=0"]);
    let store = store(&server, "deadlock").await;
    let (old, first) = stored(&store, record("first")).await;
    let (new, moved) = (key(), record("moved"));
    let mut other = other(&server).await;
    sqlx::raw_sql("BEGIN").execute(&mut other).await.unwrap();
    let insert = "INSERT INTO deadlock VALUES (?, 1, 9000000000000, NULL, '')";
    for id in std::iter::repeat_with(key).take(50).chain([new.clone()]) {
        sqlx::query(insert).bind(&id.digest()[..]).execute(&mut other).await.unwrap();
    }
    let rotate = tokio::spawn({
        let (store, old) = (store.clone(), old.clone());
        let (new, moved) = (new.clone(), moved.clone());
        async move { store.rotate(&old, When::Tagged(first.tag), &new, &moved).await }
    });
    eventually("the rotation waits", async || waiting(&server, "deadlock").await == 1).await;
    let id = old.digest();
    let update = "UPDATE deadlock SET tag = tag WHERE id = ?";
    let crossed = sqlx::query(update).bind(&id[..]).execute(&mut other);
    soon("the other is let through", crossed).await.unwrap();
    let deadlocks = number(&server, "SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'".into()).await;
    assert!(deadlocks >= 1, "{deadlocks}");
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    assert_eq!(soon("the rotation", rotate).await.unwrap().unwrap(), Written::Done);
    assert_eq!(store.get(&new).await.unwrap(), Some(moved));
}

#[tokio::test]
async fn a_read_only_server_refuses_writes_and_goes_on_reading() {
    let server = MariaDb::start(&["innodb_flush_log_at_trx_commit=0"]);
    let (key, first) = stored(&store(&server, "axum_sessions").await, record("first")).await;
    // An administrator may write even then, so it takes another user.
    let make = "CREATE USER app@localhost; GRANT ALL ON app.* TO app@localhost; SET GLOBAL read_only = 1";
    sqlx::raw_sql(make).execute(&mut other(&server).await).await.unwrap();
    let url = server.url().replace("root@", "app@");
    let store = MySqlStore::new(MySqlPoolOptions::new().connect(&url).await.unwrap());
    let next = record("next");
    assert_eq!(kind(store.set(&key, &next, When::Tagged(first.tag)).await), StoreErrorKind::ReadOnly);
    assert_eq!(kind(store.set(&super::kit::key(), &next, When::Absent).await), StoreErrorKind::ReadOnly);
    assert_eq!(kind(store.touch(&key, first.expires_at).await), StoreErrorKind::ReadOnly);
    assert_eq!(kind(store.destroy(&key).await), StoreErrorKind::ReadOnly);
    assert_eq!(store.get(&key).await.unwrap(), Some(first.clone()));
    sqlx::raw_sql("SET GLOBAL read_only = 0").execute(&mut other(&server).await).await.unwrap();
    assert_eq!(store.set(&key, &next, When::Tagged(first.tag)).await.unwrap(), Written::Done);
}

#[tokio::test]
async fn an_exhausted_pool_is_unavailable_and_recovers() {
    let server = MariaDb::shared();
    let (key, first) = stored(&store(&server, "exhausted").await, record("first")).await;
    let pool = pool_of(1, server.port(), "DO 0");
    let impatient = pool.options().clone().acquire_timeout(Duration::from_millis(100));
    let pool = impatient.connect_lazy_with(pool.connect_options().as_ref().clone());
    let store = MySqlStore::new(pool.clone()).table("exhausted").unwrap();
    let held = pool.begin().await.unwrap();
    let error = store.get(&key).await.unwrap_err();
    assert_eq!(error.kind(), UNAVAILABLE);
    assert!(error.to_string().contains("acquire_timeout"), "{error}");
    assert_eq!(kind(store.set(&key, &record("x"), When::Tagged(first.tag)).await), UNAVAILABLE);
    drop(held);
    // With one connection for everything, a refused write still finds it free for its second statement.
    assert_eq!(store.get(&key).await.unwrap(), Some(first.clone()));
    let answer = store.set(&key, &record("x"), When::Tagged(Tag::random())).await.unwrap();
    assert_eq!(answer, Written::Conflict(Some(first)));
    pool.close().await;
    assert_eq!(kind(store.get(&key).await), UNAVAILABLE);
}

/// The server's own code for a full disk, from a trigger: a real full disk takes more than a test may take.
#[tokio::test]
async fn a_full_disk_is_told_and_logout_works() {
    let server = MariaDb::shared();
    let store = store(&server, "full_disk").await;
    let (key, first) = stored(&store, record("first")).await;
    let raise = "CREATE TRIGGER full_disk BEFORE UPDATE ON full_disk FOR EACH ROW
        SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1114, MESSAGE_TEXT = 'The table is full'";
    sqlx::raw_sql(raise).execute(&mut other(&server).await).await.unwrap();
    let next = record("next");
    assert_eq!(kind(store.set(&key, &next, When::Tagged(first.tag)).await), StoreErrorKind::Full);
    assert_eq!(store.get(&key).await.unwrap(), Some(first));
    store.destroy(&key).await.unwrap();
}

#[tokio::test]
async fn a_statement_timeout_is_unavailable_and_certainly_not_applied() {
    let server = MariaDb::shared();
    let store = store_with(server.port(), "slow", "SET SESSION max_statement_time = 0.1").await;
    let (key, first) = stored(&store, record("first")).await;
    let mut other = locked(&server, "slow", &key, Tag::random()).await;
    let mine = record("mine");
    let set = store.set(&key, &mine, When::Tagged(first.tag));
    assert_eq!(kind(soon("set", set).await), UNAVAILABLE);
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    assert_eq!(store.get(&key).await.unwrap(), Some(first));
}

#[tokio::test]
async fn what_was_not_written_by_a_store_is_corrupt() {
    let server = MariaDb::shared();
    let store = store(&server, "corrupt").await;
    let (key, _) = stored(&store, record("first")).await;
    let spoil = "UPDATE corrupt SET principal = 0xff";
    sqlx::raw_sql(spoil).execute(&mut other(&server).await).await.unwrap();
    assert_eq!(kind(store.get(&key).await), StoreErrorKind::Corrupt);
    let answer = store.set(&key, &record("mine"), When::Tagged(Tag::random())).await;
    assert_eq!(kind(answer), StoreErrorKind::Corrupt);
}

#[tokio::test]
async fn errors_do_not_quote_the_session() {
    let server = MariaDb::shared();
    let store = store(&server, "quote").await;
    let check = "ALTER TABLE quote ADD CHECK (length(data) < 3)";
    sqlx::raw_sql(check).execute(&mut other(&server).await).await.unwrap();
    let error = store.set(&key(), &record("sesame"), When::Absent).await.unwrap_err();
    let said = format!("{error} {error:?} {:?}", std::error::Error::source(&error));
    assert!(said.contains("CONSTRAINT") && !said.contains("sesame"), "{said}");
}

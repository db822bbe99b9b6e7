//! What PostgreSQL answers when it cannot do its work, and what the store makes of it.

use std::time::Duration;

use axum_generic_session::{
    Store,
    store::{Applied, PostgresStore, StoreErrorKind, Tag, When, Written},
};

use super::{
    kit::{eventually, key, kind, record, soon, stored},
    pool_of,
    servers::postgres::Postgres,
    store, store_with,
    traps::{locked, other, waiting},
};

const UNAVAILABLE: StoreErrorKind = StoreErrorKind::Unavailable(Applied::No);

#[tokio::test]
async fn a_lock_that_is_held_too_long_is_unavailable_and_changes_nothing() {
    let server = Postgres::shared();
    let store = store_with(server.port(), "lock_timeout", &[("lock_timeout", "50ms")]).await;
    let (key, first) = stored(&store, record("first")).await;
    let mut other = locked(&server, "lock_timeout", &key, Tag::random()).await;
    let mine = record("mine");
    let set = store.set(&key, &mine, When::Tagged(first.tag));
    assert_eq!(kind(soon("set", set).await), UNAVAILABLE);
    assert_eq!(kind(soon("touch", store.touch(&key, first.expires_at)).await), UNAVAILABLE);
    assert_eq!(kind(soon("destroy", store.destroy(&key)).await), UNAVAILABLE);
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    assert_eq!(store.get(&key).await.unwrap(), Some(first.clone()));
    let answer = store.set(&key, &record("mine"), When::Tagged(first.tag)).await.unwrap();
    assert_eq!(answer, Written::Done);
}

/// The store's rotation holds the old row and waits for the new id, which the other holds, who then waits for
/// the old row: PostgreSQL ends the store's statement, and the store tries again.
#[tokio::test(flavor = "multi_thread")]
async fn a_deadlock_is_tried_again() {
    let server = Postgres::shared();
    let store = store_with(server.port(), "deadlock", &[("deadlock_timeout", "300ms")]).await;
    let (old, first) = stored(&store, record("first")).await;
    let (new, moved) = (key(), record("moved"));
    let mut other = other(&server).await;
    sqlx::raw_sql("SET deadlock_timeout = '50s'; BEGIN").execute(&mut other).await.unwrap();
    let insert = "INSERT INTO deadlock.axum_sessions VALUES ($1, 1, 1, NULL, '')";
    sqlx::query(insert).bind(&new.digest()[..]).execute(&mut other).await.unwrap();
    let rotate = tokio::spawn({
        let (store, old) = (store.clone(), old.clone());
        let (new, moved) = (new.clone(), moved.clone());
        async move { store.rotate(&old, When::Tagged(first.tag), &new, &moved).await }
    });
    eventually("the rotation waits", async || waiting(&server, "deadlock").await == 1).await;
    let update = "UPDATE deadlock.axum_sessions SET tag = tag WHERE id = $1";
    let id = old.digest();
    let crossed = sqlx::query(update).bind(&id[..]).execute(&mut other);
    soon("the other is let through", crossed).await.unwrap();
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    assert_eq!(soon("the rotation", rotate).await.unwrap().unwrap(), Written::Done);
    assert_eq!(store.get(&new).await.unwrap(), Some(moved));
}

#[tokio::test]
async fn a_read_only_database_refuses_writes_and_goes_on_reading() {
    let server = Postgres::shared();
    let writer = store(&server, "read_only").await;
    let (key, first) = stored(&writer, record("first")).await;
    let settings = [("default_transaction_read_only", "on")];
    let pool = pool_of(2, server.port(), &settings);
    let store = PostgresStore::new(pool).schema("read_only").unwrap();
    let next = record("next");
    assert_eq!(kind(store.set(&key, &next, When::Tagged(first.tag)).await), StoreErrorKind::ReadOnly);
    assert_eq!(kind(store.set(&super::kit::key(), &next, When::Absent).await), StoreErrorKind::ReadOnly);
    assert_eq!(kind(store.touch(&key, first.expires_at).await), StoreErrorKind::ReadOnly);
    assert_eq!(kind(store.destroy(&key).await), StoreErrorKind::ReadOnly);
    assert_eq!(kind(store.sweep(10).await), StoreErrorKind::ReadOnly);
    assert_eq!(store.get(&key).await.unwrap(), Some(first));
}

#[tokio::test]
async fn an_exhausted_pool_is_unavailable_and_recovers() {
    let server = Postgres::shared();
    let made = store(&server, "exhausted").await;
    let (key, first) = stored(&made, record("first")).await;
    let pool = pool_of(1, server.port(), &[]);
    let impatient = pool.options().clone().acquire_timeout(Duration::from_millis(100));
    let pool = impatient.connect_lazy_with(pool.connect_options().as_ref().clone());
    let store = PostgresStore::new(pool.clone()).schema("exhausted").unwrap();
    let held = pool.begin().await.unwrap();
    let error = store.get(&key).await.unwrap_err();
    assert_eq!(error.kind(), UNAVAILABLE);
    assert!(error.to_string().contains("acquire_timeout"), "{error}");
    assert_eq!(kind(store.set(&key, &record("x"), When::Tagged(first.tag)).await), UNAVAILABLE);
    drop(held);
    // With one connection for everything, every kind of call still finds it free.
    assert_eq!(store.get(&key).await.unwrap(), Some(first.clone()));
    let answer = store.set(&key, &record("x"), When::Tagged(Tag::random())).await.unwrap();
    assert_eq!(answer, Written::Conflict(Some(first)));
    pool.close().await;
    assert_eq!(kind(store.get(&key).await), UNAVAILABLE);
}

/// The server's own code for a full disk, from a trigger: a real full disk takes more than a test may take.
#[tokio::test]
async fn a_full_disk_is_told_and_logout_works() {
    let server = Postgres::shared();
    let store = store(&server, "full").await;
    let (key, first) = stored(&store, record("first")).await;
    let raise = "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE 'No space left on device' USING ERRCODE = '53100'; END $$;
        CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON \"full\".axum_sessions
            FOR EACH ROW EXECUTE FUNCTION full_disk()";
    sqlx::raw_sql(raise).execute(&mut other(&server).await).await.unwrap();
    let next = record("next");
    assert_eq!(kind(store.set(&key, &next, When::Tagged(first.tag)).await), StoreErrorKind::Full);
    assert_eq!(store.get(&key).await.unwrap(), Some(first));
    store.destroy(&key).await.unwrap();
}

#[tokio::test]
async fn a_statement_timeout_is_unavailable_and_certainly_not_applied() {
    let server = Postgres::shared();
    let store = store_with(server.port(), "slow", &[("statement_timeout", "100ms")]).await;
    let (key, first) = stored(&store, record("first")).await;
    let mut other = locked(&server, "slow", &key, Tag::random()).await;
    let mine = record("mine");
    let set = store.set(&key, &mine, When::Tagged(first.tag));
    assert_eq!(kind(soon("set", set).await), UNAVAILABLE);
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    assert_eq!(store.get(&key).await.unwrap(), Some(first));
}

#[tokio::test]
async fn what_was_not_written_by_a_store_is_corrupt_or_misconfigured() {
    let server = Postgres::shared();
    let store = store(&server, "corrupt").await;
    let (key, _) = stored(&store, record("first")).await;
    let spoil = "UPDATE corrupt.axum_sessions SET principal = '\\xff'";
    sqlx::raw_sql(spoil).execute(&mut other(&server).await).await.unwrap();
    assert_eq!(kind(store.get(&key).await), StoreErrorKind::Corrupt);
    let answer = store.set(&key, &record("mine"), When::Tagged(Tag::random())).await;
    assert_eq!(kind(answer), StoreErrorKind::Corrupt);
}

/// PostgreSQL's details quote the whole row, and drivers show details in `Debug`.
#[tokio::test]
async fn errors_do_not_quote_the_session() {
    let server = Postgres::shared();
    let store = store(&server, "quote").await;
    let check = "ALTER TABLE quote.axum_sessions ADD CHECK (length(data) < 3)";
    sqlx::raw_sql(check).execute(&mut other(&server).await).await.unwrap();
    let error = store.set(&key(), &record("sesame"), When::Absent).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Misconfigured);
    let said = format!("{error} {error:?} {:?}", std::error::Error::source(&error));
    let hex: String = "sesame".bytes().map(|byte| format!("{byte:02x}")).collect();
    assert!(said.contains("check constraint") && !said.contains(&hex) && !said.contains("sesame"), "{said}");
}

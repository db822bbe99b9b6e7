//! Connections that break: what was carried out is recognised, what nobody knows is said to be unknown.

use axum_generic_session::{
    Store,
    store::{Applied, PostgresStore, StoreErrorKind, Tag, When, Written},
};
use sqlx::{PgPool, Row};

use super::{
    kit::{eventually, key, kind, record, soon, stored},
    lazy_pool,
    servers::{
        postgres::Postgres,
        wire::{Fate, Wire},
    },
    store,
    traps::{locked, other, waiting},
};

const IN_DOUBT: StoreErrorKind = StoreErrorKind::Unavailable(Applied::Unknown);

/// A store whose one connection goes through a wire, and one without.
struct Wired {
    wire: Wire,
    pool: PgPool,
    store: PostgresStore,
    direct: PostgresStore,
}

impl Wired {
    async fn new(server: &Postgres, schema: &str) -> Self {
        let direct = store(server, schema).await;
        let wire = Wire::to(server.port()).await;
        let pool = lazy_pool(wire.port, &[], 1);
        let store = PostgresStore::new(pool.clone()).schema(schema).unwrap();
        Self { wire, pool, store, direct }
    }

    /// Has every statement prepared, so that a call is one request, and the connection idle: the pool has
    /// asked it for a sign of life.
    async fn settle(&self) {
        let (key, first) = stored(&self.store, record("first")).await;
        self.store.set(&key, &record("next"), When::Tagged(first.tag)).await.unwrap();
        self.store.get(&key).await.unwrap();
        self.store.destroy(&key).await.unwrap();
        eventually("the connection is idle", async || self.pool.num_idle() == 1).await;
    }

    /// Makes the call, cuts the connection between request and answer, lets `meanwhile` happen, and only
    /// then a second attempt.
    async fn lose_answer<T: Send + 'static>(
        &self,
        call: impl Future<Output = T> + Send + 'static,
        meanwhile: impl AsyncFnOnce(&PostgresStore),
    ) -> T {
        self.settle().await;
        let cuts = self.wire.cuts();
        self.wire.once(Fate::CutReply, Fate::Vanish);
        let call = tokio::spawn(call);
        soon("the cut", self.wire.cut(cuts + 1)).await;
        meanwhile(&self.direct).await;
        self.wire.set(Fate::Pass);
        soon("the second attempt", call).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_answer_was_lost_is_recognised() {
    let server = Postgres::shared();
    let wired = Wired::new(&server, "lost_answer").await;
    let (key, first, next) = (key(), record("first"), record("next"));
    let (new, moved) = (self::key(), record("moved"));

    let (store, k, r) = (wired.store.clone(), key.clone(), first.clone());
    let create = async move { store.set(&k, &r, When::Absent).await };
    let there =
        async |direct: &PostgresStore| assert_eq!(direct.get(&key).await.unwrap(), Some(first.clone()));
    assert_eq!(wired.lose_answer(create, there).await.unwrap(), Written::Done);

    let (store, k, r, tag) = (wired.store.clone(), key.clone(), next.clone(), first.tag);
    let change = async move { store.set(&k, &r, When::Tagged(tag)).await };
    let there =
        async |direct: &PostgresStore| assert_eq!(direct.get(&key).await.unwrap(), Some(next.clone()));
    assert_eq!(wired.lose_answer(change, there).await.unwrap(), Written::Done);

    let (store, k, n, r, tag) = (wired.store.clone(), key.clone(), new.clone(), moved.clone(), next.tag);
    let rotate = async move { store.rotate(&k, When::Tagged(tag), &n, &r).await };
    let there =
        async |direct: &PostgresStore| assert_eq!(direct.get(&new).await.unwrap(), Some(moved.clone()));
    assert_eq!(wired.lose_answer(rotate, there).await.unwrap(), Written::Done);
    assert_eq!(wired.direct.get(&key).await.unwrap(), None);

    let (store, n) = (wired.store.clone(), new.clone());
    let destroy = async move { store.destroy(&n).await };
    let gone = async |direct: &PostgresStore| assert_eq!(direct.get(&new).await.unwrap(), None);
    wired.lose_answer(destroy, gone).await.unwrap();
    assert_eq!(wired.direct.get(&new).await.unwrap(), None);
}

/// The write was made, its answer lost, and before the store could ask again another writer went on from it.
/// A conflict now would make the caller apply its change a second time.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_write_that_others_have_built_on_is_in_doubt_not_in_conflict() {
    let server = Postgres::shared();
    let wired = Wired::new(&server, "built_on").await;
    let (key, first) = stored(&wired.direct, record("0")).await;
    let (mine, theirs) = (record("1"), record("2"));
    let (store, k, r) = (wired.store.clone(), key.clone(), mine.clone());
    let change = async move { store.set(&k, &r, When::Tagged(first.tag)).await };
    let build_on = async |direct: &PostgresStore| {
        assert_eq!(direct.set(&key, &theirs, When::Tagged(mine.tag)).await.unwrap(), Written::Done);
    };
    assert_eq!(kind(wired.lose_answer(change, build_on).await), IN_DOUBT);
    assert_eq!(wired.direct.get(&key).await.unwrap(), Some(theirs));
}

/// And one that has been logged out meanwhile is gone, whether or not it was written.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_write_to_a_session_that_was_ended_meanwhile_is_gone() {
    let server = Postgres::shared();
    let wired = Wired::new(&server, "ended").await;
    let (key, first) = stored(&wired.direct, record("0")).await;
    let (store, k, r) = (wired.store.clone(), key.clone(), record("1"));
    let change = async move { store.set(&k, &r, When::Tagged(first.tag)).await };
    let end = async |direct: &PostgresStore| direct.destroy(&key).await.unwrap();
    assert_eq!(wired.lose_answer(change, end).await.unwrap(), Written::Gone);
    assert_eq!(wired.direct.get(&key).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_was_lost_is_sent_again() {
    let server = Postgres::shared();
    let wired = Wired::new(&server, "lost_request").await;
    let Wired { wire, store, direct, .. } = &wired;
    let (key, first) = (key(), record("first"));
    for call in ["create", "get", "destroy"] {
        wired.settle().await;
        let cuts = wire.cuts();
        wire.set(Fate::CutRequest);
        match call {
            "create" => {
                let answer = soon(call, store.set(&key, &first, When::Absent)).await.unwrap();
                assert_eq!(answer, Written::Done);
            }
            "get" => assert_eq!(soon(call, store.get(&key)).await.unwrap(), Some(first.clone())),
            _ => soon(call, store.destroy(&key)).await.unwrap(),
        }
        assert_eq!(wire.cuts(), cuts + 1, "{call}");
    }
    assert_eq!(direct.get(&key).await.unwrap(), None);
}

/// The second attempt finds no connection: that the first one broke is what counts.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_stays_lost_is_in_doubt() {
    let server = Postgres::shared();
    let wired = Wired::new(&server, "stays_lost").await;
    let Wired { wire, store, direct, .. } = &wired;
    let (key, first) = stored(direct, record("first")).await;
    wired.settle().await;
    wire.once(Fate::CutReply, Fate::Refuse);
    let mine = record("mine");
    let set = store.set(&key, &mine, When::Tagged(first.tag));
    assert_eq!(kind(soon("set", set).await), IN_DOUBT);
    // A read changes nothing, so there is nothing to doubt.
    assert_eq!(kind(soon("get", store.get(&key)).await), StoreErrorKind::Unavailable(Applied::No));
    wire.set(Fate::Pass);
    eventually("the pool recovers", async || store.get(&key).await.is_ok()).await;
}

/// `pg_terminate_backend` on a statement that waits for a lock.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_killed_in_mid_query_is_replaced() {
    let server = Postgres::shared();
    let store = store(&server, "killed").await;
    let (key, first) = stored(&store, record("first")).await;
    let mut other = locked(&server, "killed", &key, Tag::random()).await;
    let mine = record("mine");
    let set = tokio::spawn({
        let (store, key, mine) = (store.clone(), key.clone(), mine.clone());
        async move { store.set(&key, &mine, When::Tagged(first.tag)).await }
    });
    eventually("the write waits", async || waiting(&server, "killed").await == 1).await;
    let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE wait_event_type = 'Lock' AND query LIKE '%killed%' AND pid <> pg_backend_pid()";
    let killed = sqlx::query(kill).fetch_all(&mut self::other(&server).await).await.unwrap();
    assert!(killed.len() == 1 && killed[0].get::<bool, _>(0));
    eventually("the second attempt waits", async || waiting(&server, "killed").await == 1).await;
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    assert_eq!(soon("the write", set).await.unwrap().unwrap(), Written::Done);
    assert_eq!(store.get(&key).await.unwrap(), Some(mine));
}

//! Connections that break between a store and its server: what was carried out is recognised, what nobody
//! knows is said to be unknown.

use std::sync::Arc;

use axum_generic_session::{
    Store,
    store::{Applied, StoreErrorKind, Tag, When, Written},
};

use super::{Engine, Pool};
use crate::{
    kit::{eventually, key, kind, record, soon, stored},
    servers::proxy::{After, Proxy},
};

const IN_DOUBT: StoreErrorKind = StoreErrorKind::Unavailable(Applied::Unknown);

/// A store whose one connection goes through a proxy, and one without.
struct Wired<E: Engine> {
    proxy: Proxy,
    pool: Pool<E>,
    store: E::Store,
    direct: E::Store,
    /// Runs for as long as somebody holds it.
    _server: Arc<E>,
}

impl<E: Engine> Wired<E> {
    async fn to(place: &str) -> Self {
        let server = E::shared();
        let proxy = Proxy::to(server.port()).await;
        let pool = E::pool(proxy.port(), 1, "");
        let store = E::store_on(pool.clone(), place);
        Self { proxy, pool, store, direct: server.store(place).await, _server: server }
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
        meanwhile: impl AsyncFnOnce(&E::Store),
    ) -> T {
        self.settle().await;
        let cuts = self.proxy.cuts();
        self.proxy.cut_reply("", 0);
        self.proxy.and_then(After::BlackHole);
        let call = tokio::spawn(call);
        soon("the cut", self.proxy.cut(cuts + 1)).await;
        meanwhile(&self.direct).await;
        self.proxy.black_hole(false);
        soon("the second attempt", call).await.unwrap()
    }
}

pub async fn a_write_whose_answer_was_lost_is_recognised<E: Engine>() {
    let wired = Wired::<E>::to("doubt_0").await;
    let (key, first, next) = (key(), record("first"), record("next"));
    let (new, moved) = (self::key(), record("moved"));

    let (store, k, r) = (wired.store.clone(), key.clone(), first.clone());
    let create = async move { store.set(&k, &r, When::Absent).await };
    let there = async |direct: &E::Store| assert_eq!(direct.get(&key).await.unwrap(), Some(first.clone()));
    assert_eq!(wired.lose_answer(create, there).await.unwrap(), Written::Done);

    let (store, k, r, tag) = (wired.store.clone(), key.clone(), next.clone(), first.tag);
    let change = async move { store.set(&k, &r, When::Tagged(tag)).await };
    let there = async |direct: &E::Store| assert_eq!(direct.get(&key).await.unwrap(), Some(next.clone()));
    assert_eq!(wired.lose_answer(change, there).await.unwrap(), Written::Done);

    let (store, k, n, r, tag) = (wired.store.clone(), key.clone(), new.clone(), moved.clone(), next.tag);
    let rotate = async move { store.rotate(&k, When::Tagged(tag), &n, &r).await };
    let there = async |direct: &E::Store| assert_eq!(direct.get(&new).await.unwrap(), Some(moved.clone()));
    assert_eq!(wired.lose_answer(rotate, there).await.unwrap(), Written::Done);
    assert_eq!(wired.direct.get(&key).await.unwrap(), None);

    let (store, n) = (wired.store.clone(), new.clone());
    let destroy = async move { store.destroy(&n).await };
    let gone = async |direct: &E::Store| assert_eq!(direct.get(&new).await.unwrap(), None);
    wired.lose_answer(destroy, gone).await.unwrap();
    assert_eq!(wired.direct.get(&new).await.unwrap(), None);
}

/// The write was made, its answer lost, and before the store could ask again another writer went on from it.
/// A conflict now would make the caller apply its change a second time.
pub async fn a_lost_write_that_others_have_built_on_is_in_doubt_not_in_conflict<E: Engine>() {
    let wired = Wired::<E>::to("doubt_1").await;
    let (key, first) = stored(&wired.direct, record("0")).await;
    let (mine, theirs) = (record("1"), record("2"));
    let (store, k, r) = (wired.store.clone(), key.clone(), mine.clone());
    let change = async move { store.set(&k, &r, When::Tagged(first.tag)).await };
    let build_on = async |direct: &E::Store| {
        assert_eq!(direct.set(&key, &theirs, When::Tagged(mine.tag)).await.unwrap(), Written::Done);
    };
    assert_eq!(kind(wired.lose_answer(change, build_on).await), IN_DOUBT);
    assert_eq!(wired.direct.get(&key).await.unwrap(), Some(theirs));
}

/// Nor that it is gone, which would say that nothing was saved: it may have moved on, with this write in it.
pub async fn a_lost_write_to_a_session_that_was_ended_meanwhile_is_in_doubt<E: Engine>() {
    let wired = Wired::<E>::to("doubt_2").await;
    let (key, first) = stored(&wired.direct, record("0")).await;
    let (mine, new) = (record("1"), self::key());
    let (store, k, r) = (wired.store.clone(), key.clone(), mine.clone());
    let change = async move { store.set(&k, &r, When::Tagged(first.tag)).await };
    let renew = async |direct: &E::Store| {
        let moved = record("1, and moved");
        assert_eq!(direct.rotate(&key, When::Tagged(mine.tag), &new, &moved).await.unwrap(), Written::Done);
    };
    assert_eq!(kind(wired.lose_answer(change, renew).await), IN_DOUBT);
    assert_eq!(wired.direct.get(&key).await.unwrap(), None);
}

pub async fn a_request_that_was_lost_is_sent_again<E: Engine>() {
    let wired = Wired::<E>::to("doubt_3").await;
    let Wired { proxy, store, direct, .. } = &wired;
    let (key, first) = (key(), record("first"));
    for call in ["create", "get", "destroy"] {
        wired.settle().await;
        let cuts = proxy.cuts();
        proxy.cut_request("", 0);
        match call {
            "create" => {
                let answer = soon(call, store.set(&key, &first, When::Absent)).await.unwrap();
                assert_eq!(answer, Written::Done);
            }
            "get" => assert_eq!(soon(call, store.get(&key)).await.unwrap(), Some(first.clone())),
            _ => soon(call, store.destroy(&key)).await.unwrap(),
        }
        assert_eq!(proxy.cuts(), cuts + 1, "{call}");
    }
    assert_eq!(direct.get(&key).await.unwrap(), None);
}

/// The second attempt finds no connection: that the first one broke is what counts.
pub async fn an_answer_that_stays_lost_is_in_doubt<E: Engine>() {
    let wired = Wired::<E>::to("doubt_4").await;
    let Wired { proxy, store, direct, .. } = &wired;
    let (key, first) = stored(direct, record("first")).await;
    wired.settle().await;
    proxy.cut_reply("", 0);
    proxy.and_then(After::Refuse);
    let mine = record("mine");
    let set = store.set(&key, &mine, When::Tagged(first.tag));
    assert_eq!(kind(soon("set", set).await), IN_DOUBT);
    // A read changes nothing, so there is nothing to doubt.
    assert_eq!(kind(soon("get", store.get(&key)).await), StoreErrorKind::Unavailable(Applied::No));
    proxy.refuse(false);
    eventually("the pool recovers", async || store.get(&key).await.is_ok()).await;
}

/// `end`: what ends a connection, here one whose statement waits for a lock.
pub async fn a_connection_killed_in_mid_query_is_replaced<E: Engine>(end: fn(i64) -> String) {
    let server = E::shared();
    let store = server.store("killed").await;
    let (key, first) = stored(&store, record("first")).await;
    let mut other = server.locked("killed", &key, Tag::random()).await;
    let mine = record("mine");
    let set = tokio::spawn({
        let (store, key, mine) = (store.clone(), key.clone(), mine.clone());
        async move { store.set(&key, &mine, When::Tagged(first.tag)).await }
    });
    eventually("the write waits", async || server.waiting("killed").await == 1).await;
    let victim = server.waiters("killed").await[0];
    server.script(&end(victim)).await;
    eventually("the second attempt waits", async || {
        server.waiters("killed").await.iter().any(|id| *id != victim)
    })
    .await;
    E::run(&mut other, "ROLLBACK").await;
    assert_eq!(soon("the write", set).await.unwrap().unwrap(), Written::Done);
    assert_eq!(store.get(&key).await.unwrap(), Some(mine));
}

//! `migrate`: at once, again, and without rights.

use axum_generic_session::{
    Store,
    store::{StoreErrorKind, When, Written},
};

use super::{Engine, LEVELS, SqlStore};
use crate::kit::{key, kind, record, stored};

/// `indexes`: how many there are, up to the name of the place.
pub async fn eight_nodes_may_migrate_at_once_and_again<E: Engine>(indexes: &str) {
    let server = E::shared();
    for round in 0..10 {
        let place = format!("at_once_{round}");
        let setting = E::isolation(LEVELS[round % 4]);
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let store = E::store_on(E::pool(server.port(), 8, &setting), &place);
            tasks.spawn(async move {
                store.migrate().await?;
                store.migrate().await
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap().unwrap();
        }
        let found = server.number(&format!("{indexes} '{place}'")).await;
        assert_eq!(found, 3, "the primary key and two indexes");
    }
}

pub async fn without_migrate_the_error_names_it<E: Engine>(words: &str) {
    let server = E::shared();
    let store = E::store_on(E::pool(server.port(), 8, ""), "nobody_made_this");
    let error = store.get(&key()).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Misconfigured);
    let said = error.to_string();
    assert!(said.contains(words) && said.contains("migrate()"), "{said}");
}

/// A store of a user who was granted this much.
async fn as_user<E: Engine>(server: &E, user: &str, grants: &str, place: &str) -> E::Store {
    server.script(grants).await;
    E::store_on(sqlx::Pool::connect(&server.url_of(user)).await.unwrap(), place)
}

pub async fn what_an_administrator_has_made_needs_no_right_to_make_it<E: Engine>(grants: &str) {
    let server = E::shared();
    server.store("made").await;
    let store = as_user(&*server, "worker", grants, "made").await;
    store.migrate().await.unwrap();
    assert_eq!(store.set(&key(), &record("data"), When::Absent).await.unwrap(), Written::Done);
}

pub async fn a_missing_right_is_told_as_such<E: Engine>(grants: &str) {
    let server = E::shared();
    let (key, first) = stored(&server.store("reader").await, record("first")).await;
    let store = as_user(&*server, "reader", grants, "reader").await;
    assert_eq!(store.get(&key).await.unwrap(), Some(first));
    assert_eq!(kind(store.set(&key, &record("x"), When::Present).await), StoreErrorKind::Denied);
    assert_eq!(kind(store.destroy(&key).await), StoreErrorKind::Denied);
    let elsewhere = E::store_on(sqlx::Pool::connect(&server.url_of("reader")).await.unwrap(), "not_there");
    assert_eq!(kind(elsewhere.migrate().await), StoreErrorKind::Denied);
}

//! What a save does more if it is a login: the first under a principal.

use crate::{
    clock::Timestamp,
    id::StoreKey,
    listing::{keep_newest, login_moment},
    state::{Data, State},
    store::Record,
};

/// Whose the session becomes by this save, if it is a login. `begins`: it is a new session.
pub(super) fn who_logs_in(data: &Data, begins: bool) -> Option<&str> {
    data.principal().filter(|now| begins || data.base_principal.as_deref() != Some(now))
}

/// The moment of a login.
pub(super) async fn login_at(state: &State, principal: Option<Box<str>>) -> Option<Timestamp> {
    Some(Box::pin(login_moment(&state.config, &principal?)).await)
}

/// Sees to it that a login, which is in the store, is not one too many.
pub(super) async fn logged_in(state: &State, key: &StoreKey, record: &Record, login: Option<Timestamp>) {
    if let (Some(principal), Some(_)) = (&record.principal, login) {
        Box::pin(keep_newest(&state.config, principal, key)).await;
    }
}

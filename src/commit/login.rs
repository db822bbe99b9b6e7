//! What a save does more if it is a login: the first under a principal.

use crate::{
    clock::Timestamp,
    id::StoreKey,
    listing::{keep_newest, login_moment},
    state::State,
    store::Record,
};

/// The moment from which the session is its principal's, if this save makes it so. `begins`: it is a new session.
pub(super) async fn login_at(state: &State, begins: bool) -> Option<Timestamp> {
    let principal: Box<str> = {
        let data = state.data();
        data.principal().filter(|now| begins || data.base_principal.as_deref() != Some(now))?.into()
    };
    Some(Box::pin(login_moment(&state.config, &principal)).await)
}

/// Sees to it that a login, which is in the store, is not one too many.
pub(super) async fn logged_in(state: &State, key: &StoreKey, record: &Record, login: Option<Timestamp>) {
    if let (Some(principal), Some(_)) = (&record.principal, login) {
        Box::pin(keep_newest(&state.config, principal, key)).await;
    }
}

//! A version of the session: made from its data, and taken over into them once the store has it.

use std::mem;

use crate::{
    clock::Timestamp,
    codec::Head,
    config::Config,
    error::{Error, Kind},
    hooks::Draft,
    id::{SessionId, StoreKey},
    lifetime::Life,
    object::merge,
    observe::Sight,
    state::{Data, Origin, Owed, State},
    store::Record,
};

/// Lets the application's hook change what is about to be saved.
pub(super) async fn ask_before_save(state: &State) -> Result<(), Error> {
    let Some(hook) = &state.config.hooks.before_save else { return Ok(()) };
    let before = state.data().object().clone();
    let draft = Draft::new(state.parts(), before.clone());
    hook(draft.clone()).await.map_err(|source| Error::new(Kind::Hook { hook: "before_save", source }))?;
    let after = draft.object();
    let mut data = state.data();
    for (key, value) in before.changes_to(&after) {
        data.object_mut().apply(&key, value);
    }
    Ok(())
}

/// A version of the session on its way to the store.
pub(super) struct Version {
    pub(super) record: Record,
    head: Head,
    life: Life,
    at: Timestamp,
    edition: u64,
}

/// Encodes the session as it is now. `login`: from which moment on it is its principal's.
pub(super) fn version(
    config: &Config,
    data: &Data,
    begins: bool,
    login: Option<Timestamp>,
    now: Timestamp,
) -> Result<Version, Error> {
    let created = data.base.head.created.filter(|_| !begins).unwrap_or(now);
    let head = Head {
        created: Some(created),
        since: login.or(data.base.head.since).filter(|_| data.principal().is_some()),
        cookie: data.cookie().cloned().map(Box::new),
        stored_cookie: data.base.head.stored_cookie.clone().filter(|_| !begins),
    };
    let object = data.object();
    let life = config.lifetime.of(now, created, object, &config.cookie, head.cookie.as_deref());
    let bytes = config
        .codec
        .encode(&head, object, &config.cookie, life)
        .map_err(|e| Error::new(Kind::Data("cannot be encoded".into(), Some(e))))?;
    if bytes.len() > config.max_size {
        return Err(Error::new(Kind::TooLarge { size: bytes.len(), limit: config.max_size }));
    }
    let record = Record {
        tag: config.codec.tag(&bytes),
        expires_at: life.store,
        principal: data.principal().map(Into::into),
        data: bytes,
    };
    Ok(Version { record, head, life, at: now, edition: data.edition })
}

/// The version is in the store: it is what the next changes are compared with.
pub(super) fn adopt(state: &State, data: &mut Data, id: SessionId, key: StoreKey, version: Version) {
    let Version { record, head, life, at, edition } = version;
    let sight = Sight { created: head.created, expires_at: record.expires_at, bytes: record.data.len() };
    state.config.observer.stored(data.origin.as_ref().map(|old| &old.key), &key, sight);
    data.origin =
        Some(Origin { id: id.clone(), key, tag: record.tag, expires_at: record.expires_at, stale: false });
    if data.edition == edition {
        if let Some(object) = mem::take(&mut data.edits).object {
            data.base.object = object;
        }
    } else {
        // Somebody has gone on changing while the store was at work: keep what came since. What was written can be
        // read, and need not be kept beside for the rare case.
        let stored = state.config.codec.decode(record.data, &state.config.cookie).unwrap_or_default().object;
        let later = merge(&stored, data.object(), &stored).object;
        data.edits.object = Some(later);
        data.edits.replaced = data.replaced_in > edition;
        data.base.object = stored;
    }
    data.base.head = head;
    data.base_principal = record.principal;
    data.new_id = None;
    let options = data.base.head.cookie.clone();
    data.owed = Some(Owed::Cookie { id, options, life: life.cookie, at });
}

pub(super) async fn new_id(state: &State) -> Result<SessionId, Error> {
    if let Some(id) = state.data().new_id.clone() {
        return Ok(id);
    }
    state.draw_id().await
}

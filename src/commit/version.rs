//! A version of the session: made from its data, and taken over into them once the store has it.

use axum::body::Bytes;

use crate::{
    clock::Timestamp,
    codec::Head,
    config::Config,
    error::{Error, Kind},
    hooks::Draft,
    id::{SessionId, StoreKey},
    lifetime::Life,
    object::merge,
    observe::{Sight, Was},
    state::{Data, Frame, Origin, Owed, State},
    store::{BoxError, Kept, Record, Tag},
    transport::Signature,
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

/// What to take note of once a version of the session is in the store.
pub(super) struct Version {
    tag: Tag,
    principal: Option<Box<str>>,
    head: Head,
    life: Life,
    at: Timestamp,
    edition: u64,
    /// As long as the record's text is.
    bytes: usize,
}

/// Encodes the session as it is now. `login`: from which moment on it is its principal's.
pub(super) fn version(
    config: &Config,
    data: &Data,
    begins: bool,
    login: Option<Timestamp>,
    now: Timestamp,
) -> Result<(Record, Version), Error> {
    let (head, life) = head(config, data, begins, login, now);
    let text = config.codec.encode(&head, data.object(), &config.cookie, life);
    let text = text.map_err(no_text)?;
    let version = Version::new(config, data, (head, life), now, (config.codec.tag(&text), text.len()))?;
    let principal = version.principal.clone();
    Ok((Record { tag: version.tag, expires_at: life.store, principal, data: text }, version))
}

/// The same for a store in this process, which is no login.
pub(super) fn kept_version(
    config: &Config,
    data: &Data,
    begins: bool,
    now: Timestamp,
) -> Result<(Kept, Version), Error> {
    let (head, life) = head(config, data, begins, None, now);
    let noted = config.codec.encode_noted(&head, data.object(), &config.cookie, life);
    let (noted, tag, bytes) = noted.map_err(no_text)?;
    let version = Version::new(config, data, (head, life), now, (tag, bytes))?;
    let principal = version.principal.clone();
    Ok((Kept { expires_at: life.store, principal, data: noted }, version))
}

/// What the record says beside the data, and how long it lives.
fn head(
    config: &Config,
    data: &Data,
    begins: bool,
    login: Option<Timestamp>,
    now: Timestamp,
) -> (Head, Life) {
    let created = data.base.head.created.filter(|_| !begins).unwrap_or(now);
    let head = Head {
        created: Some(created),
        since: login.or(data.base.head.since).filter(|_| data.principal().is_some()),
        cookie: data.cookie().cloned().map(Box::new),
        stored_cookie: data.base.head.stored_cookie.clone().filter(|_| !begins),
    };
    let life = config.lifetime.of(now, created, data.object(), &config.cookie, head.cookie.as_deref());
    (head, life)
}

fn no_text(why: BoxError) -> Error {
    Error::new(Kind::Data("cannot be encoded".into(), Some(why)))
}

impl Version {
    fn new(
        config: &Config,
        data: &Data,
        (head, life): (Head, Life),
        at: Timestamp,
        (tag, bytes): (Tag, usize),
    ) -> Result<Self, Error> {
        if bytes > config.max_size {
            return Err(Error::new(Kind::TooLarge { size: bytes, limit: config.max_size }));
        }
        let principal = data.principal().map(Into::into);
        Ok(Self { tag, principal, head, life, at, edition: data.edition, bytes })
    }
}

/// The version is in the store, at another place than the session was.
pub(super) fn adopt_at(
    (id, key): (SessionId, StoreKey),
    frame: &Frame,
    data: &mut Data,
    version: Version,
    encoded: &Bytes,
) {
    let old = data.origin.replace(Origin::new(id, key, Signature::None));
    let was = old.as_ref().map_or(Was::Nowhere, |old| Was::At(&old.key));
    adopt(frame, data, was, version, Some(encoded));
}

/// The version is in the store, where the data say that the session is: it is what the next changes are compared with.
/// `encoded`: the record's data, for who has waited, so that somebody may have changed the session meanwhile.
pub(super) fn adopt(frame: &Frame, data: &mut Data, was: Was<'_>, version: Version, encoded: Option<&Bytes>) {
    let Version { tag, principal, head, life, at, edition, bytes } = version;
    let expires_at = life.store;
    // What has been written is somewhere.
    let Some(origin) = &mut data.origin else { return };
    frame.config.observer.stored(was, &origin.key, Sight { created: head.created, expires_at, bytes });
    (origin.tag, origin.expires_at) = (tag, expires_at);
    origin.signature.renew();
    if data.edition == edition {
        data.take_edits_over();
    } else {
        // Somebody has gone on changing while the store was at work: keep what came since. What was written can be
        // read, and need not be kept beside for the rare case.
        let encoded = encoded.cloned().unwrap_or_default();
        let stored = frame.config.codec.decode(encoded, &frame.config.cookie).unwrap_or_default().object;
        let later = merge(&stored, data.object(), &stored).object;
        data.edits.object = Some(later);
        data.edits.replaced = data.replaced_in > edition;
        data.base.object = stored;
    }
    data.base.head = head;
    data.base_principal = principal;
    data.new_id = None;
    let options = data.base.head.cookie.clone();
    data.owed = Some(Owed::Cookie { options, life: life.cookie, at });
}

pub(super) async fn new_id(state: &State) -> Result<SessionId, Error> {
    if let Some(id) = state.data().new_id.clone() {
        return Ok(id);
    }
    state.draw_id().await
}

//! Carrying the decision out: the only place that writes to the store.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::Poll,
    time::Duration,
};

use rand::Rng;

use crate::{
    clock::Timestamp,
    codec::Content,
    cookie::CookieLife,
    error::{Error, Kind, Operation},
    hooks::Draft,
    id::{SessionId, StoreKey},
    lifetime::Life,
    object::merge,
    rules::{Action, Ending, decide},
    state::{Data, Edits, Origin, Owed, State},
    store::{Record, StoreError, When, Written},
};

/// How often an update is merged and tried again before the answer is 503.
const MAX_CONFLICTS: u32 = 64;
/// How many ids are drawn before a `gen_id` that gives taken ones is reported.
const MAX_DRAWS: u32 = 8;

/// What a [`save`](crate::Session::save) did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Saved {
    /// Nothing: there was nothing to save.
    Unchanged,
    /// A new session is in the store.
    Created,
    /// The changes are in the store.
    Updated,
    /// The session's life has been extended.
    Touched,
    /// The session is in the store under a new id, the old one is dead.
    Rotated,
    /// The session has ended.
    Destroyed,
}

/// A future that runs to its end even if its caller is dropped: what is not ready at once is handed to the
/// runtime, within the same poll, so that no moment lies between in which it could be lost.
pub(crate) async fn detached<T: Send + 'static>(
    mut work: Pin<Box<dyn Future<Output = Result<T, Error>> + Send>>,
) -> Result<T, Error> {
    let mut running = None;
    let ready = std::future::poll_fn(|cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(Some(done));
        }
        let rest = std::mem::replace(&mut work, Box::pin(std::future::pending()));
        running = Some(tokio::spawn(rest));
        Poll::Ready(None)
    })
    .await;
    match (ready, running) {
        (Some(done), _) => done,
        (None, Some(task)) => task.await.unwrap_or_else(|lost| {
            Err(Error::store(Operation::Set, StoreError::in_doubt(format!("the commit was lost: {lost}"))))
        }),
        (None, None) => Err(Error::data("the commit did not start")),
    }
}

/// Decides and carries out, once, with everything that the request has changed so far.
pub(crate) async fn commit(state: Arc<State>) -> Result<Saved, Error> {
    let _one_at_a_time = state.committing.lock().await;
    let intends = state.intent().ending != Ending::None || state.flags.force_save.load(Relaxed);
    if intends && !state.is_loaded() {
        state.load().await?;
    }
    if !state.is_loaded() {
        return Ok(Saved::Unchanged);
    }
    if state.flags.degraded.load(Relaxed) && state.intent().ending != Ending::None {
        // A logout that did not happen must not look like one.
        let error = StoreError::unavailable("the session could not be loaded, so it cannot be ended");
        return Err(Error::store(Operation::Destroy, error));
    }
    let mut action = look(&state).0;
    if matches!(action, Action::Create | Action::Update | Action::Rotate) {
        ask_before_save(&state).await?;
        action = look(&state).0;
    }
    let saved = carry_out(&state, action).await?;
    if saved != Saved::Unchanged {
        tracing::debug!(outcome = ?saved, "session saved");
    }
    Ok(saved)
}

fn look(state: &State) -> (Action, Life, Timestamp) {
    let now = state.config.clock.now();
    let (facts, life) = state.facts(&state.data(), now);
    (decide(facts), life, now)
}

async fn carry_out(state: &State, action: Action) -> Result<Saved, Error> {
    match action {
        Action::Nothing => Ok(Saved::Unchanged),
        Action::Resend => {
            let mut data = state.data();
            if let Some(origin) = data.origin.as_mut() {
                origin.stale = false;
                // A resent cookie must not promise more than what is left in the store.
                let (id, end) = (origin.id.clone(), origin.expires_at);
                owe_cookie(state, &mut data, &id, |life| match life {
                    CookieLife::Until(_) => CookieLife::Until(end),
                    other => other,
                });
            }
            Ok(Saved::Unchanged)
        }
        Action::Destroy => destroy(state).await,
        Action::Create => create(state).await,
        Action::Rotate => rotate(state).await,
        Action::Update => update(state).await,
        Action::Touch => touch(state).await,
    }
}

async fn ask_before_save(state: &State) -> Result<(), Error> {
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
struct Version {
    record: Record,
    content: Content,
    principal: Option<Box<str>>,
    life: Life,
    edition: u64,
}

/// Encodes the session as it is now.
fn version(state: &State, begins: bool) -> Result<Version, Error> {
    let config = &*state.config;
    let data = state.data();
    let now = config.clock.now();
    let created = data.base.created.filter(|_| !begins).unwrap_or(now);
    let content = Content {
        created: Some(created),
        cookie: data.cookie().cloned().map(Box::new),
        stored_cookie: data.base.stored_cookie.clone().filter(|_| !begins),
        object: data.object().clone(),
    };
    let life = config.lifetime.of(now, created, &content.object, &config.cookie, content.cookie.as_deref());
    let bytes = config
        .codec
        .encode(&content, &config.cookie, life)
        .map_err(|e| Error::new(Kind::Data("cannot be encoded".into(), Some(e))))?;
    if bytes.len() > config.max_size {
        return Err(Error::new(Kind::TooLarge { size: bytes.len(), limit: config.max_size }));
    }
    let principal = data.principal().map(Into::into);
    let record = Record {
        tag: config.codec.tag(&bytes),
        expires_at: life.store,
        principal: principal.clone(),
        data: bytes,
    };
    Ok(Version { record, content, principal, life, edition: data.edition })
}

/// The version is in the store: it is what the next changes are compared with.
fn adopt(state: &State, id: SessionId, key: StoreKey, version: Version) {
    state.settle();
    let mut data = state.data();
    let Version { record, content, principal, life, edition } = version;
    data.origin =
        Some(Origin { id: id.clone(), key, tag: record.tag, expires_at: record.expires_at, stale: false });
    if data.edition == edition {
        data.edits = Edits::default();
    } else {
        // Somebody has gone on changing while the store was at work; that is still to be saved.
        data.edits.replaced = false;
    }
    data.base = content;
    data.base_principal = principal;
    data.new_id = None;
    let options = data.base.cookie.clone();
    data.owed = Some(Owed::Cookie { id, options, life: life.cookie });
}

fn owe_cookie(state: &State, data: &mut Data, id: &SessionId, life: impl Fn(CookieLife) -> CookieLife) {
    let now = state.config.clock.now();
    let (_, fresh) = state.facts(data, now);
    let options = data.cookie().cloned().map(Box::new);
    data.owed = Some(Owed::Cookie { id: id.clone(), options, life: life(fresh.cookie) });
}

async fn create(state: &State) -> Result<Saved, Error> {
    let old = state.data().origin.clone();
    for _ in 0..MAX_DRAWS {
        let id = new_id(state).await?;
        let key = state.config.key(&id);
        let version = version(state, true)?;
        let written = state.config.engine.set(state.config.limits, &key, &version.record, When::Absent).await;
        match written.map_err(|e| Error::store(Operation::Set, e))? {
            Written::Done => {
                if let Some(old) = &old {
                    end(state, &old.key, Some(&key)).await?;
                }
                let saved = if old.is_some() { Saved::Rotated } else { Saved::Created };
                adopt(state, id, key, version);
                return Ok(saved);
            }
            Written::Gone | Written::Conflict(_) => state.data().new_id = None,
        }
    }
    Err(Error::new(Kind::Id("`gen_id` gives ids that are taken".into())))
}

async fn new_id(state: &State) -> Result<SessionId, Error> {
    if let Some(id) = state.data().new_id.clone() {
        return Ok(id);
    }
    state.draw_id().await
}

/// Ends a stored session. If that fails, its successor goes too: half of a change of id would be worse than none.
async fn end(state: &State, old: &StoreKey, successor: Option<&StoreKey>) -> Result<(), Error> {
    let config = &*state.config;
    let Err(error) = config.engine.destroy(config.limits, old).await else { return Ok(()) };
    if let Some(successor) = successor
        && let Err(error) = config.engine.destroy(config.limits, successor).await
    {
        tracing::warn!(%error, "a session that nobody has the id of stays until it expires");
    }
    Err(Error::store(Operation::Destroy, error))
}

async fn destroy(state: &State) -> Result<Saved, Error> {
    let Some(old) = state.data().origin.clone() else { return Ok(Saved::Unchanged) };
    end(state, &old.key, None).await?;
    state.settle();
    let mut data = state.data();
    let options = data.base.cookie.take();
    data.origin = None;
    data.base = Content::default();
    data.base_principal = None;
    data.edits = Edits::default();
    data.owed = Some(Owed::Removal { options });
    Ok(Saved::Destroyed)
}

async fn rotate(state: &State) -> Result<Saved, Error> {
    let config = &*state.config;
    for attempt in 0..MAX_CONFLICTS {
        let Some(old) = state.data().origin.clone() else { return Err(Error::gone()) };
        let id = new_id(state).await?;
        let key = config.key(&id);
        let version = version(state, false)?;
        let when = When::Tagged(old.tag);
        let written = config.engine.rotate(config.limits, &old.key, when, &key, &version.record).await;
        match written.map_err(|e| Error::store(Operation::Rotate, e))? {
            Written::Done => {
                adopt(state, id, key, version);
                return Ok(Saved::Rotated);
            }
            Written::Gone => return Err(Error::gone()),
            // Either the old one has changed or the new id is taken; only the old one itself can tell.
            Written::Conflict(_) => {
                state.data().new_id = None;
                rebase(state, &old, None).await?;
                back_off(attempt).await;
            }
        }
    }
    Err(starved())
}

async fn update(state: &State) -> Result<Saved, Error> {
    let Some(origin) = state.data().origin.clone() else { return Err(Error::gone()) };
    let _turn = state.config.engine.turn(&origin.key).await;
    for attempt in 0..MAX_CONFLICTS {
        if try_update(state, None).await? {
            return Ok(Saved::Updated);
        }
        let forced = state.flags.force_save.load(Relaxed);
        if !forced && !state.data().is_changed() {
            // What this request wanted to change, the other has changed the same way.
            return Ok(Saved::Unchanged);
        }
        back_off(attempt).await;
    }
    Err(starved())
}

/// One compare-and-swap. `false`: somebody else was faster; the changes now stand on what they wrote, except for
/// those since `undo`, which are to be made anew.
async fn try_update(state: &State, undo: Option<Edits>) -> Result<bool, Error> {
    let config = &*state.config;
    let Some(origin) = state.data().origin.clone() else { return Err(Error::gone()) };
    let version = version(state, false)?;
    let written =
        config.engine.set(config.limits, &origin.key, &version.record, When::Tagged(origin.tag)).await;
    match written.map_err(|e| Error::store(Operation::Set, e))? {
        Written::Done => {
            adopt(state, origin.id, origin.key, version);
            Ok(true)
        }
        Written::Gone => Err(Error::gone()),
        Written::Conflict(current) => {
            if let Some(undo) = undo {
                state.data().undo(&version.content.object, undo);
            }
            rebase(state, &origin, current).await?;
            Ok(false)
        }
    }
}

/// Puts this request's changes onto what is in the store now.
async fn rebase(state: &State, origin: &Origin, current: Option<Record>) -> Result<(), Error> {
    let config = &*state.config;
    let current = match current {
        Some(record) => record,
        None => config
            .engine
            .get(config.limits, &origin.key)
            .await
            .map_err(|e| Error::store(Operation::Get, e))?
            .ok_or_else(Error::gone)?,
    };
    let theirs = config
        .codec
        .decode(&current.data, &config.cookie)
        .map_err(|why| Error::store(Operation::Get, StoreError::corrupt(why)))?;
    let mut data = state.data();
    if current.principal != data.base_principal {
        // Somebody has logged in or out under this id: what this request did, it did as somebody else.
        return Err(Error::conflict());
    }
    if config.strict && current.tag != origin.tag {
        return Err(Error::conflict());
    }
    if !data.edits.replaced {
        let merged = merge(&data.base.object, data.object(), &theirs.object);
        if merged.clashes > 0 {
            tracing::debug!(
                session = %origin.key.handle(),
                keys = merged.clashes,
                "two requests changed the same keys of a session; the later one wins"
            );
        }
        data.edits.object = Some(merged.object);
        data.edition += 1;
    }
    if let Some(moved) = data.origin.as_mut() {
        moved.tag = current.tag;
        moved.expires_at = current.expires_at;
    }
    let created = data.base.created.min(theirs.created).or(theirs.created);
    data.base = Content { created, ..theirs };
    Ok(())
}

async fn touch(state: &State) -> Result<Saved, Error> {
    let (_, life, _) = look(state);
    let Some(origin) = state.data().origin.clone() else { return Ok(Saved::Unchanged) };
    let config = &*state.config;
    let alive = match config.engine.touch(config.limits, &origin.key, life.store).await {
        Ok(alive) => alive,
        Err(error) => {
            let failed = Err(Error::store(Operation::Touch, error));
            return state.or_degraded(Operation::Touch, failed).await.map(|()| Saved::Unchanged);
        }
    };
    if !alive {
        tracing::debug!(session = %origin.key.handle(), "a session that has ended was not extended");
        return Ok(Saved::Unchanged);
    }
    let mut data = state.data();
    if let Some(origin) = data.origin.as_mut() {
        origin.expires_at = origin.expires_at.max(life.store);
        origin.stale = false;
    }
    if origin.stale || !config.lifetime.silent {
        owe_cookie(state, &mut data, &origin.id, |fresh| fresh);
    }
    Ok(Saved::Touched)
}

/// Changes the session in the store, now, as often as it takes: `change` is run again on what others have written.
pub(crate) async fn transact<R>(
    state: &State,
    mut change: impl FnMut(&mut Data) -> Result<R, Error> + Send,
) -> Result<R, Error> {
    let _one_at_a_time = state.committing.lock().await;
    if state.intent_is(Ending::Renewed) {
        rotate(state).await?;
    }
    let origin = state.data().origin.clone().filter(|_| state.intent_is(Ending::None));
    let Some(origin) = origin else {
        // Nobody else knows of this session yet.
        let result = change(&mut state.data())?;
        if !state.data().object().is_empty() {
            create(state).await?;
        }
        return Ok(result);
    };
    let _turn = state.config.engine.turn(&origin.key).await;
    for attempt in 0..MAX_CONFLICTS {
        let before = state.data().edits.clone();
        let (result, changed) = {
            let mut data = state.data();
            let result = change(&mut data)?;
            (result, data.is_changed())
        };
        let won = if changed { try_update(state, Some(before)).await? } else { is_current(state).await? };
        if won {
            return Ok(result);
        }
        back_off(attempt).await;
    }
    Err(starved())
}

/// Nothing was changed, on the strength of what was loaded: is that still what the store holds?
async fn is_current(state: &State) -> Result<bool, Error> {
    let config = &*state.config;
    let Some(origin) = state.data().origin.clone() else { return Err(Error::gone()) };
    let current = config.engine.get(config.limits, &origin.key).await;
    let current = current.map_err(|e| Error::store(Operation::Get, e))?.ok_or_else(Error::gone)?;
    if current.tag == origin.tag {
        return Ok(true);
    }
    rebase(state, &origin, Some(current)).await?;
    Ok(false)
}

/// Steps aside for a random moment, longer each time.
async fn back_off(attempt: u32) {
    if attempt == 0 {
        return;
    }
    let most = 1_u64 << attempt.min(5);
    let pause = rand::thread_rng().gen_range(0..=most);
    tokio::time::sleep(Duration::from_millis(pause)).await;
}

fn starved() -> Error {
    Error::store(Operation::Set, StoreError::unavailable("too many requests write this session at one time"))
}

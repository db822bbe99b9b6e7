//! Carrying the decision out: the only place that writes to the store.

use std::{
    future::{self, Future},
    mem,
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll},
    time::Duration,
};

use rand::Rng;
use tokio::task::JoinHandle;
use tracing::Instrument;

use crate::{
    clock::Timestamp,
    codec::Content,
    config::Config,
    cookie::CookieLife,
    error::{Error, Kind, Operation},
    hooks::{Draft, Later},
    id::{SessionId, StoreKey},
    lifetime::Life,
    listing::{keep_newest, login_moment},
    object::merge,
    rules::{Action, Ending, decide},
    state::{Data, Edits, Intent, Origin, Owed, State},
    store::{Record, StoreError, When, Written},
    takeover::forget,
    transport::Presented,
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

/// A commit that runs to its end even if its caller is dropped: what is not ready at once is handed to the runtime,
/// within the same poll, so that no moment lies between in which it could be lost.
pub(crate) enum Committing {
    New(Later<Result<Saved, Error>>),
    Spawned(JoinHandle<Result<Saved, Error>>),
}

impl Committing {
    pub(crate) fn new(state: Arc<State>) -> Self {
        Self::New(Box::pin(commit(state)))
    }
}

impl Future for Committing {
    type Output = Result<Saved, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Self::New(commit) = &mut *self {
            if let Poll::Ready(done) = commit.as_mut().poll(cx) {
                return Poll::Ready(done);
            }
            // Nothing is allocated for this: it has no size.
            let rest = mem::replace(commit, Box::pin(future::pending()));
            *self = Self::Spawned(tokio::spawn(rest.in_current_span()));
        }
        match &mut *self {
            Self::Spawned(task) => Pin::new(task).poll(cx).map(|done| {
                done.unwrap_or_else(|lost| {
                    let lost = StoreError::in_doubt(format!("the commit was lost: {lost}"));
                    Err(Error::store(Operation::Set, lost))
                })
            }),
            Self::New(_) => Poll::Pending,
        }
    }
}

/// Whether there is nothing to commit, as after most requests. `false` also where only waiting could tell.
pub(crate) fn is_idle(state: &State) -> bool {
    let Ok(_mine) = state.committing.try_lock() else { return false };
    if state.is_loaded() {
        !state.flags.degraded.load(Relaxed) && look(state).action == Action::Nothing
    } else {
        matches!(state.intent().ending, Ending::None | Ending::Renewed)
    }
}

/// Decides and carries out, once, with everything that the request has changed so far.
async fn commit(state: Arc<State>) -> Result<Saved, Error> {
    let _one_at_a_time = state.committing.lock().await;
    if !state.is_loaded() {
        match state.intent().ending {
            Ending::None | Ending::Renewed => return Ok(Saved::Unchanged),
            _ if state.flags.prevent_save.load(Relaxed) => return Ok(Saved::Unchanged),
            // Loaded, since the cookie that it takes away may have settings of its own; but a logout does not fail
            // because what it ends cannot be read.
            Ending::Destroyed => drop(state.load().await),
            Ending::Regenerated => state.load().await?,
        }
    }
    let saved = if !state.is_loaded() || state.flags.degraded.load(Relaxed) {
        end_unread(&state).await?
    } else {
        let decision = decision(&state).await?;
        carry_out(&state, decision).await?
    };
    if saved != Saved::Unchanged {
        tracing::debug!(outcome = ?saved, "session saved");
    }
    Ok(saved)
}

/// What is to be done, and the intent that it carries out.
struct Decision {
    action: Action,
    intent: Intent,
}

/// Decides, with what the hook has to add.
async fn decision(state: &State) -> Result<Decision, Error> {
    let decision = look(state);
    if !matches!(decision.action, Action::Create | Action::Update | Action::Rotate) {
        return Ok(decision);
    }
    ask_before_save(state).await?;
    Ok(look(state))
}

fn look(state: &State) -> Decision {
    let now = state.config.clock.now();
    let (data, intent) = state.data_and_intent();
    let (facts, _) = state.facts(&data, intent, now);
    Decision { action: decide(facts), intent }
}

async fn carry_out(state: &State, Decision { action, intent }: Decision) -> Result<Saved, Error> {
    match action {
        Action::Nothing => {
            // What is held back may still be wanted, and a logout stands until something is written.
            if !state.flags.prevent_save.load(Relaxed) && intent.ending != Ending::Destroyed {
                state.settle(intent);
            }
            Ok(Saved::Unchanged)
        }
        Action::Clear => {
            state.data().owed = Some(Owed::Removal { options: None });
            Ok(Saved::Unchanged)
        }
        Action::Resend => {
            resend(state);
            Ok(Saved::Unchanged)
        }
        Action::Destroy => destroy(state, intent).await,
        Action::Create => create(state, intent).await,
        Action::Update | Action::Rotate => write(state).await,
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

/// The moment from which the session is its principal's, if this save makes it so: a login.
async fn login(state: &State, begins: bool) -> Option<Timestamp> {
    let principal: Box<str> = {
        let data = state.data();
        data.principal().filter(|now| begins || data.base_principal.as_deref() != Some(now))?.into()
    };
    Some(login_moment(&state.config, &principal).await)
}

/// Sees to it that a login, which is in the store, is not one too many.
async fn logged_in(state: &State, key: &StoreKey, version: &Version, login: Option<Timestamp>) {
    if let (Some(principal), Some(_)) = (&version.principal, login) {
        keep_newest(&state.config, principal, key).await;
    }
}

/// Encodes the session as it is now.
fn version(state: &State, begins: bool, login: Option<Timestamp>) -> Result<Version, Error> {
    let config = &*state.config;
    let data = state.data();
    let now = config.clock.now();
    let created = data.base.created.filter(|_| !begins).unwrap_or(now);
    let content = Content {
        created: Some(created),
        since: login.or(data.base.since).filter(|_| data.principal().is_some()),
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
    let mut data = state.data();
    let Version { record, content, principal, life, edition } = version;
    data.origin =
        Some(Origin { id: id.clone(), key, tag: record.tag, expires_at: record.expires_at, stale: false });
    if data.edition == edition {
        data.edits = Edits::default();
    } else {
        // Somebody has gone on changing while the store was at work: keep what came since.
        let later = merge(&content.object, data.object(), &content.object).object;
        data.edits.object = Some(later);
        data.edits.replaced = data.replaced_in > edition;
    }
    data.base = content;
    data.base_principal = principal;
    data.new_id = None;
    let options = data.base.cookie.clone();
    data.owed = Some(Owed::Cookie { id, options, life: life.cookie });
}

fn owe_cookie(state: &State, data: &mut Data, id: &SessionId, life: impl Fn(CookieLife) -> CookieLife) {
    let now = state.config.clock.now();
    let (_, fresh) = state.facts(data, state.intent(), now);
    let options = data.cookie().cloned().map(Box::new);
    data.owed = Some(Owed::Cookie { id: id.clone(), options, life: life(fresh.cookie) });
}

/// Sends the cookie for what is in the store: it must not promise more than what is left there.
fn resend(state: &State) {
    let mut data = state.data();
    let Some(origin) = data.origin.as_mut() else { return };
    origin.stale = false;
    let (id, end) = (origin.id.clone(), origin.expires_at);
    owe_cookie(state, &mut data, &id, |life| match life {
        CookieLife::Until(fresh) => CookieLife::Until(fresh.min(end)),
        other => other,
    });
}

async fn create(state: &State, intent: Intent) -> Result<Saved, Error> {
    let old = state.data().origin.clone();
    for _ in 0..MAX_DRAWS {
        let id = new_id(state).await?;
        let key = state.config.key(&id);
        let login = login(state, true).await;
        let version = version(state, true, login)?;
        let written = state.config.engine.set(state.config.limits, &key, &version.record, When::Absent).await;
        match written.map_err(|e| Error::store(Operation::Set, e))? {
            Written::Done => {
                if let Some(old) = &old {
                    end(state, &old.key, Some(&key)).await?;
                }
                logged_in(state, &key, &version, login).await;
                let saved = if old.is_some() { Saved::Rotated } else { Saved::Created };
                state.settle(intent);
                adopt(state, id, key, version);
                return Ok(saved);
            }
            Written::Gone | Written::Conflict(_) => state.data().new_id = None,
        }
    }
    Err(taken())
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

async fn destroy(state: &State, intent: Intent) -> Result<Saved, Error> {
    let (old, edition) = {
        let data = state.data();
        (data.origin.clone(), data.edition)
    };
    let Some(old) = old else { return Ok(Saved::Unchanged) };
    end(state, &old.key, None).await?;
    forget(&state.config, &old.id).await.map_err(|e| Error::store(Operation::Destroy, e))?;
    if intent.ending != Ending::Destroyed {
        state.settle(intent);
    }
    let mut data = state.data();
    let options = data.base.cookie.take();
    data.origin = None;
    data.base = Content::default();
    data.base_principal = None;
    // What came after the logout, while the store was at work, is a new session's.
    if data.edition == edition || intent.ending == Ending::None {
        data.edits = Edits::default();
    }
    data.owed = Some(Owed::Removal { options });
    Ok(Saved::Destroyed)
}

/// Ends a session that was not or could not be loaded. Nothing is saved to such a one, but a logout takes place or
/// fails.
async fn end_unread(state: &State) -> Result<Saved, Error> {
    let intent = state.intent();
    let ends = matches!(intent.ending, Ending::Destroyed | Ending::Regenerated);
    let presented = state.presented().filter(|_| ends && !state.flags.prevent_save.load(Relaxed));
    let Some(Presented { id, way, .. }) = presented else { return Ok(Saved::Unchanged) };
    end(state, &state.config.key(&id), None).await?;
    state.settle(intent);
    let mut data = state.data();
    data.way = way;
    data.owed = Some(Owed::Removal { options: None });
    Ok(Saved::Destroyed)
}

/// Writes the known session, as often as it takes until nobody else comes between.
async fn write(state: &State) -> Result<Saved, Error> {
    let Some(origin) = state.data().origin.clone() else { return Err(Error::gone()) };
    let _turn = state.config.engine.turn(state.config.limits, &origin.key).await;
    let mut tries = Tries::default();
    loop {
        match swap(state).await? {
            Swap::Done(saved) => return Ok(saved),
            Swap::Conflict(current) => tries.lost(state, current).await?,
        }
        let wanted = state.flags.force_save.load(Relaxed) || !state.intent_is(Ending::None);
        if !wanted && !state.data().is_changed() {
            // What this request wanted to change, the other has changed the same way: its visitor is told so too.
            resend(state);
            return Ok(Saved::Unchanged);
        }
    }
}

/// What became of one try.
enum Swap {
    Done(Saved),
    /// Somebody else was faster, with this record where the store shows it.
    Conflict(Option<Record>),
}

/// One compare-and-swap: where the session is, or to a new id if it is to be renewed.
async fn swap(state: &State) -> Result<Swap, Error> {
    let Config { engine, limits, .. } = &*state.config;
    let intent = state.intent();
    let Some(old) = state.data().origin.clone() else { return Err(Error::gone()) };
    let when = When::Tagged(old.tag);
    let renewed = intent.ending == Ending::Renewed;
    let (id, key) = if renewed {
        let id = new_id(state).await?;
        (id.clone(), state.config.key(&id))
    } else {
        (old.id, old.key.clone())
    };
    let login = login(state, false).await;
    let version = version(state, false, login)?;
    let (operation, written) = if renewed {
        (Operation::Rotate, engine.rotate(*limits, &old.key, when, &key, &version.record).await)
    } else {
        (Operation::Set, engine.set(*limits, &key, &version.record, when).await)
    };
    let written = written.map_err(|e| Error::store(operation, e))?;
    if written == Written::Done {
        logged_in(state, &key, &version, login).await;
    }
    match written {
        Written::Done if renewed => {
            state.settle(intent);
            adopt(state, id, key, version);
            Ok(Swap::Done(Saved::Rotated))
        }
        Written::Done => {
            adopt(state, id, key, version);
            Ok(Swap::Done(Saved::Updated))
        }
        Written::Gone => Err(Error::gone()),
        Written::Conflict(current) => Ok(Swap::Conflict(current)),
    }
}

/// The tries of one write that others came between.
#[derive(Default)]
struct Tries {
    conflicts: u32,
    draws: u32,
}

impl Tries {
    /// Puts this request's changes onto what is in the store now, and steps aside for a moment.
    async fn lost(&mut self, state: &State, current: Option<Record>) -> Result<(), Error> {
        let moved = rebase(state, current).await?;
        if !moved {
            // The old record stands as it stood: it is the new id that is in the way.
            state.data().new_id = None;
            self.draws += 1;
            if self.draws == MAX_DRAWS {
                return Err(taken());
            }
        }
        self.conflicts += 1;
        if self.conflicts == MAX_CONFLICTS {
            let why = "too many requests write this session at one time";
            return Err(Error::store(Operation::Set, StoreError::unavailable(why)));
        }
        back_off(self.conflicts).await;
        Ok(())
    }
}

/// Puts this request's changes onto what is in the store now. Whether that is another version than before.
async fn rebase(state: &State, current: Option<Record>) -> Result<bool, Error> {
    let config = &*state.config;
    let Some(origin) = state.data().origin.clone() else { return Err(Error::gone()) };
    let current = match current {
        Some(record) => record,
        None => read(state, &origin).await?,
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
    let moved = current.tag != origin.tag;
    if config.strict && moved && data.is_changed() {
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
    if let Some(origin) = data.origin.as_mut() {
        origin.tag = current.tag;
        origin.expires_at = current.expires_at;
    }
    let created = data.base.created.min(theirs.created).or(theirs.created);
    data.base = Content { created, ..theirs };
    Ok(moved)
}

/// What the store holds of the session now.
async fn read(state: &State, origin: &Origin) -> Result<Record, Error> {
    let found = state.config.engine.get(state.config.limits, &origin.key).await;
    found.map_err(|e| Error::store(Operation::Get, e))?.ok_or_else(Error::gone)
}

async fn touch(state: &State) -> Result<Saved, Error> {
    let (origin, life) = {
        let (data, intent) = state.data_and_intent();
        (data.origin.clone(), state.facts(&data, intent, state.config.clock.now()).1)
    };
    let Some(origin) = origin else { return Ok(Saved::Unchanged) };
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
/// If it cannot be stored, it is undone.
pub(crate) async fn transact<R>(
    state: &State,
    mut change: impl FnMut(&mut Data) -> Result<R, Error> + Send,
) -> Result<R, Error> {
    let _one_at_a_time = state.committing.lock().await;
    let goes_on = state.intent_is(Ending::None) || state.intent_is(Ending::Renewed);
    let Some(origin) = state.data().origin.clone().filter(|_| goes_on) else {
        return transact_anew(state, change).await;
    };
    // A hook of the application's may wait for a turn itself: with one, the tag alone decides.
    let Config { engine, limits, hooks, .. } = &*state.config;
    let _turn = match hooks.before_save {
        None => engine.turn(*limits, &origin.key).await,
        Some(_) => None,
    };
    let mut tries = Tries::default();
    loop {
        let before = state.data().object().clone();
        let (result, changed) = {
            let mut data = state.data();
            let result = change(&mut data)?;
            (result, data.is_changed())
        };
        let asked = if changed { ask_before_save(state).await } else { Ok(()) };
        let seen = state.data().object().clone();
        let tried = match asked {
            Ok(()) if changed => swap(state).await,
            Ok(()) => unmoved(state).await,
            Err(error) => Err(error),
        };
        if let Ok(Swap::Done(_)) = tried {
            return Ok(result);
        }
        state.data().undo(&seen, &before);
        if let Swap::Conflict(current) = tried? {
            tries.lost(state, current).await?;
        }
    }
}

/// The same for a session that begins: nobody else can write it.
async fn transact_anew<R>(
    state: &State,
    mut change: impl FnMut(&mut Data) -> Result<R, Error> + Send,
) -> Result<R, Error> {
    let before = state.data().object().clone();
    let result = change(&mut state.data())?;
    let decided = decision(state).await;
    let seen = state.data().object().clone();
    let done = match decided {
        Ok(decision) => carry_out(state, decision).await,
        Err(error) => Err(error),
    };
    if done.is_err() {
        state.data().undo(&seen, &before);
    }
    done.map(|_| result)
}

/// Nothing was changed, on the strength of what was loaded: is that still what the store holds?
async fn unmoved(state: &State) -> Result<Swap, Error> {
    let Some(origin) = state.data().origin.clone() else { return Err(Error::gone()) };
    let current = read(state, &origin).await?;
    if current.tag == origin.tag {
        return Ok(Swap::Done(Saved::Unchanged));
    }
    Ok(Swap::Conflict(Some(current)))
}

/// Steps aside for a random moment, longer each time; the first time not at all.
async fn back_off(conflicts: u32) {
    if conflicts == 1 {
        return;
    }
    let most = 1_u64 << conflicts.min(6).saturating_sub(1);
    let pause = rand::thread_rng().gen_range(0..=most);
    tokio::time::sleep(Duration::from_millis(pause)).await;
}

fn taken() -> Error {
    Error::new(Kind::Id("`gen_id` gives ids that are taken".into()))
}

//! Carrying the decision out: with its parts the only place that writes to the store, but for a takeover.

mod at_once;
mod login;
mod swap;
mod transact;
mod version;

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll},
};

use tokio::runtime::Handle;
use tracing::{Instrument, Span};

pub(crate) use self::transact::transact;
use self::{
    at_once::at_once,
    login::{logged_in, login_at, who_logs_in},
    swap::write,
    version::{adopt_at, ask_before_save, new_id, version},
};
use crate::{
    clock::Timestamp,
    codec::Content,
    cookie::CookieLife,
    engine::{Group, Repeat},
    error::{Error, Kind, Operation},
    hooks::Later,
    id::{SessionId, StoreKey},
    lifetime::Life,
    rules::{Action, Ending, decide},
    state::{Data, Due, Edits, Frame, Intent, Owed, State},
    store::{When, Written},
    takeover,
    transport::Presented,
};

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

/// A commit that runs to its end even if its caller is dropped: what is left of it then is handed to the runtime, within the
/// drop, so that no moment lies between in which it could be lost.
pub(crate) struct Committing {
    commit: Option<Later<Result<Saved, Error>>>,
    /// Where it goes on without its caller. None as long as nothing has been waited for.
    refuge: Option<(Handle, Span)>,
}

impl Committing {
    pub(crate) fn new(state: Arc<State>) -> Self {
        Self { commit: Some(Box::pin(commit(state))), refuge: None }
    }
}

impl Future for Committing {
    type Output = Result<Saved, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // Not in its place meanwhile: one that has panicked is not handed on.
        let Some(mut commit) = self.commit.take() else { return Poll::Pending };
        let polled = commit.as_mut().poll(cx);
        if polled.is_pending() {
            self.commit = Some(commit);
            if self.refuge.is_none() {
                self.refuge = Handle::try_current().ok().map(|runtime| (runtime, Span::current()));
            }
        }
        polled
    }
}

impl Drop for Committing {
    fn drop(&mut self) {
        if let (Some(commit), Some((runtime, span))) = (self.commit.take(), self.refuge.take()) {
            drop(runtime.spawn(commit.instrument(span)));
        }
    }
}

/// Closes the session of who has it alone, where that takes no waiting: after requests that have changed nothing, which are
/// most, and where the store is at hand. What is due is to be told. `None`: it takes a [`Committing`].
#[inline]
pub(crate) fn close_alone(state: &mut State) -> Option<Result<Option<Due>, Error>> {
    // A commit would hold it too, so there is none.
    let (frame, data, intent) = state.parted();
    let closed = close(frame, data, intent)?;
    Some(closed.inspect_err(|error| state.failed(error)))
}

/// The same where others may have it, too.
pub(crate) fn close_shared(state: &State) -> Option<Result<Option<Due>, Error>> {
    let _mine = state.committing.try_enter()?;
    let (mut data, intent) = state.data_and_intent();
    let closed = close(state, &mut data, intent)?;
    drop(data);
    Some(closed.inspect_err(|error| state.failed(error)))
}

#[inline]
fn close(frame: &Frame, data: &mut Data, intent: Intent) -> Option<Result<Option<Due>, Error>> {
    let idle = if frame.is_loaded() {
        !frame.flags.degraded.load(Relaxed) && frame.is_steady(data, intent)
    } else if matches!(intent.ending, Ending::None | Ending::Renewed) {
        true
    } else {
        return None;
    };
    if !idle && let Err(error) = at_once(frame, data, intent)? {
        return Some(Err(error));
    }
    frame.flags.closed.store(true, Relaxed);
    Some(Ok(data.take_due()))
}

/// Commits what the request has changed so far. Runs to its end even if its caller is dropped.
pub(crate) async fn save(state: &Arc<State>) -> Result<Saved, Error> {
    if let Some(done) = save_at_once(state) {
        return done.inspect_err(|error| state.failed(error));
    }
    Committing::new(state.clone()).await
}

fn save_at_once(state: &State) -> Option<Result<Saved, Error>> {
    let _mine = state.committing.try_enter()?;
    let (mut data, intent) = state.data_and_intent();
    at_once(state, &mut data, intent)
}

/// Decides and carries out, once, with everything that the request has changed so far.
async fn commit(state: Arc<State>) -> Result<Saved, Error> {
    commit_now(&state).await.inspect_err(|error| state.failed(error))
}

async fn commit_now(state: &State) -> Result<Saved, Error> {
    let _one_at_a_time = state.committing.enter().await;
    if !state.is_loaded() {
        match state.intent().ending {
            Ending::None | Ending::Renewed => return Ok(Saved::Unchanged),
            _ if state.flags.prevent_save.load(Relaxed) => return Ok(Saved::Unchanged),
            // Loaded, since the cookie that it takes away may have settings of its own; but a logout does not fail
            // because what it ends cannot be read.
            Ending::Destroyed => drop(Box::pin(state.load()).await),
            Ending::Regenerated => Box::pin(state.load()).await?,
        }
    }
    if !state.is_loaded() || state.flags.degraded.load(Relaxed) {
        Box::pin(end_unread(state)).await
    } else {
        let decision = decision(state).await?;
        carry_out(state, decision).await
    }
}

/// What is to be done, the intent that it carries out, and the moment for which that is so.
struct Decision {
    action: Action,
    intent: Intent,
    now: Timestamp,
    /// With whom a write takes turns; nobody where there is nothing to write over.
    group: Option<Group>,
}

/// Decides, with what the hook has to add.
async fn decision(state: &State) -> Result<Decision, Error> {
    let decision = look(state);
    let saves = matches!(decision.action, Action::Create | Action::Update | Action::Rotate);
    if !saves || state.config.hooks.before_save.is_none() {
        return Ok(decision);
    }
    Box::pin(ask_before_save(state)).await?;
    Ok(look(state))
}

fn look(state: &State) -> Decision {
    let now = state.config.clock.now();
    let (data, intent) = state.data_and_intent();
    let (facts, _) = state.facts(&data, intent, now);
    let group = data.origin.as_ref().map(|origin| Group::of(&origin.key));
    Decision { action: decide(facts), intent, now, group }
}

async fn carry_out(state: &State, Decision { action, intent, now, group }: Decision) -> Result<Saved, Error> {
    match action {
        Action::Nothing => {
            leave(state, intent);
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
        Action::Destroy => Box::pin(destroy(state, intent)).await,
        Action::Create => create(state, intent, now).await,
        Action::Update | Action::Rotate => write(state, now, group).await,
        Action::Touch => touch(state).await,
    }
}

/// There is nothing to do about an intent.
fn leave(frame: &Frame, intent: Intent) {
    // What is held back may still be wanted, and a logout stands until something is written.
    if !frame.flags.prevent_save.load(Relaxed) && intent.ending != Ending::Destroyed {
        frame.settle(intent);
    }
}

fn owe_cookie(frame: &Frame, data: &mut Data, life: impl Fn(CookieLife) -> CookieLife) {
    let now = frame.config.clock.now();
    let (_, fresh) = frame.facts(data, frame.intent(), now);
    let options = data.cookie().cloned().map(Box::new);
    data.owed = Some(Owed::Cookie { options, life: life(fresh.cookie), at: now });
}

/// Sends the cookie for what is in the store: it must not promise more than what is left there.
fn resend(state: &State) {
    let mut data = state.data();
    let Some(origin) = data.origin.as_mut() else { return };
    origin.signature.renew();
    let end = origin.expires_at;
    owe_cookie(state, &mut data, |life| match life {
        CookieLife::Until(fresh) => CookieLife::Until(fresh.min(end)),
        other => other,
    });
}

async fn create(state: &State, intent: Intent, now: Timestamp) -> Result<Saved, Error> {
    let config = &*state.config;
    let (engine, limits) = (&config.engine, &config.limits);
    let old = state.data().origin.as_ref().map(|old| old.id.clone());
    for _ in 0..MAX_DRAWS {
        let id = new_id(state).await?;
        let key = state.config.key(&id);
        let principal = who_logs_in(&state.data(), true).map(Into::into);
        let login = login_at(state, principal).await;
        let (record, version) = version(config, &state.data(), true, login, now)?;
        let written = engine.set(limits, &key, &record, When::Absent, Repeat::Harmless).await;
        match written.map_err(|e| Error::store(Operation::Set, e))? {
            Written::Done => {
                if let Some(old) = &old {
                    Box::pin(end(state, old, Some(&key))).await?;
                }
                logged_in(state, &key, &record, login).await;
                let saved = if old.is_some() { Saved::Rotated } else { Saved::Created };
                state.settle(intent);
                adopt_at((id, key), state, &mut state.data(), version, &record.data);
                return Ok(saved);
            }
            Written::Gone | Written::Conflict(_) => state.data().new_id = None,
        }
    }
    Err(taken())
}

/// Ends a stored session. If that fails, its successor goes too: half of a change of id would be worse than none.
async fn end(state: &State, old: &SessionId, successor: Option<&StoreKey>) -> Result<(), Error> {
    let config = &*state.config;
    let Err(error) = takeover::end(config, old).await else {
        if successor.is_none() {
            config.observer.destroyed(&config.key(old));
        }
        return Ok(());
    };
    if let Some(successor) = successor
        && let Err(error) = config.engine.destroy(&config.limits, successor).await
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
    end(state, &old.id, None).await?;
    if intent.ending != Ending::Destroyed {
        state.settle(intent);
    }
    let mut data = state.data();
    let options = data.base.head.cookie.take();
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
    end(state, &id, None).await?;
    state.settle(intent);
    let mut data = state.data();
    data.way = way;
    data.owed = Some(Owed::Removal { options: None });
    Ok(Saved::Destroyed)
}

async fn touch(state: &State) -> Result<Saved, Error> {
    let (origin, life) = {
        let (data, intent) = state.data_and_intent();
        (data.origin.clone(), state.facts(&data, intent, state.config.clock.now()).1)
    };
    let Some(origin) = origin else { return Ok(Saved::Unchanged) };
    let config = &*state.config;
    let alive = match config.engine.touch(&config.limits, &origin.key, life.store).await {
        Ok(alive) => alive,
        Err(error) => {
            let failed = Err(Error::store(Operation::Touch, error));
            let asked = Box::pin(state.or_degraded(Operation::Touch, failed)).await;
            return asked.map(|()| Saved::Unchanged);
        }
    };
    Ok(touched(state, &mut state.data(), alive, life))
}

/// What became of a session that was to be extended.
fn touched(frame: &Frame, data: &mut Data, alive: bool, life: Life) -> Saved {
    let config = &*frame.config;
    let Some(origin) = data.origin.as_mut() else { return Saved::Unchanged };
    if !alive {
        config.observer.not_touched(&origin.key);
        return Saved::Unchanged;
    }
    config.observer.touched(&origin.key, life.store);
    origin.expires_at = origin.expires_at.max(life.store);
    let stale = origin.signature.renew();
    if stale || !config.lifetime.silent {
        owe_cookie(frame, data, |fresh| fresh);
    }
    Saved::Touched
}

fn taken() -> Error {
    Error::new(Kind::Id("`gen_id` gives ids that are taken".into()))
}

//! A change that is made against the store, as often as it takes.

use super::{
    Saved, carry_out, decision,
    swap::{Swap, Tries, read, swap},
    version::ask_before_save,
};
use crate::{
    config::Config,
    engine::{Group, Repeat},
    error::Error,
    rules::Ending,
    state::{Data, State},
};

/// Changes the session in the store, now, as often as it takes: `change` is run again on what others have written.
/// If it cannot be stored, it is undone.
pub(crate) async fn transact<R>(
    state: &State,
    mut change: impl FnMut(&mut Data) -> Result<R, Error> + Send,
) -> Result<R, Error> {
    let _one_at_a_time = state.committing.enter().await;
    let goes_on = state.intent_is(Ending::None) || state.intent_is(Ending::Renewed);
    let Some(origin) = state.data().origin.clone().filter(|_| goes_on) else {
        return transact_anew(state, change).await;
    };
    // A hook of the application's may wait for a turn itself: with one, the tag alone decides.
    let Config { engine, limits, hooks, .. } = &*state.config;
    let _turn = match hooks.before_save {
        None => engine.turn(limits, Group::of(&origin.key)).await,
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
            Ok(()) if changed => swap(state, Repeat::Harmful, state.config.clock.now()).await,
            Ok(()) => unmoved(state).await,
            Err(error) => Err(error),
        };
        let lost = match tried {
            Ok(Swap::Done(_)) => return Ok(result),
            Ok(Swap::Conflict(current)) => Ok(current),
            Err(error) => Err(error),
        };
        state.data().undo(&seen, &before);
        tries.lost(state, lost?).await?;
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

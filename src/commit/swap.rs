//! Writing a session that others write too: a compare-and-swap, merged and tried again.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use rand::Rng;

use super::{
    MAX_DRAWS, Saved,
    login::{logged_in, login_at, who_logs_in},
    resend, taken,
    version::{adopt, adopt_at, new_id, version},
};
use crate::{
    clock::Timestamp,
    config::Config,
    engine::{Group, Repeat},
    error::{Error, Operation},
    object::merge,
    observe::Was,
    rules::Ending,
    state::{Origin, State},
    store::{Record, StoreError, When, Written},
};

/// How often an update is merged and tried again before the answer is 503.
const MAX_CONFLICTS: u32 = 64;

/// Writes the known session, as often as it takes until nobody else comes between.
pub(super) async fn write(state: &State, mut now: Timestamp, group: Option<Group>) -> Result<Saved, Error> {
    let group = group.ok_or_else(Error::gone)?;
    let _turn = state.config.engine.turn(&state.config.limits, group).await;
    // A merge puts the same values under the same keys; but what is not to be merged would be told that it has lost.
    let repeat = if state.config.strict { Repeat::Harmful } else { Repeat::Harmless };
    let mut tries = Tries::default();
    loop {
        match swap(state, repeat, now).await? {
            Swap::Done(saved) => return Ok(saved),
            Swap::Conflict(current) => Box::pin(tries.lost(state, current)).await?,
        }
        now = state.config.clock.now();
        let wanted = state.flags.force_save.load(Relaxed) || !state.intent_is(Ending::None);
        if !wanted && !state.data().is_changed() {
            // What this request wanted to change, the other has changed the same way: its visitor is told so too.
            resend(state);
            return Ok(Saved::Unchanged);
        }
    }
}

/// What became of one try.
pub(super) enum Swap {
    Done(Saved),
    /// Somebody else was faster, with this record where the store shows it.
    Conflict(Option<Record>),
}

/// One compare-and-swap: where the session is, or to a new id if it is to be renewed.
pub(super) async fn swap(state: &State, repeat: Repeat, now: Timestamp) -> Result<Swap, Error> {
    let Config { engine, limits, .. } = &*state.config;
    let intent = state.intent();
    let renewed = if intent.ending == Ending::Renewed {
        let id = Box::pin(new_id(state)).await?;
        let key = state.config.key(&id);
        Some(Box::new((id, key)))
    } else {
        None
    };
    let (old, principal) = {
        let data = state.data();
        (data.origin.clone().ok_or_else(Error::gone)?, who_logs_in(&data, false).map(Into::into))
    };
    let when = When::Tagged(old.tag);
    let login = login_at(state, principal).await;
    let (record, version) = version(&state.config, &state.data(), false, login, now)?;
    let (operation, written) = match &renewed {
        // In a box: what is seldom done is not to make every write's future larger.
        Some(new) => {
            let moved = Box::pin(engine.rotate(limits, &old.key, when, &new.1, &record)).await;
            (Operation::Rotate, moved)
        }
        None => (Operation::Set, engine.set(limits, &old.key, &record, when, repeat).await),
    };
    match written.map_err(|e| Error::store(operation, e))? {
        Written::Done => {
            let key = renewed.as_ref().map_or(&old.key, |new| &new.1);
            logged_in(state, key, &record, login).await;
            let saved = if renewed.is_some() { Saved::Rotated } else { Saved::Updated };
            if saved == Saved::Rotated {
                state.settle(intent);
            }
            let mut data = state.data();
            match renewed {
                Some(new) => adopt_at(*new, state, &mut data, version, &record.data),
                None => adopt(state, &mut data, Was::There, version, Some(&record.data)),
            }
            Ok(Swap::Done(saved))
        }
        Written::Gone => Err(Error::gone()),
        Written::Conflict(current) => Ok(Swap::Conflict(current)),
    }
}

/// The tries of one write that others came between.
#[derive(Default)]
pub(super) struct Tries {
    conflicts: u32,
    draws: u32,
}

impl Tries {
    /// Puts this request's changes onto what is in the store now, and steps aside for a moment.
    pub(super) async fn lost(&mut self, state: &State, current: Option<Record>) -> Result<(), Error> {
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
        .decode(current.data, &config.cookie)
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
        if moved {
            config.observer.merged(&origin.key, merged.clashes);
        }
        data.edits.object = Some(merged.object);
    }
    if let Some(origin) = data.origin.as_mut() {
        origin.tag = current.tag;
        origin.expires_at = current.expires_at;
    }
    let created = data.base.head.created.min(theirs.head.created).or(theirs.head.created);
    data.base = theirs;
    data.base.head.created = created;
    Ok(moved)
}

/// What the store holds of the session now.
pub(super) async fn read(state: &State, origin: &Origin) -> Result<Record, Error> {
    let found = state.config.engine.get(&state.config.limits, &origin.key).await;
    found.map_err(|e| Error::store(Operation::Get, e))?.ok_or_else(Error::gone)
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

//! Commits that nothing has to be waited for: the store is at hand, and nobody else is asked.
//!
//! They decide, write and take note under one lock, and make no future. Whatever is not as usual is left to those who wait.

use std::sync::atomic::Ordering::Relaxed;

use super::{
    Saved, leave,
    login::who_logs_in,
    touched,
    version::{adopt, kept_version},
};
use crate::{
    error::Error,
    id::SessionId,
    observe::Was,
    rules::{Action, Ending, decide},
    state::{Data, Frame, Intent, Origin},
    store::{When, Written},
    transport::Signature,
};

/// Commits the session, which has been loaded, or leaves it as it was: `None` where that may take waiting.
pub(super) fn at_once(frame: &Frame, data: &mut Data, intent: Intent) -> Option<Result<Saved, Error>> {
    let config = &*frame.config;
    let store = config.engine.at_hand(&config.limits);
    // What was changed is compared with what is stored only once, by who writes it.
    let left_to_others = store.is_none() && !data.edits.is_empty();
    if left_to_others || frame.flags.degraded.load(Relaxed) {
        return None;
    }
    let now = config.clock.now();
    let (facts, life) = frame.facts(data, intent, now);
    let action = decide(facts);
    if action == Action::Nothing {
        leave(frame, intent);
        return Some(Ok(Saved::Unchanged));
    }
    let store = store?;
    let begins = match action {
        Action::Touch => {
            let alive = store.touch(&data.origin.as_ref()?.key, life.store, config.clock.told(now));
            return Some(Ok(touched(frame, data, alive, life)));
        }
        Action::Update => false,
        Action::Create if data.origin.is_none() && config.hooks.gen_id.is_none() => true,
        _ => return None,
    };
    if config.hooks.before_save.is_some() || who_logs_in(data, begins).is_some() {
        return None;
    }
    let (record, version) = match kept_version(config, data, begins, now) {
        Ok(version) => version,
        Err(error) => return Some(Err(error)),
    };
    let told = config.clock.told(now);
    let (was, written) = match &data.origin {
        Some(origin) => (Was::There, store.set(&origin.key, record, When::Tagged(origin.tag), told)),
        None => {
            let id = data.new_id.clone().unwrap_or_else(SessionId::random);
            let key = config.key(&id);
            // Made in its place, and taken out again if it is not to be had.
            let origin = data.origin.insert(Origin::new(id, key, Signature::None));
            (Was::Nowhere, store.set(&origin.key, record, When::Absent, told))
        }
    };
    match &written {
        Some(Written::Done) => {
            if intent.ending != Ending::None {
                frame.settle(intent);
            }
            adopt(frame, data, was, version, None);
            Some(Ok(if begins { Saved::Created } else { Saved::Updated }))
        }
        refused => {
            if begins {
                data.origin = None;
            }
            // What is not gone is to be merged or given another id, or room is to be made for it.
            matches!(refused, Some(Written::Gone)).then(|| Err(Error::gone()))
        }
    }
}

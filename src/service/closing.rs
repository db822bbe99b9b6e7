//! When the handler has answered: the session is closed, at once or after some waiting.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use axum::response::{IntoResponse, Response};

use super::answer::tell;
use crate::{
    commit::{close_alone, close_shared},
    error::{Error, Operation},
    hooks::Later,
    state::State,
};

/// What is left to be waited for when the handler has answered.
pub(super) enum Rest {
    Commit(Arc<State>),
    Discard(Arc<State>),
    Fail(Arc<State>, Error),
}

/// The handler has answered: closes the session, as far as that takes no waiting. Apart from the future, so that it is
/// compiled with this crate, once, and not into each application's.
#[inline(never)]
pub(super) fn end(mut state: Arc<State>, response: &mut Response) -> Option<Rest> {
    if !state.is_asked_for() {
        State::give_back(state);
        return None;
    }
    if !(state.config.commit_on)(response.status()) {
        return Some(Rest::Discard(state));
    }
    let closed = match Arc::get_mut(&mut state) {
        // As nearly always: what is left of it is used again.
        Some(own) => close_alone(own).map(|closed| {
            closed.map(|due| {
                tell(own, due, response);
                own.clear()
            })
        }),
        None => close_shared(&state).map(|closed| {
            closed.map(|due| {
                tell(&state, due, response);
                false
            })
        }),
    };
    match closed {
        Some(Ok(spare)) => {
            if spare {
                State::keep(state);
            }
            None
        }
        Some(Err(error)) => Some(Rest::Fail(state, error)),
        None => Some(Rest::Commit(state)),
    }
}

/// The end of the request: the client is told what it must know.
pub(super) fn close(state: &State, mut response: Response) -> Response {
    state.flags.closed.store(true, Relaxed);
    let due = state.data().take_due();
    tell(state, due, &mut response);
    response
}

// What is seldom done is put together out of the way of what is done for every request.
#[cold]
pub(super) fn discarding(state: Arc<State>, response: Response) -> Later<Response> {
    Box::pin(discard(state, response))
}

#[cold]
pub(super) fn failing(state: Arc<State>, response: Response, error: Error) -> Later<Response> {
    Box::pin(fail(state, response, error))
}

/// By the response's status nothing of what the handler did to the session counts.
async fn discard(state: Arc<State>, response: Response) -> Response {
    // A save that is still under way ends first, so that its cookie is sent.
    let _one_at_a_time = state.committing.enter().await;
    state.discard();
    close(&state, response)
}

/// Nothing was saved: the handler's own answer goes out only if the handler of errors says so.
async fn fail(state: Arc<State>, response: Response, error: Error) -> Response {
    let gone = error.is_gone();
    let failed = match error.operation() {
        // Where the load or the touch failed, the handler of errors has been asked.
        None | Some(Operation::Get | Operation::Touch) => Err(error),
        Some(operation) => state.or_degraded(operation, Err(error)).await,
    };
    state.discard();
    if gone {
        // No cookie at all, neither one that revives the session nor one that removes a newer.
        state.data().owed = None;
    }
    let response = match failed {
        Ok(()) => response,
        Err(error) if response.status().is_server_error() => {
            // What went wrong first is what the client is told.
            error.report();
            response
        }
        Err(error) => error.into_response(),
    };
    close(&state, response)
}

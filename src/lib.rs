//! Server-side sessions for axum.
mod error;
mod clock;
mod id;
mod keyring;
mod cookie;
mod object;
mod view;
mod codec;
mod transport;
pub mod store;
mod hooks;
mod lifetime;
mod engine;
mod config;
mod rules;
mod state;
mod commit;
mod session;
mod manager;
mod layer;
mod service;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(test)]
mod properties;

pub use ::cookie::{Key, SameSite};

#[cfg(feature = "memory-store")]
pub use crate::store::MemoryStore;
pub use crate::{
    clock::{Clock, SystemClock, Timestamp},
    commit::Saved,
    cookie::{CookieOptions, MaxAge, Priority},
    error::{ConfigError, Error, Operation},
    hooks::{Candidate, Draft, Failure, Snapshot, Verdict},
    id::{SessionId, StoreKey},
    layer::SessionLayer,
    lifetime::Rolling,
    manager::Sessions,
    service::{SessionFuture, SessionService},
    session::{Loaded, Main, Map, Session},
    state::ForcedId,
    store::Store,
    transport::{IdTransport, Transport},
    view::SessionData,
};

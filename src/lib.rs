//! Server-side sessions for axum.
mod clock;
mod id;
pub mod store;

pub use crate::{
    clock::{Clock, SystemClock, Timestamp},
    id::{SessionId, StoreKey},
    store::Store,
};

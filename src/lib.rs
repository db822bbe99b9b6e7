//! Server-side sessions for axum.
mod clock;
mod id;
pub mod store;

#[cfg(feature = "redis-store")]
pub use crate::store::redis::RedisStore;
pub use crate::{
    clock::{Clock, SystemClock, Timestamp},
    id::{SessionId, StoreKey},
    store::Store,
};

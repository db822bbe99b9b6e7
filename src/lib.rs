//! Server-side sessions for axum.
mod clock;
mod id;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;

#[cfg(feature = "memory-store")]
pub use crate::store::MemoryStore;
pub use crate::{
    clock::{Clock, SystemClock, Timestamp},
    id::{SessionId, StoreKey},
    store::Store,
};

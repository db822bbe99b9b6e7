//! Server-side sessions for axum.
mod clock;
mod id;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;

#[cfg(feature = "memory-store")]
pub use crate::store::MemoryStore;
#[cfg(feature = "redis-store")]
pub use crate::store::RedisStore;
/// The driver of [`RedisStore`], in the version that its interface takes.
#[cfg(feature = "redis-store")]
#[doc(no_inline)]
pub use redis;

pub use crate::{
    clock::{Clock, SystemClock, Timestamp},
    id::{SessionId, StoreKey},
    store::Store,
};

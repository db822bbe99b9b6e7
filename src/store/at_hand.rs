//! What a store in this process can do beside the contract: to answer before a call returns.

use std::{fmt, sync::Arc};

use super::{When, Written};
use crate::{clock::Timestamp, id::StoreKey};

/// A record as a store in this process keeps it: its text, notes of where the keys lie, and its tag in one piece of memory.
#[doc(hidden)]
#[derive(Clone)]
pub struct Kept {
    pub expires_at: Timestamp,
    pub principal: Option<Box<str>>,
    pub data: Arc<[u8]>,
}

// As of a record.
impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").field("bytes", &self.data.len()).finish_non_exhaustive()
    }
}

/// Calls of a store that are over when they return. `told`: the time, if the machine's clock has just said it.
#[doc(hidden)]
pub trait AtHand: Sync {
    fn get(&self, key: &StoreKey) -> Option<Kept>;
    /// `None`: there is no room for it at once, and perhaps some can be made.
    fn set(&self, key: &StoreKey, record: Kept, when: When, told: Option<Timestamp>) -> Option<Written>;
    fn touch(&self, key: &StoreKey, expires_at: Timestamp, told: Option<Timestamp>) -> bool;
}

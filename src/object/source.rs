//! What an object has been read from: text that others may hold too.

use std::{ops::Deref, sync::Arc};

use axum::body::Bytes;

/// Text as a store has sent it, or as one in this process keeps it: there the count of those who hold it lies before the text,
/// so that to hold it touches nothing that is not read anyway.
#[derive(Clone)]
pub(crate) enum Source {
    Sent(Bytes),
    Kept(Arc<[u8]>),
}

impl Source {
    /// Whether it is no text at all, which nobody counts.
    #[inline]
    pub(super) fn is_nothing(&self) -> bool {
        matches!(self, Self::Sent(bytes) if bytes.is_empty())
    }
}

impl Deref for Source {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Self::Sent(bytes) => bytes,
            Self::Kept(bytes) => bytes,
        }
    }
}

impl Default for Source {
    fn default() -> Self {
        Self::Sent(Bytes::new())
    }
}

impl From<Bytes> for Source {
    fn from(bytes: Bytes) -> Self {
        Self::Sent(bytes)
    }
}

impl From<Arc<[u8]>> for Source {
    fn from(bytes: Arc<[u8]>) -> Self {
        Self::Kept(bytes)
    }
}

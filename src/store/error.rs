//! What can be wrong with an engine.

use std::{error::Error as StdError, fmt};

/// Any error, as drivers give them.
pub(crate) type BoxError = Box<dyn StdError + Send + Sync>;

/// The engine could not do what was asked of it.
///
/// An opaque struct: match on [`kind`](Self::kind); the driver's own error is the [`cause`](Self::cause) and
/// appears in logs, never in a response.
#[derive(Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    source: BoxError,
}

/// What kind of trouble a [`StoreError`] is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// The engine cannot be reached, did not answer in time, or is overloaded. Answered with 503.
    Unavailable(Applied),
    /// The engine accepts no writes: a replica, a read-only database. Answered with 503.
    ReadOnly,
    /// The engine has no room. Answered with 507. Removing sessions still works.
    Full,
    /// The record is larger than the engine, or the layer's `max_size`, takes. Answered with 500.
    TooLarge,
    /// What is stored under the key is not a session. Answered with 500, and never overwritten.
    Corrupt,
    /// The engine refuses this user the command. Answered with 500.
    Denied,
    /// The engine is not set up for this: a missing table, a wrong type, a forbidden script. Answered with 500.
    Misconfigured,
}

/// Whether a write whose answer did not come has happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Applied {
    /// The engine never saw it.
    No,
    /// The engine may have carried it out.
    Unknown,
}

impl StoreErrorKind {
    /// The word for it in logs and metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Unavailable(Applied::No) => "unavailable",
            Self::Unavailable(Applied::Unknown) => "in_doubt",
            Self::ReadOnly => "read_only",
            Self::Full => "full",
            Self::TooLarge => "too_large",
            Self::Corrupt => "corrupt",
            Self::Denied => "denied",
            Self::Misconfigured => "misconfigured",
        }
    }
}

impl StoreError {
    /// An error of this kind, caused by `source` (a driver's error, or a sentence).
    ///
    /// ```
    /// use axum_generic_session::store::{StoreError, StoreErrorKind};
    ///
    /// let full = StoreError::new(StoreErrorKind::Full, "no space left on device");
    /// assert_eq!(full.to_string(), "the session store is full: no space left on device");
    /// ```
    #[must_use]
    pub fn new(kind: StoreErrorKind, source: impl Into<BoxError>) -> Self {
        Self { kind, source: source.into() }
    }

    /// The engine is away, and certainly has not carried out the command.
    #[must_use]
    pub fn unavailable(source: impl Into<BoxError>) -> Self {
        Self::new(StoreErrorKind::Unavailable(Applied::No), source)
    }

    /// The engine is away, and may or may not have carried out the command.
    #[must_use]
    pub fn in_doubt(source: impl Into<BoxError>) -> Self {
        Self::new(StoreErrorKind::Unavailable(Applied::Unknown), source)
    }

    /// What is stored cannot be read as a session.
    #[must_use]
    pub fn corrupt(source: impl Into<BoxError>) -> Self {
        Self::new(StoreErrorKind::Corrupt, source)
    }

    /// What kind of trouble it is.
    #[must_use]
    pub const fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// What the driver said, to be downcast by whoever knows the driver.
    #[must_use]
    pub fn cause(&self) -> &(dyn StdError + Send + Sync + 'static) {
        &*self.source
    }

    /// Whether trying again later may help.
    #[must_use]
    pub const fn is_unavailable(&self) -> bool {
        matches!(self.kind, StoreErrorKind::Unavailable(_))
    }
}

impl fmt::Display for StoreErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unavailable(Applied::No) => "the session store is unavailable",
            Self::Unavailable(Applied::Unknown) => {
                "the session store did not answer, the write may have happened"
            }
            Self::ReadOnly => "the session store is read-only",
            Self::Full => "the session store is full",
            Self::TooLarge => "the session is too large for its store",
            Self::Corrupt => "the stored session cannot be read",
            Self::Denied => "the session store denies access",
            Self::Misconfigured => "the session store is not set up",
        })
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.source)
    }
}

impl StdError for StoreError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        // `Display` has shown the source already; a reporter goes on with what caused that.
        self.source.source()
    }
}

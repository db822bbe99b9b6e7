//! Time as sessions see it: milliseconds since 1970 UTC, from a clock that can be replaced.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// A moment: milliseconds since 1970-01-01 00:00:00 UTC.
///
/// ```
/// use axum_generic_session::Timestamp;
/// use std::time::Duration;
///
/// let noon = Timestamp::from_millis(1_700_000_000_000);
/// assert_eq!(noon.saturating_add(Duration::from_secs(1)).as_millis(), 1_700_000_001_000);
/// assert_eq!(noon.saturating_add(Duration::MAX), Timestamp::MAX);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The last moment that every store and every cookie can name: the end of the year 9999.
    pub const MAX: Self = Self(253_402_300_799_999);
    /// 1970-01-01 00:00:00 UTC: what a removal cookie carries as its expiry.
    pub const EPOCH: Self = Self(0);

    /// The moment `millis` milliseconds after 1970 (capped at [`MAX`](Self::MAX)).
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        if millis > Self::MAX.0 { Self::MAX } else { Self(millis) }
    }

    fn after_epoch(since: Duration) -> Self {
        Self::from_millis(since.as_secs().saturating_mul(1000).saturating_add(since.subsec_millis().into()))
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// This moment plus `duration`, capped at [`MAX`](Self::MAX): no lifetime, however long, overflows.
    #[must_use]
    pub fn saturating_add(self, duration: Duration) -> Self {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self::from_millis(self.0.saturating_add(millis))
    }

    /// How long after `earlier` this moment is; zero if it is not after it.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        Self::after_epoch(time.duration_since(UNIX_EPOCH).unwrap_or_default())
    }
}

/// Where the crate reads the time. Tests put a `testing::ManualClock` here.
pub trait Clock: Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Timestamp;
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> Timestamp {
        (**self).now()
    }
}

/// The clock of the machine.
#[derive(Clone, Copy, Default, Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        SystemTime::now().into()
    }
}

/// A clock whose type has been forgotten, with a `Debug` for the structures that hold it.
#[derive(Clone)]
pub(crate) enum SharedClock {
    /// The machine's, which is read without asking anybody.
    System,
    Other(Arc<dyn Clock>),
}

impl SharedClock {
    pub(crate) fn of(clock: impl Clock) -> Self {
        Self::Other(Arc::new(clock))
    }

    pub(crate) fn now(&self) -> Timestamp {
        match self {
            Self::System => SystemClock.now(),
            Self::Other(clock) => clock.now(),
        }
    }

    /// The time for who may be late by some milliseconds.
    #[cfg(feature = "memory-store")]
    pub(crate) fn about_now(&self) -> Timestamp {
        match self {
            Self::System => at_the_last_tick(),
            Self::Other(clock) => clock.now(),
        }
    }

    /// What it has just said, for others who read the machine's clock; nothing, if it is another one.
    pub(crate) fn told(&self, now: Timestamp) -> Option<Timestamp> {
        matches!(self, Self::System).then_some(now)
    }
}

/// The machine's time as the kernel last wrote it down, as a rule less than a tick of 1 to 10 ms ago: to read that takes
/// 5 ns, where to ask the processor how long ago it was takes 20 to 40.
#[cfg(all(target_os = "linux", feature = "memory-store"))]
fn at_the_last_tick() -> Timestamp {
    use nix::{
        sys::time::TimeValLike,
        time::{ClockId, clock_gettime},
    };

    match clock_gettime(ClockId::CLOCK_REALTIME_COARSE) {
        Ok(time) => Timestamp::from_millis(u64::try_from(time.num_milliseconds()).unwrap_or_default()),
        // As where there is no such clock.
        Err(_) => SystemClock.now(),
    }
}

#[cfg(all(not(target_os = "linux"), feature = "memory-store"))]
fn at_the_last_tick() -> Timestamp {
    SystemClock.now()
}

impl fmt::Debug for SharedClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

#[cfg(all(test, feature = "memory-store"))]
mod tests {
    use super::*;

    #[test]
    fn the_last_tick_is_a_moment_ago() {
        for _ in 0..1000 {
            let before = SystemClock.now();
            let tick = SharedClock::System.about_now();
            // However long this thread was stopped: a tick is not from the future, and no second old when it is read.
            assert!(tick <= SystemClock.now() && before <= tick.saturating_add(Duration::from_secs(1)));
        }
        let stopped = SharedClock::of(Stopped);
        assert_eq!(stopped.about_now(), Timestamp::from_millis(7));
    }

    struct Stopped;

    impl Clock for Stopped {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(7)
        }
    }
}

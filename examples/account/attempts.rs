//! How often a password may be guessed from one address.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

const LIMIT: u32 = 10;
const WINDOW: Duration = Duration::from_secs(5 * 60);
/// Addresses remembered at one time.
const ROOM: usize = 10_000;

/// Wrong passwords per address, in this process. A site on several machines counts in what they share; behind a proxy
/// it takes the address that the proxy vouches for, of IPv6 the first half; and it counts per account as well. Not per
/// session: those are free.
#[derive(Default)]
pub(crate) struct Attempts(Mutex<HashMap<IpAddr, (u32, Instant)>>);

impl Attempts {
    /// Whether there may be one more. It counts before the password is looked at, so that many at one time do not
    /// all pass.
    pub(crate) fn begin(&self, from: SocketAddr) -> bool {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= ROOM {
            counts.retain(|_, (_, since)| since.elapsed() < WINDOW);
        }
        if counts.len() >= ROOM {
            // So many addresses at one time are an attack that a table in memory does not end.
            counts.clear();
        }
        let (count, since) = counts.entry(from.ip()).or_insert((0, Instant::now()));
        if since.elapsed() >= WINDOW {
            (*count, *since) = (0, Instant::now());
        }
        *count += 1;
        *count <= LIMIT
    }

    /// The password was right: that was no guess.
    pub(crate) fn succeeded(&self, from: SocketAddr) {
        if let Some((count, _)) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&from.ip()) {
            *count = count.saturating_sub(1);
        }
    }
}

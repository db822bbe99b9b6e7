//! Stores in the shape of the originals: `get`, `set` with a time to live, `destroy`.

use std::{fmt, time::Duration};

use axum::body::Bytes;
use tokio::sync::watch;

use super::{Connection, Guarantee, Layout, Record, Store, StoreError, Tag, When, Written};
use crate::{
    clock::{Clock, SharedClock, Timestamp},
    id::StoreKey,
};

/// An engine that can do no more than the stores of koa-generic-session: wrap it in a [`ThreeMethodStore`].
///
/// ```
/// use axum::body::Bytes;
/// use axum_generic_session::{Clock, SystemClock, Timestamp};
/// use axum_generic_session::store::{StoreError, ThreeMethodStore, ThreeMethods};
/// use std::{collections::HashMap, sync::Mutex, time::Duration};
///
/// #[derive(Default)]
/// struct Cache(Mutex<HashMap<String, (Bytes, Timestamp)>>);
///
/// impl ThreeMethods for Cache {
///     async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
///         let now = SystemClock.now();
///         let cache = self.0.lock().unwrap();
///         Ok(cache.get(key).filter(|(_, end)| *end > now).map(|(data, _)| data.clone()))
///     }
///     async fn set(&self, key: &str, data: Bytes, ttl: Duration) -> Result<(), StoreError> {
///         let end = SystemClock.now().saturating_add(ttl);
///         self.0.lock().unwrap().insert(key.to_owned(), (data, end));
///         Ok(())
///     }
///     async fn destroy(&self, key: &str) -> Result<(), StoreError> {
///         self.0.lock().unwrap().remove(key);
///         Ok(())
///     }
/// }
///
/// let store = ThreeMethodStore::new(Cache::default());
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a three-method store",
    note = "implement `axum_generic_session::store::ThreeMethods`: `get`, `set` with a ttl, and `destroy`",
    note = "see https://docs.rs/axum-generic-session/latest/axum_generic_session/guide/stores/index.html#a-store-of-your-own"
)]
pub trait ThreeMethods: Send + Sync + 'static {
    /// The value under `key`, byte for byte as it was set; `None` once its time to live is over.
    ///
    /// # Errors
    /// When the engine cannot answer. Never for "not there".
    fn get(&self, key: &str) -> impl Future<Output = Result<Option<Bytes>, StoreError>> + Send;

    /// Stores `data` under `key`, whatever is there, for `ttl` (more than zero, a thousandth of a second at
    /// least; of sessions that never end, thousands of years).
    ///
    /// # Errors
    /// When the engine cannot answer or refuses the write.
    fn set(
        &self,
        key: &str,
        data: Bytes,
        ttl: Duration,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Removes what is under `key`, if anything is.
    ///
    /// # Errors
    /// When the engine cannot answer or refuses.
    fn destroy(&self, key: &str) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Whether the engine is there, for clients that tell; as [`Store::connection`].
    fn connection(&self) -> Option<watch::Receiver<Connection>> {
        None
    }

    /// A word for logs: which engine this is.
    fn name(&self) -> &'static str {
        "three-method"
    }
}

/// A [`Store`] over an engine of three methods. **The last writer wins.**
///
/// Conditions are checked by reading first and writing then; between the two, another request may come. So
/// this store cannot promise what the others do ([`Guarantee::LastWriteWins`], of which the layer warns once):
///
/// * two requests that change one session at the same moment may lose one of the changes;
/// * a request that saves at the moment of a logout may bring the session back to life.
///
/// One after the other, its conditions hold. Use it for engines that have nothing better, and for data that
/// bears it; where the engine has a conditional write, implement [`Store`].
///
/// In [`Layout::Native`] one value holds tag, expiry, principal and data, and what has expired is absent
/// even if the engine still holds it. In [`Layout::Plain`] the value is the data, byte for byte, and the expiry
/// is the engine's business: it does not tell, so records read as living until [`Timestamp::MAX`], and a `touch`
/// sets what it is given.
pub struct ThreeMethodStore<S> {
    engine: S,
    clock: SharedClock,
}

impl<S: ThreeMethods> ThreeMethodStore<S> {
    /// The store over `engine`.
    #[must_use]
    pub fn new(engine: S) -> Self {
        Self { engine, clock: SharedClock::System }
    }

    /// Reads the time from `clock`: for tests that do not want to wait.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = SharedClock::of(clock);
        self
    }

    async fn put(&self, key: &StoreKey, record: &Record) -> Result<(), StoreError> {
        let ttl = record.expires_at.saturating_since(self.clock.now());
        if ttl.is_zero() {
            return self.engine.destroy(key.as_str()).await;
        }
        let value = match key.layout() {
            Layout::Native => frame(record)?,
            Layout::Plain => record.data.clone(),
        };
        self.engine.set(key.as_str(), value, ttl).await
    }
}

impl<S> fmt::Debug for ThreeMethodStore<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreeMethodStore").finish_non_exhaustive()
    }
}

impl<S: ThreeMethods> Store for ThreeMethodStore<S> {
    async fn get(&self, key: &StoreKey) -> Result<Option<Record>, StoreError> {
        let Some(value) = self.engine.get(key.as_str()).await? else { return Ok(None) };
        let record = match key.layout() {
            Layout::Native => unframe(&value)?,
            Layout::Plain => {
                Record { tag: Tag::of(&value), expires_at: Timestamp::MAX, principal: None, data: value }
            }
        };
        Ok((record.expires_at > self.clock.now()).then_some(record))
    }

    async fn set(&self, key: &StoreKey, record: &Record, when: When) -> Result<Written, StoreError> {
        match (self.get(key).await?, when) {
            (Some(live), _) if live.tag == record.tag && key.layout() == Layout::Native => {
                return Ok(Written::Done);
            }
            (None, When::Present | When::Tagged(_)) => return Ok(Written::Gone),
            (Some(live), When::Absent) => return Ok(Written::Conflict(Some(live))),
            (Some(live), When::Tagged(tag)) if live.tag != tag => return Ok(Written::Conflict(Some(live))),
            (None, When::Absent) | (Some(_), When::Present | When::Tagged(_)) => {}
        }
        self.put(key, record).await?;
        Ok(Written::Done)
    }

    async fn touch(&self, key: &StoreKey, expires_at: Timestamp) -> Result<bool, StoreError> {
        let Some(mut live) = self.get(key).await? else { return Ok(false) };
        let longer = match key.layout() {
            Layout::Native => expires_at > live.expires_at,
            Layout::Plain => expires_at > self.clock.now(),
        };
        if longer {
            live.expires_at = expires_at;
            self.put(key, &live).await?;
        }
        Ok(true)
    }

    async fn destroy(&self, key: &StoreKey) -> Result<(), StoreError> {
        self.engine.destroy(key.as_str()).await
    }

    fn connection(&self) -> Option<watch::Receiver<Connection>> {
        self.engine.connection()
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::LastWriteWins
    }

    fn name(&self) -> &'static str {
        self.engine.name()
    }
}

/// What a framed value begins with. No JSON text does, so another program's value is never taken for ours.
const VERSION: u8 = 1;
/// Version, tag, expiry in milliseconds, and the length of the principal plus one (zero: there is none).
const HEADER: usize = 1 + 8 + 8 + 2;

/// Version, tag, expiry and principal in front of the data; numbers are big-endian.
fn frame(record: &Record) -> Result<Bytes, StoreError> {
    let name = record.principal.as_deref();
    let Ok(length) = u16::try_from(name.map_or(0, |name| name.len() + 1)) else {
        let reason = "the principal has more than 65,534 bytes; use a shorter name";
        return Err(StoreError::new(super::StoreErrorKind::TooLarge, reason));
    };
    let mut value = Vec::with_capacity(HEADER + usize::from(length) + record.data.len());
    value.push(VERSION);
    value.extend_from_slice(record.tag.as_bytes());
    value.extend_from_slice(&record.expires_at.as_millis().to_be_bytes());
    value.extend_from_slice(&length.to_be_bytes());
    value.extend_from_slice(name.unwrap_or_default().as_bytes());
    value.extend_from_slice(&record.data);
    Ok(value.into())
}

fn unframe(value: &Bytes) -> Result<Record, StoreError> {
    let cut = || StoreError::corrupt("the value is shorter than what a session begins with");
    let (version, rest) = value.split_first().ok_or_else(cut)?;
    if *version != VERSION {
        let reason = "the value was not written by this version of the three-method store; \
                      is the key's layout the right one?";
        return Err(StoreError::corrupt(reason));
    }
    let (tag, rest) = rest.split_first_chunk::<8>().ok_or_else(cut)?;
    let (expires_at, rest) = rest.split_first_chunk::<8>().ok_or_else(cut)?;
    let (length, rest) = rest.split_first_chunk::<2>().ok_or_else(cut)?;
    let length = usize::from(u16::from_be_bytes(*length));
    let name = length.checked_sub(1).map(|end| rest.get(..end).ok_or_else(cut)).transpose()?;
    let principal = name
        .map(|name| std::str::from_utf8(name).map(Into::into))
        .transpose()
        .map_err(|_| StoreError::corrupt("the principal in the value is not text"))?;
    Ok(Record {
        tag: Tag::from(*tag),
        expires_at: Timestamp::from_millis(u64::from_be_bytes(*expires_at)),
        principal,
        data: value.slice(HEADER + length.saturating_sub(1)..),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(principal: Option<&str>, data: &'static [u8]) -> Record {
        Record {
            tag: Tag::random(),
            expires_at: Timestamp::from_millis(1_700_000_000_000),
            principal: principal.map(Into::into),
            data: Bytes::from_static(data),
        }
    }

    #[test]
    fn a_frame_reads_back() {
        for principal in [None, Some(""), Some("alice"), Some("Zoë 🦀")] {
            for data in [&b""[..], b"\0", b"{\"count\":1}"] {
                let record = record(principal, data);
                assert_eq!(unframe(&frame(&record).unwrap()).unwrap(), record);
            }
        }
    }

    #[test]
    fn a_frame_costs_nineteen_bytes() {
        assert_eq!(frame(&record(None, b"{}")).unwrap().len(), 19 + 2);
    }

    #[test]
    fn what_is_no_frame_is_corrupt() {
        let whole = frame(&record(Some("alice"), b"")).unwrap();
        for end in 0..whole.len() {
            assert_eq!(
                unframe(&whole.slice(..end)).unwrap_err().kind(),
                crate::store::StoreErrorKind::Corrupt
            );
        }
        let mut not_text = whole.to_vec();
        not_text[HEADER] = 0xff;
        for foreign in [&b"{\"count\":1}"[..], b"\x02", &not_text] {
            let error = unframe(&Bytes::copy_from_slice(foreign)).unwrap_err();
            assert_eq!(error.kind(), crate::store::StoreErrorKind::Corrupt);
        }
    }

    #[test]
    fn a_principal_too_long_for_the_frame_is_refused() {
        let long = "x".repeat(65_535);
        let error = frame(&record(Some(&long), b"")).unwrap_err();
        assert_eq!(error.kind(), crate::store::StoreErrorKind::TooLarge);
    }
}

//! Another library's sessions, for a site that has left it.

use std::{fmt, future::Future, pin::Pin, sync::Arc};

use axum::body::Bytes;
use serde_json::{Map, Value};

use super::StoreError;
use crate::{clock::Timestamp, id::SessionId, object::Object};

/// Where the sessions of a running site are that another library has written: hand it to
/// [`SessionLayer::take_over`](crate::SessionLayer::take_over), and its visitors stay signed in.
///
/// Sessions of tower-sessions come by `store::TowerSessions`. Those of axum_session lie in a table of the
/// application's, or in its Redis:
///
/// ```
/// use axum_generic_session::{SessionId, Timestamp, store::{Legacy, Predecessor, StoreError}};
///
/// struct Before(/* sqlx::PgPool */);
///
/// impl Predecessor for Before {
///     async fn find(&self, id: &SessionId) -> Result<Option<Legacy>, StoreError> {
///         // select session, expires from sessions where id = $1
///         # let row = Some((r#"{"data":{"user":"\"ada\""},"longterm":false}"#, 4_000_000_000_u64));
///         let Some((text, expires)) = row else { return Ok(None) };
///         Legacy::axum_session(text, Timestamp::from_millis(expires * 1000)).map(Some)
///     }
///
///     async fn remove(&self, id: &SessionId) -> Result<(), StoreError> {
///         // delete from sessions where id = $1
///         # Ok(())
///     }
/// }
/// ```
pub trait Predecessor: Send + Sync + 'static {
    /// The session of this id, if there is one.
    ///
    /// # Errors
    /// When the engine cannot answer, or what it holds cannot be read. Never for "not there".
    fn find(&self, id: &SessionId) -> impl Future<Output = Result<Option<Legacy>, StoreError>> + Send;

    /// Removes the session of this id; that there is none is no error. Called once what was found is in the layer's
    /// own store, and at a logout: a session that stayed here would be found again after it.
    ///
    /// # Errors
    /// When the engine cannot answer or refuses.
    fn remove(&self, id: &SessionId) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// A session as another library has left it.
pub struct Legacy {
    pub(crate) object: Object,
    pub(crate) expires_at: Timestamp,
}

impl Legacy {
    /// A session of these keys and values, that ends at `expires_at`.
    ///
    /// # Errors
    /// When a value cannot be written as JSON.
    pub fn new(data: &Map<String, Value>, expires_at: Timestamp) -> Result<Self, StoreError> {
        let object = Object::of(data).map_err(StoreError::corrupt)?;
        Ok(Self { object, expires_at })
    }

    /// A session that axum_session has stored: the text of its column `session`, and the end from its column
    /// `expires` (seconds since 1970). It keeps each value as JSON in a string; here it is a value again.
    ///
    /// What it has encrypted with its `database_key` is not read.
    ///
    /// # Errors
    /// When the text is not what axum_session writes.
    pub fn axum_session(text: &str, expires_at: Timestamp) -> Result<Self, StoreError> {
        let foreign =
            || StoreError::corrupt("the text is not what axum_session writes without a `database_key`");
        let stored = Object::parse(Bytes::copy_from_slice(text.as_bytes())).ok_or_else(foreign)?;
        let data = stored.get("data").ok_or_else(foreign)?;
        let data: Map<String, Value> = serde_json::from_slice(data).map_err(|_| foreign())?;
        let mut object = Object::default();
        for (key, value) in &data {
            let json = value.as_str().ok_or_else(foreign)?;
            // What it could not serialize it has stored as an empty text.
            if serde_json::from_str::<Value>(json).is_ok() {
                object.put(key, json.as_bytes());
            }
        }
        Ok(Self { object, expires_at })
    }
}

// The data are the visitor's: a log line must not carry them.
impl fmt::Debug for Legacy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Legacy").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

type Call<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// [`Predecessor`] as a trait object.
pub(crate) trait DynPredecessor: Send + Sync + 'static {
    fn find<'a>(&'a self, id: &'a SessionId) -> Call<'a, Option<Legacy>>;
    fn remove<'a>(&'a self, id: &'a SessionId) -> Call<'a, ()>;
}

impl<P: Predecessor> DynPredecessor for P {
    fn find<'a>(&'a self, id: &'a SessionId) -> Call<'a, Option<Legacy>> {
        Box::pin(Predecessor::find(self, id))
    }

    fn remove<'a>(&'a self, id: &'a SessionId) -> Call<'a, ()> {
        Box::pin(Predecessor::remove(self, id))
    }
}

/// The predecessor of a layer.
#[derive(Clone)]
pub(crate) struct SharedPredecessor(pub(crate) Arc<dyn DynPredecessor>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axum_session_keeps_json_in_strings() {
        let text = r#"{"data":{"user":"\"ada\"","n":"1","cart":"[{\"tea\":2}]","lost":""},"longterm":true}"#;
        let legacy = Legacy::axum_session(text, Timestamp::MAX).unwrap();
        let mut keys: Vec<_> = legacy.object.iter().collect();
        keys.sort();
        let expected: [(&str, &[u8]); 3] = [("cart", br#"[{"tea":2}]"#), ("n", b"1"), ("user", br#""ada""#)];
        assert_eq!(keys.iter().map(|(key, value)| (&**key, *value)).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_axum_session_did_not_write_is_corrupt() {
        for text in ["", "[]", "{}", r#"{"data":1}"#, r#"{"data":{"a":1}}"#, "bm90IGpzb24="] {
            let error = Legacy::axum_session(text, Timestamp::MAX).unwrap_err();
            assert_eq!(error.kind(), super::super::StoreErrorKind::Corrupt, "{text}");
        }
    }
}

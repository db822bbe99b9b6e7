//! Stores that were written for tower-sessions.

use std::{collections::HashMap, time::Duration};

use axum::body::Bytes;
use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use super::{Legacy, Predecessor, StoreError, ThreeMethods};
use crate::{
    clock::{Clock, SystemClock, Timestamp},
    id::SessionId,
};

/// What a session of tower-sessions holds.
type Data = HashMap<String, Value>;

/// The only entry of a record that holds one of this crate's values, in base64.
const VALUE: &str = "axum-generic-session";

/// An adapter for one version of `tower-sessions-core`.
macro_rules! adapter {
    ($(#[$doc:meta])* $name:ident, $core:ident, $feature:literal) => {
        $(#[$doc])*
        #[cfg(feature = $feature)]
        #[derive(Clone, Debug)]
        pub struct $name<S>(S);

        #[cfg(feature = $feature)]
        impl<S: $core::SessionStore> $name<S> {
            /// The adapter over `store`.
            #[must_use]
            pub const fn new(store: S) -> Self {
                Self(store)
            }

            /// Writes a record that may be there already, under exactly this id.
            async fn put(&self, mut record: $core::session::Record) -> $core::session_store::Result<()> {
                let id = record.id;
                // `save` need not make a record (their Redis store's does not), and `create` may choose another id.
                if self.0.load(&id).await?.is_none() {
                    self.0.create(&mut record).await?;
                    if record.id == id {
                        return Ok(());
                    }
                    self.0.delete(&record.id).await?;
                    record.id = id;
                }
                self.0.save(&record).await
            }
        }

        #[cfg(feature = $feature)]
        // An error about another type should not depend on the features that are on.
        #[diagnostic::do_not_recommend]
        impl<S: $core::SessionStore> ThreeMethods for $name<S> {
            async fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
                let id = $core::session::Id(number(key));
                let found = self.0.load(&id).await.map_err(StoreError::unavailable)?;
                found.map(|record| value(&record.data)).transpose()
            }

            async fn set(&self, key: &str, data: Bytes, ttl: Duration) -> Result<(), StoreError> {
                let id = $core::session::Id(number(key));
                let data = Data::from([(VALUE.to_owned(), STANDARD_NO_PAD.encode(data).into())]);
                let record = $core::session::Record { id, data, expiry_date: expiry_date(ttl) };
                self.put(record).await.map_err(StoreError::in_doubt)
            }

            async fn destroy(&self, key: &str) -> Result<(), StoreError> {
                let id = $core::session::Id(number(key));
                self.0.delete(&id).await.map_err(StoreError::in_doubt)
            }

            fn name(&self) -> &'static str {
                "tower-sessions"
            }
        }

        #[cfg(feature = $feature)]
        impl<S: $core::SessionStore> Predecessor for $name<S> {
            async fn find(&self, id: &SessionId) -> Result<Option<Legacy>, StoreError> {
                let Ok(id) = id.expose().parse() else { return Ok(None) };
                let found = self.0.load(&id).await.map_err(StoreError::unavailable)?;
                found.map_or(Ok(None), |record| legacy(record.data, record.expiry_date))
            }

            async fn remove(&self, id: &SessionId) -> Result<(), StoreError> {
                let Ok(id) = id.expose().parse() else { return Ok(()) };
                self.0.delete(&id).await.map_err(StoreError::in_doubt)
            }
        }
    };
}

adapter! {
    /// A store that was written for tower-sessions 0.15, in two roles.
    ///
    /// As the store of a layer, through [`ThreeMethodStore`](crate::store::ThreeMethodStore), for engines that have a
    /// store there and none here (DynamoDB, Firestore, MongoDB). Their interface knows no conditions, so **the last
    /// writer wins**.
    ///
    /// ```
    /// use axum_generic_session::{SessionLayer, store::{ThreeMethodStore, TowerSessions}};
    ///
    /// # fn layer(their_store: impl tower_sessions_core::SessionStore) {
    /// let sessions = SessionLayer::new(ThreeMethodStore::new(TowerSessions::new(their_store)));
    /// # let _ = sessions; }
    /// ```
    ///
    /// As the [`Predecessor`] of a layer, for a site that comes from tower-sessions: its visitors stay signed in.
    ///
    /// ```
    /// use axum_generic_session::{MemoryStore, SessionLayer, store::TowerSessions};
    ///
    /// # fn layer(their_store: impl tower_sessions_core::SessionStore) {
    /// // Their cookie is named `id`. If it was signed, add `.keys([&key])` with the same key.
    /// let sessions = SessionLayer::new(MemoryStore::new()).name("id").take_over(TowerSessions::new(their_store));
    /// # let _ = sessions; }
    /// ```
    TowerSessions, tower_sessions_core, "tower-sessions-store"
}

adapter! {
    /// A store that was written for tower-sessions 0.14, as its own Redis and SQL stores are (as of
    /// `tower-sessions-redis-store` 0.16 and `tower-sessions-sqlx-store` 0.15). In the same two roles as
    /// `TowerSessions` for 0.15: as the engine of a [`ThreeMethodStore`](crate::store::ThreeMethodStore), and as a
    /// [`Predecessor`].
    TowerSessions014, tower_sessions_core_014, "tower-sessions-014-store"
}

/// The id under which their store keeps a key of ours.
fn number(key: &str) -> i128 {
    let digest = Sha256::digest(key.as_bytes());
    digest[..16].iter().fold(0, |number, byte| number << 8 | i128::from(*byte))
}

fn value(data: &Data) -> Result<Bytes, StoreError> {
    let value = data.get(VALUE).and_then(Value::as_str).and_then(|text| STANDARD_NO_PAD.decode(text).ok());
    value.map(Bytes::from).ok_or_else(|| StoreError::corrupt("a record that this adapter has not written"))
}

/// In whole seconds, rounded up, since their Redis store cuts off the rest.
fn expiry_date(ttl: Duration) -> OffsetDateTime {
    let end = SystemClock.now().saturating_add(ttl).as_millis().div_ceil(1000);
    let last = Timestamp::MAX.as_millis() / 1000;
    let seconds = i64::try_from(end.min(last)).unwrap_or(i64::MAX);
    // `Timestamp::MAX` is the last second that has a date.
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// A session of theirs; `None` for a record of ours.
fn legacy(data: Data, end: OffsetDateTime) -> Result<Option<Legacy>, StoreError> {
    if data.contains_key(VALUE) {
        return Ok(None);
    }
    let millis = u64::try_from(end.unix_timestamp_nanos() / 1_000_000).unwrap_or_default();
    Legacy::new(&Map::from_iter(data), Timestamp::from_millis(millis)).map(Some)
}

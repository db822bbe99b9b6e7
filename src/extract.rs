//! How a handler comes by the session that it declares: from the slot that the layer has put into the request.

use std::{fmt, ops::Deref, sync::Arc};

use axum::{
    extract::{FromRequestParts, OptionalFromRequestParts},
    http::request::Parts,
};

use crate::{
    error::{Error, Kind},
    session::{Main, Session},
    slot::Slot,
    state::State,
    view::SessionData,
};

fn find<K: 'static>(parts: &Parts) -> Option<Arc<State>> {
    let slot = parts.extensions.get::<Slot<K>>()?;
    Some(slot.open(&parts.headers, &parts.extensions))
}

impl<S: Send + Sync, T: SessionData, K: 'static> FromRequestParts<S> for Session<T, K> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        let state = find::<K>(parts).ok_or_else(|| Error::new(Kind::MissingLayer))?;
        Ok(Self::new(state))
    }
}

impl<S: Send + Sync, T: SessionData, K: 'static> OptionalFromRequestParts<S> for Session<T, K> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Error> {
        Ok(find::<K>(parts).map(Self::new))
    }
}

/// The session's data, loaded before the handler runs: for handlers that always read and rarely write.
///
/// ```
/// use axum_generic_session::Loaded;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Default, Serialize, Deserialize)]
/// struct User {
///     name: Option<String>,
/// }
///
/// async fn greet(user: Loaded<User>) -> String {
///     format!("hello {}", user.name.as_deref().unwrap_or("stranger"))
/// }
/// ```
pub struct Loaded<T: SessionData, K = Main> {
    data: Arc<T>,
    session: Session<T, K>,
}

impl<T: SessionData, K> Loaded<T, K> {
    /// The handle, for changes.
    #[must_use]
    pub fn session(&self) -> &Session<T, K> {
        &self.session
    }
}

impl<T: SessionData, K> fmt::Debug for Loaded<T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Loaded").field(&self.session).finish()
    }
}

impl<T: SessionData, K> Deref for Loaded<T, K> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.data
    }
}

impl<S: Send + Sync, T: SessionData, K: 'static> FromRequestParts<S> for Loaded<T, K> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let session = <Session<T, K> as FromRequestParts<S>>::from_request_parts(parts, state).await?;
        Ok(Self { data: session.get().await?, session })
    }
}

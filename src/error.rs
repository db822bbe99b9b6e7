//! What a session call can fail with, and what the client sees of it: a status, never a reason.

use std::{
    error::Error as StdError,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    http::{HeaderValue, StatusCode, header::RETRY_AFTER},
    response::{IntoResponse, Response},
};

use crate::store::{BoxError, StoreError, StoreErrorKind};

/// The end of a sentence that a page of the guide explains: `see!("login")`, `see!("login", "the-back-button")`.
macro_rules! see {
    ($chapter:literal) => {
        concat!(
            "; see https://docs.rs/axum-generic-session/latest/axum_generic_session/guide/",
            $chapter,
            "/index.html"
        )
    };
    ($chapter:literal, $heading:literal) => {
        concat!($crate::error::see!($chapter), "#", $heading)
    };
}
pub(crate) use see;

/// What a store is asked to do; an [`error_handler`](crate::SessionLayer::error_handler) is told which failed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Operation {
    /// Loading the session.
    Get,
    /// Writing it.
    Set,
    /// Extending its life.
    Touch,
    /// Ending it.
    Destroy,
    /// Moving it to a new id.
    Rotate,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Get, Self::Set, Self::Touch, Self::Destroy, Self::Rotate];

    /// The word for it in logs and metrics.
    ///
    /// ```
    /// # use axum_generic_session::Operation;
    /// assert_eq!(Operation::ALL.map(Operation::name), ["get", "set", "touch", "destroy", "rotate"]);
    /// ```
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Set => "set",
            Self::Touch => "touch",
            Self::Destroy => "destroy",
            Self::Rotate => "rotate",
        }
    }
}

/// A session call failed.
///
/// As a response it is a status with an empty body: 503 with `Retry-After` while the store is away, 409 when
/// the session ended under the request's hands, 500 otherwise. The cause goes to the log (`tracing`, target
/// `axum_generic_session`) and to the [`error_handler`](crate::SessionLayer::error_handler). The response has the error
/// among its extensions, for a middleware around the layer that draws the application's own pages:
///
/// ```
/// use axum::response::{IntoResponse, Response};
/// use axum_generic_session::Error;
///
/// // router.layer(sessions).layer(axum::middleware::map_response(sorry))
/// async fn sorry(response: Response) -> Response {
///     match response.extensions().get::<Error>() {
///         Some(error) if error.is_unavailable() => (error.status(), "Back in a minute.").into_response(),
///         _ => response,
///     }
/// }
/// ```
///
/// An opaque struct: ask its predicates.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

struct Inner {
    kind: Kind,
    operation: Option<Operation>,
    response: Mutex<Option<Response>>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Kind {
    #[error("{0}")]
    Store(#[source] StoreError),
    #[error(
        "the session has ended while the request was at work (logout, expiry, or a new id); nothing was saved{}",
        see!("faq", "a-request-answers-409")
    )]
    Gone,
    #[error(
        "another request changed the session at the same time; nothing was saved{}",
        see!("faq", "a-request-answers-409")
    )]
    Conflict,
    #[error("the response has been sent: {0}{see}", see = see!("after_response"))]
    Closed(&'static str),
    #[error(
        "no session here: add `.layer(SessionLayer::new(store))` to the router after its routes, or, if it is \
         there, look whether the request's path lies outside the cookie's `path`{}",
        see!("faq", "a-handler-answers-500-no-session-here")
    )]
    MissingLayer,
    #[error("session data: {0}")]
    Data(String, #[source] Option<BoxError>),
    #[error(
        "the session would take {size} bytes, more than the layer's `max_size` of {limit}{}",
        see!("stores", "how-large")
    )]
    TooLarge { size: usize, limit: usize },
    #[error("the {hook} hook failed: {source}")]
    Hook { hook: &'static str, source: BoxError },
    #[error("no usable session id: {0}")]
    Id(String),
    #[error("the session's cookie settings: {0}")]
    Cookie(String),
}

impl Error {
    pub(crate) fn new(kind: Kind) -> Self {
        Self::during(None, kind)
    }

    pub(crate) fn store(operation: Operation, error: StoreError) -> Self {
        Self::during(Some(operation), Kind::Store(error))
    }

    /// The write was refused, not failed: the session ended meanwhile.
    pub(crate) fn gone() -> Self {
        Self::during(Some(Operation::Set), Kind::Gone)
    }

    pub(crate) fn conflict() -> Self {
        Self::during(Some(Operation::Set), Kind::Conflict)
    }

    /// Puts the error into the log.
    pub(crate) fn report(&self) {
        let (operation, kind) = (self.operation().map(Operation::name), self.kind_name());
        if self.status().is_server_error() {
            tracing::error!(operation, kind, error = %self, "session request failed");
        } else {
            tracing::debug!(operation, kind, error = %self, "session request refused");
        }
    }

    fn during(operation: Option<Operation>, kind: Kind) -> Self {
        Self(Arc::new(Inner { kind, operation, response: Mutex::new(None) }))
    }

    /// Answers with `response` instead of the default.
    pub(crate) fn respond(self, response: Response) -> Self {
        *self.0.response.lock().unwrap_or_else(PoisonError::into_inner) = Some(response);
        self
    }

    pub(crate) fn json(error: &serde_json::Error) -> Self {
        // serde_json's own text may quote the value; line and column are all a log may have.
        let place = format!(
            "cannot be read or written as this type ({:?} at line {}, column {}){}",
            error.classify(),
            error.line(),
            error.column(),
            see!("faq", "a-handler-answers-500-session-data")
        );
        Self::new(Kind::Data(place, None))
    }

    pub(crate) fn data(message: impl Into<String>) -> Self {
        Self::new(Kind::Data(message.into(), None))
    }

    /// The store operation that failed, if one did.
    #[must_use]
    pub fn operation(&self) -> Option<Operation> {
        self.0.operation
    }

    /// The word for it in logs and metrics.
    pub(crate) fn kind_name(&self) -> &'static str {
        match &self.0.kind {
            Kind::Store(error) => error.kind().name(),
            Kind::Gone => "gone",
            Kind::Conflict => "conflict",
            Kind::Closed(_) => "closed",
            Kind::MissingLayer => "missing_layer",
            Kind::Data(..) => "data",
            Kind::TooLarge { .. } => "too_large",
            Kind::Hook { .. } => "hook",
            Kind::Id(_) => "id",
            Kind::Cookie(_) => "cookie",
        }
    }

    /// What the store said, if it was the store.
    #[must_use]
    pub fn store_error(&self) -> Option<&StoreError> {
        match &self.0.kind {
            Kind::Store(error) => Some(error),
            _ => None,
        }
    }

    /// Trying again later may help: the store is away or overloaded.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        self.store_error().is_some_and(StoreError::is_unavailable)
    }

    /// The session was ended by somebody else after this request had read it. Nothing was saved.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self.0.kind, Kind::Gone)
    }

    /// Another request changed the session in a way that is not merged. Nothing was saved.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(self.0.kind, Kind::Conflict)
    }

    /// The call came after the response and needs one.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.0.kind, Kind::Closed(_))
    }

    /// There is no session layer around this handler, or the path is not the cookie's.
    #[must_use]
    pub fn is_missing_layer(&self) -> bool {
        matches!(self.0.kind, Kind::MissingLayer)
    }

    /// The data do not fit the type they were asked for as, or cannot be stored.
    #[must_use]
    pub fn is_data(&self) -> bool {
        matches!(self.0.kind, Kind::Data(..) | Kind::TooLarge { .. })
    }

    /// The status of the default response.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match &self.0.kind {
            Kind::Store(error) => match error.kind() {
                StoreErrorKind::Unavailable(_) | StoreErrorKind::ReadOnly => StatusCode::SERVICE_UNAVAILABLE,
                StoreErrorKind::Full => StatusCode::INSUFFICIENT_STORAGE,
                StoreErrorKind::TooLarge
                | StoreErrorKind::Corrupt
                | StoreErrorKind::Denied
                | StoreErrorKind::Misconfigured => StatusCode::INTERNAL_SERVER_ERROR,
            },
            Kind::Gone | Kind::Conflict => StatusCode::CONFLICT,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let status = self.status();
        self.report();
        let own = self.0.response.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut response = own.unwrap_or_else(|| {
            let mut response = status.into_response();
            if status == StatusCode::SERVICE_UNAVAILABLE {
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            response
        });
        response.extensions_mut().insert(self);
        response
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.kind.fmt(f)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error").field("kind", &self.0.kind).field("operation", &self.0.operation).finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.kind.source()
    }
}

/// A setting that cannot work; the text says how to mend it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("session layer: {0}")]
pub struct ConfigError(pub(crate) String);

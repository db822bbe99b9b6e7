//! Where the application joins in: is a loaded session valid, a last change before saving, what to do about
//! an error, ids of its own.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{http::request::Parts, response::Response};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    cookie::CookieOptions,
    error::{Error, Operation},
    object::{Object, read_value},
    store::BoxError,
    view::{self, SessionData},
};

/// What a hook gives back, boxed.
pub(crate) type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;

type Hook<A, T> = Arc<dyn Fn(A) -> Later<T> + Send + Sync>;

/// The hooks of a layer. One that is not set costs nothing, not even the copy of the request's head.
#[derive(Clone, Default)]
pub(crate) struct Hooks {
    pub(crate) valid: Option<Hook<Candidate, Result<bool, BoxError>>>,
    pub(crate) before_save: Option<Hook<Draft, Result<(), BoxError>>>,
    pub(crate) error_handler: Option<Hook<Failure, Verdict>>,
    pub(crate) gen_id: Option<Hook<Arc<Parts>, Result<String, BoxError>>>,
}

impl Hooks {
    pub(crate) fn want_the_request(&self) -> bool {
        self.valid.is_some()
            || self.before_save.is_some()
            || self.error_handler.is_some()
            || self.gen_id.is_some()
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks")
            .field("valid", &self.valid.is_some())
            .field("before_save", &self.before_save.is_some())
            .field("error_handler", &self.error_handler.is_some())
            .field("gen_id", &self.gen_id.is_some())
            .finish()
    }
}

/// Boxes a hook.
pub(crate) fn hook<A, T, F, Fut>(f: F) -> Hook<A, T>
where
    F: Fn(A) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = T> + Send + 'static,
{
    Arc::new(move |argument| Box::pin(f(argument)))
}

/// The content of a session at one moment, to look at.
#[derive(Clone)]
pub struct Snapshot {
    object: Object,
    cookie: CookieOptions,
}

impl Snapshot {
    pub(crate) fn new(object: Object, cookie: CookieOptions) -> Self {
        Self { object, cookie }
    }

    /// The session as `T`.
    ///
    /// # Errors
    /// When the stored values do not fit `T`.
    pub fn get<T: SessionData>(&self) -> Result<T, Error> {
        view::read(&self.object).map_err(|e| Error::json(&e))
    }

    /// The value under one key; `None` if there is none.
    ///
    /// # Errors
    /// When the value does not fit `V`.
    pub fn value<V: DeserializeOwned>(&self, key: &str) -> Result<Option<V>, Error> {
        value(&self.object, key)
    }

    /// The cookie settings of this visitor: the layer's, unless changed.
    #[must_use]
    pub fn cookie(&self) -> &CookieOptions {
        &self.cookie
    }
}

fn value<V: DeserializeOwned>(object: &Object, key: &str) -> Result<Option<V>, Error> {
    object.get(key).map(read_value).transpose().map_err(|e| Error::json(&e))
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Snapshot").field(&self.object).finish()
    }
}

/// A session that has been loaded, before anybody uses it: what [`valid`](crate::SessionLayer::valid) judges.
#[derive(Clone)]
pub struct Candidate {
    parts: Arc<Parts>,
    session: Snapshot,
}

impl Candidate {
    pub(crate) fn new(parts: Arc<Parts>, session: Snapshot) -> Self {
        Self { parts, session }
    }

    /// The head of the request.
    #[must_use]
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// The session's content.
    #[must_use]
    pub fn session(&self) -> &Snapshot {
        &self.session
    }
}

// The head of the request holds the id, so none of the three shows it.
impl fmt::Debug for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Candidate").field("session", &self.session).finish_non_exhaustive()
    }
}

/// A session that is about to be saved: what [`before_save`](crate::SessionLayer::before_save) may still change.
#[derive(Clone)]
pub struct Draft {
    parts: Arc<Parts>,
    object: Arc<Mutex<Object>>,
}

impl Draft {
    pub(crate) fn new(parts: Arc<Parts>, object: Object) -> Self {
        Self { parts, object: Arc::new(Mutex::new(object)) }
    }

    pub(crate) fn object(&self) -> Object {
        self.object.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The head of the request.
    #[must_use]
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// The session as `T`, as it would be saved.
    ///
    /// # Errors
    /// When the values do not fit `T`.
    pub fn get<T: SessionData>(&self) -> Result<T, Error> {
        view::read(&self.object()).map_err(|e| Error::json(&e))
    }

    /// The value under one key.
    ///
    /// # Errors
    /// When the value does not fit `V`.
    pub fn value<V: DeserializeOwned>(&self, key: &str) -> Result<Option<V>, Error> {
        value(&self.object(), key)
    }

    /// Puts a value under one key.
    ///
    /// # Errors
    /// When the value cannot be written as JSON.
    pub fn insert(&self, key: &str, value: impl Serialize) -> Result<(), Error> {
        let text = serde_json::to_vec(&value).map_err(|e| Error::json(&e))?;
        self.object.lock().unwrap_or_else(PoisonError::into_inner).put(key, &text);
        Ok(())
    }

    /// Takes one key out.
    pub fn remove(&self, key: &str) {
        self.object.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

impl fmt::Debug for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Draft")
    }
}

/// A store operation that failed: what an [`error_handler`](crate::SessionLayer::error_handler) decides about.
#[derive(Clone)]
pub struct Failure {
    pub(crate) parts: Arc<Parts>,
    pub(crate) operation: Operation,
    pub(crate) error: Error,
}

impl Failure {
    /// The head of the request.
    #[must_use]
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// What was tried.
    #[must_use]
    pub fn operation(&self) -> Operation {
        self.operation
    }

    /// What went wrong.
    #[must_use]
    pub fn error(&self) -> &Error {
        &self.error
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { operation, error, .. } = self;
        f.debug_struct("Failure").field("operation", operation).field("error", error).finish_non_exhaustive()
    }
}

/// What is to become of a request whose store operation failed.
#[derive(Debug, Default)]
pub enum Verdict {
    /// It fails with the error's own response.
    #[default]
    Fail,
    /// It is answered with this.
    Respond(Response),
    /// It goes on. After a failed load the handler sees an empty session whose changes are not saved; after a
    /// failed save its own answer goes out. In neither case is a cookie sent: an outage logs nobody out. A logout or
    /// a new id that could not be carried out fails all the same, lest it look as if it had been.
    Continue,
}

//! The handle that handlers hold. Never sees a header.

use std::{
    fmt,
    marker::PhantomData,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    commit::{self, Saved},
    cookie::CookieOptions,
    error::{Error, Kind},
    id::{SessionId, StoreKey},
    object::{Object, Written, give_back, read_value, same_value},
    rules::Ending,
    state::{Data, State},
    store::Layout,
    view::{self, SessionData},
};

/// The bare view: every key of the session, as JSON.
pub type Map = serde_json::Map<String, serde_json::Value>;

/// The kind of session that [`SessionLayer::new`](crate::SessionLayer::new) makes.
#[derive(Clone, Copy, Debug)]
pub enum Main {}

/// The visitor's session, seen as `T`; an extractor.
///
/// Nothing is read until a method asks, and once it is, every `Session` of the request shares it: extracted
/// twice, cloned, in a middleware and in the handler, as different views `T`. What is changed is saved when the
/// handler has answered, before the answer leaves.
///
/// ```
/// use axum_generic_session::{Error, Session};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Default, Serialize, Deserialize)]
/// struct Visits {
///     count: u64,
/// }
///
/// async fn home(session: Session<Visits>) -> Result<String, Error> {
///     let count = session.update(|v| { v.count += 1; v.count }).await?;
///     Ok(format!("{count} views"))
/// }
/// ```
///
/// Without a type it is a key-value store: [`value`](Session::value), [`insert`](Session::insert),
/// [`remove`](Session::remove), [`take`](Session::take).
///
/// Take `Option<Session<T>>` in a handler that also serves paths without a session. The second parameter tells
/// several kinds of session apart, see [`SessionLayer::kind`](crate::SessionLayer::kind).
pub struct Session<T: SessionData = Map, K = Main> {
    pub(crate) state: Arc<State>,
    view: PhantomData<fn() -> (T, K)>,
}

impl<T: SessionData, K> Session<T, K> {
    pub(crate) fn new(state: Arc<State>) -> Self {
        Self { state, view: PhantomData }
    }

    /// The session as `T`, as it is now. Loads it on first use, once per request.
    ///
    /// A visitor without a session has `T::default()`; so has a field that the stored session lacks. The
    /// snapshot may be held over any await. To change the session, call [`update`](Self::update): an assignment
    /// through the `Arc` does not compile.
    ///
    /// # Errors
    /// When the store fails (never for "no session"), or what is stored does not fit `T`.
    pub async fn get(&self) -> Result<Arc<T>, Error> {
        let data = self.state.loaded().await?;
        view::read(data.object()).map(Arc::new).map_err(|e| Error::json(&e))
    }

    /// Changes the session; it is saved when the handler has answered.
    ///
    /// Only the top-level fields that `change` changed are written, onto whatever other requests have written
    /// meanwhile: a field that nobody else changed is never lost. If two requests change one field, the later one
    /// wins; for counters and stock take [`transact`](Self::transact). A closure that panics changes nothing.
    ///
    /// After the response (a WebSocket, a spawned task) nobody saves for you: call [`save`](Self::save), or an
    /// error is logged when the handle is dropped.
    ///
    /// # Errors
    /// As [`get`](Self::get); and when `T` cannot be written as a JSON object.
    pub async fn update<R>(&self, change: impl FnOnce(&mut T) -> R + Send) -> Result<R, Error> {
        edit(&mut *self.state.loaded().await?, change)
    }

    /// Reads, changes and writes the session in the store, now: as often as it takes until no other request comes
    /// between. No increment is ever lost, also across servers. `change` may run several times.
    ///
    /// Whatever else the request has changed so far is saved with it. Works after the response too.
    ///
    /// # Errors
    /// As [`update`](Self::update) and [`save`](Self::save).
    pub async fn transact<R>(&self, mut change: impl FnMut(&mut T) -> R + Send) -> Result<R, Error> {
        self.state.load().await?;
        self.must_be_savable(true)?;
        let done = commit::transact(&self.state, |data| edit(data, &mut change)).await;
        done.inspect_err(|error| self.state.failed(error))
    }

    /// Replaces the whole session, the keys of other views included.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    pub async fn set(&self, value: T) -> Result<(), Error> {
        let object = Object::of(&value).map_err(|e| Error::json(&e))?;
        self.state.loaded().await?.replace(object);
        Ok(())
    }

    /// Logs out: the session ends, here and in the store, when the handler has answered.
    ///
    /// What is written afterwards belongs to a new session with a new id. A session that nobody has read is ended
    /// without being read; the cookie is cleared also if the store no longer knows it.
    ///
    /// # Errors
    /// None today; the `Result` keeps a logout from being forgotten in an expression.
    pub fn destroy(&self) -> Result<(), Error> {
        self.state.end(Ending::Destroyed);
        Ok(())
    }

    /// A new id and an empty session; the old one ends. The originals' meaning; a login that keeps the guest's
    /// cart calls [`renew`](Self::renew).
    ///
    /// # Errors
    /// After the response, when no cookie can be sent any more.
    pub fn regenerate(&self) -> Result<(), Error> {
        self.must_have_a_response("a new id cannot reach the client")?;
        self.state.end(Ending::Regenerated);
        Ok(())
    }

    /// A new id, the same data; the old id is dead once the handler has answered. Call it at every login and
    /// every change of rights, so that an id planted before opens nothing after (OWASP, session fixation).
    ///
    /// # Errors
    /// As [`get`](Self::get); and after the response.
    pub async fn renew(&self) -> Result<(), Error> {
        self.must_have_a_response("a new id cannot reach the client")?;
        self.state.load().await?;
        self.state.renew();
        Ok(())
    }

    /// Commits what has been changed and intended so far, now. What `Ok` says is in the store, also if the
    /// handler fails later; the cookie, where one is due, goes out with the response.
    ///
    /// Works after the response as well, except for what needs a cookie: a first save, a new id.
    ///
    /// # Errors
    /// When the store fails; [`is_gone`](Error::is_gone) when the session has ended meanwhile (nothing was
    /// saved); when it is too large.
    pub async fn save(&self) -> Result<Saved, Error> {
        let has_content = !self.state.loaded().await?.object().is_empty();
        self.must_be_savable(has_content)?;
        commit::save(&self.state).await
    }

    /// The session's id; for a new session the one that it will get. Handle it like a password.
    ///
    /// # Errors
    /// As [`get`](Self::get); and when `gen_id` fails.
    pub async fn id(&self) -> Result<SessionId, Error> {
        self.state.id().await
    }

    /// Whether the visitor has no stored session.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn is_new(&self) -> Result<bool, Error> {
        self.state.load().await?;
        Ok(self.state.is_new())
    }

    /// The cookie settings of this visitor: the layer's, unless changed.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn cookie(&self) -> Result<CookieOptions, Error> {
        let data = self.state.loaded().await?;
        Ok(data.cookie().unwrap_or(&self.state.config.cookie).clone())
    }

    /// Changes the cookie settings of this visitor, kept with the session: "remember me" is
    /// `update_cookie(|c| c.max_age = MaxAge::For(thirty_days))`.
    ///
    /// # Errors
    /// As [`get`](Self::get); and when the settings break the rules of cookies. Then nothing is changed.
    pub async fn update_cookie(&self, change: impl FnOnce(&mut CookieOptions) + Send) -> Result<(), Error> {
        let mut options = self.cookie().await?;
        change(&mut options);
        let config = &self.state.config;
        let checked = options.check(&config.carrier.name).and_then(|()| config.codec.check(&options));
        checked.map_err(|why| Error::new(Kind::Cookie(why)))?;
        let own = (options != config.cookie).then(|| Box::new(options));
        self.state.data().set_cookie(own);
        Ok(())
    }

    /// Whom the session belongs to, as [`set_principal`](Self::set_principal) has said.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn principal(&self) -> Result<Option<String>, Error> {
        Ok(self.state.loaded().await?.principal().map(str::to_owned))
    }

    /// Says whom the session belongs to: a user's id, kept beside the data where stores can find it. Call it at
    /// login, with [`renew`](Self::renew). A request that saves under another principal than it loaded is refused
    /// with a conflict.
    ///
    /// # Errors
    /// As [`get`](Self::get); and with the layouts of koa and express, which have no room for it.
    pub async fn set_principal(&self, principal: impl Into<Box<str>> + Send) -> Result<(), Error> {
        if self.state.config.codec.layout() == Layout::Plain {
            return Err(Error::data("have no room for a principal in the layouts of koa and express"));
        }
        self.state.loaded().await?.set_principal(Some(principal.into()));
        Ok(())
    }

    /// What names this session in a list of its principal's ([`SessionsOf`](crate::SessionsOf)) and in logs; it opens
    /// nothing. None for a visitor without a stored session.
    ///
    /// It goes with the id: after [`renew`](Self::renew), once that is saved, it is another one.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn handle(&self) -> Result<Option<String>, Error> {
        Ok(self.stored_key().await?.map(|key| key.handle()))
    }

    /// Under which key the store has this session.
    pub(crate) async fn stored_key(&self) -> Result<Option<StoreKey>, Error> {
        Ok(self.state.loaded().await?.origin.as_ref().map(|origin| origin.key.clone()))
    }

    /// Saves the session whether or not anything was changed, if the request uses it: a deferred one that nobody
    /// asks for is left alone (the originals' `sessionSave = true`).
    pub fn force_save(&self) {
        self.state.flags.force_save.store(true, Relaxed);
        self.state.flags.prevent_save.store(false, Relaxed);
    }

    /// Saves nothing and sends no cookie at the end of the request, not even a logout's (the originals'
    /// `sessionSave = false`).
    pub fn prevent_save(&self) {
        self.state.flags.prevent_save.store(true, Relaxed);
        self.state.flags.force_save.store(false, Relaxed);
    }

    /// Takes [`force_save`](Self::force_save) and [`prevent_save`](Self::prevent_save) back: what has been changed
    /// is saved (the originals' `sessionSave = null`).
    pub fn auto_save(&self) {
        self.state.flags.force_save.store(false, Relaxed);
        self.state.flags.prevent_save.store(false, Relaxed);
    }

    /// The same session as another type. Both see each other's changes.
    #[must_use]
    pub fn view<U: SessionData>(&self) -> Session<U, K> {
        Session::new(self.state.clone())
    }

    fn must_have_a_response(&self, why: &'static str) -> Result<(), Error> {
        if self.state.is_closed() { Err(Error::new(Kind::Closed(why))) } else { Ok(()) }
    }

    fn must_be_savable(&self, has_content: bool) -> Result<(), Error> {
        if self.state.flags.degraded.load(Relaxed) {
            return Err(Error::data("was not loaded, so there is nothing to save it to"));
        }
        // A logout needs no response; what has been written after it does.
        if self.state.is_new() && (has_content || !self.state.intent_is(Ending::Destroyed)) {
            self.must_have_a_response("a new session's id cannot reach the client")?;
        }
        Ok(())
    }
}

/// Keys and values, for whom a type is too much.
impl<K> Session<Map, K> {
    /// The value under `key`; `None` if there is none.
    ///
    /// # Errors
    /// As [`get`](Self::get); and when the value does not fit `V`.
    pub async fn value<V: DeserializeOwned>(&self, key: &str) -> Result<Option<V>, Error> {
        let data = self.state.loaded().await?;
        data.object().get(key).map(read_value).transpose().map_err(|e| Error::json(&e))
    }

    /// Puts a value under `key`.
    ///
    /// # Errors
    /// As [`get`](Self::get); and when the value cannot be written as JSON.
    pub async fn insert(&self, key: &str, value: impl Serialize + Send) -> Result<(), Error> {
        let text = Written::of(&value).map_err(|e| Error::json(&e))?;
        let mut data = self.state.loaded().await?;
        if !data.object().get(key).is_some_and(|old| same_value(old, &text)) {
            data.object_mut().put(key, &text);
        }
        Ok(())
    }

    /// Takes `key` out. Removing what is not there changes nothing.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn remove(&self, key: &str) -> Result<(), Error> {
        let mut data = self.state.loaded().await?;
        if data.object().get(key).is_some() {
            data.object_mut().remove(key);
        }
        Ok(())
    }

    /// Takes `key` out and gives what was there: a flash message, a one-time token. Of two requests at one time
    /// both may be given it; one that must not takes it inside of [`transact`](Self::transact).
    ///
    /// # Errors
    /// As [`value`](Self::value).
    pub async fn take<V: DeserializeOwned>(&self, key: &str) -> Result<Option<V>, Error> {
        let value = self.value(key).await?;
        self.remove(key).await?;
        Ok(value)
    }

    /// Takes every key out. The session goes on, empty; to end it call [`destroy`](Self::destroy).
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn clear(&self) -> Result<(), Error> {
        self.state.loaded().await?.replace(Object::default());
        Ok(())
    }
}

/// Applies a closure to the session as `T`, and keeps the fields that it changed.
fn edit<T: SessionData, R>(data: &mut Data, change: impl FnOnce(&mut T) -> R) -> Result<R, Error> {
    let json = |e: serde_json::Error| Error::json(&e);
    let mut value: T = view::read(data.object()).map_err(json)?;
    let before = Object::of(&value).map_err(json)?;
    let result = change(&mut value);
    let after = Object::of(&value).map_err(json)?;
    for (key, text) in before.changes_to(&after) {
        data.object_mut().apply(&key, text);
    }
    give_back(before);
    give_back(after);
    Ok(result)
}

impl<T: SessionData, K> Clone for Session<T, K> {
    fn clone(&self) -> Self {
        Self::new(self.state.clone())
    }
}

// Neither the id nor the data are shown.
impl<T: SessionData, K> fmt::Debug for Session<T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Session").field(&self.state).finish()
    }
}

//! A layer's settings, checked and ready for use.

use std::{fmt, sync::Arc, time::Duration};

use axum::http::StatusCode;

use crate::{
    clock::SharedClock,
    codec::Codec,
    cookie::{CookieOptions, MaxAge},
    engine::{Engine, Limits},
    error::see,
    hooks::Hooks,
    id::{Prefix, SessionId, StoreKey},
    lifetime::Lifetime,
    observe::Observer,
    store::{SharedByPrincipal, SharedPredecessor},
    transport::Carrier,
};

/// Decides by the response's status whether what the handler did to the session takes effect.
pub(crate) type CommitOn = Arc<dyn Fn(StatusCode) -> bool + Send + Sync>;

/// How many sessions a principal may have, and the layer's store as it finds them.
#[derive(Clone)]
pub(crate) struct KeepNewest {
    pub(crate) sessions: usize,
    pub(crate) store: SharedByPrincipal,
}

/// All that a request needs to know of its layer.
#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) engine: Arc<Engine>,
    /// Who is told what happens.
    pub(crate) observer: Observer,
    /// Whose sessions are taken over.
    pub(crate) predecessor: Option<SharedPredecessor>,
    pub(crate) carrier: Carrier,
    pub(crate) cookie: CookieOptions,
    pub(crate) lifetime: Lifetime,
    pub(crate) hooks: Hooks,
    pub(crate) clock: SharedClock,
    pub(crate) codec: Codec,
    pub(crate) prefix: Prefix,
    pub(crate) hash_ids: bool,
    pub(crate) limits: Limits,
    pub(crate) defer: bool,
    pub(crate) allow_empty: bool,
    pub(crate) strict: bool,
    pub(crate) cache_headers: bool,
    /// Whether a record that cannot be read is ended instead of being an error.
    pub(crate) discard_corrupt: bool,
    /// Bytes of an encoded session.
    pub(crate) max_size: usize,
    pub(crate) commit_on: CommitOn,
    pub(crate) keep_newest: Option<KeepNewest>,
}

impl Config {
    /// Under which key the store knows an id.
    pub(crate) fn key(&self, id: &SessionId) -> StoreKey {
        StoreKey::new(self.prefix.clone(), id, self.hash_ids).with_layout(self.codec.layout())
    }

    /// Everything that can be known to be wrong before the first request.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.cookie.check(&self.carrier.name)?;
        self.lifetime.check()?;
        if self.cookie.max_age == MaxAge::For(Duration::ZERO) {
            return Err("the cookie's `max_age` is zero, so every session would be born dead: give it a duration, or \
                        use `MaxAge::BrowserSession`"
                .into());
        }
        if matches!(self.cookie.max_age, MaxAge::Until(_)) {
            return Err("`MaxAge::Until` is for one visitor: as the layer's setting it will lie in the past some day; \
                        use `MaxAge::For` or `ttl`"
                .into());
        }
        if self.carrier.keys.as_ref().is_some_and(crate::keyring::KeyRing::is_empty) {
            return Err(concat!(
                "the list of keys is empty: give at least one, or leave `keys` out for unsigned cookies",
                see!("scaling", "changing-keys")
            )
            .into());
        }
        let prefix = self.prefix.as_str();
        if !prefix.bytes().all(|b| b.is_ascii_graphic()) || prefix.len() > 256 {
            return Err("the store prefix must be at most 256 visible ASCII characters".into());
        }
        if self.codec != Codec::Native && self.lifetime.max_lifetime.is_some() {
            return Err(
                "`max_lifetime` needs to know when a session began, which the layouts of koa and express do \
                        not tell: leave it out, or use `SessionLayer::new`"
                    .into(),
            );
        }
        if self.keep_newest.as_ref().is_some_and(|keep| keep.sessions == 0) {
            return Err("`keep_newest(0)` would end every login as it begins: give it at least one".into());
        }
        if self.max_size == 0 || self.limits.in_flight == 0 || self.limits.operation.is_zero() {
            return Err("`max_size`, `max_in_flight` and `operation_timeout` must not be zero".into());
        }
        Ok(())
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("engine", &self.engine.store())
            .field("carrier", &self.carrier)
            .field("cookie", &self.cookie)
            .field("lifetime", &self.lifetime)
            .field("hooks", &self.hooks)
            .field("codec", &self.codec)
            .field("prefix", &self.prefix.as_str())
            .field("hash_ids", &self.hash_ids)
            .field("defer", &self.defer)
            .field("allow_empty", &self.allow_empty)
            .finish_non_exhaustive()
    }
}

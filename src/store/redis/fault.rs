//! What can go wrong with a call, and what that means for a session.

use std::sync::Arc;

use redis::{ErrorKind, RedisError, ServerError};

use super::scripts::Effect;
use crate::store::{Applied, StoreError, StoreErrorKind};

/// Why a call has no answer.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    /// Not sent: there is no connection, for this reason.
    Down(Arc<str>),
    /// Not sent: too many calls are waiting for their answers.
    Crowded,
    /// Sent, but no answer came within the limit.
    Late,
    /// Sent, perhaps; the connection ended before the answer, for this reason.
    Cut(Arc<str>),
    /// The server said no.
    Refused(Refusal),
    /// Written, but fewer replicas than asked for have confirmed it.
    Unconfirmed {
        /// How many have.
        by: i64,
        /// How many should have.
        of: usize,
    },
    /// It cannot work like this; the sentence says how it can.
    Unusable(StoreErrorKind, String),
    /// An answer that none of our commands has.
    Strange,
}

/// An error reply.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    /// Its first word.
    pub(super) code: Box<str>,
    pub(super) words: Box<str>,
}

impl Refusal {
    fn new(code: &str, words: Option<&str>) -> Self {
        let words = words.unwrap_or_default();
        // "unknown command 'EVALSHA', with args beginning with: ..." would show a key.
        let words = words.split(", with args").next().unwrap_or_default();
        // Inside a script Redis 7 and Valkey have other sentences for it, without the code.
        let denied = ["The user executing the script", "ACL failure in script"];
        let code = if denied.iter().any(|begin| words.starts_with(begin)) { "NOPERM" } else { code };
        Self { code: code.into(), words: words.trim_end().into() }
    }

    /// What it means for a session, and what to do about it.
    fn meaning(&self) -> (StoreErrorKind, &'static str) {
        use StoreErrorKind::{Corrupt, Denied, Full, Misconfigured, ReadOnly, Unavailable};
        const AWAY: StoreErrorKind = Unavailable(Applied::No);
        match &*self.code {
            "READONLY" => {
                (ReadOnly, "connect to the primary, by the name that follows it or through Sentinel")
            }
            "MISCONF" => {
                (ReadOnly, "make its disk writable again, or turn `stop-writes-on-bgsave-error` off")
            }
            "NOREPLICAS" => (AWAY, "`min-replicas-to-write` asks for more replicas than are connected"),
            "MASTERDOWN" => (AWAY, "it is a replica that has lost its primary"),
            "LOADING" => (AWAY, "it has been started and is reading its data"),
            "BUSY" => (AWAY, "another client's script does not end: `SCRIPT KILL` ends it"),
            "CLUSTERDOWN" | "TRYAGAIN" => (AWAY, "the cluster has no node for this key at the moment"),
            "MOVED" | "ASK" | "CROSSSLOT" => {
                (Misconfigured, "this is a node of a cluster: open the store with `RedisStore::cluster`")
            }
            "OOM" => (Full, "raise `maxmemory`, or let sessions end sooner"),
            "WRONGTYPE" => (
                Corrupt,
                "another program keeps a list or hash under the key: give the sessions a prefix of their own",
            ),
            "NOPERM" => (
                Denied,
                "the user needs +get +set +del +exists +getrange +setrange +pexpireat +eval +evalsha, \
                 for shared keys also +pexpiretime, and the keys `~<prefix>*`",
            ),
            "NOAUTH" | "WRONGPASS" => (Denied, "put the user and the password into the URL"),
            _ if self.words.contains("max number of clients") => (AWAY, "raise `maxclients`"),
            _ if self.words.contains("cluster support disabled") => {
                (Misconfigured, "this is no cluster: open the store with `RedisStore::connect`")
            }
            _ => (Misconfigured, "Redis 6.2 or newer, or Valkey, is needed"),
        }
    }
}

impl From<ServerError> for Fault {
    fn from(error: ServerError) -> Self {
        Self::Refused(Refusal::new(error.code(), error.details()))
    }
}

/// From a client whose connection is there; see [`Fault::connecting`] for the other case.
impl From<RedisError> for Fault {
    fn from(error: RedisError) -> Self {
        match (error.kind(), error.code()) {
            (_, Some(code)) => Self::Refused(Refusal::new(code, error.detail())),
            (ErrorKind::ClusterConnectionNotFound, None) => {
                Self::Down("no node of the cluster answers".into())
            }
            (ErrorKind::Io, None) if error.is_timeout() => Self::Late,
            (ErrorKind::Io, None) => Self::Cut(error.to_string().into()),
            // The driver would show what it could not read, which is somebody's session.
            (_, None) => Self::Cut("it does not speak its protocol".into()),
        }
    }
}

impl Fault {
    /// An error of opening a connection.
    pub(super) fn connecting(error: &RedisError) -> Self {
        match (error.kind(), error.code()) {
            (_, Some(code)) => Self::Refused(Refusal::new(code, error.detail())),
            (ErrorKind::AuthenticationFailed, None) => {
                let words = "it does not take this user and password";
                Self::Unusable(StoreErrorKind::Denied, words.into())
            }
            (ErrorKind::InvalidClientConfig | ErrorKind::Client, None) => {
                let words = format!(
                    "{error}; a URL is `redis://[user:password@]host[:port][/database]`, `rediss://` is TLS and needs the feature `redis-rustls`"
                );
                Self::Unusable(StoreErrorKind::Misconfigured, words)
            }
            (_, None) => Self::Down(error.to_string().into()),
        }
    }

    /// The same for a call that comes later, and is not sent because of it.
    pub(super) fn not_sent(self) -> Self {
        match self {
            Self::Refused(_) | Self::Unusable(..) => self,
            other => Self::Down(other.reason()),
        }
    }

    /// The error reply's code, if the server answered with one.
    pub(super) fn code(&self) -> Option<&str> {
        match self {
            Self::Refused(refusal) => Some(&refusal.code),
            _ => None,
        }
    }

    /// What the store's caller gets.
    pub(super) fn into_error(self, effect: Effect) -> StoreError {
        // Of a read there is nothing to be in doubt about.
        let applied = if effect == Effect::Read { Applied::No } else { Applied::Unknown };
        let doubt = |words: String| StoreError::new(StoreErrorKind::Unavailable(applied), words);
        match self {
            Self::Down(reason) => StoreError::unavailable(format!("Redis cannot be reached: {reason}")),
            Self::Crowded => StoreError::unavailable("too many calls are waiting for Redis"),
            Self::Late => doubt("Redis did not answer within the time limit".into()),
            Self::Cut(reason) => doubt(format!("the connection to Redis ended: {reason}")),
            Self::Unconfirmed { by, of } => StoreError::in_doubt(format!(
                "Redis has the write, but {by} of the {of} replicas asked for confirmed it in time"
            )),
            Self::Unusable(kind, words) => StoreError::new(kind, words),
            Self::Strange => {
                StoreError::new(StoreErrorKind::Misconfigured, "this is not Redis: its answer makes no sense")
            }
            Self::Refused(refusal) => {
                let (kind, advice) = refusal.meaning();
                StoreError::new(kind, format!("Redis says {} {} ({advice})", refusal.code, refusal.words))
            }
        }
    }

    /// The reason in a few words, for a log line.
    pub(super) fn reason(&self) -> Arc<str> {
        match self {
            Self::Down(reason) | Self::Cut(reason) => Arc::clone(reason),
            Self::Late => "it does not answer".into(),
            Self::Refused(refusal) => format!("{} {}", refusal.code, refusal.words).into(),
            Self::Unusable(_, words) => words.as_str().into(),
            Self::Crowded | Self::Unconfirmed { .. } | Self::Strange => "it answers in an unknown way".into(),
        }
    }
}

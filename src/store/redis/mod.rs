//! Sessions in Redis or Valkey.
//!
//! `source` opens connections, a `wire` is one of them, a `link` has always one, a `server` has a link or two,
//! a `cluster` has a server for each node and finds the right one for a key by its `slots`. `scripts` and `lua`
//! are what they carry, `frame` is what lies in the server, `fault` what may come back instead, `greeting` what
//! is asked of a server first.

mod builder;
mod cluster;
mod fault;
mod frame;
mod greeting;
mod link;
mod lua;
mod owners;
mod scripts;
mod server;
mod slots;
mod source;
mod wire;

use std::{fmt, time::Duration};

use redis::{IntoConnectionInfo, Value, aio::ConnectionLike};
use tokio::{sync::watch, time::Instant};

pub use self::builder::RedisStoreBuilder;
use self::{
    cluster::Cluster,
    owners::Entry,
    scripts::{Effect, Reply, Request},
    server::Server,
};
use super::{Connection, Layout, Record, Store, StoreError, StoreErrorKind, When, Written};
use crate::{clock::Timestamp, id::StoreKey};

/// The longest string that Redis keeps, less what surrounds the data.
const LONGEST: usize = 512 * 1024 * 1024 - 64 * 1024;

/// Sessions in Redis or Valkey: one server, a primary behind Sentinel, or a cluster. Clones share one
/// connection.
///
/// ```no_run
/// # async fn open() -> Result<(), axum_generic_session::store::StoreError> {
/// use axum_generic_session::RedisStore;
///
/// let store = RedisStore::connect("redis://127.0.0.1").await?;
/// # let _ = store; Ok(()) }
/// ```
///
/// # What it needs
///
/// Redis 6.2 or newer, or Valkey; a user who may run scripts (`+eval +evalsha`), and the commands on strings and keys
/// that they consist of, on keys of the layer's prefix; where sessions have a principal, sorted sets and `TIME`
/// too (`+@sortedset +time`). `maxmemory-policy noeviction`, or sessions end when memory does. Redis acknowledges a write before it is on its disk: with
/// `appendfsync always` an acknowledged write outlives a crash, with the default a crash may lose the last
/// second. Writes that a primary had not passed on when it failed are lost with it;
/// [`ack_replicas`](RedisStoreBuilder::ack_replicas) makes that rare.
///
/// # How sessions lie there
///
/// Under [`StoreKey`], one string each, which Redis itself removes when it expires. Values are framed (version,
/// tag, expiry, principal, data), or, for keys that are shared with koa or express
/// ([`Layout::Plain`](crate::store::Layout::Plain)), data only. Every call is one round trip; it takes a second
/// one to say what is in the way of a new session, and to rotate in a cluster. Conditional writes are scripts
/// that read the tag, not the record; a script that a server has forgotten is sent again.
///
/// # When the server is away
///
/// Calls fail at once, and [`connection`](Store::connection) says so; the connection is opened anew in the
/// background, within half a second of the server's return. A server that only falls silent is noticed by a
/// `PING` a second. With Sentinel each new connection asks for the primary of that moment, and so does the
/// first write that a demoted primary refuses. In a cluster each node is watched by itself, and keys are
/// followed when they move.
///
/// The driver, the crate `redis`, is part of this interface: its next major version is one of this crate.
#[derive(Clone)]
pub struct RedisStore {
    engine: Engine,
    time_limit: Duration,
    /// Two keys may stand in one script.
    one_server: bool,
}

#[derive(Clone)]
enum Engine {
    Server(Server),
    Cluster(Cluster),
}

impl RedisStore {
    /// Opens the store at a URL, `redis://[user:password@]host[:port][/database]`, with all settings as they
    /// are. `rediss://` is TLS, and needs the feature `redis-rustls`.
    ///
    /// # Errors
    /// As [`RedisStoreBuilder::connect`].
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        Self::builder(url).connect().await
    }

    /// A store at one server: a URL, or the driver's `ConnectionInfo` where a URL cannot say it
    /// (certificates: `redis::Client::build_with_tls(..)?.get_connection_info().clone()`).
    ///
    /// ```no_run
    /// # async fn open() -> Result<(), axum_generic_session::store::StoreError> {
    /// use axum_generic_session::RedisStore;
    /// use std::time::Duration;
    ///
    /// let store = RedisStore::builder("redis://sessions.internal/1")
    ///     .time_limit(Duration::from_millis(500))
    ///     .ack_replicas(1, Duration::from_millis(100))
    ///     .connect()
    ///     .await?;
    /// # let _ = store; Ok(()) }
    /// ```
    pub fn builder(server: impl IntoConnectionInfo) -> RedisStoreBuilder {
        RedisStoreBuilder::server(server)
    }

    /// A store at the primary that Sentinel names: the addresses of the Sentinels, and what they call it.
    ///
    /// ```no_run
    /// # async fn open() -> Result<(), axum_generic_session::store::StoreError> {
    /// use axum_generic_session::RedisStore;
    ///
    /// let sentinels = ["redis://s1:26379", "redis://s2:26379", "redis://s3:26379"];
    /// let store = RedisStore::sentinel(sentinels, "mymaster")
    ///     .server_settings("redis://user:password@any")
    ///     .connect()
    ///     .await?;
    /// # let _ = store; Ok(()) }
    /// ```
    pub fn sentinel<I: IntoConnectionInfo>(
        sentinels: impl IntoIterator<Item = I>,
        name: impl Into<String>,
    ) -> RedisStoreBuilder {
        RedisStoreBuilder::sentinel(sentinels, name.into())
    }

    /// A store in a cluster: the addresses of some of its nodes, the rest is found. User, password and TLS of
    /// the first one are used for all.
    ///
    /// ```no_run
    /// # async fn open() -> Result<(), axum_generic_session::store::StoreError> {
    /// use axum_generic_session::RedisStore;
    ///
    /// let store = RedisStore::cluster(["redis://node1:7000", "redis://node2:7000"]).connect().await?;
    /// # let _ = store; Ok(()) }
    /// ```
    pub fn cluster<I: IntoConnectionInfo>(nodes: impl IntoIterator<Item = I>) -> RedisStoreBuilder {
        RedisStoreBuilder::cluster(nodes)
    }

    /// A store on a connection that the application has already: the driver's `ConnectionManager`, its cluster
    /// connection, or a `MultiplexedConnection`, which does not reconnect. Prefer an address: here a loss is
    /// noticed only by a call that fails or by `PING`, the application's commands and the store's wait for each
    /// other, and a connection that sends a command again by itself, as that of the cluster does, may make a
    /// change of `Session::transact` twice when an answer is lost.
    pub fn with_connection(
        connection: impl ConnectionLike + Clone + Send + Sync + 'static,
    ) -> RedisStoreBuilder {
        RedisStoreBuilder::own(connection)
    }

    /// The end of a call that begins now.
    fn limit(&self) -> Instant {
        Instant::now() + self.time_limit
    }

    async fn run(&self, key: &str, request: &Request, until: Instant) -> Result<Value, StoreError> {
        let answer = match &self.engine {
            Engine::Server(server) => server.run(request, false, until).await,
            Engine::Cluster(cluster) => cluster.run(key, request, until).await,
        };
        answer.map_err(|fault| fault.into_error(request.effect))
    }

    async fn write(&self, key: &StoreKey, record: &Record, when: When) -> Result<Reply, StoreError> {
        fits(record)?;
        let until = self.limit();
        let entry = Entry::of(key, record);
        if let (Some(entry), true) = (&entry, self.one_server) {
            return scripts::written(self.run(key.as_str(), &entry.set(key, record, when), until).await?);
        }
        if let Some(entry) = &entry {
            self.note(entry, record.expires_at, until).await?;
        }
        let created = when == When::Absent
            && scripts::created(&self.run(key.as_str(), &scripts::create(key, record), until).await?)?;
        let reply = if created {
            Reply::Now(Written::Done)
        } else {
            scripts::written(self.run(key.as_str(), &scripts::set(key, record, when), until).await?)?
        };
        if let (Some(entry), When::Absent, Reply::Before | Reply::Now(Written::Done)) = (&entry, when, &reply)
        {
            // Whoever looked in between has found an entry without a session, and may take it out.
            self.confirm(entry, record.expires_at, until).await?;
        }
        Ok(reply)
    }
}

// An error about another type should not depend on the features that are on.
#[diagnostic::do_not_recommend]
impl Store for RedisStore {
    async fn get(&self, key: &StoreKey) -> Result<Option<Record>, StoreError> {
        scripts::found(self.run(key.as_str(), &scripts::get(key), self.limit()).await?)
    }

    async fn set(&self, key: &StoreKey, record: &Record, when: When) -> Result<Written, StoreError> {
        Ok(self.write(key, record, when).await?.into())
    }

    async fn touch(&self, key: &StoreKey, expires_at: Timestamp) -> Result<bool, StoreError> {
        let until = self.limit();
        if self.one_server && key.layout() == Layout::Native {
            let touch = owners::touch(key, expires_at);
            return scripts::touched(self.run(key.as_str(), &touch, until).await?);
        }
        let mut noted = None;
        loop {
            let touch = scripts::touch(key, expires_at, noted.as_deref());
            let answer = self.run(key.as_str(), &touch, until).await?;
            let Some(principal) = owners::named(&answer)? else { return scripts::touched(answer) };
            self.note(&Entry::new(key, &principal), expires_at, until).await?;
            noted = Some(principal);
        }
    }

    async fn destroy(&self, key: &StoreKey) -> Result<(), StoreError> {
        match self.run(key.as_str(), &scripts::destroy(key), self.limit()).await? {
            Value::Int(_) => Ok(()),
            _ => Err(fault::Fault::Strange.into_error(Effect::Write)),
        }
    }

    /// One script where both keys are on one server. In a cluster, the new record first, then the removal of
    /// the old one: between the two the visitor owns both.
    async fn rotate(
        &self,
        old: &StoreKey,
        when: When,
        new: &StoreKey,
        record: &Record,
    ) -> Result<Written, StoreError> {
        if self.one_server {
            fits(record)?;
            let request = match Entry::of(new, record) {
                Some(entry) => entry.relocate(old, when, new, record),
                None => scripts::relocate(old, when, new, record),
            };
            return Ok(scripts::written(self.run(new.as_str(), &request, self.limit()).await?)?.into());
        }
        let again = match self.write(new, record, When::Absent).await? {
            Reply::Before => true,
            Reply::Now(Written::Done) => false,
            // What is there is not this visitor's.
            Reply::Now(_) => return Ok(Written::Conflict(None)),
        };
        // An error leaves the new record: the old one may have ended, and both must not.
        match scripts::written(self.run(old.as_str(), &scripts::remove(old, when), self.limit()).await?)?
            .into()
        {
            Written::Gone if again => Ok(Written::Done),
            Written::Done => Ok(Written::Done),
            refused => {
                self.destroy(new).await?;
                Ok(refused)
            }
        }
    }

    fn connection(&self) -> Option<watch::Receiver<Connection>> {
        Some(match &self.engine {
            Engine::Server(server) => server.status(),
            Engine::Cluster(cluster) => cluster.status(),
        })
    }

    fn name(&self) -> &'static str {
        "redis"
    }
}

/// Redis ends the connection over a longer value, and all other calls with it.
fn fits(record: &Record) -> Result<(), StoreError> {
    let length = record.data.len() + record.principal.as_deref().map_or(0, str::len);
    if length <= LONGEST {
        return Ok(());
    }
    Err(StoreError::new(StoreErrorKind::TooLarge, "Redis keeps no value of more than 512 MiB"))
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.engine {
            Engine::Server(_) => "server",
            Engine::Cluster(_) => "cluster",
        };
        write!(f, "RedisStore({kind})")
    }
}

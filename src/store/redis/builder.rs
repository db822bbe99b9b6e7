//! How a [`RedisStore`] is opened.

use std::{fmt, sync::Arc, time::Duration};

use redis::{ConnectionInfo, IntoConnectionInfo, RedisResult, aio::ConnectionLike};
use tokio::time::Instant;

use super::{
    Engine, RedisStore,
    cluster::Cluster,
    fault::Fault,
    greeting::examine,
    scripts::Effect,
    server::{Limits, Server},
    source::{Sentinels, Source, Transport},
    wire::Confirm,
};
use crate::store::{StoreError, StoreErrorKind};

/// The settings of a [`RedisStore`] that is yet to be opened; [`connect`](Self::connect) opens it.
///
/// Begin with [`RedisStore::builder`], [`RedisStore::sentinel`], [`RedisStore::cluster`] or
/// [`RedisStore::with_connection`].
#[must_use = "`connect` opens the store"]
pub struct RedisStoreBuilder {
    place: Place,
    limits: Limits,
    /// For the servers behind Sentinel.
    settings: Option<RedisResult<ConnectionInfo>>,
}

/// A time limit beyond this would be none.
const LONGEST: Duration = Duration::from_secs(3600);

enum Place {
    Server(RedisResult<ConnectionInfo>),
    Sentinel(RedisResult<Vec<ConnectionInfo>>, String),
    Cluster(RedisResult<Vec<ConnectionInfo>>),
    Own(Arc<dyn Transport>),
}

impl RedisStoreBuilder {
    fn new(place: Place) -> Self {
        let limits = Limits { time: Duration::from_secs(2), in_flight: 4096, confirm: None };
        Self { place, limits, settings: None }
    }

    pub(super) fn server(server: impl IntoConnectionInfo) -> Self {
        Self::new(Place::Server(server.into_connection_info()))
    }

    pub(super) fn sentinel<I: IntoConnectionInfo>(
        sentinels: impl IntoIterator<Item = I>,
        name: String,
    ) -> Self {
        Self::new(Place::Sentinel(sentinels.into_iter().map(I::into_connection_info).collect(), name))
    }

    pub(super) fn cluster<I: IntoConnectionInfo>(nodes: impl IntoIterator<Item = I>) -> Self {
        Self::new(Place::Cluster(nodes.into_iter().map(I::into_connection_info).collect()))
    }

    pub(super) fn own(connection: impl ConnectionLike + Clone + Send + Sync + 'static) -> Self {
        Self::new(Place::Own(Arc::new(connection)))
    }

    /// The time limit for one call; 2 s unless set, an hour at most, and not 0. To open a connection may take as
    /// long, or a second.
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.limits.time = limit.min(LONGEST);
        self
    }

    /// How many calls may be waiting for their answers at one time, for each server; 4096 unless set, and not 0. When
    /// Redis is slow, a call that finds no room within a tenth of the time limit fails.
    pub const fn max_in_flight(mut self, calls: usize) -> Self {
        self.limits.in_flight = calls;
        self
    }

    /// A write is done when so many replicas have confirmed it (`WAIT`); 0 unless set. If they do not
    /// within `timeout`, the write fails as [in doubt](crate::store::Applied::Unknown): it is in the primary.
    ///
    /// This makes the loss of an acknowledged write in a failover rare; it does not exclude it. It costs each
    /// write the way to the replica and back, and writes wait for each other's: some thousands a second
    /// for each node of the application. Reads, and the extending of lives, do not wait.
    pub fn ack_replicas(mut self, replicas: usize, timeout: Duration) -> Self {
        self.limits.confirm = (replicas > 0).then_some(Confirm { replicas, timeout });
        self
    }

    /// User, password, database and TLS of the servers that Sentinel watches; the address in it is not used.
    /// Without this call: none, none, 0 and no. Only for [`RedisStore::sentinel`].
    pub fn server_settings(mut self, like: impl IntoConnectionInfo) -> Self {
        self.settings = Some(like.into_connection_info());
        self
    }

    /// Connects, and examines what it finds: a server that cannot keep sessions is refused here, in words,
    /// rather than at the first login. An evicting `maxmemory-policy` is a warning in the log.
    ///
    /// # Errors
    /// [`StoreErrorKind::Unavailable`] if the server does not answer, [`StoreErrorKind::Denied`] if it does
    /// not let this user in, or not run scripts; [`StoreErrorKind::Misconfigured`] if a URL is wrong, or the
    /// server is older than Redis 6.2 or not what the builder was begun for.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub async fn connect(self) -> Result<RedisStore, StoreError> {
        self.open().await.map_err(|fault| fault.into_error(Effect::Read))
    }

    async fn open(self) -> Result<RedisStore, Fault> {
        let Self { place, limits, settings } = self;
        if limits.time.is_zero() || limits.in_flight == 0 {
            return Err(unusable("with a `time_limit` or `max_in_flight` of 0 no call could be made"));
        }
        if settings.is_some() && !matches!(place, Place::Sentinel(..)) {
            return Err(unusable(
                "`server_settings` is for `RedisStore::sentinel`; elsewhere the URL has them",
            ));
        }
        let wrong = |error| Fault::connecting(&error);
        // To connect, and to look around.
        let until = Instant::now() + limits.opening() * 2;
        let (engine, cluster) = match place {
            Place::Server(server) => {
                let source = Source::Server(Box::new(server.map_err(wrong)?));
                (Engine::one(source, limits), false)
            }
            Place::Sentinel(addresses, name) => {
                let settings = settings.unwrap_or_else(|| ("", 0).into_connection_info());
                let (addresses, settings) = (addresses.map_err(wrong)?, settings.map_err(wrong)?);
                let sentinels = Sentinels { addresses, name, settings };
                (Engine::one(Source::Sentinel(Arc::new(sentinels)), limits), false)
            }
            Place::Cluster(nodes) => {
                let nodes = nodes.map_err(wrong)?;
                if nodes.is_empty() {
                    return Err(unusable("a cluster needs the address of at least one of its nodes"));
                }
                (Engine::Cluster(Cluster::open(nodes, limits).await?), true)
            }
            Place::Own(_) if limits.confirm.is_some() => {
                return Err(unusable(
                    "`ack_replicas` holds up a connection, and this one may be shared: give the store an address",
                ));
            }
            Place::Own(connection) => (Engine::one(Source::Own(connection), limits), true),
        };
        let server = match &engine {
            Engine::Server(server) => server.opened(until).await?,
            Engine::Cluster(nodes) => nodes.any_node(until).await?,
        };
        let standalone = examine(&*server, cluster, limits.opening()).await?;
        // The nodes of some clusters for hire say that they are none.
        let one_server = standalone && matches!(engine, Engine::Server(_));
        Ok(RedisStore { engine, time_limit: limits.time, one_server })
    }
}

impl Engine {
    fn one(source: Source, limits: Limits) -> Self {
        Self::Server(Server::start(source, limits, None))
    }
}

fn unusable(words: &str) -> Fault {
    Fault::Unusable(StoreErrorKind::Misconfigured, words.to_owned())
}

// Addresses carry passwords.
impl fmt::Debug for RedisStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStoreBuilder").field("limits", &self.limits).finish_non_exhaustive()
    }
}

//! Where a connection comes from: an address, the primary that Sentinel names, or the user's own.

use std::{pin::Pin, sync::Arc, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind, Pipeline, ProtocolVersion,
    PushInfo, PushKind, RedisError, RedisResult, Value,
    aio::{ConnectionLike, MultiplexedConnection},
    cmd,
};
use tokio::time::timeout;

use super::{fault::Fault, greeting};
use crate::store::StoreErrorKind;

/// A command on its way.
pub(super) type Call<'a, T> = Pin<Box<dyn Future<Output = RedisResult<T>> + Send + 'a>>;

/// A connection with its type forgotten. All calls may be made at the same time.
pub(super) trait Transport: Send + Sync {
    fn one<'a>(&'a self, command: &'a Cmd) -> Call<'a, Value>;
    fn several<'a>(&'a self, commands: &'a Pipeline) -> Call<'a, Vec<Value>>;
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> Transport for C {
    fn one<'a>(&'a self, command: &'a Cmd) -> Call<'a, Value> {
        let mut connection = self.clone();
        Box::pin(async move { connection.req_packed_command(command).await })
    }

    fn several<'a>(&'a self, commands: &'a Pipeline) -> Call<'a, Vec<Value>> {
        let mut connection = self.clone();
        Box::pin(async move { connection.req_packed_commands(commands, 0, commands.len()).await })
    }
}

/// Told when the connection ends.
pub(super) type OnLoss = Arc<dyn Fn() + Send + Sync>;

#[derive(Clone)]
pub(super) enum Source {
    /// One server, or whatever its name leads to.
    Server(Box<ConnectionInfo>),
    /// One node of a cluster: for another node of its slots, the cluster is asked.
    Node(Box<ConnectionInfo>),
    Sentinel(Arc<Sentinels>),
    Own(Arc<dyn Transport>),
}

/// The Sentinels of one primary.
pub(super) struct Sentinels {
    pub(super) addresses: Vec<ConnectionInfo>,
    /// What they call the primary.
    pub(super) name: String,
    /// User, password, database and TLS of the servers they watch.
    pub(super) settings: ConnectionInfo,
}

impl Source {
    /// A connection of this source, opened within `limit`.
    pub(super) async fn open(&self, limit: Duration, on_loss: OnLoss) -> Result<Arc<dyn Transport>, Fault> {
        match self {
            Self::Server(info) | Self::Node(info) => Ok(Arc::new(dial(info, limit, Some(on_loss)).await?)),
            Self::Sentinel(sentinels) => {
                let primary = sentinels.primary(limit).await?;
                let connection = dial(&primary, limit, Some(on_loss)).await?;
                // A Sentinel that has been cut off may still name the old one.
                match greeting::role(&connection, limit).await? {
                    Some(role) if role != "master" => Err(Fault::Down("Sentinel names a replica".into())),
                    _ => Ok(Arc::new(connection)),
                }
            }
            Self::Own(connection) => Ok(Arc::clone(connection)),
        }
    }

    /// Whether opening anew may lead to another server.
    pub(super) const fn may_lead_elsewhere(&self) -> bool {
        matches!(self, Self::Server(_) | Self::Sentinel(_))
    }
}

impl Sentinels {
    /// Where the first Sentinel that answers says the primary is.
    async fn primary(&self, limit: Duration) -> Result<ConnectionInfo, Fault> {
        let mut question = cmd("SENTINEL");
        question.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.name);
        let mut last = Fault::Unusable(StoreErrorKind::Misconfigured, "no Sentinel is given".into());
        for address in &self.addresses {
            let asked = async {
                let connection = dial(address, limit, None).await?;
                Ok::<_, Fault>(connection.one(&question).await?.extract_error()?)
            };
            match timeout(limit, asked).await {
                Ok(Ok(Value::Array(found))) => return at(&self.settings, &found).ok_or(Fault::Strange),
                Ok(Ok(_)) => {
                    let words = format!("Sentinel watches no primary named `{}`", self.name);
                    last = Fault::Unusable(StoreErrorKind::Misconfigured, words);
                }
                Ok(Err(fault)) => last = fault,
                Err(_) => last = Fault::Down("Sentinel does not answer".into()),
            }
        }
        Err(last)
    }
}

/// These settings at another address, given as `[host, port]`.
fn at(settings: &ConnectionInfo, address: &[Value]) -> Option<ConnectionInfo> {
    let [Value::BulkString(host), Value::BulkString(port)] = address else { return None };
    let port = std::str::from_utf8(port).ok()?.parse().ok()?;
    Some(with_address(settings, String::from_utf8(host.clone()).ok()?, port))
}

/// These settings at another address.
pub(super) fn with_address(settings: &ConnectionInfo, host: String, port: u16) -> ConnectionInfo {
    let mut address = settings.addr().clone();
    match &mut address {
        ConnectionAddr::TcpTls { host: old_host, port: old_port, .. } => {
            (*old_host, *old_port) = (host, port)
        }
        other => *other = ConnectionAddr::Tcp(host, port),
    }
    settings.clone().set_addr(address)
}

/// One connection. RESP3 tells when it ends; a server that knows only RESP2 is spoken to in that.
pub(super) async fn dial(
    info: &ConnectionInfo,
    limit: Duration,
    on_loss: Option<OnLoss>,
) -> Result<MultiplexedConnection, Fault> {
    #[cfg(feature = "redis-rustls")]
    choose_crypto(info);
    let tcp = info.tcp_settings().clone().set_nodelay(true);
    let info = info.clone().set_tcp_settings(tcp);
    // Calls have their own limit, which begins before they are sent.
    let config = AsyncConnectionConfig::new().set_response_timeout(None).set_connection_timeout(Some(limit));
    let told = match on_loss {
        Some(on_loss) => config.clone().set_push_sender(move |push: PushInfo| {
            if push.kind == PushKind::Disconnection {
                on_loss();
            }
            Ok::<(), ()>(())
        }),
        None => config.clone(),
    };
    match connect(&info, ProtocolVersion::RESP3, &told).await {
        Err(error) if knows_no_resp3(&error) => {
            connect(&info, ProtocolVersion::RESP2, &config).await.map_err(|error| Fault::connecting(&error))
        }
        opened => opened.map_err(|error| Fault::connecting(&error)),
    }
}

fn knows_no_resp3(error: &RedisError) -> bool {
    error.kind() == ErrorKind::RESP3NotSupported || matches!(error.code(), Some("ERR" | "NOPERM" | "NOPROTO"))
}

async fn connect(
    info: &ConnectionInfo,
    protocol: ProtocolVersion,
    config: &AsyncConnectionConfig,
) -> RedisResult<MultiplexedConnection> {
    let settings = info.redis_settings().clone().set_protocol(protocol);
    let client = Client::open(info.clone().set_redis_settings(settings))?;
    client.get_multiplexed_async_connection_with_config(config).await
}

/// rustls panics if it cannot tell which implementation of cryptography to use: with none linked, or two.
#[cfg(feature = "redis-rustls")]
fn choose_crypto(info: &ConnectionInfo) {
    let tls = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
    if tls && rustls::crypto::CryptoProvider::get_default().is_none() {
        // An error means that somebody else has just chosen.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}

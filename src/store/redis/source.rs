//! Where a connection comes from: an address, the primary that Sentinel names, or the user's own.

use std::{pin::Pin, sync::Arc, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind, Pipeline, ProtocolVersion,
    PushInfo, PushKind, RedisError, RedisResult, Value,
    aio::{ConnectionLike, MultiplexedConnection},
    cmd,
};
use tokio::task::JoinSet;

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
            Self::Sentinel(sentinels) => Ok(Arc::new(sentinels.open(limit, on_loss).await?)),
            Self::Own(connection) => Ok(Arc::clone(connection)),
        }
    }

    /// Whether opening anew may lead to another server.
    pub(super) const fn may_lead_elsewhere(&self) -> bool {
        matches!(self, Self::Server(_) | Self::Sentinel(_))
    }
}

impl Sentinels {
    /// A connection to the primary. All are asked at once, and the first answer that proves right will do:
    /// one may be away, and one that has been cut off may still name the old primary.
    async fn open(&self, limit: Duration, on_loss: OnLoss) -> Result<MultiplexedConnection, Fault> {
        let mut answers = JoinSet::new();
        for sentinel in &self.addresses {
            answers.spawn(primary(sentinel.clone(), self.name.clone(), limit));
        }
        let mut last = Fault::Unusable(StoreErrorKind::Misconfigured, "no Sentinel is given".into());
        while let Some(answer) = answers.join_next().await {
            let Ok(answer) = answer else { continue };
            let opened = async {
                let (host, port) = answer?;
                let connection =
                    dial(&with_address(&self.settings, host, port), limit, Some(Arc::clone(&on_loss)))
                        .await?;
                match greeting::role(&connection, limit).await? {
                    Some(role) if role != "master" => Err(Fault::Down("Sentinel names a replica".into())),
                    _ => Ok(connection),
                }
            };
            match opened.await {
                Ok(connection) => return Ok(connection),
                Err(fault) => last = fault,
            }
        }
        Err(last)
    }
}

/// Where this Sentinel says the primary is.
async fn primary(sentinel: ConnectionInfo, name: String, limit: Duration) -> Result<(String, u16), Fault> {
    let connection = dial(&sentinel, limit, None).await?;
    let mut question = cmd("SENTINEL");
    question.arg("GET-MASTER-ADDR-BY-NAME").arg(&name);
    match greeting::ask(&connection, &question, limit).await? {
        Value::Array(address) => match &address[..] {
            [Value::BulkString(host), Value::BulkString(port)] => {
                let port = std::str::from_utf8(port).ok().and_then(|port| port.parse().ok());
                Ok((String::from_utf8_lossy(host).into_owned(), port.ok_or(Fault::Strange)?))
            }
            _ => Err(Fault::Strange),
        },
        _ => Err(Fault::Unusable(
            StoreErrorKind::Misconfigured,
            format!("Sentinel watches no primary named `{name}`"),
        )),
    }
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

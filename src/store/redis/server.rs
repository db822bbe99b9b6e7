//! One server and the connections to it.

use std::{sync::Arc, time::Duration};

use redis::Value;
use tokio::{sync::watch, time::Instant};

use super::{
    fault::Fault,
    link::{Link, News},
    scripts::{Effect, Request},
    source::{Source, Transport},
    wire::Confirm,
};
use crate::store::Connection;

/// The bounds of a store.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// For one call.
    pub(super) time: Duration,
    /// Calls without an answer, on each connection.
    pub(super) in_flight: usize,
    pub(super) confirm: Option<Confirm>,
}

impl Limits {
    /// For opening a connection: names, certificates and passwords take longer than a call.
    pub(super) fn opening(&self) -> Duration {
        self.time.max(Duration::from_secs(1))
    }
}

/// A handle; the last one to go ends the connections.
#[derive(Clone)]
pub(super) struct Server {
    main: Link,
    /// `WAIT` holds up what comes behind it, so writes that are to be confirmed have a connection of their own.
    confirmed: Option<Link>,
}

impl Server {
    /// Begins to connect. `news` is called when the server is lost or back.
    pub(super) fn start(source: Source, limits: Limits, news: Option<News>) -> Self {
        let confirmed =
            limits.confirm.map(|confirm| Link::start(source.clone(), limits, Some(confirm), None));
        Self { main: Link::start(source, limits, None, news), confirmed }
    }

    /// The connection, as soon as the first try has succeeded or failed.
    pub(super) async fn opened(&self, until: Instant) -> Result<Arc<dyn Transport>, Fault> {
        if let Some(confirmed) = &self.confirmed {
            confirmed.opened(until).await?;
        }
        self.main.opened(until).await
    }

    /// Carries out one request, at the latest until `until`. `asking`: the cluster has sent us here for once.
    pub(super) async fn run(&self, request: &Request, asking: bool, until: Instant) -> Result<Value, Fault> {
        match &self.confirmed {
            Some(confirmed) if request.effect == Effect::Write => confirmed.run(request, asking, until).await,
            _ => self.main.run(request, asking, until).await,
        }
    }

    pub(super) fn status(&self) -> watch::Receiver<Connection> {
        self.main.status()
    }

    pub(super) fn down_since(&self) -> Option<Instant> {
        match *self.main.status().borrow() {
            Connection::Connected => None,
            Connection::Disconnected { since } => Some(since),
        }
    }
}

//! A cluster: which node owns a key, one [`Server`] for each, and following the keys when they move.
//!
//! The client's own cluster connection is not used. It sends a command again whose answer was lost, so that
//! a change could be made twice; and while it looks for one node, commands for all the others wait.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use redis::{ConnectionInfo, Value};
use tokio::{
    sync::{Notify, watch},
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep, timeout, timeout_at},
};

use super::{
    fault::Fault,
    link::News,
    scripts::Request,
    server::{Limits, Server},
    slots::{Address, Range, owner, ranges, slot},
    source::{Source, Transport, dial, with_address},
};
use crate::store::Connection;

/// Between two looks at the map while a node is away.
const WHILE_DOWN: Duration = Duration::from_millis(250);
/// Between two looks at the map when nothing happens: the nodes tell of changes themselves.
const AT_REST: Duration = Duration::from_secs(60);
/// Between two looks at the map, at least; a call whose node is away waits no longer for a new one.
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);
/// Before a command is sent again to a cluster that is busy rearranging itself.
const PAUSE: Duration = Duration::from_millis(20);

/// A handle; the last one to go ends the task and all connections.
#[derive(Clone)]
pub(super) struct Cluster {
    shared: Arc<Shared>,
    _keeper: Arc<Keeper>,
}

struct Keeper(JoinHandle<()>);

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Shared {
    seeds: Vec<ConnectionInfo>,
    limits: Limits,
    map: watch::Sender<Arc<Map>>,
    nodes: Mutex<HashMap<Address, Server>>,
    status: watch::Sender<Connection>,
    /// A node has come or gone, or the map is wrong.
    bell: Arc<Notify>,
}

/// Who owns what, at one moment.
struct Map {
    number: usize,
    drawn: Instant,
    /// Sorted.
    ranges: Vec<Range>,
}

impl Map {
    fn owner(&self, slot: u16) -> Option<&Address> {
        owner(&self.ranges, slot)
    }
}

impl Cluster {
    /// Finds the nodes and connects to them.
    pub(super) async fn open(seeds: Vec<ConnectionInfo>, limits: Limits) -> Result<Self, Fault> {
        let map = Arc::new(Map { number: 0, drawn: Instant::now(), ranges: Vec::new() });
        let shared = Arc::new(Shared {
            seeds,
            limits,
            map: watch::Sender::new(map),
            nodes: Mutex::default(),
            status: watch::Sender::new(Connection::Connected),
            bell: Arc::default(),
        });
        shared.draw_map().await?;
        let keeper = Keeper(tokio::spawn(keep(Arc::clone(&shared))));
        Ok(Self { shared, _keeper: Arc::new(keeper) })
    }

    /// A node that answers; waits for the first try of all of them.
    pub(super) async fn any_node(&self, until: Instant) -> Result<Arc<dyn Transport>, Fault> {
        let mut found = Err(Fault::Down("the cluster has no nodes".into()));
        let nodes: Vec<Server> = self.shared.nodes().values().cloned().collect();
        for node in nodes {
            let opened = node.opened(until).await;
            if found.is_err() {
                found = opened;
            }
        }
        found
    }

    pub(super) fn status(&self) -> watch::Receiver<Connection> {
        self.shared.status.subscribe()
    }

    /// Carries out one request at the owner of `key`, at the latest until `until`.
    pub(super) async fn run(&self, key: &str, request: &Request, until: Instant) -> Result<Value, Fault> {
        let shared = &self.shared;
        let slot = slot(key);
        let mut redirect = None;
        let mut asking = false;
        let mut tries = 0;
        loop {
            let map = Arc::clone(&shared.map.borrow());
            let owner = redirect.take().or_else(|| map.owner(slot).cloned());
            let Some(owner) = owner else {
                shared.bell.notify_one();
                return Err(Fault::Down("no node serves this part of the cluster".into()));
            };
            let node = shared.node(&owner);
            let fault = match node.run(request, asking, until).await {
                Err(fault) => fault,
                done => return done,
            };
            // Whatever is tried again below has been refused before anything happened.
            asking = false;
            tries += 1;
            match fault.code() {
                Some(code @ ("MOVED" | "ASK")) => {
                    asking = code == "ASK";
                    if !asking {
                        shared.bell.notify_one();
                    }
                    redirect = fault.target(&owner.0);
                }
                Some("TRYAGAIN" | "CLUSTERDOWN" | "READONLY" | "MASTERDOWN" | "LOADING") => {
                    shared.bell.notify_one();
                }
                None if matches!(fault, Fault::Down(_)) => {
                    // A map from after the loss has been asked for by the loss itself.
                    let elsewhere = match node.down_since() {
                        Some(since) if map.drawn < since => shared.newer_than(&map, until).await,
                        _ => None,
                    };
                    if elsewhere.is_none_or(|map| map.owner(slot) == Some(&owner)) {
                        return Err(fault);
                    }
                    continue;
                }
                _ => return Err(fault),
            }
            if tries > 2 || redirect.is_none() {
                if until.saturating_duration_since(Instant::now()) < PAUSE {
                    return Err(fault);
                }
                sleep(PAUSE).await;
            }
        }
    }
}

impl Shared {
    fn node(self: &Arc<Self>, address: &Address) -> Server {
        let mut nodes = self.nodes();
        if let Some(node) = nodes.get(address) {
            return node.clone();
        }
        let place = with_address(&self.seeds[0], address.0.to_string(), address.1);
        // Weak, for the nodes belong to us.
        let shared = Arc::downgrade(self);
        let news: News = Arc::new(move || {
            if let Some(shared) = shared.upgrade() {
                shared.tell_status();
                shared.bell.notify_one();
            }
        });
        let node = Server::start(Source::Node(Box::new(place)), self.limits, Some(news));
        nodes.insert(address.clone(), node.clone());
        node
    }

    fn nodes(&self) -> MutexGuard<'_, HashMap<Address, Server>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A map drawn after this one, if there is one soon.
    async fn newer_than(&self, map: &Map, until: Instant) -> Option<Arc<Map>> {
        let mut newer = self.map.subscribe();
        let until = until.min(Instant::now() + BETWEEN_LOOKS * 2);
        let newer = timeout_at(until, newer.wait_for(|now| now.number > map.number)).await.ok()?.ok()?;
        Some(Arc::clone(&newer))
    }

    /// Draws the map anew, or keeps the old one if no node answers.
    async fn draw_map(self: &Arc<Self>) -> Result<(), Fault> {
        let before = Arc::clone(&self.map.borrow());
        let (ranges, outcome) = match self.ask_around(before.number).await {
            Ok(ranges) => {
                let owners: Vec<Address> = ranges.iter().map(|range| range.owner.clone()).collect();
                owners.iter().for_each(|owner| drop(self.node(owner)));
                self.nodes().retain(|address, _| owners.contains(address));
                (ranges, Ok(()))
            }
            Err(fault) => (before.ranges.clone(), Err(fault)),
        };
        self.map.send_replace(Arc::new(Map { number: before.number + 1, drawn: Instant::now(), ranges }));
        self.tell_status();
        outcome
    }

    /// Asks the nodes, one after the other, who owns what.
    async fn ask_around(&self, number: usize) -> Result<Vec<Range>, Fault> {
        let mut nodes: Vec<(Address, Server)> =
            self.nodes().iter().map(|(address, node)| (address.clone(), node.clone())).collect();
        nodes.retain(|(_, node)| node.down_since().is_none());
        // A node that is cut off may tell old news: another one each time.
        if !nodes.is_empty() {
            let middle = number % nodes.len();
            nodes.rotate_left(middle);
        }
        // It answers at once or is in trouble.
        let limit = self.limits.time / 4;
        let mut last = Fault::Down("no node of the cluster answers".into());
        for ((host, _), node) in nodes {
            let asked = async {
                let node = node.opened(Instant::now() + limit).await?;
                ranges(&*node, &host, limit).await
            };
            match asked.await {
                Ok(ranges) => return Ok(ranges),
                Err(fault) => last = fault,
            }
        }
        let mut answers = JoinSet::new();
        for seed in &self.seeds {
            answers.spawn(ask_seed(seed.clone(), self.limits.opening()));
        }
        while let Some(answer) = answers.join_next().await {
            match answer {
                Ok(Ok(ranges)) => return Ok(ranges),
                Ok(Err(fault)) => last = fault,
                Err(_) => {}
            }
        }
        Err(last)
    }

    /// Connected as long as any node is there: the others' sessions must not wait for those of a lost one.
    fn tell_status(&self) {
        let connected = self.nodes().values().any(|node| node.down_since().is_none());
        self.status.send_if_modified(|status| match (*status, connected) {
            (Connection::Connected, false) => {
                *status = Connection::Disconnected { since: Instant::now() };
                true
            }
            (Connection::Disconnected { .. }, true) => {
                *status = Connection::Connected;
                true
            }
            _ => false,
        });
    }
}

/// The task of a cluster.
async fn keep(shared: Arc<Shared>) {
    loop {
        let any_down = shared.nodes().values().any(|node| node.down_since().is_some());
        let rest = if any_down { WHILE_DOWN } else { AT_REST };
        let _ = timeout(rest, shared.bell.notified()).await;
        let drawn = shared.map.borrow().drawn;
        sleep(BETWEEN_LOOKS.saturating_sub(drawn.elapsed())).await;
        if let Err(fault) = shared.draw_map().await {
            tracing::debug!(reason = %fault.reason(), "the nodes of the cluster cannot be asked who owns what");
        }
    }
}

async fn ask_seed(seed: ConnectionInfo, limit: Duration) -> Result<Vec<Range>, Fault> {
    let address = seed.addr().to_string();
    let host = address.rsplit_once(':').map_or(&*address, |(host, _)| host).into();
    ranges(&dial(&seed, limit, None).await?, &host, limit).await
}

//! A connection that all calls share, watched and opened anew by a task.
//!
//! While there is no connection calls fail at once; the task tries again and again, at most
//! [`LONGEST_PAUSE`] apart. That a connection has ended is learnt from the client's own event (RESP3), from
//! the first call that fails, or, if the server is only silent, from a `PING` every [`HEARTBEAT`]. The task
//! ends with the last handle.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use rand::Rng;
use redis::Value;
use tokio::{
    sync::{Notify, Semaphore, SemaphorePermit, watch},
    task::JoinHandle,
    time::{Instant, sleep, timeout, timeout_at},
};

use super::{
    fault::Fault,
    scripts::Request,
    server::Limits,
    source::{OnLoss, Source, Transport},
    wire::{Confirm, Wire},
};
use crate::store::Connection;

/// How often a server that says nothing is asked whether it is there.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Between two tries to connect, to begin with; doubled each time.
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
/// Between two tries to connect, at most.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// A call waits this part of the time limit for others to get their answers, before it is sent.
const PATIENCE: u32 = 10;
/// A server that says READONLY is not left for another one more often than this.
const BETWEEN_RENEWALS: Duration = Duration::from_secs(1);

/// Called when the server is lost or back.
pub(super) type News = Arc<dyn Fn() + Send + Sync>;

enum Line {
    /// Nothing is known yet: the first try to connect is under way.
    Opening,
    Up(Wire),
    Down(Fault),
}

/// A handle; the last one to go ends the task and the connection.
#[derive(Clone)]
pub(super) struct Link {
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
    limits: Limits,
    line: watch::Sender<Line>,
    status: watch::Sender<Connection>,
    room: Semaphore,
    /// Something needs the task's attention.
    alarm: Notify,
    /// The server is the wrong one: there may be another where it came from.
    renewal: AtomicBool,
    renewable: bool,
    numbers: AtomicU64,
    /// What every request waits for before it counts as done.
    confirm: Option<Confirm>,
    news: Option<News>,
}

impl Link {
    /// Begins to connect.
    pub(super) fn start(
        source: Source,
        limits: Limits,
        confirm: Option<Confirm>,
        news: Option<News>,
    ) -> Self {
        let shared = Arc::new(Shared {
            limits,
            line: watch::Sender::new(Line::Opening),
            status: watch::Sender::new(Connection::Connected),
            room: Semaphore::new(limits.in_flight.min(Semaphore::MAX_PERMITS)),
            alarm: Notify::new(),
            renewal: AtomicBool::new(false),
            renewable: source.may_lead_elsewhere(),
            numbers: AtomicU64::new(0),
            confirm,
            news,
        });
        let task = tokio::spawn(keep(Arc::clone(&shared), source));
        Self { shared, _keeper: Arc::new(Keeper(task)) }
    }

    /// The connection, as soon as the first try has succeeded or failed.
    pub(super) async fn opened(&self, until: Instant) -> Result<Arc<dyn Transport>, Fault> {
        self.shared.wire(until).await.map(|wire| wire.transport)
    }

    pub(super) fn status(&self) -> watch::Receiver<Connection> {
        self.shared.status.subscribe()
    }

    /// Carries out one request, at the latest until `until`. `asking`: the cluster has sent us here for once.
    pub(super) async fn run(&self, request: &Request, asking: bool, until: Instant) -> Result<Value, Fault> {
        let shared = &*self.shared;
        let _room = shared.find_room(until).await?;
        let mut wire = shared.wire(until).await?;
        let mut text = None;
        let mut renewed = false;
        loop {
            let request = text.as_ref().unwrap_or(request);
            let fault = match shared.once(&wire, request, asking, until).await {
                Err(fault) => fault,
                done => return done,
            };
            // Both were refused before anything happened, so trying again is safe.
            match fault.code() {
                Some("NOSCRIPT") if text.is_none() => text = request.with_text(),
                Some("READONLY") if !renewed => {
                    renewed = true;
                    wire = shared.renew(&wire, until).await.ok_or(fault)?;
                }
                _ => return Err(fault),
            }
        }
    }
}

impl Shared {
    async fn once(
        &self,
        wire: &Wire,
        request: &Request,
        asking: bool,
        until: Instant,
    ) -> Result<Value, Fault> {
        let answer = match timeout_at(until, wire.send(request, asking, self.confirm)).await {
            Ok(answer) => answer,
            Err(_) => Err(Fault::Late),
        };
        match &answer {
            Err(fault @ Fault::Cut(_)) => self.lost(wire.number, fault),
            Err(Fault::Late) => self.alarm.notify_one(),
            _ => {}
        }
        answer
    }

    /// The connection of this moment; waits only for the first one.
    async fn wire(&self, until: Instant) -> Result<Wire, Fault> {
        let current = |line: &Line| match line {
            Line::Opening => None,
            Line::Up(wire) => Some(Ok(wire.clone())),
            Line::Down(fault) => Some(Err(fault.clone())),
        };
        let now = current(&self.line.borrow());
        if let Some(known) = now {
            return known;
        }
        let mut line = self.line.subscribe();
        match timeout_at(until, line.wait_for(|line| !matches!(line, Line::Opening))).await {
            Ok(Ok(line)) => current(&line).unwrap_or(Err(Fault::Late)),
            Ok(Err(_)) | Err(_) => Err(Fault::Down("it does not answer".into())),
        }
    }

    async fn find_room(&self, until: Instant) -> Result<SemaphorePermit<'_>, Fault> {
        if let Ok(room) = self.room.try_acquire() {
            return Ok(room);
        }
        if let Line::Down(fault) = &*self.line.borrow() {
            return Err(fault.clone());
        }
        let until = until.min(Instant::now() + self.limits.time / PATIENCE);
        match timeout_at(until, self.room.acquire()).await {
            Ok(Ok(room)) => Ok(room),
            Ok(Err(_)) | Err(_) => Err(Fault::Crowded),
        }
    }

    /// This server accepts no writes: is there another one? Not asked more often than sensible.
    async fn renew(&self, wire: &Wire, until: Instant) -> Option<Wire> {
        let number = wire.number;
        let mut line = self.line.subscribe();
        let ours = |line: &Line| matches!(line, Line::Up(now) if now.number == number);
        if ours(&line.borrow()) {
            if !self.renewable || wire.opened.elapsed() < BETWEEN_RENEWALS {
                return None;
            }
            self.renewal.store(true, Relaxed);
            self.alarm.notify_one();
        }
        let other = timeout_at(until, line.wait_for(|line| !ours(line))).await.ok()?.ok()?;
        match &*other {
            Line::Up(wire) => Some(wire.clone()),
            Line::Opening | Line::Down(_) => None,
        }
    }

    /// Notes that a connection has ended, once.
    fn lost(&self, number: u64, fault: &Fault) {
        if self.change(Some(number), Line::Down(Fault::Down(fault.reason()))) {
            tracing::warn!(reason = %fault.reason(), "the connection to Redis is lost");
            self.alarm.notify_one();
        }
    }

    /// Changes line and status as one, and says whether it did: with a number, only if that is the connection of
    /// the moment.
    fn change(&self, number: Option<u64>, new: Line) -> bool {
        let connected = matches!(new, Line::Up(_));
        let mut news = false;
        let changed = self.line.send_if_modified(|line| {
            let current = matches!((&*line, number), (Line::Up(wire), Some(number)) if wire.number == number);
            if number.is_some() && !current {
                return false;
            }
            *line = new;
            news = self.status.send_if_modified(|status| {
                let before = *status == Connection::Connected;
                match (before, connected) {
                    (true, false) => *status = Connection::Disconnected { since: Instant::now() },
                    (false, true) => *status = Connection::Connected,
                    _ => {}
                }
                before != connected
            });
            true
        });
        if news && let Some(news) = &self.news {
            news();
        }
        changed
    }

    fn current(&self) -> Option<Wire> {
        match &*self.line.borrow() {
            Line::Up(wire) => Some(wire.clone()),
            Line::Opening | Line::Down(_) => None,
        }
    }

    async fn open(self: &Arc<Self>, source: &Source) -> Result<Wire, Fault> {
        let number = self.numbers.fetch_add(1, Relaxed);
        let limit = self.limits.opening();
        // Weak: the client's task holds this, and must not keep alive what it belongs to.
        let shared = Arc::downgrade(self);
        let on_loss: OnLoss = Arc::new(move || {
            if let Some(shared) = shared.upgrade() {
                shared.lost(number, &Fault::Down("the server has closed it".into()));
            }
        });
        let transport = source.open(limit, on_loss).await?;
        let wire = Wire { number, opened: Instant::now(), transport };
        wire.ping(limit).await?;
        Ok(wire)
    }
}

/// The task of a link.
async fn keep(shared: Arc<Shared>, source: Source) {
    let mut pause = SHORTEST_PAUSE;
    loop {
        let Some(wire) = shared.current() else {
            match shared.open(&source).await {
                Ok(wire) => {
                    // The first one of all is no news.
                    if *shared.status.borrow() != Connection::Connected {
                        tracing::info!("connected to Redis again");
                    }
                    shared.change(None, Line::Up(wire));
                    pause = SHORTEST_PAUSE;
                }
                Err(fault) => {
                    shared.change(None, Line::Down(fault.not_sent()));
                    // Nodes that lost the same server do not come back in step.
                    let share = rand::thread_rng().gen_range(0.75..1.0);
                    sleep(pause.mul_f64(share)).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
            continue;
        };
        let _ = timeout(HEARTBEAT, shared.alarm.notified()).await;
        if shared.current().is_none_or(|now| now.number != wire.number) {
            continue;
        }
        let checked = if shared.renewal.swap(false, Relaxed) {
            shared.open(&source).await.map(|wire| {
                shared.change(None, Line::Up(wire));
            })
        } else {
            wire.ping(shared.limits.time).await
        };
        if let Err(fault) = checked {
            shared.lost(wire.number, &fault);
        }
    }
}

//! One server, kept in reach: a connection that all calls share, watched and opened anew by a task.
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
use redis::{Pipeline, Value, cmd};
use tokio::{
    sync::{Notify, Semaphore, SemaphorePermit, watch},
    task::JoinHandle,
    time::{Instant, sleep, timeout, timeout_at},
};

use super::{
    fault::Fault,
    greeting,
    scripts::{Effect, Request},
    source::{OnLoss, Source, Transport},
};
use crate::store::Connection;

/// How often a server that says nothing is asked whether it is there.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Between two tries to connect, to begin with; doubled each time.
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
/// Between two tries to connect, at most.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// A server that says READONLY is not left for another one more often than this.
const BETWEEN_RENEWALS: Duration = Duration::from_secs(1);

/// The bounds of a store.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// For one call, and for opening a connection.
    pub(super) time: Duration,
    /// Calls without an answer, for each server.
    pub(super) in_flight: usize,
    pub(super) confirm: Option<Confirm>,
}

impl Limits {
    /// How long a call waits for others to get their answers before it is sent.
    fn patience(&self) -> Duration {
        self.time / 10
    }
}

/// A write is done when replicas have it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Confirm {
    pub(super) replicas: usize,
    pub(super) timeout: Duration,
}

/// A connection that answers, as far as is known.
#[derive(Clone)]
struct Wire {
    number: u64,
    since: Instant,
    main: Arc<dyn Transport>,
    /// `WAIT` holds up what is behind it, so confirmed writes have a connection of their own.
    confirmed: Option<Arc<dyn Transport>>,
}

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
    /// Rung when the server comes or goes.
    bell: Arc<Notify>,
}

impl Link {
    /// Begins to connect. `bell` is rung when the server is lost or back.
    pub(super) fn start(source: Source, limits: Limits, bell: Arc<Notify>) -> Self {
        let shared = Arc::new(Shared {
            limits,
            line: watch::Sender::new(Line::Opening),
            status: watch::Sender::new(Connection::Connected),
            room: Semaphore::new(limits.in_flight.min(Semaphore::MAX_PERMITS)),
            alarm: Notify::new(),
            renewal: AtomicBool::new(false),
            renewable: source.may_lead_elsewhere(),
            numbers: AtomicU64::new(0),
            bell,
        });
        let task = tokio::spawn(keep(Arc::clone(&shared), source));
        Self { shared, _keeper: Arc::new(Keeper(task)) }
    }

    /// The connection, as soon as the first try has succeeded or failed.
    pub(super) async fn opened(&self, until: Instant) -> Result<Arc<dyn Transport>, Fault> {
        self.shared.wire(until).await.map(|wire| wire.main)
    }

    pub(super) fn status(&self) -> watch::Receiver<Connection> {
        self.shared.status.subscribe()
    }

    pub(super) fn down_since(&self) -> Option<Instant> {
        match *self.shared.status.borrow() {
            Connection::Connected => None,
            Connection::Disconnected { since } => Some(since),
        }
    }

    /// Carries out one request, at the latest until `until`. `asking`: the cluster has sent us here for once.
    pub(super) async fn run(&self, request: &Request, asking: bool, until: Instant) -> Result<Value, Fault> {
        let shared = &*self.shared;
        let mut wire = shared.wire(until).await?;
        let _room = shared.find_room(until).await?;
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
        let confirm = self.limits.confirm.filter(|_| request.effect == Effect::Write);
        let answer = match timeout_at(until, wire.send(request, asking, confirm)).await {
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
        let until = until.min(Instant::now() + self.limits.patience());
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
            if !self.renewable || wire.since.elapsed() < BETWEEN_RENEWALS {
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
        let lost = self.line.send_if_modified(|line| {
            let ours = matches!(line, Line::Up(wire) if wire.number == number);
            if ours {
                *line = Line::Down(Fault::Down(fault.reason()));
            }
            ours
        });
        if lost {
            tracing::warn!(reason = %fault.reason(), "the connection to Redis is lost");
            self.mark_down();
            self.alarm.notify_one();
        }
    }

    fn mark_down(&self) {
        let news = self.status.send_if_modified(|status| {
            let news = *status == Connection::Connected;
            if news {
                *status = Connection::Disconnected { since: Instant::now() };
            }
            news
        });
        if news {
            self.bell.notify_one();
        }
    }

    fn up(&self, wire: Wire) {
        let before = self.line.send_replace(Line::Up(wire));
        if matches!(before, Line::Down(_)) {
            tracing::info!("connected to Redis again");
        }
        let news = self.status.send_if_modified(|status| {
            let news = *status != Connection::Connected;
            *status = Connection::Connected;
            news
        });
        if news {
            self.bell.notify_one();
        }
    }

    fn still_down(&self, fault: Fault) {
        self.line.send_replace(Line::Down(fault));
        self.mark_down();
    }

    fn current(&self) -> Option<Wire> {
        match &*self.line.borrow() {
            Line::Up(wire) => Some(wire.clone()),
            Line::Opening | Line::Down(_) => None,
        }
    }

    async fn open(self: &Arc<Self>, source: &Source) -> Result<Wire, Fault> {
        let number = self.numbers.fetch_add(1, Relaxed);
        let limit = self.limits.time;
        // Weak: the client's task holds this, and must not keep alive what it belongs to.
        let shared = Arc::downgrade(self);
        let on_loss: OnLoss = Arc::new(move || {
            if let Some(shared) = shared.upgrade() {
                shared.lost(number, &Fault::Down("the server has closed it".into()));
            }
        });
        let main = source.open(limit, Arc::clone(&on_loss)).await?;
        let confirmed = match self.limits.confirm {
            Some(_) => Some(source.open(limit, on_loss).await?),
            None => None,
        };
        let wire = Wire { number, since: Instant::now(), main, confirmed };
        wire.ping(limit).await?;
        Ok(wire)
    }
}

impl Wire {
    async fn send(&self, request: &Request, asking: bool, confirm: Option<Confirm>) -> Result<Value, Fault> {
        let confirmed = confirm.zip(self.confirmed.as_ref());
        if !asking && confirmed.is_none() {
            return Ok(self.main.one(&request.command).await?.extract_error()?);
        }
        let mut commands = Pipeline::new();
        if asking {
            commands.cmd("ASKING");
        }
        commands.add_command(request.command.clone());
        let Some((confirm, transport)) = confirmed else {
            let answer = self.main.several(&commands).await?.pop().ok_or(Fault::Strange)?;
            return Ok(answer.extract_error()?);
        };
        let millis = confirm.timeout.as_millis().clamp(1, i64::MAX as u128);
        commands.cmd("WAIT").arg(confirm.replicas).arg(millis.to_string());
        let mut answers = transport.several(&commands).await?;
        let (count, answer) = (answers.pop(), answers.pop().ok_or(Fault::Strange)?);
        let answer = answer.extract_error()?;
        // What has not been written needs no witness.
        let written = matches!(answer, Value::Okay | Value::Int(1));
        match count.ok_or(Fault::Strange)?.extract_error()? {
            Value::Int(by) if written && by < i64::try_from(confirm.replicas).unwrap_or(i64::MAX) => {
                Err(Fault::Unconfirmed { by, of: confirm.replicas })
            }
            _ => Ok(answer),
        }
    }

    /// Any answer will do, but those of a server that answers nothing else.
    async fn ping(&self, limit: Duration) -> Result<(), Fault> {
        match greeting::ask(&*self.main, &cmd("PING"), limit).await {
            Err(fault) if matches!(fault.code(), None | Some("BUSY" | "LOADING" | "MASTERDOWN")) => {
                Err(fault)
            }
            _ => Ok(()),
        }
    }
}

/// The task of a link.
async fn keep(shared: Arc<Shared>, source: Source) {
    let mut pause = SHORTEST_PAUSE;
    loop {
        let Some(wire) = shared.current() else {
            match shared.open(&source).await {
                Ok(wire) => {
                    shared.up(wire);
                    pause = SHORTEST_PAUSE;
                }
                Err(fault) => {
                    shared.still_down(fault);
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
            shared.open(&source).await.map(|wire| shared.up(wire))
        } else {
            wire.ping(shared.limits.time).await
        };
        if let Err(fault) = checked {
            shared.lost(wire.number, &fault);
        }
    }
}

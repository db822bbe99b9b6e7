//! What a stored session takes, and what expiry costs those who are there when it happens. Each in a process of
//! its own, so that no peer finds the memory that another one has used.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::Router;
use axum_generic_session::{Clock, MemoryStore, SessionLayer, SystemClock, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    allocations,
    apps::{Mode, Peer, Size, app, call, ours},
    child, processor,
    report::{Cell, Row, Target},
};

#[derive(Serialize, Deserialize)]
pub struct Footprint {
    /// Bytes asked of the allocator and not given back, per session.
    heap: f64,
    /// Growth of the process's resident memory, per session.
    resident: f64,
}

/// Bytes per stored session of 200 bytes.
pub fn rows(sessions: usize) -> Vec<Row> {
    let measured: Vec<(Peer, Footprint)> = Peer::WITH_SESSIONS
        .into_iter()
        .map(|peer| {
            eprintln!("memory of {sessions} sessions: {}", peer.name());
            (peer, child::ask("footprint", &[peer.word(), &sessions.to_string()]))
        })
        .collect();
    let data = serde_json::to_vec(&Size::Small.data()).map_or(0, |text| text.len());
    let row = |name, of: fn(&Footprint) -> f64, target| {
        let cells = measured.iter().map(|(peer, footprint)| Cell::of(*peer, of(footprint)));
        Row::new(name, "bytes", target, cells.collect())
    };
    let target = Target::value((data + 200) as f64);
    vec![
        row(format!("a stored session of {data} B: heap"), |f| f.heap, target),
        row(format!("a stored session of {data} B: resident"), |f| f.resident, target),
    ]
}

/// In the child.
pub async fn footprint(peer: Peer, sessions: usize) -> Footprint {
    let mut app = app(peer, Mode::Deferred).await;
    for _ in 0..1000 {
        drop(call(&mut app, Size::Small.fill(), None).await);
    }
    let before = resident();
    let kept = allocations::during(async {
        for _ in 0..sessions {
            drop(call(&mut app, Size::Small.fill(), None).await);
        }
    });
    let kept = kept.await.kept;
    Footprint { heap: kept as f64 / sessions as f64, resident: (resident() - before) / sessions as f64 }
}

/// Resident memory of this process in bytes.
fn resident() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0");
    let kilobytes: f64 = line.split_whitespace().next().and_then(|n| n.parse().ok()).unwrap_or(0.0);
    kilobytes * 1024.0
}

#[derive(Serialize, Deserialize)]
pub struct Pause {
    /// The request that took the processor longest, in milliseconds.
    longest: f64,
    left: usize,
}

/// The longest request while many sessions expire at once. Of the others one frees nothing, and one waits an
/// hour before it begins.
pub fn sweep(sessions: usize) -> Row {
    eprintln!("sweep of {sessions} sessions");
    let pause: Pause = child::ask("sweep", &[&sessions.to_string()]);
    assert_eq!(pause.left, 0, "expired sessions are still in memory");
    let name = format!("longest request while {}k sessions expire", sessions / 1000);
    Row::new(name, "ms", Target::value(5.0), vec![Cell::of(Peer::Ours, pause.longest)])
}

/// A clock that can be put forward.
#[derive(Clone)]
struct Shifted(Arc<AtomicU64>);

impl Clock for Shifted {
    fn now(&self) -> Timestamp {
        SystemClock.now().saturating_add(Duration::from_millis(self.0.load(Relaxed)))
    }
}

/// In the child.
pub async fn pause(sessions: usize) -> Pause {
    let shift = Arc::new(AtomicU64::new(0));
    let store = MemoryStore::new().clock(Shifted(shift.clone()));
    let layer = SessionLayer::new(store.clone()).clock(Shifted(shift.clone())).defer(true);
    let mut app: Router = ours::routes().layer(layer).with_state(());
    for _ in 0..sessions {
        drop(call(&mut app, Size::Small.fill(), None).await);
    }
    shift.fetch_add(2 * 24 * 60 * 60 * 1000, Relaxed);
    let (mut longest, mut made) = (Duration::ZERO, 0);
    // The store looks at one of its parts a second: time runs fast, so that all of them have their turn.
    for _ in 0..20_000 {
        shift.fetch_add(10, Relaxed);
        let before = processor::of_thread();
        drop(call(&mut app, Size::Small.fill(), None).await);
        longest = longest.max(processor::of_thread() - before);
        made += 1;
    }
    Pause { longest: longest.as_secs_f64() * 1e3, left: store.len() - made }
}

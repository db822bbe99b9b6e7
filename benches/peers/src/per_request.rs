//! What one request costs in the process: time on the processor, allocations, bytes.

use axum::http::HeaderValue;

use crate::{
    allocations,
    apps::{App, Mode, Peer, Size, any},
    processor,
    report::{Cell, Row, Target, median},
};

/// Visitors that the requests of a scenario are spread over.
const VISITORS: usize = 64;
/// Requests whose allocations are counted.
const COUNTED: usize = 256;

pub struct Scenario {
    pub name: &'static str,
    path: &'static str,
    mode: Mode,
    /// The session that the request names, if it names one.
    session: Option<Size>,
    target: Target,
}

const fn scenario(
    name: &'static str,
    path: &'static str,
    mode: Mode,
    session: Option<Size>,
    target: Target,
) -> Scenario {
    Scenario { name, path, mode, session, target }
}

const SMALL: Option<Size> = Some(Size::Small);
const LARGE: Option<Size> = Some(Size::Large);

/// The rows of the table, by name.
pub const SCENARIOS: [Scenario; 27] = {
    use Mode::{Around, Deferred, Eager, Signed, Unfinished};
    use Target as T;
    [
        scenario("untouched, no cookie", "/untouched", Deferred, None, T::ratio(0.25).and_allocations(2.0)),
        scenario("untouched, cookie", "/untouched", Deferred, SMALL, T::ratio(0.2).and_allocations(2.0)),
        scenario("untouched, signed cookie", "/untouched", Signed, SMALL, T::ratio(0.2).and_allocations(2.0)),
        scenario("untouched, cookie, router without state", "/untouched", Unfinished, SMALL, T::NONE),
        scenario("extracted, not used", "/extracted", Deferred, SMALL, T::NONE),
        scenario("read a value, 200 B", "/read", Deferred, SMALL, T::ratio(0.35).and_allocations(8.0)),
        scenario("read a value, 4 KB", "/read", Deferred, LARGE, T::ratio(0.2).and_allocations(8.0)),
        scenario("read a view, 200 B", "/typed/read", Deferred, SMALL, T::ratio(0.35).and_allocations(8.0)),
        scenario("read a view, 4 KB", "/typed/read", Deferred, LARGE, T::ratio(0.2).and_allocations(8.0)),
        scenario("read a value, 200 B, signed", "/read", Signed, SMALL, T::ratio(0.35)),
        scenario("change a value, 200 B", "/change", Deferred, SMALL, T::ratio(0.5)),
        scenario("change a value, 4 KB", "/change", Deferred, LARGE, T::ratio(0.15)),
        scenario("change a view, 200 B", "/typed/change", Deferred, SMALL, T::ratio(0.5)),
        scenario("change a view, 4 KB", "/typed/change", Deferred, LARGE, T::ratio(0.15)),
        scenario("change a value, 200 B, signed", "/change", Signed, SMALL, T::ratio(0.5)),
        scenario("write the same value, 200 B", "/same", Deferred, SMALL, T::ratio(0.5)),
        scenario("write the same value, 4 KB", "/same", Deferred, LARGE, T::ratio(0.5)),
        scenario("new session, 200 B", "/new", Deferred, None, T::ratio(0.5)),
        scenario("new session, 200 B, signed", "/new", Signed, None, T::ratio(0.5)),
        scenario(
            "around, untouched, no cookie",
            "/untouched",
            Around,
            None,
            T::ratio(0.25).and_allocations(2.0),
        ),
        scenario(
            "around, untouched, cookie",
            "/untouched",
            Around,
            SMALL,
            T::ratio(0.2).and_allocations(2.0),
        ),
        scenario("around, read a value, 200 B", "/read", Around, SMALL, T::ratio(0.35).and_allocations(8.0)),
        scenario("around, change a value, 200 B", "/change", Around, SMALL, T::ratio(0.5)),
        scenario("around, new session, 200 B", "/new", Around, None, T::ratio(0.5)),
        scenario("eager, untouched, no cookie", "/untouched", Eager, None, T::NONE),
        scenario("eager, untouched, 200 B", "/untouched", Eager, SMALL, T::NONE),
        scenario("eager, read a value, 200 B", "/read", Eager, SMALL, T::NONE),
    ]
};

/// A scenario set up for a peer.
pub struct Stage {
    peer: Peer,
    app: Box<dyn App>,
    path: &'static str,
    cookies: Vec<HeaderValue>,
}

impl Stage {
    pub async fn new(peer: Peer, scenario: &Scenario) -> Self {
        let mut app = any(peer, scenario.mode).await;
        let cookies = match (scenario.session, peer) {
            (None, _) => Vec::new(),
            (Some(_), peer) if !peer.has_sessions() => {
                vec![HeaderValue::from_static("sid=k3JYx0bq0T5uQH2m8s1LrWvZ4nCdEfGa"); VISITORS]
            }
            (Some(size), _) => app.visitors(size, VISITORS).await,
        };
        Self { peer, app, path: scenario.path, cookies }
    }

    pub async fn run(&mut self, requests: usize) {
        self.app.run(self.path, &self.cookies, requests).await;
    }

    /// Nanoseconds of the processor per request; of all threads, since one peer signs on another one.
    async fn time(&mut self, requests: usize) -> f64 {
        let before = processor::of_process();
        self.run(requests).await;
        (processor::of_process() - before).as_nanos() as f64 / requests as f64
    }
}

/// All scenarios, the peers taking turns.
pub async fn rows(rounds: usize, requests: usize, only: Option<&str>) -> Vec<Row> {
    let mut rows = Vec::new();
    for scenario in SCENARIOS.iter().filter(|s| only.is_none_or(|only| s.name.contains(only))) {
        eprintln!("{}", scenario.name);
        let mut counted = Vec::new();
        let mut times = vec![Vec::new(); Peer::ALL.len()];
        for peer in Peer::ALL {
            let mut stage = Stage::new(peer, scenario).await;
            stage.run(COUNTED).await;
            counted.push(allocations::during(stage.run(COUNTED)).await);
        }
        for round in 0..rounds {
            // New stages each round: no peer keeps what it has grown, or a lucky place in memory.
            for turn in 0..Peer::ALL.len() {
                let peer = Peer::ALL[(round + turn) % Peer::ALL.len()];
                let mut stage = Stage::new(peer, scenario).await;
                stage.run(requests / 10).await;
                times[stage.peer as usize].push(stage.time(requests).await);
            }
        }
        let ratio = median(rounds_of(&times).map(|[plain, ours, theirs]| (ours - plain) / (theirs - plain)));
        let times: Vec<_> = times.into_iter().map(median).collect();
        let cells = Peer::ALL.into_iter().map(|peer| {
            let (i, plain) = (peer as usize, Peer::Plain as usize);
            let above = |what: fn(&allocations::Allocated) -> u64| {
                let per = |i: usize| what(&counted[i]) as f64 / COUNTED as f64;
                if i == plain { per(i) } else { per(i) - per(plain) }
            };
            Cell {
                peer,
                value: if i == plain { times[i] } else { times[i] - times[plain] },
                whole: Some(times[i]),
                allocations: Some(above(|a| a.calls)),
                allocated_bytes: Some(above(|a| a.bytes)),
            }
        });
        let row = Row::new(scenario.name, "ns / allocations", scenario.target, cells.collect());
        rows.push(Row { ratio: Some(ratio), ..row });
    }
    rows
}

/// What plain axum, ours and tower-sessions took, round by round: a machine that others slow down for a while does so
/// to all peers of a round.
fn rounds_of(times: &[Vec<f64>]) -> impl Iterator<Item = [f64; 3]> {
    let of = |peer: Peer| times[peer as usize].iter().copied();
    let peers = of(Peer::Plain).zip(of(Peer::Ours)).zip(of(Peer::TowerSessions));
    peers.map(|((plain, ours), theirs)| [plain, ours, theirs])
}

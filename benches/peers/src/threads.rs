//! The memory stores under load: many live sessions, one thread and two; and counters that race.

use std::{
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use axum::{Router, http::HeaderValue};

use crate::{
    apps::{Mode, Peer, Size, app, call, visitors},
    report::{Cell, Row, Target, median},
};

/// Requests that count on one session at one time.
const UNDER_WAY: usize = 32;
const INCREMENTS: usize = 4096;

/// Requests per second on one thread and on two, sessions picked at random.
pub fn rows(sessions: usize, rounds: usize, slice: Duration) -> Vec<Row> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    // The least session answers a conflict by an error, and two threads meet on one session now and then.
    let peers = Peer::ALL.into_iter().filter(|peer| *peer != Peer::Least);
    let stages: Vec<_> = peers
        .map(|peer| {
            eprintln!("{} live sessions: {}", sessions, peer.name());
            runtime.block_on(async {
                let mut app = app(peer, Mode::Deferred).await;
                let count = if peer.has_sessions() { sessions } else { 64 };
                let cookies = if peer.has_sessions() {
                    visitors(&mut app, Size::Small, count).await
                } else {
                    vec![HeaderValue::from_static("sid=none"); count]
                };
                (peer, app, Arc::new(cookies))
            })
        })
        .collect();
    let mut rows = Vec::new();
    for (what, path, least) in [("read", "/read", 800_000.0), ("change", "/change", 0.0)] {
        let mut rates = vec![[Vec::new(), Vec::new()]; Peer::ALL.len()];
        for round in 0..rounds {
            for turn in 0..stages.len() {
                let (peer, app, cookies) = &stages[(round + turn) % stages.len()];
                for threads in [1, 2] {
                    let rate = rate(app, path, cookies, threads, slice);
                    rates[*peer as usize][threads - 1].push(rate);
                }
            }
        }
        let medians: Vec<_> = rates.into_iter().map(|[one, two]| [median(one), median(two)]).collect();
        for threads in [1, 2] {
            let name = format!("{what}, {}k live sessions, {threads} thread(s)", sessions / 1000);
            let cells = stages.iter().map(|(peer, ..)| Cell::of(*peer, medians[*peer as usize][threads - 1]));
            let target = if threads == 2 && least > 0.0 { Target::value(least) } else { Target::NONE };
            rows.push(Row::new(name, "requests/s", target, cells.collect()));
        }
        let name = format!("{what}, {}k live sessions, 2 threads over 1", sessions / 1000);
        let cells = stages.iter().map(|(peer, ..)| {
            let [one, two] = medians[*peer as usize];
            Cell::of(*peer, two / one)
        });
        rows.push(Row::new(name, "times", Target::value(1.6), cells.collect()));
    }
    rows
}

fn rate(
    app: &Router,
    path: &'static str,
    cookies: &Arc<Vec<HeaderValue>>,
    threads: usize,
    slice: Duration,
) -> f64 {
    let (start, stop) = (Arc::new(Barrier::new(threads + 1)), Arc::new(AtomicBool::new(false)));
    let workers: Vec<_> = (0..threads as u64)
        .map(|worker| {
            let (mut app, cookies) = (app.clone(), cookies.clone());
            let (start, stop) = (start.clone(), stop.clone());
            thread::spawn(move || {
                let runtime =
                    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
                let mut random = 0x9e37_79b9_7f4a_7c15 ^ (worker + 1);
                start.wait();
                runtime.block_on(async {
                    let mut done = 0_u64;
                    while !stop.load(Relaxed) {
                        random ^= random << 13;
                        random ^= random >> 7;
                        random ^= random << 17;
                        let cookie = &cookies[(random % cookies.len() as u64) as usize];
                        drop(call(&mut app, path, Some(cookie)).await);
                        done += 1;
                    }
                    done
                })
            })
        })
        .collect();
    start.wait();
    let began = Instant::now();
    thread::sleep(slice);
    stop.store(true, Relaxed);
    let done: u64 = workers.into_iter().map(|worker| worker.join().expect("a worker")).sum();
    done as f64 / began.elapsed().as_secs_f64()
}

/// Increments of one session's counter that are lost, of a hundred, on two threads.
pub fn lost_increments() -> Row {
    eprintln!("increments");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let cells = Peer::WITH_SESSIONS.map(|peer| {
        let lost = runtime.block_on(async {
            let mut app = app(peer, Mode::Deferred).await;
            let cookie = visitors(&mut app, Size::Small, 1).await.remove(0);
            let tasks: Vec<_> = (0..UNDER_WAY)
                .map(|_| {
                    let (mut app, cookie) = (app.clone(), cookie.clone());
                    tokio::spawn(async move {
                        for _ in 0..INCREMENTS / UNDER_WAY {
                            drop(call(&mut app, "/increment", Some(&cookie)).await);
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await.expect("increments");
            }
            let body = call(&mut app, "/read", Some(&cookie)).await.into_body();
            let body = axum::body::to_bytes(body, 64).await.expect("a short answer");
            let counted: usize = String::from_utf8_lossy(&body).parse().expect("a number");
            // The counter begins at 1.
            100.0 * (INCREMENTS - (counted - 1)) as f64 / INCREMENTS as f64
        });
        Cell::of(peer, lost)
    });
    Row::new(format!("increments lost, {UNDER_WAY} at one time"), "%", Target::value(0.0), cells.into())
}

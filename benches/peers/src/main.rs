//! axum-generic-session beside the other session layers for axum. Run it by `scripts/bench`.

mod allocations;
mod apps;
mod capacity;
mod child;
mod engines;
mod instructions;
mod memory;
mod per_request;
mod processor;
mod races;
mod report;
mod server;
mod servers;
mod threads;

use std::{env, fs, time::Duration};

use crate::report::{Report, Row};

/// What the command line says.
struct Plan {
    /// Count instructions, and nothing else.
    callgrind: bool,
    long: bool,
    /// Live sessions for the threads, and sessions to be weighed.
    sessions: usize,
    /// Only the parts and the scenarios whose name contains this.
    only: Option<String>,
    json: Option<String>,
}

fn main() {
    let arguments: Vec<_> = env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == child::CHILD) {
        return child::run(&arguments[1..]);
    }
    let value = |name: &str| {
        let at = arguments.iter().position(|a| a == name)?;
        arguments.get(at + 1).cloned()
    };
    let plan = Plan {
        callgrind: arguments.iter().any(|a| a == "--callgrind"),
        long: arguments.iter().any(|a| a == "--long"),
        sessions: value("--sessions").and_then(|n| n.parse().ok()).unwrap_or(100_000),
        only: value("--only"),
        json: value("--json"),
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let report = Report { long: plan.long, cores, rows: rows(&plan) };
    if let Some(path) = &plan.json {
        let text = serde_json::to_vec_pretty(&report).expect("JSON");
        fs::write(path, text).expect("a file that can be written");
    }
    println!("{}", report.table());
}

fn rows(plan: &Plan) -> Vec<Row> {
    if plan.callgrind {
        return instructions::rows(plan.only.as_deref());
    }
    let wanted = |part: &str| plan.only.as_ref().is_none_or(|only| part.contains(only.as_str()));
    let (rounds, slice) =
        if plan.long { (41, Duration::from_secs(1)) } else { (15, Duration::from_millis(300)) };
    let mut rows = Vec::new();
    let parts = ["threads", "increments", "races", "memory", "sweep", "engines", "capacity", "server"];
    let only = plan.only.as_deref().filter(|only| !parts.contains(only) && *only != "request");
    if only.is_some() || wanted("request") {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        rows.extend(runtime.block_on(per_request::rows(rounds, 2000, only)));
    }
    if wanted("threads") {
        rows.extend(threads::rows(plan.sessions, rounds.div_ceil(3), slice));
    }
    if wanted("increments") {
        rows.push(threads::lost_increments());
    }
    if wanted("races") {
        rows.extend(races::rows());
    }
    if wanted("memory") {
        rows.extend(memory::rows(1_000_000));
    }
    if wanted("sweep") {
        rows.push(memory::sweep(1_000_000));
    }
    if wanted("engines") {
        rows.extend(engines::rows(rounds, slice));
    }
    // An hour's writing at the size that is worth it: only where it is asked for by name.
    if plan.only.as_deref() == Some("capacity") {
        rows.extend(capacity::rows(plan.sessions));
    }
    if wanted("server") {
        // Many short slices: who is slowed down for a second is so in one round, and the others with him.
        rows.extend(server::rows(rounds * 3 / 2, slice / 5));
    }
    rows
}

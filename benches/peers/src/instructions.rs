//! Instructions per request, counted by valgrind's callgrind: the same on every machine and under every load, but
//! for hashing, since valgrind's processor has no instructions for SHA.

use std::{env, process::Command};

use tokio::runtime::Runtime;

use crate::{
    apps::Peer,
    child::CHILD,
    per_request::{SCENARIOS, Stage},
    report::{Cell, Row, Target},
};

const REQUESTS: usize = 200;

/// One scenario after the other, each peer in a process under callgrind.
pub fn rows(only: Option<&str>) -> Vec<Row> {
    let scenarios = SCENARIOS.iter().filter(|s| only.is_none_or(|only| s.name.contains(only)));
    let rows = scenarios.map(|scenario| {
        eprintln!("{}", scenario.name);
        let plain = collected(Peer::Plain, scenario.name);
        let cells = Peer::ALL.map(|peer| match peer {
            Peer::Plain => Cell::of(peer, plain),
            _ => Cell::of(peer, collected(peer, scenario.name) - plain),
        });
        Row::new(scenario.name, "instructions", Target::NONE, cells.into())
    });
    rows.collect()
}

fn collected(peer: Peer, scenario: &str) -> f64 {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--collect-atstart=no", "--toggle-collect=*counted_requests*"]);
    valgrind.args(["--callgrind-out-file=/dev/null"]);
    valgrind.arg(env::current_exe().expect("the path of this program"));
    let output =
        valgrind.args([CHILD, "requests", peer.word(), scenario]).output().expect("valgrind, installed");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{scenario}: {told}");
    let total = told.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse::<f64>().ok());
    total.expect("callgrind's count") / REQUESTS as f64
}

/// In the child.
pub fn requests(runtime: &Runtime, peer: Peer, scenario: &str) {
    let scenario = SCENARIOS.iter().find(|s| s.name == scenario).expect("a scenario of this name");
    let mut stage = runtime.block_on(Stage::new(peer, scenario));
    runtime.block_on(stage.run(REQUESTS));
    counted_requests(runtime, &mut stage);
}

/// What callgrind looks at, by this name.
#[inline(never)]
fn counted_requests(runtime: &Runtime, stage: &mut Stage) {
    runtime.block_on(stage.run(REQUESTS));
}

//! Many write one session at one time.

use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::task::JoinSet;

use crate::{
    engines::Engine,
    figures::{Figure, size},
    site::{Gate, Node, through},
};

pub const NODES: usize = 4;
/// On each node.
pub const WRITERS: usize = 16;
const ALL: usize = NODES * WRITERS;

/// B1: every writer has a key of its own, and all have read the session before the first one writes.
pub async fn of_different_keys(engine: &Engine) {
    let figure = Figure::of("B1", engine.name);
    let nodes = engine.nodes(NODES).await;
    let rounds = size(4, 100_000_usize.div_ceil(ALL));
    let (mut saved, mut lost) = (0, 0);
    for _ in 0..rounds {
        let [answered, missing] = different_keys(&nodes, WRITERS).await;
        saved += answered;
        lost += missing;
    }
    figure.count("updates", rounds * ALL).count("saved", saved).count("lost", lost).report();
    assert_eq!(lost, 0, "acknowledged updates were lost");
    assert!(saved * 1000 >= rounds * ALL * 995, "{saved} of {} writers got through", rounds * ALL);
}

/// One round: how many were told that their update is saved, and how many of these updates are not there.
pub async fn different_keys(nodes: &[Node], writers: usize) -> [usize; 2] {
    let id = nodes[0].login().await;
    let gate = Gate::of(nodes.len() * writers);
    let mut running = JoinSet::new();
    for (number, node) in nodes.iter().cycle().take(nodes.len() * writers).enumerate() {
        let (gate, visitor) = (gate.clone(), node.visitor(&id));
        running.spawn(async move {
            let (answer, _) = through(&gate, visitor, &format!("/set/k{number}/{number}")).await;
            answer.status.is_success().then(|| format!("k{number}"))
        });
    }
    let saved: Vec<String> = running.join_all().await.into_iter().flatten().collect();
    let now = nodes[nodes.len() - 1].shows(&id).await;
    let lost = saved.iter().filter(|key| now.get(key).is_none()).count();
    [saved.len(), lost]
}

/// B2: every writer adds one to the same number.
pub async fn of_one_counter(engine: &Engine) {
    let figure = Figure::of("B2", engine.name);
    let nodes = engine.nodes(NODES).await;
    let rounds = size(4, 100_000_usize.div_ceil(ALL));
    let (mut saved, mut lost) = (0, 0);
    for _ in 0..rounds {
        let id = nodes[0].login().await;
        let gate = Gate::of(ALL);
        let mut running = JoinSet::new();
        for node in nodes.iter().cycle().take(ALL) {
            let (gate, visitor) = (gate.clone(), node.visitor(&id));
            running.spawn(async move { through(&gate, visitor, "/add").await.0.status.is_success() });
        }
        let answered = running.join_all().await.into_iter().filter(|saved| *saved).count();
        let now = nodes[0].shows(&id).await;
        let count = usize::try_from(now["count"].as_u64().unwrap_or(0)).expect("a small number");
        // A refusal (too many conflicts) has not been applied either.
        assert!(count <= answered, "{count} increments for {answered} answers: one was applied twice");
        saved += answered;
        lost += answered - count;
    }
    figure.count("increments", rounds * ALL).count("saved", saved).count("lost", lost).report();
    assert_eq!(lost, 0, "acknowledged increments were lost");
    assert!(saved * 1000 >= rounds * ALL * 995, "{saved} of {} got through", rounds * ALL);
}

/// B23: the writers do not wait for each other, each writes again as soon as it has been answered.
pub async fn of_a_hot_session(engine: &Engine) {
    let figure = Figure::of("B23", engine.name);
    let nodes = engine.nodes(NODES).await;
    let writes = size(5, 100);
    let id = nodes[0].login().await;
    let mut running = JoinSet::new();
    for (number, node) in nodes.iter().cycle().take(ALL).enumerate() {
        let mut visitor = node.visitor(&id);
        running.spawn(async move {
            let mut took = Vec::new();
            let mut last = None;
            for write in 0..writes {
                let start = Instant::now();
                let answer = visitor.get(&format!("/set/w{number}/{write}")).await;
                took.push((start.elapsed(), answer.status.is_success()));
                last = if answer.status.is_success() { Some(write) } else { last };
            }
            (number, last, took)
        });
    }
    let done = running.join_all().await;
    let now = nodes[NODES - 1].shows(&id).await;
    let lost = |(number, last, _): &&(usize, Option<usize>, _)| {
        last.is_some_and(|last| now[format!("w{number}")].as_u64() < Some(last as u64))
    };
    let lost = done.iter().filter(lost).count();
    let starved = done.iter().filter(|(_, last, _)| last.is_none()).count();
    let in_time = |(took, saved): &&(Duration, bool)| *saved && *took <= Duration::from_secs(2);
    let all = || done.iter().flat_map(|(_, _, took)| took);
    let (total, prompt) = (all().count(), all().filter(in_time).count());
    let saved = all().filter(|(_, saved)| *saved).count();
    let slowest = all().map(|(took, _)| took.as_millis()).max().unwrap_or_default();
    figure
        .count("writes", total)
        .count("saved", saved)
        .count("saved_within_2s", prompt)
        .count("slowest_ms", usize::try_from(slowest).expect("a short while"))
        .count("starved", starved)
        .count("lost", lost)
        .report();
    assert_eq!((lost, starved), (0, 0));
    assert!(saved * 1000 >= total * 995, "{saved} of {total} writes got through");
    assert_eq!(now["user"], Value::from("anna"));
}

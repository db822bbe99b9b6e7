//! The control: what a store without conditions does under the same requests.

use std::sync::Arc;

use crate::{
    engines::Engine,
    figures::Figure,
    returns::is_gone,
    site::{Gate, Node, through},
    updates::different_keys,
};

/// It must lose updates, and it must bring sessions back, every time that two requests overlap.
pub async fn loses_and_revives(engine: &Engine) {
    const ROUNDS: usize = 10;
    let figure = Figure::of("control", engine.name);
    let nodes: Arc<[Node]> = engine.nodes(2).await.into();
    let (mut lost, mut returned) = (0, 0);
    for _ in 0..ROUNDS {
        let [_, missing] = different_keys(&nodes, 8).await;
        lost += usize::from(missing > 0);
        returned += usize::from(revived(&nodes).await);
    }
    figure.count("rounds", ROUNDS).count("rounds_that_lost", lost).count("returned", returned).report();
    assert!(lost > 0, "the requests of these tests do not overlap");
    assert_eq!(returned, ROUNDS, "the late request of these tests is not late");
}

/// A request that was slow, and a logout meanwhile.
async fn revived(nodes: &[Node]) -> bool {
    let id = nodes[0].login().await;
    let gate = Gate::of(2);
    let logout = async {
        gate.wait().await;
        let _ = nodes[0].visitor(&id).get("/logout").await.expect_status(200);
        gate.wait().await;
    };
    let late = through(&gate, nodes[1].visitor(&id), "/set/late/1");
    tokio::join!(late, logout);
    !is_gone(nodes, &id).await
}

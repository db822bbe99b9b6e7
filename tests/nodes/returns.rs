//! A session ends on one node while another node is about to write it.

use std::{sync::Arc, time::Duration};

use axum_generic_session::SessionId;

use crate::{
    engines::Engine,
    figures::{Figure, size},
    rounds,
    site::{Gate, Node, id_of, through},
};

/// What the late request does with the session that it has loaded.
const LATE: [&str; 4] = ["/set/late/1", "/add", "/renew", "/"];

/// B3: logout against a request that has loaded the session. In every other round the logout is over before the late
/// one goes on; in the others both are let go at the same moment, and each may win, but not both.
pub async fn after_logout(engine: &Engine) {
    let figure = Figure::of("B3", engine.name);
    let nodes: Arc<[Node]> = engine.nodes(2).await.into();
    let count = size(160, 10_000);
    let [returned, told, served] = rounds(count, |round| logout_against(Arc::clone(&nodes), round)).await;
    figure
        .count("races", count)
        .count("returned", returned)
        .count("late_writers_told", told)
        .count("late_writers_saved_before", served)
        .report();
    assert_eq!(returned, 0, "sessions came back after a logout");
}

/// Whether the session has returned, whether the late request was told, and whether it was served.
pub async fn logout_against(nodes: Arc<[Node]>, round: usize) -> [usize; 3] {
    let id = nodes[0].login().await;
    let path = LATE[round / 2 % LATE.len()];
    // A reader writes nothing but the session's life.
    let late = if path == "/" { nodes[1].rolling_visitor(&id) } else { nodes[1].visitor(&id) };
    let out = nodes[0].visitor(&id);
    let gate = Gate::of(2);
    let ordered = round.is_multiple_of(2);
    let ((answer, late), out) = if ordered {
        let logout = async {
            gate.wait().await;
            let mut out = out;
            let answer = out.get("/logout").await;
            gate.wait().await;
            answer
        };
        tokio::join!(through(&gate, late, path), logout)
    } else {
        let (late, (out, _)) = tokio::join!(through(&gate, late, path), through(&gate, out, "/logout"));
        (late, out)
    };
    let _ = out.expect_status(200);
    let mut returned = !is_gone(&nodes, &id).await;
    if path == "/renew" && !ordered && answer.status.is_success() {
        // It may have been faster: then it is another session's id by now that the logout did not name.
        returned |= id_of(&late) == id;
    } else if ordered {
        let reads = path == "/";
        assert_eq!(answer.status.as_u16(), if reads { 200 } else { 409 }, "{path}");
        assert_eq!(answer.set_cookies(), [""; 0], "{path}: no cookie comes with a session that is gone");
    }
    [returned.into(), (answer.status == 409).into(), answer.status.is_success().into()]
}

/// Neither node shows anything under this id.
pub async fn is_gone(nodes: &[Node], id: &str) -> bool {
    for node in nodes {
        if node.shows(id).await != serde_json::json!({}) {
            return false;
        }
    }
    true
}

/// The ways in which a session ends without a logout.
#[derive(Clone, Copy, Debug)]
enum End {
    Renewed,
    Regenerated,
    Expired,
    Swept,
    ByTheOperator,
}

/// B4: the same with every other end.
pub async fn after_other_ends(engine: &Engine) {
    let nodes: Arc<[Node]> = engine.nodes(2).await.into();
    for end in [End::Renewed, End::Regenerated, End::Expired, End::Swept, End::ByTheOperator] {
        let figure = Figure::of(&format!("B4 {end:?}"), engine.name);
        let count = size(48, 10_000);
        let [returned] = if matches!(end, End::Swept) {
            // A sweep of the whole table for each would measure the sweep: many sessions end in one.
            swept(engine, &nodes, count).await
        } else {
            rounds(count, |round| ended_against(Arc::clone(&nodes), round, end)).await
        };
        figure.count("races", count).count("returned", returned).report();
        assert_eq!(returned, 0, "sessions came back: {end:?}");
    }
}

const BRIEF: Duration = Duration::from_millis(60);

async fn ended_against(nodes: Arc<[Node]>, round: usize, end: End) -> [usize; 1] {
    let id = nodes[0].login().await;
    let path = LATE[round % LATE.len()];
    let late = if path == "/" { nodes[1].rolling_visitor(&id) } else { nodes[1].visitor(&id) };
    let gate = Gate::of(2);
    let ends = async {
        gate.wait().await;
        let mut visitor = nodes[0].visitor(&id);
        match end {
            End::Renewed => drop(visitor.get("/renew").await.expect_status(200)),
            End::Regenerated => drop(visitor.get("/regenerate").await.expect_status(200)),
            // It gets so short a life by now, under the late one's hands.
            End::Expired | End::Swept => {
                drop(visitor.get(&format!("/set/ttl/{}", BRIEF.as_millis())).await.expect_status(200));
                tokio::time::sleep(BRIEF * 2).await;
            }
            End::ByTheOperator => {
                let sessions = nodes[0].layer.sessions().expect("sound settings");
                sessions.destroy(&SessionId::parse(&id).expect("an id")).await.expect("an end");
            }
        }
        gate.wait().await;
    };
    let ((answer, _), ()) = tokio::join!(through(&gate, late, path), ends);
    assert!(answer.status == 409 || path == "/", "{end:?}, {path}: {}", answer.status);
    assert_eq!(answer.set_cookies(), [""; 0], "{end:?}, {path}");
    [(!is_gone(&nodes, &id).await).into()]
}

/// Sessions that expire and are swept away while requests hold them.
async fn swept(engine: &Engine, nodes: &[Node], count: usize) -> [usize; 1] {
    let mut returned = 0;
    for round in 0..count.div_ceil(48) {
        let many = 48.min(count - round * 48);
        let gate = Gate::of(many + 1);
        let mut late = tokio::task::JoinSet::new();
        let mut ids = Vec::new();
        for number in 0..many {
            let id = nodes[0].login().await;
            let path = LATE[number % LATE.len()];
            let visitor = if path == "/" { nodes[1].rolling_visitor(&id) } else { nodes[1].visitor(&id) };
            let gate = gate.clone();
            late.spawn(async move { through(&gate, visitor, path).await.0 });
            ids.push(id);
        }
        gate.wait().await;
        for id in &ids {
            let brief = format!("/set/ttl/{}", BRIEF.as_millis());
            drop(nodes[0].visitor(id).get(&brief).await.expect_status(200));
        }
        tokio::time::sleep(BRIEF * 2).await;
        engine.sweep().await;
        gate.wait().await;
        for answer in late.join_all().await {
            assert!(answer.status == 409 || answer.status == 200, "{}", answer.status);
            assert_eq!(answer.set_cookies(), [""; 0]);
        }
        for id in &ids {
            returned += usize::from(!is_gone(nodes, id).await);
        }
    }
    [returned]
}

/// B14: whoever has kept a cookie from before the logout finds nothing with it on any node, and what they write gets
/// another id.
pub async fn cookies_after_logout(engine: &Engine) {
    let figure = Figure::of("B14", engine.name);
    let nodes: Arc<[Node]> = engine.nodes(2).await.into();
    let count = size(160, 10_000);
    let [accepted] = rounds(count, |_| {
        let nodes = Arc::clone(&nodes);
        async move {
            let id = nodes[0].login().await;
            let _ = nodes[1].visitor(&id).get("/logout").await.expect_status(200);
            let mut accepted = !is_gone(&nodes, &id).await;
            let mut thief = nodes[0].visitor(&id);
            let _ = thief.get("/set/mine/1").await.expect_status(200);
            accepted |= id_of(&thief) == id || !is_gone(&nodes, &id).await;
            [accepted.into()]
        }
    })
    .await;
    figure.count("cookies", count).count("accepted", accepted).report();
    assert_eq!(accepted, 0, "cookies from before a logout were accepted");
}

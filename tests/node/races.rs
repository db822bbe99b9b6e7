//! Requests at one time: what node's unconditional writes can still lose, and what axum does about its own.
//!
//! Node writes whole sessions, whatever is there. These tests are the facts that the migration guide states.

use serde_json::{Value, json};

use crate::{
    express::EXPRESS,
    koa::KOA,
    pair::{KEYS, Pair},
    servers::node::Node,
    site::{Front, data, set},
};

/// koa beside axum, and express beside axum; with what makes their readers write, or without.
async fn pairs(readers_write: bool) -> [Pair; 2] {
    let koa = KOA.beside_axum(json!({ "keys": KEYS, "options": { "rolling": readers_write } })).await;
    let express = EXPRESS.beside_axum(json!({ "keys": KEYS, "options": { "resave": readers_write } })).await;
    [koa, express]
}

impl Pair {
    fn set(&self, values: &Value) -> String {
        set(self.peer.name, values)
    }

    /// A request to Node that has loaded its session and waits.
    async fn in_node(&self, visitor: &axum_generic_session::testing::Client, request: String) -> Waiting<'_> {
        let mut visitor = visitor.clone();
        let separator = if request.contains('?') { '&' } else { '?' };
        let task = tokio::spawn(async move { visitor.get(&format!("{request}{separator}hold=gate")).await });
        tokio::task::block_in_place(|| self.node.reached("gate"));
        Waiting { node: &self.node, task }
    }
}

struct Waiting<'a> {
    node: &'a Node,
    task: tokio::task::JoinHandle<axum_generic_session::testing::Answer>,
}

impl Waiting<'_> {
    async fn finish(self) {
        tokio::task::block_in_place(|| self.node.open("gate"));
        let _ = self.task.await.expect("an answer").expect_status(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn axum_puts_its_change_onto_what_node_wrote_meanwhile() {
    for pair in pairs(false).await {
        let mut visitor = pair.front.visitor();
        let _ = visitor.get(&pair.set(&json!({ "user": "ada" }))).await.expect_status(200);
        let (mut slow, front) = (visitor.clone(), &pair.front);
        let request = format!("{}&hold=a", set("axum", &json!({ "theme": "dark" })));
        let task = tokio::spawn(async move { slow.get(&request).await });
        front.reached("a").await;
        let _ = visitor.get(&pair.set(&json!({ "cart": 1 }))).await.expect_status(200);
        front.open("a");
        let _ = task.await.expect("an answer").expect_status(200);
        let all = json!({ "user": "ada", "cart": 1, "theme": "dark" });
        for app in [pair.peer.name, "axum"] {
            assert_eq!(data(&visitor.get(&format!("/{app}")).await), all, "{app}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn axum_revives_nothing_that_node_has_ended() {
    for pair in pairs(false).await {
        let mut visitor = pair.front.visitor();
        let _ = visitor.get(&pair.set(&json!({ "user": "ada" }))).await.expect_status(200);
        let mut slow = visitor.clone();
        let request = format!("{}&hold=a", set("axum", &json!({ "theme": "dark" })));
        let task = tokio::spawn(async move { slow.get(&request).await });
        pair.front.reached("a").await;
        let _ = visitor.get(&format!("/{}?destroy=1", pair.peer.name)).await.expect_status(200);
        pair.front.open("a");
        let answer = task.await.expect("an answer");
        assert_eq!((answer.status.as_u16(), answer.set_cookies()), (409, vec![]), "{}", pair.peer.name);
        assert_eq!(pair.site.keys(), [""; 0], "{}", pair.peer.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_nodes_of_axum_lose_nothing() {
    for pair in pairs(false).await {
        let mut visitor = pair.front.visitor();
        let _ = visitor.get(&pair.set(&json!({ "user": "ada" }))).await.expect_status(200);
        // Two servers, each with a connection of its own.
        let other = axum_generic_session::RedisStore::connect(&pair.site.redis.url()).await.expect("a store");
        let other = Front::default().axum((pair.peer.layer)(other, &KEYS));
        let fronts = [&pair.front, &other];
        let mut expected = json!({ "user": "ada" });
        let mut tasks = Vec::new();
        for n in 0..24 {
            let (key, mut visitor) = (format!("k{n}"), fronts[n % 2].take_over(&visitor));
            expected[&key] = json!(n);
            tasks.push(tokio::spawn(async move { visitor.get(&set("axum", &json!({ key: n }))).await }));
        }
        for task in tasks {
            let _ = task.await.expect("an answer").expect_status(200);
        }
        assert_eq!(data(&visitor.get(&format!("/{}", pair.peer.name)).await), expected, "{}", pair.peer.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_of_node_undoes_what_axum_wrote_meanwhile() {
    for pair in pairs(false).await {
        let mut visitor = pair.front.visitor();
        let _ = visitor.get(&pair.set(&json!({ "user": "ada", "theme": "light" }))).await.expect_status(200);
        let slow = pair.in_node(&visitor, pair.set(&json!({ "cart": 1 }))).await;
        let _ = visitor.get(&set("axum", &json!({ "theme": "dark" }))).await.expect_status(200);
        slow.finish().await;
        let seen = data(&visitor.get("/axum").await);
        assert_eq!(seen, json!({ "user": "ada", "theme": "light", "cart": 1 }), "{}", pair.peer.name);
        // What axum writes next stands on what Node wrote.
        let _ = visitor.get(&set("axum", &json!({ "theme": "dark" }))).await.expect_status(200);
        let seen = data(&visitor.get(&format!("/{}", pair.peer.name)).await);
        assert_eq!(seen, json!({ "user": "ada", "theme": "dark", "cart": 1 }), "{}", pair.peer.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_of_node_revives_what_axum_has_ended() {
    for pair in pairs(false).await {
        let mut visitor = pair.front.visitor();
        let _ = visitor.get(&pair.set(&json!({ "user": "ada" }))).await.expect_status(200);
        let mut copy = visitor.clone();
        let slow = pair.in_node(&visitor, pair.set(&json!({ "cart": 1 }))).await;
        let _ = visitor.get("/axum?destroy=1").await.expect_status(200);
        assert_eq!(data(&copy.get("/axum").await), json!({}), "{}: axum's logout is at once", pair.peer.name);
        slow.finish().await;
        // The browser has been told to forget its cookie. Whoever has kept it is signed in again.
        let seen = data(&copy.get("/axum").await);
        assert_eq!(seen, json!({ "user": "ada", "cart": 1 }), "{}", pair.peer.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_node_revives_nothing_unless_its_readers_write() {
    for readers_write in [false, true] {
        for pair in pairs(readers_write).await {
            let mut visitor = pair.front.visitor();
            let _ = visitor.get(&pair.set(&json!({ "user": "ada" }))).await.expect_status(200);
            let slow = pair.in_node(&visitor, format!("/{}", pair.peer.name)).await;
            let _ = visitor.get("/axum?destroy=1").await.expect_status(200);
            slow.finish().await;
            assert_eq!(pair.site.keys().len(), usize::from(readers_write), "{}", pair.peer.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_with_a_new_id_is_out_of_reach_of_a_late_write() {
    for pair in pairs(false).await {
        let mut visitor = pair.front.visitor();
        let _ = visitor.get(&pair.set(&json!({ "cart": 1 }))).await.expect_status(200);
        let guest = visitor.clone();
        let slow = pair.in_node(&guest, pair.set(&json!({ "cart": 2 }))).await;
        let login = format!("{}&renew=1", set("axum", &json!({ "user": "ada" })));
        let _ = visitor.get(&login).await.expect_status(200);
        slow.finish().await;
        // The old id is alive again, with what the guest had; the visitor's own is untouched.
        let mut guest = guest;
        assert_eq!(data(&guest.get("/axum").await), json!({ "cart": 2 }), "{}", pair.peer.name);
        for app in [pair.peer.name, "axum"] {
            let seen = data(&visitor.get(&format!("/{app}")).await);
            assert_eq!(seen, json!({ "cart": 1, "user": "ada" }), "{app}");
        }
    }
}

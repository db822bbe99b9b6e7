//! An application of Node beside axum, on one cookie and one record: what holds for koa and for express alike.

use axum_generic_session::{RedisStore, SessionLayer};
use serde_json::{Value, json};

use crate::{
    servers::node::Node,
    site::{Front, Site, data, set},
};

pub const KEYS: [&str; 1] = ["a secret of the site"];
pub const DAY: i64 = 24 * 60 * 60;

/// An application of Node, and what axum says to go on with its sessions.
pub struct Peer {
    pub name: &'static str,
    pub cookie: &'static str,
    pub prefix: &'static str,
    pub layer: fn(RedisStore, &[&str]) -> SessionLayer,
}

pub struct Pair {
    pub peer: &'static Peer,
    pub site: Site,
    pub node: Node,
    pub front: Front,
}

impl Peer {
    /// The application with these settings, and axum as it is.
    pub async fn beside_axum(&'static self, settings: Value) -> Pair {
        let site = Site::start().await;
        let node = site.app(self.name, settings).await;
        let front = Front::default().app(self.name, &node).axum((self.layer)(site.store.clone(), &KEYS));
        Pair { peer: self, site, node, front }
    }

    pub async fn each_goes_on_where_the_other_stopped(&'static self) {
        let Self { name, prefix, .. } = *self;
        let Pair { site, front, node: _node, .. } = self.beside_axum(json!({ "keys": KEYS })).await;
        let mut visitor = front.visitor();
        let text = "déjà € 😀 \"quoted\" </script>";
        let all = json!({ "user": "ada", "n": 1, "text": text, "deep": { "b": [1, null], "a": {} } });
        let login = visitor.get(&set(name, &all)).await.expect_status(200);
        assert_eq!(data(&visitor.get("/axum").await), all);

        // What axum writes leaves everything else as it was, to the byte.
        let before = site.raw(prefix);
        let answer = visitor.get(&set("axum", &json!({ "n": 2 }))).await.expect_status(200);
        assert_eq!(answer.json()["id"], login.json()["id"]);
        assert_eq!(site.raw(prefix), before.replace("\"n\":1", "\"n\":2"));

        let answer = visitor.get(&set(name, &json!({ "n": 3 }))).await.expect_status(200);
        assert_eq!(answer.json()["id"], login.json()["id"]);
        assert_eq!(data(&visitor.get("/axum").await)["n"], 3);
        let _ = visitor.get("/axum?remove=deep").await.expect_status(200);
        assert_eq!(
            data(&visitor.get(&format!("/{name}")).await),
            json!({ "user": "ada", "n": 3, "text": text })
        );
    }

    /// express accepts an older secret and leaves the cookie; koa and axum send it anew.
    pub async fn keys_are_rotated_without_logging_anybody_out(&self) {
        let name = self.name;
        let site = Site::start().await;
        let (old, both, swapped, new) = (vec!["old"], vec!["old", "new"], vec!["new", "old"], vec!["new"]);
        let mut visitor = Front::default().visitor();
        // Each side changes before the other, once.
        let steps = [
            (&old, &old),
            (&both, &old),
            (&both, &both),
            (&swapped, &both),
            (&both, &swapped),
            (&swapped, &swapped),
            (&new, &swapped),
            (&new, &new),
        ];
        for (its_keys, our_keys) in steps {
            let node = site.app(name, json!({ "keys": its_keys })).await;
            let front = Front::default().app(name, &node).axum((self.layer)(site.store.clone(), our_keys));
            visitor = front.take_over(&visitor);
            if site.keys().is_empty() {
                let _ = visitor.get(&set(name, &json!({ "user": "ada" }))).await.expect_status(200);
            }
            for app in [name, "axum"] {
                let answer = visitor.get(&format!("/{app}")).await.expect_status(200);
                assert_eq!(
                    data(&answer),
                    json!({ "user": "ada" }),
                    "{app} with {its_keys:?} and {our_keys:?}"
                );
            }
        }
        assert_eq!(site.keys().len(), 1);
    }

    /// `cleared`: the cookies that neither leaves in the browser.
    pub async fn a_logout_on_one_side_is_a_logout_on_the_other(&'static self, cleared: &[&str]) {
        let Self { name, cookie, prefix, .. } = *self;
        let Pair { site, front, node: _node, .. } = self.beside_axum(json!({ "keys": KEYS })).await;
        for (out, other) in [(name, "axum"), ("axum", name)] {
            let mut visitor = front.visitor();
            let _ = visitor.get(&set(other, &json!({ "user": "ada" }))).await.expect_status(200);
            let key = site.key(prefix);
            let mut thief = visitor.clone();
            let _ = visitor.get(&format!("/{out}?destroy=1")).await.expect_status(200);
            for cookie in cleared {
                assert_eq!(visitor.cookie(cookie), None, "{out}");
            }
            assert_eq!(site.keys(), [""; 0], "{out}");
            // A copy of the old cookie opens nothing, and what it writes gets an id of its own.
            let old = thief.cookie(cookie).expect("a cookie").to_owned();
            assert_eq!(data(&thief.get(&format!("/{other}")).await), json!({}), "{out}");
            let _ = thief.get(&set(other, &json!({ "n": 1 }))).await.expect_status(200);
            assert_ne!(thief.cookie(cookie), Some(&*old), "{out}");
            assert_ne!(site.key(prefix), key, "{out}");
            let _ = thief.get(&format!("/{out}?destroy=1")).await.expect_status(200);
        }
    }

    pub async fn a_new_id_on_one_side_is_the_new_id_on_the_other(&'static self) {
        let Self { name, cookie, .. } = *self;
        let Pair { site, front, node: _node, .. } = self.beside_axum(json!({ "keys": KEYS })).await;
        for (app, how, other, kept) in [
            ("axum", "renew", name, json!({ "cart": 1, "user": "ada" })),
            (name, "regenerate", "axum", json!({ "user": "ada" })),
        ] {
            let mut visitor = front.visitor();
            let _ = visitor.get(&set(other, &json!({ "cart": 1 }))).await.expect_status(200);
            let mut planted = visitor.clone();
            let request = format!("{}&{how}=1", set(app, &json!({ "user": "ada" })));
            let _ = visitor.get(&request).await.expect_status(200);
            assert_ne!(visitor.cookie(cookie), planted.cookie(cookie));
            for seen_by in [other, app] {
                assert_eq!(data(&visitor.get(&format!("/{seen_by}")).await), kept, "{request}");
                assert_eq!(data(&planted.get(&format!("/{seen_by}")).await), json!({}), "{request}");
            }
            let _ = visitor.get(&format!("/{name}?destroy=1")).await.expect_status(200);
        }
        assert_eq!(site.keys(), [""; 0]);
    }
}

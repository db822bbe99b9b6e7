//! The control plane: what the player breaks, holds, moves and looks at. Outside of the session layers.

use std::time::Duration;

use axum_generic_session::Clock;
use serde_json::{Value, json};

use crate::{query::Query, scene::Scene, store::Fault};

/// Answers one of its paths; a reset is the caller's business.
pub(crate) async fn answer(scene: &Scene, path: &str, query: &Query) -> Value {
    let name = query.get("name").unwrap_or_default();
    match path {
        "/__store/info" => info(scene),
        "/__store/log" => json!({ "events": scene.journal.events(), "unhandled": [], "warnings": [] }),
        "/__clock/now" => json!({ "now": scene.clock.now().as_millis() }),
        "/__clock/advance" => {
            scene.clock.advance(Duration::from_millis(query.number("ms").unwrap_or_default()));
            json!({ "now": scene.clock.now().as_millis() })
        }
        "/__gate/open" => {
            scene.gates.open(&name);
            json!({ "open": name })
        }
        "/__gate/reached" => json!({ "reached": scene.gates.reached(&name).await }),
        "/__gate/entered" => {
            json!({ "entered": scene.gates.entered(query.number("n").unwrap_or_default()).await })
        }
        _ => store(scene, path, query),
    }
}

fn info(scene: &Scene) -> Value {
    let outer = &scene.setting.layers[0];
    let mut info = json!({
        "config": scene.setting.name, "lib": "generic", "key": outer.key, "keys": scene.setting.keys,
    });
    // Only where nothing separates it from the id.
    if !outer.prefix.ends_with(':') {
        info["prefix"] = json!(outer.prefix);
    }
    info
}

fn store(scene: &Scene, path: &str, query: &Query) -> Value {
    let Some(store) = &scene.store else { return json!({}) };
    let key = query.get("key").unwrap_or_default();
    match path.strip_prefix("/__store/").unwrap_or_default() {
        "dump" => return store.dump(),
        "listeners" => {
            let layers = store.listeners().min(1);
            return json!({ "disconnect": layers, "connect": layers });
        }
        "heal" => store.heal(),
        "disconnect" => store.connect(false),
        "connect" => store.connect(true),
        "put" => store.put(&key, query.get("json").unwrap_or_default()),
        "drop" => store.drop_entry(&key),
        "hold" => {
            if let Some(op) = operation(&query.get("op").unwrap_or_default()) {
                store.hold(op, query.get("gate").unwrap_or_default());
            }
        }
        other => match other.strip_prefix("fail-").and_then(operation) {
            Some(op) => store.fail(op, fault(op, query)),
            None => return json!({ "unknown": path }),
        },
    }
    json!({ "done": path })
}

fn operation(name: &str) -> Option<&'static str> {
    ["get", "set", "destroy"].into_iter().find(|op| *op == name)
}

fn fault(op: &str, query: &Query) -> Fault {
    Fault {
        message: query.get("message").unwrap_or_else(|| format!("mock {op} error")),
        status: query.number("status"),
        code: query.get("code"),
        skip: query.number("skip").unwrap_or_default(),
        times: query.number("times").unwrap_or(usize::MAX),
        after: query.get("after").is_some(),
    }
}

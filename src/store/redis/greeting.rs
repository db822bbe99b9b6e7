//! What is asked of a server before it is trusted with sessions.

use std::time::Duration;

use redis::{Cmd, Value, cmd};
use tokio::time::timeout;

use super::{fault::Fault, source::Transport};
use crate::{error::see, store::StoreErrorKind};

/// What `HELLO` tells; nothing of a server that does not let us ask.
#[derive(Default, Debug)]
struct Hello {
    version: String,
    mode: String,
    role: String,
}

/// Asks what the server is.
async fn hello(server: &dyn Transport, limit: Duration) -> Result<Hello, Fault> {
    let mut hello = Hello::default();
    let pairs = match ask(server, &cmd("HELLO"), limit).await {
        Ok(Value::Map(pairs)) => pairs,
        Ok(Value::Array(flat)) => {
            let mut flat = flat.into_iter();
            std::iter::from_fn(|| flat.next().zip(flat.next())).collect()
        }
        Ok(_) | Err(Fault::Refused(_)) => return Ok(hello),
        Err(fault) => return Err(fault),
    };
    for (name, value) in pairs {
        match text(&name).as_str() {
            "version" => hello.version = text(&value),
            "mode" => hello.mode = text(&value),
            "role" => hello.role = text(&value),
            _ => {}
        }
    }
    Ok(hello)
}

/// `master` or `replica`, if the server says.
pub(super) async fn role(server: &dyn Transport, limit: Duration) -> Result<Option<String>, Fault> {
    let hello = hello(server, limit).await?;
    Ok(Some(hello.role).filter(|role| !role.is_empty()))
}

const NO_SCRIPTS: &str = "this Redis does not let this user run scripts, and without them a logged-out session \
                          could come back: allow them, `ACL SETUSER <user> +eval +evalsha`";

/// Refuses, in words, a server that cannot keep sessions; warns of one that may drop them.
/// `cluster`: whether it may be a node of one. Says whether it calls itself a server on its own.
pub(super) async fn examine(server: &dyn Transport, cluster: bool, limit: Duration) -> Result<bool, Fault> {
    let hello = hello(server, limit).await?;
    let unusable = |words: &str| Err(Fault::Unusable(StoreErrorKind::Misconfigured, words.to_owned()));
    match hello.mode.as_str() {
        "sentinel" => return unusable("this is a Sentinel: open the store with `RedisStore::sentinel`"),
        "cluster" if !cluster => {
            return unusable("this is a node of a cluster: open the store with `RedisStore::cluster`");
        }
        _ => {}
    }
    let mut numbers = hello.version.split('.').map(|part| part.parse::<u32>().unwrap_or_default());
    let version = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    if !hello.version.is_empty() && version < (6, 2) {
        return Err(Fault::Unusable(
            StoreErrorKind::Misconfigured,
            format!("sessions need Redis 6.2 or newer, or Valkey; this is Redis {}", hello.version),
        ));
    }

    for (command, script) in [("EVALSHA", "0000000000000000000000000000000000000000"), ("EVAL", "return 1")] {
        let mut run = cmd(command);
        run.arg(script).arg(0);
        let Err(fault) = ask(server, &run, limit).await else { continue };
        match fault.code() {
            Some("NOSCRIPT") => {}
            Some("NOPERM") => return Err(Fault::Unusable(StoreErrorKind::Denied, NO_SCRIPTS.to_owned())),
            Some("ERR") => return unusable(NO_SCRIPTS),
            _ => return Err(fault),
        }
    }

    let mut memory = cmd("INFO");
    memory.arg("memory");
    // Nothing depends on this answer, and some users may not ask.
    if let Ok(answer) = ask(server, &memory, limit).await {
        let info = text(&answer);
        let policy = info.lines().find_map(|line| line.strip_prefix("maxmemory_policy:"));
        if let Some(policy) = policy.map(str::trim).filter(|policy| *policy != "noeviction") {
            tracing::warn!(
                policy,
                "Redis drops keys when its memory is full, and with them sessions: visitors will be logged \
                 out at random. Set `maxmemory-policy noeviction`{}",
                see!("stores", "redis")
            );
        }
    }
    Ok(hello.mode == "standalone")
}

/// One command, bounded in time.
pub(super) async fn ask(server: &dyn Transport, command: &Cmd, limit: Duration) -> Result<Value, Fault> {
    match timeout(limit, server.one(command)).await {
        Ok(answer) => Ok(answer?.extract_error()?),
        Err(_) => Err(Fault::Late),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => text.clone(),
        _ => String::new(),
    }
}

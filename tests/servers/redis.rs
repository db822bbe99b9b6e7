//! Real Redis servers: one, a cluster of six, a primary and a replica under three Sentinels.
//!
//! `REDIS_SERVER` names another binary than `redis-server`, for instance `valkey-server`.

use std::{
    collections::BTreeMap,
    process::Command,
    time::{Duration, Instant},
};

use axum_generic_session::redis::{self, Connection, FromRedisValue, RedisResult, Value, cmd};

use super::{Server, free_port};

const SLOTS: usize = 16_384;

/// One server, empty at its start.
pub struct Redis {
    server: Server,
    arguments: Vec<String>,
}

impl Redis {
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// With these options, as on its command line (`--maxmemory 1mb`), one word each.
    pub fn with(options: &[&str]) -> Self {
        let mut redis = Self::prepare(options);
        redis.launch();
        redis
    }

    /// Nothing running yet.
    fn prepare(options: &[&str]) -> Self {
        let server = Server::prepare();
        let port = server.port.to_string();
        let folder = server.folder().display().to_string();
        let mut arguments = Vec::new();
        for argument in [
            ["--port", &port],
            ["--bind", "127.0.0.1"],
            ["--dir", &folder],
            ["--save", ""],
            ["--enable-debug-command", "local"],
            ["--repl-diskless-sync-delay", "0"],
            ["--repl-ping-replica-period", "1"],
        ] {
            arguments.extend(argument.map(str::to_owned));
        }
        arguments.extend(options.iter().map(|&option| option.to_owned()));
        Self { server, arguments }
    }

    /// Starts it, also again after [`kill`](Self::kill), on the same port and over the same files.
    pub fn launch(&mut self) {
        self.server.start(Command::new(binary()).args(&self.arguments));
        let port = self.port();
        // A server that asks for a password answers, too.
        self.server.wait_until("Redis", || {
            let answer: RedisResult<String> = connect(port).and_then(|mut it| cmd("PING").query(&mut it));
            match answer {
                Ok(_) => true,
                Err(error) => matches!(error.code(), Some("NOAUTH" | "NOPERM" | "MASTERDOWN")),
            }
        });
    }

    pub fn port(&self) -> u16 {
        self.server.port
    }

    pub fn url(&self) -> String {
        url(self.port())
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.server.kill();
    }

    /// Sends a signal by name (`STOP`, `CONT`).
    pub fn signal(&self, name: &str) {
        self.server.signal(name);
    }

    pub fn server(&self) -> &Server {
        &self.server
    }

    /// One command on a connection of its own; again if that is ended, as Sentinel does when it demotes.
    pub fn run<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let once = || self.try_run(words);
        let answer = once().or_else(|error| if error.is_io_error() { once() } else { Err(error) });
        answer.unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    pub fn try_run<T: FromRedisValue>(&self, words: &[&str]) -> RedisResult<T> {
        let mut command = cmd(words[0]);
        for word in &words[1..] {
            command.arg(word);
        }
        command.query(&mut connect(self.port())?)
    }

    /// How often each command has been called, those inside scripts included; not those of setting up a
    /// connection, of heartbeats, and of asking this.
    pub fn calls(&self) -> BTreeMap<String, u64> {
        let info: String = self.run(&["INFO", "commandstats"]);
        let calls = info.lines().filter_map(|line| {
            let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
            let number = rest.split(',').next()?.parse().ok()?;
            (!matches!(name, "info" | "ping" | "hello" | "client|setinfo")).then(|| (name.to_owned(), number))
        });
        calls.collect()
    }

    pub fn reset_calls(&self) {
        let () = self.run(&["CONFIG", "RESETSTAT"]);
    }

    /// The value of a line of `INFO`.
    pub fn info(&self, name: &str) -> String {
        let info: String = self.run(&["INFO", "everything"]);
        let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.unwrap_or_else(|| panic!("INFO has no {name}")).trim().to_owned()
    }

    /// Waits until something about the server holds.
    pub fn wait_for(&self, what: &str, ready: impl Fn(&Self) -> bool) {
        wait_for(what, || ready(self));
    }
}

/// The program under test.
fn binary() -> String {
    std::env::var("REDIS_SERVER").unwrap_or_else(|_| "redis-server".into())
}

fn url(port: u16) -> String {
    format!("redis://127.0.0.1:{port}")
}

fn connect(port: u16) -> RedisResult<Connection> {
    redis::Client::open(url(port))?.get_connection_with_timeout(Duration::from_secs(5))
}

fn wait_for(what: &str, ready: impl Fn() -> bool) {
    let start = Instant::now();
    while !ready() {
        assert!(start.elapsed() < Duration::from_secs(60), "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Three primaries with a third of the slots each, and a replica for each of them: node `n + 3` for `n`.
pub struct RedisCluster {
    pub nodes: Vec<Redis>,
}

impl RedisCluster {
    pub fn start() -> Self {
        let nodes: Vec<Redis> = (0..6)
            .map(|_| {
                let bus = free_port().to_string();
                Redis::with(&[
                    "--cluster-enabled",
                    "yes",
                    "--cluster-node-timeout",
                    "1000",
                    "--cluster-port",
                    &bus,
                ])
            })
            .collect();
        for (number, node) in nodes.iter().take(3).enumerate() {
            let (first, last) = (SLOTS * number / 3, SLOTS * (number + 1) / 3 - 1);
            let () = node.run(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()]);
            // Without epochs of their own the nodes would argue who owns what.
            let () = node.run(&["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()]);
        }
        let bus = |node: &Redis| node.arguments.last().cloned().expect("the bus port");
        for node in &nodes[1..] {
            let (port, bus) = (node.port().to_string(), bus(node));
            let () = nodes[0].run(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
        }
        let cluster = Self { nodes };
        cluster.wait_for("every node knows all six", |node| {
            node.run::<String>(&["CLUSTER", "NODES"])
                .lines()
                .filter(|line| !line.contains("handshake"))
                .count()
                == 6
        });
        for number in 0..3 {
            let primary = cluster.id(number);
            wait_for("a replica is one", || {
                cluster.nodes[number + 3].try_run::<()>(&["CLUSTER", "REPLICATE", &primary]).is_ok()
            });
        }
        cluster.wait_for("the cluster is up", |node| {
            node.run::<String>(&["CLUSTER", "INFO"]).contains("cluster_state:ok")
        });
        for replica in &cluster.nodes[3..] {
            replica.wait_for("a replica is in step", |it| it.info("master_link_status") == "up");
        }
        // A replica without this does not count as one when its primary fails.
        for primary in &cluster.nodes[..3] {
            primary.wait_for("a primary sees its replica", |it| it.info("slave0").contains("state=online"));
        }
        cluster
    }

    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(Redis::url).collect()
    }

    pub fn id(&self, number: usize) -> String {
        self.nodes[number].run(&["CLUSTER", "MYID"])
    }

    /// Which of the first three owns this key, in the beginning.
    pub fn owner(&self, key: &str) -> usize {
        let slot: usize = self.nodes[0].run(&["CLUSTER", "KEYSLOT", key]);
        (0..3).find(|number| slot < SLOTS * (number + 1) / 3).expect("a slot")
    }

    /// Moves a slot with all its keys, as `redis-cli --cluster reshard` does.
    pub fn move_slot(&self, slot: usize, from: usize, to: usize) {
        self.begin_move(slot, from, to);
        while self.move_some_keys(slot, from, to, 10) > 0 {}
        self.end_move(slot, from, to);
    }

    pub fn begin_move(&self, slot: usize, from: usize, to: usize) {
        let slot = slot.to_string();
        let () = self.nodes[to].run(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &self.id(from)]);
        let () = self.nodes[from].run(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &self.id(to)]);
    }

    /// How many keys were left to move.
    pub fn move_some_keys(&self, slot: usize, from: usize, to: usize, number: usize) -> usize {
        let (slot, number) = (slot.to_string(), number.to_string());
        let keys: Vec<String> = self.nodes[from].run(&["CLUSTER", "GETKEYSINSLOT", &slot, &number]);
        let port = self.nodes[to].port().to_string();
        for key in &keys {
            let _: Value = self.nodes[from].run(&["MIGRATE", "127.0.0.1", &port, key, "0", "5000"]);
        }
        keys.len()
    }

    pub fn end_move(&self, slot: usize, from: usize, to: usize) {
        let (slot, id) = (slot.to_string(), self.id(to));
        for node in [to, from] {
            let () = self.nodes[node].run(&["CLUSTER", "SETSLOT", &slot, "NODE", &id]);
        }
    }

    fn wait_for(&self, what: &str, ready: impl Fn(&Redis) -> bool) {
        for node in &self.nodes {
            node.wait_for(what, &ready);
        }
    }
}

/// A primary named `sessions`, its replica, and three Sentinels that replace it after a second.
pub struct RedisSentinel {
    pub primary: Redis,
    pub replica: Redis,
    pub sentinels: Vec<Redis>,
}

impl RedisSentinel {
    pub const NAME: &str = "sessions";

    pub fn start() -> Self {
        Self::with(&[])
    }

    /// The primary and the replica with these options.
    pub fn with(options: &[&str]) -> Self {
        let primary = Redis::with(options);
        let port = primary.port().to_string();
        let of = format!("127.0.0.1 {port}");
        let replica = Redis::with(&[options, &["--replicaof", &of]].concat());
        replica.wait_for("the replica is in step", |it| it.info("master_link_status") == "up");
        // Until then its acknowledgements, and its claim to succeed, do not count.
        primary.wait_for("the replica is online", |it| it.info("slave0").contains("state=online"));
        let sentinels: Vec<Redis> = (0..3)
            .map(|_| {
                let mut sentinel = Redis::prepare(&[]);
                let file = sentinel.server.folder().join("sentinel.conf");
                let name = Self::NAME;
                let settings = format!(
                    "port {}\nbind 127.0.0.1\ndir {}\nsentinel monitor {name} 127.0.0.1 {port} 2\n\
                     sentinel down-after-milliseconds {name} 1000\nsentinel failover-timeout {name} 5000\n",
                    sentinel.port(),
                    sentinel.server.folder().display()
                );
                std::fs::write(&file, settings).expect("a configuration file");
                sentinel.arguments = vec![file.display().to_string(), "--sentinel".into()];
                sentinel.launch();
                sentinel
            })
            .collect();
        for sentinel in &sentinels {
            sentinel.wait_for("the Sentinels know each other and the replica", |it| {
                let info: String = it.run(&["INFO", "sentinel"]);
                info.contains("slaves=1,sentinels=3")
            });
        }
        Self { primary, replica, sentinels }
    }

    pub fn urls(&self) -> Vec<String> {
        self.sentinels.iter().map(Redis::url).collect()
    }

    /// Waits until the Sentinels have made the replica the primary.
    pub fn wait_for_failover(&self) {
        for sentinel in &self.sentinels {
            sentinel.wait_for("the Sentinels name the replica", |it| {
                let address: Vec<String> = it.run(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", Self::NAME]);
                address[1] == self.replica.port().to_string()
            });
        }
        self.replica.wait_for("the replica is the primary", |it| it.info("role") == "master");
    }

    /// The primary that died comes back as the replica of the new one. From then on each is the other, and the Sentinels,
    /// which know it, can do it again.
    pub fn back_as_a_replica(&mut self) {
        std::mem::swap(&mut self.primary, &mut self.replica);
        let of = self.primary.port().to_string();
        self.replica.launch();
        // Sentinel may have told it so already, and ended the connection.
        let _: RedisResult<()> = self.replica.try_run(&["REPLICAOF", "127.0.0.1", &of]);
        self.replica.wait_for("the replica is in step", |it| {
            it.info("role") == "slave" && it.info("master_link_status") == "up"
        });
        self.primary.wait_for("the replica is online", |it| it.info("slave0").contains("state=online"));
        for sentinel in &self.sentinels {
            sentinel.wait_for("the Sentinels see the replica", |it| {
                let replicas: Vec<BTreeMap<String, String>> = it.run(&["SENTINEL", "REPLICAS", Self::NAME]);
                replicas.iter().any(|it| it["flags"] == "slave" && it["master-link-status"] == "ok")
            });
        }
    }
}

//! The Redis store under load while servers die, are replaced, or hand over their keys. Every write that was
//! acknowledged is looked for in the end; `--nocapture` shows how long it took.
#![cfg(feature = "redis-store")]
#![allow(clippy::unwrap_used, reason = "an unwrap that fails is a test that fails")]

mod figures;
mod servers;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use axum_generic_session::{
    Clock, RedisStore, SessionId, StoreKey, SystemClock,
    store::{Connection, Record, Store, Tag, When, Written},
};
use figures::{Figure, faults};
use servers::redis::{Redis, RedisCluster, RedisSentinel};
use tokio::{task::JoinHandle, time::timeout};

/// Longer than any failover takes here.
const LIMIT: Duration = Duration::from_secs(60);

/// Visitors who write without a break, each in a session of their own, and note what was acknowledged.
struct Load {
    store: RedisStore,
    visitors: Vec<JoinHandle<History>>,
    stop: Arc<AtomicBool>,
    since: Instant,
}

/// What one visitor has seen, or all of them.
#[derive(Default)]
struct History {
    acknowledged: u64,
    /// Acknowledged, and not there.
    lost: u64,
    /// Calls that failed; each was repeated until it had an answer.
    failed: u64,
    /// The longest time between two acknowledgements.
    gap: Duration,
}

impl Load {
    async fn start(store: &RedisStore, keys: impl IntoIterator<Item = StoreKey>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut visitors = Vec::new();
        for key in keys {
            let first = record(0);
            assert!(store.set(&key, &first, When::Absent).await.unwrap() == Written::Done);
            visitors.push(tokio::spawn(visit(store.clone(), key, first, Arc::clone(&stop))));
        }
        Self { store: store.clone(), visitors, stop, since: Instant::now() }
    }

    /// Lets the visitors go on for a while, at their own pace.
    async fn go_on(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// `bar`: which of those in `docs/guarantees.md` the figure is for.
    async fn stop(self, bar: &str, what: &str) -> History {
        let figure = Figure::of(bar, what).since(self.since);
        self.stop.store(true, Relaxed);
        let mut all = History::default();
        for visitor in self.visitors {
            let one = timeout(LIMIT, visitor).await.expect("a visitor hangs").unwrap();
            all.acknowledged += one.acknowledged;
            all.lost += one.lost;
            all.failed += one.failed;
            all.gap = all.gap.max(one.gap);
        }
        let number = |count: u64| usize::try_from(count).expect("a count");
        figure
            .count("acknowledged", number(all.acknowledged))
            .count("lost", number(all.lost))
            .count("failed_calls", number(all.failed))
            .count("longest_gap_ms", all.gap.as_millis() as usize)
            .report();
        drop(self.store);
        all
    }
}

fn record(number: u64) -> Record {
    let expires_at = SystemClock.now().saturating_add(Duration::from_secs(3600));
    Record { tag: Tag::random(), expires_at, principal: None, data: number.to_string().into() }
}

fn number(record: &Record) -> u64 {
    std::str::from_utf8(&record.data).unwrap().parse().unwrap()
}

/// The only writer of this session: whatever is older than the last acknowledgement is a loss.
async fn visit(store: RedisStore, key: StoreKey, first: Record, stop: Arc<AtomicBool>) -> History {
    let mut history = History::default();
    let mut last = first;
    let mut acknowledged_at = Instant::now();
    while !stop.load(Relaxed) {
        let next = record(number(&last) + 1);
        // In doubt or refused: the same again, its tag tells whether it has happened.
        let answer = loop {
            match store.set(&key, &next, When::Tagged(last.tag)).await {
                Ok(answer) => break answer,
                Err(error) => {
                    assert!(error.is_unavailable() || error.to_string().contains("READONLY"), "{error}");
                    history.failed += 1;
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }
        };
        match answer {
            Written::Done => {
                history.acknowledged += 1;
                history.gap = history.gap.max(acknowledged_at.elapsed());
                acknowledged_at = Instant::now();
                last = next;
            }
            Written::Conflict(Some(older)) => {
                history.lost += number(&last).saturating_sub(number(&older));
                last = older;
            }
            Written::Conflict(None) | Written::Gone => {
                history.lost += number(&last) + 1;
                return history;
            }
        }
    }
    let found = loop {
        match store.get(&key).await {
            Ok(found) => break found,
            Err(_) => tokio::time::sleep(Duration::from_millis(2)).await,
        }
    };
    let found = found.map_or(0, |record| number(&record));
    history.lost += number(&last).saturating_sub(found);
    history
}

fn keys(count: usize) -> impl Iterator<Item = StoreKey> {
    (0..count).map(|_| StoreKey::hashed("test:", &SessionId::random()))
}

async fn reconnected(store: &RedisStore) {
    let mut status = store.connection().unwrap();
    timeout(LIMIT, status.wait_for(|now| *now == Connection::Connected)).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_keeps_what_it_acknowledges_loses_nothing_in_crashes() {
    let mut server = Redis::with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let store = RedisStore::connect(&server.url()).await.unwrap();
    let load = Load::start(&store, keys(16)).await;
    let kills = faults(3, 200);
    for _ in 0..kills {
        load.go_on(Duration::from_millis(300)).await;
        server.kill();
        load.go_on(Duration::from_millis(300)).await;
        server.launch();
        reconnected(&store).await;
    }
    load.go_on(Duration::from_millis(300)).await;
    let history = load.stop("B9", &format!("Redis, appendfsync always: {kills} x kill -9 and restart")).await;
    assert_eq!(history.lost, 0);
    assert!(history.failed > 0);

    // The same server without a disk, to see that a loss would have been seen.
    let mut server = Redis::start();
    let store = RedisStore::connect(&server.url()).await.unwrap();
    let load = Load::start(&store, keys(16)).await;
    load.go_on(Duration::from_millis(300)).await;
    server.kill();
    server.launch();
    reconnected(&store).await;
    let history = load.stop("control", "Redis without a disk: kill -9 and restart").await;
    assert!(history.lost >= history.acknowledged);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_by_sentinel_loses_nothing_that_a_replica_has_confirmed() {
    for confirmed in [true, false] {
        let mut sentinel = RedisSentinel::start();
        let builder = RedisStore::sentinel(sentinel.urls(), RedisSentinel::NAME);
        let builder = if confirmed { builder.ack_replicas(1, Duration::from_millis(500)) } else { builder };
        let store = builder.connect().await.unwrap();
        let load = Load::start(&store, keys(16)).await;
        let failovers = if confirmed { faults(2, 100) } else { faults(2, 20) };
        for _ in 0..failovers {
            load.go_on(Duration::from_millis(500)).await;
            sentinel.primary.kill();
            sentinel.wait_for_failover();
            // The new primary has no replica yet: it takes writes, and nobody confirms them.
            load.go_on(Duration::from_millis(200)).await;
            sentinel.back_as_a_replica();
            reconnected(&store).await;
        }
        load.go_on(Duration::from_millis(500)).await;
        let what = if confirmed { "confirmed by a replica" } else { "not confirmed" };
        let history = load.stop("B10", &format!("{failovers} x Sentinel failover, {what}")).await;
        assert!(history.failed > 0);
        // Without confirmation a loss is possible, and only its extent is of interest.
        assert!(!confirmed || history.lost == 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_move_to_another_node_are_followed() {
    let cluster = RedisCluster::start();
    let store = RedisStore::cluster(cluster.urls()).connect().await.unwrap();
    // One slot, so that all of them move; and keys elsewhere, which must not notice.
    let moving = "{moving}";
    let (from, to) = (cluster.owner(moving), (cluster.owner(moving) + 1) % 3);
    let slot: usize = cluster.nodes[0].run(&["CLUSTER", "KEYSLOT", moving]);
    let load =
        Load::start(&store, (0..40).map(|_| StoreKey::hashed(moving, &SessionId::random())).chain(keys(20)))
            .await;
    load.go_on(Duration::from_millis(200)).await;
    for (from, to) in [(from, to), (to, from), (from, to)] {
        cluster.begin_move(slot, from, to);
        while cluster.move_some_keys(slot, from, to, 2) > 0 {
            load.go_on(Duration::from_millis(10)).await;
        }
        load.go_on(Duration::from_millis(50)).await;
        // Sessions are made, and looked for in vain, where half of the slot has gone already.
        let new = StoreKey::hashed(moving, &SessionId::random());
        assert!(store.get(&new).await.unwrap().is_none());
        assert!(store.set(&new, &record(1), When::Absent).await.unwrap() == Written::Done);
        assert!(store.get(&new).await.unwrap().is_some());
        store.destroy(&new).await.unwrap();
        cluster.end_move(slot, from, to);
        load.go_on(Duration::from_millis(200)).await;
    }
    let history = load.stop("moves", "cluster: 3 moves of a slot with 40 sessions").await;
    assert_eq!((history.lost, history.failed), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_of_a_cluster_that_dies_is_replaced_and_the_others_go_on() {
    let mut cluster = RedisCluster::start();
    let store =
        RedisStore::cluster(cluster.urls()).time_limit(LIMIT).ack_replicas(1, Duration::from_millis(500));
    let store = store.connect().await.unwrap();
    let (dying, others): (Vec<_>, Vec<_>) = keys(48).partition(|key| cluster.owner(key.as_str()) == 0);
    let mut status = store.connection().unwrap();
    let load = Load::start(&store, dying).await;
    let beside = Load::start(&store, others).await;
    load.go_on(Duration::from_millis(300)).await;
    cluster.nodes[0].kill();
    cluster.nodes[3].wait_for("the replica is the primary", |it| it.info("role") == "master");
    load.go_on(Duration::from_millis(500)).await;
    // The old primary comes back as the replica of the new one, which then has somebody to confirm its writes.
    cluster.nodes[0].launch();
    cluster.nodes[3].wait_for("it has a replica", |it| it.info("connected_slaves") == "1");
    load.go_on(Duration::from_secs(1)).await;
    let history = load.stop("B10", "cluster failover, on the primary that died").await;
    assert!(history.failed > 0);
    assert_eq!(history.lost, 0);
    let history = beside.stop("B10", "cluster failover, on the other nodes").await;
    assert_eq!((history.lost, history.failed), (0, 0));
    assert!(!status.has_changed().unwrap(), "a cluster with one node away is not away");
    assert_eq!(*status.borrow_and_update(), Connection::Connected);
}

/// No replica to take over, and the cluster told to go on without: what is there is served as if nothing were.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_away_fails_its_own_keys_at_once_and_no_others() {
    let mut cluster = RedisCluster::start();
    for node in &cluster.nodes {
        let () = node.run(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]);
    }
    let store = RedisStore::cluster(cluster.urls()).time_limit(LIMIT * 5).connect().await.unwrap();
    let mut status = store.connection().unwrap();
    let (away, there): (Vec<_>, Vec<_>) = keys(60).partition(|key| cluster.owner(key.as_str()) == 0);
    for key in away.iter().chain(&there) {
        store.set(key, &record(1), When::Absent).await.unwrap();
    }
    cluster.nodes[3].kill();
    cluster.nodes[0].kill();
    for _ in 0..20 {
        for key in &away {
            let error = timeout(LIMIT, store.get(key)).await.expect("it hangs").unwrap_err();
            assert!(error.is_unavailable(), "{error}");
        }
        for key in &there {
            assert!(timeout(LIMIT, store.get(key)).await.expect("it hangs").unwrap().is_some());
        }
    }
    assert!(!status.has_changed().unwrap());

    // All of them, and all of them back.
    for number in [1, 2, 4, 5] {
        cluster.nodes[number].kill();
    }
    timeout(LIMIT, status.wait_for(|now| *now != Connection::Connected)).await.unwrap().unwrap();
    for key in &there {
        assert!(timeout(LIMIT, store.get(key)).await.expect("it hangs").unwrap_err().is_unavailable());
    }
    for node in &mut cluster.nodes {
        node.launch();
    }
    reconnected(&store).await;
    let (key, new) = (&there[0], record(2));
    // They came back without their memory; that they take sessions again is what counts.
    let written = async {
        while !matches!(store.set(key, &new, When::Absent).await, Ok(Written::Done)) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LIMIT, written).await.expect("the cluster is not found again");
}

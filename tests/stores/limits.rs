//! What the memory store promises beyond the contract: its limits, and that what has expired is freed.

use std::time::Duration;

use axum::body::Bytes;
use axum_generic_session::{
    Clock, MemoryStore, SessionId, Store, StoreKey, Timestamp,
    store::{ByPrincipal, Kept, Owner, Record, StoreErrorKind, Tag, When, Written},
    testing::ManualClock,
};

const MINUTE: Duration = Duration::from_secs(60);

fn key() -> StoreKey {
    StoreKey::hashed("app:", &SessionId::random())
}

fn record(clock: &ManualClock, bytes: usize) -> Record {
    Record {
        tag: Tag::random(),
        expires_at: clock.now().saturating_add(MINUTE),
        principal: None,
        data: Bytes::from(vec![7; bytes]),
    }
}

async fn create(store: &MemoryStore, record: &Record) -> Result<StoreKey, StoreErrorKind> {
    let key = key();
    match store.set(&key, record, When::Absent).await {
        Ok(answer) => {
            assert_eq!(answer, Written::Done);
            Ok(key)
        }
        Err(error) => Err(error.kind()),
    }
}

#[tokio::test]
async fn a_full_store_refuses_new_sessions_and_serves_the_old() {
    let clock = ManualClock::new();
    let store = MemoryStore::new().clock(clock.clone()).max_entries(100);
    let mut keys = Vec::new();
    for _ in 0..100 {
        keys.push(create(&store, &record(&clock, 10)).await.unwrap());
    }
    assert_eq!(create(&store, &record(&clock, 10)).await, Err(StoreErrorKind::Full));
    assert_eq!(store.len(), 100);

    // Updates, touches, rotations and logouts go on.
    let next = record(&clock, 10);
    assert_eq!(store.set(&keys[0], &next, When::Present).await.unwrap(), Written::Done);
    assert!(store.touch(&keys[1], Timestamp::MAX).await.unwrap());
    let moved = key();
    let answer = store.rotate(&keys[2], When::Present, &moved, &record(&clock, 10)).await;
    assert_eq!(answer.unwrap(), Written::Done);
    assert_eq!(create(&store, &record(&clock, 10)).await, Err(StoreErrorKind::Full));
    store.destroy(&keys[3]).await.unwrap();
    create(&store, &record(&clock, 10)).await.unwrap();
    for key in &keys[4..] {
        assert!(store.get(key).await.unwrap().is_some(), "a live session was thrown out");
    }
}

#[tokio::test]
async fn a_full_store_frees_the_expired_before_it_refuses() {
    let clock = ManualClock::new();
    let store = MemoryStore::new().clock(clock.clone()).max_entries(100);
    let mut long = record(&clock, 10);
    long.expires_at = Timestamp::MAX;
    let kept = create(&store, &long).await.unwrap();
    for _ in 1..100 {
        create(&store, &record(&clock, 10)).await.unwrap();
    }
    clock.advance(MINUTE);
    for _ in 1..100 {
        create(&store, &record(&clock, 10)).await.unwrap();
    }
    assert_eq!(create(&store, &record(&clock, 10)).await, Err(StoreErrorKind::Full));
    assert!(store.get(&kept).await.unwrap().is_some());
}

#[tokio::test]
async fn bytes_are_bounded_and_counted_back_to_zero() {
    let clock = ManualClock::new();
    let store = MemoryStore::new().clock(clock.clone()).max_bytes(10_000);
    let mut keys = Vec::new();
    while let Ok(key) = create(&store, &record(&clock, 800)).await {
        keys.push(key);
    }
    assert_eq!((keys.len(), store.bytes()), (10, 10_000));

    // What grows is refused and stays as it was; what does not grow is stored.
    let grown = store.set(&keys[0], &record(&clock, 801), When::Present).await;
    assert_eq!(grown.unwrap_err().kind(), StoreErrorKind::Full);
    assert_eq!(store.get(&keys[0]).await.unwrap().unwrap().data.len(), 800);
    assert_eq!(store.set(&keys[0], &record(&clock, 700), When::Present).await.unwrap(), Written::Done);
    assert_eq!(store.set(&keys[1], &record(&clock, 900), When::Present).await.unwrap(), Written::Done);
    let moved = store.rotate(&keys[2], When::Present, &key(), &record(&clock, 801)).await;
    assert_eq!(moved.unwrap_err().kind(), StoreErrorKind::Full);
    assert!(store.get(&keys[2]).await.unwrap().is_some());

    // With its 200 bytes more the first would fill the whole store, the other never fits.
    for (bytes, kind) in [(9_800, StoreErrorKind::Full), (9_801, StoreErrorKind::TooLarge)] {
        assert_eq!(create(&store, &record(&clock, bytes)).await, Err(kind), "{bytes}");
    }

    for key in &keys {
        store.destroy(key).await.unwrap();
    }
    assert_eq!((store.len(), store.bytes()), (0, 0));
    create(&store, &record(&clock, 9_800)).await.unwrap();
}

#[tokio::test]
async fn the_counts_survive_every_kind_of_change() {
    let clock = ManualClock::new();
    let store = MemoryStore::new().clock(clock.clone());
    for round in 0..2_000_usize {
        let session = create(&store, &record(&clock, round % 300)).await.unwrap();
        let mut named = record(&clock, round % 50);
        named.principal = Some("alice".into());
        store.set(&session, &named, When::Present).await.unwrap();
        // Some rotate, some to a key whose record has expired; some end, some are left to the sweep.
        match round % 4 {
            0 => drop(store.rotate(&session, When::Present, &key(), &named).await.unwrap()),
            1 => store.destroy(&session).await.unwrap(),
            2 => {
                let mut past = record(&clock, 1);
                past.expires_at = Timestamp::EPOCH;
                assert_eq!(store.set(&session, &past, When::Present).await.unwrap(), Written::Done);
            }
            _ => {
                let taken = create(&store, &record(&clock, 5)).await.unwrap();
                clock.advance(MINUTE);
                let mut later = record(&clock, 9);
                later.expires_at = Timestamp::MAX;
                let fresh = create(&store, &later).await.unwrap();
                let answer = store.rotate(&fresh, When::Present, &taken, &later).await.unwrap();
                assert_eq!(answer, Written::Done);
                store.destroy(&taken).await.unwrap();
            }
        }
    }
    clock.advance(MINUTE);
    sweep(&store, &clock).await;
    assert_eq!((store.len(), store.bytes()), (0, 0));
}

/// Two minutes of an almost idle site: a read every second, and never of anything that is there.
async fn sweep(store: &MemoryStore, clock: &ManualClock) {
    for _ in 0..120 {
        clock.advance(Duration::from_secs(1));
        store.get(&key()).await.unwrap();
    }
}

#[tokio::test]
async fn reads_alone_free_what_has_expired() {
    let clock = ManualClock::new();
    let store = MemoryStore::new().clock(clock.clone());
    let mut long = record(&clock, 10);
    long.expires_at = Timestamp::MAX;
    let kept = create(&store, &long).await.unwrap();
    for _ in 0..5_000 {
        create(&store, &record(&clock, 10)).await.unwrap();
    }
    clock.advance(MINUTE);
    assert_eq!(store.len(), 5_001);
    sweep(&store, &clock).await;
    assert_eq!(store.len(), 1);
    assert!(store.get(&kept).await.unwrap().is_some());
}

#[tokio::test]
async fn what_somebody_was_told_has_ended_is_not_back_when_the_clock_is_set_back() {
    let clock = ManualClock::new();
    let start = clock.now();
    let store = MemoryStore::new().clock(clock.clone());
    // Within the second that the sweep rests after the first call: it comes to one shard in 64, at times to `unseen`'s.
    let expires_at = start.saturating_add(Duration::from_millis(500));
    let owned = Record { principal: Some("alice".into()), expires_at, ..record(&clock, 10) };
    let mut keys = Vec::new();
    for _ in 0..5 {
        keys.push(create(&store, &owned).await.unwrap());
    }
    let [read, written, touched, moved, unseen] = &keys[..] else { unreachable!() };
    clock.set(expires_at);
    assert_eq!(store.get(read).await.unwrap(), None);
    assert_eq!(store.set(written, &owned, When::Present).await.unwrap(), Written::Gone);
    assert!(!store.touch(touched, Timestamp::MAX).await.unwrap());
    let answer = store.rotate(moved, When::Tagged(owned.tag), &key(), &record(&clock, 10)).await;
    assert_eq!(answer.unwrap(), Written::Gone);
    clock.set(start);
    for told in [read, written, touched, moved] {
        assert_eq!(store.get(told).await.unwrap(), None);
    }
    assert!(store.get(unseen).await.unwrap().is_some(), "nobody has asked");
    assert_eq!((store.len(), store.bytes()), (1, 10 + 200 + 160 + 5));
    let alice = Owner { prefix: "app:", principal: "alice" };
    assert_eq!(store.sessions_of(alice).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_clock_that_is_set_back_does_not_stop_the_sweep() {
    let clock = ManualClock::new();
    let start = clock.now();
    let store = MemoryStore::new().clock(clock.clone());
    clock.advance(Duration::from_secs(365 * 24 * 3600));
    create(&store, &record(&clock, 10)).await.unwrap();
    clock.set(start);
    for _ in 0..1_000 {
        create(&store, &record(&clock, 10)).await.unwrap();
    }
    clock.advance(MINUTE);
    sweep(&store, &clock).await;
    assert_eq!(store.len(), 1, "only the session from the future is left");
}

#[tokio::test]
async fn writes_alone_keep_the_dead_from_piling_up() {
    let clock = ManualClock::new();
    let store = MemoryStore::new().clock(clock.clone());
    // All within one second of the sweep's rest: only the tables' own sweep can keep up.
    for _ in 0..100 {
        for _ in 0..1_000 {
            let mut brief = record(&clock, 1);
            brief.expires_at = clock.now().saturating_add(Duration::from_millis(1));
            create(&store, &brief).await.unwrap();
        }
        clock.advance(Duration::from_millis(2));
    }
    assert!(store.len() < 20_000, "{} of 100,000 expired sessions are in memory", store.len());
}

#[tokio::test]
async fn handles_are_one_store_and_debug_shows_no_session() {
    let clock = ManualClock::new();
    let store = MemoryStore::new().clock(clock.clone());
    let other = store.clone();
    assert!(other.is_empty());
    create(&store, &record(&clock, 10)).await.unwrap();
    assert_eq!(other.len(), 1);
    assert!(!other.is_empty());
    assert_eq!(format!("{store:?}"), "MemoryStore { entries: 1, bytes: 210, .. }");
    let named = Record { principal: Some("alice".into()), ..record(&clock, 10) };
    create(&store, &named).await.unwrap();
    assert_eq!((store.len(), store.bytes()), (2, 210 + 210 + 160 + 5));
}

#[tokio::test]
async fn what_needs_no_waiting_is_answered_at_once() {
    let clock = ManualClock::new();
    let store = MemoryStore::new().clock(clock.clone()).max_entries(2);
    let (first, next) = (record(&clock, 10), record(&clock, 20));
    let (session, other) = (create(&store, &first).await.unwrap(), create(&store, &first).await.unwrap());
    let at_hand = store.at_hand().unwrap();
    // Behind the text there are notes, here none, and the tag.
    let noted = |record: &Record| {
        let data = [&*record.data, &[0, 0], record.tag.as_bytes()].concat();
        Kept { expires_at: record.expires_at, principal: record.principal.clone(), data: data.into() }
    };
    let read = |key: &StoreKey| at_hand.get(key);
    let is = |key: &StoreKey, record: &Record| {
        let kept = read(key).unwrap();
        assert_eq!((&*kept.data, kept.expires_at), (&*noted(record).data, record.expires_at));
        assert_eq!(kept.principal, record.principal);
    };
    assert!(read(&key()).is_none());
    is(&session, &first);
    assert_eq!(at_hand.set(&session, noted(&next), When::Present, None), Some(Written::Done));
    assert_eq!(store.get(&session).await.unwrap().as_ref(), Some(&next));
    is(&session, &next);
    is(&other, &first);
    assert!(at_hand.touch(&session, Timestamp::MAX, None));
    assert!(!at_hand.touch(&key(), Timestamp::MAX, None));
    assert_eq!(read(&session).unwrap().expires_at, Timestamp::MAX);
    assert!(
        at_hand.set(&key(), noted(&first), When::Absent, None).is_none(),
        "room may have to be made for it"
    );
    assert_eq!((store.held(), store.name()), (Some(2), "memory"));
}

#[tokio::test]
async fn a_stored_record_does_not_hold_on_to_the_callers_buffer() {
    let clock = ManualClock::new();
    let store = MemoryStore::new().clock(clock.clone());
    let buffer = Bytes::from(vec![7; 1 << 20]);
    let mut record = record(&clock, 0);
    record.data = buffer.slice(..10);
    let key = create(&store, &record).await.unwrap();
    drop(record);
    assert!(buffer.is_unique(), "the store keeps a megabyte alive for ten bytes");
    let at_hand = store.at_hand().unwrap();
    let (found, again) = (at_hand.get(&key).unwrap(), at_hand.get(&key).unwrap());
    assert_eq!(found.data.as_ptr(), again.data.as_ptr(), "reads of requests share the bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn rotations_that_cross_each_other_do_not_wait_for_each_other() {
    let clock = ManualClock::new();
    let store = MemoryStore::new().clock(clock.clone());
    let keys: Vec<_> = (0..8).map(|_| key()).collect();
    let mut tasks = Vec::new();
    for task in 0..8 {
        let (store, keys, clock) = (store.clone(), keys.clone(), clock.clone());
        tasks.push(tokio::spawn(async move {
            for step in 0..4_000 {
                let (old, new) = (&keys[(task + step) % 8], &keys[(task * 3 + step * 5) % 8]);
                let record = record(&clock, step % 40);
                match step % 5 {
                    0 => drop(store.set(old, &record, When::Absent).await.unwrap()),
                    1 => store.destroy(new).await.unwrap(),
                    _ => drop(store.rotate(old, When::Present, new, &record).await.unwrap()),
                }
            }
        }));
    }
    for task in tasks {
        tokio::time::timeout(Duration::from_secs(60), task).await.expect("no deadlock").unwrap();
    }
    for key in &keys {
        store.destroy(key).await.unwrap();
    }
    assert_eq!((store.len(), store.bytes()), (0, 0));
}

#[tokio::test]
async fn what_is_moved_when_it_ends_is_gone() {
    let clock = ManualClock::new();
    let store = MemoryStore::default().clock(clock.clone());
    let (old, new) = (create(&store, &record(&clock, 10)).await.unwrap(), key());
    let over = Record { expires_at: clock.now(), ..record(&clock, 10) };
    assert_eq!(store.rotate(&old, When::Present, &new, &over).await.unwrap(), Written::Done);
    assert_eq!((store.get(&old).await.unwrap(), store.get(&new).await.unwrap()), (None, None));
    assert_eq!((store.len(), store.bytes()), (0, 0));
}

#[tokio::test]
async fn a_large_session_takes_the_room_of_many_that_have_expired() {
    let clock = ManualClock::new();
    let store = MemoryStore::new().clock(clock.clone()).max_bytes(13_000_000);
    let large = || record(&clock, 12_500_000);
    for _ in 0..40_000 {
        let _ = create(&store, &record(&clock, 100)).await.unwrap();
    }
    assert_eq!(create(&store, &large()).await, Err(StoreErrorKind::Full));
    clock.advance(2 * MINUTE);
    create(&store, &large()).await.unwrap();
}

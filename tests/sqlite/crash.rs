//! kill -9 of the application while it writes: every acknowledged write is in the file.

use std::{
    collections::HashMap,
    env,
    io::{BufRead, BufReader, Write, stdout},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use axum_generic_session::{
    SessionId, Store, StoreKey,
    store::{SqliteStore, When, Written},
};

use super::{
    figures::{Figure, faults},
    kit::record,
    place,
};

/// How the child learns where the file is.
const FILE: &str = "AGS_SQLITE_FILE";
const WRITERS: usize = 8;

fn key_of(id: &str) -> StoreKey {
    StoreKey::plain("crash:", &SessionId::parse(id).unwrap())
}

/// The child: writes until it is killed, and says on its output what was acknowledged.
async fn write_until_killed(path: &str) {
    let store = SqliteStore::open(path).unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let store = store.clone();
        tasks.spawn(async move {
            // Not `println!`, which the harness keeps to itself until the test is over.
            let mut told = stdout();
            for session in 0.. {
                let id = format!("{}-{writer}-{session}", std::process::id());
                let key = key_of(&id);
                let mut last = record("0");
                let first = store.set(&key, &last, When::Absent).await.unwrap();
                assert_eq!(first, Written::Done);
                writeln!(told, "\nack {id} 0").unwrap();
                for value in 1..5 {
                    let next = record(value.to_string());
                    let answer = store.set(&key, &next, When::Tagged(last.tag)).await.unwrap();
                    assert_eq!(answer, Written::Done);
                    writeln!(told, "\nack {id} {value}").unwrap();
                    last = next;
                }
                store.destroy(&key).await.unwrap();
                writeln!(told, "\nack {id} gone").unwrap();
            }
        });
    }
    while tasks.join_next().await.is_some() {}
}

#[tokio::test(flavor = "multi_thread")]
async fn every_acknowledged_write_survives_kill_9() {
    // The test is its own child, told so by the file that it is to write to.
    if let Ok(path) = env::var(FILE) {
        return write_until_killed(&path).await;
    }
    let (_folder, path) = place();
    let (figure, mut writes, mut slowest) = (Figure::of("B9", "SQLite"), 0, Duration::ZERO);
    let kills = faults(5, 200);
    for round in 0..kills {
        let count = 300 + 100 * (round % 5);
        let acknowledged = killed_after(&path, count);
        writes += count;
        let dead = Instant::now();
        let store = SqliteStore::open(&path).unwrap();
        store.get(&key_of("any")).await.unwrap();
        slowest = slowest.max(dead.elapsed());
        for (id, last) in &acknowledged {
            let found = store.get(&key_of(id)).await.unwrap().map(|record| record.data);
            let found = found.map(|data| String::from_utf8(data.to_vec()).unwrap());
            // The write after the last acknowledged one may have been made, or not.
            let right = match (last.as_str(), found.as_deref()) {
                ("gone", found) => found.is_none(),
                ("4", found) => matches!(found, Some("4") | None),
                (last, Some(found)) => {
                    let (last, found): (u32, u32) = (last.parse().unwrap(), found.parse().unwrap());
                    found == last || found == last + 1
                }
                (_, None) => false,
            };
            assert!(right, "session {id}: acknowledged {last}, found {found:?}");
        }
        store.close().await;
        let file = rusqlite::Connection::open(&path).unwrap();
        let check: String = file.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(check, "ok");
    }
    figure
        .count("kills", kills)
        .count("acknowledged", writes)
        .count("lost", 0)
        .count("back_after_ms", slowest.as_millis() as usize)
        .report();
}

/// Kills the child once it has said that often that a write was acknowledged; its last word on each session.
fn killed_after(path: &Path, count: usize) -> HashMap<String, String> {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "crash::every_acknowledged_write_survives_kill_9", "--nocapture"])
        .env(FILE, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut acknowledged = HashMap::new();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut seen = 0;
    while let Some(Ok(line)) = lines.next() {
        let mut words = line.split(' ');
        if let (Some("ack"), Some(id), Some(value)) = (words.next(), words.next(), words.next()) {
            acknowledged.insert(id.to_owned(), value.to_owned());
            seen += 1;
        }
        if seen == count {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(seen >= count, "the child ended by itself after {seen} writes");
    acknowledged
}

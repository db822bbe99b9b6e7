//! Writers and readers beside a sweeper: what is alive stays, what is dead is not served.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum_generic_session::{
    Clock, Store, SystemClock,
    store::{Record, When, Written},
};

use super::{HOUR, key, living};

/// What became of them.
#[derive(Default, Debug)]
pub struct Counts {
    /// How many were told that they live on. On a slow machine some die before they can be kept.
    pub kept: AtomicUsize,
    pub live_lost: AtomicUsize,
    pub dead_served: AtomicUsize,
}

/// `sessions` short lives by each of `writers`, most of them kept alive by a touch or a write just before
/// they end. Margins are wide: a machine under load must not look like a broken store.
pub async fn short_lives<S: Store>(store: &Arc<S>, writers: usize, sessions: usize) -> Counts {
    let counts = Arc::new(Counts::default());
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..writers {
        let (store, counts) = (Arc::clone(store), Arc::clone(&counts));
        tasks.spawn(async move {
            for session in 0..sessions {
                one(&*store, &counts, writer + session).await;
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("a writer");
    }
    Arc::into_inner(counts).expect("all writers have ended")
}

async fn one(store: &impl Store, counts: &Counts, variant: usize) {
    let key = key();
    let brief = living(Duration::from_millis(40), "brief");
    store.set(&key, &brief, When::Absent).await.expect("a write");
    let longer = SystemClock.now().saturating_add(HOUR);
    let kept = match variant % 3 {
        0 => store.touch(&key, longer).await.expect("a touch"),
        1 => {
            let next = Record { expires_at: longer, ..living(HOUR, "kept") };
            store.set(&key, &next, When::Tagged(brief.tag)).await.expect("a write") == Written::Done
        }
        _ => false,
    };
    tokio::time::sleep(Duration::from_millis(60)).await;
    let found = store.get(&key).await.expect("a read").is_some();
    counts.kept.fetch_add(usize::from(kept), Ordering::SeqCst);
    counts.live_lost.fetch_add(usize::from(kept && !found), Ordering::SeqCst);
    counts.dead_served.fetch_add(usize::from(!kept && found), Ordering::SeqCst);
}

//! The sessions of a principal while they move, are written and end at the same time.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use tokio::task::yield_now;

use super::super::{
    bench::{Bench, Expected, expect},
    races::{Runner, WRITERS, race},
    report::{Broken, Verdict, ensure},
};
use crate::{
    id::{SessionId, StoreKey},
    store::{ByPrincipal, Layout, Owner, Record, Tag, When, Which, Written},
};

/// What requests do with a session of the principal while all of them end.
#[derive(Clone, Copy)]
enum Busy {
    Moves,
    Writes,
    Prolongs,
}

/// Keeps a session busy until it is refused. Nothing may succeed that begins after `over`.
async fn busy<S: ByPrincipal>(
    bench_key: impl Fn() -> StoreKey,
    store: Arc<S>,
    (mut key, mut record): (StoreKey, Record),
    how: Busy,
    over: Arc<AtomicBool>,
) -> Verdict {
    loop {
        yield_now().await;
        let late = over.load(SeqCst);
        let next = Record { tag: Tag::random(), ..record.clone() };
        let when = When::Tagged(record.tag);
        let answer = match how {
            Busy::Moves => {
                let new = bench_key();
                let answer = store.rotate(&key, when, &new, &next).await?;
                if answer == Written::Done {
                    key = new;
                }
                answer
            }
            Busy::Writes => store.set(&key, &next, when).await?,
            Busy::Prolongs => {
                if store.touch(&key, record.expires_at).await? {
                    Written::Done
                } else {
                    Written::Gone
                }
            }
        };
        match answer {
            Written::Gone => break,
            Written::Done if late => {
                return Err(Broken("a request after destroy_of had returned found its session alive".into()));
            }
            Written::Done => {
                if !matches!(how, Busy::Prolongs) {
                    record = next;
                }
            }
            Written::Conflict(_) => return Err(Broken("a conflict, though nobody else writes".into())),
        }
    }
    let left = store.get(&key).await?;
    ensure(left.is_none(), || "a request was told that its session is gone, and the session lives".into())
}

/// Nothing escapes the end of all, whatever its requests do at that moment.
pub(in super::super) async fn none_escapes<S: ByPrincipal>(bench: &Bench<S>) -> Verdict {
    for _ in 0..bench.rounds {
        let ada = bench.somebody();
        let over = Arc::new(AtomicBool::new(false));
        let mut runners: Vec<Runner<()>> = Vec::new();
        for n in 0..WRITERS {
            let session = bench.stored_for(&ada, &format!("{n}")).await?;
            let how = [Busy::Moves, Busy::Moves, Busy::Writes, Busy::Prolongs][n % 4];
            let prefix = bench.prefix.clone();
            let key = move || StoreKey::hashed(&prefix, &SessionId::random());
            runners.push(Box::pin(busy(key, bench.node(n), session, how, Arc::clone(&over))));
        }
        let (store, prefix, principal) = (bench.node(1), bench.prefix.clone(), ada.clone());
        runners.push(Box::pin(async move {
            yield_now().await;
            let owner = Owner { prefix: &prefix, principal: &principal };
            store.destroy_of(owner, Which::All).await?;
            over.store(true, SeqCst);
            let left = store.sessions_of(owner).await?.len();
            ensure(left == 0, || {
                format!("{left} sessions were left when destroy_of(Which::All) had returned")
            })
        }));
        race(runners).await?;
        bench.expect_list("after the end of all", &ada, &[]).await?;
    }
    Ok(())
}

/// The one that is kept is not disturbed.
pub(in super::super) async fn one_is_kept<S: ByPrincipal>(bench: &Bench<S>) -> Verdict {
    for _ in 0..bench.rounds {
        let ada = bench.somebody();
        let (kept, first) = bench.stored_for(&ada, "kept").await?;
        let last = bench.owned(&ada, "kept, and written");
        let mut runners: Vec<Runner<u64>> = Vec::new();
        let over = Arc::new(AtomicBool::new(false));
        for n in 1..WRITERS / 2 {
            let session = bench.stored_for(&ada, &format!("{n}")).await?;
            let (prefix, store, over) = (bench.prefix.clone(), bench.node(n), Arc::clone(&over));
            let key = move || StoreKey::hashed(&prefix, &SessionId::random());
            runners.push(Box::pin(async move {
                busy(key, store, session, Busy::Moves, over).await?;
                Ok(0)
            }));
        }
        let (store, key, mine) = (bench.node(2), kept.clone(), last.clone());
        runners.push(Box::pin(async move {
            let answer = store.set(&key, &mine, When::Tagged(first.tag)).await?;
            expect("set of the session that is kept", &answer, Expected::Done)?;
            Ok(0)
        }));
        let (store, prefix, principal, keep) =
            (bench.node(3), bench.prefix.clone(), ada.clone(), kept.digest());
        runners.push(Box::pin(async move {
            let owner = Owner { prefix: &prefix, principal: &principal };
            let ended = store.destroy_of(owner, Which::AllBut(keep)).await?;
            over.store(true, SeqCst);
            Ok(ended)
        }));
        race(runners).await?;
        bench.expect_list("after the end of all others", &ada, &[(&kept, &last)]).await?;
    }
    Ok(())
}

/// A session that moves is in every list, under the one key or the other.
pub(in super::super) async fn always_listed<S: ByPrincipal>(bench: &Bench<S>) -> Verdict {
    let ada = bench.somebody();
    let mut runners: Vec<Runner<()>> = Vec::new();
    let moving = WRITERS / 2;
    for n in 0..moving {
        let (mut key, mut record) = bench.stored_for(&ada, &format!("{n}")).await?;
        let (store, prefix, rounds) = (bench.node(n), bench.prefix.clone(), bench.rounds);
        runners.push(Box::pin(async move {
            for _ in 0..rounds {
                yield_now().await;
                let new = StoreKey::hashed(&prefix, &SessionId::random());
                let next = Record { tag: Tag::random(), ..record.clone() };
                let answer = store.rotate(&key, When::Tagged(record.tag), &new, &next).await?;
                expect("rotate", &answer, Expected::Done)?;
                (key, record) = (new, next);
            }
            Ok(())
        }));
    }
    for n in 0..2 {
        let (store, prefix, principal, rounds) =
            (bench.node(n), bench.prefix.clone(), ada.clone(), bench.rounds);
        runners.push(Box::pin(async move {
            for _ in 0..rounds {
                yield_now().await;
                let found = store.sessions_of(Owner { prefix: &prefix, principal: &principal }).await?;
                let names: BTreeSet<_> = found.iter().map(|found| found.record.data.clone()).collect();
                ensure(names.len() == moving, || {
                    format!("a list showed {} of {moving} sessions that were being moved", names.len())
                })?;
            }
            Ok(())
        }));
    }
    race(runners).await?;
    bench.expect_ended("after they have moved", &ada, Which::All, moving as u64).await
}

/// Logins at the time of the end of all: each is dead, or alive and listed.
pub(in super::super) async fn logins<S: ByPrincipal>(bench: &Bench<S>) -> Verdict {
    for _ in 0..bench.rounds {
        let ada = bench.somebody();
        let mut sessions = Vec::new();
        let mut runners: Vec<Runner<()>> = Vec::new();
        for n in 0..WRITERS {
            let (store, key) = (bench.node(n), bench.key(Layout::Native));
            let (old, guest) = bench.stored(Layout::Native, "a guest's").await?;
            let record = bench.owned(&ada, &format!("{n}"));
            sessions.push((key.clone(), record.clone()));
            runners.push(Box::pin(async move {
                let answer = match n % 2 {
                    0 => store.set(&key, &record, When::Absent).await?,
                    _ => store.rotate(&old, When::Tagged(guest.tag), &key, &record).await?,
                };
                // One that is ended as it comes may be told so.
                match answer {
                    Written::Gone if n % 2 == 1 => Ok(()),
                    answer => expect("a login", &answer, Expected::Done),
                }
            }));
        }
        let (store, prefix, principal) = (bench.node(1), bench.prefix.clone(), ada.clone());
        runners.push(Box::pin(async move {
            yield_now().await;
            store.destroy_of(Owner { prefix: &prefix, principal: &principal }, Which::All).await?;
            Ok(())
        }));
        race(runners).await?;
        let mut live = Vec::new();
        for (key, record) in &sessions {
            if bench.store().get(key).await?.is_some() {
                live.push((key, record));
            }
        }
        bench.expect_list("after logins at the time of the end of all", &ada, &live).await?;
    }
    Ok(())
}

//! Many writers on several nodes. Every check holds in any order of events, so none can fail by chance; the
//! rounds are there to give a store that breaks the rule the occasion.

use std::{pin::Pin, sync::Arc};

use tokio::{
    sync::Barrier,
    task::{JoinSet, yield_now},
};

use super::{
    bench::{Bench, Expected, HOUR, brief, expect},
    report::{Broken, Verdict, ensure},
};
use crate::{
    clock::Timestamp,
    id::StoreKey,
    store::{Layout, Record, Store, Tag, When, Written},
};

/// Writers of a race, spread over the nodes.
pub(super) const WRITERS: usize = 16;

pub(super) type Runner<T> = Pin<Box<dyn Future<Output = Verdict<T>> + Send>>;

/// Runs all of them, none before the last one stands at the line. Results come in the order of the runners;
/// the first failure stops them all.
pub(super) async fn race<T: Send + 'static>(runners: Vec<Runner<T>>) -> Verdict<Vec<T>> {
    let line = Arc::new(Barrier::new(runners.len()));
    let mut running = JoinSet::new();
    for (place, runner) in runners.into_iter().enumerate() {
        let line = Arc::clone(&line);
        running.spawn(async move {
            line.wait().await;
            Verdict::Ok((place, runner.await?))
        });
    }
    let mut results = Vec::with_capacity(running.len());
    while let Some(done) = running.join_next().await {
        results.push(done.map_err(|_| Broken("a writer panicked".into()))??);
    }
    results.sort_by_key(|(place, _)| *place);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}

fn tag_for(layout: Layout, data: &[u8]) -> Tag {
    if layout == Layout::Plain { Tag::of(data) } else { Tag::random() }
}

/// Adds one, `times` times, by compare-and-swap. Each time, all adders have read before the first one writes,
/// so that all but one must be refused; each further try starts from the record that the refusal showed.
async fn add<S: Store>(store: Arc<S>, key: StoreKey, line: Arc<Barrier>, times: usize) -> Verdict<usize> {
    let nothing = || Broken("the counter was gone in the middle of the race".into());
    for _ in 0..times {
        let mut current = store.get(&key).await?.ok_or_else(nothing)?;
        line.wait().await;
        loop {
            // A store in memory answers without ever waiting: let others in.
            yield_now().await;
            let next = format!("{}", number(&current)? + 1);
            let mine =
                Record { tag: tag_for(key.layout(), next.as_bytes()), data: next.into(), ..current.clone() };
            match store.set(&key, &mine, When::Tagged(current.tag)).await? {
                Written::Done => break,
                Written::Gone => return Err(nothing()),
                Written::Conflict(Some(shown)) => {
                    ensure(shown.tag != current.tag, || {
                        "a conflict showed the very tag that was asked for: a record from before the write"
                            .into()
                    })?;
                    current = shown;
                }
                Written::Conflict(None) => current = store.get(&key).await?.ok_or_else(nothing)?,
            }
        }
        line.wait().await;
    }
    Ok(times)
}

fn number(record: &Record) -> Verdict<usize> {
    let text = std::str::from_utf8(&record.data).unwrap_or_default();
    text.parse().map_err(|_| Broken(format!("the counter became {}", brief(record))))
}

/// No increment is lost.
pub(super) async fn counter<S: Store>(bench: &Bench<S>, layout: Layout) -> Verdict {
    let times = bench.rounds.div_ceil(4);
    let (key, _) = bench.stored(layout, "0").await?;
    let line = Arc::new(Barrier::new(WRITERS));
    let runners = (0..WRITERS)
        .map(|n| -> Runner<usize> { Box::pin(add(bench.node(n), key.clone(), Arc::clone(&line), times)) })
        .collect();
    let swaps: usize = race(runners).await?.into_iter().sum();
    let Some(end) = bench.store().get(&key).await? else {
        return Err(Broken("the counter was gone after the race".into()));
    };
    let count = number(&end)?;
    ensure(count == swaps, || {
        format!("{WRITERS} writers were told Done {swaps} times, the counter stands at {count}")
    })
}

/// One creator wins, and what is there is the winner's.
pub(super) async fn create<S: Store>(bench: &Bench<S>, layout: Layout) -> Verdict {
    for _ in 0..bench.rounds {
        let key = bench.key(layout);
        let runners = (0..WRITERS)
            .map(|n| -> Runner<_> {
                let (store, key) = (bench.node(n), key.clone());
                let mine = bench.record(layout, &format!("creator {n}"));
                Box::pin(async move { Ok((store.set(&key, &mine, When::Absent).await?, mine)) })
            })
            .collect();
        let answers = race(runners).await?;
        let winners: Vec<_> =
            answers.iter().filter(|(answer, _)| *answer == Written::Done).map(|(_, mine)| mine).collect();
        let [winner] = winners[..] else {
            return Err(Broken(format!("{} of {WRITERS} creators of one key were told Done", winners.len())));
        };
        for (answer, mine) in &answers {
            if mine.tag != winner.tag {
                expect("set(When::Absent) of a creator who lost", answer, Expected::Conflict(winner))?;
            }
        }
        bench.expect_live("after a race of creators", &key, winner).await?;
    }
    Ok(())
}

/// What is destroyed stays so, whatever was under way.
pub(super) async fn destroy<S: Store>(bench: &Bench<S>, layout: Layout) -> Verdict {
    for _ in 0..bench.rounds {
        let (key, first) = bench.stored(layout, "first").await?;
        let later = bench.after(HOUR * 2);
        // All writers are in the middle of their work when the session ends.
        let line = Arc::new(Barrier::new(WRITERS + 1));
        let mut runners: Vec<Runner<()>> = Vec::new();
        for n in 0..WRITERS {
            let (store, key, tag, line) = (bench.node(n), key.clone(), first.tag, Arc::clone(&line));
            let mine: Vec<_> = (0..4).map(|w| bench.record(layout, &format!("writer {n}.{w}"))).collect();
            runners.push(Box::pin(async move {
                let mut expected = tag;
                for (write, record) in mine.iter().enumerate() {
                    if write == 1 {
                        line.wait().await;
                    }
                    match n % 3 {
                        0 => drop(store.set(&key, record, When::Present).await?),
                        1 => match store.set(&key, record, When::Tagged(expected)).await? {
                            Written::Done => expected = record.tag,
                            Written::Conflict(Some(shown)) => expected = shown.tag,
                            Written::Gone | Written::Conflict(None) => {}
                        },
                        _ => drop(store.touch(&key, later).await?),
                    }
                }
                Ok(())
            }));
        }
        let (store, doomed) = (bench.node(1), key.clone());
        runners.push(Box::pin(async move {
            line.wait().await;
            Ok(store.destroy(&doomed).await?)
        }));
        race(runners).await?;
        bench.expect_absent("after a race of writers with one destroy, all of them through", &key).await?;
    }
    Ok(())
}

/// Rotations and writes that start from one tag: one of them wins, and the losers leave nothing.
pub(super) async fn rotate<S: Store>(bench: &Bench<S>, layout: Layout) -> Verdict {
    for round in 0..bench.rounds {
        let (old, before) = bench.stored(layout, &format!("before {round}")).await?;
        let when = When::Tagged(before.tag);
        let moved: Vec<_> = (0..WRITERS)
            .map(|n| (bench.key(layout), bench.record(layout, &format!("rotated by {n}"))))
            .collect();
        let runners = moved
            .iter()
            .cloned()
            .enumerate()
            .map(|(n, (new, mine))| -> Runner<Written> {
                let (store, old) = (bench.node(n), old.clone());
                Box::pin(async move {
                    if n % 2 == 0 {
                        Ok(store.rotate(&old, when, &new, &mine).await?)
                    } else {
                        Ok(store.set(&old, &mine, when).await?)
                    }
                })
            })
            .collect();
        let answers = race(runners).await?;
        let winners: Vec<_> = (0..WRITERS).filter(|n| answers[*n] == Written::Done).collect();
        let [winner] = winners[..] else {
            let count = winners.len();
            return Err(Broken(format!("{count} of {WRITERS} rotations and writes from one tag were Done")));
        };
        for (n, (new, mine)) in moved.iter().enumerate() {
            if n != winner {
                bench.expect_absent("the new key of a rotation that lost", new).await?;
            } else if n % 2 == 0 {
                bench.expect_live("the new key of the rotation that won", new, mine).await?;
                bench.expect_absent("the old key, a rotation having won", &old).await?;
            } else {
                bench.expect_live("the old key, a write having won", &old, mine).await?;
            }
        }
    }
    Ok(())
}

/// Touches all around do not put old data back.
pub(super) async fn touch<S: Store>(bench: &Bench<S>, layout: Layout) -> Verdict {
    let (key, _) = bench.stored(layout, "0").await?;
    let line = Arc::new(Barrier::new(WRITERS));
    let mut runners: Vec<Runner<usize>> =
        vec![Box::pin(add(bench.node(0), key.clone(), Arc::clone(&line), bench.rounds))];
    for n in 1..WRITERS {
        let (store, key, times, line) = (bench.node(n), key.clone(), bench.rounds, Arc::clone(&line));
        let later: Vec<Timestamp> = (1..=10).map(|hours| bench.after(HOUR * hours)).collect();
        runners.push(Box::pin(async move {
            // In step with the adder: each touch at the time of one write.
            for moment in later.iter().cycle().take(times) {
                line.wait().await;
                let alive = store.touch(&key, *moment).await?;
                ensure(alive, || "touch of a live record said false".into())?;
                line.wait().await;
            }
            Ok(0)
        }));
    }
    let swaps: usize = race(runners).await?.into_iter().sum();
    let Some(end) = bench.store().get(&key).await? else {
        return Err(Broken("the record was gone after a race of touches and writes".into()));
    };
    let count = number(&end)?;
    ensure(count == swaps, || format!("{swaps} writes were Done among touches, {count} of them are there"))
}

/// Readers see whole records: the data, the tag and the principal of one write.
pub(super) async fn read<S: Store>(bench: &Bench<S>, layout: Layout) -> Verdict {
    let (key, _) = bench.stored(layout, "first").await?;
    let mut runners: Vec<Runner<()>> = Vec::new();
    for n in 0..WRITERS {
        let (store, key, times) = (bench.node(n), key.clone(), bench.rounds);
        let expires_at = bench.after(HOUR);
        runners.push(Box::pin(async move {
            for write in 0..times {
                yield_now().await;
                if n % 2 == 0 {
                    let text = format!("{n}.{write} ").repeat(200);
                    let principal = (layout == Layout::Native).then(|| text[..text.len() / 200].into());
                    let tag = Tag::of(text.as_bytes());
                    let mine = Record { tag, expires_at, principal, data: text.into() };
                    let answer = store.set(&key, &mine, When::Present).await?;
                    expect("set(When::Present) of a live record", &answer, Expected::Done)?;
                } else if let Some(found) = store.get(&key).await? {
                    whole(&found)?;
                }
            }
            Ok(())
        }));
    }
    race(runners).await?;
    let Some(end) = bench.store().get(&key).await? else {
        return Err(Broken("the record was gone after a race of writers and readers".into()));
    };
    whole(&end)
}

/// The parts of a record that `read` wrote belong together; the first record, "first", has none.
fn whole(record: &Record) -> Verdict {
    if &record.data[..] == b"first" {
        return Ok(());
    }
    let own = record.principal.as_ref().is_none_or(|name| record.data.starts_with(name.as_bytes()));
    ensure(own && record.tag == Tag::of(&record.data), || {
        format!("a reader saw the tag, the data and the principal of different writes: {}", brief(record))
    })
}

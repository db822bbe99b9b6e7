//! The end of a record's life, and what moves it.

use std::time::Duration;

use super::{
    bench::{Bench, Expected, HOUR, MOMENT, expect},
    report::{Broken, Verdict, ensure},
};
use crate::{
    clock::Timestamp,
    id::StoreKey,
    store::{Layout, Record, Store, Tag, When, Written},
};

impl<S: Store> Bench<S> {
    /// A record that lives for `life`, under a new key.
    async fn lives_for(&self, layout: Layout, life: Duration) -> Verdict<(StoreKey, Record)> {
        let key = self.key(layout);
        let mut record = self.record(layout, "brief");
        record.expires_at = self.after(life);
        self.create(&key, &record).await?;
        Ok((key, record))
    }
}

/// An expired record is none, whoever asks.
pub(super) async fn expired<S: Store>(bench: &Bench<S>, layout: Layout) -> Verdict {
    let store = bench.store();
    let mut keys = Vec::new();
    let mut last = bench.now();
    for _ in 0..6 {
        let (key, record) = bench.lives_for(layout, MOMENT).await?;
        last = record.expires_at;
        keys.push((key, record));
    }
    bench.outlast(last).await;
    for (key, _) in &keys {
        bench.expect_absent("after its expiry", key).await?;
    }
    let new = bench.record(layout, "new");
    let whens = [When::Absent, When::Present, When::Tagged(keys[2].1.tag), When::Tagged(Tag::random())];
    for (when, (key, _)) in whens.into_iter().zip(&keys) {
        let what = format!("set({when:?}) over an expired record");
        let answer = store.set(key, &new, when).await?;
        if when == When::Absent {
            expect(&what, &answer, Expected::Done)?;
            bench.expect_live("after set(When::Absent) over an expired record", key, &new).await?;
        } else {
            expect(&what, &answer, Expected::Gone)?;
            bench.expect_absent(&format!("after a refused {what}"), key).await?;
        }
    }
    let (key, _) = &keys[4];
    ensure(!store.touch(key, bench.after(HOUR)).await?, || "touch of an expired record said true".into())?;
    bench.expect_absent("after touch of an expired record", key).await?;

    // The very write that has expired: it is no retry, there is nothing to recognise.
    let (key, mut record) = keys.swap_remove(5);
    record.expires_at = bench.after(HOUR);
    let answer = store.set(&key, &record, When::Tagged(record.tag)).await?;
    expect("set of the tag that has expired", &answer, Expected::Gone)?;
    bench.expect_absent("after a set of the tag that has expired", &key).await?;
    store.destroy(&key).await?;
    Ok(())
}

/// A write whose time has passed already removes, under its condition.
pub(super) async fn written_expired<S: Store>(bench: &Bench<S>, layout: Layout) -> Verdict {
    let store = bench.store();
    for moment in [Timestamp::EPOCH, Timestamp::from_millis(bench.now().as_millis().saturating_sub(10_000))] {
        let (key, live) = bench.stored(layout, "live").await?;
        let mut past = bench.record(layout, "past");
        past.expires_at = moment;
        for when in [When::Absent, When::Tagged(Tag::random())] {
            let answer = store.set(&key, &past, when).await?;
            expect(&format!("set({when:?}) of an expired record"), &answer, Expected::Conflict(&live))?;
            bench.expect_live(&format!("after a refused set({when:?})"), &key, &live).await?;
        }
        let answer = store.set(&key, &past, When::Tagged(live.tag)).await?;
        expect("set(When::Tagged) of an expired record", &answer, Expected::Done)?;
        bench.expect_absent("after set(When::Tagged) of an expired record", &key).await?;

        let (key, _) = bench.stored(layout, "live").await?;
        let answer = store.set(&key, &past, When::Present).await?;
        expect("set(When::Present) of an expired record", &answer, Expected::Done)?;
        bench.expect_absent("after set(When::Present) of an expired record", &key).await?;

        let key = bench.key(layout);
        let answer = store.set(&key, &past, When::Absent).await?;
        expect("set(When::Absent) of an expired record", &answer, Expected::Done)?;
        bench.expect_absent("after set(When::Absent) of an expired record", &key).await?;
    }
    Ok(())
}

/// A write sets the expiry, to a later and to an earlier moment alike; only `touch` never shortens.
pub(super) async fn of_a_write<S: Store>(bench: &Bench<S>, layout: Layout) -> Verdict {
    let store = bench.store();
    let (shorter, live) = bench.stored(layout, "live").await?;
    let mut brief = bench.record(layout, "brief");
    brief.expires_at = bench.after(MOMENT);
    let answer = store.set(&shorter, &brief, When::Tagged(live.tag)).await?;
    expect("set(When::Tagged) with an earlier expiry", &answer, Expected::Done)?;

    let (key, new) = outlives(bench, layout, By::Write).await?;
    bench.expect_live("after a set with a later expiry, at the earlier one", &key, &new).await?;
    bench.outlast(brief.expires_at).await;
    bench.expect_absent("after a set with an earlier expiry, at that moment", &shorter).await
}

/// What gives a record a later end.
#[derive(Clone, Copy)]
enum By {
    Write,
    Touch,
}

/// Extends a record that expires soon, then waits for that moment. A machine so slow that the record has gone
/// before it could be extended gets another try with a longer life.
async fn outlives<S: Store>(bench: &Bench<S>, layout: Layout, by: By) -> Verdict<(StoreKey, Record)> {
    for tries in 0..6 {
        let (key, record) = bench.lives_for(layout, (MOMENT + bench.resolution) * (1 << tries)).await?;
        let (extended, new) = match by {
            By::Write => {
                let new = bench.record(layout, "new");
                let answer = bench.store().set(&key, &new, When::Tagged(record.tag)).await?;
                (answer == Written::Done, new)
            }
            By::Touch => {
                let new = Record { expires_at: bench.after(HOUR), ..record.clone() };
                (bench.store().touch(&key, new.expires_at).await?, new)
            }
        };
        if extended {
            bench.outlast(record.expires_at).await;
            return Ok((key, new));
        }
        ensure(bench.now() >= record.expires_at, || "a live record was not extended".into())?;
    }
    Err(Broken("the store took longer than seconds to extend a record".into()))
}

/// Alive until the millisecond before, gone from the moment on.
pub(super) async fn exact<S: Store>(bench: &Bench<S>, layout: Layout) -> Verdict {
    let Some(clock) = &bench.clock else { return Ok(()) };
    let (key, record) = bench.lives_for(layout, MOMENT).await?;
    clock.set(Timestamp::from_millis(record.expires_at.as_millis() - 1));
    bench.expect_live("a millisecond before its expiry", &key, &record).await?;
    clock.set(record.expires_at);
    bench.expect_absent("at the moment of its expiry", &key).await
}

/// A later end, nothing else changed.
pub(super) async fn touch<S: Store>(bench: &Bench<S>, layout: Layout) -> Verdict {
    let store = bench.store();
    let nothing = bench.key(layout);
    ensure(!store.touch(&nothing, bench.after(HOUR)).await?, || "touch of nothing said true".into())?;
    bench.expect_absent("after touch of nothing", &nothing).await?;

    let (key, mut record) = bench.stored(layout, "kept").await?;
    record.expires_at = bench.after(HOUR * 2);
    ensure(store.touch(&key, record.expires_at).await?, || "touch of a live record said false".into())?;
    bench.expect_live("after touch", &key, &record).await?;

    let later = bench.record(layout, "later");
    let answer = store.set(&key, &later, When::Tagged(record.tag)).await?;
    expect("set(When::Tagged) with the tag from before the touch", &answer, Expected::Done)?;

    let (key, record) = outlives(bench, layout, By::Touch).await?;
    bench.expect_live("after touch, at the expiry from before", &key, &record).await
}

/// Neither an earlier end nor one in the past shortens a life.
pub(super) async fn never_shorter<S: Store>(bench: &Bench<S>, layout: Layout) -> Verdict {
    let store = bench.store();
    let (key, record) = bench.stored(layout, "kept").await?;
    let soon = bench.after(MOMENT);
    for end in [soon, Timestamp::EPOCH, record.expires_at] {
        ensure(store.touch(&key, end).await?, || "touch of a live record said false".into())?;
        bench.expect_live("after touch with an earlier end", &key, &record).await?;
    }
    bench.outlast(soon).await;
    bench.expect_live("after touch with an earlier end, at that end", &key, &record).await
}

/// The last moment there is, written and touched.
pub(super) async fn far_future<S: Store>(bench: &Bench<S>, layout: Layout) -> Verdict {
    let store = bench.store();
    let key = bench.key(layout);
    let mut record = bench.record(layout, "for good");
    record.expires_at = Timestamp::MAX;
    bench.create(&key, &record).await?;
    bench.expect_live("after a set until Timestamp::MAX", &key, &record).await?;
    ensure(store.touch(&key, Timestamp::MAX).await?, || "touch of a live record said false".into())?;
    bench.expect_live("after a touch until Timestamp::MAX", &key, &record).await?;
    store.destroy(&key).await?;

    let (key, mut record) = bench.stored(layout, "for an hour").await?;
    record.expires_at = Timestamp::MAX;
    ensure(store.touch(&key, Timestamp::MAX).await?, || "touch of a live record said false".into())?;
    bench.expect_live("after a touch from an hour to Timestamp::MAX", &key, &record).await?;
    store.destroy(&key).await?;
    Ok(())
}

//! Rotation: a session under a new key.

use super::{
    bench::{Bench, Expected, MOMENT, expect},
    report::{Broken, Verdict, ensure},
};
use crate::store::{Layout, Store, Tag, When, Written};

/// A rotation that holds: new there, old gone for every later call.
pub(super) async fn rotate<S: Store>(bench: &Bench<S>, layout: Layout) -> Verdict {
    let store = bench.store();
    for present in [false, true] {
        let (old, before) = bench.stored(layout, "before").await?;
        let when = if present { When::Present } else { When::Tagged(before.tag) };
        let new = bench.key(layout);
        let mut moved = bench.record(layout, "moved");
        moved.principal = Some("alice".into());
        let answer = store.rotate(&old, when, &new, &moved).await?;
        expect(&format!("rotate({when:?}) of a live session"), &answer, Expected::Done)?;
        bench.expect_live("the new key after rotate", &new, &moved).await?;
        bench.expect_absent("the old key after rotate", &old).await?;
        let answer = store.set(&old, &before, When::Present).await?;
        expect("set(When::Present) of the old key after rotate", &answer, Expected::Gone)?;
        let alive = store.touch(&old, before.expires_at).await?;
        ensure(!alive, || "touch of the old key said true after rotate".into())?;

        let next = bench.record(layout, "next");
        let answer = store.set(&new, &next, When::Tagged(moved.tag)).await?;
        expect("set(When::Tagged) of the new key after rotate", &answer, Expected::Done)?;
    }

    // An expired record in the way is none.
    let (old, before) = bench.stored(layout, "before").await?;
    let new = bench.key(layout);
    let mut brief = bench.record(layout, "brief");
    brief.expires_at = bench.after(MOMENT);
    bench.create(&new, &brief).await?;
    bench.outlast(brief.expires_at).await;
    let moved = bench.record(layout, "moved");
    let answer = store.rotate(&old, When::Tagged(before.tag), &new, &moved).await?;
    expect("rotate to a key whose record has expired", &answer, Expected::Done)?;
    bench.expect_live("the new key after rotate over an expired record", &new, &moved).await
}

/// Every refusal, and that it changes nothing.
pub(super) async fn refused<S: Store>(bench: &Bench<S>, layout: Layout) -> Verdict {
    let store = bench.store();
    let moved = bench.record(layout, "moved");

    let mut brief = bench.record(layout, "brief");
    brief.expires_at = bench.after(MOMENT);
    let expired = bench.key(layout);
    bench.create(&expired, &brief).await?;
    bench.outlast(brief.expires_at).await;
    let (dead, was) = bench.stored(layout, "was").await?;
    store.destroy(&dead).await?;
    let gone = [("never was", bench.key(layout), moved.tag), ("is destroyed", dead, was.tag)];
    for (state, old, tag) in gone.into_iter().chain([("has expired", expired, brief.tag)]) {
        for when in [When::Present, When::Tagged(tag)] {
            let what = format!("rotate({when:?}) of a session that {state}");
            let new = bench.key(layout);
            expect(&what, &store.rotate(&old, when, &new, &moved).await?, Expected::Gone)?;
            bench.expect_absent(&format!("the new key after {what}"), &new).await?;
            bench.expect_absent(&format!("the old key after {what}"), &old).await?;
        }
    }

    let (old, before) = bench.stored(layout, "before").await?;
    let new = bench.key(layout);
    let answer = store.rotate(&old, When::Tagged(Tag::random()), &new, &moved).await?;
    expect("rotate with another tag than the live one", &answer, Expected::Conflict(&before))?;
    bench.expect_absent("the new key after a refused rotate", &new).await?;
    bench.expect_live("the old key after a refused rotate", &old, &before).await?;

    let (taken, other) = bench.stored(layout, "somebody else's").await?;
    let answer = store.rotate(&old, When::Tagged(before.tag), &taken, &moved).await?;
    if let Written::Conflict(Some(_)) = answer {
        let complaint = "rotate to a taken key: the conflict shows a record; it may only show that of `old`";
        return Err(Broken(complaint.into()));
    }
    expect("rotate to a taken key", &answer, Expected::Conflict(&before))?;
    bench.expect_live("the taken key after a refused rotate", &taken, &other).await?;
    bench.expect_live("the old key after a refused rotate", &old, &before).await
}

/// The reply was lost, the same rotation comes again.
pub(super) async fn retried<S: Store>(bench: &Bench<S>) -> Verdict {
    let store = bench.store();
    let layout = Layout::Native;
    let (old, before) = bench.stored(layout, "before").await?;
    let new = bench.key(layout);
    let moved = bench.record(layout, "moved");
    for round in ["first", "second"] {
        let answer = store.rotate(&old, When::Tagged(before.tag), &new, &moved).await?;
        expect(&format!("the same rotate, {round} time"), &answer, Expected::Done)?;
        bench.expect_live("the new key after the same rotate again", &new, &moved).await?;
        bench.expect_absent("the old key after the same rotate again", &old).await?;
    }
    Ok(())
}

//! The table of conditions, destruction, and how a store recognises a write that it has made already.

use super::{
    bench::{Bench, Expected, expect},
    report::{Verdict, ensure},
};
use crate::store::{Layout, Record, Store, Tag, When};

/// Every condition against nothing and against a live record. (`expiry::expired` has the third column.)
pub(super) async fn table<S: Store>(bench: &Bench<S>, layout: Layout) -> Verdict {
    let store = bench.store();
    for when in [When::Present, When::Tagged(Tag::random())] {
        let key = bench.key(layout);
        let answer = store.set(&key, &bench.record(layout, "new"), when).await?;
        expect(&format!("set({when:?}) where nothing is"), &answer, Expected::Gone)?;
        bench.expect_absent(&format!("after a refused set({when:?}) where nothing is"), &key).await?;
    }

    let (key, first) = bench.stored(layout, "first").await?;
    bench.expect_live("after set(When::Absent)", &key, &first).await?;

    let answer = store.set(&key, &bench.record(layout, "usurper"), When::Absent).await?;
    expect("set(When::Absent) over a live record", &answer, Expected::Conflict(&first))?;
    bench.expect_live("after a refused set(When::Absent)", &key, &first).await?;

    let second = bench.record(layout, "second");
    let answer = store.set(&key, &second, When::Present).await?;
    expect("set(When::Present) over a live record", &answer, Expected::Done)?;
    bench.expect_live("after set(When::Present)", &key, &second).await?;

    let third = bench.record(layout, "third");
    let answer = store.set(&key, &third, When::Tagged(second.tag)).await?;
    expect("set(When::Tagged) with the live tag", &answer, Expected::Done)?;
    bench.expect_live("after set(When::Tagged)", &key, &third).await?;

    for (whose, tag) in [("the tag before", second.tag), ("a tag that never was", Tag::random())] {
        let answer = store.set(&key, &bench.record(layout, "late"), When::Tagged(tag)).await?;
        expect(&format!("set(When::Tagged) with {whose}"), &answer, Expected::Conflict(&third))?;
        bench.expect_live(&format!("after a refused set(When::Tagged) with {whose}"), &key, &third).await?;
    }
    Ok(())
}

/// What comes back with a refusal is good enough for the next try, without a read.
pub(super) async fn conflict<S: Store>(bench: &Bench<S>, layout: Layout) -> Verdict {
    let (key, mut live) = bench.stored(layout, "0").await?;
    for round in 1..=5 {
        let mine = bench.record(layout, &format!("{round}"));
        let refusal = bench.store().set(&key, &mine, When::Tagged(Tag::random())).await?;
        expect("set(When::Tagged) with a tag that never was", &refusal, Expected::Conflict(&live))?;
        let answer = bench.store().set(&key, &mine, When::Tagged(live.tag)).await?;
        expect("set(When::Tagged) with the tag of the conflict's record", &answer, Expected::Done)?;
        live = mine;
    }
    bench.expect_live("after five conflicts and five writes", &key, &live).await
}

/// A destroyed session is gone for every call, and only for itself.
pub(super) async fn destroy<S: Store>(bench: &Bench<S>, layout: Layout) -> Verdict {
    let store = bench.store();
    let (neighbour, beside) = bench.stored(layout, "beside").await?;
    let (key, first) = bench.stored(layout, "first").await?;
    store.destroy(&key).await?;
    bench.expect_absent("after destroy", &key).await?;
    let late: Record = bench.record(layout, "late");
    for when in [When::Present, When::Tagged(first.tag)] {
        let answer = store.set(&key, &late, when).await?;
        expect(&format!("set({when:?}) after destroy"), &answer, Expected::Gone)?;
        bench.expect_absent(&format!("after set({when:?}) of a destroyed session"), &key).await?;
    }
    // The very write that was there: recognising it again would bring the dead back.
    let answer = store.set(&key, &first, When::Tagged(first.tag)).await?;
    expect("set of the same record after destroy", &answer, Expected::Gone)?;
    ensure(!store.touch(&key, late.expires_at).await?, || "touch said true after destroy".into())?;
    bench.expect_absent("after touch of a destroyed session", &key).await?;

    store.destroy(&key).await?;
    store.destroy(&bench.key(layout)).await?;
    bench.expect_live("another session, after destroy", &neighbour, &beside).await?;

    let again = bench.record(layout, "again");
    bench.create(&key, &again).await?;
    bench.expect_live("after destroy and set(When::Absent)", &key, &again).await
}

/// The reply was lost, the same write comes again.
pub(super) async fn retry<S: Store>(bench: &Bench<S>) -> Verdict {
    let store = bench.store();
    let layout = Layout::Native;
    let (key, first) = bench.stored(layout, "first").await?;
    let answer = store.set(&key, &first, When::Absent).await?;
    expect("the same set(When::Absent) a second time", &answer, Expected::Done)?;
    bench.expect_live("after the same set(When::Absent) twice", &key, &first).await?;

    let second = bench.record(layout, "second");
    for round in ["first", "second", "third"] {
        let answer = store.set(&key, &second, When::Tagged(first.tag)).await?;
        expect(&format!("the same set(When::Tagged), {round} time"), &answer, Expected::Done)?;
        bench.expect_live("after the same set(When::Tagged) again", &key, &second).await?;
    }
    let answer = store.set(&key, &second, When::Present).await?;
    expect("a set(When::Present) that has happened", &answer, Expected::Done)?;

    // Somebody has written since: the retry is late, not done.
    let third = bench.record(layout, "third");
    let answer = store.set(&key, &third, When::Tagged(second.tag)).await?;
    expect("set(When::Tagged) with the live tag", &answer, Expected::Done)?;
    let answer = store.set(&key, &second, When::Tagged(first.tag)).await?;
    expect("a retry after somebody else's write", &answer, Expected::Conflict(&third))?;
    bench.expect_live("after a retry that came too late", &key, &third).await
}

/// Two requests read `5` and both write `6`: the second is not the first one's retry.
pub(super) async fn equal_bytes<S: Store>(bench: &Bench<S>) -> Verdict {
    let store = bench.store();
    let layout = Layout::Plain;
    let (key, five) = bench.stored(layout, "5").await?;
    let six = bench.record(layout, "6");
    let answer = store.set(&key, &six, When::Tagged(five.tag)).await?;
    expect("set(When::Tagged) with the live tag", &answer, Expected::Done)?;
    let answer = store.set(&key, &six, When::Tagged(five.tag)).await?;
    expect("the same bytes from another request, with the tag before", &answer, Expected::Conflict(&six))?;
    let answer = store.set(&key, &six, When::Absent).await?;
    expect("set(When::Absent) of the very bytes that are there", &answer, Expected::Conflict(&six))?;
    let mut longer = bench.record(layout, "6");
    longer.expires_at = bench.after(super::bench::HOUR * 2);
    let answer = store.set(&key, &longer, When::Tagged(six.tag)).await?;
    expect("set(When::Tagged) of the same bytes with a longer life", &answer, Expected::Done)?;
    bench.expect_live("after the same bytes with a longer life", &key, &longer).await
}

//! What is stored comes back: bytes, principals, tags, keys, on every node.

use std::sync::Arc;

use axum::body::Bytes;
use tokio::task::JoinSet;

use super::{
    bench::{Bench, Expected, HOUR, expect},
    report::{Broken, Verdict, ensure},
};
use crate::{
    id::{SessionId, StoreKey},
    store::{Connection, Layout, Record, Store, Tag, When},
};

/// What a session may hold: everything.
fn samples() -> Vec<(&'static str, Bytes)> {
    let every_byte: Vec<u8> = (0..=255).collect();
    let noise = |len: usize| -> Bytes { (0..len).map(|i| (i * 31 % 251) as u8).collect() };
    vec![
        ("no bytes at all", Bytes::new()),
        ("one NUL", Bytes::from_static(b"\0")),
        ("NULs around text", Bytes::from_static(b"\0text\0")),
        ("every byte there is", every_byte.into()),
        ("bytes that are no UTF-8", Bytes::from_static(b"\xff\xfe\xc3\x28\x80")),
        ("unicode", Bytes::from_static("{\"Zoë\":\"日本語 🦀 e\u{301} \u{2028}\"}".as_bytes())),
        ("quotes and escapes", Bytes::from_static(b"'); DROP TABLE sessions;-- \\ \" ` $1 %s \r\n\t")),
        ("spaces at both ends", Bytes::from_static(b"  text  ")),
        ("a byte less than 64 KiB", noise((1 << 16) - 1)),
        ("64 KiB", noise(1 << 16)),
        ("a byte more than 64 KiB", noise((1 << 16) + 1)),
        ("1 MiB", noise(1 << 20)),
    ]
}

/// Any bytes, created and replaced.
pub(super) async fn bytes<S: Store>(bench: &Bench<S>, layout: Layout) -> Verdict {
    let (replaced, mut live) = bench.stored(layout, "before").await?;
    for (what, data) in samples() {
        let record = bench.record_of(layout, data);
        let key = bench.key(layout);
        bench.create(&key, &record).await?;
        bench.expect_live(&format!("a record of {what}"), &key, &record).await?;
        let answer = bench.store().set(&replaced, &record, When::Tagged(live.tag)).await?;
        expect(&format!("set(When::Tagged) of {what}"), &answer, Expected::Done)?;
        bench.expect_live(&format!("a record replaced by {what}"), &replaced, &record).await?;
        live = record;
        bench.store().destroy(&key).await?;
    }
    Ok(())
}

/// Given, changed, taken away, kept by touch.
pub(super) async fn principal<S: Store>(bench: &Bench<S>) -> Verdict {
    let layout = Layout::Native;
    let (key, mut live) = bench.stored(layout, "anonymous").await?;
    let long = "x".repeat(255);
    let names = [Some("alice"), Some("bob"), None, Some(""), Some("Zoë 🦀 'or'1'='1"), Some(&long), None];
    for name in names {
        let mut next = bench.record(layout, "data");
        next.principal = name.map(Into::into);
        let answer = bench.store().set(&key, &next, When::Tagged(live.tag)).await?;
        expect("set(When::Tagged) with another principal", &answer, Expected::Done)?;
        bench.expect_live("after a change of the principal", &key, &next).await?;
        next.expires_at = bench.after(HOUR * 2);
        let alive = bench.store().touch(&key, next.expires_at).await?;
        ensure(alive, || "touch of a live record said false".into())?;
        bench.expect_live("touch of a record with a principal", &key, &next).await?;
        live = next;
    }
    Ok(())
}

/// Tags are any eight bytes, also those that text mistakes for something.
pub(super) async fn tags<S: Store>(bench: &Bench<S>) -> Verdict {
    let layout = Layout::Native;
    let (key, mut live) = bench.stored(layout, "0").await?;
    let odd =
        [[0; 8], [0xff; 8], *b"\0\n\r\x1a'\\\"%", *b"        ", [0x80, 0, 0, 0, 0, 0, 0, 0], *b"12345678"];
    for tag in odd.map(Tag::from) {
        let next = Record { tag, ..bench.record(layout, "data") };
        // A tag that differs in one bit only is another tag.
        let mut near = *live.tag.as_bytes();
        near[7] ^= 1;
        let answer = bench.store().set(&key, &next, When::Tagged(near.into())).await?;
        expect("set(When::Tagged), one bit off", &answer, Expected::Conflict(&live))?;
        let answer = bench.store().set(&key, &next, When::Tagged(live.tag)).await?;
        expect(&format!("set(When::Tagged) to {tag:?}"), &answer, Expected::Done)?;
        bench.expect_live("after a write with an odd tag", &key, &next).await?;
        live = next;
    }
    Ok(())
}

/// Keys that a careless engine takes for one another, or for a command.
pub(super) async fn keys<S: Store>(bench: &Bench<S>) -> Verdict {
    let long = "k".repeat(255);
    let ids = [
        "a", "A", "aa", "a.", "a:", "a*", "a?", "a%", "a_", "a'", "a`", "{a}", "{}a", "[a]", "a/../b", "$1",
        "0", "00", "null", "a--", "~", "!", "-1", "1e3", "01", "s:a.b",
    ];
    let mut all = Vec::new();
    for layout in [Layout::Native, Layout::Plain] {
        let id = |text: &str| SessionId::parse(text).ok_or_else(|| Broken("no id".into()));
        let prefix = format!("{}{}", bench.prefix, if layout == Layout::Plain { "p:" } else { "n:" });
        for text in ids {
            all.push(StoreKey::plain(&prefix, &id(text)?).with_layout(layout));
        }
        for last in ["a", "b", "A"] {
            all.push(StoreKey::plain(&prefix, &id(&format!("{long}{last}"))?).with_layout(layout));
        }
        for more in ["", " ", "é", "e\u{301}", "ß", "ss", "SS", "日本", "a", "%", "*"] {
            let prefix = format!("{prefix}{more}:");
            all.push(StoreKey::plain(&prefix, &id("same")?).with_layout(layout));
            all.push(StoreKey::hashed(&prefix, &id("same")?).with_layout(layout));
        }
    }
    let mut stored = Vec::new();
    for (number, key) in all.into_iter().enumerate() {
        let record = bench.record(key.layout(), &format!("session {number}"));
        let answer = bench.store().set(&key, &record, When::Absent).await?;
        expect(&format!("set(When::Absent) under the {number}. of the odd keys"), &answer, Expected::Done)?;
        stored.push((key, record));
    }
    for (number, (key, record)) in stored.iter().enumerate() {
        bench.expect_live(&format!("the {number}. of the odd keys"), key, record).await?;
    }
    for (number, (key, _)) in stored.iter().enumerate().step_by(2) {
        bench.store().destroy(key).await?;
        bench.expect_absent(&format!("the {number}. of the odd keys after its destroy"), key).await?;
    }
    for (number, (key, record)) in stored.iter().enumerate().skip(1).step_by(2) {
        bench.expect_live(&format!("the {number}. of the odd keys, others destroyed"), key, record).await?;
    }
    Ok(())
}

/// What one node did, the next one sees.
pub(super) async fn nodes_agree<S: Store>(bench: &Bench<S>, layout: Layout) -> Verdict {
    let (key, mut live) = bench.stored(layout, "0").await?;
    for round in 1..=bench.nodes.len() * 2 {
        let (writer, reader) = (bench.node(round), bench.node(round + 1));
        bench.expect_live_on(&reader, "a write, read on another node", &key, &live).await?;
        let next = bench.record(layout, &format!("{round}"));
        let answer = writer.set(&key, &next, When::Tagged(live.tag)).await?;
        expect("set(When::Tagged) with a tag from another node", &answer, Expected::Done)?;
        let stale = bench.record(layout, "stale");
        let answer = reader.set(&key, &stale, When::Tagged(live.tag)).await?;
        expect("set(When::Tagged) after another node's write", &answer, Expected::Conflict(&next))?;
        live = next;
    }
    bench.node(0).destroy(&key).await?;
    for node in &bench.nodes {
        let found = node.get(&key).await?;
        ensure(found.is_none(), || "get found a session that another node has destroyed".into())?;
        let answer = node.set(&key, &live, When::Present).await?;
        expect("set(When::Present) after another node's destroy", &answer, Expected::Gone)?;
    }
    Ok(())
}

/// Many sessions from many nodes at once, each its own.
pub(super) async fn batch<S: Store>(bench: &Bench<S>, layout: Layout) -> Verdict {
    const WRITERS: usize = 8;
    const EACH: usize = 64;
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (store, other) = (bench.node(writer), bench.node(writer + 1));
        let mine: Vec<_> =
            (0..EACH).map(|n| (bench.key(layout), bench.record(layout, &format!("{writer}-{n}")))).collect();
        writers.spawn(async move {
            for (key, record) in &mine {
                let answer = store.set(key, record, When::Absent).await?;
                expect("set(When::Absent) among many", &answer, Expected::Done)?;
            }
            Verdict::Ok((other, mine))
        });
    }
    while let Some(done) = writers.join_next().await {
        let (node, mine): (Arc<S>, Vec<_>) = done.map_err(|_| Broken("a writer panicked".into()))??;
        for (key, record) in &mine {
            bench.expect_live_on(&node, "one session among many", key, record).await?;
            node.destroy(key).await?;
        }
    }
    Ok(())
}

/// A store that answers also says that it is connected.
pub(super) fn status<S: Store>(bench: &Bench<S>) -> Verdict {
    let Some(status) = bench.store().connection() else { return Ok(()) };
    let now = *status.borrow();
    ensure(now == Connection::Connected, || {
        "`connection` said Disconnected after a run of calls that were answered".into()
    })
}

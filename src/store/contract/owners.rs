//! Sessions by their principal: found by it, ended by it, and by nobody else's.

pub(super) mod races;

use std::collections::BTreeMap;

use super::{
    bench::{Bench, Expected, HOUR, MOMENT, expect},
    report::{Broken, Verdict, ensure},
};
use crate::{
    id::{SessionId, StoreKey},
    store::{ByPrincipal, Found, Layout, Owner, Record, Tag, When, Which},
};

/// More than fit into one page of anything.
const MANY: usize = 300;

impl<S: ByPrincipal> Bench<S> {
    /// Nobody whom another check knows.
    fn somebody(&self) -> String {
        format!("principal {}", &SessionId::random().expose()[..12])
    }

    fn owner<'a>(&'a self, principal: &'a str) -> Owner<'a> {
        Owner { prefix: &self.prefix, principal }
    }

    fn owned(&self, principal: &str, text: &str) -> Record {
        Record { principal: Some(principal.into()), ..self.record(Layout::Native, text) }
    }

    async fn stored_for(&self, principal: &str, text: &str) -> Verdict<(StoreKey, Record)> {
        let (key, record) = (self.key(Layout::Native), self.owned(principal, text));
        self.create(&key, &record).await?;
        Ok((key, record))
    }

    /// The list of this owner is these, no more and no fewer, whole.
    async fn expect_list(&self, what: &str, principal: &str, due: &[(&StoreKey, &Record)]) -> Verdict {
        for store in &self.nodes {
            let found = store.sessions_of(self.owner(principal)).await?;
            let mut found: BTreeMap<_, _> =
                found.into_iter().map(|Found { digest, record }| (digest, record)).collect();
            for (key, record) in due {
                let Some(shown) = found.remove(&key.digest()) else {
                    return Err(Broken(format!("{what}: a session is missing from its owner's list")));
                };
                let late = shown.expires_at.saturating_since(record.expires_at);
                let early = record.expires_at.saturating_since(shown.expires_at);
                let same = (shown.tag, &shown.principal, &shown.data)
                    == (record.tag, &record.principal, &record.data);
                ensure(same && late.max(early) <= self.resolution, || {
                    format!("{what}: the list shows another record than the one that was written")
                })?;
            }
            ensure(found.is_empty(), || {
                format!("{what}: the owner's list shows {} sessions too many", found.len())
            })?;
        }
        Ok(())
    }

    async fn expect_ended(&self, what: &str, principal: &str, which: Which, due: u64) -> Verdict {
        let ended = self.store().destroy_of(self.owner(principal), which).await?;
        ensure(ended == due, || format!("{what}: destroy_of said {ended}, it should have been {due}"))
    }

    /// Nothing that a request under way may do brings it back.
    async fn expect_dead(&self, what: &str, key: &StoreKey, record: &Record) -> Verdict {
        let store = self.store();
        self.expect_absent(what, key).await?;
        let next = Record { tag: Tag::random(), ..record.clone() };
        let answer = store.set(key, &next, When::Tagged(record.tag)).await?;
        expect(&format!("{what}: set(When::Tagged)"), &answer, Expected::Gone)?;
        let alive = store.touch(key, self.after(HOUR * 2)).await?;
        ensure(!alive, || format!("{what}: touch said true"))?;
        let new = self.key(Layout::Native);
        let answer = store.rotate(key, When::Tagged(record.tag), &new, &next).await?;
        expect(&format!("{what}: rotate"), &answer, Expected::Gone)?;
        self.expect_absent(&format!("{what}: the new key of a refused rotate"), &new).await
    }
}

/// The list is what the last writes say.
pub(super) async fn listed<S: ByPrincipal>(bench: &Bench<S>) -> Verdict {
    let store = bench.store();
    let [ada, bob] = [bench.somebody(), bench.somebody()];
    bench.expect_list("before there is anything", &ada, &[]).await?;
    let (key, mut first) = bench.stored_for(&ada, "first").await?;
    let (other, second) = bench.stored_for(&ada, "second").await?;
    let (bobs, third) = bench.stored_for(&bob, "third").await?;
    let (guests, guest) = bench.stored(Layout::Native, "a guest's").await?;
    bench.expect_list("two sessions", &ada, &[(&key, &first), (&other, &second)]).await?;
    bench.expect_list("one session", &bob, &[(&bobs, &third)]).await?;

    let elsewhere = StoreKey::hashed(&format!("{}else:", bench.prefix), &SessionId::random());
    let stranger = bench.owned(&ada, "under another prefix");
    bench.create(&elsewhere, &stranger).await?;
    bench.expect_list("a namesake under another prefix", &ada, &[(&key, &first), (&other, &second)]).await?;

    let when = |record: &Record| When::Tagged(record.tag);
    let next = bench.owned(&ada, "changed");
    expect("set", &store.set(&key, &next, when(&first)).await?, Expected::Done)?;
    first = next;
    bench.expect_list("after a change", &ada, &[(&key, &first), (&other, &second)]).await?;

    let next = bench.owned(&bob, "given away");
    expect("set", &store.set(&key, &next, when(&first)).await?, Expected::Done)?;
    first = next;
    bench.expect_list("after a session was given away", &ada, &[(&other, &second)]).await?;
    bench.expect_list("after a session was received", &bob, &[(&bobs, &third), (&key, &first)]).await?;

    let next = bench.record(Layout::Native, "nobody's");
    expect("set", &store.set(&key, &next, when(&first)).await?, Expected::Done)?;
    first = next;
    bench.expect_list("after a session was made nobody's", &bob, &[(&bobs, &third)]).await?;

    let (new, moved) = (bench.key(Layout::Native), bench.owned(&ada, "logged in"));
    expect("rotate", &store.rotate(&guests, when(&guest), &new, &moved).await?, Expected::Done)?;
    bench.expect_list("after a login by rotate", &ada, &[(&other, &second), (&new, &moved)]).await?;

    let (newer, again) = (bench.key(Layout::Native), bench.owned(&ada, "moved"));
    expect("rotate", &store.rotate(&new, when(&moved), &newer, &again).await?, Expected::Done)?;
    bench.expect_list("after a rotate", &ada, &[(&other, &second), (&newer, &again)]).await?;

    let (bobs_now, theirs) = (bench.key(Layout::Native), bench.owned(&bob, "somebody else"));
    expect("rotate", &store.rotate(&newer, when(&again), &bobs_now, &theirs).await?, Expected::Done)?;
    bench.expect_list("after a rotate to somebody else", &ada, &[(&other, &second)]).await?;
    bench.expect_list("after a rotate", &bob, &[(&bobs, &third), (&bobs_now, &theirs)]).await?;

    let answer = store.set(&other, &bench.owned(&bob, "refused"), When::Tagged(Tag::random())).await?;
    expect("set with another tag", &answer, Expected::Conflict(&second))?;
    bench.expect_list("after a refused write", &ada, &[(&other, &second)]).await?;
    bench.expect_list("after a refused write", &bob, &[(&bobs, &third), (&bobs_now, &theirs)]).await?;

    store.destroy(&other).await?;
    bench.expect_list("after a logout", &ada, &[]).await?;
    bench.expect_live("a namesake under another prefix", &elsewhere, &stranger).await?;
    bench.expect_live("a session that is nobody's", &key, &first).await
}

/// A session leaves the list when it expires, and stays in it as long as it lives.
pub(super) async fn expiry<S: ByPrincipal>(bench: &Bench<S>) -> Verdict {
    let store = bench.store();
    let ada = bench.somebody();
    let brief = |text| Record { expires_at: bench.after(MOMENT), ..bench.owned(&ada, text) };
    let (expires, touched, changed) =
        (bench.key(Layout::Native), bench.key(Layout::Native), bench.key(Layout::Native));
    let (dies, mut stays, before) = (brief("dies"), brief("stays"), brief("before"));
    for (key, record) in [(&expires, &dies), (&touched, &stays), (&changed, &before)] {
        bench.create(key, record).await?;
    }
    stays.expires_at = bench.after(HOUR);
    ensure(store.touch(&touched, stays.expires_at).await?, || "touch of a live session said false".into())?;
    let after = bench.owned(&ada, "after");
    expect("set", &store.set(&changed, &after, When::Tagged(before.tag)).await?, Expected::Done)?;
    bench.outlast(dies.expires_at).await;
    let due = [(&touched, &stays), (&changed, &after)];
    bench.expect_list("when one has expired, one was touched and one was written", &ada, &due).await?;
    // Whatever keeps the list must live as long as those in it.
    let (fresh, short) = (bench.key(Layout::Native), brief("short"));
    bench.create(&fresh, &short).await?;
    bench.outlast(short.expires_at).await;
    bench.expect_list("when a later login has expired", &ada, &due).await?;
    bench.expect_ended("when some have expired", &ada, Which::All, 2).await?;
    bench.expect_dead("one that was touched, ended", &touched, &stays).await
}

/// Those that are meant end, and no others.
pub(super) async fn ended<S: ByPrincipal>(bench: &Bench<S>) -> Verdict {
    let [ada, bob] = [bench.somebody(), bench.somebody()];
    let mut adas = Vec::new();
    for text in ["a", "b", "c", "d"] {
        adas.push(bench.stored_for(&ada, text).await?);
    }
    let bobs = bench.stored_for(&bob, "bob's").await?;
    let guest = bench.stored(Layout::Native, "a guest's").await?;
    let elsewhere = StoreKey::hashed(&format!("{}else:", bench.prefix), &SessionId::random());
    let stranger = bench.owned(&ada, "under another prefix");
    bench.create(&elsewhere, &stranger).await?;

    for (whose, key) in [("somebody else's", &bobs.0), ("a guest's", &guest.0), ("a namesake's", &elsewhere)]
    {
        bench.expect_ended(whose, &ada, Which::Only(key.digest()), 0).await?;
    }
    let never = bench.key(Layout::Native).digest();
    bench.expect_ended("one that never was", &ada, Which::Only(never), 0).await?;
    let (key, record) = adas.remove(0);
    for due in [1, 0] {
        bench.expect_ended("one", &ada, Which::Only(key.digest()), due).await?;
        bench.expect_dead("one that was ended", &key, &record).await?;
    }
    let due: Vec<_> = adas.iter().map(|(key, record)| (key, record)).collect();
    bench.expect_list("the others", &ada, &due).await?;

    let (kept, mine) = adas.remove(0);
    bench.expect_ended("all but one", &ada, Which::AllBut(kept.digest()), 2).await?;
    for (key, record) in &adas {
        bench.expect_dead("one of the others", key, record).await?;
    }
    bench.expect_list("the one that was kept", &ada, &[(&kept, &mine)]).await?;
    bench
        .expect_ended("all but one that is somebody else's", &ada, Which::AllBut(bobs.0.digest()), 1)
        .await?;
    bench.expect_ended("all of none", &ada, Which::All, 0).await?;
    bench.expect_list("all of none", &ada, &[]).await?;

    bench.expect_list("somebody else's", &bob, &[(&bobs.0, &bobs.1)]).await?;
    bench.expect_live("a guest's", &guest.0, &guest.1).await?;
    bench.expect_live("a namesake's under another prefix", &elsewhere, &stranger).await
}

/// A principal is any text, and two are one only if they are equal.
pub(super) async fn names<S: ByPrincipal>(bench: &Bench<S>) -> Verdict {
    let stem = bench.somebody();
    let long = |end: &str| format!("{stem}{}{end}", "x".repeat(600));
    let names = [
        stem.clone(),
        stem.to_uppercase(),
        format!("{stem} "),
        format!(" {stem}"),
        format!("{stem}%"),
        format!("{stem}_"),
        format!("{stem}\0"),
        format!("{stem}\0{}", bench.prefix),
        format!("{stem}\n"),
        format!("{stem}é"),
        format!("{stem}e\u{301}"),
        format!("{stem}\u{1f511}"),
        format!("{stem}'; --"),
        format!("{stem}{{a}}*?[b]"),
        long("1"),
        long("2"),
    ];
    let mut sessions = Vec::new();
    for name in &names {
        sessions.push(bench.stored_for(name, name).await?);
    }
    for (name, (key, record)) in names.iter().zip(&sessions) {
        bench.expect_list(&format!("the principal {name:?}"), name, &[(key, record)]).await?;
    }
    for (name, (key, record)) in names.iter().zip(&sessions) {
        bench.expect_ended(&format!("the principal {name:?}"), name, Which::All, 1).await?;
        bench.expect_dead(&format!("the session of {name:?}"), key, record).await?;
    }
    // The empty text is a principal too, though not of this run alone.
    let (key, record) = bench.stored_for("", "of the empty name").await?;
    let found = bench.store().sessions_of(bench.owner("")).await?;
    let own = found.iter().any(|found| found.digest == key.digest() && found.record.tag == record.tag);
    ensure(own, || "the principal \"\": its session is missing from the list".into())?;
    bench.expect_ended("the principal \"\"", "", Which::Only(key.digest()), 1).await
}

pub(super) async fn many<S: ByPrincipal>(bench: &Bench<S>) -> Verdict {
    let ada = bench.somebody();
    let mut sessions = Vec::with_capacity(MANY);
    for n in 0..MANY {
        sessions.push(bench.stored_for(&ada, &n.to_string()).await?);
    }
    let due: Vec<_> = sessions.iter().map(|(key, record)| (key, record)).collect();
    bench.expect_list("many sessions", &ada, &due).await?;
    let (kept, mine) = due[MANY / 2];
    bench.expect_ended("many sessions", &ada, Which::AllBut(kept.digest()), MANY as u64 - 1).await?;
    bench.expect_list("one of many sessions", &ada, &[(kept, mine)]).await?;
    bench.expect_ended("one of many sessions", &ada, Which::All, 1).await
}

/// Records without room for a principal are nobody's.
pub(super) async fn plain<S: ByPrincipal>(bench: &Bench<S>) -> Verdict {
    let ada = bench.somebody();
    let (key, record) = bench.stored(Layout::Plain, "shared with another program").await?;
    bench.expect_list("with a plain record beside", &ada, &[]).await?;
    bench.expect_ended("a plain record", &ada, Which::Only(key.digest()), 0).await?;
    bench.expect_live("a plain record", &key, &record).await
}

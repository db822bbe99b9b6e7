//! Sessions by their principal: found by it, ended by it, and by nobody else's.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use tokio::task::yield_now;

use super::{
    bench::{Bench, Expected, HOUR, MOMENT, expect},
    races::{Runner, WRITERS, race},
    report::{Broken, Verdict, ensure},
};
use crate::{
    id::{SessionId, StoreKey},
    store::{ByPrincipal, Found, Layout, Owner, Record, Tag, When, Which, Written},
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
pub(super) async fn none_escapes<S: ByPrincipal>(bench: &Bench<S>) -> Verdict {
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
pub(super) async fn one_is_kept<S: ByPrincipal>(bench: &Bench<S>) -> Verdict {
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
pub(super) async fn always_listed<S: ByPrincipal>(bench: &Bench<S>) -> Verdict {
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
pub(super) async fn logins<S: ByPrincipal>(bench: &Bench<S>) -> Verdict {
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

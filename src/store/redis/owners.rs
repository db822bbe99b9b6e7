//! Sessions by their principal: for each a sorted set of keys, scored by when the sessions end.
//!
//! The set is never behind: what an owner has is in it, beside what has ended or was given away and has not been
//! taken out yet. Whoever reads it looks at each session again. On one server a session and its entry are written by
//! one script. In a cluster they lie apart, and the order sees to it: the entry before the session, and for a new key
//! once more after it, with another score. An entry whose session is gone is taken out only if its score is what it
//! was before one looked: so it is either there still, or entered anew.

use std::sync::LazyLock;

use redis::{Value, from_redis_value};
use sha1::{Digest, Sha1};
use sha2::Sha256;
use tokio::{task::JoinSet, time::Instant};

use super::{
    RedisStore,
    fault::Fault,
    frame, lua,
    scripts::{Effect, Request, Script, found, write_args},
};
use crate::{
    clock::Timestamp,
    id::{StoreKey, handle},
    store::{ByPrincipal, Found, Layout, Owner, Record, StoreError, StoreErrorKind, When, Which},
};

/// How many sessions are asked for at one time.
const AT_ONCE: usize = 256;

/// What the names of a prefix's indexes begin with. A comma stands in no id, so none of them is the key of a session.
fn stem(prefix: &str) -> String {
    format!("{prefix}of,")
}

fn index(Owner { prefix, principal }: Owner<'_>) -> String {
    format!("{}{:x}", stem(prefix), Sha1::digest(principal))
}

/// The key without its prefix.
fn member(key: &StoreKey) -> &str {
    &key.as_str()[key.prefix().len()..]
}

/// A session's place in the index of its owner.
pub(super) struct Entry<'a> {
    index: String,
    member: &'a str,
}

impl<'a> Entry<'a> {
    pub(super) fn new(key: &'a StoreKey, principal: &str) -> Self {
        Self { index: index(Owner { prefix: key.prefix(), principal }), member: member(key) }
    }

    /// None where the session is nobody's.
    pub(super) fn of(key: &'a StoreKey, record: &Record) -> Option<Self> {
        let principal = record.principal.as_deref().filter(|_| key.layout() == Layout::Native)?;
        Some(Self::new(key, principal))
    }

    /// A write with its entry, on one server.
    pub(super) fn set(&self, key: &StoreKey, record: &Record, when: When) -> Request {
        static SWAP: LazyLock<Script> =
            LazyLock::new(|| Script::new(&[lua::HEAD, lua::OWN, lua::CHECK, lua::NOTE, lua::SET_OWNED]));
        let keys = [key.as_str(), &self.index];
        let mut request = Request::script(&SWAP, &keys, Effect::Write, record.data.len());
        write_args(&mut request.command, key.layout(), record, when);
        request.command.arg(self.member);
        request
    }

    /// A move with its entry, on one server.
    pub(super) fn relocate(&self, old: &StoreKey, when: When, new: &StoreKey, record: &Record) -> Request {
        static RELOCATE: LazyLock<Script> =
            LazyLock::new(|| Script::new(&[lua::NEW, lua::HEAD, lua::CHECK, lua::NOTE, lua::MOVE_OWNED]));
        let keys = [old.as_str(), new.as_str(), &self.index];
        let mut request = Request::script(&RELOCATE, &keys, Effect::Write, record.data.len());
        write_args(&mut request.command, new.layout(), record, when);
        request.command.arg(self.member).arg(member(old));
        request
    }
}

/// `touch` on one server, where the script finds the index.
pub(super) fn touch(key: &StoreKey, expires_at: Timestamp) -> Request {
    static TOUCH: LazyLock<Script> =
        LazyLock::new(|| Script::new(&[lua::TOUCH, lua::PRINCIPAL, lua::NOTE, lua::NOTE_HERE, lua::EXTEND]));
    let mut request = Request::script(&TOUCH, &[key.as_str()], Effect::Touch, 0);
    request.command.arg(expires_at.as_millis()).arg(&frame::moment(expires_at));
    request.command.arg(stem(key.prefix())).arg(member(key));
    request
}

/// In the answer to a touch in a cluster: whose index must be told first.
pub(super) fn named(answer: &Value) -> Result<Option<String>, StoreError> {
    let Value::Array(named) = answer else { return Ok(None) };
    match &named[..] {
        [Value::BulkString(principal)] => match str::from_utf8(principal) {
            Ok(principal) => Ok(Some(principal.to_owned())),
            Err(_) => Err(StoreError::corrupt("the principal of a session is not UTF-8")),
        },
        _ => Ok(None),
    }
}

fn note(script: &'static Script, entry: &Entry<'_>, expires_at: Timestamp) -> Request {
    let mut request = Request::script(script, &[&entry.index], Effect::Write, 0);
    request.command.arg(entry.member).arg(expires_at.as_millis());
    request
}

/// An entry as it was read: the key without its prefix, and the score.
type Member = (String, f64);

/// On one server: those that are gone at that moment.
fn forget(index: &str, prefix: &str, members: &[Member]) -> Request {
    static FORGET: LazyLock<Script> = LazyLock::new(|| Script::new(&[lua::FORGET]));
    let names: Vec<String> = members.iter().map(|(member, _)| format!("{prefix}{member}")).collect();
    let keys: Vec<&str> = [index].into_iter().chain(names.iter().map(|name| &**name)).collect();
    let mut request = Request::script(&FORGET, &keys, Effect::Touch, 0);
    for (member, _) in members {
        request.command.arg(member);
    }
    request
}

/// In a cluster: those that nobody has entered anew.
fn forget_unchanged(index: &str, members: &[Member]) -> Request {
    static FORGET: LazyLock<Script> = LazyLock::new(|| Script::new(&[lua::FORGET_UNCHANGED]));
    let mut request = Request::script(&FORGET, &[index], Effect::Touch, 0);
    for (member, score) in members {
        request.command.arg(member).arg(*score);
    }
    request
}

fn end(key: &str, principal: &str) -> Request {
    static END: LazyLock<Script> = LazyLock::new(|| Script::new(&[lua::END]));
    let mut request = Request::script(&END, &[key], Effect::Write, 0);
    request.command.arg(frame::principal(principal));
    request
}

fn strange() -> StoreError {
    Fault::Strange.into_error(Effect::Read)
}

impl RedisStore {
    /// Sees to it that the entry is there for as long as the session may live.
    pub(super) async fn note(
        &self,
        entry: &Entry<'_>,
        expires_at: Timestamp,
        until: Instant,
    ) -> Result<(), StoreError> {
        static NOTE: LazyLock<Script> = LazyLock::new(|| Script::new(&[lua::NOTE, lua::NOTE_ONE]));
        self.enter(&entry.index, &note(&NOTE, entry, expires_at), until).await
    }

    /// The same when the session is there.
    pub(super) async fn confirm(
        &self,
        entry: &Entry<'_>,
        expires_at: Timestamp,
        until: Instant,
    ) -> Result<(), StoreError> {
        static CONFIRM: LazyLock<Script> = LazyLock::new(|| Script::new(&[lua::NOTE, lua::CONFIRM]));
        self.enter(&entry.index, &note(&CONFIRM, entry, expires_at), until).await
    }

    async fn enter(&self, index: &str, request: &Request, until: Instant) -> Result<(), StoreError> {
        match self.run(index, request, until).await? {
            Value::Int(1) => Ok(()),
            _ => Err(strange()),
        }
    }

    async fn members(&self, index: &str, until: Instant) -> Result<Vec<Member>, StoreError> {
        let mut range = Request::command("ZRANGE", index, Effect::Read);
        range.command.arg(0).arg(-1).arg("WITHSCORES");
        from_redis_value(self.run(index, &range, until).await?).map_err(|_| strange())
    }

    /// Asks something about each of these sessions, of many at one time.
    async fn each(
        &self,
        prefix: &str,
        members: Vec<Member>,
        request: impl Fn(&str) -> Request,
        until: Instant,
    ) -> Result<Vec<(Member, Result<Value, StoreError>)>, StoreError> {
        let mut answers = Vec::with_capacity(members.len());
        let mut members = members.into_iter().peekable();
        while members.peek().is_some() {
            let mut asked = JoinSet::new();
            for member in members.by_ref().take(AT_ONCE) {
                let key = format!("{prefix}{}", member.0);
                let (store, request) = (self.clone(), request(&key));
                asked.spawn(async move { (member, store.run(&key, &request, until).await) });
            }
            while let Some(answer) = asked.join_next().await {
                answers.push(answer.map_err(StoreError::in_doubt)?);
            }
        }
        Ok(answers)
    }

    /// Takes entries out whose sessions were gone.
    async fn forget(
        &self,
        index: &str,
        prefix: &str,
        gone: &[Member],
        until: Instant,
    ) -> Result<(), StoreError> {
        for gone in gone.chunks(AT_ONCE) {
            let request =
                if self.one_server { forget(index, prefix, gone) } else { forget_unchanged(index, gone) };
            self.run(index, &request, until).await?;
        }
        Ok(())
    }
}

fn digest(prefix: &str, member: &str) -> [u8; 32] {
    Sha256::new().chain_update(prefix).chain_update(member).finalize().into()
}

#[diagnostic::do_not_recommend]
impl ByPrincipal for RedisStore {
    /// A session that was gone may have been moved after the index had been read: then it is read again.
    async fn sessions_of(&self, owner: Owner<'_>) -> Result<Vec<Found>, StoreError> {
        let (Owner { prefix, principal }, until) = (owner, self.limit());
        let index = index(owner);
        loop {
            let members = self.members(&index, until).await?;
            let read = |key: &str| Request::command("GET", key, Effect::Read);
            let (mut sessions, mut gone) = (Vec::with_capacity(members.len()), Vec::new());
            for (member, answer) in self.each(prefix, members, read, until).await? {
                let digest = digest(prefix, &member.0);
                match answer.and_then(found) {
                    Ok(Some(record)) if record.principal.as_deref() == Some(principal) => {
                        sessions.push(Found { digest, record });
                    }
                    Ok(Some(_)) => {}
                    Ok(None) => gone.push(member),
                    Err(error) if error.kind() == StoreErrorKind::Corrupt => {
                        let session = handle(&digest);
                        tracing::error!(session, %error, "a session is left out of its owner's list");
                    }
                    Err(error) => return Err(error),
                }
            }
            if gone.is_empty() {
                return Ok(sessions);
            }
            self.forget(&index, prefix, &gone, until).await?;
        }
    }

    /// Over when an index is read in which nothing is left to end: what was moved meanwhile was entered before.
    async fn destroy_of(&self, owner: Owner<'_>, which: Which) -> Result<u64, StoreError> {
        let (Owner { prefix, principal }, until) = (owner, self.limit());
        let index = index(owner);
        let mut ended = 0;
        loop {
            let mut members = self.members(&index, until).await?;
            members.retain(|(member, _)| which.means(&digest(prefix, member)));
            let end = |key: &str| end(key, principal);
            let mut gone = Vec::new();
            for (member, answer) in self.each(prefix, members, end, until).await? {
                match answer? {
                    Value::Int(alive @ (0 | 1)) => {
                        ended += u64::from(alive == 1);
                        gone.push(member);
                    }
                    Value::Int(-1) => {}
                    _ => return Err(strange()),
                }
            }
            if gone.is_empty() {
                return Ok(ended);
            }
            self.forget(&index, prefix, &gone, until).await?;
            if matches!(which, Which::Only(_)) {
                return Ok(ended);
            }
        }
    }
}

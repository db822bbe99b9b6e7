//! What is said to the server: one command or script a call, each on the keys it names and no other.

use std::sync::LazyLock;

use redis::{Arg, Cmd, Value, cmd};
use sha1::{Digest, Sha1};

use super::{fault::Fault, frame, lua};
use crate::{
    clock::Timestamp,
    id::StoreKey,
    store::{Layout, Record, StoreError, Tag, When, Written},
};

/// A script and the name that the server gives it.
pub(super) struct Script {
    text: String,
    sha: String,
}

impl Script {
    pub(super) fn new(parts: &[&str]) -> Self {
        let text = parts.concat();
        let sha = format!("{:x}", Sha1::digest(&text));
        Self { text, sha }
    }
}

struct Scripts {
    swap: Script,
    relocate: Script,
    remove: Script,
    touch: Script,
}

fn scripts(layout: Layout) -> &'static Scripts {
    static NATIVE: LazyLock<Scripts> = LazyLock::new(|| Scripts {
        swap: Script::new(&[lua::HEAD, lua::OWN, lua::CHECK, lua::SET]),
        relocate: Script::new(&[lua::NEW, lua::HEAD, lua::CHECK, lua::MOVE]),
        remove: Script::new(&[lua::HEAD, lua::CHECK, lua::REMOVE]),
        touch: Script::new(&[lua::TOUCH, lua::PRINCIPAL, lua::NOTED, lua::EXTEND]),
    });
    static PLAIN: LazyLock<Scripts> = LazyLock::new(|| Scripts {
        swap: Script::new(&[lua::ENDS, lua::CHECK_PLAIN, lua::SET]),
        relocate: Script::new(&[lua::ENDS, lua::NEW, lua::CHECK_PLAIN, lua::MOVE]),
        remove: Script::new(&[lua::ENDS, lua::CHECK_PLAIN, lua::REMOVE]),
        touch: Script::new(&[lua::ENDS, lua::TOUCH_PLAIN]),
    });
    match layout {
        Layout::Native => &NATIVE,
        Layout::Plain => &PLAIN,
    }
}

/// What a command that gets no answer leaves behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Effect {
    /// Nothing: asking again is free.
    Read,
    /// A longer life, at most.
    Touch,
    /// The write that the store is asked for: with `ack_replicas`, replicas confirm it.
    Write,
}

/// One command, ready to be sent to the server of its key. No `Debug`: it holds keys and sessions.
pub(super) struct Request {
    pub(super) command: Cmd,
    pub(super) effect: Effect,
    script: Option<&'static Script>,
}

impl Request {
    pub(super) fn command(name: &str, key: &str, effect: Effect) -> Self {
        let mut command = cmd(name);
        command.arg(key);
        Self { command, effect, script: None }
    }

    /// `length`: of the arguments, about.
    pub(super) fn script(script: &'static Script, keys: &[&str], effect: Effect, length: usize) -> Self {
        let mut command = Cmd::with_capacity(8, 256 + length);
        command.arg("EVALSHA").arg(&script.sha).arg(keys.len());
        for key in keys {
            command.arg(*key);
        }
        Self { command, effect, script: Some(script) }
    }

    /// The same with the script's text, for a server that has not seen it: it runs the script and keeps it.
    pub(super) fn with_text(&self) -> Option<Self> {
        let script = self.script?;
        let mut command = cmd("EVAL");
        command.arg(&script.text);
        for arg in self.command.args_iter().skip(2) {
            if let Arg::Simple(bytes) = arg {
                command.arg(bytes);
            }
        }
        Some(Self { command, effect: self.effect, script: None })
    }
}

pub(super) fn get(key: &StoreKey) -> Request {
    static READ: LazyLock<Script> = LazyLock::new(|| Script::new(&[lua::ENDS, lua::READ_PLAIN]));
    match key.layout() {
        Layout::Native => Request::command("GET", key.as_str(), Effect::Read),
        Layout::Plain => Request::script(&READ, &[key.as_str()], Effect::Read, 0),
    }
}

/// `set` where nothing is, the common case: no script is needed to write, only to say why not.
pub(super) fn create(key: &StoreKey, record: &Record) -> Request {
    let mut request = Request::command("SET", key.as_str(), Effect::Write);
    match key.layout() {
        Layout::Native => request.command.arg(frame::encode(record)),
        Layout::Plain => request.command.arg(&record.data[..]),
    };
    request.command.arg("NX").arg("PXAT").arg(end(record));
    request
}

pub(super) fn set(key: &StoreKey, record: &Record, when: When) -> Request {
    let script = &scripts(key.layout()).swap;
    let mut request = Request::script(script, &[key.as_str()], Effect::Write, record.data.len());
    write_args(&mut request.command, key.layout(), record, when);
    request
}

/// Both keys on one server.
pub(super) fn relocate(old: &StoreKey, when: When, new: &StoreKey, record: &Record) -> Request {
    let script = &scripts(new.layout()).relocate;
    let keys = [old.as_str(), new.as_str()];
    let mut request = Request::script(script, &keys, Effect::Write, record.data.len());
    write_args(&mut request.command, new.layout(), record, when);
    request
}

/// `destroy`, under a condition.
pub(super) fn remove(key: &StoreKey, when: When) -> Request {
    let mut request = Request::script(&scripts(key.layout()).remove, &[key.as_str()], Effect::Write, 0);
    condition_arg(&mut request.command, key.layout(), when);
    request
}

/// `noted`: the principal in whose index the new end stands already.
pub(super) fn touch(key: &StoreKey, expires_at: Timestamp, noted: Option<&str>) -> Request {
    let mut request = Request::script(&scripts(key.layout()).touch, &[key.as_str()], Effect::Touch, 0);
    request.command.arg(expires_at.as_millis()).arg(&frame::moment(expires_at));
    if let Some(noted) = noted {
        request.command.arg(noted);
    }
    request
}

pub(super) fn destroy(key: &StoreKey) -> Request {
    Request::command("DEL", key.as_str(), Effect::Write)
}

pub(super) fn write_args(command: &mut Cmd, layout: Layout, record: &Record, when: When) {
    condition_arg(command, layout, when);
    match layout {
        Layout::Native => command.arg(&frame::head(record.tag)).arg(frame::encode(record)),
        // Equal bytes are no proof of an own write.
        Layout::Plain => command.arg("not to be told").arg(&record.data[..]),
    };
    command.arg(end(record));
}

/// When Redis removes it. A moment that has passed does so at once; 0 alone would be refused.
fn end(record: &Record) -> u64 {
    record.expires_at.as_millis().max(1)
}

fn condition_arg(command: &mut Cmd, layout: Layout, when: When) {
    match when {
        When::Absent => command.arg("nothing there"),
        When::Present => command.arg("whatever is there"),
        When::Tagged(tag) => match layout {
            Layout::Native => command.arg(&frame::head(tag)),
            Layout::Plain => command.arg(format!("{:016x}", u64::from_be_bytes(*tag.as_bytes()))),
        },
    };
}

/// The answer to [`get`].
pub(super) fn found(answer: Value) -> Result<Option<Record>, StoreError> {
    match answer {
        Value::Nil => Ok(None),
        value => record(value).map(Some),
    }
}

/// The answer to [`create`].
pub(super) fn created(answer: &Value) -> Result<bool, StoreError> {
    match answer {
        Value::Okay => Ok(true),
        Value::Nil => Ok(false),
        _ => Err(Fault::Strange.into_error(Effect::Write)),
    }
}

/// The answer to [`set`], [`relocate`] and [`remove`].
pub(super) fn written(answer: Value) -> Result<Reply, StoreError> {
    Ok(match answer {
        Value::Okay => Reply::Now(Written::Done),
        Value::Int(1) => Reply::Before,
        Value::Int(0) => Reply::Now(Written::Gone),
        Value::Int(-1) => Reply::Now(Written::Conflict(None)),
        value => Reply::Now(Written::Conflict(Some(record(value)?))),
    })
}

/// What became of a write.
pub(super) enum Reply {
    Now(Written),
    /// It was found done.
    Before,
}

impl From<Reply> for Written {
    fn from(reply: Reply) -> Self {
        match reply {
            Reply::Now(written) => written,
            Reply::Before => Self::Done,
        }
    }
}

/// The answer to [`touch`].
pub(super) fn touched(answer: Value) -> Result<bool, StoreError> {
    match answer {
        Value::Int(alive @ (0 | 1)) => Ok(alive == 1),
        // No record, so no end to move.
        value => Err(record(value).err().unwrap_or_else(|| Fault::Strange.into_error(Effect::Touch))),
    }
}

/// A value as it is stored, with its end where the layout has no room for it.
fn record(value: Value) -> Result<Record, StoreError> {
    match value {
        Value::BulkString(framed) => frame::decode(framed),
        Value::Array(pair) => match <[Value; 2]>::try_from(pair) {
            Ok([Value::BulkString(data), Value::Int(ends)]) => Ok(Record {
                tag: Tag::of(&data),
                // Negative: written without an end by the other program.
                expires_at: u64::try_from(ends).map_or(Timestamp::MAX, Timestamp::from_millis),
                principal: None,
                data: data.into(),
            }),
            _ => Err(Fault::Strange.into_error(Effect::Read)),
        },
        _ => Err(Fault::Strange.into_error(Effect::Read)),
    }
}

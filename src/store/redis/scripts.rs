//! What is said to the server: one command or script a call, each on the keys it names and no other.
//!
//! A condition and its write must be one step, so they are a Lua script: it reads the tag only, answers 1 for
//! a write that has happened before, 0 where nothing lives, the whole value where another record is in the
//! way, and otherwise writes. `pcall` hands on the server's own error (`WRONGTYPE`, `OOM`) with its code.

use std::sync::LazyLock;

use redis::{Arg, Cmd, Value, cmd};
use sha1::{Digest, Sha1};

use super::{fault::Fault, frame};
use crate::{
    clock::Timestamp,
    id::StoreKey,
    store::{Layout, Record, StoreError, Tag, When, Written},
};

// The parts of which the scripts are put together; no Lua functions, since making them on every call would
// take a third of its time. KEYS[1] is the key of the condition, ARGV[1]. A tag is compared together with the
// version before it, in one piece of nine bytes; the words for other conditions are longer, so no value is one.

/// What the server says of the beginning of the value.
const HEAD: &str = r"
local head = redis.pcall('GETRANGE', KEYS[1], 0, 8)
";

/// The write has happened. It is made once more, in one byte where it lies: `WAIT` waits for nothing but writes
/// of its own connection, and the first one may have had another.
const OWN: &str = r"
if head == ARGV[2] then
  redis.pcall('SETRANGE', KEYS[1], 0, '\1')
  return 1
end
";

/// The answer where the condition does not hold.
const CHECK: &str = r"
if head ~= ARGV[1] then
  if type(head) == 'table' then return head end
  if head == '' and redis.call('EXISTS', KEYS[1]) == 0 then
    if ARGV[1] ~= 'nothing there' then return 0 end
  elseif ARGV[1] ~= 'whatever is there' or #head < 9 or string.byte(head) ~= 1 then
    return redis.call('GET', KEYS[1])
  end
end
";

/// When a value without a frame ends. `PEXPIRETIME` is of Redis 7.
const ENDS: &str = r"
local function ends(key)
  local at = redis.pcall('PEXPIRETIME', key)
  if type(at) == 'number' then return at end
  at = redis.call('PTTL', key)
  if at < 0 then return at end
  local now = redis.call('TIME')
  return now[1] * 1000 + math.floor(now[2] / 1000) + at
end
";

/// The same as HEAD and CHECK for a value without a frame.
const CHECK_PLAIN: &str = r"
local value = redis.pcall('GET', KEYS[1])
if not value then
  if ARGV[1] ~= 'nothing there' then return 0 end
elseif type(value) == 'table' then
  return value
elseif ARGV[1] ~= 'whatever is there' and ARGV[1] ~= string.sub(redis.sha1hex(value), 1, 16) then
  return {value, ends(KEYS[1])}
end
";

/// ARGV: condition, head of the record, value, end.
const SET: &str = r"
return redis.pcall('SET', KEYS[1], ARGV[3], 'PXAT', ARGV[4])
";

/// KEYS: old, new. ARGV: as for SET. Its own record under the new key: all of this has happened.
const NEW: &str = r"
local new = redis.pcall('GETRANGE', KEYS[2], 0, 8)
if type(new) == 'table' then return new end
if new ~= '' or redis.call('EXISTS', KEYS[2]) == 1 then
  if new ~= ARGV[2] then return -1 end
  redis.pcall('SETRANGE', KEYS[2], 0, '\1')
  return 1
end
";

const MOVE: &str = r"
local set = redis.pcall('SET', KEYS[2], ARGV[3], 'PXAT', ARGV[4])
if not set.err then redis.call('DEL', KEYS[1]) end
return set
";

const REMOVE: &str = r"
local gone = redis.pcall('DEL', KEYS[1])
return type(gone) == 'table' and gone or 1
";

/// ARGV: end, its bytes in a frame. Without room for more the end is not noted in the frame, but kept.
const TOUCH: &str = r"
local head = redis.pcall('GETRANGE', KEYS[1], 0, 14)
if type(head) == 'table' then return head end
if #head < 15 or string.byte(head) ~= 1 then
  if head == '' and redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
  return redis.call('GET', KEYS[1])
end
local a, b, c, d, e, f = string.byte(head, 10, 15)
if ((((a * 256 + b) * 256 + c) * 256 + d) * 256 + e) * 256 + f < tonumber(ARGV[1]) then
  redis.pcall('SETRANGE', KEYS[1], 9, ARGV[2])
  redis.call('PEXPIREAT', KEYS[1], ARGV[1])
end
return 1
";

const TOUCH_PLAIN: &str = r"
local length = redis.pcall('STRLEN', KEYS[1])
if type(length) == 'table' then return length end
local old = ends(KEYS[1])
if old == -2 then return 0 end
if old >= 0 and old < tonumber(ARGV[1]) then redis.call('PEXPIREAT', KEYS[1], ARGV[1]) end
return 1
";

const READ_PLAIN: &str = r"
local value = redis.pcall('GET', KEYS[1])
if type(value) == 'string' then return {value, ends(KEYS[1])} end
return value
";

/// A script and the name that the server gives it.
#[derive(Debug)]
pub(super) struct Script {
    text: String,
    sha: String,
}

impl Script {
    fn new(parts: &[&str]) -> Self {
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
        swap: Script::new(&[HEAD, OWN, CHECK, SET]),
        relocate: Script::new(&[NEW, HEAD, CHECK, MOVE]),
        remove: Script::new(&[HEAD, CHECK, REMOVE]),
        touch: Script::new(&[TOUCH]),
    });
    static PLAIN: LazyLock<Scripts> = LazyLock::new(|| Scripts {
        swap: Script::new(&[ENDS, CHECK_PLAIN, SET]),
        relocate: Script::new(&[ENDS, NEW, CHECK_PLAIN, MOVE]),
        remove: Script::new(&[ENDS, CHECK_PLAIN, REMOVE]),
        touch: Script::new(&[ENDS, TOUCH_PLAIN]),
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

/// One command, ready to be sent to the server of its key.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) command: Cmd,
    pub(super) effect: Effect,
    script: Option<&'static Script>,
}

impl Request {
    fn command(name: &str, key: &StoreKey, effect: Effect) -> Self {
        let mut command = cmd(name);
        command.arg(key.as_str());
        Self { command, effect, script: None }
    }

    /// `length`: of the arguments, about.
    fn script(script: &'static Script, keys: &[&StoreKey], effect: Effect, length: usize) -> Self {
        let mut command = Cmd::with_capacity(8, 256 + length);
        command.arg("EVALSHA").arg(&script.sha).arg(keys.len());
        for key in keys {
            command.arg(key.as_str());
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
    static READ: LazyLock<Script> = LazyLock::new(|| Script::new(&[ENDS, READ_PLAIN]));
    match key.layout() {
        Layout::Native => Request::command("GET", key, Effect::Read),
        Layout::Plain => Request::script(&READ, &[key], Effect::Read, 0),
    }
}

/// `set` where nothing is, the common case: no script is needed to write, only to say why not.
pub(super) fn create(key: &StoreKey, record: &Record) -> Request {
    let mut request = Request::command("SET", key, Effect::Write);
    match key.layout() {
        Layout::Native => request.command.arg(frame::encode(record)),
        Layout::Plain => request.command.arg(&record.data[..]),
    };
    request.command.arg("NX").arg("PXAT").arg(end(record));
    request
}

pub(super) fn set(key: &StoreKey, record: &Record, when: When) -> Request {
    let mut request = Request::script(&scripts(key.layout()).swap, &[key], Effect::Write, record.data.len());
    write_args(&mut request.command, key.layout(), record, when);
    request
}

/// Both keys on one server.
pub(super) fn relocate(old: &StoreKey, when: When, new: &StoreKey, record: &Record) -> Request {
    let mut request =
        Request::script(&scripts(new.layout()).relocate, &[old, new], Effect::Write, record.data.len());
    write_args(&mut request.command, new.layout(), record, when);
    request
}

/// `destroy`, under a condition.
pub(super) fn remove(key: &StoreKey, when: When) -> Request {
    let mut request = Request::script(&scripts(key.layout()).remove, &[key], Effect::Write, 0);
    condition_arg(&mut request.command, key.layout(), when);
    request
}

pub(super) fn touch(key: &StoreKey, expires_at: Timestamp) -> Request {
    let mut request = Request::script(&scripts(key.layout()).touch, &[key], Effect::Touch, 0);
    request.command.arg(expires_at.as_millis()).arg(&frame::moment(expires_at));
    request
}

pub(super) fn destroy(key: &StoreKey) -> Request {
    Request::command("DEL", key, Effect::Write)
}

fn write_args(command: &mut Cmd, layout: Layout, record: &Record, when: When) {
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

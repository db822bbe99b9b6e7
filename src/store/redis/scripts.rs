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

/// `tag_of`: the tag under a key, `''` of what is no record, nil of nothing, a table of an error.
/// `whole`: what `GET` of the key means to this crate. `extend`: a later end, never an earlier one.
const NATIVE: &str = r"
local function tag_of(key)
  local head = redis.pcall('GETRANGE', key, 0, 8)
  if type(head) == 'table' then return head end
  if head == '' and redis.call('EXISTS', key) == 0 then return nil end
  if #head < 9 or string.byte(head) ~= 1 then return '' end
  return string.sub(head, 2)
end
local function whole(key) return redis.call('GET', key) end
local function extend(key, at, moment)
  local old, bytes = 0, redis.call('GETRANGE', key, 9, 14)
  for i = 1, #bytes do old = old * 256 + string.byte(bytes, i) end
  if old < tonumber(at) then
    redis.pcall('SETRANGE', key, 9, moment)
    redis.call('PEXPIREAT', key, at)
  end
end
";

/// The same for a value that is data only. `PEXPIRETIME` is of Redis 7.
const PLAIN: &str = r"
local function ends(key)
  local at = redis.pcall('PEXPIRETIME', key)
  if type(at) == 'number' then return at end
  at = redis.call('PTTL', key)
  if at < 0 then return at end
  local now = redis.call('TIME')
  return now[1] * 1000 + math.floor(now[2] / 1000) + at
end
local function tag_of(key)
  local value = redis.pcall('GET', key)
  if type(value) == 'table' then return value end
  return value and string.sub(redis.sha1hex(value), 1, 16) or nil
end
local function whole(key) return {redis.call('GET', key), ends(key)} end
local function extend(key, at)
  local old = ends(key)
  if old >= 0 and old < tonumber(at) then redis.call('PEXPIREAT', key, at) end
end
";

/// The answer instead of a write, nil if the condition holds. An own write is written once more where it lies,
/// in one byte: `WAIT` waits for nothing but writes of its own connection, and the first one may have had another.
const REFUSAL: &str = r"
local function refusal(key, condition, own)
  local found = tag_of(key)
  if type(found) == 'table' then return found end
  if not found then
    if condition ~= 'absent' then return 0 end
  elseif found == own then
    redis.pcall('SETRANGE', key, 0, '\1')
    return 1
  elseif found == '' or condition == 'absent' or (condition ~= 'present' and condition ~= found) then
    return whole(key)
  end
end
";

/// ARGV: condition, tag of the record, value, end.
const SWAP: &str = r"
return refusal(KEYS[1], ARGV[1], ARGV[2]) or redis.pcall('SET', KEYS[1], ARGV[3], 'PXAT', ARGV[4])
";

/// KEYS: old, new. ARGV: as for SWAP. Its own record under the new key: all of this has happened.
const MOVE: &str = r"
local taken = refusal(KEYS[2], 'absent', ARGV[2])
if taken == 1 or type(taken) == 'table' and taken.err then return taken end
if taken then return -1 end
local no = refusal(KEYS[1], ARGV[1])
if no then return no end
local set = redis.pcall('SET', KEYS[2], ARGV[3], 'PXAT', ARGV[4])
if not set.err then redis.call('DEL', KEYS[1]) end
return set
";

/// ARGV: condition.
const REMOVE: &str = r"
local no = refusal(KEYS[1], ARGV[1])
if no then return no end
local gone = redis.pcall('DEL', KEYS[1])
return type(gone) == 'table' and gone or 1
";

/// ARGV: end, its bytes in a frame.
const TOUCH: &str = r"
local found = tag_of(KEYS[1])
if type(found) == 'table' then return found end
if not found then return 0 end
if found == '' then return whole(KEYS[1]) end
extend(KEYS[1], ARGV[1], ARGV[2])
return 1
";

const READ: &str = r"
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

impl Scripts {
    fn of(layout: &str) -> Self {
        Self {
            swap: Script::new(&[layout, REFUSAL, SWAP]),
            relocate: Script::new(&[layout, REFUSAL, MOVE]),
            remove: Script::new(&[layout, REFUSAL, REMOVE]),
            touch: Script::new(&[layout, TOUCH]),
        }
    }

    fn for_key(key: &StoreKey) -> &'static Self {
        static NATIVE_SCRIPTS: LazyLock<Scripts> = LazyLock::new(|| Scripts::of(NATIVE));
        static PLAIN_SCRIPTS: LazyLock<Scripts> = LazyLock::new(|| Scripts::of(PLAIN));
        match key.layout() {
            Layout::Native => &NATIVE_SCRIPTS,
            Layout::Plain => &PLAIN_SCRIPTS,
        }
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

    fn script(script: &'static Script, keys: &[&StoreKey], effect: Effect) -> Self {
        let mut command = cmd("EVALSHA");
        command.arg(&script.sha).arg(keys.len());
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
    static READ_SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(&[PLAIN, READ]));
    match key.layout() {
        Layout::Native => Request::command("GET", key, Effect::Read),
        Layout::Plain => Request::script(&READ_SCRIPT, &[key], Effect::Read),
    }
}

pub(super) fn set(key: &StoreKey, record: &Record, when: When) -> Request {
    let mut request = Request::script(&Scripts::for_key(key).swap, &[key], Effect::Write);
    write_args(&mut request.command, key.layout(), record, when);
    request
}

/// Both keys on one server.
pub(super) fn relocate(old: &StoreKey, when: When, new: &StoreKey, record: &Record) -> Request {
    let mut request = Request::script(&Scripts::for_key(new).relocate, &[old, new], Effect::Write);
    write_args(&mut request.command, new.layout(), record, when);
    request
}

/// `destroy`, under a condition.
pub(super) fn remove(key: &StoreKey, when: When) -> Request {
    let mut request = Request::script(&Scripts::for_key(key).remove, &[key], Effect::Write);
    condition_arg(&mut request.command, key.layout(), when);
    request
}

pub(super) fn touch(key: &StoreKey, expires_at: Timestamp) -> Request {
    let mut request = Request::script(&Scripts::for_key(key).touch, &[key], Effect::Touch);
    request.command.arg(expires_at.as_millis()).arg(&frame::moment(expires_at));
    request
}

pub(super) fn destroy(key: &StoreKey) -> Request {
    Request::command("DEL", key, Effect::Write)
}

fn write_args(command: &mut Cmd, layout: Layout, record: &Record, when: When) {
    condition_arg(command, layout, when);
    match layout {
        Layout::Native => command.arg(record.tag.as_bytes()).arg(frame::encode(record)),
        // Equal bytes are no proof of an own write: no tag is the own one.
        Layout::Plain => command.arg("").arg(&record.data[..]),
    };
    // A moment that has passed removes the key; 0 alone would be refused.
    command.arg(record.expires_at.as_millis().max(1));
}

fn condition_arg(command: &mut Cmd, layout: Layout, when: When) {
    match when {
        When::Absent => command.arg("absent"),
        When::Present => command.arg("present"),
        When::Tagged(tag) => match layout {
            Layout::Native => command.arg(tag.as_bytes()),
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

//! The parts of which the scripts are put together.
//!
//! A condition and its write must be one step, so they are a Lua script: it reads the tag only, answers 1 for
//! a write that has happened before, 0 where nothing lives, the whole value where another record is in the
//! way, and otherwise writes. `pcall` hands on the server's own error (`WRONGTYPE`, `OOM`) with its code. There
//! are hardly any functions, since making them takes longer than calling them.
//!
//! KEYS[1] is the key of the condition, ARGV[1]. A tag is compared together with the version before it, in one
//! piece of nine bytes; the words for other conditions are longer, so no value is one.

/// What the server says of the beginning of the value.
pub(super) const HEAD: &str = r"
local head = redis.pcall('GETRANGE', KEYS[1], 0, 8)
";

/// The write has happened. It is made once more, in one byte where it lies: `WAIT` waits for nothing but writes
/// of its own connection, and the first one may have had another.
pub(super) const OWN: &str = r"
if head == ARGV[2] then
  redis.pcall('SETRANGE', KEYS[1], 0, '\1')
  return 1
end
";

/// The answer where the condition does not hold.
pub(super) const CHECK: &str = r"
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
pub(super) const ENDS: &str = r"
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
pub(super) const CHECK_PLAIN: &str = r"
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
pub(super) const SET: &str = r"
return redis.pcall('SET', KEYS[1], ARGV[3], 'PXAT', ARGV[4])
";

/// KEYS: old, new. ARGV: as for SET. Its own record under the new key: all of this has happened.
pub(super) const NEW: &str = r"
local new = redis.pcall('GETRANGE', KEYS[2], 0, 8)
if type(new) == 'table' then return new end
if new ~= '' or redis.call('EXISTS', KEYS[2]) == 1 then
  if new ~= ARGV[2] then return -1 end
  redis.pcall('SETRANGE', KEYS[2], 0, '\1')
  return 1
end
";

pub(super) const MOVE: &str = r"
local set = redis.pcall('SET', KEYS[2], ARGV[3], 'PXAT', ARGV[4])
if not set.err then redis.call('DEL', KEYS[1]) end
return set
";

pub(super) const REMOVE: &str = r"
local gone = redis.pcall('DEL', KEYS[1])
return type(gone) == 'table' and gone or 1
";

/// Notes in an owner's index how long one of the sessions there lives. What has expired leaves, and the index expires
/// with the last of them. Answers nothing, or the server's own error.
pub(super) const NOTE: &str = r"
local function note(index, member, ends)
  local noted = redis.pcall('ZADD', index, 'GT', ends, member)
  if type(noted) == 'table' then return noted end
  local now = redis.call('TIME')
  redis.call('ZREMRANGEBYSCORE', index, '-inf', now[1] * 1000 + math.floor(now[2] / 1000))
  local last = redis.call('ZREVRANGE', index, 0, 0, 'WITHSCORES')[2]
  if last then redis.call('PEXPIREAT', index, last) end
end
";

/// KEYS: key, index. ARGV: as for SET, member. First the index: an entry without a session is no harm.
pub(super) const SET_OWNED: &str = r"
local failed = note(KEYS[2], ARGV[5], ARGV[4])
if failed then return failed end
return redis.pcall('SET', KEYS[1], ARGV[3], 'PXAT', ARGV[4])
";

/// KEYS: old, new, index. ARGV: as for SET_OWNED, the old member.
pub(super) const MOVE_OWNED: &str = r"
local failed = note(KEYS[3], ARGV[5], ARGV[4])
if failed then return failed end
local set = redis.pcall('SET', KEYS[2], ARGV[3], 'PXAT', ARGV[4])
if not set.err then
  redis.call('DEL', KEYS[1])
  redis.call('ZREM', KEYS[3], ARGV[6])
end
return set
";

/// KEYS: index. ARGV: member, end.
pub(super) const NOTE_ONE: &str = r"
return note(KEYS[1], ARGV[1], ARGV[2]) or 1
";

/// The same after the session was written, with another score in any case: see FORGET_UNCHANGED.
pub(super) const CONFIRM: &str = r"
local before = redis.pcall('ZSCORE', KEYS[1], ARGV[1])
if type(before) == 'table' then return before end
local ends = math.max(tonumber(before or 0), tonumber(ARGV[2])) + 1
return note(KEYS[1], ARGV[1], ends) or 1
";

/// KEYS: index. ARGV: members and their scores. Takes those out whose score is what it was: nobody has written a session
/// since that had not been there.
pub(super) const FORGET_UNCHANGED: &str = r"
for n = 1, #ARGV, 2 do
  local score = redis.call('ZSCORE', KEYS[1], ARGV[n])
  if score and tonumber(score) == tonumber(ARGV[n + 1]) then redis.call('ZREM', KEYS[1], ARGV[n]) end
end
return 0
";

/// KEYS: index, keys. ARGV: their members. Takes those out that are gone.
pub(super) const FORGET: &str = r"
for n = 2, #KEYS do
  if redis.call('EXISTS', KEYS[n]) == 0 then redis.call('ZREM', KEYS[1], ARGV[n - 1]) end
end
return 0
";

/// ARGV: the principal as it stands in a frame. Ends the session if it is that principal's, or nobody can read it:
/// 1; 0: it is gone; -1: it is somebody else's.
pub(super) const END: &str = r"
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local head = redis.pcall('GETRANGE', KEYS[1], 0, 14)
if type(head) == 'string' and #head == 15 and string.byte(head) == 1 then
  if redis.call('GETRANGE', KEYS[1], 15, 14 + #ARGV[1]) ~= ARGV[1] then return -1 end
elseif type(head) == 'table' and not string.find(head.err, 'WRONGTYPE', 1, true) then
  return head
end
local gone = redis.pcall('DEL', KEYS[1])
return type(gone) == 'table' and gone or 1
";

/// ARGV: end, its bytes in a frame. Without room for more the end is not noted in the frame, but kept.
/// What must be done first for a session that belongs to somebody, stands between the two halves.
pub(super) const TOUCH: &str = r"
local head = redis.pcall('GETRANGE', KEYS[1], 0, 15)
if type(head) == 'table' then return head end
if #head < 15 or string.byte(head) ~= 1 then
  if head == '' and redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
  return redis.call('GET', KEYS[1])
end
local a, b, c, d, e, f = string.byte(head, 10, 15)
if ((((a * 256 + b) * 256 + c) * 256 + d) * 256 + e) * 256 + f < tonumber(ARGV[1]) then
local named = string.byte(head, 16)
if named and named > 0 then
";

pub(super) const EXTEND: &str = r"
end
redis.pcall('SETRANGE', KEYS[1], 9, ARGV[2])
redis.call('PEXPIREAT', KEYS[1], ARGV[1])
end
return 1
";

/// The principal of a frame that has one; its length is one more than it is, seven bits a byte.
pub(super) const PRINCIPAL: &str = r"
local length, weight, at, byte = 0, 1, 15, 0
repeat
  byte = string.byte(redis.call('GETRANGE', KEYS[1], at, at)) or 0
  length, weight, at = length + byte % 128 * weight, weight * 128, at + 1
until byte < 128
local principal = ''
if length > 1 then principal = redis.call('GETRANGE', KEYS[1], at, at + length - 2) end
";

/// ARGV: as for TOUCH, what the names of indexes begin with, member. The index is on this server, whatever its name.
pub(super) const NOTE_HERE: &str = r"
local failed = note(ARGV[3] .. redis.sha1hex(principal), ARGV[4], ARGV[1])
if failed then return failed end
";

/// ARGV: as for TOUCH, the principal in whose index the new end is noted already. Anybody else's must be noted first.
pub(super) const NOTED: &str = r"
if ARGV[3] ~= principal then return {principal} end
";

pub(super) const TOUCH_PLAIN: &str = r"
local length = redis.pcall('STRLEN', KEYS[1])
if type(length) == 'table' then return length end
local old = ends(KEYS[1])
if old == -2 then return 0 end
if old >= 0 and old < tonumber(ARGV[1]) then redis.call('PEXPIREAT', KEYS[1], ARGV[1]) end
return 1
";

pub(super) const READ_PLAIN: &str = r"
local value = redis.pcall('GET', KEYS[1])
if type(value) == 'string' then return {value, ends(KEYS[1])} end
return value
";

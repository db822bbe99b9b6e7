//! The session's data: one JSON object, read only as far as its top-level keys.
//!
//! Values stay the text they are until somebody asks for one. What is compared, merged and written back is
//! text too, so that a key nobody touched costs nothing and survives byte for byte.

mod merge;
mod room;

use std::{borrow::Cow, collections::HashSet, fmt, ops::Range, sync::Arc};

use axum::body::Bytes;
use serde::{Deserialize, Serialize};

pub(crate) use self::{
    merge::{merge, same_value},
    room::Written,
};
use crate::{
    fields,
    scan::{Scanner, Window},
};

/// An object in insertion order. Entries lie in `source`, or are owned once they have been written.
#[derive(Clone, Default)]
pub(crate) struct Object {
    source: Bytes,
    entries: Vec<Entry>,
}

#[derive(Clone)]
pub(crate) struct Entry {
    key: Piece,
    value: Piece,
}

impl Entry {
    /// One whose key and value lie at these places of the source.
    pub(crate) fn at(key: Place, value: Place) -> Self {
        Self { key: Piece::At(key), value: Piece::At(value) }
    }
}

/// A stretch of JSON text: of the source, or on its own. A key is stored without quotes and escapes.
#[derive(Clone)]
enum Piece {
    At(Place),
    Own(Arc<[u8]>),
}

/// From where to where, in bytes.
pub(crate) type Place = (u32, u32);

/// Room for as many entries is made at first.
const USUAL_KEYS: usize = 8;

/// So many comparisons of two keys are cheaper than a set of all keys, however few they are.
const LOOKS: usize = 64;

impl Object {
    /// Finds the keys of a JSON object. `None`: the text is none.
    pub(crate) fn parse(source: Bytes) -> Option<Self> {
        Self::parse_from(source, 0)
    }

    /// The same of text that begins at `start`; what is before it has been read.
    pub(crate) fn parse_from(source: Bytes, start: usize) -> Option<Self> {
        // Offsets are kept in 32 bits; the layer's `max_size` is far below.
        let text = source.get(start..)?;
        u32::try_from(source.len()).ok()?;
        let mut window = Window::default();
        let mut scanner = Scanner::new(&source, start, &mut window);
        let (mut entries, mut marks) = (Vec::new(), Marks::default());
        scanner.brace(b'{')?;
        if scanner.brace(b'}').is_none() {
            entries.reserve_exact(USUAL_KEYS);
            loop {
                if entries.len() == USUAL_KEYS {
                    // As many more as there will be if the rest is like the beginning.
                    entries.reserve(entries.len() * source.len() / scanner.at());
                }
                let key = scanner.string()?;
                let escaped = scanner.has_escapes(&key);
                if !scanner.passes(b':') {
                    return None;
                }
                let value = scanner.value()?;
                if escaped {
                    marks.note(push_unescaped(&mut entries, &source, &key, value)?);
                } else {
                    marks.note(&source[key.clone()]);
                    entries.push(Entry { key: at(key), value: at(value) });
                }
                if !scanner.passes(b',') {
                    break;
                }
            }
            scanner.brace(b'}')?;
        }
        if !scanner.is_over() || (scanner.is_wide() && str::from_utf8(text).is_err()) {
            return None;
        }
        let mut object = Self { source, entries };
        if marks.may_repeat {
            object.keep_last();
        }
        Some(object)
    }

    /// Of a key that stands there twice the last counts, as in `JSON.parse`.
    fn keep_last(&mut self) {
        let Self { source, entries } = self;
        if !repeats(entries, source) {
            return;
        }
        let mut seen = HashSet::new();
        entries.reverse();
        entries.retain(|entry| seen.insert(entry.key.of(source).to_owned()));
        entries.reverse();
    }

    /// The object that a value serializes to.
    pub(crate) fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        if let Some(done) = fields::of(value) {
            return done;
        }
        // A shape that is seldom, or no object at all: serde_json says which.
        let text = serde_json::to_vec(value)?;
        match Self::parse(text.into()) {
            Some(object) => Ok(object),
            None => Err(serde::de::Error::custom("the value is not written as a JSON object")),
        }
    }

    /// An object from text that holds its entries.
    pub(crate) fn of_entries(source: Bytes, entries: Vec<Entry>) -> Self {
        Self { source, entries }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn bytes<'a>(&'a self, piece: &'a Piece) -> &'a [u8] {
        piece.of(&self.source)
    }

    /// The JSON text under `key`.
    pub(crate) fn get(&self, key: &str) -> Option<&[u8]> {
        let entry = self.entries.iter().find(|e| self.bytes(&e.key) == key.as_bytes())?;
        Some(self.bytes(&entry.value))
    }

    /// Keys and the JSON text of their values, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Cow<'_, str>, &[u8])> {
        self.entries.iter().map(|e| (String::from_utf8_lossy(self.bytes(&e.key)), self.bytes(&e.value)))
    }

    /// Puts JSON text under `key`; in its old place if the key is there.
    pub(crate) fn put(&mut self, key: &str, value: &[u8]) {
        let value = Piece::Own(value.into());
        match self.entries.iter().position(|e| self.bytes(&e.key) == key.as_bytes()) {
            Some(i) => self.entries[i].value = value,
            None => self.entries.push(Entry { key: Piece::Own(key.as_bytes().into()), value }),
        }
    }

    pub(crate) fn remove(&mut self, key: &str) {
        let Self { source, entries } = self;
        entries.retain(|e| e.key.of(source) != key.as_bytes());
    }

    /// Puts or removes.
    pub(crate) fn apply(&mut self, key: &str, value: Option<&[u8]>) {
        match value {
            Some(value) => self.put(key, value),
            None => self.remove(key),
        }
    }

    /// Appends the object as JSON text.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        self.write_entries(out);
        out.push(b'}');
    }

    /// Appends the entries alone, for a caller with members of its own to add.
    pub(crate) fn write_entries(&self, out: &mut Vec<u8>) {
        let mut rest = &*self.entries;
        while let Some((first, others)) = rest.split_first() {
            if rest.len() < self.entries.len() {
                out.push(b',');
            }
            rest = others;
            let Some(mut run) = self.member(first) else {
                write_key(self.bytes(&first.key), out);
                out.push(b':');
                out.extend_from_slice(self.bytes(&first.value));
                continue;
            };
            // What stands side by side in the source is copied as one.
            while let Some((next, others)) = rest.split_first()
                && let Some(member) = self.member(next)
                && self.source.get(run.end..member.start) == Some(b",")
            {
                run.end = member.end;
                rest = others;
            }
            out.extend_from_slice(&self.source[run]);
        }
    }

    /// Where the source has the entry as it would be written.
    fn member(&self, entry: &Entry) -> Option<Range<usize>> {
        let Entry { key: Piece::At((from, key_end)), value: Piece::At((value, to)) } = entry else {
            return None;
        };
        let (from, key_end) = (*from as usize, *key_end as usize);
        let written = *value as usize == key_end + 2
            && self.source.get(key_end..key_end + 2) == Some(b"\":")
            && self.source[..from].ends_with(b"\"");
        written.then(|| from - 1..*to as usize)
    }

    /// How long [`write`](Self::write)'s text will be, unless a key has something to escape.
    pub(crate) fn size_hint(&self) -> usize {
        let members = self.entries.iter().map(|e| e.key.len() + e.value.len() + 3);
        2 + members.sum::<usize>() + self.entries.len().saturating_sub(1)
    }
}

// The data are the visitor's: a log line must not carry them.
impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Object({} keys)", self.entries.len())
    }
}

fn write_key(key: &[u8], out: &mut Vec<u8>) {
    if key.iter().any(|b| matches!(b, b'"' | b'\\' | 0..=0x1f)) {
        let text = String::from_utf8_lossy(key);
        // A string always serializes, and writing to memory does not fail.
        out.extend(serde_json::to_vec(&text).unwrap_or_default());
    } else {
        out.push(b'"');
        out.extend_from_slice(key);
        out.push(b'"');
    }
}

/// Adds an entry whose key is not written as it is meant.
#[cold]
fn push_unescaped<'a>(
    entries: &'a mut Vec<Entry>,
    source: &Bytes,
    key: &Range<usize>,
    value: Range<usize>,
) -> Option<&'a [u8]> {
    let key: String = read_value(&source[key.start - 1..=key.end]).ok()?;
    entries.push(Entry { key: Piece::Own(key.into_bytes().into()), value: at(value) });
    match &entries.last()?.key {
        Piece::Own(key) => Some(key),
        Piece::At(_) => None,
    }
}

impl Piece {
    fn len(&self) -> usize {
        match self {
            Self::At((from, to)) => (to - from) as usize,
            Self::Own(bytes) => bytes.len(),
        }
    }

    fn of<'a>(&'a self, source: &'a Bytes) -> &'a [u8] {
        match self {
            Self::At((from, to)) => &source[*from as usize..*to as usize],
            Self::Own(bytes) => bytes,
        }
    }
}

/// A bit for each key that has been seen, by its length and its ends: two that have the same may be one.
#[derive(Default)]
struct Marks {
    seen: u64,
    may_repeat: bool,
}

impl Marks {
    fn note(&mut self, key: &[u8]) {
        let (first, last) = (key.first().map_or(0, |b| *b), key.last().map_or(0, |b| *b));
        let bit = 1 << ((usize::from(first) * 5 + usize::from(last) * 11 + key.len()) & 63);
        self.may_repeat |= self.seen & bit != 0;
        self.seen |= bit;
    }
}

/// Whether two keys are the same: a key is compared with those before it only if a bit of its hash has been seen, and where
/// too many bits are set for that to help, all keys are put into a set.
fn repeats(entries: &[Entry], source: &Bytes) -> bool {
    let mut seen = [0_u64; 64];
    let mut looks = entries.len().max(LOOKS);
    for (i, entry) in entries.iter().enumerate() {
        let key = entry.key.of(source);
        // FNV-1a.
        let hash = key.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        // Keys that differ at their ends only would else share their upper bits.
        let hash = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let (slot, bit) = (&mut seen[(hash >> 58) as usize], 1 << (hash >> 52 & 63));
        if *slot & bit != 0 {
            if entries[..i].iter().any(|before| before.key.of(source) == key) {
                return true;
            }
            let Some(left) = looks.checked_sub(i) else {
                return entries.iter().map(|e| e.key.of(source)).collect::<HashSet<_>>().len()
                    < entries.len();
            };
            looks = left;
        }
        *slot |= bit;
    }
    false
}

fn at(Range { start, end }: Range<usize>) -> Piece {
    // `parse` has seen to it that they fit.
    Piece::At((start as u32, end as u32))
}

/// Reads the JSON text of one value.
pub(crate) fn read_value<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice(text)
}

#[cfg(test)]
mod tests;

//! The session's data: one JSON object, read only as far as its top-level keys.
//!
//! Values stay the text they are until somebody asks for one. What is compared, merged and written back is
//! text too, so that a key nobody touched costs nothing and survives byte for byte.

mod merge;
pub(crate) mod notes;
mod parse;
mod room;
mod source;

use std::{borrow::Cow, fmt, mem, ops::Range, slice};

use serde::{Deserialize, Serialize};

use self::notes::Walk;
pub(crate) use self::{
    merge::{merge, same_value},
    room::{Written, for_fields, give_back},
    source::Source,
};
use crate::fields;

/// An object in insertion order. Its keys, without quotes and escapes, and its values, as JSON, lie in `source`; what has
/// been written since lies in `own`, as if that stood behind it.
#[derive(Clone, Default)]
pub(crate) struct Object {
    source: Source,
    own: Vec<u8>,
    entries: Vec<Entry>,
    /// Where in the source it begins, as long as its entries are not listed here, but noted there.
    noted: Option<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: Place,
    pub(crate) value: Place,
}

/// From where to where, in bytes.
pub(crate) type Place = (usize, usize);

/// So much text of its own an object has before it looks whether most of that has been written over, in bytes.
const UNTIDY: usize = 4096;
/// What a record has beside keys and values, in bytes.
const USUAL_RECORD: usize = 128;

impl Object {
    /// Whether it is as new: empty, and without anything that had to be dropped.
    #[inline]
    pub(crate) fn is_blank(&self) -> bool {
        self.source.is_nothing()
            && self.own.capacity() == 0
            && self.entries.capacity() == 0
            && self.noted.is_none()
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

    /// Its text and the notes of it, if its entries are not listed.
    fn noted_text(&self) -> Option<(&[u8], &[u8])> {
        let start = self.noted?;
        let (record, notes) = notes::split(&self.source);
        Some((&record[start..], notes))
    }

    /// How long the keys and values are that are listed, as [`write`](Self::write) writes them. `None`: a key that has something
    /// to escape.
    fn lengths(&self) -> impl Iterator<Item = (Option<usize>, usize)> {
        self.entries.iter().map(|entry| {
            let key = self.text(entry.key);
            let plain = entry.key.1 <= self.source.len() || !key.iter().any(|byte| must_escape(*byte));
            (plain.then_some(key.len()), length(entry.value))
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.noted.is_none()
    }

    #[inline]
    fn each(&self) -> Each<'_> {
        match self.noted {
            Some(start) => Each::Noted(Walk::new(&self.source, start)),
            None => Each::Listed(self.entries.iter()),
        }
    }

    /// Lists the entries, so that they can be changed.
    fn list(&mut self) {
        if let Some(start) = self.noted.take() {
            let walk = Walk::new(&self.source, start);
            // And one that is new.
            self.entries.reserve_exact(walk.most() + 1);
            self.entries.extend(walk);
        }
    }

    fn text(&self, place: Place) -> &[u8] {
        text_at(&self.source, &self.own, place)
    }

    /// Whether both have read the same bytes.
    fn is_of_one_text_with(&self, other: &Self) -> bool {
        self.source.as_ptr_range() == other.source.as_ptr_range()
    }

    /// Whether the entry is as it was read.
    fn is_read(&self, entry: &Entry) -> bool {
        entry.key.1 <= self.source.len() && entry.value.1 <= self.source.len()
    }

    /// Where in the list the key is.
    fn position(&mut self, key: &str) -> Option<usize> {
        self.list();
        self.entries.iter().position(|entry| self.text(entry.key) == key.as_bytes())
    }

    /// The JSON text under `key`.
    pub(crate) fn get(&self, key: &str) -> Option<&[u8]> {
        // Most are of another length, and need not be looked at.
        let is_it = |entry: &Entry| length(entry.key) == key.len() && self.text(entry.key) == key.as_bytes();
        let entry = match self.noted {
            Some(start) => Walk::new(&self.source, start).find(is_it),
            None => self.entries.iter().copied().find(is_it),
        };
        Some(self.text(entry?.value))
    }

    /// Keys and the JSON text of their values, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Cow<'_, str>, &[u8])> {
        self.each().map(|e| (String::from_utf8_lossy(self.text(e.key)), self.text(e.value)))
    }

    /// Puts JSON text under `key`; in its old place if the key is there.
    pub(crate) fn put(&mut self, key: &str, value: &[u8]) {
        if self.own.len() > UNTIDY {
            self.tidy();
        }
        let position = self.position(key);
        self.own.reserve(value.len() + if position.is_none() { key.len() } else { 0 });
        match position {
            Some(i) => self.entries[i].value = self.lay(value),
            None => {
                let entry = Entry { key: self.lay(key.as_bytes()), value: self.lay(value) };
                self.entries.push(entry);
            }
        }
    }

    /// Adds text of its own.
    fn lay(&mut self, text: &[u8]) -> Place {
        let from = self.source.len() + self.own.len();
        self.own.extend_from_slice(text);
        (from, from + text.len())
    }

    /// Leaves out what has been written over, if that is most of its own text: who goes on writing for hours has no more of
    /// it than twice what counts, and what has been written last.
    fn tidy(&mut self) {
        let behind = self.source.len();
        let own = |place: &Place| place.0 >= behind;
        let counts = self.entries.iter().flat_map(|e| [e.key, e.value]).filter(own).map(length);
        if counts.sum::<usize>() > self.own.len() / 2 {
            return;
        }
        let before = mem::take(&mut self.own);
        let mut entries = mem::take(&mut self.entries);
        for Entry { key, value } in &mut entries {
            for place in [key, value] {
                if own(place) {
                    *place = self.lay(&before[place.0 - behind..place.1 - behind]);
                }
            }
        }
        self.entries = entries;
    }

    pub(crate) fn remove(&mut self, key: &str) {
        if let Some(i) = self.position(key) {
            self.entries.remove(i);
        }
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
        if let Some((text, _)) = self.noted_text() {
            out.extend_from_slice(&text[1..text.len() - 1]);
            return;
        }
        let mut rest = &*self.entries;
        while let Some((first, others)) = rest.split_first() {
            if rest.len() < self.entries.len() {
                out.push(b',');
            }
            rest = others;
            let Some(mut run) = self.member(first) else {
                write_key(self.text(first.key), out);
                out.push(b':');
                out.extend_from_slice(self.text(first.value));
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
        let Entry { key: (from, key_end), value: (value, to) } = *entry;
        let written = value == key_end + 2
            && to <= self.source.len()
            && self.source.get(key_end..value) == Some(b"\":")
            && self.source[..from].ends_with(b"\"");
        written.then(|| from - 1..to)
    }

    /// About as long as a record of it can be.
    pub(crate) fn most(&self) -> usize {
        USUAL_RECORD + self.source.len() + self.own.len()
    }

    /// How long [`write`](Self::write)'s text will be, unless a key has something to escape.
    pub(crate) fn size_hint(&self) -> usize {
        if let Some((text, _)) = self.noted_text() {
            return text.len();
        }
        let members = self.entries.iter().map(|e| length(e.key) + length(e.value) + 3);
        2 + members.sum::<usize>() + self.entries.len().saturating_sub(1)
    }
}

// The data are the visitor's: a log line must not carry them.
impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Object({} keys)", self.each().count())
    }
}

/// The entries of an object, in order.
enum Each<'a> {
    Noted(Walk<'a>),
    Listed(slice::Iter<'a, Entry>),
}

impl Iterator for Each<'_> {
    type Item = Entry;

    #[inline]
    fn next(&mut self) -> Option<Entry> {
        match self {
            Self::Noted(walk) => walk.next(),
            Self::Listed(entries) => entries.next().copied(),
        }
    }
}

fn must_escape(byte: u8) -> bool {
    matches!(byte, b'"' | b'\\' | 0..=0x1f)
}

fn write_key(key: &[u8], out: &mut Vec<u8>) {
    if key.iter().any(|byte| must_escape(*byte)) {
        let text = String::from_utf8_lossy(key);
        // A string always serializes, and writing to memory does not fail.
        out.extend(serde_json::to_vec(&text).unwrap_or_default());
    } else {
        out.push(b'"');
        out.extend_from_slice(key);
        out.push(b'"');
    }
}

fn text_at<'a>(source: &'a [u8], own: &'a [u8], (from, to): Place) -> &'a [u8] {
    match from.checked_sub(source.len()) {
        None => &source[from..to],
        Some(from) => &own[from..to - source.len()],
    }
}

fn length((from, to): Place) -> usize {
    to - from
}

/// Reads the JSON text of one value.
pub(crate) fn read_value<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice(text)
}

#[cfg(test)]
mod tests;

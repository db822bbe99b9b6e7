//! Where the keys of a record lie, noted behind its text. A store in this process keeps that with the record, so that nobody
//! has to look for them again.
//!
//! For each key how long it is and how long its value is, then in two bytes how long all of these notes are, then the tag, so
//! that a version of a session is one piece of memory. The text is as [`Object::write`] writes it, so that more need not be
//! known; of other text no key is noted.

use std::sync::Arc;

use axum::body::Bytes;
use memchr::memchr;

use super::{Entry, Object};
use crate::store::{Layout, Tag};

/// The length of the notes, and the tag.
const END: usize = 2 + 8;

/// Notes behind the text where its keys lie, none of them if that is not to be told, and the tag.
pub(crate) fn append(text: &mut Vec<u8>, object: Option<&Object>, tag: Tag) {
    let end = text.len();
    if let Some(object) = object {
        note_all(text, object);
    }
    let length = u16::try_from(text.len() - end).unwrap_or_else(|_| {
        text.truncate(end);
        0
    });
    text.extend_from_slice(&length.to_le_bytes());
    text.extend_from_slice(tag.as_bytes());
}

fn note_all(text: &mut Vec<u8>, object: &Object) {
    if let Some((_, notes)) = object.noted_text() {
        text.extend_from_slice(notes);
        return;
    }
    let end = text.len();
    for (key, value) in object.lengths() {
        let Some(key) = key else {
            text.truncate(end);
            return;
        };
        note(key, text);
        note(value, text);
    }
}

/// The text of a record with notes behind it, and the notes.
pub(crate) fn split(data: &[u8]) -> (&[u8], &[u8]) {
    let Some((rest, end)) = data.split_last_chunk::<END>() else { return (data, &[]) };
    let [low, high, ..] = *end;
    let length = u16::from_le_bytes([low, high]);
    rest.len().checked_sub(length.into()).map_or((data, &[]), |text| rest.split_at(text))
}

/// The tag behind the notes.
pub(crate) fn tag(data: &[u8]) -> Tag {
    data.last_chunk().copied().unwrap_or_default().into()
}

/// The entries of an object whose keys are noted, as they stand in its text.
pub(super) struct Walk<'a> {
    notes: &'a [u8],
    /// Where the next key begins.
    at: usize,
}

impl<'a> Walk<'a> {
    /// Of the object that begins at `start`.
    #[inline]
    pub(super) fn new(data: &'a [u8], start: usize) -> Self {
        Self { notes: split(data).1, at: start + 2 }
    }

    /// Lengths of which one is long.
    #[inline(never)]
    fn long(&mut self) -> Option<(usize, usize)> {
        Some((noted_length(&mut self.notes)?, noted_length(&mut self.notes)?))
    }

    /// No fewer than there are.
    pub(super) fn most(&self) -> usize {
        self.notes.len() / 2
    }
}

impl Iterator for Walk<'_> {
    type Item = Entry;

    #[inline]
    fn next(&mut self) -> Option<Entry> {
        let (key, value) = match *self.notes {
            // As a rule each length is one byte.
            [key @ ..=0x7f, value @ ..=0x7f, ref rest @ ..] => {
                self.notes = rest;
                (key.into(), value.into())
            }
            _ => self.long()?,
        };
        // Between a key and its value is `":`, between a value and the next key `,"`.
        let key = (self.at, self.at + key);
        let value = (key.1 + 2, key.1 + 2 + value);
        self.at = value.1 + 2;
        Some(Entry { key, value })
    }
}

/// A record's text with notes and its tag behind it.
pub(crate) fn noted(text: &Bytes, layout: Layout, tag: Tag) -> Arc<[u8]> {
    let object = match layout {
        Layout::Native => memchr(b'\n', text).and_then(|line| {
            let object = Object::parse_from(text.clone(), line + 1)?;
            // Anything between its members would have made it longer.
            Some(object).filter(|object| line + 1 + object.size_hint() == text.len())
        }),
        Layout::Plain => None,
    };
    let mut data = Vec::with_capacity(text.len() + text.len() / 8 + END);
    data.extend_from_slice(text);
    append(&mut data, object.as_ref(), tag);
    data.into()
}

/// Seven bits a byte, the lowest first; all bytes but the last have the eighth set.
fn note(mut length: usize, notes: &mut Vec<u8>) {
    while length > 0x7f {
        notes.push(length as u8 | 0x80);
        length >>= 7;
    }
    notes.push(length as u8);
}

fn noted_length(notes: &mut &[u8]) -> Option<usize> {
    let (mut length, mut bits) = (0, 0);
    while let Some((byte, rest)) = notes.split_first() {
        *notes = rest;
        length |= usize::from(byte & 0x7f).checked_shl(bits)?;
        if byte & 0x80 == 0 {
            return Some(length);
        }
        bits += 7;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_come_back() {
        for length in (0..70_000).chain([1 << 20, (1 << 35) + 3, usize::MAX]) {
            let mut notes = Vec::new();
            note(length, &mut notes);
            assert_eq!(notes.len() == 1, length < 0x80, "{length}");
            assert_eq!(noted_length(&mut &*notes), Some(length));
            assert_eq!(noted_length(&mut &notes[..notes.len() - 1]), None, "cut off");
        }
        assert_eq!(noted_length(&mut &[0x80; 12][..]), None, "longer than any length");
    }
}

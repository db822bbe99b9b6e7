//! Objects out of text: where their keys lie, and which of those that are there twice counts.

use std::{collections::HashSet, ops::Range, sync::Arc};

use axum::body::Bytes;

use super::{Entry, Object, Place, read_value, text_at};
use crate::scan::{Scanner, Window};

/// Room for as many entries is made at first.
pub(super) const USUAL_KEYS: usize = 8;

/// So many comparisons of two keys are cheaper than a set of all keys, however few they are.
const LOOKS: usize = 64;

impl Object {
    /// Finds the keys of a JSON object. `None`: the text is none.
    pub(crate) fn parse(source: Bytes) -> Option<Self> {
        Self::parse_from(source, 0)
    }

    /// The same of text that begins at `start`; what is before it has been read.
    pub(crate) fn parse_from(source: Bytes, start: usize) -> Option<Self> {
        let text = source.get(start..)?;
        let mut window = Window::default();
        let mut scanner = Scanner::new(&source, start, &mut window);
        let (mut entries, mut own, mut marks) = (Vec::new(), Vec::new(), Marks::default());
        scanner.brace(b'{')?;
        if scanner.brace(b'}').is_none() {
            entries.reserve_exact(USUAL_KEYS);
            loop {
                if entries.len() == USUAL_KEYS {
                    // As many more as there will be if the rest is like the beginning.
                    entries.reserve(entries.len() * source.len() / scanner.at());
                }
                let written = scanner.string()?;
                let escaped = scanner.has_escapes(&written);
                if !scanner.passes(b':') {
                    return None;
                }
                let value = scanner.value()?;
                let key = if escaped {
                    unescaped(&source, written, &mut own)?
                } else {
                    (written.start, written.end)
                };
                marks.note(text_at(&source, &own, key));
                entries.push(Entry { key, value: (value.start, value.end) });
                if !scanner.passes(b',') {
                    break;
                }
            }
            scanner.brace(b'}')?;
        }
        if !scanner.is_over() || (scanner.is_wide() && str::from_utf8(text).is_err()) {
            return None;
        }
        if marks.may_repeat {
            keep_last(&source, &own, &mut entries);
        }
        Some(Self { source: source.into(), own, entries, noted: None })
    }

    /// The object that begins at `start` in a record, its keys noted there.
    #[inline]
    pub(crate) fn noted(record: Arc<[u8]>, start: usize) -> Self {
        Self { source: record.into(), noted: Some(start), ..Self::default() }
    }

    /// An object from text that holds its entries.
    pub(crate) fn of_entries(own: Vec<u8>, mut entries: Vec<Entry>) -> Self {
        let mut marks = Marks::default();
        for entry in &entries {
            marks.note(text_at(&[], &own, entry.key));
        }
        if marks.may_repeat {
            keep_last(&[], &own, &mut entries);
        }
        Self { own, entries, ..Self::default() }
    }
}

/// Of a key that stands there twice the last counts, as in `JSON.parse`.
fn keep_last(source: &[u8], own: &[u8], entries: &mut Vec<Entry>) {
    let key = |entry: &Entry| text_at(source, own, entry.key);
    if !repeats(entries, key) {
        return;
    }
    let mut seen = HashSet::new();
    entries.reverse();
    entries.retain(|entry| seen.insert(key(entry)));
    entries.reverse();
}

/// Whether two keys are the same: a key is compared with those before it only if a bit of its hash has been seen, and
/// where too many bits are set for that to help, all keys are put into a set.
pub(super) fn repeats<'a>(entries: &[Entry], key: impl Fn(&Entry) -> &'a [u8]) -> bool {
    let mut seen = [0_u64; 64];
    let mut looks = entries.len().max(LOOKS);
    for (i, entry) in entries.iter().enumerate() {
        let text = key(entry);
        // FNV-1a.
        let hash = text.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        // Keys that differ at their ends only would else share their upper bits.
        let hash = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let (slot, bit) = (&mut seen[(hash >> 58) as usize], 1 << (hash >> 52 & 63));
        if *slot & bit != 0 {
            if entries[..i].iter().any(|before| key(before) == text) {
                return true;
            }
            let Some(left) = looks.checked_sub(i) else {
                let keys: HashSet<_> = entries.iter().map(key).collect();
                return keys.len() < entries.len();
            };
            looks = left;
        }
        *slot |= bit;
    }
    false
}

/// A key that is not written as it is meant: as it is meant.
#[cold]
fn unescaped(source: &[u8], Range { start, end }: Range<usize>, own: &mut Vec<u8>) -> Option<Place> {
    let key: String = read_value(&source[start - 1..=end]).ok()?;
    let from = source.len() + own.len();
    own.extend_from_slice(key.as_bytes());
    Some((from, from + key.len()))
}

/// A bit for each key that has been seen, by its length and its ends: two that have the same may be one.
#[derive(Default)]
pub(super) struct Marks {
    seen: u64,
    pub(super) may_repeat: bool,
}

impl Marks {
    pub(super) fn note(&mut self, key: &[u8]) {
        let (first, last) = (key.first().map_or(0, |b| *b), key.last().map_or(0, |b| *b));
        let bit = 1 << ((usize::from(first) * 5 + usize::from(last) * 11 + key.len()) & 63);
        self.may_repeat |= self.seen & bit != 0;
        self.seen |= bit;
    }
}

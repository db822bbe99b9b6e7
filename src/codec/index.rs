//! Where the keys of a record lie, noted behind its text. A store in this process keeps that with the record, so that nobody
//! has to look for them again.
//!
//! For each key how long it is and how long its value is, then how many keys there are, two bytes each. The text is written
//! by [`Object::write`], so that more need not be known; of text that comes from elsewhere no key is noted.

use axum::body::Bytes;
use memchr::memchr;

use crate::{object::Object, store::Layout};

const NUMBER: usize = 2;

/// How much room the notes take.
pub(crate) fn room(object: Option<&Object>) -> usize {
    NUMBER + object.map_or(0, |object| object.lengths().count() * 2 * NUMBER)
}

/// Notes behind the text where its keys lie; none of them, if one is too long.
pub(crate) fn append(text: &mut Vec<u8>, object: Option<&Object>) {
    let end = text.len();
    let mut keys = 0_u16;
    for (key, value) in object.into_iter().flat_map(Object::lengths) {
        let (Some(key), Ok(value), true) = (key, u16::try_from(value), keys < u16::MAX) else {
            text.truncate(end);
            keys = 0;
            break;
        };
        text.extend_from_slice(&key.to_le_bytes());
        text.extend_from_slice(&value.to_le_bytes());
        keys += 1;
    }
    text.extend_from_slice(&keys.to_le_bytes());
}

/// The text of a record with notes behind it, and the notes.
pub(crate) fn split(data: &[u8]) -> (&[u8], &[[u8; 2 * NUMBER]]) {
    let Some((rest, keys)) = data.split_last_chunk::<NUMBER>() else { return (data, &[]) };
    let notes = usize::from(u16::from_le_bytes(*keys)) * 2 * NUMBER;
    match rest.len().checked_sub(notes) {
        Some(text) => (&rest[..text], rest[text..].as_chunks().0),
        None => (data, &[]),
    }
}

/// The object whose text begins at `start`, if its keys are noted.
pub(crate) fn object(data: &Bytes, start: usize) -> Option<Object> {
    let (text, notes) = split(data);
    let lengths = notes
        .iter()
        .map(|[a, b, c, d]| (u16::from_le_bytes([*a, *b]).into(), u16::from_le_bytes([*c, *d]).into()));
    Object::of_lengths(data, start..text.len(), lengths)
}

/// A record's text with notes behind it.
pub(crate) fn noted(text: &Bytes, layout: Layout) -> Bytes {
    let object = match layout {
        Layout::Native => memchr(b'\n', text).and_then(|line| Object::parse_from(text.clone(), line + 1)),
        Layout::Plain => None,
    };
    let mut data = Vec::with_capacity(text.len() + room(object.as_ref()));
    data.extend_from_slice(text);
    append(&mut data, object.as_ref());
    data.into_boxed_slice().into()
}

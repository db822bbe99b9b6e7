//! Room for what is written only to be compared or copied: the next value on this thread is written into it again.

use std::{
    cell::{Cell, RefCell},
    mem,
    ops::Deref,
};

use serde::Serialize;

use super::{Entry, Object};

/// Room for more is not kept, in bytes of text and in keys.
const MOST_TEXT: usize = 8192;
const MOST_KEYS: usize = 64;
/// An object before a change, one after it, and what a request has made of its session.
const MOST_OBJECTS: usize = 3;

thread_local! {
    static TEXT: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static FIELDS: RefCell<Vec<(Vec<u8>, Vec<Entry>)>> = const { RefCell::new(Vec::new()) };
}

/// The text of one value, or of a record.
pub(crate) struct Written(Vec<u8>);

impl Written {
    pub(crate) fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        Self::by(|text| serde_json::to_writer(text, value)).map(|(text, ())| text)
    }

    /// What `write` appends to nothing, and what it says of it.
    pub(crate) fn by<R, E>(write: impl FnOnce(&mut Vec<u8>) -> Result<R, E>) -> Result<(Self, R), E> {
        // A value that writes another one meanwhile finds no room, which is room of its own.
        let mut text = Self(TEXT.try_with(Cell::take).unwrap_or_default());
        let said = write(&mut text.0)?;
        Ok((text, said))
    }
}

impl Deref for Written {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        if self.0.capacity() <= MOST_TEXT {
            self.0.clear();
            let _ = TEXT.try_with(|room| room.replace(mem::take(&mut self.0)));
        }
    }
}

/// Room for the text and the places of fields.
pub(crate) fn for_fields() -> (Vec<u8>, Vec<Entry>) {
    FIELDS.try_with(|room| room.borrow_mut().pop()).ok().flatten().unwrap_or_default()
}

impl Object {
    /// A copy to be changed.
    pub(crate) fn copy(&self) -> Self {
        let (mut own, mut entries) = for_fields();
        own.extend_from_slice(&self.own);
        entries.extend_from_slice(&self.entries);
        Self { source: self.source.clone(), own, entries, noted: self.noted }
    }
}

/// Gives the room of an object back that nobody needs any more.
pub(crate) fn give_back(Object { mut own, mut entries, .. }: Object) {
    if own.capacity() <= MOST_TEXT && entries.capacity() <= MOST_KEYS {
        own.clear();
        entries.clear();
        let _ = FIELDS.try_with(|room| {
            let mut room = room.borrow_mut();
            if room.len() < MOST_OBJECTS {
                room.push((own, entries));
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Serializer;

    use super::*;

    fn room() -> usize {
        let room = TEXT.take();
        let size = room.capacity();
        TEXT.set(room);
        size
    }

    #[test]
    fn texts_do_not_mix_and_large_room_is_not_kept() {
        struct Within;
        impl Serialize for Within {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                assert_eq!(&*Written::of("within").expect("text"), b"\"within\"");
                to.serialize_str("without")
            }
        }
        let first = Written::of(&BTreeMap::from([("a", 1)])).expect("an object");
        assert_eq!(&*Written::of(&Within).expect("text"), b"\"without\"");
        assert_eq!(&*first, b"{\"a\":1}");
        drop(first);
        assert!((1..=MOST_TEXT).contains(&room()));
        assert_eq!(&*Written::of(&7).expect("a number"), b"7");
        let long = "x".repeat(MOST_TEXT);
        assert_eq!(Written::of(&long).expect("text").len(), MOST_TEXT + 2);
        assert_eq!(room(), 0);
    }

    #[test]
    fn a_copy_is_made_in_the_room_of_another_object() {
        let made = |key: &str| Object::of(&BTreeMap::from([(key, 1)])).expect("an object");
        let (first, other) = (made("first"), made("another"));
        let text = other.own.as_ptr();
        give_back(other);
        let mut copy = first.copy();
        assert_eq!(copy.own.as_ptr(), text);
        copy.put("b", b"2");
        assert!(copy.iter().eq([("first".into(), &b"1"[..]), ("b".into(), b"2")]));
        assert!(first.iter().eq([("first".into(), &b"1"[..])]));
    }

    #[test]
    fn of_what_cannot_be_written_nothing_is_left() {
        assert!(Written::of(&("begun", BTreeMap::from([((1, 2), 3)]))).is_err());
        assert_eq!(&*Written::of(&1).expect("a number"), b"1");
    }

    #[test]
    fn fields_are_written_into_the_same_room_and_leave_nothing_there() {
        let object = |values: &[i32]| {
            let map: BTreeMap<_, _> = values.iter().map(|value| (format!("k{value}"), value)).collect();
            Object::of(&map).expect("an object")
        };
        let kept = || FIELDS.with_borrow(Vec::len);
        let first = object(&[1, 2, 3]);
        let text = first.own.as_ptr();
        give_back(first);
        let second = object(&[4]);
        assert_eq!((second.own.as_ptr(), kept()), (text, 0));
        assert!(second.iter().eq([("k4".into(), &b"4"[..])]));
        let objects = [second, object(&[5]), object(&[6]), object(&[7])];
        objects.into_iter().for_each(give_back);
        assert_eq!(kept(), MOST_OBJECTS);
        let many: Vec<_> = (0..10_000).collect();
        drop([for_fields(), for_fields(), for_fields()]);
        give_back(object(&many));
        assert_eq!(kept(), 0, "large room is not kept");
        let long = BTreeMap::from([("a", "x".repeat(MOST_TEXT))]);
        give_back(Object::of(&long).expect("an object"));
        give_back(
            Object::of(&(0..100).map(|i| (format!("{i}"), 0)).collect::<BTreeMap<_, _>>())
                .expect("an object"),
        );
        assert_eq!(kept(), 0, "neither much text nor many keys");
    }
}

//! The JSON text of one value, in room that the next value on this thread is written into again: a value is copied to its
//! place, or found to be there, as soon as it has been written.

use std::{cell::Cell, ops::Deref};

use serde::Serialize;

/// Room for more is not kept, in bytes.
const MOST: usize = 4096;

thread_local! {
    static ROOM: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A value's text.
pub(crate) struct Written(Vec<u8>);

impl Written {
    pub(crate) fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        // A value that writes another one meanwhile finds no room, which is room of its own.
        let mut text = Self(ROOM.try_with(Cell::take).unwrap_or_default());
        serde_json::to_writer(&mut text.0, value)?;
        Ok(text)
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
        if self.0.capacity() <= MOST {
            self.0.clear();
            let _ = ROOM.try_with(|room| room.replace(std::mem::take(&mut self.0)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Serializer;

    use super::*;

    fn room() -> usize {
        let room = ROOM.take();
        let size = room.capacity();
        ROOM.set(room);
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
        assert!((1..=MOST).contains(&room()));
        assert_eq!(&*Written::of(&7).expect("a number"), b"7");
        let long = "x".repeat(MOST);
        assert_eq!(Written::of(&long).expect("text").len(), MOST + 2);
        assert_eq!(room(), 0);
    }

    #[test]
    fn of_what_cannot_be_written_nothing_is_left() {
        assert!(Written::of(&("begun", BTreeMap::from([((1, 2), 3)]))).is_err());
        assert_eq!(&*Written::of(&1).expect("a number"), b"1");
    }
}

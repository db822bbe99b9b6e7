//! Short text in place: to read a request's id allocates nothing, and to copy a prefix touches nothing that other threads
//! touch.

use std::sync::Arc;

/// ASCII text, in place if it is shorter than `ROOM` bytes.
///
/// The order of the fields is that of memory, in pieces of 16 bytes: a processor waits where it reads in one piece what
/// has just been written in several.
#[derive(Clone, PartialEq, Eq, Hash)]
#[repr(C)]
pub(super) struct Text<const ROOM: usize> {
    /// The text, zeros behind it, and its length in the last byte.
    short: [u8; ROOM],
    long: Option<Arc<Box<str>>>,
}

impl<const ROOM: usize> Text<ROOM> {
    /// The same as [`of`](Self::of), of a length that is known: no call, and each piece is written at once.
    #[inline(always)]
    pub(super) fn of_exactly<const LENGTH: usize>(text: &[u8; LENGTH]) -> Self {
        const { assert!(LENGTH < ROOM) };
        let mut short = const {
            let mut short = [0; ROOM];
            short[ROOM - 1] = LENGTH as u8;
            short
        };
        short[..LENGTH].copy_from_slice(text);
        Self { short, long: None }
    }

    /// Of bytes that are known to be text.
    pub(super) fn of(text: &[u8]) -> Self {
        let mut short = [0; ROOM];
        if text.len() < ROOM {
            short[..text.len()].copy_from_slice(text);
            short[ROOM - 1] = text.len() as u8;
            return Self { short, long: None };
        }
        Self { short, long: Some(Arc::new(String::from_utf8_lossy(text).into())) }
    }

    pub(super) fn as_str(&self) -> &str {
        match &self.long {
            // Made of text.
            None => str::from_utf8(self.as_bytes()).unwrap_or_default(),
            Some(text) => text,
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        match &self.long {
            None => &self.short[..usize::from(self.short[ROOM - 1])],
            Some(text) => text.as_bytes(),
        }
    }
}

/// What stands before the id or its digest in all keys of a layer.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Prefix {
    text: Text<16>,
    /// Apart for each prefix: made once, since each request needs it.
    print: u64,
}

impl Prefix {
    pub(crate) fn as_str(&self) -> &str {
        self.text.as_str()
    }

    pub(super) fn print(&self) -> u64 {
        self.print
    }
}

impl From<&str> for Prefix {
    fn from(text: &str) -> Self {
        // FNV-1a. A prefix is the application's word, so nobody chooses one to meet another.
        let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        let print = text.bytes().fold(0xcbf2_9ce4_8422_2325, fold);
        Self { text: Text::of(text.as_bytes()), print }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_every_length_comes_back_and_a_short_one_lies_in_place() {
        for length in 0..=300 {
            let text = "x".repeat(length);
            let kept = Text::<48>::of(text.as_bytes());
            assert_eq!((kept.as_str(), kept.as_bytes()), (text.as_str(), text.as_bytes()), "{length}");
            assert_eq!(kept.long.is_none(), length < 48, "{length}");
            assert_eq!(Prefix::from(text.as_str()).as_str(), text, "{length}");
        }
    }
}

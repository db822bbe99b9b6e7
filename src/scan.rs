//! Where JSON values begin and end: one pass over the bytes, 64 at a time, which keeps nothing. What is not nested is held to
//! the grammar (RFC 8259); of objects and arrays within, it is only found out where they end.

use std::ops::Range;

use serde::de::IgnoredAny;
use wide::u8x16;

use crate::object::read_value;

/// A place in text that ought to be JSON. What lies within strings and nested values is passed from mark to mark: the
/// quotes around strings, and outside of them brackets.
pub(crate) struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
    /// Where the next block begins.
    next: usize,
    /// The marks of this block that are still ahead, a bit each; and all its marks that are brackets.
    marks: u64,
    brackets: u64,
    /// The block ends in a string: all ones.
    in_string: u64,
    /// The block ends with a backslash that escapes what follows.
    escaping: bool,
    /// There was a backslash anywhere.
    escapes: bool,
    /// There was anything but ASCII.
    wide: bool,
}

impl<'a> Scanner<'a> {
    /// `at`: where to begin.
    pub(crate) fn new(text: &'a [u8], at: usize) -> Self {
        let (marks, brackets, in_string) = (0, 0, 0);
        Self { text, at, next: at, marks, brackets, in_string, escaping: false, escapes: false, wide: false }
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Whether what has been passed may hold anything but ASCII, which is then to be looked at.
    pub(crate) fn is_wide(&self) -> bool {
        self.wide
    }

    /// Whether this piece of what has been passed holds an escape.
    pub(crate) fn has_escapes(&self, piece: &Range<usize>) -> bool {
        self.escapes && self.text[piece.clone()].contains(&b'\\')
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// The next byte that is no white space, which is passed: as a rule there is none.
    #[inline]
    fn peek_past_space(&mut self) -> Option<u8> {
        match self.peek() {
            Some(b' ' | b'\n' | b'\t' | b'\r') => self.past_space(),
            byte => byte,
        }
    }

    #[cold]
    fn past_space(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.peek() {
            self.at += 1;
        }
        self.peek()
    }

    /// Passes `byte`, which is no mark, if it is the next but for white space.
    #[inline]
    pub(crate) fn passes(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte) || self.peek_past_space() == Some(byte);
        self.at += usize::from(there);
        there
    }

    /// Passes a bracket of an object whose members are passed one by one.
    pub(crate) fn brace(&mut self, brace: u8) -> Option<()> {
        if self.peek_past_space()? != brace {
            return None;
        }
        self.at = self.mark()? + 1;
        Some(())
    }

    /// Whether nothing but white space is left.
    pub(crate) fn is_over(&mut self) -> bool {
        self.peek_past_space().is_none()
    }

    /// The next mark.
    #[inline]
    fn mark(&mut self) -> Option<usize> {
        while self.marks == 0 {
            self.block()?;
        }
        let place = self.next - 64 + self.marks.trailing_zeros() as usize;
        self.marks &= self.marks - 1;
        Some(place)
    }

    /// Passes a string: its place, without the quotes.
    #[inline]
    pub(crate) fn string(&mut self) -> Option<Range<usize>> {
        if self.peek_past_space()? != b'"' {
            return None;
        }
        let from = self.mark()? + 1;
        let to = self.mark()?;
        self.at = to + 1;
        Some(from..to)
    }

    /// Passes a value.
    #[inline]
    pub(crate) fn value(&mut self) -> Option<Range<usize>> {
        let first = self.peek_past_space()?;
        let from = self.at;
        match first {
            b'"' => {
                self.string()?;
                if self.has_escapes(&(from..self.at)) {
                    read_value::<IgnoredAny>(&self.text[from..self.at]).ok()?;
                }
            }
            b'{' | b'[' => self.nested()?,
            b'-' | b'0'..=b'9' => self.number()?,
            b't' => self.word(b"true")?,
            b'f' => self.word(b"false")?,
            b'n' => self.word(b"null")?,
            _ => return None,
        }
        Some(from..self.at)
    }

    fn number(&mut self) -> Option<()> {
        self.skip(b"-");
        // Nothing follows a leading zero.
        if !self.skip(b"0") {
            self.digits()?;
        }
        if self.skip(b".") {
            self.digits()?;
        }
        if self.skip(b"eE") {
            self.skip(b"+-");
            self.digits()?;
        }
        Some(())
    }

    /// Passes one of these bytes if it is the next.
    fn skip(&mut self, bytes: &[u8]) -> bool {
        let there = self.peek().is_some_and(|byte| bytes.contains(&byte));
        self.at += usize::from(there);
        there
    }

    /// Passes digits, one at least.
    fn digits(&mut self) -> Option<()> {
        let from = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        (self.at > from).then_some(())
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        self.text[self.at..].starts_with(word).then(|| self.at += word.len())
    }

    /// Passes an object or an array: strings, and brackets in pairs. The rest of the grammar is seen to by whoever reads
    /// the value.
    fn nested(&mut self) -> Option<()> {
        let mut open = Nesting::default();
        let first = self.mark()?;
        open.take(self.text[first])?;
        // Of this block, what is behind the first bracket.
        let mut brackets = self.brackets & self.behind(first);
        loop {
            while brackets != 0 {
                let place = self.next - 64 + brackets.trailing_zeros() as usize;
                if open.take(self.text[place])? {
                    self.marks &= self.behind(place);
                    self.at = place + 1;
                    return Some(());
                }
                brackets &= brackets - 1;
            }
            self.block()?;
            brackets = self.brackets;
        }
    }

    /// The bits of this block that are behind a place in it.
    fn behind(&self, place: usize) -> u64 {
        !1 << (place + 64 - self.next)
    }

    /// Goes on to the next 64 bytes.
    #[inline]
    fn block(&mut self) -> Option<()> {
        let rest = self.text.get(self.next..).filter(|rest| !rest.is_empty())?;
        let found = match rest.first_chunk() {
            Some(block) => Masks::of(block),
            None => {
                let mut block = [b' '; 64];
                block[..rest.len()].copy_from_slice(rest);
                Masks::of(&block)
            }
        };
        self.next += 64;
        self.wide |= found.wide != 0;
        let mut quotes = found.quotes;
        if found.backslashes != 0 || self.escaping {
            quotes &= !self.escaped(found.backslashes);
        }
        let strings = parity(quotes) ^ self.in_string;
        self.in_string = 0_u64.wrapping_sub(strings >> 63);
        self.brackets = found.brackets & !strings;
        self.marks = quotes | self.brackets;
        (found.controls & strings == 0).then_some(())
    }

    /// What is escaped by the backslashes of a block, and by one at the end of the block before.
    fn escaped(&mut self, mut backslashes: u64) -> u64 {
        let mut escaped = u64::from(self.escaping);
        self.escapes |= backslashes != 0;
        backslashes &= !escaped;
        self.escaping = false;
        while backslashes != 0 {
            let place = backslashes.trailing_zeros();
            let next = (1_u64 << place) << 1;
            self.escaping |= next == 0;
            escaped |= next;
            backslashes &= !(1 << place) & !next;
        }
        escaped
    }
}

/// Each bit: whether the number of ones up to it is odd.
fn parity(mut bits: u64) -> u64 {
    for shift in [1, 2, 4, 8, 16, 32] {
        bits ^= bits << shift;
    }
    bits
}

/// 64 bytes: a bit for each byte of a kind, the first byte's the lowest.
#[derive(Default)]
struct Masks {
    quotes: u64,
    backslashes: u64,
    /// Below the space.
    controls: u64,
    /// `[{]}`; and `Y_y` and DEL, which are like them but for bits that are not compared: outside of a string those have
    /// no place.
    brackets: u64,
    /// No ASCII.
    wide: u64,
}

impl Masks {
    #[inline]
    fn of(block: &[u8; 64]) -> Self {
        let mut all = Self::default();
        for (i, part) in block.as_chunks::<16>().0.iter().enumerate() {
            let part = u8x16::new(*part);
            let is = |byte| part.simd_eq(u8x16::splat(byte));
            let note = |bits: &mut u64, found: u8x16| *bits |= u64::from(found.to_bitmask()) << (16 * i);
            note(&mut all.quotes, is(b'"'));
            note(&mut all.backslashes, is(b'\\'));
            note(&mut all.controls, part.min(u8x16::splat(0x1f)).simd_eq(part));
            note(&mut all.brackets, (part | u8x16::splat(0x26)).simd_eq(u8x16::splat(0x7f)));
            note(&mut all.wide, part);
        }
        all
    }
}

/// The objects (`true`) and arrays that are open, a bit each; only what is deeper than 64 levels is allocated.
#[derive(Default)]
struct Nesting {
    innermost: u64,
    depth: usize,
    outer: Vec<u64>,
}

impl Nesting {
    /// Takes note of a bracket: whether it closes the outermost. `None`: it closes another than was opened.
    fn take(&mut self, bracket: u8) -> Option<bool> {
        let object = matches!(bracket, b'{' | b'}');
        match bracket {
            b'{' | b'[' => self.push(object),
            b'}' | b']' if self.pop() == object => {}
            b'}' | b']' => return None,
            _ => {}
        }
        Some(self.depth == 0)
    }

    fn push(&mut self, object: bool) {
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.outer.push(self.innermost);
        }
        self.innermost = self.innermost << 1 | u64::from(object);
        self.depth += 1;
    }

    /// What is closed by this. There is something open.
    fn pop(&mut self) -> bool {
        let object = self.innermost & 1 == 1;
        self.innermost >>= 1;
        self.depth -= 1;
        if self.depth.is_multiple_of(64) {
            self.innermost = self.outer.pop().unwrap_or_default();
        }
        object
    }
}

#[cfg(test)]
mod tests;

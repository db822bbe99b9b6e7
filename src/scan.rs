//! Where JSON values begin and end: the bytes are looked at 64 at a time, which finds the marks among them, and then only from
//! mark to mark; nothing is kept. What is not nested is held to the grammar (RFC 8259); of objects and arrays within, it is only
//! found out where they end.

mod marks;

use std::ops::Range;

use serde::de::IgnoredAny;

pub(crate) use self::marks::Window;
use crate::object::read_value;

/// A place in text that ought to be JSON. What lies within strings and nested values is passed from mark to mark: the
/// quotes around strings, and outside of them brackets.
pub(crate) struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
    /// The marks of a stretch of the text. Apart, so that the few words that change at each step stay in registers.
    window: &'a mut Window,
    /// Which block of the window the scanner has come to, and where in the text it begins.
    block: usize,
    begins: usize,
    /// The marks of this block that are still ahead, a bit each.
    marks: u64,
}

impl<'a> Scanner<'a> {
    /// `at`: where to begin. `window`: room for the marks of what is ahead; what was in it is gone.
    pub(crate) fn new(text: &'a [u8], at: usize, window: &'a mut Window) -> Self {
        *window = Window::default();
        let mut scanner = Self { text, at, window, block: 0, begins: at, marks: 0 };
        scanner.look();
        scanner
    }

    #[inline(always)]
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Whether what has been passed may hold anything but ASCII, which is then to be looked at.
    #[inline(always)]
    pub(crate) fn is_wide(&self) -> bool {
        self.window.wide
    }

    /// Whether this piece of what has been passed holds an escape.
    #[inline(always)]
    pub(crate) fn has_escapes(&self, piece: &Range<usize>) -> bool {
        self.window.escapes && self.text[piece.clone()].contains(&b'\\')
    }

    #[inline(always)]
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// The next byte that is no white space, which is passed: as a rule there is none.
    #[inline(always)]
    fn peek_past_space(&mut self) -> Option<u8> {
        match self.peek() {
            Some(b' ' | b'\n' | b'\t' | b'\r') => {
                self.at = past_space(self.text, self.at);
                self.peek()
            }
            byte => byte,
        }
    }

    /// Passes `byte`, which is no mark, if it is the next but for white space.
    #[inline(always)]
    pub(crate) fn passes(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte) || self.peek_past_space() == Some(byte);
        self.at += usize::from(there);
        there
    }

    /// Passes a bracket of an object whose members are passed one by one.
    #[inline(always)]
    pub(crate) fn brace(&mut self, brace: u8) -> Option<()> {
        if self.peek_past_space()? != brace {
            return None;
        }
        self.at = self.mark()? + 1;
        Some(())
    }

    /// Whether nothing but white space is left, and in what has been passed no string had a control character in it.
    #[inline(always)]
    pub(crate) fn is_over(&mut self) -> bool {
        self.peek_past_space().is_none() && !self.window.broken
    }

    /// The next mark.
    #[inline(always)]
    fn mark(&mut self) -> Option<usize> {
        while self.marks == 0 {
            self.block()?;
        }
        let place = self.begins + self.marks.trailing_zeros() as usize;
        self.marks &= self.marks - 1;
        Some(place)
    }

    /// Passes a string: its place, without the quotes.
    #[inline(always)]
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
    #[inline(always)]
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

    #[inline(always)]
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
    #[inline(always)]
    fn skip(&mut self, bytes: &[u8]) -> bool {
        let there = self.peek().is_some_and(|byte| bytes.contains(&byte));
        self.at += usize::from(there);
        there
    }

    /// Passes digits, one at least.
    #[inline(always)]
    fn digits(&mut self) -> Option<()> {
        let from = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        (self.at > from).then_some(())
    }

    #[inline(always)]
    fn word(&mut self, word: &[u8]) -> Option<()> {
        self.text[self.at..].starts_with(word).then(|| self.at += word.len())
    }

    /// Passes an object or an array: strings, and brackets in pairs. The rest of the grammar is seen to by whoever reads
    /// the value.
    #[inline(always)]
    fn nested(&mut self) -> Option<()> {
        let mut open = Nesting::default();
        let first = self.mark()?;
        open.take(self.text[first])?;
        // Of this block, what is behind the first bracket.
        let mut brackets = self.brackets() & self.behind(first);
        loop {
            while brackets != 0 {
                let place = self.begins + brackets.trailing_zeros() as usize;
                if open.take(self.text[place])? {
                    self.marks &= self.behind(place);
                    self.at = place + 1;
                    return Some(());
                }
                brackets &= brackets - 1;
            }
            self.block()?;
            brackets = self.brackets();
        }
    }

    /// The bits of this block that are behind a place in it.
    #[inline(always)]
    fn behind(&self, place: usize) -> u64 {
        !1 << (place - self.begins)
    }

    /// The brackets of this block, those that have been passed included.
    #[inline(always)]
    fn brackets(&self) -> u64 {
        self.window.brackets[self.block]
    }

    /// Goes on to the next 64 bytes.
    #[inline(always)]
    fn block(&mut self) -> Option<()> {
        self.begins += 64;
        self.block += 1;
        match self.window.marks.get(self.block) {
            Some(marks) => self.marks = *marks,
            None => self.look(),
        }
        (self.begins < self.text.len()).then_some(())
    }

    /// Looks at the stretch that begins with this block.
    #[inline(always)]
    fn look(&mut self) {
        self.window.look(self.text.get(self.begins..).unwrap_or_default());
        (self.block, self.marks) = (0, self.window.marks[0]);
    }
}

#[cold]
fn past_space(text: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\t' | b'\r') = text.get(at) {
        at += 1;
    }
    at
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

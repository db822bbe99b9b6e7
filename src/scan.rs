//! Where JSON values begin and end: one pass over the bytes, 64 at a time, which keeps nothing. What is not nested is held to
//! the grammar (RFC 8259); of objects and arrays within, it is only found out where they end.

use std::ops::Range;

use serde::de::IgnoredAny;
use wide::u8x16;

use crate::object::read_value;

/// A place in text that ought to be a JSON object. It goes from mark to mark: the quotes around strings, and outside of
/// them brackets, colons and commas.
pub(crate) struct Scanner<'a> {
    text: &'a [u8],
    /// Behind the last mark.
    at: usize,
    /// Where the next block begins.
    next: usize,
    /// The marks of this block that are still ahead, a bit each; those of them that are brackets.
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

    /// Passes the next mark. `None`: there is none, or a control character in a string.
    #[inline]
    fn mark(&mut self) -> Option<u8> {
        while self.marks == 0 {
            self.block()?;
        }
        self.at = self.next - 64 + self.marks.trailing_zeros() as usize + 1;
        self.marks &= self.marks - 1;
        Some(self.text[self.at - 1])
    }

    /// The same, if there is nothing but space before it.
    #[inline]
    pub(crate) fn mark_after_space(&mut self) -> Option<u8> {
        let from = self.at;
        let mark = self.mark()?;
        is_space(&self.text[from..self.at - 1]).then_some(mark)
    }

    /// Passes the rest of a string whose quote has been passed: its place, without the quotes.
    #[inline]
    pub(crate) fn string(&mut self) -> Option<Range<usize>> {
        let from = self.at;
        self.mark()?;
        Some(from..self.at - 1)
    }

    /// Passes a value, and the mark behind it.
    #[inline]
    pub(crate) fn value(&mut self) -> Option<(Range<usize>, u8)> {
        let before = self.at;
        let mark = self.mark()?;
        let from = self.at - 1;
        if matches!(mark, b',' | b'}') {
            let place = trimmed(self.text, before..from);
            return is_scalar(&self.text[place.clone()]).then_some((place, mark));
        }
        if !is_space(&self.text[before..from]) {
            return None;
        }
        match mark {
            b'"' => {
                self.string()?;
                if self.has_escapes(&(from..self.at)) {
                    read_value::<IgnoredAny>(&self.text[from..self.at]).ok()?;
                }
            }
            b'{' | b'[' => self.nested(mark)?,
            _ => return None,
        }
        Some((from..self.at, self.mark_after_space()?))
    }

    /// Whether nothing but space is left.
    pub(crate) fn is_over(&self) -> bool {
        is_space(&self.text[self.at..])
    }

    /// Passes the rest of an object or an array: strings, and brackets in pairs. The rest of the grammar is seen to by
    /// whoever reads the value.
    fn nested(&mut self, first: u8) -> Option<()> {
        let mut open = Nesting::default();
        open.take(first)?;
        // Of this block, what is behind the first bracket.
        let passed = self.at + 64 - self.next;
        let mut brackets = if passed < 64 { self.brackets & !0 << passed } else { 0 };
        loop {
            while brackets != 0 {
                let place = brackets.trailing_zeros();
                let at = self.next - 64 + place as usize;
                if open.take(self.text[at])? {
                    self.at = at + 1;
                    self.marks &= !1 << place;
                    return Some(());
                }
                brackets &= brackets - 1;
            }
            self.block()?;
            brackets = self.brackets;
        }
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
        self.marks = quotes | ((found.brackets | found.separators) & !strings);
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

/// Whether all of it is JSON's white space.
#[inline]
fn is_space(text: &[u8]) -> bool {
    text.iter().all(|byte| matches!(byte, b' ' | b'\n' | b'\t' | b'\r'))
}

/// The place without the white space at its ends.
fn trimmed(text: &[u8], Range { mut start, mut end }: Range<usize>) -> Range<usize> {
    while start < end && is_space(&text[start..=start]) {
        start += 1;
    }
    while start < end && is_space(&text[end - 1..end]) {
        end -= 1;
    }
    start..end
}

/// Whether it is a number or one of the three words.
fn is_scalar(text: &[u8]) -> bool {
    match text {
        [b'0'..=b'9'] | b"true" | b"false" | b"null" => true,
        [b'-' | b'0'..=b'9', ..] => is_number(text).is_some(),
        _ => false,
    }
}

fn is_number(text: &[u8]) -> Option<()> {
    let rest = text.strip_prefix(b"-").unwrap_or(text);
    // Nothing follows a leading zero.
    let rest = rest.strip_prefix(b"0").or_else(|| digits(rest))?;
    let rest = match rest.strip_prefix(b".") {
        Some(fraction) => digits(fraction)?,
        None => rest,
    };
    let rest = match rest {
        [b'e' | b'E', b'+' | b'-', exponent @ ..] | [b'e' | b'E', exponent @ ..] => digits(exponent)?,
        _ => rest,
    };
    rest.is_empty().then_some(())
}

/// What follows the digits, of which there is one at least.
fn digits(text: &[u8]) -> Option<&[u8]> {
    let number = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (number > 0).then(|| &text[number..])
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
    /// `:` and `,`.
    separators: u64,
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
            note(&mut all.separators, is(b':') | is(b','));
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
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.innermost = self.outer.pop().unwrap_or_default();
        }
        object
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    /// Whether the whole text is passed as one value: as a member of an object.
    fn passes(text: &[u8]) -> bool {
        let member = [b"{\"\":", text, b"}"].concat();
        let mut scanner = Scanner::new(&member, 0);
        let mut read = || {
            scanner.mark_after_space().filter(|mark| *mark == b'{')?;
            scanner.mark_after_space().filter(|mark| *mark == b'"')?;
            scanner.string()?;
            scanner.mark_after_space().filter(|mark| *mark == b':')?;
            scanner.value()
        };
        matches!(read(), Some((_, b'}'))) && scanner.is_over()
    }

    /// Where the first value of the text ends, if it is nested.
    fn end(text: &[u8]) -> Option<usize> {
        let mut scanner = Scanner::new(text, 0);
        let first = scanner.mark_after_space()?;
        scanner.nested(first)?;
        Some(scanner.at())
    }

    #[test]
    fn each_byte_has_the_bits_of_its_kinds() {
        for byte in 0..=u8::MAX {
            for place in 0..64 {
                let mut block = [b'a'; 64];
                block[place] = byte;
                let found = Masks::of(&block);
                let bit = |is: bool| u64::from(is) << place;
                assert_eq!(found.quotes, bit(byte == b'"'));
                assert_eq!(found.backslashes, bit(byte == b'\\'));
                assert_eq!(found.controls, bit(byte < 0x20));
                assert_eq!(found.brackets, bit(b"[{]}Y_y\x7f".contains(&byte)));
                assert_eq!(found.separators, bit(byte == b':' || byte == b','));
                assert_eq!(found.wide, bit(byte >= 0x80));
            }
        }
    }

    #[test]
    fn nesting_has_no_limit() {
        for depth in [1, 63, 64, 65, 128, 129, 100_000] {
            let text = [r#"{"a":["#.repeat(depth), "]}".repeat(depth)].concat();
            assert!(passes(text.as_bytes()), "{depth}");
            assert!(!passes(&text.as_bytes()[..text.len() - 1]), "{depth}");
            let crossed = text.replacen("]}", "}]", 1);
            assert!(!passes(crossed.as_bytes()), "{depth}");
        }
    }

    #[test]
    fn a_string_ends_where_its_quote_is() {
        for length in 0..150 {
            for text in ["x".repeat(length), "é".repeat(length), "\u{7f}".repeat(length), "{".repeat(length)]
            {
                let quoted = format!("\"{text}\":");
                let mut scanner = Scanner::new(quoted.as_bytes(), 0);
                assert_eq!(scanner.mark_after_space(), Some(b'"'));
                let place = scanner.string().expect("a string");
                assert_eq!(place, 1..1 + text.len());
                assert!(!scanner.has_escapes(&place));
                assert_eq!(scanner.is_wide(), !text.is_ascii());
                assert!(!passes(format!("\"{text}\n\"").as_bytes()));
                assert!(passes(format!("\"{text}\\\"\"").as_bytes()));
                assert!(passes(format!("\"{text}\\\\\"").as_bytes()));
                assert!(!passes(format!("\"{text}\\\\\\\"").as_bytes()));
                assert!(!passes(format!("\"{text}\\x\"").as_bytes()));
                assert!(passes(format!("[\"{text}\\\"]\"]").as_bytes()));
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn what_serde_json_reads_is_passed(text in r#"[\[\]{}",:\\u0-9a1eE.+\-truefalsn \n]{0,12}"#) {
            let is_json = serde_json::from_str::<&RawValue>(&text).is_ok();
            prop_assert!(!is_json || passes(text.as_bytes()));
            let is_nested = text.trim_start().starts_with(['{', '[']);
            prop_assert!(is_nested || is_json == passes(text.as_bytes()));
        }

        #[test]
        fn what_is_nested_ends_where_serde_json_ends_it(parts in prop::collection::vec(r#"[{}\[\]",]|"[{}\[\]a\\\\\"]{0,3}""#, 0..8)) {
            let text = parts.concat();
            let mut values = serde_json::Deserializer::from_str(&text).into_iter::<&RawValue>();
            if text.starts_with(['{', '[']) && let Some(Ok(value)) = values.next() {
                prop_assert_eq!(end(text.as_bytes()), Some(value.get().len()));
            }
        }

        /// Brackets in strings, over several blocks; with escapes and without.
        #[test]
        fn what_stands_in_a_string_is_no_bracket(texts in prop::collection::vec(r#"[{}\[\],:a\\\\"]{0,90}"#, 0..6), before in 0_usize..70) {
            let value = serde_json::json!([{"a": texts, "b": "\""}, [texts, {"c": [], "d": {}}]]);
            let text = format!("{}{value}", " ".repeat(before));
            prop_assert_eq!(end(text.as_bytes()), Some(text.len()));
            let more = format!("{text}]}}\"");
            prop_assert_eq!(end(more.as_bytes()), Some(text.len()));
            prop_assert!((0..text.len()).all(|end| !passes(&text.as_bytes()[..end])));
        }

        #[test]
        fn what_serde_json_writes_is_passed_whole_only(keys in prop::collection::vec(any::<String>(), 0..4), number: f64) {
            let value = serde_json::json!({"keys": keys, "number": number, "deep": [[{"x": keys}]]});
            let text = serde_json::to_vec(&value).expect("JSON");
            prop_assert!(passes(&text));
            prop_assert!((0..text.len()).all(|end| !passes(&text[..end])));
        }
    }
}

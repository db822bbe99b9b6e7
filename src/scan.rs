//! Where JSON values begin and end: one pass over the bytes, which keeps nothing. What is not nested is held to the grammar
//! (RFC 8259); of objects and arrays within, it is only found out where they end.

/// A place in UTF-8 text that ought to be JSON.
pub(crate) struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
    /// There is no backslash and no control character in it, as in most: a string ends at the next quote.
    plain: bool,
}

/// A string's place, without the quotes.
pub(crate) struct Quoted {
    pub(crate) from: usize,
    pub(crate) to: usize,
    /// There are no escapes in it: the text is the value.
    pub(crate) plain: bool,
}

impl<'a> Scanner<'a> {
    /// `at`: where to begin.
    pub(crate) fn new(text: &'a [u8], at: usize) -> Self {
        let odd = |odd, byte: &u8| odd | (*byte == b'\\') | (*byte < 0x20);
        let plain = !text.get(at..).unwrap_or_default().iter().fold(false, odd);
        Self { text, at, plain }
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.at == self.text.len()
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// The next byte, which is passed.
    pub(crate) fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    pub(crate) fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    /// Passes `byte` if it is the next.
    pub(crate) fn passes(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    pub(crate) fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// Passes a string.
    #[inline(always)]
    pub(crate) fn string(&mut self) -> Option<Quoted> {
        if !self.plain {
            return self.any_string();
        }
        self.expect(b'"')?;
        let from = self.at;
        let to = from + quote(&self.text[from..])?;
        self.at = to + 1;
        Some(Quoted { from, to, plain: true })
    }

    #[inline(never)]
    fn any_string(&mut self) -> Option<Quoted> {
        self.expect(b'"')?;
        let (from, mut plain) = (self.at, true);
        loop {
            match self.next()? {
                b'"' => return Some(Quoted { from, to: self.at - 1, plain }),
                b'\\' => {
                    plain = false;
                    self.escape()?;
                }
                0..=0x1f => return None,
                _ => self.at += ordinary(&self.text[self.at..]),
            }
        }
    }

    fn escape(&mut self) -> Option<()> {
        match self.next()? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(()),
            b'u' => (0..4).try_for_each(|_| self.next().filter(u8::is_ascii_hexdigit).map(|_| ())),
            _ => None,
        }
    }

    fn number(&mut self) -> Option<()> {
        self.passes(b'-');
        // Nothing follows a leading zero.
        if !self.passes(b'0') {
            self.digits()?;
        }
        if self.passes(b'.') {
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(())
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

    /// Passes a value of any kind, however deep.
    #[inline]
    pub(crate) fn value(&mut self) -> Option<()> {
        match self.peek()? {
            b'{' | b'[' => self.nested(),
            first => self.scalar(first),
        }
    }

    #[inline]
    fn scalar(&mut self, first: u8) -> Option<()> {
        match first {
            b'"' => self.string().map(|_| ()),
            b'-' | b'0'..=b'9' => self.number(),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null"),
            _ => None,
        }
    }

    /// Passes an object or an array: strings, and brackets in pairs. The rest of the grammar is seen to by whoever
    /// reads the value.
    #[inline(never)]
    fn nested(&mut self) -> Option<()> {
        let mut open = Nesting::default();
        if self.plain {
            return self.nested_plain(open);
        }
        loop {
            let byte = self.next()?;
            match byte {
                b'"' => {
                    self.at -= 1;
                    self.any_string()?;
                }
                b'{' | b'}' | b'[' | b']' if open.take(byte)? => return Some(()),
                _ => {}
            }
        }
    }

    /// The same where a string ends at the next quote: 64 bytes at a time.
    fn nested_plain(&mut self, mut open: Nesting) -> Option<()> {
        // All ones while in a string.
        let mut in_string = 0_u64;
        loop {
            let rest = self.text.get(self.at..)?;
            let block = match rest.first_chunk::<64>() {
                Some(block) => *block,
                None => {
                    let mut block = [b' '; 64];
                    block[..rest.len()].copy_from_slice(rest);
                    block
                }
            };
            let (quotes, brackets) = marks(&block);
            let strings = parity(quotes) ^ in_string;
            in_string = 0_u64.wrapping_sub(strings >> 63);
            let mut marks = brackets & !strings;
            while marks != 0 {
                let place = marks.trailing_zeros() as usize;
                if open.take(block[place])? {
                    self.at += place + 1;
                    return Some(());
                }
                marks &= marks - 1;
            }
            if rest.len() < 64 {
                return None;
            }
            self.at += 64;
        }
    }
}

/// Where quotes and where brackets are: a bit for each byte.
fn marks(block: &[u8; 64]) -> (u64, u64) {
    let (mut quotes, mut brackets) = (0_u64, 0_u64);
    for (i, part) in block.as_chunks::<8>().0.iter().enumerate() {
        let word = u64::from_le_bytes(*part);
        quotes |= bits(zeros(word ^ (ONES * u64::from(b'"')))) << (i * 8);
        // In the bits that are left out `[{]}` differ from each other; `Y_y` and DEL, which are like them but for these, have
        // no place outside of a string.
        brackets |= bits(zeros((word | (ONES * 0x26)) ^ (ONES * 0x7f))) << (i * 8);
    }
    (quotes, brackets)
}

/// The top bit of each byte that is zero.
fn zeros(word: u64) -> u64 {
    !(((word & !TOPS).wrapping_add(!TOPS)) | word) & TOPS
}

/// The top bits of eight bytes, side by side.
fn bits(tops: u64) -> u64 {
    (tops >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

/// Each bit: whether the number of ones up to it is odd.
fn parity(mut bits: u64) -> u64 {
    for shift in [1, 2, 4, 8, 16, 32] {
        bits ^= bits << shift;
    }
    bits
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

const ONES: u64 = 0x0101_0101_0101_0101;
const TOPS: u64 = 0x8080_8080_8080_8080;

/// The top bit of each byte that is below `n`; bytes from 0x80 on never are. What a borrow makes of the bytes above the
/// first one is of no matter.
fn below(word: u64, n: u64) -> u64 {
    word.wrapping_sub(ONES * n) & !word & TOPS
}

/// Where the next quote is. Eight bytes at a time.
#[inline]
fn quote(text: &[u8]) -> Option<usize> {
    let (words, last) = text.as_chunks::<8>();
    for (i, word) in words.iter().enumerate() {
        let found = below(u64::from_le_bytes(*word) ^ (ONES * u64::from(b'"')), 1);
        if found != 0 {
            return Some(i * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    last.iter().position(|byte| *byte == b'"').map(|i| words.len() * 8 + i)
}

/// How many bytes there are before a quote, a backslash, a control character, or the end.
fn ordinary(text: &[u8]) -> usize {
    let mut at = 0;
    while let Some(chunk) = text.get(at..).and_then(<[u8]>::first_chunk) {
        let word = u64::from_le_bytes(*chunk);
        let quote = below(word ^ (ONES * u64::from(b'"')), 1);
        let backslash = below(word ^ (ONES * u64::from(b'\\')), 1);
        let special = quote | backslash | below(word, 0x20);
        if special != 0 {
            return at + special.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let last = text[at..].iter().position(|b| matches!(b, b'"' | b'\\' | 0..=0x1f));
    last.map_or(text.len(), |i| at + i)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    /// Whether the whole text is passed as one value.
    fn passes(text: &[u8]) -> bool {
        let mut scanner = Scanner::new(text, 0);
        scanner.space();
        if scanner.value().is_none() {
            return false;
        }
        scanner.space();
        scanner.is_at_end()
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
        for length in 0..50 {
            for text in ["x".repeat(length), "é".repeat(length), "\u{7f}".repeat(length)] {
                let quoted = format!("\"{text}\"x");
                let mut scanner = Scanner::new(quoted.as_bytes(), 0);
                let quoted = scanner.string().expect("a string");
                assert_eq!((quoted.from, quoted.to, quoted.plain), (1, 1 + text.len(), true));
                assert!(!passes(format!("\"{text}\n\"").as_bytes()));
                assert!(passes(format!("\"{text}\\\"\"").as_bytes()));
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
            let mut scanner = Scanner::new(text.as_bytes(), 0);
            let mut values = serde_json::Deserializer::from_str(&text).into_iter::<&RawValue>();
            if let Some(Ok(value)) = values.next() {
                prop_assert_eq!(scanner.value().map(|()| scanner.at()), Some(value.get().len()));
            }
        }

        /// Brackets in strings, over several blocks; with escapes and without.
        #[test]
        fn what_stands_in_a_string_is_no_bracket(texts in prop::collection::vec(r#"[{}\[\],:a]{0,90}"#, 0..6), escaped: bool) {
            let more = if escaped { "\"" } else { "" };
            let value = serde_json::json!([{"a": texts, "b": more}, [texts, {"c": [], "d": {}}]]);
            let text = serde_json::to_string(&value).expect("JSON");
            let mut scanner = Scanner::new(text.as_bytes(), 0);
            prop_assert_eq!(scanner.value().map(|()| scanner.at()), Some(text.len()));
            let more = format!("{text}]}}\"");
            let mut scanner = Scanner::new(more.as_bytes(), 0);
            prop_assert_eq!(scanner.value().map(|()| scanner.at()), Some(text.len()));
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

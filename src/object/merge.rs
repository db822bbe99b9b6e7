//! Two versions of an object: what differs between them, and what comes of changes on both sides.

use std::borrow::Cow;

use axum::body::Bytes;
use serde_json::value::RawValue;

use super::{Entry, Object, read_value};

impl Object {
    /// What leads from `self` to `other`: each key that differs, with its new text, or `None` where it is gone.
    pub(crate) fn changes_to<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = Change<'a>> {
        let written = self.written(other, MAX_DEPTH);
        let written =
            written.map(|e| (String::from_utf8_lossy(other.text(e.key)), Some(other.text(e.value))));
        let removed = self.removed(other).map(|key| (String::from_utf8_lossy(key), None));
        written.chain(removed)
    }

    /// The entries of `other` that are new or have another value.
    fn written<'a>(&'a self, other: &'a Self, depth: u32) -> impl Iterator<Item = Entry> {
        let shared = self.is_of_one_text_with(other);
        let mut ours = self.each();
        other.each().filter(move |entry| {
            let mine = match ours.next() {
                // Unchanged entries usually stand where they stood, in one text.
                Some(mine) if shared && mine == *entry && self.is_read(&mine) => return false,
                Some(mine) if self.text(mine.key) == other.text(entry.key) => Some(mine),
                _ => self.each().find(|mine| self.text(mine.key) == other.text(entry.key)),
            };
            !mine.is_some_and(|mine| same_to(depth, self.text(mine.value), other.text(entry.value)))
        })
    }

    /// The keys that `other` lacks.
    fn removed<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a [u8]> {
        let mut theirs = other.each();
        self.each().map(|entry| self.text(entry.key)).filter(move |key| {
            let in_place = theirs.next().is_some_and(|e| other.text(e.key) == *key);
            !in_place && !other.each().any(|e| other.text(e.key) == *key)
        })
    }

    /// Whether both hold the same values under the same keys, in whatever order.
    pub(crate) fn same(&self, other: &Self) -> bool {
        self.same_to(other, MAX_DEPTH)
    }

    fn same_to(&self, other: &Self, depth: u32) -> bool {
        self.written(other, depth).next().is_none() && self.removed(other).next().is_none()
    }
}

/// A key and its new JSON text, `None` where it was removed.
pub(crate) type Change<'a> = (Cow<'a, str>, Option<&'a [u8]>);

/// How deep two values are compared by meaning; what lies deeper, by text. serde_json reads no deeper either.
const MAX_DEPTH: u32 = 128;

/// Whether two JSON texts mean the same value. Equal text does; of text that differs, the order of a map, an
/// escape or a space may be all that differs. Numbers are compared as they are written: read as floats, two
/// large ones would be one.
pub(crate) fn same_value(a: &[u8], b: &[u8]) -> bool {
    same_to(MAX_DEPTH, a, b)
}

fn same_to(depth: u32, a: &[u8], b: &[u8]) -> bool {
    if a == b {
        return true;
    }
    if depth == 0 {
        return false;
    }
    match (a.first(), b.first()) {
        (Some(b'"'), Some(b'"')) => {
            if !a.contains(&b'\\') && !b.contains(&b'\\') {
                return false;
            }
            let read = read_value::<Cow<'_, str>>;
            matches!((read(a), read(b)), (Ok(a), Ok(b)) if a == b)
        }
        (Some(b'['), Some(b'[')) => {
            match (read_value::<Vec<&RawValue>>(a), read_value::<Vec<&RawValue>>(b)) {
                (Ok(a), Ok(b)) => {
                    a.len() == b.len()
                        && a.iter()
                            .zip(b)
                            .all(|(a, b)| same_to(depth - 1, a.get().as_bytes(), b.get().as_bytes()))
                }
                _ => false,
            }
        }
        (Some(b'{'), Some(b'{')) => {
            let read = |text: &[u8]| Object::parse(Bytes::copy_from_slice(text));
            match (read(a), read(b)) {
                (Some(a), Some(b)) => a.same_to(&b, depth - 1),
                _ => false,
            }
        }
        _ => false,
    }
}

/// What came of a three-way merge.
#[derive(Debug)]
pub(crate) struct Merged {
    pub(crate) object: Object,
    /// Keys that both sides changed, differently.
    pub(crate) clashes: usize,
}

/// Puts the changes from `base` to `mine` onto `theirs`, key by key.
///
/// A key that only one side changed takes that side's value. If both did, mine wins, except that a removal
/// beats an edit: a one-time token that somebody has used must not come back.
pub(crate) fn merge(base: &Object, mine: &Object, theirs: &Object) -> Merged {
    let mut object = theirs.clone();
    let mut clashes = 0;
    for (key, value) in base.changes_to(mine) {
        let (before, now) = (base.get(&key), theirs.get(&key));
        let they_changed = match (before, now) {
            (Some(before), Some(now)) => !same_value(before, now),
            (before, now) => before.is_some() != now.is_some(),
        };
        if they_changed {
            let agree = match (value, now) {
                (Some(value), Some(now)) => same_value(value, now),
                (value, now) => value.is_none() && now.is_none(),
            };
            clashes += usize::from(!agree);
            if agree || now.is_none() {
                continue;
            }
        }
        object.apply(&key, value);
    }
    Merged { object, clashes }
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{object, text},
        *,
    };

    #[test]
    fn values_are_compared_by_meaning() {
        let nested = (r#"{"a":[{"x":"\u00e9","y":null}],"b":2}"#, r#"{"b":2, "a":[ {"y":null,"x":"é"} ]}"#);
        for (a, b) in
            [("1", "1"), (r#"{"a":1,"b":2}"#, r#"{"b":2,"a":1}"#), (r#""é""#, r#""\u00e9""#), nested]
        {
            assert!(same_value(a.as_bytes(), b.as_bytes()), "{a} {b}");
        }
        // The last two are one number as floats; the two words have one CRC-32.
        for (a, b) in [
            ("1", "2"),
            ("null", "0"),
            ("[1,2]", "[2,1]"),
            ("[1]", "[1,1]"),
            (r#""plumless""#, r#""buckeroo""#),
            ("18446744073709551617", "18446744073709551616"),
            (r#"{"n":[18446744073709551617]}"#, r#"{"n":[18446744073709551616]}"#),
        ] {
            assert!(!same_value(a.as_bytes(), b.as_bytes()), "{a} {b}");
        }
    }

    #[test]
    fn changes_are_told_key_by_key() {
        let base = object(r#"{"a":1,"b":[2],"c":3}"#);
        let told = |other: &Object| {
            let told = base.changes_to(other).map(|(key, value)| match value {
                Some(value) => format!("{key}={}", String::from_utf8_lossy(value)),
                None => format!("-{key}"),
            });
            told.collect::<Vec<_>>().join(" ")
        };
        for (to, expected) in [
            (r#"{"a":1,"b":[2],"c":3}"#, ""),
            (r#"{"c":3,"b":[ 2 ],"a":1}"#, ""),
            (r#"{"b":[2],"c":3}"#, "-a"),
            (r#"{"c":3,"a":1}"#, "-b"),
            (r#"{"a":1,"b":[2]}"#, "-c"),
            (r#"{"d":1,"b":[2],"c":3}"#, "d=1 -a"),
            (r#"{"a":3,"b":[2],"c":1}"#, "a=3 c=1"),
            ("{}", "-a -b -c"),
        ] {
            let other = object(to);
            assert_eq!(told(&other), expected, "{to}");
            assert_eq!(base.same(&other), expected.is_empty(), "{to}");
        }
        // In one text, as after a change of it.
        let mut mine = base.clone();
        mine.put("b", b"4");
        mine.remove("a");
        assert_eq!(told(&mine), "b=4 -a");
    }

    #[test]
    fn changes_undone_are_no_changes() {
        let base = object(r#"{"a":1,"b":{"x":1,"y":2}}"#);
        let mut mine = base.clone();
        mine.put("a", b"2");
        mine.put("c", b"3");
        assert!(!base.same(&mine));
        mine.put("a", b"1");
        mine.remove("c");
        mine.put("b", br#"{"y":2,"x":1}"#);
        assert!(base.same(&mine));
    }

    #[test]
    fn depth_does_not_overflow_the_stack() {
        let deep = |end: &str| format!("{}{end}{}", "[".repeat(20_000), "]".repeat(20_000));
        assert!(same_value(deep("1").as_bytes(), deep("1").as_bytes()));
        assert!(!same_value(deep("1").as_bytes(), deep(" 1").as_bytes()));
        let deep = |end: &str| format!("{}{end}{}", r#"{"a":"#.repeat(20_000), "}".repeat(20_000));
        assert!(!same_value(deep("1").as_bytes(), deep(" 1").as_bytes()));
    }

    #[test]
    fn merging_follows_the_table() {
        // base, mine, theirs, merged, clashes
        let table = [
            (r#"{"a":1}"#, r#"{"a":1}"#, r#"{"a":2}"#, r#"{"a":2}"#, 0),
            (r#"{"a":1}"#, r#"{"a":2}"#, r#"{"a":1}"#, r#"{"a":2}"#, 0),
            (r#"{"a":1}"#, r#"{"a":2}"#, r#"{"a":2}"#, r#"{"a":2}"#, 0),
            (r#"{"a":1}"#, r#"{"a":2}"#, r#"{"a":3}"#, r#"{"a":2}"#, 1),
            (r#"{"a":1}"#, "{}", r#"{"a":3}"#, "{}", 1),
            (r#"{"a":1}"#, r#"{"a":2}"#, "{}", "{}", 1),
            (r#"{"a":1}"#, "{}", "{}", "{}", 0),
            ("{}", r#"{"a":1}"#, r#"{"b":2}"#, r#"{"b":2,"a":1}"#, 0),
            ("{}", r#"{"a":1}"#, r#"{"a":1}"#, r#"{"a":1}"#, 0),
            ("{}", r#"{"a":1}"#, r#"{"a":2}"#, r#"{"a":1}"#, 1),
        ];
        for (base, mine, theirs, expected, clashes) in table {
            let merged = merge(&object(base), &object(mine), &object(theirs));
            assert_eq!(text(&merged.object), expected, "{base} {mine} {theirs}");
            assert_eq!(merged.clashes, clashes, "{base} {mine} {theirs}");
        }
    }
}

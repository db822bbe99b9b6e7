use super::*;
use proptest::prelude::*;
use serde_json::value::RawValue;

/// Whether the whole text is passed as one value.
fn passes(text: &[u8]) -> bool {
    let mut window = Window::default();
    let mut scanner = Scanner::new(text, 0, &mut window);
    scanner.value().is_some() && scanner.is_over()
}

/// Where the value ends that the text begins with.
fn end(text: &[u8]) -> Option<usize> {
    let mut window = Window::default();
    let mut scanner = Scanner::new(text, 0, &mut window);
    scanner.value().map(|value| value.end)
}

#[test]
fn what_is_not_nested_is_held_to_the_grammar() {
    for good in [
        "true",
        "false",
        "null",
        "0",
        "-0",
        "7",
        "10",
        "-12",
        "0.5",
        "-1.25",
        "1e5",
        "1E5",
        "0e0",
        "1e+5",
        "2.5e-10",
        "\"\"",
        "\"a\"",
        "[]",
        "{}",
        " \n\t\r1 \n\t\r",
    ] {
        assert!(passes(good.as_bytes()), "{good:?}");
    }
    for bad in [
        "", " ", "t", "tru", "truE", "truex", "fals", "falsy", "nul", "nil", "01", "-", "-a", "+1", "1.",
        ".5", "1e", "1e+", "1.e1", "1 2", "1,", "\"", "\"a", "a", "[", "{", "]", "}", ":", ",", "\u{b}1",
    ] {
        assert!(!passes(bad.as_bytes()), "{bad:?}");
    }
}

#[test]
fn the_parts_of_a_member_are_found_one_by_one() {
    let text = br#"{ "a\n":"b" ,"c" : [1]}"#;
    let mut window = Window::default();
    let mut scanner = Scanner::new(text, 0, &mut window);
    assert_eq!((scanner.brace(b'}'), scanner.brace(b'{'), scanner.at()), (None, Some(()), 1));
    let escaped = scanner.string().expect("a key");
    assert_eq!((escaped.clone(), scanner.at()), (3..6, 7));
    assert!(!scanner.passes(b',') && scanner.passes(b':') && !scanner.passes(b':'));
    let plain = scanner.value().expect("a value");
    assert_eq!((plain.clone(), scanner.at()), (8..11, 11));
    assert!(scanner.has_escapes(&escaped), "an escape");
    assert!(!scanner.has_escapes(&plain), "the escape is elsewhere");
    assert!(scanner.passes(b','));
    assert_eq!(scanner.string(), Some(14..15));
    assert!(scanner.passes(b':') && scanner.string().is_none());
    assert_eq!(scanner.value(), Some(19..22));
    assert!(!scanner.is_over());
    assert_eq!((scanner.brace(b'}'), scanner.at()), (Some(()), text.len()));
    assert!(scanner.is_over());
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
fn nothing_is_allocated_for_64_levels() {
    let mut open = Nesting::default();
    for _ in 0..64 {
        assert_eq!((open.take(b'['), open.outer.capacity()), (Some(false), 0));
    }
    assert_eq!((open.take(b'{'), open.outer.len()), (Some(false), 1));
}

#[test]
fn a_string_ends_where_its_quote_is() {
    for length in 0..150 {
        for text in ["x".repeat(length), "é".repeat(length), "\u{7f}".repeat(length), "{".repeat(length)] {
            let quoted = format!("\"{text}\"x");
            let mut window = Window::default();
            let mut scanner = Scanner::new(quoted.as_bytes(), 0, &mut window);
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
        if let Some(Ok(value)) = values.next() {
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

use super::*;

pub(super) fn object(text: &str) -> Object {
    Object::parse(Bytes::copy_from_slice(text.as_bytes())).expect(text)
}

pub(super) fn text(object: &Object) -> String {
    let mut out = Vec::new();
    object.write(&mut out);
    String::from_utf8(out).expect("text")
}

#[test]
fn an_object_is_written_as_it_was_read() {
    for json in ["{}", r#"{"a":1}"#, r#"{"b":[1, 2],"a":{"x":"é"},"c\"d":null}"#] {
        assert_eq!(text(&object(json)), json);
    }
    assert_eq!(text(&object(r#" { "a" : 1 , "b" : 2 } "#)), r#"{"a":1,"b":2}"#);
}

#[test]
fn what_is_written_is_as_long_as_was_said() {
    let mut object = object(r#"{"a":1, "b":2,"c":3,"d" :4,"e":5}"#);
    for (key, value) in [("c", "33"), ("a", "11"), ("f", "6")] {
        object.put(key, value.as_bytes());
        assert_eq!(text(&object).len(), object.size_hint());
    }
    assert_eq!(text(&object), r#"{"a":11,"b":2,"c":33,"d":4,"e":5,"f":6}"#);
    object.remove("d");
    assert_eq!(text(&object), r#"{"a":11,"b":2,"c":33,"e":5,"f":6}"#);
    let none = self::object("{ }");
    assert_eq!((text(&none).as_str(), none.size_hint()), ("{}", 2));
}

#[test]
fn what_is_not_an_object_is_refused() {
    for json in ["", "1", "[]", "null", "{", r#"{"a"}"#, r#"{"a":1}x"#, r#"{"a":01}"#, "\u{0}"] {
        assert!(Object::parse(Bytes::copy_from_slice(json.as_bytes())).is_none(), "{json:?}");
    }
    assert!(Object::parse(Bytes::from_static(b"{\"a\":\"\xff\"}")).is_none());
}

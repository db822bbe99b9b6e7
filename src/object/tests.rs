use axum::body::Bytes;

use super::{
    parse::{Marks, USUAL_KEYS, repeats},
    *,
};

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
    for json in ["{}", r#"{"a":1}"#, r#"{"b":[1, 2],"a":{"x":"é"},"c\"d":null,"e\"f":1}"#] {
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
    let long = self::object(r#" {"a long key" : "a long value" , "another":[1,2,3]}"#);
    assert_eq!(text(&long).len(), long.size_hint());
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

#[test]
fn what_is_copied_at_once_is_what_would_be_written() {
    // The members as they stand in the source, if they stand there as they are written.
    let table: [(&str, &[Option<&str>]); 6] = [
        (r#"{"a":1,"bc":"d"}"#, &[Some(r#""a":1"#), Some(r#""bc":"d""#)]),
        (r#" {"a":[1, 2] , "b":{}}"#, &[Some(r#""a":[1, 2]"#), Some(r#""b":{}"#)]),
        (r#"{"a" :1,"b": 2,"c" : 3}"#, &[None, None, None]),
        (r#"{"":0}"#, &[Some(r#""":0"#)]),
        (r#"{"a\n":1}"#, &[None]),
        (r#"{"a": 1}"#, &[None]),
    ];
    for (json, members) in table {
        let object = object(json);
        let found: Vec<_> = object.entries.iter().map(|entry| object.member(entry)).collect();
        let found: Vec<_> = found.into_iter().map(|place| place.map(|place| &json[place])).collect();
        assert_eq!(found, members, "{json}");
    }
    // A struct's keys and values stand there without anything between them.
    let places = [((0, 1), (1, 2)), ((2, 3), (3, 4)), ((4, 5), (8, 9))];
    let entries = places.into_iter().map(|(key, value)| Entry { key, value }).collect();
    let object = Object::of_entries(b"a1b2c\":34".to_vec(), entries);
    assert!(object.entries.iter().all(|entry| object.member(entry).is_none()));
    assert_eq!(text(&object), r#"{"a":1,"b":2,"c":4}"#);
}

#[test]
fn members_side_by_side_are_written_as_they_are_after_others_have_gone() {
    let table = [
        (r#"{"a":1,"b":2,"c":3,"d":4}"#, r#"{"a":1,"c":3,"d":4}"#),
        (r#"{"a":1 ,"b":2, "c":3,"d":4}"#, r#"{"a":1,"c":3,"d":4}"#),
        (r#"{"b":2,"a":1}"#, r#"{"a":1}"#),
        (r#"{"a":1,"b":2}"#, r#"{"a":1}"#),
        (r#"{"a":1, "c":3 ,"d":4}"#, r#"{"a":1,"c":3,"d":4}"#),
    ];
    for (json, expected) in table {
        let mut object = object(json);
        object.remove("b");
        assert_eq!(text(&object), expected, "{json}");
    }
}

#[test]
fn of_a_key_that_is_there_twice_the_last_counts() {
    let table = [
        (r#"{"a":1,"a":2}"#, r#"{"a":2}"#),
        (r#"{"a":1,"b":2,"a":3,"c":4,"b":5}"#, r#"{"a":3,"c":4,"b":5}"#),
        (r#"{"a":1,"\u0061":2}"#, r#"{"\u0061":2}"#),
        (r#"{"":1,"":2}"#, r#"{"":2}"#),
    ];
    for (json, expected) in table {
        let (object, expected) = (object(json), object(expected));
        assert_eq!(text(&object), text(&expected), "{json}");
    }
}

#[test]
fn keys_are_told_apart_however_many_they_are() {
    let of = |keys: &[String]| {
        let mut own = Vec::new();
        let entries = keys.iter().map(|key| {
            let from = own.len();
            own.extend_from_slice(key.as_bytes());
            Entry { key: (from, own.len()), value: (from, from) }
        });
        let entries: Vec<_> = entries.collect();
        repeats(&entries, |entry| &own[entry.key.0..entry.key.1])
    };
    for many in [1, 2, 8, 9, 64, 65, 300, 2_000] {
        let mut keys: Vec<_> = (0..many).map(|i| format!("key{i}")).collect();
        assert!(!of(&keys), "{many}");
        for before in [0, many / 2, many - 1] {
            keys.push(keys[before].clone());
            assert!(of(&keys), "{many}, {before}");
            keys.pop();
        }
    }
}

#[test]
fn usual_keys_are_known_to_differ_as_they_are_found() {
    let mut marks = Marks::default();
    for key in ["user", "csrf", "cart", "views"] {
        marks.note(key.as_bytes());
        assert!(!marks.may_repeat, "{key}");
    }
    marks.note(b"csrf");
    assert!(marks.may_repeat);
}

#[test]
fn room_for_members_that_are_alike_is_made_once() {
    for many in [1, 8, 9, 100] {
        let members: Vec<_> = (100..100 + many).map(|i| format!("\"{i}\":{i}")).collect();
        let object = object(&format!("{{{}}}", members.join(",")));
        let room = object.entries.capacity();
        assert!((many..=many.max(USUAL_KEYS) + 10).contains(&room), "{room} for {many}");
    }
}

#[test]
fn an_object_shows_its_keys_and_values_in_order() {
    let object = object(r#"{"b":[1],"\u0061":{}}"#);
    let all: Vec<_> = object.iter().collect();
    assert_eq!(all, [("b".into(), &b"[1]"[..]), ("a".into(), &b"{}"[..])]);
    assert!(!object.is_empty());
    assert!(self::object("{}").is_empty());
    assert_eq!(format!("{object:?}"), "Object(2 keys)");
}

#[test]
fn who_writes_for_hours_keeps_little_that_has_been_written_over() {
    let mut object = object(r#"{"a":1,"\u0062":2,"c":3}"#);
    for i in 0..20_000 {
        object.put("c", format!("{i}").as_bytes());
        object.put(&format!("k{}", i % 3), b"[0,1,2,3,4,5,6,7,8,9]");
        assert!(object.own.len() <= UNTIDY + 40, "{}", object.own.len());
    }
    assert_eq!(
        text(&object),
        r#"{"a":1,"b":2,"c":19999,"k0":[0,1,2,3,4,5,6,7,8,9],"k1":[0,1,2,3,4,5,6,7,8,9],"k2":[0,1,2,3,4,5,6,7,8,9]}"#
    );
    let large = format!("\"{}\"", "x".repeat(3 * UNTIDY));
    for _ in 0..9 {
        object.put("k0", large.as_bytes());
        assert!(object.own.len() <= 3 * large.len() + UNTIDY, "{}", object.own.len());
    }
    assert_eq!(object.get("k0"), Some(large.as_bytes()));
    assert_eq!(text(&object).len(), object.size_hint());
}

#[test]
fn an_object_whose_keys_are_noted_is_the_one_that_was_read() {
    let long = format!(r#"{{"a":"{}","bc":[1,2]}}"#, "x".repeat(300));
    let seven: Vec<_> = (0..7).map(|key| format!("\"{key}\":{key}")).collect();
    for json in [r#"{"a":1}"#, r#"{"a":1,"":"é","bc":{"d":[]}}"#, &long, &format!("{{{}}}", seven.join(","))]
    {
        let read = object(json);
        let mut record = b"before".to_vec();
        read.write(&mut record);
        notes::append(&mut record, Some(&read), [7; 8].into());
        let noted = Object::noted(record.into(), 6);
        assert!(noted.entries.is_empty() && !noted.is_empty());
        assert!(noted.iter().eq(read.iter()) && noted.same(&read) && read.same(&noted), "{json}");
        assert_eq!((text(&noted), noted.size_hint()), (json.to_owned(), json.len()));
        assert!(noted.get("a") == read.get("a") && noted.get("A").is_none());
        for key in ["a", "0", "new"] {
            let (mut ours, mut theirs) = (noted.clone(), read.clone());
            for object in [&mut ours, &mut theirs] {
                object.put(key, b"[0]");
            }
            assert_eq!(text(&ours), text(&theirs));
            assert!(noted.changes_to(&ours).eq(read.changes_to(&theirs)) && !noted.same(&ours));
            ours.remove(key);
            theirs.remove(key);
            assert_eq!(text(&ours), text(&theirs));
        }
        assert_eq!(text(&merge(&read, &noted, &noted).object), json);
    }
}

#[test]
fn what_is_noted_is_listed_in_room_for_one_more() {
    let read = object(r#"{"a":1,"b":2,"c":3}"#);
    let mut record = Vec::new();
    read.write(&mut record);
    notes::append(&mut record, Some(&read), [7; 8].into());
    let mut object = Object::noted(record.into(), 0);
    object.put("d", b"4");
    assert_eq!((object.entries.len(), object.entries.capacity()), (4, 4));
}

#[test]
fn of_an_object_with_a_key_to_escape_nothing_is_noted() {
    let read = object(r#"{"a":1}"#);
    for (key, length) in [("b", 4), ("a", 2), ("\"", 0), ("b\n", 0)] {
        let mut object = read.clone();
        object.put(key, b"22");
        let mut notes = Vec::new();
        notes::append(&mut notes, Some(&object), [7; 8].into());
        assert_eq!(notes.len(), length + 2 + 8, "{key:?}");
    }
}

#[test]
fn what_two_have_written_in_one_place_differs() {
    let read = object(r#"{"a":1,"b":2}"#);
    let with = |key: &str, value: &str| {
        let mut object = read.clone();
        object.put(key, value.as_bytes());
        object
    };
    assert!(!with("a", "11").same(&with("a", "22")) && with("a", "11").same(&with("a", "11")));
    assert!(!with("c", "11").same(&with("c", "22")) && !with("c", "11").same(&with("d", "11")));
}

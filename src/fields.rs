//! A value as a map of its fields: each field's JSON text apart, so that nothing has to be parsed to find it again.

use serde::ser::{self, Impossible, Serialize, SerializeMap, SerializeStruct, Serializer};

use crate::object::{Entry, Object, Place, for_fields};

/// The object that a struct or a map serializes to. `None`: it is neither, or has a key that is no text, or is
/// very large.
pub(crate) fn of<T: Serialize + ?Sized>(value: &T) -> Option<Result<Object, serde_json::Error>> {
    let (text, entries) = for_fields();
    let mut fields = Fields { text, entries, key: Place::default() };
    match value.serialize(&mut fields) {
        Ok(()) => {
            let Fields { text, entries, .. } = fields;
            Some(Ok(Object::of_entries(text, entries)))
        }
        Err(Problem::Json(error)) => Some(Err(error)),
        Err(Problem::Other) => None,
    }
}

/// Takes the fields of one value. Keys lie in the text as they are, values as JSON.
struct Fields {
    text: Vec<u8>,
    entries: Vec<Entry>,
    key: Place,
}

#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("not an object in the usual shape")]
    Other,
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

impl ser::Error for Problem {
    fn custom<M: std::fmt::Display>(message: M) -> Self {
        Self::Json(ser::Error::custom(message))
    }
}

impl Fields {
    fn with_capacity(&mut self, fields: usize) -> &mut Self {
        self.text.reserve(32 * fields);
        self.entries.reserve(fields);
        self
    }

    fn key(&mut self, key: &str) -> Result<(), Problem> {
        let from = self.text.len();
        self.text.extend_from_slice(key.as_bytes());
        self.key = (from, self.text.len());
        Ok(())
    }

    fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Problem> {
        let from = self.text.len();
        serde_json::to_writer(&mut self.text, value)?;
        self.entries.push(Entry { key: self.key, value: (from, self.text.len()) });
        Ok(())
    }
}

impl SerializeStruct for &mut Fields {
    type Ok = ();
    type Error = Problem;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), Problem> {
        self.key(key)?;
        self.value(value)
    }

    fn end(self) -> Result<(), Problem> {
        Ok(())
    }
}

impl SerializeMap for &mut Fields {
    type Ok = ();
    type Error = Problem;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Problem> {
        key.serialize(Key(self))
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Problem> {
        self.value(value)
    }

    fn end(self) -> Result<(), Problem> {
        Ok(())
    }
}

/// The shapes that are no business of this file.
macro_rules! other {
    ($($method:ident($($kind:ty),*) -> $done:ty;)*) => {
        $(fn $method(self, $(_: $kind),*) -> Result<$done, Problem> {
            Err(Problem::Other)
        })*
    };
}

macro_rules! other_scalars_and_sequences {
    () => {
        type SerializeSeq = Impossible<(), Problem>;
        type SerializeTuple = Impossible<(), Problem>;
        type SerializeTupleStruct = Impossible<(), Problem>;
        type SerializeTupleVariant = Impossible<(), Problem>;
        type SerializeStructVariant = Impossible<(), Problem>;

        other! {
            serialize_bool(bool) -> ();
            serialize_i8(i8) -> ();
            serialize_i16(i16) -> ();
            serialize_i32(i32) -> ();
            serialize_i64(i64) -> ();
            serialize_u8(u8) -> ();
            serialize_u16(u16) -> ();
            serialize_u32(u32) -> ();
            serialize_u64(u64) -> ();
            serialize_f32(f32) -> ();
            serialize_f64(f64) -> ();
            serialize_char(char) -> ();
            serialize_bytes(&[u8]) -> ();
            serialize_none() -> ();
            serialize_unit() -> ();
            serialize_unit_struct(&'static str) -> ();
            serialize_seq(Option<usize>) -> Self::SerializeSeq;
            serialize_tuple(usize) -> Self::SerializeTuple;
            serialize_tuple_struct(&'static str, usize) -> Self::SerializeTupleStruct;
            serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Self::SerializeTupleVariant;
            serialize_struct_variant(&'static str, u32, &'static str, usize) -> Self::SerializeStructVariant;
        }

        fn serialize_newtype_variant<T: Serialize + ?Sized>(
            self,
            _: &'static str,
            _: u32,
            _: &'static str,
            _: &T,
        ) -> Result<(), Problem> {
            Err(Problem::Other)
        }
    };
}

impl<'a> Serializer for &'a mut Fields {
    type Ok = ();
    type Error = Problem;
    type SerializeMap = &'a mut Fields;
    type SerializeStruct = &'a mut Fields;

    fn serialize_map(self, length: Option<usize>) -> Result<Self, Problem> {
        Ok(self.with_capacity(length.unwrap_or_default()))
    }

    fn serialize_struct(self, _: &'static str, length: usize) -> Result<Self, Problem> {
        Ok(self.with_capacity(length))
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Problem> {
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Problem> {
        value.serialize(self)
    }

    other! {
        serialize_str(&str) -> ();
        serialize_unit_variant(&'static str, u32, &'static str) -> ();
    }
    other_scalars_and_sequences!();
}

/// Takes a key of a map, if it is text.
struct Key<'a>(&'a mut Fields);

impl Serializer for Key<'_> {
    type Ok = ();
    type Error = Problem;
    type SerializeMap = Impossible<(), Problem>;
    type SerializeStruct = Impossible<(), Problem>;

    fn serialize_str(self, key: &str) -> Result<(), Problem> {
        self.0.key(key)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), Problem> {
        self.0.key(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        key: &T,
    ) -> Result<(), Problem> {
        key.serialize(self)
    }

    other! {
        serialize_map(Option<usize>) -> Self::SerializeMap;
        serialize_struct(&'static str, usize) -> Self::SerializeStruct;
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Result<(), Problem> {
        Err(Problem::Other)
    }

    other_scalars_and_sequences!();
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Serialize;
    use serde_json::{Map, Value, json};
    use std::collections::BTreeMap;

    #[derive(Serialize)]
    struct Inner<'a> {
        text: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        absent: Option<u8>,
        null: Option<u8>,
    }

    #[derive(Serialize)]
    struct Outer<'a> {
        #[serde(rename = "a\"b")]
        renamed: f64,
        #[serde(flatten)]
        inner: Inner<'a>,
    }

    #[derive(Serialize)]
    struct Wrapped<T>(T);

    #[derive(Serialize)]
    enum Choice {
        One { n: u8 },
        Two(BTreeMap<String, u8>),
    }

    fn written(object: &Object) -> String {
        let mut text = Vec::new();
        object.write(&mut text);
        String::from_utf8(text).expect("text")
    }

    fn check<T: Serialize>(value: &T, directly: bool) {
        let object = Object::of(value).expect("an object");
        assert_eq!(written(&object), serde_json::to_string(value).expect("JSON"));
        assert_eq!(of(value).is_some(), directly);
    }

    #[test]
    fn the_fields_are_what_serde_json_writes() {
        let inner = || Inner { text: "quote \" and \n line", absent: None, null: None };
        check(&inner(), true);
        check(&Outer { renamed: 1.5, inner: inner() }, true);
        check(&Wrapped(inner()), true);
        check(&Some(inner()), true);
        let pairs = [("é".into(), json!([1, {"x": null}])), (String::new(), json!("y"))];
        let map = Map::from_iter(pairs);
        check(&map, true);
        check(&Value::Object(map), true);
        check(&BTreeMap::<String, u8>::new(), true);
    }

    #[test]
    fn seldom_shapes_go_through_their_text() {
        check(&BTreeMap::from([(1, "one"), (2, "two")]), false);
        check(&Choice::One { n: 1 }, false);
        check(&Choice::Two(BTreeMap::from([("x".into(), 1)])), false);
    }

    #[test]
    fn keys_are_what_serde_json_makes_of_them() {
        #[derive(Serialize, PartialEq, Eq, PartialOrd, Ord)]
        enum Day {
            Monday,
        }
        #[derive(Serialize, PartialEq, Eq, PartialOrd, Ord)]
        struct Name(&'static str);
        check(&BTreeMap::from([(Day::Monday, 1)]), true);
        check(&BTreeMap::from([(Name("a"), 1)]), true);
        assert!(Object::of(&BTreeMap::from([(Some("a"), 1)])).is_ok());
    }

    #[test]
    fn of_a_key_that_is_written_twice_the_last_counts() {
        #[derive(Serialize)]
        struct Outer {
            a: u8,
            b: u8,
            #[serde(flatten)]
            rest: BTreeMap<&'static str, u8>,
        }
        let value = Outer { a: 1, b: 2, rest: BTreeMap::from([("a", 3), ("c", 4)]) };
        let object = Object::of(&value).expect("an object");
        let all: Vec<_> = object.iter().map(|(key, value)| format!("{key}{}", value[0] as char)).collect();
        assert_eq!(all, ["b2", "a3", "c4"]);
    }

    #[test]
    fn a_value_that_refuses_is_an_error_in_its_own_words() {
        struct Unwilling;
        impl Serialize for Unwilling {
            fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                Err(ser::Error::custom("not today"))
            }
        }
        for error in [Object::of(&Unwilling).err(), Object::of(&BTreeMap::from([("a", Unwilling)])).err()] {
            assert_eq!(error.map(|why| why.to_string()).as_deref(), Some("not today"));
        }
    }

    #[test]
    fn what_is_no_object_is_an_error() {
        for value in [json!(null), json!(1), json!("x"), json!([1])] {
            assert!(Object::of(&value).is_err(), "{value}");
        }
        assert!(Object::of(&BTreeMap::from([((1, 2), 3)])).is_err());
    }
}

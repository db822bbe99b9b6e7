//! Typed views: a struct as a look at some of the session's keys.

use std::{borrow::Cow, fmt};

use serde::{
    Serialize,
    de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer, MapAccess, Visitor},
};

use crate::object::Object;

/// What a session can be viewed as: any struct that serde can write and read, with a `Default` for the
/// visitor who has none yet.
///
/// Several views share one session. Each sees its own keys, writes back only those that it changed, and
/// leaves the others alone. A field that the stored session lacks (one that a deploy has added) takes its
/// value from `Default`. Two views must not use one name for two types.
///
/// ```
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Default, Serialize, Deserialize)]
/// struct Cart {
///     items: Vec<String>,
/// }
/// # fn is_session_data<T: axum_generic_session::SessionData>() {}
/// # is_session_data::<Cart>();
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be used as session data",
    label = "not session data",
    note = "add `#[derive(Default, Serialize, Deserialize)]` to `{Self}`",
    note = "see https://docs.rs/axum-generic-session/latest/axum_generic_session/guide/typed/index.html"
)]
pub trait SessionData: Serialize + DeserializeOwned + Default + Send + Sync + 'static {}

// Without this the compiler explains serde's impls instead of showing the note above.
#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + Default + Send + Sync + 'static> SessionData for T {}

/// The session as `T` sees it.
pub(crate) fn read<T: SessionData>(object: &Object) -> Result<T, serde_json::Error> {
    if object.is_empty() {
        return Ok(T::default());
    }
    match T::deserialize(Stored { object, fill: Fill::Ask }) {
        Ok(value) => return Ok(value),
        Err(Problem::Incomplete) => {}
        Err(Problem::Json(error)) => return Err(error),
    }
    let defaults = Object::of(&T::default())?;
    T::deserialize(Stored { object, fill: Fill::With(&defaults) })
        // A field stored under its `alias` and filled in under its name stands there twice: go without.
        .or_else(|error| T::deserialize(Stored { object, fill: Fill::Nothing }).map_err(|_| error))
        .map_err(|problem| match problem {
            Problem::Json(error) => error,
            Problem::Incomplete => de::Error::custom(Problem::Incomplete),
        })
}

/// Why a view could not be read.
#[derive(Debug)]
enum Problem {
    /// A field is not stored: the defaults are needed.
    Incomplete,
    Json(serde_json::Error),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Incomplete => f.write_str("a field is missing"),
            Self::Json(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Problem {}

impl de::Error for Problem {
    fn custom<M: fmt::Display>(message: M) -> Self {
        Self::Json(de::Error::custom(message))
    }

    fn missing_field(_: &'static str) -> Self {
        Self::Incomplete
    }
}

/// The stored object as serde reads it.
struct Stored<'a> {
    object: &'a Object,
    fill: Fill<'a>,
}

/// Where fields come from that the stored object lacks.
enum Fill<'a> {
    /// Not known yet: say [`Problem::Incomplete`].
    Ask,
    /// From here.
    With(&'a Object),
    /// From nowhere but serde.
    Nothing,
}

impl<'a> Stored<'a> {
    fn defaults(&self) -> Option<&'a Object> {
        match self.fill {
            Fill::With(defaults) => Some(defaults),
            Fill::Ask | Fill::Nothing => None,
        }
    }

    fn entries(self) -> impl Iterator<Item = (Cow<'a, str>, &'a [u8])> {
        let stored = self.object;
        let missing = self.defaults().into_iter().flat_map(Object::iter);
        stored.iter().chain(missing.filter(|(key, _)| stored.get(key).is_none()))
    }

    /// The entries of these names, without a look at the others.
    fn fields(self, names: &'static [&'static str]) -> impl Iterator<Item = (Cow<'a, str>, &'a [u8])> {
        let defaults = self.defaults();
        names.iter().filter_map(move |name| {
            let value = self.object.get(name).or_else(|| defaults?.get(name))?;
            Some((Cow::Borrowed(*name), value))
        })
    }
}

impl<'de> de::Deserializer<'de> for Stored<'de> {
    type Error = Problem;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_map(Walk { entries: self.entries(), value: &[] })
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        let walk = Walk { entries: self.entries(), value: &[] };
        de::value::MapAccessDeserializer::new(walk).deserialize_enum(name, variants, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        // Serde would fill an absent `Option` with `None`, whatever `T::default()` says: ask for the defaults
        // as soon as any field is absent, so that an absent field always means the same.
        if matches!(self.fill, Fill::Ask) && fields.iter().any(|field| self.object.get(field).is_none()) {
            return Err(Problem::Incomplete);
        }
        visitor.visit_map(Walk { entries: self.fields(fields), value: &[] })
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct seq tuple tuple_struct map identifier ignored_any
    }
}

struct Walk<'de, I> {
    entries: I,
    value: &'de [u8],
}

impl<'de, I: Iterator<Item = (Cow<'de, str>, &'de [u8])>> MapAccess<'de> for Walk<'de, I> {
    type Error = Problem;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Problem> {
        let Some((key, value)) = self.entries.next() else { return Ok(None) };
        self.value = value;
        seed.deserialize(IntoDeserializer::<Problem>::into_deserializer(key)).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Problem> {
        let mut json = serde_json::Deserializer::from_slice(self.value);
        seed.deserialize(&mut json).map_err(Problem::Json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use serde_json::{Map, Value};

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Prefs {
        theme: String,
        size: Option<u8>,
        #[serde(default)]
        tags: Vec<String>,
    }

    impl Default for Prefs {
        fn default() -> Self {
            Self { theme: "light".into(), size: Some(3), tags: vec!["new".into()] }
        }
    }

    fn object(text: &'static str) -> Object {
        Object::parse(axum::body::Bytes::from_static(text.as_bytes())).expect(text)
    }

    #[test]
    fn an_absent_field_always_takes_its_value_from_default() {
        for stored in ["{}", r#"{"other":1}"#, r#"{"theme":"light"}"#, r#"{"size":3}"#] {
            assert_eq!(read::<Prefs>(&object(stored)).expect(stored), Prefs::default(), "{stored}");
        }
        let dark = read::<Prefs>(&object(r#"{"theme":"dark","size":null}"#)).expect("prefs");
        assert_eq!(dark, Prefs { theme: "dark".into(), size: None, tags: vec!["new".into()] });
    }

    #[test]
    fn a_wrong_type_is_an_error_and_not_a_default() {
        assert!(read::<Prefs>(&object(r#"{"theme":1}"#)).is_err());
    }

    #[test]
    fn renamed_and_flattened_fields_are_read() {
        #[derive(Default, Serialize, Deserialize)]
        struct Inner {
            #[serde(default)]
            deep: u8,
        }
        #[derive(Default, Serialize, Deserialize)]
        struct Outer {
            #[serde(rename = "n", alias = "cnt")]
            count: u8,
            #[serde(flatten)]
            inner: Inner,
        }
        let outer = read::<Outer>(&object(r#"{"n":1,"deep":2,"x":"y"}"#)).expect("outer");
        assert_eq!((outer.count, outer.inner.deep), (1, 2));
    }

    #[test]
    fn an_alias_is_read_beside_the_defaults() {
        #[derive(Default, Serialize, Deserialize)]
        struct Renamed {
            #[serde(alias = "cnt")]
            count: u8,
        }
        assert_eq!(read::<Renamed>(&object(r#"{"cnt":3}"#)).expect("renamed").count, 3);
    }

    #[test]
    fn views_of_other_shapes_are_read_as_serde_json_reads_them() {
        #[derive(Default, Serialize, Deserialize)]
        struct Wrapped(Prefs);
        #[derive(Default, Serialize, Deserialize, PartialEq, Debug)]
        enum Visitor {
            #[default]
            Guest,
            User {
                name: String,
            },
        }
        let dark = object(r#"{"theme":"dark","size":null}"#);
        assert_eq!(read::<Wrapped>(&dark).expect("prefs").0.theme, "dark");
        let user = read::<Visitor>(&object(r#"{"User":{"name":"ada"}}"#)).expect("a user");
        assert_eq!(user, Visitor::User { name: "ada".into() });
        assert!(read::<Visitor>(&object(r#"{"Robot":{}}"#)).is_err());
    }

    #[test]
    fn the_bare_view_sees_everything() {
        let map = read::<Map<String, Value>>(&object(r#"{"a":1,"b":[true]}"#)).expect("map");
        assert_eq!(Value::Object(map), serde_json::json!({"a": 1, "b": [true]}));
    }
}

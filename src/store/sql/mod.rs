//! What the SQL stores share: the names that may stand in SQL, and the way between rows and records.
//!
//! Every SQL store keeps one table of the same five columns: `id` (the digest of the key, 32 bytes, so that
//! no collation folds two sessions into one), `tag` (8 bytes as a signed integer), `expires_at`
//! (milliseconds since 1970 UTC, so that no time zone and no 2038 comes into it), `principal` and `data`
//! (bytes, exactly as given).

#[cfg(any(feature = "postgres-store", feature = "mysql-store"))]
pub(super) mod hands;
#[cfg(any(feature = "postgres-store", feature = "mysql-store"))]
mod methods;
#[cfg(any(feature = "postgres-store", feature = "mysql-store"))]
pub(super) mod pool;
#[cfg(any(feature = "postgres-store", feature = "mysql-store"))]
pub(super) mod sweeper;

use std::time::Duration;

use axum::body::Bytes;
use rand::Rng;

#[cfg(any(feature = "postgres-store", feature = "mysql-store"))]
pub(super) use self::methods::{by_principal_methods, store_methods, sweep_methods};
#[cfg(any(feature = "sqlite-store", feature = "mysql-store"))]
use super::Written;
use super::{Found, Layout, Owner, Record, StoreError, StoreErrorKind, Tag, When, Which};
use crate::{clock::Timestamp, id::StoreKey};

/// Unlike `sessions`, a name that no framework has taken already.
const DEFAULT_TABLE: &str = "axum_sessions";
/// PostgreSQL cuts names at 63 bytes, and `_expires_at` is added for an index.
const MAX_NAME: usize = 48;
/// However often the application wants it, a sweeper rests in between; and it comes at least once a day.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(86_400);

/// The columns of a row as every `SELECT` of this module names them: tag, `expires_at`, principal, data.
pub(super) type Row = (i64, i64, Option<Vec<u8>>, Vec<u8>);

/// The table of a store, its names checked: they stand in the SQL itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Table {
    schema: Option<Box<str>>,
    name: Box<str>,
}

impl Default for Table {
    fn default() -> Self {
        Self { schema: None, name: DEFAULT_TABLE.into() }
    }
}

impl Table {
    pub(super) fn named(self, name: &str) -> Result<Self, StoreError> {
        Ok(Self { name: checked("table", name)?, ..self })
    }

    #[cfg(any(feature = "postgres-store", feature = "mysql-store"))]
    pub(super) fn in_schema(self, schema: &str) -> Result<Self, StoreError> {
        Ok(Self { schema: Some(checked("schema", schema)?), ..self })
    }

    /// Puts the table's names into SQL: `{table}` as a whole, `{schema.}` before the name of an index,
    /// `{name}` as the stem of one.
    pub(super) fn fill(&self, sql: &str, quote: char) -> String {
        let schema = self.schema.as_ref().map(|s| format!("{quote}{s}{quote}.")).unwrap_or_default();
        sql.replace("{table}", &format!("{schema}{quote}{}{quote}", self.name))
            .replace("{schema.}", &schema)
            .replace("{name}", &self.name)
    }

    #[cfg(feature = "postgres-store")]
    pub(super) fn schema(&self) -> Option<&str> {
        self.schema.as_deref()
    }
}

fn checked(what: &str, name: &str) -> Result<Box<str>, StoreError> {
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let goes_on = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if starts && goes_on && name.len() <= MAX_NAME {
        return Ok(name.into());
    }
    Err(StoreError::new(
        StoreErrorKind::Misconfigured,
        format!(
            "{name:?} cannot be the name of the sessions' {what}: \
             use up to {MAX_NAME} ASCII letters, digits and underscores, not starting with a digit"
        ),
    ))
}

/// One conditional write, in the types of the columns. `old` and `new` differ when the session moves.
#[derive(Clone)]
pub(super) struct Change {
    pub(super) old: [u8; 32],
    pub(super) new: [u8; 32],
    pub(super) tag: i64,
    /// The tag by which the write would recognise itself; none where tags name bytes and not writes.
    pub(super) own: Option<i64>,
    /// The tag that the record in place must carry; none if any will do.
    pub(super) expected: Option<i64>,
    pub(super) expires_at: i64,
    pub(super) principal: Option<Vec<u8>>,
    pub(super) data: Bytes,
}

impl Change {
    pub(super) fn new(old: &StoreKey, new: &StoreKey, record: &Record, when: When) -> Self {
        let tag = column(record.tag);
        let expected = match when {
            When::Tagged(tag) => Some(column(tag)),
            When::Absent | When::Present => None,
        };
        Self {
            old: old.digest(),
            new: new.digest(),
            tag,
            own: (new.layout() == Layout::Native).then_some(tag),
            expected,
            expires_at: millis(record.expires_at),
            principal: record.principal.as_ref().map(|p| owner(Owner { prefix: new.prefix(), principal: p })),
            data: record.data.clone(),
        }
    }

    pub(super) fn is_own(&self, current: &Record) -> bool {
        self.own == Some(column(current.tag))
    }

    /// What an `UPDATE` that changed nothing has met: `current` is what lies under the old key.
    #[cfg(any(feature = "sqlite-store", feature = "mysql-store"))]
    pub(super) fn refused(&self, current: Option<Record>) -> Written {
        match current {
            None => Written::Gone,
            Some(current) if self.is_own(&current) => Written::Done,
            current => Written::Conflict(current),
        }
    }
}

/// An owner as the column: the principal, and after a zero the prefix of the keys, which a digest does not show. The
/// principal first, since some engines index no more than the beginning.
pub(super) fn owner(Owner { prefix, principal }: Owner<'_>) -> Vec<u8> {
    [principal.as_bytes(), prefix.as_bytes()].join(&0)
}

fn column(tag: Tag) -> i64 {
    i64::from_be_bytes(*tag.as_bytes())
}

/// A moment as a column: the year 9999 is far below the sign.
pub(super) const fn millis(moment: Timestamp) -> i64 {
    moment.as_millis().cast_signed()
}

/// About as long as `every`, so that processes that started together do not sweep together.
pub(super) fn spread(every: Duration) -> Duration {
    every.clamp(SHORTEST_PAUSE, LONGEST_PAUSE).mul_f64(rand::thread_rng().gen_range(0.75..1.25))
}

/// Whether the engine's largest value has room for the record, in bytes.
#[cfg(any(feature = "postgres-store", feature = "mysql-store"))]
pub(super) fn fits(record: &Record, limit: usize) -> Result<(), StoreError> {
    let size = record.data.len().max(record.principal.as_ref().map_or(0, |p| p.len()));
    if size <= limit {
        return Ok(());
    }
    Err(StoreError::new(
        StoreErrorKind::TooLarge,
        format!("it has {size} bytes, and the column has room for {limit}"),
    ))
}

pub(super) fn record((tag, expires_at, principal, data): Row) -> Result<Record, StoreError> {
    let expires_at =
        u64::try_from(expires_at).map_err(|_| StoreError::corrupt("a session expires before 1970"))?;
    let principal = principal
        .map(|mut owner| {
            // A prefix has no zero.
            let end = owner.iter().rposition(|byte| *byte == 0).unwrap_or(owner.len());
            owner.truncate(end);
            String::from_utf8(owner)
        })
        .transpose()
        .map_err(|_| StoreError::corrupt("the principal of a session is not UTF-8"))?;
    Ok(Record {
        tag: tag.to_be_bytes().into(),
        expires_at: Timestamp::from_millis(expires_at),
        principal: principal.map(String::into_boxed_str),
        data: data.into(),
    })
}

/// Which of an owner's sessions are to end, as two conditions on the id: the one, and not the other.
pub(super) fn ends(which: Which) -> (Option<[u8; 32]>, Option<[u8; 32]>) {
    match which {
        Which::All => (None, None),
        Which::AllBut(kept) => (None, Some(kept)),
        Which::Only(one) => (Some(one), None),
    }
}

/// The columns of a row that was found by its owner: those of a [`Row`], and the id.
pub(super) type OwnedRow = (i64, i64, Option<Vec<u8>>, Vec<u8>, Vec<u8>);

pub(super) fn found((tag, expires_at, principal, data, id): OwnedRow) -> Result<Found, StoreError> {
    let digest =
        id.try_into().map_err(|_| StoreError::corrupt("the id of a session is not 32 bytes long"))?;
    Ok(Found { digest, record: record((tag, expires_at, principal, data))? })
}

/// What can be read of an owner's rows; the others are named in the log.
pub(super) fn readable(rows: Vec<OwnedRow>) -> Vec<Found> {
    let read = rows.into_iter().map(found);
    read.filter_map(|found| {
        found.inspect_err(|error| tracing::error!(%error, "a session is left out of its owner's list")).ok()
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_their_quotes_are_refused_in_words() {
        for good in ["sessions", "_s", "App_Sessions2", &"a".repeat(48)] {
            assert!(Table::default().named(good).is_ok(), "{good}");
        }
        for bad in ["", "2nd", "a b", "a\"b", "a`b", "a.b", "a;--", "séance", "a\0", &"a".repeat(49)] {
            let error = Table::default().named(bad).expect_err(bad);
            assert_eq!(error.kind(), StoreErrorKind::Misconfigured);
            assert!(error.to_string().contains("letters, digits and underscores"), "{error}");
        }
    }

    #[test]
    fn a_record_survives_the_columns() {
        let key = StoreKey::hashed("p:", &crate::SessionId::random());
        let before = Record {
            tag: Tag::from([0xff, 0, 1, 2, 3, 4, 5, 6]),
            expires_at: Timestamp::MAX,
            principal: Some("ada\0é".into()),
            data: Bytes::from_static(&[0, 255, 39, 92]),
        };
        let change = Change::new(&key, &key, &before, When::Absent);
        let row = (change.tag, change.expires_at, change.principal, change.data.to_vec());
        assert_eq!(record(row).expect("a record"), before);
    }

    #[test]
    fn what_cannot_have_been_written_here_is_corrupt() {
        for row in [(0, -1, None, vec![]), (0, 1, Some(vec![0xff]), vec![])] {
            assert_eq!(record(row).expect_err("corrupt").kind(), StoreErrorKind::Corrupt);
        }
    }
}

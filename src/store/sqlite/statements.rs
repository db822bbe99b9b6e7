//! The statements, on one table: what runs on a connection, in its thread.

use rusqlite::{Connection, ErrorCode, OptionalExtension, ToSql, params};

use crate::{
    clock::SharedClock,
    store::{
        Applied, Found, Record, StoreError, StoreErrorKind, Which, Written,
        sql::{Change, Row, Table, ends, millis, readable, record},
    },
};

const GET: &str = "SELECT tag, expires_at, principal, data FROM {table} WHERE id = ?1 AND expires_at > ?2";

const CREATE: &str = "INSERT INTO {table} (id, tag, expires_at, principal, data)
VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (id) DO NOTHING";

const REPLACE: &str = "UPDATE {table} SET id = ?1, tag = ?2, expires_at = ?3, principal = ?4, data = ?5
WHERE id = ?6 AND expires_at > ?7 AND (?8 IS NULL OR tag = ?8)";

const TOUCH: &str = "UPDATE {table} SET expires_at = max(expires_at, ?2) WHERE id = ?1 AND expires_at > ?3";

const DESTROY: &str = "DELETE FROM {table} WHERE id = ?1";

const CLEAR: &str = "DELETE FROM {table} WHERE id = ?1 AND expires_at <= ?2";

const OF: &str =
    "SELECT tag, expires_at, principal, data, id FROM {table} WHERE principal = ?1 AND expires_at > ?2";

const DESTROY_OF: &str = "DELETE FROM {table} WHERE principal = ?1 AND expires_at > ?2
AND (?3 IS NULL OR id = ?3) AND (?4 IS NULL OR id <> ?4)";

const SWEEP: &str = "DELETE FROM {table} WHERE id IN (
    SELECT id FROM {table} WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2
)";

/// Rows are looked up by id only, and small: they live in the primary key's tree itself.
const MIGRATE: &str = "CREATE TABLE IF NOT EXISTS {table} (
    id BLOB NOT NULL PRIMARY KEY,
    tag INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    principal BLOB,
    data BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS \"{name}_expires_at\" ON {table} (expires_at);
CREATE INDEX IF NOT EXISTS \"{name}_principal\" ON {table} (principal) WHERE principal IS NOT NULL;";

/// The statements on one table, and the time that they compare with.
pub(super) struct Statements {
    get: String,
    create: String,
    replace: String,
    touch: String,
    destroy: String,
    clear: String,
    of: String,
    destroy_of: String,
    sweep: String,
    clock: SharedClock,
}

impl Statements {
    pub(super) fn on(table: &Table, clock: SharedClock) -> Self {
        let fill = |sql| table.fill(sql, '"');
        Self {
            get: fill(GET),
            create: fill(CREATE),
            replace: fill(REPLACE),
            touch: fill(TOUCH),
            destroy: fill(DESTROY),
            clear: fill(CLEAR),
            of: fill(OF),
            destroy_of: fill(DESTROY_OF),
            sweep: fill(SWEEP),
            clock,
        }
    }

    fn now(&self) -> i64 {
        millis(self.clock.now())
    }

    pub(super) fn read(&self, connection: &Connection, id: &[u8; 32]) -> Result<Option<Record>, StoreError> {
        let mut statement = connection.prepare_cached(&self.get).map_err(store_error)?;
        let row: Option<Row> = statement
            .query_row(params![id, self.now()], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })
            .optional()
            .map_err(store_error)?;
        row.map(record).transpose()
    }

    pub(super) fn create(&self, connection: &Connection, change: &Change) -> Result<Written, StoreError> {
        loop {
            let values =
                params![change.new, change.tag, change.expires_at, change.principal, change.data.as_ref()];
            if run(connection, &self.create, values)? == 1 {
                return Ok(Written::Done);
            }
            if run(connection, &self.clear, params![change.new, self.now()])? == 1 {
                continue;
            }
            return Ok(match self.read(connection, &change.new)? {
                Some(current) if change.is_own(&current) => Written::Done,
                current => Written::Conflict(current),
            });
        }
    }

    /// A rotation whose condition is that there is nothing under the old key.
    pub(super) fn create_beside(
        &self,
        connection: &Connection,
        change: &Change,
    ) -> Result<Written, StoreError> {
        match self.read(connection, &change.old)? {
            None => self.create(connection, change),
            current => Ok(Written::Conflict(current)),
        }
    }

    pub(super) fn replace(&self, connection: &Connection, change: &Change) -> Result<Written, StoreError> {
        loop {
            let mut statement = connection.prepare_cached(&self.replace).map_err(store_error)?;
            let replaced = statement.execute(params![
                change.new,
                change.tag,
                change.expires_at,
                change.principal,
                change.data.as_ref(),
                change.old,
                self.now(),
                change.expected,
            ]);
            match replaced {
                Ok(1) => return Ok(Written::Done),
                Ok(_) => break,
                Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {}
                Err(error) => return Err(store_error(error)),
            }
            if run(connection, &self.clear, params![change.new, self.now()])? == 0 {
                // Not with the record under the new key: the caller would take it for the session's own.
                return Ok(Written::Conflict(None));
            }
        }
        let in_place = match change.expected {
            Some(_) => self.read(connection, &change.old)?,
            // Any record would have done, so there was none.
            None => None,
        };
        let refused = change.refused(in_place);
        if refused == Written::Gone && change.old != change.new {
            // An earlier attempt may have moved the session already.
            let moved = self.read(connection, &change.new)?.is_some_and(|current| change.is_own(&current));
            return Ok(if moved { Written::Done } else { Written::Gone });
        }
        Ok(refused)
    }

    pub(super) fn touch(
        &self,
        connection: &Connection,
        id: &[u8; 32],
        expires_at: i64,
    ) -> Result<bool, StoreError> {
        Ok(run(connection, &self.touch, params![id, expires_at, self.now()])? == 1)
    }

    pub(super) fn destroy(&self, connection: &Connection, id: &[u8; 32]) -> Result<(), StoreError> {
        run(connection, &self.destroy, params![id]).map(drop)
    }

    pub(super) fn of(&self, connection: &Connection, owner: &[u8]) -> Result<Vec<Found>, StoreError> {
        let mut statement = connection.prepare_cached(&self.of).map_err(store_error)?;
        let rows = statement.query_map(params![owner, self.now()], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
        });
        let rows = rows.and_then(Iterator::collect).map_err(store_error)?;
        Ok(readable(rows))
    }

    pub(super) fn destroy_of(
        &self,
        connection: &Connection,
        owner: &[u8],
        which: Which,
    ) -> Result<usize, StoreError> {
        let (only, kept) = ends(which);
        run(connection, &self.destroy_of, params![owner, self.now(), only, kept])
    }

    pub(super) fn sweep(&self, connection: &Connection, batch: u32) -> Result<usize, StoreError> {
        run(connection, &self.sweep, params![self.now(), batch])
    }
}

pub(super) fn migrate(connection: &Connection, table: &Table) -> Result<(), StoreError> {
    let migrate = format!("BEGIN IMMEDIATE; {} COMMIT;", table.fill(MIGRATE, '"'));
    connection.execute_batch(&migrate).map_err(store_error)
}

fn run(connection: &Connection, sql: &str, values: &[&dyn ToSql]) -> Result<usize, StoreError> {
    connection.prepare_cached(sql).and_then(|mut statement| statement.execute(values)).map_err(store_error)
}

pub(super) fn misconfigured(sentence: impl Into<String>) -> StoreError {
    StoreError::new(StoreErrorKind::Misconfigured, sentence.into())
}

/// What a failed statement means. <https://www.sqlite.org/rescode.html>
pub(super) fn store_error(error: rusqlite::Error) -> StoreError {
    let kind = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::OutOfMemory) => {
            StoreErrorKind::Unavailable(Applied::No)
        }
        Some(ErrorCode::ReadOnly) => StoreErrorKind::ReadOnly,
        Some(ErrorCode::DiskFull) => StoreErrorKind::Full,
        Some(ErrorCode::TooBig) => StoreErrorKind::TooLarge,
        Some(ErrorCode::DatabaseCorrupt) => StoreErrorKind::Corrupt,
        Some(ErrorCode::PermissionDenied | ErrorCode::AuthorizationForStatementDenied) => {
            StoreErrorKind::Denied
        }
        // The disk fails; nobody knows how much of the transaction it has taken.
        Some(ErrorCode::SystemIoFailure) => StoreErrorKind::Unavailable(Applied::Unknown),
        None if is_of_the_row(&error) => StoreErrorKind::Corrupt,
        // No such column, not a database, a constraint that is not ours.
        _ => StoreErrorKind::Misconfigured,
    };
    StoreError::new(kind, error)
}

const fn is_of_the_row(error: &rusqlite::Error) -> bool {
    matches!(
        error,
        rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::FromSqlConversionFailure(..)
    )
}

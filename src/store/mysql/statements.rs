//! The statements, on one table, in the words of MySQL and MariaDB.

use super::super::sql::{Table, pool::statement};

/// Milliseconds since 1970 UTC by the server's clock. Not `UNIX_TIMESTAMP(NOW(3))`: that goes through the
/// session's local time, which names one hour of every autumn twice.
const NOW: &str = "(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000)";

const GET: &str = "SELECT tag, expires_at, principal, data FROM {table} WHERE id = ? AND expires_at > {now}";

const CREATE: &str = "INSERT INTO {table} (id, tag, expires_at, principal, data) VALUES (?, ?, ?, ?, ?)";

const REPLACE: &str = "UPDATE {table} SET id = ?, tag = ?, expires_at = ?, principal = ?, data = ?
WHERE id = ? AND expires_at > {now} AND (? IS NULL OR tag = ?)";

const TOUCH: &str =
    "UPDATE {table} SET expires_at = GREATEST(expires_at, ?) WHERE id = ? AND expires_at > {now}";

const DESTROY: &str = "DELETE FROM {table} WHERE id = ?";

const CLEAR: &str = "DELETE FROM {table} WHERE id = ? AND expires_at <= {now}";

/// The next statement alone: it sees each row once, as committed, whatever the session is set to.
pub(super) const EACH_ROW_ONCE: &str = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED";

const OF: &str =
    "SELECT tag, expires_at, principal, data, id FROM {table} WHERE principal = ? AND expires_at > {now}";

/// Whose id a writer changes while a `DELETE` reads along the index of `principal` may come to stand where it has read
/// already, and escape it. A `SELECT` shows each row once, wherever it is at that moment; so the rows are found
/// by one and deleted by primary key, until there are no more.
const IDS_OF: &str = "SELECT id FROM {table} WHERE principal = ? AND expires_at > {now}
AND (? IS NULL OR id = ?) AND (? IS NULL OR id <> ?) ORDER BY id";
const DESTROY_OF: &str = "DELETE FROM {table} WHERE expires_at > {now} AND principal = ";

/// Found without a lock and deleted by primary key: a `DELETE` along the index of `expires_at` would lock
/// the gaps into which others insert.
const EXPIRED: &str = "SELECT id FROM {table} WHERE expires_at <= {now} ORDER BY expires_at LIMIT ?";
const SWEEP: &str = "DELETE FROM {table} WHERE expires_at <= {now} AND id IN (";

/// With its indexes in the same statement, so that there is no moment at which only half of it exists.
pub(super) const MIGRATE: &str = "CREATE TABLE IF NOT EXISTS {table} (
    id BINARY(32) NOT NULL PRIMARY KEY,
    tag BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    principal MEDIUMBLOB,
    data MEDIUMBLOB NOT NULL,
    INDEX `{name}_expires_at` (expires_at),
    INDEX `{name}_principal` (principal(255))
) ENGINE=InnoDB";

pub(super) const PACKET: &str = "SELECT @@max_allowed_packet";

#[derive(Clone, Copy)]
pub(super) struct Statements {
    pub(super) get: &'static str,
    pub(super) create: &'static str,
    pub(super) replace: &'static str,
    pub(super) touch: &'static str,
    pub(super) destroy: &'static str,
    pub(super) clear: &'static str,
    pub(super) of: &'static str,
    pub(super) ids_of: &'static str,
    pub(super) destroy_of: &'static str,
    pub(super) expired: &'static str,
    pub(super) sweep: &'static str,
    pub(super) migrate: &'static str,
}

impl Statements {
    pub(super) fn on(table: &Table) -> Self {
        let fill = |sql: &str| statement(table.fill(sql, '`').replace("{now}", NOW));
        Self {
            get: fill(GET),
            create: fill(CREATE),
            replace: fill(REPLACE),
            touch: fill(TOUCH),
            destroy: fill(DESTROY),
            clear: fill(CLEAR),
            of: fill(OF),
            ids_of: fill(IDS_OF),
            destroy_of: fill(DESTROY_OF),
            expired: fill(EXPIRED),
            sweep: fill(SWEEP),
            migrate: fill(MIGRATE),
        }
    }
}

//! The statements, on one table, in the words of PostgreSQL.

use super::super::sql::{Table, pool::statement};

/// Milliseconds since 1970 UTC by the server's clock; the session's TimeZone has no part in it.
const NOW: &str = "(date_part('epoch', now()) * 1000)::bigint";

const GET: &str = "SELECT tag, expires_at, principal, data FROM {table} WHERE id = $1 AND expires_at > {now}";

const CREATE: &str = "INSERT INTO {table} (id, tag, expires_at, principal, data)
VALUES ($1, $2, $3, $4, $5) ON CONFLICT (id) DO NOTHING";

/// The way that a write nearly always goes; one that changes no row goes on to [`REPLACE`], which can tell why.
const SWAP: &str = "UPDATE {table} SET id = $2, tag = $3, expires_at = $4, principal = $5, data = $6
WHERE id = $1 AND expires_at > {now} AND ($7::bigint IS NULL OR tag = $7)";

/// `FOR UPDATE` is what makes the row that comes back with a refusal the committed one: without it the
/// statement sees the table as it was before the writer that it has just waited for.
/// The second `SELECT` finds a rotation that an earlier attempt has carried out already.
const REPLACE: &str = "WITH current AS (
    SELECT tag, expires_at, principal, data FROM {table} WHERE id = $1 AND expires_at > {now} FOR UPDATE
), written AS (
    UPDATE {table} AS place SET id = $2, tag = $3, expires_at = $4, principal = $5, data = $6
    FROM current WHERE place.id = $1 AND ($7::bigint IS NULL OR current.tag = $7)
    RETURNING 1
), outcome AS (
    SELECT EXISTS (SELECT FROM written) OR (tag = $8::bigint) IS TRUE AS done, current.* FROM current
)
SELECT done, tag, expires_at, CASE WHEN done THEN NULL ELSE principal END,
    CASE WHEN done THEN ''::bytea ELSE data END FROM outcome
UNION ALL
SELECT true, tag, expires_at, NULL, ''::bytea FROM {table}
WHERE id = $2 AND tag = $8::bigint AND expires_at > {now} AND NOT EXISTS (SELECT FROM current)";

const TOUCH: &str =
    "UPDATE {table} SET expires_at = greatest(expires_at, $2) WHERE id = $1 AND expires_at > {now}";

const DESTROY: &str = "DELETE FROM {table} WHERE id = $1";

const CLEAR: &str = "DELETE FROM {table} WHERE id = $1 AND expires_at <= {now}";

const OF: &str =
    "SELECT tag, expires_at, principal, data, id FROM {table} WHERE principal = $1 AND expires_at > {now}";

/// At any higher level a row that others have written meanwhile undoes the whole statement, and where sessions are busy
/// it would not come to an end.
pub(super) const ANEW: &str = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED";

/// A row that a writer holds is waited for and looked at as the writer leaves it: one that was moved to another
/// id meanwhile is its owner's still, and does not escape.
const DESTROY_OF: &str = "DELETE FROM {table} WHERE principal = $1 AND expires_at > {now}
AND ($2::bytea IS NULL OR id = $2) AND ($3::bytea IS NULL OR id <> $3)";

/// Waits for those who write, and keeps others from it. Every statement here comes by way of the table itself, so its
/// partitions need no lock of their own, and whatever is done to one of them is not waited for.
const LOCK: &str = "LOCK TABLE ONLY {table} IN SHARE ROW EXCLUSIVE MODE";

/// Rows that a writer holds are left for the next time. The array keeps the planner from choosing more
/// rows than the limit says.
const SWEEP: &str = "DELETE FROM {table} WHERE expires_at <= {now} AND id = ANY (ARRAY(
    SELECT id FROM {table} WHERE expires_at <= {now} ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED
))";

/// One statement, so one transaction, and safe to run on every node at every start: `IF NOT EXISTS` alone
/// fails when two nodes create the table at once. What is there already needs no right to create it.
pub(super) const MIGRATE: &str = "DO $migrate$ BEGIN
    PERFORM pg_advisory_xact_lock(7021773260173);
    {create_schema}
    IF to_regclass('{table}') IS NULL THEN
        CREATE TABLE {table} (
            id bytea PRIMARY KEY,
            tag bigint NOT NULL,
            expires_at bigint NOT NULL,
            principal bytea,
            data bytea NOT NULL
        );
    END IF;
    IF to_regclass('{schema.}\"{name}_expires_at\"') IS NULL THEN
        CREATE INDEX \"{name}_expires_at\" ON {table} (expires_at);
    END IF;
    IF to_regclass('{schema.}\"{name}_principal\"') IS NULL THEN
        CREATE INDEX \"{name}_principal\" ON {table} USING hash (principal);
    END IF;
END $migrate$";

pub(super) const CREATE_SCHEMA: &str =
    "IF to_regnamespace('{schema}') IS NULL THEN CREATE SCHEMA {schema}; END IF;";

#[derive(Clone, Copy)]
pub(super) struct Statements {
    pub(super) get: &'static str,
    pub(super) create: &'static str,
    pub(super) swap: &'static str,
    pub(super) replace: &'static str,
    pub(super) touch: &'static str,
    pub(super) destroy: &'static str,
    pub(super) clear: &'static str,
    pub(super) of: &'static str,
    pub(super) destroy_of: &'static str,
    pub(super) lock: &'static str,
    pub(super) sweep: &'static str,
}

impl Statements {
    pub(super) fn on(table: &Table) -> Self {
        let fill = |sql: &str| statement(table.fill(sql, '"').replace("{now}", NOW));
        Self {
            get: fill(GET),
            create: fill(CREATE),
            swap: fill(SWAP),
            replace: fill(REPLACE),
            touch: fill(TOUCH),
            destroy: fill(DESTROY),
            clear: fill(CLEAR),
            of: fill(OF),
            destroy_of: fill(DESTROY_OF),
            lock: fill(LOCK),
            sweep: fill(SWEEP),
        }
    }
}

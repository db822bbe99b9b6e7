//! Sessions in PostgreSQL.

mod statements;

use std::{fmt, time::Duration};

use sqlx::{
    Connection as _, Error, PgConnection, PgPool, Postgres, error::DatabaseError, postgres::PgArguments,
    query::Query,
};

use self::statements::{ANEW, CREATE_SCHEMA, MIGRATE, Statements};
use super::{
    Applied, ByPrincipal, Found, Owner, Record, Store, StoreError, StoreErrorKind, When, Which, Written,
    sql::{
        Change, OwnedRow, Row, Table, by_principal_methods, ends, fits,
        hands::{Hands, Lent},
        pool::{self, Engine, Failure, Verdict, statement},
        record, store_methods, sweep_methods,
        sweeper::{Sweep, Sweeper},
    },
};
use crate::{clock::Timestamp, id::StoreKey};

/// A value of PostgreSQL has at most 1 GiB; some room is left for the rest of the message.
const MAX_DATA: usize = (1 << 30) - (1 << 20);

/// Sessions in PostgreSQL (12 or later), over the application's own pool.
///
/// Every call is one statement in a transaction of its own, with conditions that hold at every isolation
/// level; only a refused write needs a second one, to see what was in its way, and to end all of a principal's
/// sessions at READ COMMITTED is a transaction of four. The server's clock, in UTC, decides what has expired.
///
/// ```no_run
/// use axum_generic_session::store::PostgresStore;
/// use std::time::Duration;
///
/// # async fn main_() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = sqlx::PgPool::connect("postgres://app@localhost/app").await?;
/// let store = PostgresStore::new(pool);
/// store.migrate().await?;
/// let sweeper = store.sweep_every(Duration::from_secs(60)); // sweeps until it is dropped
/// # Ok(())
/// # }
/// ```
///
/// The pool's `acquire_timeout` (30 seconds unless set) is how long a call waits for a connection where the
/// layer's time limit does not end it first. A connection that is free is taken as it is, without the pool's
/// test and its `before_acquire`, and goes on to the next call that waits, up to 32 times: a call is one round
/// trip, where the pool would make it three. When one turns out to be broken, the call is tried again, and the
/// pool tests the others.
///
/// For TLS, the application's own dependency on `sqlx` names one of its `tls-` features.
///
/// If the compiler says that there are two versions of `sqlx`, the application's is older than the one that
/// was chosen for this crate: `cargo update -p sqlx@0.9.0 --precise 0.8.6` makes them one.
#[derive(Clone)]
pub struct PostgresStore {
    hands: Hands<Postgres>,
    table: Table,
    sql: Statements,
}

impl PostgresStore {
    /// A store over `pool`, in the table `axum_sessions` of the first schema in the `search_path`.
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        Self::on(Hands::new(pool), Table::default())
    }

    fn on(hands: Hands<Postgres>, table: Table) -> Self {
        Self { hands, sql: Statements::on(&table), table }
    }

    /// The same store in another table.
    ///
    /// # Errors
    /// When the name is anything but up to 48 ASCII letters, digits and underscores.
    pub fn table(self, name: &str) -> Result<Self, StoreError> {
        Ok(Self::on(self.hands, self.table.named(name)?))
    }

    /// The same store in a table of this schema, which [`migrate`](Self::migrate) creates if need be.
    ///
    /// # Errors
    /// When the name is anything but up to 48 ASCII letters, digits and underscores.
    pub fn schema(self, name: &str) -> Result<Self, StoreError> {
        Ok(Self::on(self.hands, self.table.in_schema(name)?))
    }

    /// Creates what is missing of schema, table and indexes, and checks the columns. Any number of nodes
    /// may do so at once, at every start.
    ///
    /// # Errors
    /// When the server is away, refuses, or has another table of this name.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let create_schema = match self.table.schema() {
            Some(schema) => CREATE_SCHEMA.replace("{schema}", &format!("\"{schema}\"")),
            None => String::new(),
        };
        let migrate = statement(self.table.fill(&MIGRATE.replace("{create_schema}", &create_schema), '"'));
        self.prepare(migrate).await.map_err(Failure::into_error)
    }

    async fn prepare(&self, migrate: &'static str) -> Result<(), Failure> {
        let mut connection = self.connection().await?;
        sqlx::query(migrate).execute(&mut *connection).await.map_err(failure)?;
        // Finds out whether a table of this name has these columns, in these types.
        self.row(&mut connection, &[0; 32]).await.map(drop)
    }

    /// Deletes up to `batch` expired sessions, and says how many they were. A live one is never deleted:
    /// the server's clock decides, in the statement that deletes.
    ///
    /// # Errors
    /// When the server is away or refuses.
    pub async fn sweep(&self, batch: u32) -> Result<u64, StoreError> {
        self.rows(sqlx::query(self.sql.sweep).bind(i64::from(batch))).await.map_err(Failure::into_error)
    }

    /// Sweeps in the background, about every `every`, until the handle is dropped.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn sweep_every(&self, every: Duration) -> Sweeper {
        Sweeper::start(self.clone(), every)
    }

    async fn connection(&self) -> Result<Lent<Postgres>, Failure> {
        pool::acquire(&self.hands, verdict).await
    }

    /// Runs a statement that answers with a number of rows only.
    async fn rows(&self, query: Query<'_, Postgres, PgArguments>) -> Result<u64, Failure> {
        let mut connection = self.connection().await?;
        let rows = query.execute(&mut *connection).await.map_err(failure)?.rows_affected();
        connection.done();
        Ok(rows)
    }

    /// `alone`: while nobody else writes.
    async fn delete_rows_of(&self, owner: &[u8], which: Which, alone: bool) -> Result<u64, Failure> {
        let (only, kept) = ends(which);
        let mut connection = self.connection().await?;
        let mut transaction = connection.begin().await.map_err(failure)?;
        sqlx::query(ANEW).execute(&mut *transaction).await.map_err(failure)?;
        if alone {
            sqlx::query(self.sql.lock).execute(&mut *transaction).await.map_err(failure)?;
        }
        let query = sqlx::query(self.sql.destroy_of).bind(owner);
        let query = query.bind(only.map(Vec::from)).bind(kept.map(Vec::from));
        let ended = query.execute(&mut *transaction).await.map_err(failure)?.rows_affected();
        transaction.commit().await.map_err(failure)?;
        connection.done();
        Ok(ended)
    }

    async fn row(&self, connection: &mut PgConnection, id: &[u8; 32]) -> Result<Option<Row>, Failure> {
        sqlx::query_as(self.sql.get).bind(&id[..]).fetch_optional(connection).await.map_err(failure)
    }
}

/// What `replace` answers: whether it is done, and the columns of the record that was in the way if not.
type Outcome = (bool, i64, i64, Option<Vec<u8>>, Vec<u8>);

impl Engine for PostgresStore {
    fn lost(&self) {
        self.hands.suspect_all();
    }

    async fn read(&self, id: &[u8; 32]) -> Result<Option<Record>, Failure> {
        let mut connection = self.connection().await?;
        let row = self.row(&mut connection, id).await?;
        connection.done();
        row.map(record).transpose().map_err(Failure::Final)
    }

    async fn insert(&self, change: &Change) -> Result<bool, Failure> {
        let query = sqlx::query(self.sql.create)
            .bind(&change.new[..])
            .bind(change.tag)
            .bind(change.expires_at)
            .bind(change.principal.as_deref())
            .bind(&change.data[..]);
        Ok(self.rows(query).await? == 1)
    }

    async fn replace(&self, change: &Change) -> Result<Written, Failure> {
        let mut connection = self.connection().await?;
        let swap = sqlx::query(self.sql.swap)
            .bind(&change.old[..])
            .bind(&change.new[..])
            .bind(change.tag)
            .bind(change.expires_at)
            .bind(change.principal.as_deref())
            .bind(&change.data[..])
            .bind(change.expected);
        if swap.execute(&mut *connection).await.map_err(failure)?.rows_affected() == 1 {
            connection.done();
            return Ok(Written::Done);
        }
        // All rows, to the end of the answer: the only row arrives before the transaction has ended.
        let rows: Vec<Outcome> = sqlx::query_as(self.sql.replace)
            .bind(&change.old[..])
            .bind(&change.new[..])
            .bind(change.tag)
            .bind(change.expires_at)
            .bind(change.principal.as_deref())
            .bind(&change.data[..])
            .bind(change.expected)
            .bind(change.own)
            .fetch_all(&mut *connection)
            .await
            .map_err(failure)?;
        connection.done();
        Ok(match rows.into_iter().next() {
            None => Written::Gone,
            Some((true, ..)) => Written::Done,
            Some((false, tag, expires_at, principal, data)) => {
                Written::Conflict(Some(record((tag, expires_at, principal, data)).map_err(Failure::Final)?))
            }
        })
    }

    async fn extend(&self, id: &[u8; 32], expires_at: i64) -> Result<bool, Failure> {
        Ok(self.rows(sqlx::query(self.sql.touch).bind(&id[..]).bind(expires_at)).await? == 1)
    }

    async fn delete(&self, id: &[u8; 32]) -> Result<(), Failure> {
        self.rows(sqlx::query(self.sql.destroy).bind(&id[..])).await.map(drop)
    }

    async fn clear(&self, id: &[u8; 32]) -> Result<bool, Failure> {
        Ok(self.rows(sqlx::query(self.sql.clear).bind(&id[..])).await? == 1)
    }

    async fn of(&self, owner: &[u8]) -> Result<Vec<OwnedRow>, Failure> {
        let mut connection = self.connection().await?;
        let rows =
            sqlx::query_as(self.sql.of).bind(owner).fetch_all(&mut *connection).await.map_err(failure)?;
        connection.done();
        Ok(rows)
    }

    async fn delete_of(&self, owner: &[u8], which: Which) -> Result<u64, Failure> {
        match self.delete_rows_of(owner, which, false).await {
            // In a table in partitions, by a row that moved to another: sessions that keep moving would keep it from
            // ever coming to an end.
            Err(Failure::Overtaken(_)) => self.delete_rows_of(owner, which, true).await,
            answer => answer,
        }
    }
}

// An error about another type should not depend on the features that are on.
#[diagnostic::do_not_recommend]
impl Store for PostgresStore {
    store_methods!("postgres", MAX_DATA);
}

#[diagnostic::do_not_recommend]
impl ByPrincipal for PostgresStore {
    by_principal_methods!();
}

impl Sweep for PostgresStore {
    sweep_methods!();
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").field("table", &self.table).finish_non_exhaustive()
    }
}

fn failure(error: Error) -> Failure {
    pool::failure(error, verdict)
}

/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
fn verdict(error: &dyn DatabaseError) -> Verdict {
    let code = error.code().unwrap_or_default();
    Verdict::Kind(match &*code {
        // Serialization failure.
        "40001" => return Verdict::Overtaken,
        // Deadlock, lock_timeout.
        "40P01" | "55P03" => return Verdict::Locked,
        // No such table, column, schema; an operator that the column's type does not have.
        "42P01" | "42703" | "3F000" | "42883" => return Verdict::NoTable,
        "25006" => StoreErrorKind::ReadOnly,
        "53100" => StoreErrorKind::Full,
        "XX001" | "XX002" => StoreErrorKind::Corrupt,
        "42501" => StoreErrorKind::Denied,
        // Starting up or shutting down; statement_timeout; out of memory or of connections.
        "57P03" | "57014" => StoreErrorKind::Unavailable(Applied::No),
        code => match code.get(..2).unwrap_or_default() {
            "53" => StoreErrorKind::Unavailable(Applied::No),
            "54" => StoreErrorKind::TooLarge,
            "28" => StoreErrorKind::Denied,
            // No such database or type; a constraint or a setting that is not ours.
            "0A" | "22" | "23" | "3D" | "3F" | "42" => StoreErrorKind::Misconfigured,
            _ => return Verdict::Lost,
        },
    })
}

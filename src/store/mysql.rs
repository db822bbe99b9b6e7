//! Sessions in MySQL and MariaDB.

mod statements;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use sqlx::{
    Error, Executor, MySql, MySqlConnection, MySqlPool, QueryBuilder,
    error::DatabaseError,
    mysql::{MySqlArguments, MySqlDatabaseError},
    query::Query,
};

use self::statements::{EACH_ROW_ONCE, PACKET, Statements};
use super::{
    Applied, ByPrincipal, Found, Owner, Record, Store, StoreError, StoreErrorKind, When, Which, Written,
    sql::{
        Change, OwnedRow, Row, Table, by_principal_methods, ends, fits,
        hands::{Hands, Lent},
        pool::{self, Engine, Failure, Verdict},
        record, store_methods, sweep_methods,
        sweeper::{Sweep, Sweeper},
    },
};
use crate::{clock::Timestamp, id::StoreKey};

/// Sessions of a principal that one statement ends.
const IDS_AT_ONCE: usize = 500;

/// What a `MEDIUMBLOB` holds. Longer values would be cut without a word where the server is not strict.
const MAX_DATA: usize = (1 << 24) - 1;
/// No server can be set to take packets smaller than this.
const LEAST_PACKET: usize = 1024;
/// What a write needs in its packet beside data and principal, rounded up.
const AROUND: usize = 256;

/// Sessions in MySQL (8.0 or later) or MariaDB (10.5 or later), over the application's own pool.
///
/// Every call is one statement in a transaction of its own, whose conditions hold at every isolation level;
/// only a refused write reads the record that was in its way with a second one. The server's clock, in UTC,
/// decides what has expired.
///
/// ```no_run
/// use axum_generic_session::store::MySqlStore;
/// use std::time::Duration;
///
/// # async fn main_() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = sqlx::MySqlPool::connect("mysql://app@localhost/app").await?;
/// let store = MySqlStore::new(pool);
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
pub struct MySqlStore {
    hands: Hands<MySql>,
    table: Table,
    sql: Statements,
    /// The largest packet that the server is known to take, in bytes.
    packet: Arc<AtomicUsize>,
}

impl MySqlStore {
    /// A store over `pool`, in the table `axum_sessions` of the connection's database.
    #[must_use]
    pub fn new(pool: MySqlPool) -> Self {
        Self::on(Hands::new(pool), Table::default())
    }

    fn on(hands: Hands<MySql>, table: Table) -> Self {
        Self { hands, sql: Statements::on(&table), table, packet: Arc::new(LEAST_PACKET.into()) }
    }

    /// The same store in another table.
    ///
    /// # Errors
    /// When the name is anything but up to 48 ASCII letters, digits and underscores.
    pub fn table(self, name: &str) -> Result<Self, StoreError> {
        Ok(Self::on(self.hands, self.table.named(name)?))
    }

    /// The same store in a table of this schema, which MySQL also calls a database. It must exist.
    ///
    /// # Errors
    /// When the name is anything but up to 48 ASCII letters, digits and underscores.
    pub fn schema(self, name: &str) -> Result<Self, StoreError> {
        Ok(Self::on(self.hands, self.table.in_schema(name)?))
    }

    /// Creates the table with its indexes if it is missing, and checks the columns. Any number of nodes may
    /// do so at once, at every start.
    ///
    /// # Errors
    /// When the server is away, refuses, or has another table of this name.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        self.prepare().await.map_err(Failure::into_error)
    }

    async fn prepare(&self) -> Result<(), Failure> {
        let mut connection = self.connection().await?;
        // Looked for first: `IF NOT EXISTS` asks for the right to create even where there is nothing to do.
        match self.row(&mut connection, &[0; 32]).await {
            Err(Failure::Final(error)) if error.kind() == StoreErrorKind::Misconfigured => {}
            found => return found.map(drop),
        }
        sqlx::query(self.sql.migrate).execute(&mut *connection).await.map_err(failure)?;
        self.row(&mut connection, &[0; 32]).await.map(drop)
    }

    /// Deletes up to `batch` expired sessions, and says how many they were. A live one is never deleted:
    /// the server's clock decides, in the statement that deletes.
    ///
    /// # Errors
    /// When the server is away or refuses.
    pub async fn sweep(&self, batch: u32) -> Result<u64, StoreError> {
        self.sweep_once(batch).await.map_err(Failure::into_error)
    }

    async fn sweep_once(&self, batch: u32) -> Result<u64, Failure> {
        let mut connection = self.connection().await?;
        let mut expired: Vec<(Vec<u8>,)> = sqlx::query_as(self.sql.expired)
            .bind(batch)
            .fetch_all(&mut *connection)
            .await
            .map_err(failure)?;
        if expired.is_empty() {
            return Ok(0);
        }
        // In one order for everybody, so that two sweepers cannot wait for each other.
        expired.sort_unstable();
        let mut sweep = QueryBuilder::<MySql>::new(self.sql.sweep);
        let mut ids = sweep.separated(", ");
        for (id,) in &expired {
            ids.push_bind(&id[..]);
        }
        ids.push_unseparated(")");
        // Of a length of its own each time: not worth a place among the prepared statements.
        let sweep = sweep.build().persistent(false);
        Ok(sweep.execute(&mut *connection).await.map_err(failure)?.rows_affected())
    }

    /// Sweeps in the background, about every `every`, until the handle is dropped.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn sweep_every(&self, every: Duration) -> Sweeper {
        Sweeper::start(self.clone(), every)
    }

    async fn connection(&self) -> Result<Lent<MySql>, Failure> {
        pool::acquire(&self.hands, verdict).await
    }

    /// Runs a statement that answers with a number of rows only. The drivers ask the server to count the
    /// rows that were found, not those that were changed: a touch that changes nothing counts too.
    async fn rows(&self, query: Query<'_, MySql, MySqlArguments>) -> Result<u64, Failure> {
        let mut connection = self.connection().await?;
        let rows = query.execute(&mut *connection).await.map_err(failure)?.rows_affected();
        connection.done();
        Ok(rows)
    }

    async fn row(&self, connection: &mut MySqlConnection, id: &[u8; 32]) -> Result<Option<Row>, Failure> {
        sqlx::query_as(self.sql.get).bind(&id[..]).fetch_optional(connection).await.map_err(failure)
    }

    /// Whether the server takes a write of this size. It ends the connection of one that it does not, so
    /// it is asked before, once for all that are not larger, and again when its limit has been raised.
    async fn fits_packet(&self, change: &Change) -> Result<(), Failure> {
        let size = change.data.len() + change.principal.as_ref().map_or(0, Vec::len) + AROUND;
        if size <= self.packet.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut connection = self.connection().await?;
        let (limit,): (u64,) = sqlx::query_as(PACKET).fetch_one(&mut *connection).await.map_err(failure)?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        self.packet.store(limit, Ordering::Relaxed);
        if size <= limit {
            return Ok(());
        }
        Err(Failure::Final(StoreError::new(
            StoreErrorKind::TooLarge,
            format!("its write has {size} bytes, and the server's max_allowed_packet is {limit}: raise it"),
        )))
    }
}

impl Engine for MySqlStore {
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
        self.fits_packet(change).await?;
        let query = sqlx::query(self.sql.create)
            .bind(&change.new[..])
            .bind(change.tag)
            .bind(change.expires_at)
            .bind(change.principal.as_deref())
            .bind(&change.data[..]);
        match self.rows(query).await {
            Err(Failure::Taken) => Ok(false),
            answer => answer.map(|_| true),
        }
    }

    async fn replace(&self, change: &Change) -> Result<Written, Failure> {
        self.fits_packet(change).await?;
        let query = sqlx::query(self.sql.replace)
            .bind(&change.new[..])
            .bind(change.tag)
            .bind(change.expires_at)
            .bind(change.principal.as_deref())
            .bind(&change.data[..])
            .bind(&change.old[..])
            .bind(change.expected)
            .bind(change.expected);
        if self.rows(query).await? == 1 {
            return Ok(Written::Done);
        }
        let in_place = match change.expected {
            Some(_) => self.read(&change.old).await?,
            // Any record would have done, so there was none.
            None => None,
        };
        let refused = change.refused(in_place);
        if refused == Written::Gone && change.old != change.new {
            // An earlier attempt may have moved the session already.
            let moved = self.read(&change.new).await?.is_some_and(|current| change.is_own(&current));
            return Ok(if moved { Written::Done } else { Written::Gone });
        }
        Ok(refused)
    }

    async fn extend(&self, id: &[u8; 32], expires_at: i64) -> Result<bool, Failure> {
        Ok(self.rows(sqlx::query(self.sql.touch).bind(expires_at).bind(&id[..])).await? == 1)
    }

    async fn delete(&self, id: &[u8; 32]) -> Result<(), Failure> {
        self.rows(sqlx::query(self.sql.destroy).bind(&id[..])).await.map(drop)
    }

    async fn clear(&self, id: &[u8; 32]) -> Result<bool, Failure> {
        Ok(self.rows(sqlx::query(self.sql.clear).bind(&id[..])).await? == 1)
    }

    async fn of(&self, owner: &[u8]) -> Result<Vec<OwnedRow>, Failure> {
        let mut connection = self.connection().await?;
        connection.execute(EACH_ROW_ONCE).await.map_err(failure)?;
        let rows =
            sqlx::query_as(self.sql.of).bind(owner).fetch_all(&mut *connection).await.map_err(failure)?;
        connection.done();
        Ok(rows)
    }

    async fn delete_of(&self, owner: &[u8], which: Which) -> Result<u64, Failure> {
        let mut connection = self.connection().await?;
        let (only, kept) = ends(which);
        let (only, kept) = (only.map(Vec::from), kept.map(Vec::from));
        let mut ended = 0;
        loop {
            connection.execute(EACH_ROW_ONCE).await.map_err(failure)?;
            let ids: Vec<(Vec<u8>,)> = sqlx::query_as(self.sql.ids_of)
                .bind(owner)
                .bind(only.as_deref())
                .bind(only.as_deref())
                .bind(kept.as_deref())
                .bind(kept.as_deref())
                .fetch_all(&mut *connection)
                .await
                .map_err(failure)?;
            if ids.is_empty() {
                connection.done();
                return Ok(ended);
            }
            for ids in ids.chunks(IDS_AT_ONCE) {
                let mut delete = QueryBuilder::<MySql>::new(self.sql.destroy_of);
                delete.push_bind(owner).push(" AND id IN (");
                let mut list = delete.separated(", ");
                for (id,) in ids {
                    list.push_bind(&id[..]);
                }
                list.push_unseparated(")");
                let delete = delete.build().persistent(false);
                ended += delete.execute(&mut *connection).await.map_err(failure)?.rows_affected();
            }
        }
    }
}

// An error about another type should not depend on the features that are on.
#[diagnostic::do_not_recommend]
impl Store for MySqlStore {
    store_methods!("mysql", MAX_DATA);
}

#[diagnostic::do_not_recommend]
impl ByPrincipal for MySqlStore {
    by_principal_methods!();
}

impl Sweep for MySqlStore {
    sweep_methods!();
}

impl fmt::Debug for MySqlStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MySqlStore").field("table", &self.table).finish_non_exhaustive()
    }
}

fn failure(error: Error) -> Failure {
    pool::failure(error, verdict)
}

/// <https://mariadb.com/kb/en/mariadb-error-codes/>, <https://dev.mysql.com/doc/mysql-errors/8.4/en/>
fn verdict(error: &dyn DatabaseError) -> Verdict {
    let Some(error) = error.try_downcast_ref::<MySqlDatabaseError>() else { return Verdict::Lost };
    Verdict::Kind(match error.number() {
        // Record has changed since the last read (MariaDB's innodb_snapshot_isolation).
        1020 => return Verdict::Overtaken,
        // Lock wait timeout, deadlock.
        1205 | 1213 => return Verdict::Locked,
        // No such table, no such column.
        1146 | 1054 => return Verdict::NoTable,
        // read_only, a read-only transaction, innodb_read_only.
        1290 | 1792 | 1836 | 1874 => StoreErrorKind::ReadOnly,
        1021 | 1114 => StoreErrorKind::Full,
        1030 if error.message().contains("error 28") => StoreErrorKind::Full,
        1153 | 1406 => StoreErrorKind::TooLarge,
        // The database, the user, the table, a column, a command.
        1044 | 1045 | 1142 | 1143 | 1227 | 1370 | 1698 => StoreErrorKind::Denied,
        // No such database; SQL or a function that the server does not know; a column or a type that is not ours.
        1049 | 1064 | 1305 | 1364 | 1366 => StoreErrorKind::Misconfigured,
        // Too many connections; a query that was ended by hand, or by max_statement_time.
        1040 | 1203 | 1226 | 1317 | 1969 | 3024 => StoreErrorKind::Unavailable(Applied::No),
        _ => return Verdict::Lost,
    })
}

//! Sessions in a SQLite file.

mod queue;
mod statements;
#[cfg(test)]
mod tests;
mod worker;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rusqlite::{Connection, OpenFlags};
use tokio::sync::watch;

use self::{
    queue::Queue,
    statements::{Statements, misconfigured, store_error},
    worker::{Jobs, Worker, call},
};
use super::{
    ByPrincipal, Found, Owner, Record, Store, StoreError, When, Which, Written,
    sql::{Change, Table, millis, owner},
};
use crate::{
    clock::{Clock, SharedClock, Timestamp},
    id::StoreKey,
};

/// How long a call waits for the database while another process has it locked, unless set.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// Threads that read at the same time. One lookup takes a few microseconds.
const READERS: usize = 2;

/// Sessions in a SQLite file: the embedded store of one machine, which survives restarts and crashes.
///
/// [`open`](Self::open) creates the file and the table. Expired sessions are swept by the thread that
/// writes, a few at a time. Several processes may share the file; several machines may not.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use axum_generic_session::store::SqliteStore;
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("sessions.db");
/// let store = SqliteStore::open(path)?;
/// # Ok(())
/// # }
/// ```
///
/// The threads that own the connections end when the last clone is dropped; what was acknowledged is in the
/// file by then, and by the time [`close`](Self::close) returns nothing is open any more.
#[derive(Clone)]
pub struct SqliteStore {
    shared: Arc<Shared>,
}

/// How sure a write is of the disk when it is acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Synchronous {
    /// Safe against a power cut: `fsync` at every commit. Writes that wait together share one.
    Full,
    /// Safe against a crash of the process, and never corrupt; a power cut may take the last writes with
    /// it, and so undo a logout.
    Normal,
}

/// Settings of a [`SqliteStore`], from [`SqliteStore::builder`].
#[derive(Clone, Debug)]
#[must_use = "nothing is opened before `open` is called"]
pub struct SqliteBuilder {
    path: PathBuf,
    table: Table,
    synchronous: Synchronous,
    busy_timeout: Duration,
    sweep_every: Duration,
    clock: SharedClock,
}

struct Shared {
    reads: Arc<Jobs>,
    writes: Arc<Jobs>,
    sql: Arc<Statements>,
    /// The threads hold its receivers as long as they run.
    running: watch::Sender<()>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.reads.close();
        self.writes.close();
    }
}

impl SqliteBuilder {
    /// Another table than `axum_sessions`.
    ///
    /// # Errors
    /// When the name is anything but up to 48 ASCII letters, digits and underscores.
    pub fn table(self, name: &str) -> Result<Self, StoreError> {
        Ok(Self { table: self.table.named(name)?, ..self })
    }

    /// How sure a write is of the disk when it is acknowledged: [`Synchronous::Full`] unless set.
    pub fn synchronous(self, synchronous: Synchronous) -> Self {
        Self { synchronous, ..self }
    }

    /// How long a call waits while another process has the database locked, before it fails as unavailable:
    /// one second unless set.
    pub fn busy_timeout(self, busy_timeout: Duration) -> Self {
        Self { busy_timeout, ..self }
    }

    /// How often expired sessions are deleted, about: every minute unless set. They are gone for every
    /// reader whether or not they have been; sweeping only frees their space.
    pub fn sweep_every(self, sweep_every: Duration) -> Self {
        Self { sweep_every, ..self }
    }

    /// Reads the time from `clock`: for tests that do not want to wait.
    pub fn clock(self, clock: impl Clock) -> Self {
        Self { clock: SharedClock::of(clock), ..self }
    }

    /// Opens the file, creating it and the table if need be, and starts the threads. Blocks for as long as
    /// that takes: call it while the application starts.
    ///
    /// # Errors
    /// When the file cannot be opened or written, is not a database, or has another table of this name.
    pub fn open(self) -> Result<SqliteStore, StoreError> {
        if self.path.as_os_str().is_empty() || self.path == Path::new(":memory:") {
            return Err(misconfigured(
                "a SQLite database in memory belongs to one connection, and this store has several: \
                 give a path, or use MemoryStore",
            ));
        }
        let writer = self.connect()?;
        self.prepare(&writer)?;

        let shared = Arc::new(Shared {
            reads: Arc::new(Queue::new()),
            writes: Arc::new(Queue::new()),
            sql: Arc::new(Statements::on(&self.table, self.clock.clone())),
            running: watch::Sender::new(()),
        });
        // A table of this name with other columns is found here, not by the first visitor.
        shared.sql.read(&writer, &[0; 32])?;
        let mut readers = Vec::with_capacity(READERS);
        for number in 0..READERS {
            let reader = self.connect()?;
            reader.pragma_update(None, "query_only", true).map_err(store_error)?;
            let worker = self.worker(reader, &shared, &shared.reads);
            readers.push(spawn(&format!("sessions-read-{number}"), move || worker.read())?);
        }
        let worker = self.worker(writer, &shared, &shared.writes);
        let (every, sql) = (self.sweep_every, Arc::clone(&shared.sql));
        let sweep = move |connection: &Connection, batch| sql.sweep(connection, batch);
        spawn("sessions-write", move || worker.write(every, sweep, readers))?;
        Ok(SqliteStore { shared })
    }

    fn connect(&self) -> Result<Connection, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags).map_err(|error| {
            misconfigured(format!("{}: {error}; its folder must exist and be writable", self.path.display()))
        })?;
        connection.busy_timeout(self.busy_timeout).map_err(store_error)?;
        let synchronous = match self.synchronous {
            Synchronous::Full => "FULL",
            Synchronous::Normal => "NORMAL",
        };
        connection.pragma_update(None, "synchronous", synchronous).map_err(store_error)?;
        Ok(connection)
    }

    fn prepare(&self, connection: &Connection) -> Result<(), StoreError> {
        let end = Instant::now() + self.busy_timeout;
        let mode = loop {
            // The change to WAL does not wait for others that make it at the same time.
            let answer = connection
                .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0))
                .map_err(store_error);
            match answer {
                Err(error) if error.is_unavailable() && Instant::now() < end => {
                    thread::sleep(Duration::from_millis(5));
                }
                answer => break answer?,
            }
        };
        if !mode.eq_ignore_ascii_case("wal") {
            return Err(misconfigured(format!(
                "the file system does not carry SQLite's write-ahead log (journal mode {mode}): \
                 use a local disk, not a network share"
            )));
        }
        statements::migrate(connection, &self.table)
    }

    fn worker(&self, connection: Connection, shared: &Shared, jobs: &Arc<Jobs>) -> Worker {
        Worker {
            connection,
            jobs: Arc::clone(jobs),
            patience: self.busy_timeout,
            _running: shared.running.subscribe(),
        }
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StoreError> {
    thread::Builder::new().name(name.to_owned()).spawn(run).map_err(StoreError::unavailable)
}

impl SqliteStore {
    /// Opens the database at `path`, creating it if need be, with the settings that are right for one
    /// machine. Blocks for as long as that takes: call it while the application starts.
    ///
    /// # Errors
    /// When the file cannot be opened or written, or is not a database.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        Self::builder(path).open()
    }

    /// For other settings than [`open`](Self::open) makes.
    pub fn builder(path: impl Into<PathBuf>) -> SqliteBuilder {
        SqliteBuilder {
            path: path.into(),
            table: Table::default(),
            synchronous: Synchronous::Full,
            busy_timeout: BUSY_TIMEOUT,
            sweep_every: SWEEP_EVERY,
            clock: SharedClock::System,
        }
    }

    /// Finishes the calls that have been made, closes the database and ends the threads. Calls on other
    /// clones fail as unavailable from now on.
    pub async fn close(&self) {
        self.shared.reads.close();
        self.shared.writes.close();
        self.shared.running.closed().await;
    }

    /// Deletes up to `batch` expired sessions now, and says how many they were.
    ///
    /// # Errors
    /// When the database is locked, read-only or broken.
    pub async fn sweep(&self, batch: u32) -> Result<u64, StoreError> {
        let swept = self.write(move |sql, connection| sql.sweep(connection, batch)).await?;
        Ok(u64::try_from(swept).unwrap_or(u64::MAX))
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl Fn(&Statements, &Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let sql = Arc::clone(&self.shared.sql);
        call(&self.shared.reads, move |connection| work(&sql, connection)).await
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl Fn(&Statements, &Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let sql = Arc::clone(&self.shared.sql);
        call(&self.shared.writes, move |connection| work(&sql, connection)).await
    }
}

// An error about another type should not depend on the features that are on.
#[diagnostic::do_not_recommend]
impl Store for SqliteStore {
    async fn get(&self, key: &StoreKey) -> Result<Option<Record>, StoreError> {
        let id = key.digest();
        self.read(move |sql, connection| sql.read(connection, &id)).await
    }

    async fn set(&self, key: &StoreKey, record: &Record, when: When) -> Result<Written, StoreError> {
        let change = Change::new(key, key, record, when);
        self.write(move |sql, connection| match when {
            When::Absent => sql.create(connection, &change),
            When::Present | When::Tagged(_) => sql.replace(connection, &change),
        })
        .await
    }

    async fn touch(&self, key: &StoreKey, expires_at: Timestamp) -> Result<bool, StoreError> {
        let (id, expires_at) = (key.digest(), millis(expires_at));
        self.write(move |sql, connection| sql.touch(connection, &id, expires_at)).await
    }

    async fn destroy(&self, key: &StoreKey) -> Result<(), StoreError> {
        let id = key.digest();
        self.write(move |sql, connection| sql.destroy(connection, &id)).await
    }

    async fn rotate(
        &self,
        old: &StoreKey,
        when: When,
        new: &StoreKey,
        record: &Record,
    ) -> Result<Written, StoreError> {
        let change = Change::new(old, new, record, when);
        self.write(move |sql, connection| match when {
            When::Absent => sql.create_beside(connection, &change),
            When::Present | When::Tagged(_) => sql.replace(connection, &change),
        })
        .await
    }

    fn name(&self) -> &'static str {
        "sqlite"
    }
}

#[diagnostic::do_not_recommend]
impl ByPrincipal for SqliteStore {
    async fn sessions_of(&self, whose: Owner<'_>) -> Result<Vec<Found>, StoreError> {
        let owner = owner(whose);
        self.read(move |sql, connection| sql.of(connection, &owner)).await
    }

    async fn destroy_of(&self, whose: Owner<'_>, which: Which) -> Result<u64, StoreError> {
        let owner = owner(whose);
        let ended = self.write(move |sql, connection| sql.destroy_of(connection, &owner, which)).await?;
        Ok(u64::try_from(ended).unwrap_or(u64::MAX))
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").finish_non_exhaustive()
    }
}

//! What the stores over a pool of connections share: when to try again, and what to say when it was no use.
//!
//! The statements are the engines'; this module runs them. One that certainly changed nothing because others
//! were in its way is run again, a few times. One whose connection broke may have been carried out: it is run
//! once more, and recognises its own write by the tag.

use std::{
    collections::HashSet,
    future::Future,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rand::Rng;
use sqlx::{Database, Error, error::DatabaseError};

use super::{
    Change, OwnedRow,
    hands::{Hands, Lent},
    millis, owner, readable,
};
use crate::{
    clock::Timestamp,
    id::StoreKey,
    store::{
        Applied, Found, Owner, Record, StoreError, StoreErrorKind, When, Which, Written, error::BoxError,
    },
};

/// How often a statement is run again that could not have a lock: each time it may have waited for long.
const LOCK_RETRIES: u32 = 3;
/// How often a statement is run again whose snapshot was overtaken: that costs nothing but the statement.
const SNAPSHOT_RETRIES: u32 = 10;
/// The pause before such a retry is random, up to this times the number of retries so far.
const PAUSE: Duration = Duration::from_millis(20);

/// A SQL engine: what differs between them. Each function is one statement.
pub(in crate::store) trait Engine: Sync {
    /// A statement has lost its connection.
    fn lost(&self);
    fn read(&self, id: &[u8; 32]) -> impl Future<Output = Result<Option<Record>, Failure>> + Send;
    /// `false`: there is a row under the id, live or expired.
    fn insert(&self, change: &Change) -> impl Future<Output = Result<bool, Failure>> + Send;
    /// Moves, if the ids differ; [`Failure::Taken`] if there is a row under the new one, live or expired.
    fn replace(&self, change: &Change) -> impl Future<Output = Result<Written, Failure>> + Send;
    fn extend(&self, id: &[u8; 32], expires_at: i64) -> impl Future<Output = Result<bool, Failure>> + Send;
    fn delete(&self, id: &[u8; 32]) -> impl Future<Output = Result<(), Failure>> + Send;
    /// Deletes the row under the id if it has expired.
    fn clear(&self, id: &[u8; 32]) -> impl Future<Output = Result<bool, Failure>> + Send;
    /// The live rows of an owner.
    fn of(&self, owner: &[u8]) -> impl Future<Output = Result<Vec<OwnedRow>, Failure>> + Send;
    /// Deletes those of them that are meant, those included that are being moved.
    fn delete_of(&self, owner: &[u8], which: Which) -> impl Future<Output = Result<u64, Failure>> + Send;
}

/// How a statement failed.
#[derive(Debug)]
pub(in crate::store) enum Failure {
    /// For good.
    Final(StoreError),
    /// Rolled back: a deadlock, or a lock that others held for too long.
    Locked(BoxError),
    /// Rolled back: at this isolation level, a transaction may not write what others have written meanwhile.
    Overtaken(BoxError),
    /// The connection broke: nobody knows.
    Lost(BoxError),
    /// There is a row of this id already.
    Taken,
}

impl Failure {
    /// The error of a call that is not tried again.
    pub(in crate::store) fn into_error(self) -> StoreError {
        match self {
            Self::Final(error) => error,
            Self::Locked(source) | Self::Overtaken(source) => StoreError::unavailable(source),
            Self::Lost(source) => StoreError::in_doubt(source),
            Self::Taken => StoreError::new(
                StoreErrorKind::Misconfigured,
                "the table has a unique index that migrate() did not make",
            ),
        }
    }
}

pub(in crate::store) async fn get(
    engine: &impl Engine,
    key: &StoreKey,
) -> Result<Option<Record>, StoreError> {
    let id = key.digest();
    let mut tries = Tries::new(Applied::No);
    loop {
        match engine.read(&id).await {
            Ok(found) => return Ok(found),
            Err(failure) => tries.again(engine, failure).await?,
        }
    }
}

pub(in crate::store) async fn set(
    engine: &impl Engine,
    key: &StoreKey,
    record: &Record,
    when: When,
) -> Result<Written, StoreError> {
    write(engine, (key, key), record, when).await
}

pub(in crate::store) async fn rotate(
    engine: &impl Engine,
    old: &StoreKey,
    when: When,
    new: &StoreKey,
    record: &Record,
) -> Result<Written, StoreError> {
    if when == When::Absent {
        if let Some(current) = get(engine, old).await? {
            return Ok(Written::Conflict(Some(current)));
        }
        return set(engine, new, record, When::Absent).await;
    }
    write(engine, (old, new), record, when).await
}

pub(in crate::store) async fn touch(
    engine: &impl Engine,
    key: &StoreKey,
    expires_at: Timestamp,
) -> Result<bool, StoreError> {
    let id = key.digest();
    let mut tries = Tries::new(Applied::Unknown);
    loop {
        match engine.extend(&id, millis(expires_at)).await {
            Ok(alive) => return Ok(alive),
            Err(failure) => tries.again(engine, failure).await?,
        }
    }
}

pub(in crate::store) async fn destroy(engine: &impl Engine, key: &StoreKey) -> Result<(), StoreError> {
    let id = key.digest();
    let mut tries = Tries::new(Applied::Unknown);
    loop {
        match engine.delete(&id).await {
            Ok(()) => return Ok(()),
            Err(failure) => tries.again(engine, failure).await?,
        }
    }
}

pub(in crate::store) async fn sessions_of(
    engine: &impl Engine,
    whose: Owner<'_>,
) -> Result<Vec<Found>, StoreError> {
    let owner = owner(whose);
    let mut tries = Tries::new(Applied::No);
    loop {
        match engine.of(&owner).await {
            Ok(rows) => return Ok(readable(rows)),
            Err(failure) => tries.again(engine, failure).await?,
        }
    }
}

pub(in crate::store) async fn destroy_of(
    engine: &impl Engine,
    whose: Owner<'_>,
    which: Which,
) -> Result<u64, StoreError> {
    let owner = owner(whose);
    let mut tries = Tries::new(Applied::Unknown);
    loop {
        match engine.delete_of(&owner, which).await {
            Ok(ended) => return Ok(ended),
            Err(failure) => tries.again(engine, failure).await?,
        }
    }
}

async fn write(
    engine: &impl Engine,
    (old, new): (&StoreKey, &StoreKey),
    record: &Record,
    when: When,
) -> Result<Written, StoreError> {
    let change = Change::new(old, new, record, when);
    let mut tries = Tries::new(Applied::Unknown);
    loop {
        let attempt = match when {
            When::Absent => create(engine, &change).await,
            When::Present | When::Tagged(_) => replace(engine, &change).await,
        };
        match attempt {
            Ok(written) => return tries.settle(written),
            // To be overtaken is what a compare-and-swap calls a conflict.
            Err(Failure::Overtaken(_)) if change.expected.is_some() && tries.retries == SNAPSHOT_RETRIES => {
                return tries.settle(Written::Conflict(None));
            }
            Err(failure) => tries.again(engine, failure).await?,
        }
    }
}

async fn create(engine: &impl Engine, change: &Change) -> Result<Written, Failure> {
    loop {
        if engine.insert(change).await? {
            return Ok(Written::Done);
        }
        if engine.clear(&change.new).await? {
            continue;
        }
        return Ok(match engine.read(&change.new).await? {
            Some(current) if change.is_own(&current) => Written::Done,
            current => Written::Conflict(current),
        });
    }
}

async fn replace(engine: &impl Engine, change: &Change) -> Result<Written, Failure> {
    loop {
        match engine.replace(change).await {
            Err(Failure::Taken) => {}
            answer => return answer,
        }
        if !engine.clear(&change.new).await? {
            // Not with the record under the new key: the caller would take it for the session's own.
            return Ok(Written::Conflict(None));
        }
    }
}

/// What is left of a call's patience, and whether one of its attempts may have been carried out.
struct Tries {
    /// What a broken connection means: nothing for a read, doubt for a write.
    if_lost: Applied,
    retries: u32,
    doubt: Option<StoreError>,
}

impl Tries {
    const fn new(if_lost: Applied) -> Self {
        Self { if_lost, retries: 0, doubt: None }
    }

    /// Comes back when there is to be another attempt, after a pause where one helps.
    async fn again(&mut self, engine: &impl Engine, failure: Failure) -> Result<(), StoreError> {
        let error = match failure {
            Failure::Lost(source) => {
                engine.lost();
                let error = StoreError::new(StoreErrorKind::Unavailable(self.if_lost), source);
                if self.doubt.is_none() {
                    self.doubt = Some(error);
                    return Ok(());
                }
                error
            }
            Failure::Locked(_) if self.retries < LOCK_RETRIES => return self.pause().await,
            Failure::Overtaken(_) if self.retries < SNAPSHOT_RETRIES => return self.pause().await,
            failure => failure.into_error(),
        };
        // Whatever stopped the second attempt, the first may have been carried out.
        Err(self.doubt.take().unwrap_or(error))
    }

    async fn pause(&mut self) -> Result<(), StoreError> {
        self.retries += 1;
        let pause = rand::thread_rng().gen_range(Duration::ZERO..PAUSE * self.retries);
        tokio::time::sleep(pause).await;
        Ok(())
    }

    /// The answer to a conditional write. A refusal after a lost attempt may be of a record that was made from
    /// ours, here or under a new id: it does not say that nothing was written.
    fn settle(self, written: Written) -> Result<Written, StoreError> {
        match (written, self.doubt) {
            (Written::Gone | Written::Conflict(_), Some(doubt)) => Err(doubt),
            (written, _) => Ok(written),
        }
    }
}

/// What an engine's own error code means.
pub(in crate::store) enum Verdict {
    Kind(StoreErrorKind),
    /// Of kind misconfigured: the table is not there, or not ours.
    NoTable,
    Locked,
    Overtaken,
    Lost,
}

/// A connection of the pool. What goes wrong here went wrong before anything was sent.
pub(in crate::store) async fn acquire<DB: Database>(
    hands: &Hands<DB>,
    verdict: fn(&dyn DatabaseError) -> Verdict,
) -> Result<Lent<DB>, Failure> {
    hands.take().await.map_err(|error| match error {
        Error::PoolTimedOut => Failure::Final(StoreError::unavailable(
            "no connection came free within the pool's acquire_timeout: \
             the server is away, or max_connections are held by others",
        )),
        Error::PoolClosed => Failure::Final(StoreError::unavailable("the pool has been closed")),
        error => match failure(error, verdict) {
            Failure::Lost(source) | Failure::Locked(source) | Failure::Overtaken(source) => {
                Failure::Final(StoreError::unavailable(source))
            }
            failure => failure,
        },
    })
}

/// What a failed statement means. Of the engine's words only the message is kept: the details that
/// drivers show in `Debug` may quote the row.
pub(in crate::store) fn failure(error: Error, verdict: fn(&dyn DatabaseError) -> Verdict) -> Failure {
    match error {
        Error::Database(error) if error.is_unique_violation() => Failure::Taken,
        Error::Database(error) => {
            let code = error.code().unwrap_or_default();
            let message = format!("{} (SQLSTATE {code})", error.message());
            match verdict(&*error) {
                Verdict::NoTable => Failure::Final(StoreError::new(
                    StoreErrorKind::Misconfigured,
                    format!("{message}; has migrate() been run on this database, with this table name?"),
                )),
                Verdict::Kind(kind) => Failure::Final(StoreError::new(kind, message)),
                Verdict::Locked => Failure::Locked(message.into()),
                Verdict::Overtaken => Failure::Overtaken(message.into()),
                Verdict::Lost => Failure::Lost(message.into()),
            }
        }
        Error::Configuration(_) | Error::Encode(_) => {
            Failure::Final(StoreError::new(StoreErrorKind::Misconfigured, error))
        }
        Error::ColumnDecode { .. }
        | Error::ColumnIndexOutOfBounds { .. }
        | Error::ColumnNotFound(_)
        | Error::Decode(_)
        | Error::TypeNotFound { .. } => Failure::Final(StoreError::new(
            StoreErrorKind::Misconfigured,
            format!("the table has not the columns that migrate() makes: {error}"),
        )),
        error => Failure::Lost(error.into()),
    }
}

/// SQL that lives as long as the program, as the drivers ask of SQL that is not written in the source.
/// Each text is kept once, however many stores are made with it.
pub(in crate::store) fn statement(sql: String) -> &'static str {
    static STATEMENTS: Mutex<Option<HashSet<&'static str>>> = Mutex::new(None);

    let mut statements = STATEMENTS.lock().unwrap_or_else(PoisonError::into_inner);
    let statements = statements.get_or_insert_default();
    if let Some(known) = statements.get(sql.as_str()) {
        return known;
    }
    let kept: &'static str = sql.leak();
    statements.insert(kept);
    kept
}

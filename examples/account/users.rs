//! Names and passwords, in SQLite.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use argon2::{
    Argon2, PasswordHash, PasswordHasher, PasswordVerifier,
    password_hash::{SaltString, rand_core::OsRng},
};
use axum::BoxError;
use rusqlite::{Connection, ErrorCode, OptionalExtension, params};
use tokio::{sync::Semaphore, task::spawn_blocking};

use crate::pages::Trouble;

/// Ids are never given twice: the sessions of somebody who has left are nobody else's.
const TABLE: &str = "CREATE TABLE IF NOT EXISTS users (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE COLLATE NOCASE,
    password TEXT NOT NULL
) STRICT";

/// A hash costs 19 MiB and a core for some 30 ms, by intent. More at one time than this, and they wait.
const HASHES_AT_ONCE: usize = 2;

#[derive(Clone)]
pub(crate) struct User {
    pub(crate) id: i64,
    pub(crate) name: String,
}

pub(crate) struct Users {
    db: Arc<Mutex<Connection>>,
    hashing: Semaphore,
    /// What the password of a name that nobody has is compared with: the answer must take the same time.
    nobody: String,
}

impl Users {
    pub(crate) fn open(path: &Path) -> Result<Self, BoxError> {
        let db = Connection::open(path)?;
        db.busy_timeout(Duration::from_secs(2))?;
        db.execute(TABLE, [])?;
        Ok(Self { db: Arc::new(Mutex::new(db)), hashing: Semaphore::new(HASHES_AT_ONCE), nobody: hash("")? })
    }

    /// A new user; `None` if the name is taken.
    pub(crate) async fn create(&self, name: String, password: String) -> Result<Option<User>, Trouble> {
        let password = self.hashing(move || hash(&password)).await??;
        self.ask(move |db| {
            match db.execute("INSERT INTO users (name, password) VALUES (?1, ?2)", params![name, password]) {
                Ok(_) => Ok(Some(User { id: db.last_insert_rowid(), name })),
                Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => Ok(None),
                Err(error) => Err(error),
            }
        })
        .await
    }

    /// Who has this name and this password. The work is the same for a name that nobody has.
    pub(crate) async fn verify(&self, name: String, password: String) -> Result<Option<User>, Trouble> {
        let found = self
            .ask(move |db| {
                let sql = "SELECT id, name, password FROM users WHERE name = ?1";
                let user = |row: &rusqlite::Row<'_>| {
                    Ok((User { id: row.get(0)?, name: row.get(1)? }, row.get::<_, String>(2)?))
                };
                db.query_row(sql, [name], user).optional()
            })
            .await?;
        let (user, stored) = found.unzip();
        let stored = stored.unwrap_or_else(|| self.nobody.clone());
        self.hashing(move || {
            let stored = PasswordHash::new(&stored).map_err(|e| e.to_string())?;
            let is_right = Argon2::default().verify_password(password.as_bytes(), &stored).is_ok();
            Ok(user.filter(|_| is_right))
        })
        .await?
    }

    pub(crate) async fn set_password(&self, id: i64, password: String) -> Result<(), Trouble> {
        let password = self.hashing(move || hash(&password)).await??;
        self.ask(move |db| db.execute("UPDATE users SET password = ?2 WHERE id = ?1", params![id, password]))
            .await?;
        Ok(())
    }

    /// By the principal of a session.
    pub(crate) async fn find(&self, id: String) -> Result<Option<User>, Trouble> {
        let user = |row: &rusqlite::Row<'_>| Ok(User { id: row.get(0)?, name: row.get(1)? });
        self.ask(move |db| {
            db.query_row("SELECT id, name FROM users WHERE id = CAST(?1 AS INTEGER)", [id], user).optional()
        })
        .await
    }

    /// SQLite waits for the disk: not in a thread that serves others meanwhile.
    async fn ask<R: Send + 'static>(
        &self,
        question: impl FnOnce(&Connection) -> Result<R, rusqlite::Error> + Send + 'static,
    ) -> Result<R, Trouble> {
        let db = self.db.clone();
        let answer = spawn_blocking(move || question(&db.lock().unwrap_or_else(PoisonError::into_inner)));
        Ok(answer.await??)
    }

    async fn hashing<R: Send + 'static>(
        &self,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> Result<R, Trouble> {
        let _turn = self.hashing.acquire().await?;
        Ok(spawn_blocking(work).await?)
    }
}

/// Argon2id with the parameters that OWASP recommends, and a salt: one line of text that says all of it.
fn hash(password: &str) -> Result<String, BoxError> {
    let salt = SaltString::generate(&mut OsRng);
    let hash = Argon2::default().hash_password(password.as_bytes(), &salt).map_err(|e| e.to_string())?;
    Ok(hash.to_string())
}

//! The command line.

use std::{fmt, path::PathBuf, time::Duration};

pub(crate) const USAGE: &str = "\
--port 3000            where to listen, on 127.0.0.1
--db account.db        the SQLite file of users, and of sessions unless --redis is given
--redis URL            sessions in Redis or Valkey, such as redis://127.0.0.1
--idle 30m             a member who does nothing for so long is signed out: the idle timeout
--remember 30d         the same for who asked to be remembered
--absolute 90d         nobody stays signed in for longer: the absolute timeout
A time is a number and s, m, h or d.";

#[derive(Clone)]
pub(crate) struct Flags {
    pub(crate) port: u16,
    pub(crate) db: PathBuf,
    pub(crate) redis: Option<String>,
    pub(crate) idle: Duration,
    pub(crate) remember: Duration,
    pub(crate) absolute: Duration,
}

impl Flags {
    /// `Err` is a sentence for whoever typed them.
    pub(crate) fn read(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let day = Duration::from_secs(24 * 60 * 60);
        let mut flags = Self {
            port: 3000,
            db: "account.db".into(),
            redis: None,
            idle: Duration::from_secs(30 * 60),
            remember: 30 * day,
            absolute: 90 * day,
        };
        while let Some(flag) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{flag} needs a value."));
            match flag.as_str() {
                "--port" => flags.port = value()?.parse().map_err(|_| "--port needs a number.".to_owned())?,
                "--db" => flags.db = value()?.into(),
                "--redis" => flags.redis = Some(value()?),
                "--idle" => flags.idle = time(&value()?)?,
                "--remember" => flags.remember = time(&value()?)?,
                "--absolute" => flags.absolute = time(&value()?)?,
                _ => return Err(format!("{flag} is no flag of this program.")),
            }
        }
        Ok(flags)
    }
}

fn time(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time: write 90s, 30m, 12h or 30d.");
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 60 * 60,
        Some('d') => 24 * 60 * 60,
        _ => return Err(wrong()),
    };
    match text[..text.len() - 1].parse::<u32>() {
        Ok(number) if number > 0 => Ok(Duration::from_secs(u64::from(number) * unit)),
        _ => Err(wrong()),
    }
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A Redis URL may have a password in it.
        let sessions = if self.redis.is_some() { "sessions in Redis, users" } else { "sessions and users" };
        write!(f, "{sessions} in {}", self.db.display())
    }
}

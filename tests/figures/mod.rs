//! What the tests of the guarantees have counted, for the page that shows it; and how much they are to count.

#![allow(dead_code, unreachable_pub, reason = "each test crate uses what it needs")]

use std::{
    env,
    fmt::Write as _,
    fs::OpenOptions,
    io::Write,
    time::{Duration, Instant},
};

/// `small` in every test run; `large` with `AGS_SIZE=release`, as `scripts/guarantees` sets it.
pub fn size(small: usize, large: usize) -> usize {
    match env::var("AGS_SIZE").as_deref() {
        Ok("release") => large,
        Ok(other) => panic!("AGS_SIZE is `release` or not set, not {other:?}"),
        Err(_) => small,
    }
}

/// As [`size`], in seconds; `AGS_SECONDS` says otherwise.
pub fn seconds(small: usize, large: usize) -> Duration {
    let asked = env::var("AGS_SECONDS").ok().map(|text| text.parse().expect("AGS_SECONDS is a number"));
    Duration::from_secs(asked.unwrap_or_else(|| size(small, large) as u64))
}

/// As [`size`], of mishaps to a server; `AGS_FAULTS` says otherwise.
pub fn faults(small: usize, large: usize) -> usize {
    let asked = env::var("AGS_FAULTS").ok().map(|text| text.parse().expect("AGS_FAULTS is a number"));
    asked.unwrap_or_else(|| size(small, large))
}

/// One line of the table: a bar, where it was measured, and what was counted.
pub struct Figure {
    line: String,
    since: Instant,
}

impl Figure {
    /// Begins to count, and to take the time.
    pub fn of(bar: &str, engine: &str) -> Self {
        Self { line: format!(r#"{{"bar":"{bar}","engine":"{engine}""#), since: Instant::now() }
    }

    /// What has been going on for so long already.
    #[must_use]
    pub fn since(self, since: Instant) -> Self {
        Self { since, ..self }
    }

    #[must_use]
    pub fn count(mut self, what: &str, number: usize) -> Self {
        write!(self.line, r#","{what}":{number}"#).expect("a string");
        self
    }

    /// Prints it, and adds it to the file that `AGS_FIGURES` names.
    pub fn report(self) {
        let line = format!(r#"{},"seconds":{:.1}}}"#, self.line, self.since.elapsed().as_secs_f64());
        println!("{line}");
        if let Ok(path) = env::var("AGS_FIGURES") {
            let file = OpenOptions::new().create(true).append(true).open(path);
            let mut file = file.expect("the file that AGS_FIGURES names");
            file.write_all(format!("{line}\n").as_bytes()).expect("a write");
        }
    }
}

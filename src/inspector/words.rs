//! Figures as an operator reads them.

use std::time::Duration;

use crate::clock::Timestamp;

/// `812 B`, `1.2 KB`.
pub(super) fn bytes(bytes: usize) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.1} KB", bytes as f64 / 1024.0),
        _ => format!("{:.1} MB", bytes as f64 / 1_048_576.0),
    }
}

/// `12 s`, `3 min`, `5 h`, `2 days`: cut off, not rounded up.
pub(super) fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

pub(super) fn ago(now: Timestamp, then: Timestamp) -> String {
    match now.saturating_since(then) {
        time if time.as_secs() == 0 => "now".into(),
        time => format!("{} ago", span(time)),
    }
}

/// Until a moment that some stores do not tell.
pub(super) fn ahead(now: Timestamp, then: Timestamp) -> String {
    if then == Timestamp::MAX {
        "not known".into()
    } else {
        format!("in {}", span(then.saturating_since(now)))
    }
}

/// `16 µs`, `1.2 ms`, `2.0 s`.
pub(super) fn latency(time: Duration) -> String {
    let micros = time.as_micros();
    match micros {
        0 => "–".into(),
        1..1000 => format!("{micros} µs"),
        1000..1_000_000 => format!("{:.1} ms", micros as f64 / 1e3),
        _ => format!("{:.1} s", micros as f64 / 1e6),
    }
}

/// With spaces between thousands.
pub(super) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        assert_eq!([0, 812, 1024, 1_500_000].map(bytes), ["0 B", "812 B", "1.0 KB", "1.4 MB"]);
        let seconds = [0, 59, 60, 3599, 3600, 172_799, 172_800].map(|s| span(Duration::from_secs(s)));
        assert_eq!(seconds, ["0 s", "59 s", "1 min", "59 min", "1 h", "47 h", "2 days"]);
        let micros = [0, 999, 1234, 2_000_000].map(|m| latency(Duration::from_micros(m)));
        assert_eq!(micros, ["–", "999 µs", "1.2 ms", "2.0 s"]);
        assert_eq!(
            [0, 999, 1000, 1_234_567].map(number),
            ["0", "999", "1\u{202f}000", "1\u{202f}234\u{202f}567"]
        );
        let now = Timestamp::from_millis(1000);
        assert_eq!((ago(now, now), ago(now, Timestamp::EPOCH)), ("now".to_owned(), "1 s ago".to_owned()));
        assert_eq!(ahead(now, Timestamp::MAX), "not known");
    }
}

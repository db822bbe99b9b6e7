//! The envelope's header line as it nearly always is, read without a parser.

use super::Head;
use crate::clock::Timestamp;

/// How a header begins.
pub(super) const HEADER: &[u8] = b"{\"v\":1,\"created\":";
/// How it goes on for a session that belongs to somebody.
pub(super) const SINCE: &[u8] = b",\"since\":";
/// A header's length as a rule, with the thirteen digits of our time.
pub(super) const USUAL_HEAD: usize = HEADER.len() + 13 + 2;

/// The header line as it nearly always is, with nothing in it but when the session began and since when it has been its
/// principal's; and the line's length.
#[inline]
pub(super) fn plain_header(data: &[u8]) -> Option<(Head, usize)> {
    let (created, rest) = number(data.strip_prefix(HEADER)?)?;
    let (since, rest) = match rest.strip_prefix(SINCE) {
        Some(rest) => {
            let (since, rest) = number(rest)?;
            (Some(since), rest)
        }
        None => (None, rest),
    };
    let rest = rest.strip_prefix(b"}\n")?;
    Some((Head { created: Some(created), since, ..Head::default() }, data.len() - rest.len()))
}

/// A moment in milliseconds, and what is behind it.
#[inline]
fn number(text: &[u8]) -> Option<(Timestamp, &[u8])> {
    // Of the thirteen digits that a moment of our time has, eight are read at once.
    let first = text.first_chunk().and_then(eight_digits);
    let (mut millis, mut digits) = first.map_or((0, 0), |millis| (millis, 8));
    while let Some(digit @ b'0'..=b'9') = text.get(digits).copied() {
        millis = millis * 10 + u64::from(digit - b'0');
        digits += 1;
        // What is longer is not ours.
        if digits > 15 {
            return None;
        }
    }
    // Nor is what would be no number in JSON.
    if digits == 0 || (text[0] == b'0' && digits > 1) {
        return None;
    }
    Some((Timestamp::from_millis(millis), &text[digits..]))
}

/// What eight digits say: two, four and eight of them are put together at once. `None`: not all are digits.
#[inline]
pub(super) fn eight_digits(text: &[u8; 8]) -> Option<u64> {
    let word = u64::from_le_bytes(*text);
    let (low, high) = (0x0f0f_0f0f_0f0f_0f0f, 0xf0f0_f0f0_f0f0_f0f0);
    // Above a 9 the lower half of a byte and 6 are carried into the upper one.
    let digits = word & high | (word.wrapping_add(0x0606_0606_0606_0606) & high) >> 4;
    if digits != 0x3333_3333_3333_3333 {
        return None;
    }
    let pairs = (word & low).wrapping_mul(10 << 8 | 1) >> 8 & 0x00ff_00ff_00ff_00ff;
    let fours = pairs.wrapping_mul(100 << 16 | 1) >> 16 & 0x0000_ffff_0000_ffff;
    Some(fours.wrapping_mul(10_000 << 32 | 1) >> 32)
}

//! A record as one Redis value ([`Layout::Native`](crate::store::Layout::Native)).
//!
//! | bytes | what |
//! |---|---|
//! | 1 | version of the frame, [`VERSION`] |
//! | 8 | the tag: a script compares it without reading the rest |
//! | 6 | `expires_at` in milliseconds, big-endian, so that one `GET` tells it; `touch` rewrites it in place |
//! | 1.. | 0 for no principal, or its length in bytes plus one |
//! | .. | the principal, UTF-8 |
//! | 1.. | length of the data |
//! | .. | the data |
//!
//! Lengths are variable: seven bits a byte, the lowest first, the top bit on all but the last.

use axum::body::Bytes;

use crate::{
    clock::Timestamp,
    store::{Record, StoreError, Tag},
};

/// The only version so far. Readers of another one leave the value alone.
const VERSION: u8 = 1;
/// Version, tag and expiry.
const FIXED: usize = 15;

/// The six bytes of a moment; [`Timestamp::MAX`] needs 48 bits.
pub(super) fn moment(at: Timestamp) -> [u8; 6] {
    let [_, _, bytes @ ..] = at.as_millis().to_be_bytes();
    bytes
}

/// What a value with this tag begins with: as much of it as a condition looks at.
pub(super) fn head(tag: Tag) -> [u8; 9] {
    let mut head = [VERSION; 9];
    head[1..].copy_from_slice(tag.as_bytes());
    head
}

/// The value of a record.
pub(super) fn encode(record: &Record) -> Vec<u8> {
    let principal = record.principal.as_deref();
    let mut value = Vec::with_capacity(FIXED + 8 + principal.map_or(0, str::len) + record.data.len());
    value.extend_from_slice(&head(record.tag));
    value.extend_from_slice(&moment(record.expires_at));
    push_principal(&mut value, principal);
    push_length(&mut value, record.data.len());
    value.extend_from_slice(&record.data);
    value
}

/// The record of a value.
pub(super) fn decode(value: Vec<u8>) -> Result<Record, StoreError> {
    let value = Bytes::from(value);
    let mut rest = Rest(&value);
    let [version] = rest.array()?;
    if version != VERSION {
        return Err(StoreError::corrupt(
            "it was written by another program or a newer version of this crate: \
             give each program a prefix of its own, and update all nodes",
        ));
    }
    let tag = Tag::from(rest.array::<8>()?);
    let mut millis = [0; 8];
    millis[2..].copy_from_slice(&rest.array::<6>()?);
    let principal = match rest.length()? {
        0 => None,
        named => {
            let name = std::str::from_utf8(rest.take(named - 1)?).map_err(|_| cut())?;
            Some(name.into())
        }
    };
    if rest.length()? != rest.0.len() {
        return Err(cut());
    }
    let data = value.slice_ref(rest.0);
    Ok(Record { tag, expires_at: Timestamp::from_millis(u64::from_be_bytes(millis)), principal, data })
}

fn cut() -> StoreError {
    StoreError::corrupt("the value in Redis is cut short or damaged")
}

/// What stands in the value of a record of this principal's, from byte [`FIXED`] on.
pub(super) fn principal(name: &str) -> Vec<u8> {
    let mut field = Vec::with_capacity(4 + name.len());
    push_principal(&mut field, Some(name));
    field
}

fn push_principal(value: &mut Vec<u8>, name: Option<&str>) {
    push_length(value, name.map_or(0, |name| name.len() + 1));
    value.extend_from_slice(name.unwrap_or_default().as_bytes());
}

fn push_length(value: &mut Vec<u8>, mut length: usize) {
    while length > 0x7f {
        value.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    value.push(length as u8);
}

/// What has not been read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], StoreError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or_else(cut)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], StoreError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or_else(cut)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn length(&mut self) -> Result<usize, StoreError> {
        let mut length: usize = 0;
        for shift in (0..usize::BITS).step_by(7) {
            let [byte] = self.array()?;
            let bits = usize::from(byte & 0x7f);
            length |= bits.checked_shl(shift).filter(|shifted| shifted >> shift == bits).ok_or_else(cut)?;
            if byte < 0x80 {
                return Ok(length);
            }
        }
        Err(cut())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreErrorKind;

    fn record(principal: Option<&str>, data: &[u8]) -> Record {
        Record {
            tag: Tag::random(),
            expires_at: Timestamp::MAX,
            principal: principal.map(Into::into),
            data: Bytes::copy_from_slice(data),
        }
    }

    #[test]
    fn what_goes_in_comes_out() {
        let long = "p".repeat(300);
        for principal in [None, Some(""), Some("alice"), Some("Zoë \u{1f511}"), Some(&long)] {
            for length in [0, 1, 127, 128, 16_383, 16_384, 70_000] {
                let record = record(principal, &vec![0xa5; length]);
                assert!(decode(encode(&record)).expect("a record") == record, "{principal:?} {length}");
            }
        }
    }

    #[test]
    fn the_head_is_where_the_scripts_look_for_it() {
        let record = Record { expires_at: Timestamp::from_millis(0x0102_0304_0506), ..record(None, b"{}") };
        let value = encode(&record);
        assert_eq!(value[0], VERSION);
        assert_eq!(value[1..9], *record.tag.as_bytes());
        assert_eq!(value[9..15], [1, 2, 3, 4, 5, 6]);
        assert_eq!(value[9..15], moment(record.expires_at));
    }

    #[test]
    fn whatever_is_cut_lengthened_or_of_another_version_is_corrupt() {
        let whole = encode(&record(Some("alice"), b"{\"a\":1}"));
        let mut damaged: Vec<Vec<u8>> = (0..whole.len()).map(|n| whole[..n].to_vec()).collect();
        damaged.push([&whole[..], b"x"].concat());
        damaged.push([&[2], &whole[1..]].concat());
        damaged.push(b"{\"count\":1}".to_vec());
        // Lengths that no memory holds.
        damaged.push([&whole[..15], &[0xff; 9], &[0x7f]].concat());
        damaged.push([&whole[..15], &[0], &[0xff; 20]].concat());
        // A principal that is no text.
        damaged.push([&whole[..15], &[2, 0xff, 0]].concat());
        for value in damaged {
            let error = decode(value.clone()).expect_err("no record");
            assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{value:?}");
        }
    }
}

//! Who owns which keys, in the words of a cluster.

use std::{sync::Arc, time::Duration};

use redis::{Value, cmd};

use super::{fault::Fault, greeting::ask, source::Transport};

/// Keys are spread over this many slots.
const SLOTS: u16 = 16_384;

pub(super) type Address = (Arc<str>, u16);

/// Slots that one node owns.
#[derive(Clone)]
pub(super) struct Range {
    first: u16,
    last: u16,
    pub(super) owner: Address,
}

/// The owner of a slot; `ranges` are sorted.
pub(super) fn owner(ranges: &[Range], slot: u16) -> Option<&Address> {
    let range = ranges.get(ranges.partition_point(|range| range.last < slot))?;
    (range.first <= slot).then_some(&range.owner)
}

/// What one node says who owns what, sorted. `asked`: the host by which we know that node.
pub(super) async fn ranges(
    node: &dyn Transport,
    asked: &Arc<str>,
    limit: Duration,
) -> Result<Vec<Range>, Fault> {
    let mut question = cmd("CLUSTER");
    question.arg("SLOTS");
    let Value::Array(rows) = ask(node, &question, limit).await? else { return Err(Fault::Strange) };
    let mut ranges: Vec<Range> = rows.iter().filter_map(|row| range(row, asked)).collect();
    ranges.sort_by_key(|range| range.last);
    Ok(ranges)
}

/// `[first, last, [host, port, ..], replicas..]`
fn range(row: &Value, asked: &Arc<str>) -> Option<Range> {
    let Value::Array(row) = row else { return None };
    let [Value::Int(first), Value::Int(last), Value::Array(owner), ..] = &row[..] else { return None };
    let [host, Value::Int(port), ..] = &owner[..] else { return None };
    let host = match host {
        Value::BulkString(host) => std::str::from_utf8(host).ok()?,
        _ => "",
    };
    let owner = (known(host, asked), u16::try_from(*port).ok()?);
    Some(Range { first: u16::try_from(*first).ok()?, last: u16::try_from(*last).ok()?, owner })
}

impl Fault {
    /// Where `MOVED <slot> <host>:<port>` and `ASK` point.
    pub(super) fn target(&self, asked: &Arc<str>) -> Option<Address> {
        let Self::Refused(refusal) = self else { return None };
        let (host, port) = refusal.words.split(' ').next_back()?.rsplit_once(':')?;
        Some((known(host, asked), port.parse().ok()?))
    }
}

/// A node that does not know its own name leaves it out, or says `?`: then it is the one that has been asked.
fn known(host: &str, asked: &Arc<str>) -> Arc<str> {
    if host.is_empty() || host == "?" { Arc::clone(asked) } else { host.into() }
}

/// The slot of a key: CRC16 (XMODEM) of it, or of what it has in its first braces.
pub(super) fn slot(key: &str) -> u16 {
    let braced = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(inside, _)| inside);
    let hashed = braced.filter(|inside| !inside.is_empty()).unwrap_or(key);
    let crc = hashed.bytes().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    });
    crc % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `CLUSTER KEYSLOT` says.
    #[test]
    fn a_key_has_its_slot() {
        for (key, expected) in [
            ("123456789", 12739),
            ("foo", 12182),
            ("bar", 5061),
            ("{foo}bar", 12182),
            ("a{foo}{bar}", 12182),
            ("", 0),
            ("{}foo", 9500),
            ("{foo", 13308),
            ("}{foo}", 12182),
            ("sess:\u{e4}", 7690),
        ] {
            assert_eq!(slot(key), expected, "{key}");
        }
    }

    #[test]
    fn a_slot_has_the_owner_of_its_range() {
        let at = |port| -> Address { ("h".into(), port) };
        let range = |first, last, port| Range { first, last, owner: at(port) };
        let ranges = [range(0, 99, 1), range(200, 200, 2), range(300, 16_383, 3)];
        for (slot, port) in
            [(0, Some(1)), (99, Some(1)), (100, None), (200, Some(2)), (201, None), (16_383, Some(3))]
        {
            assert_eq!(owner(&ranges, slot), port.map(at).as_ref(), "{slot}");
        }
    }

    #[test]
    fn a_node_without_a_name_is_the_one_that_was_asked() {
        let asked: Arc<str> = "node1".into();
        let row = |host| {
            let owner = Value::Array(vec![host, Value::Int(7000), Value::BulkString(b"id".to_vec())]);
            Value::Array(vec![Value::Int(0), Value::Int(16_383), owner])
        };
        for (host, expected) in [
            (Value::BulkString(b"10.0.0.1".to_vec()), "10.0.0.1"),
            (Value::BulkString(b"::1".to_vec()), "::1"),
            (Value::BulkString(b"?".to_vec()), "node1"),
            (Value::BulkString(Vec::new()), "node1"),
            (Value::Nil, "node1"),
        ] {
            let range = range(&row(host), &asked).expect("a range");
            assert_eq!(range.owner, (expected.into(), 7000));
        }
    }
}

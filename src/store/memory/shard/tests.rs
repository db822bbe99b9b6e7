use super::*;
use crate::store::Layout;

/// A shard that is full, at the moment 0: `dead` of its sessions end at 10, the others later.
fn full(room: usize, dead: usize) -> (Shard, Owners) {
    let (mut shard, owners) = (Shard::new(0), Owners::default());
    for i in 0..room {
        put(&mut shard, &owners, if i < dead { 10 } else { 1000 }, 0);
        assert_eq!(shard.slots.len(), i + 1, "nothing was swept");
    }
    assert_eq!(shard.slots.capacity(), room);
    (shard, owners)
}

/// Puts one more session there; how many were swept for it.
fn put(shard: &mut Shard, owners: &Owners, end: u64, now: u64) -> usize {
    let data = Bytes::from_static(b"{}");
    let record =
        Record { tag: Tag::random(), expires_at: Timestamp::from_millis(end), principal: None, data };
    let number = (shard.slots.len() as u64 + now).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let key = SlotKey(number.swap_bytes(), 0);
    shard.insert(key, (record.noted(Layout::Native), None), owners, Timestamp::from_millis(now)).entries
}

#[test]
fn a_full_table_grows_unless_much_of_it_was_dead() {
    for dead in [0, 1, 2, 20, 28] {
        let (mut shard, owners) = full(28, dead);
        assert_eq!(put(&mut shard, &owners, 1000, 10), dead);
        let (used, places) = (shard.slots.len(), shard.slots.capacity());
        assert!(
            used == 29 - dead && if dead < 3 { places == 56 } else { places <= 28 },
            "{places} after {dead}"
        );
    }
}

#[test]
fn a_table_with_room_is_not_swept_for_more() {
    let (mut shard, owners) = full(28, 20);
    assert_eq!(put(&mut shard, &owners, 1000, 9), 0);
    assert_eq!(put(&mut shard, &owners, 1000, 10), 0);
    assert_eq!(shard.slots.len(), 30);
    assert_eq!(shard.sweep(&owners, Timestamp::from_millis(10)).0.size.entries, 20);
}

#[test]
fn a_sweep_frees_so_many_at_most_and_says_whether_that_was_all() {
    for (dead, steps) in [
        (511, vec![(511, true)]),
        (512, vec![(512, false), (0, true)]),
        (600, vec![(512, false), (88, true)]),
    ] {
        let (mut shard, owners) = full(896, dead);
        for step in steps {
            let swept = shard.sweep(&owners, Timestamp::from_millis(10)).0;
            assert_eq!((swept.size.entries, swept.all), step, "{dead}");
        }
        assert_eq!(shard.sweep(&owners, Timestamp::from_millis(999)).0.size.entries, 0);
        assert_eq!(shard.earliest, Some(Timestamp::from_millis(1000)));
    }
}

#[test]
fn a_table_that_was_full_and_is_nearly_empty_is_made_smaller() {
    for (room, dead, left) in [(28, 28, 28), (896, 500, 896), (896, 700, 448), (896, 896, 0)] {
        let (mut shard, owners) = full(room, dead);
        while !shard.sweep(&owners, Timestamp::from_millis(10)).0.all {}
        assert_eq!((shard.slots.len(), shard.room), (room - dead, left), "{dead} of {room}");
    }
}

#[test]
fn a_place_is_found_by_the_first_word_of_its_digest() {
    let mut hasher = AsItIs::default();
    SlotKey(0x0807_0605_0403_0201, 9).hash(&mut hasher);
    assert_eq!(hasher.finish(), 0x0807_0605_0403_0201);
    let mut hasher = AsItIs::default();
    hasher.write(&[1, 0, 0, 0, 0, 0, 0, 2, 3]);
    assert_eq!(hasher.finish(), 0x0000_0000_0000_0202);
}

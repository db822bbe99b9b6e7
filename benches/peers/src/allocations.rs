//! An allocator that counts: what is allocated per request, and what stays.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed},
};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static ON: AtomicBool = AtomicBool::new(false);
static CALLS: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);
static LIVE: AtomicI64 = AtomicI64::new(0);

/// The system's allocator. While nobody counts, it costs one branch that is predicted.
struct Counting;

// SAFETY: every call goes to `System` as it came; counting touches nothing but atomics.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), layout.size() as i64);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), layout.size() as i64);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size, size as i64 - layout.size() as i64);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(old, layout, size) }
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        if ON.load(Relaxed) {
            LIVE.fetch_sub(layout.size() as i64, Relaxed);
        }
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(old, layout) }
    }
}

fn count(size: usize, grown: i64) {
    if ON.load(Relaxed) {
        CALLS.fetch_add(1, Relaxed);
        BYTES.fetch_add(size as u64, Relaxed);
        LIVE.fetch_add(grown, Relaxed);
    }
}

/// What was allocated while something ran.
#[derive(Clone, Copy)]
pub struct Allocated {
    pub calls: u64,
    pub bytes: u64,
    /// Bytes that were not freed again.
    pub kept: i64,
}

pub async fn during(work: impl Future) -> Allocated {
    let before = (CALLS.load(Relaxed), BYTES.load(Relaxed), LIVE.load(Relaxed));
    ON.store(true, Relaxed);
    work.await;
    ON.store(false, Relaxed);
    Allocated {
        calls: CALLS.load(Relaxed) - before.0,
        bytes: BYTES.load(Relaxed) - before.1,
        kept: LIVE.load(Relaxed) - before.2,
    }
}

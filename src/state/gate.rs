//! One at a time: a lock for what is seldom waited for.

use std::{
    pin::pin,
    sync::atomic::{
        AtomicU8,
        Ordering::{AcqRel, Acquire, Relaxed, Release},
    },
};

use tokio::sync::Notify;

const OPEN: u8 = 0;
const SHUT: u8 = 1;
/// Shut, and perhaps somebody waits.
const AWAITED: u8 = 2;

/// May be held across an await. Half as much work as tokio's `Mutex` where nobody waits, which is nearly always; in return
/// those who wait have no order.
#[derive(Default)]
pub(crate) struct Gate {
    state: AtomicU8,
    opened: Notify,
}

/// Holds the gate shut until it is dropped.
pub(crate) struct Inside<'a>(&'a Gate);

impl Gate {
    /// `None`: somebody is inside.
    pub(crate) fn try_enter(&self) -> Option<Inside<'_>> {
        self.state.compare_exchange(OPEN, SHUT, Acquire, Relaxed).ok().map(|_| Inside(self))
    }

    /// Whether somebody is inside, at this moment.
    pub(crate) fn is_shut(&self) -> bool {
        self.state.load(Relaxed) != OPEN
    }

    pub(crate) async fn enter(&self) -> Inside<'_> {
        match self.try_enter() {
            Some(inside) => inside,
            None => Box::pin(self.wait()).await,
        }
    }

    async fn wait(&self) -> Inside<'_> {
        loop {
            let mut opened = pin!(self.opened.notified());
            // First known to be waiting, then seen to be: who leaves in between wakes this one.
            opened.as_mut().enable();
            if self.state.swap(AWAITED, AcqRel) == OPEN {
                return Inside(self);
            }
            opened.await;
        }
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        if self.0.state.swap(OPEN, Release) == AWAITED {
            self.0.opened.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, atomic::AtomicU32};

    use super::*;

    #[test]
    fn whoever_leaves_opens_it() {
        let gate = Gate::default();
        let inside = gate.try_enter();
        assert!(inside.is_some() && gate.try_enter().is_none());
        drop(inside);
        assert!(gate.try_enter().is_some());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn there_is_one_inside_and_all_have_their_turn() {
        let (gate, inside) = (Arc::new(Gate::default()), Arc::new(AtomicU32::new(0)));
        let tasks: Vec<_> = (0..16)
            .map(|_| {
                let (gate, inside) = (gate.clone(), inside.clone());
                tokio::spawn(async move {
                    for _ in 0..200 {
                        let _mine = gate.enter().await;
                        assert_eq!(inside.fetch_add(1, Relaxed), 0);
                        tokio::task::yield_now().await;
                        inside.fetch_sub(1, Relaxed);
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("no two inside");
        }
    }

    #[tokio::test]
    async fn one_that_gives_up_waiting_holds_nobody_up() {
        let gate = Gate::default();
        let inside = gate.enter().await;
        let mut given_up = Box::pin(gate.enter());
        assert!(
            std::future::poll_fn(|cx| std::task::Poll::Ready(given_up.as_mut().poll(cx).is_pending())).await
        );
        drop(given_up);
        drop(inside);
        drop(gate.enter().await);
    }
}

//! Time that was spent on the processor, whoever else had it in between.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Of all threads of this process so far.
pub fn of_process() -> Duration {
    of(ClockId::CLOCK_PROCESS_CPUTIME_ID)
}

/// Of this thread so far.
pub fn of_thread() -> Duration {
    of(ClockId::CLOCK_THREAD_CPUTIME_ID)
}

fn of(clock: ClockId) -> Duration {
    clock_gettime(clock).expect("a clock that Linux has").into()
}

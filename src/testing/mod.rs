//! For the tests of an application: a clock that is moved by hand, and a store that counts, waits and fails.

mod clock;
mod probe;

pub use self::{
    clock::ManualClock,
    probe::{Calls, Fault, Gate, Operation, ProbeStore},
};

//! For the tests of an application: a clock that is moved by hand, and a store that counts, waits and fails.

#![allow(clippy::expect_used, clippy::panic, reason = "a test wants to be told where it stands")]

mod client;
mod clock;
mod probe;
mod session;

pub use self::{
    client::{Answer, Client},
    clock::ManualClock,
    probe::{Calls, Fault, Gate, ProbeStore},
    session::session,
};

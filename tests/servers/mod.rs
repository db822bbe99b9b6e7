//! Real servers for the tests: started on free loopback ports in temporary folders, as root or not, and
//! stopped when their guard is dropped. A server that cannot be started fails the test; nothing is skipped.

#![allow(dead_code, unreachable_pub, reason = "each test crate uses the servers it needs")]

pub mod browser;
pub mod example;
pub mod proxy;
#[cfg(feature = "redis-store")]
pub mod redis;
pub mod mariadb;
pub mod node;
pub mod postgres;
mod process;

pub use process::{Server, free_port, is_root};

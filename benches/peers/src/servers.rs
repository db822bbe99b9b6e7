//! The servers of the tests.

#![allow(dead_code, unreachable_pub, reason = "the tests use more of them")]

#[path = "../../../tests/servers/mariadb.rs"]
pub mod mariadb;
#[path = "../../../tests/servers/postgres.rs"]
pub mod postgres;
#[path = "../../../tests/servers/process.rs"]
mod process;
#[path = "../../../tests/servers/redis.rs"]
pub mod redis;

pub use process::{Server, free_port, is_root};

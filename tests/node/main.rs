//! One Redis, and around it real applications of Node: koa with koa-generic-session and koa-redis, express with
//! express-session and connect-redis. What they write axum reads, what axum writes they read, byte for byte.
//!
//! Needs `node` and `npm`; the packages are installed once, into the folder for build output.
#![cfg(all(feature = "redis-store", feature = "testing"))]
#![allow(unreachable_pub, reason = "modules of one test crate")]

mod express;
mod koa;
mod one_session;
mod pair;
#[path = "../../examples/node-migration/proxy.rs"]
mod proxy;
mod races;
#[path = "../servers/mod.rs"]
mod servers;
mod site;

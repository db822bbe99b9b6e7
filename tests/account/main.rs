//! The example `account` in a real browser: the compiled program on a port of its own, and Chromium at it.
//!
//! With `ACCOUNT_SCREENSHOTS=docs/images` the tests of `looks.rs` leave the README's pictures there.
#![cfg(all(feature = "sqlite-store", feature = "testing"))]

#[path = "../servers/mod.rs"]
mod servers;
#[path = "../../examples/node-migration/proxy.rs"]
mod proxy;

mod devices;
mod guards;
mod looks;
mod shopping;
mod site;
mod timeouts;
mod without;

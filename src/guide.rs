//! How to use this crate, chapter by chapter. Every example is compiled with each test run.
//!
//! | chapter | |
//! |---|---|
//! | [start] | from nothing to a session; layer order; without https |
//! | [typed] | views, structs that change, what belongs into a session |
//! | [login] | login, logout, "remember me", timeouts |
//! | [defer] | when a session is loaded; long requests |
//! | [stores] | which one, and what each wants from you |
//! | [scaling] | more than one process; deploys; changing keys |
//! | [after_response] | WebSockets, event streams, spawned tasks |
//! | [testing] | handlers alone, whole routers, time, failing stores |
//! | [observability] | the log, metrics, the inspector |
//! | [security] | attacks and answers; what is left to you |
//! | [recipes] | `CurrentUser`, OAuth, CSRF, CORS, mobile apps, tenants, flash messages, carts, cookie jars |
//! | [faq] | what goes wrong most often |
//!
//! The options one by one: [`SessionLayer`](crate::SessionLayer). The calls one by one: [`Session`](crate::Session).
#![cfg_attr(
    not(all(
        feature = "memory-store",
        feature = "sqlite-store",
        feature = "redis-store",
        feature = "postgres-store",
        feature = "mysql-store",
        feature = "store-contract"
    )),
    allow(rustdoc::broken_intra_doc_links, reason = "chapters name what other features have")
)]

#[doc = include_str!("../docs/guide/start.md")]
pub mod start {}
#[doc = include_str!("../docs/guide/typed.md")]
pub mod typed {}
#[doc = include_str!("../docs/guide/login.md")]
pub mod login {}
#[doc = include_str!("../docs/guide/defer.md")]
pub mod defer {}
#[doc = include_str!("../docs/guide/stores.md")]
pub mod stores {}
#[doc = include_str!("../docs/guide/scaling.md")]
pub mod scaling {}
#[doc = include_str!("../docs/guide/after_response.md")]
pub mod after_response {}
#[doc = include_str!("../docs/guide/testing.md")]
pub mod testing {}
#[doc = include_str!("../docs/guide/observability.md")]
pub mod observability {}
#[doc = include_str!("../docs/guide/security.md")]
pub mod security {}
#[doc = include_str!("../docs/guide/recipes.md")]
pub mod recipes {}
#[doc = include_str!("../docs/guide/faq.md")]
pub mod faq {}

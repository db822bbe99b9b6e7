//! Sites that come from tower-sessions or axum_session: their stores under ours, and their visitors stay signed in.
#![cfg(all(
    feature = "memory-store",
    feature = "redis-store",
    feature = "postgres-store",
    feature = "store-contract",
    feature = "tower-sessions-store",
    feature = "tower-sessions-014-store"
))]

mod axum_session;
mod in_memory;
#[path = "../servers/mod.rs"]
mod servers;
mod tower_sessions;

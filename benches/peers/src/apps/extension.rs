//! axum's own layer that puts one shared value into each request: what whoever has to be found by an extractor pays for.

use std::sync::Arc;

use axum::{Extension, Router};

use super::plain;

pub fn app() -> Router {
    plain::routes().layer(Extension(Arc::new(1_u64)))
}

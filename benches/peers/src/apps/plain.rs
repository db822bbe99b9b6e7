//! No sessions: what every figure is measured from. The answers are those of the others.

use axum::{Router, routing::get};

use super::profile;

pub fn app() -> Router {
    let number = get(|| async { 1_u64.to_string() });
    Router::new()
        .route("/untouched", number.clone())
        .route("/extracted", number.clone())
        .route("/read", number.clone())
        .route("/change", number.clone())
        .route("/same", number.clone())
        .route(
            "/new",
            // What the session is to hold, the application has made.
            get(|| async {
                drop(profile());
                1_u64.to_string()
            }),
        )
        .route("/typed/read", number.clone())
        .route("/typed/change", number.clone())
        .route("/fill/small", number.clone())
        .route("/fill/large", number.clone())
        .route("/increment", number)
}

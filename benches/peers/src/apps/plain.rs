//! No sessions: what every figure is measured from. The answers are those of the others.

use axum::{
    Router,
    http::header::{CACHE_CONTROL, SET_COOKIE, VARY},
    response::IntoResponse,
    routing::get,
};

use super::profile;

pub fn routes() -> Router {
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
        .route("/headers", get(with_headers))
}

/// The answer with the headers of one that has changed its session.
async fn with_headers() -> impl IntoResponse {
    let cookie =
        "axum.sid=k3JYx0bq0T5uQH2m8s1LrWvZ4nCdEfGa; Path=/; Max-Age=86400; SameSite=Lax; Secure; HttpOnly";
    ([(SET_COOKIE, cookie), (VARY, "cookie"), (CACHE_CONTROL, "private")], 1_u64.to_string())
}

//! The application's own error page, around the session layers.

use axum::{body::Body, extract::Request, http::StatusCode, middleware::Next, response::Response};
use axum_generic_session::Error;

use crate::store::Fault;

/// Says what went wrong, as the recorded applications do: the status that the error carries or 500, its message, and the
/// headers that are there already.
pub(crate) async fn draw(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if let Some(error) = response.extensions_mut().remove::<Error>() {
        let (status, message) = told(&error);
        *response.status_mut() = status;
        *response.body_mut() = Body::from(message);
    }
    response
}

/// Status and message of a session's error.
pub(crate) fn told(error: &Error) -> (StatusCode, String) {
    let failed = StatusCode::INTERNAL_SERVER_ERROR;
    if let Some(store) = error.store_error() {
        return match store.cause().downcast_ref::<Fault>() {
            Some(fault) => {
                let status = fault.status.and_then(|status| StatusCode::from_u16(status).ok());
                (status.unwrap_or(failed), fault.message.clone())
            }
            None if store.is_unavailable() => (failed, "session store is unavailable".to_owned()),
            None => (failed, store.to_string()),
        };
    }
    // A hook's failure, or what this crate has to say.
    let message = std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
    let status = if error.status().is_client_error() { error.status() } else { failed };
    (status, message)
}

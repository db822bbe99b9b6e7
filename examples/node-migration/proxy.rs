//! A small reverse proxy: a request goes on as it is to another port of this machine.

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::{MethodRouter, any},
};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};

/// Hands every request of a route to `port`, cookies and all; what it answers goes back, cookies and all.
pub fn to<S: Clone + Send + Sync + 'static>(port: u16) -> MethodRouter<S> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
    any(move |mut request: Request| async move {
        let target = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let Ok(uri) = format!("http://127.0.0.1:{port}{target}").parse::<Uri>() else {
            return StatusCode::BAD_REQUEST.into_response();
        };
        *request.uri_mut() = uri;
        drop_connection_headers(request.headers_mut());
        match client.request(request).await {
            Ok(answer) => {
                let mut answer: Response = answer.map(Body::new);
                drop_connection_headers(answer.headers_mut());
                answer
            }
            Err(error) => {
                tracing::error!(%error, port, "no answer from behind the proxy");
                StatusCode::BAD_GATEWAY.into_response()
            }
        }
    })
}

/// These are about one connection, and there are two.
fn drop_connection_headers(headers: &mut HeaderMap) {
    for name in [header::CONNECTION, header::TE, header::TRAILER, header::TRANSFER_ENCODING, header::UPGRADE]
    {
        headers.remove(name);
    }
    headers.remove("keep-alive");
}

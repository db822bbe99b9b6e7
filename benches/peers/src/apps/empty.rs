//! A layer that does nothing: what axum itself takes for any layer, and the least that a session layer can cost.

use std::task::{Context, Poll};

use axum::{Router, extract::Request};
use tower_layer::{Layer, layer_fn};
use tower_service::Service;

use super::plain;

#[derive(Clone)]
pub struct Nothing<S>(S);

impl<S: Service<Request>> Service<Request> for Nothing<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> S::Future {
        self.0.call(request)
    }
}

pub fn app() -> Router {
    plain::routes().layer(layer())
}

pub fn layer<S>() -> impl Layer<S, Service = Nothing<S>> + Clone {
    layer_fn(Nothing)
}

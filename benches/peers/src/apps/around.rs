//! The same layers around the router, where `Router::layer` would put them into it: a service around a service, for which
//! axum boxes nothing.

use std::{convert::Infallible, future::Future, pin::Pin, sync::Arc};

use axum::{Extension, Router, ServiceExt, extract::Request, http::HeaderValue, response::Response};
use tokio::net::TcpListener;
use tower_layer::Layer;
use tower_service::Service;

use super::{Mode, Peer, Size, axum_session, call, empty, least, ours, plain, tower_sessions, visitors};

pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// An application, whatever it is made of.
pub trait App {
    fn visitors(&mut self, size: Size, count: usize) -> Later<'_, Vec<HeaderValue>>;

    /// Many requests, the cookies in turn.
    fn run<'a>(
        &'a mut self,
        path: &'static str,
        cookies: &'a [HeaderValue],
        requests: usize,
    ) -> Later<'a, ()>;

    fn serve(self: Box<Self>, listener: TcpListener, until: Later<'static, ()>) -> Later<'static, ()>;
}

impl<S> App for S
where
    S: Service<Request, Response = Response, Error = Infallible, Future: Send> + Clone + Send + 'static,
{
    fn visitors(&mut self, size: Size, count: usize) -> Later<'_, Vec<HeaderValue>> {
        Box::pin(visitors(self, size, count))
    }

    fn run<'a>(
        &'a mut self,
        path: &'static str,
        cookies: &'a [HeaderValue],
        requests: usize,
    ) -> Later<'a, ()> {
        Box::pin(async move {
            for i in 0..requests {
                let cookie = if cookies.is_empty() { None } else { cookies.get(i % cookies.len()) };
                drop(call(self, path, cookie).await);
            }
        })
    }

    fn serve(self: Box<Self>, listener: TcpListener, until: Later<'static, ()>) -> Later<'static, ()> {
        Box::pin(async move {
            let server = axum::serve(listener, (*self).into_make_service());
            tokio::select! {
                served = async { server.await } => served.expect("a server"),
                () = until => {}
            }
        })
    }
}

/// The layer of a peer around its routes.
pub async fn app(peer: Peer) -> Box<dyn App> {
    let routes = |routes: Router| routes.with_state(());
    match peer {
        Peer::Plain => Box::new(routes(plain::routes())),
        Peer::Empty => Box::new(empty::layer().layer(routes(plain::routes()))),
        Peer::Extension => Box::new(Extension(Arc::new(1_u64)).layer(routes(plain::routes()))),
        Peer::Least => Box::new(least::layer().layer(routes(least::routes()))),
        Peer::Ours => Box::new(ours::layer(Mode::Around).layer(routes(ours::routes()))),
        Peer::TowerSessions => Box::new(tower_sessions::layer().layer(routes(tower_sessions::routes()))),
        Peer::AxumSession => {
            Box::new(axum_session::layer(Default::default()).await.layer(routes(axum_session::routes())))
        }
    }
}

//! The middleware: opens a session before the handler, closes it after.

mod answer;
mod closing;

use std::{
    fmt,
    future::Future,
    marker::PhantomData,
    mem,
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll, ready},
};

use axum::{
    extract::OriginalUri,
    http::{Request, request::Parts},
    response::{IntoResponse, Response},
};
use tower_layer::Layer;
use tower_service::Service;

use self::closing::{Rest, close, discarding, end, failing};
use crate::{
    commit::Committing,
    config::Config,
    cookie::path_matches,
    error::Error,
    hooks::Later,
    layer::SessionLayer,
    slot::Slot,
    state::{Load, State},
};

/// What [`SessionLayer`] puts around a service.
pub struct SessionService<S, K> {
    inner: S,
    config: Arc<Config>,
    kind: PhantomData<fn() -> K>,
}

impl<S, K: 'static, L> Layer<S> for SessionLayer<K, L> {
    type Service = SessionService<S, K>;

    // As tower-http's `cors` does: a wrong setting is told where the router is built, not to the first visitor.
    #[allow(clippy::panic, reason = "documented on the type")]
    fn layer(&self, inner: S) -> Self::Service {
        match self.ready() {
            Ok(config) => SessionService { inner, config, kind: PhantomData },
            Err(why) => panic!("{why}"),
        }
    }
}

impl<S: Clone, K> Clone for SessionService<S, K> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), config: self.config.clone(), kind: PhantomData }
    }
}

impl<S: fmt::Debug, K> fmt::Debug for SessionService<S, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionService").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S, K, B> Service<Request<B>> for SessionService<S, K>
where
    S: Service<Request<B>> + Clone,
    S::Response: IntoResponse,
    K: 'static,
{
    type Response = Response;
    type Error = S::Error;
    type Future = SessionFuture<S, Request<B>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    // Neither this nor the future's `poll`: inside of axum's own functions it was measured at 30 ns a request.
    #[inline(never)]
    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        match open::<K, B>(&self.config, &mut request) {
            Opened::Ready(state) => {
                SessionFuture { step: Step::Handling { future: self.inner.call(request) }, state }
            }
            Opened::Loading { load, state } => self.loading(load, state, request),
        }
    }
}

impl<S: Clone, K> SessionService<S, K> {
    #[cold]
    fn loading<R>(
        &mut self,
        load: Later<Result<(), Error>>,
        state: Option<Arc<State>>,
        request: R,
    ) -> SessionFuture<S, R>
    where
        S: Service<R>,
    {
        // The service that `poll_ready` has prepared is the one to call.
        let clone = self.inner.clone();
        let service = mem::replace(&mut self.inner, clone);
        SessionFuture { step: Step::Loading { load, call: Some((service, request)) }, state }
    }
}

/// A state where it is this layer that closes the session: not outside of the cookie's path, and not where there is a session
/// of this cookie already.
enum Opened {
    Ready(Option<Arc<State>>),
    /// To be loaded before the handler runs.
    Loading {
        load: Later<Result<(), Error>>,
        state: Option<Arc<State>>,
    },
}

impl Opened {
    /// Loads the session: at once, where that takes no waiting.
    #[inline(never)]
    fn eagerly(opened: Arc<State>, state: Option<Arc<State>>) -> Self {
        opened.flags.eager.store(true, Relaxed);
        let looked_up = match opened.begin_load() {
            Load::Done(_) => return Self::Ready(state),
            Load::Begun(looked_up) => looked_up,
        };
        Self::Loading { load: Box::pin(async move { opened.rest(looked_up).await }), state }
    }
}

#[inline]
fn open<K: 'static, B>(config: &Arc<Config>, request: &mut Request<B>) -> Opened {
    if config.cookie.path != "/" && !is_within(&config.cookie.path, request) {
        return Opened::Ready(None);
    }
    let parts = config.hooks.want_the_request().then(|| Arc::new(head_of(request)));
    let state = State::take(config.clone(), parts);
    let outer = Slot::<K>::new(state.clone()).put(request.extensions_mut());
    if let Some(outer) = outer.filter(|slot| slot.state().config.carrier.name == config.carrier.name) {
        State::give_back(state);
        return stand_aside(outer, config.defer, request);
    }
    if config.defer {
        return Opened::Ready(Some(state));
    }
    state.open(request.headers(), request.extensions());
    Opened::eagerly(state.clone(), Some(state))
}

/// A second layer stands aside, but what it promises its handlers, a loaded session, it sees to.
#[cold]
fn stand_aside<K: 'static, B>(outer: Slot<K>, defer: bool, request: &mut Request<B>) -> Opened {
    let loaded = defer || outer.state().is_loaded();
    let opened = (!loaded).then(|| outer.open(request.headers(), request.extensions()));
    request.extensions_mut().insert(outer);
    opened.map_or(Opened::Ready(None), |opened| Opened::eagerly(opened, None))
}

/// Whether the request is for the cookie's path or below it.
#[cold]
fn is_within<B>(path: &str, request: &Request<B>) -> bool {
    // Inside of a nested router the URI has lost its beginning.
    let original = request.extensions().get::<OriginalUri>();
    path_matches(path, original.map_or_else(|| request.uri().path(), |uri| uri.0.path()))
}

/// A copy of the request's head.
#[cold]
fn head_of<B>(request: &Request<B>) -> Parts {
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.method = request.method().clone();
    parts.uri = request.uri().clone();
    parts.version = request.version();
    parts.headers = request.headers().clone();
    parts.extensions = request.extensions().clone();
    parts
}

pin_project_lite::pin_project! {
    /// The future of a [`SessionService`].
    pub struct SessionFuture<S, R> where S: Service<R> {
        #[pin]
        step: Step<S, R>,
        state: Option<Arc<State>>,
    }
}

pin_project_lite::pin_project! {
    #[project = StepProj]
    enum Step<S, R> where S: Service<R> {
        Loading { load: Later<Result<(), Error>>, call: Option<(S, R)> },
        Handling { #[pin] future: S::Future },
        Committing { commit: Committing, state: Option<Arc<State>>, response: Option<Response> },
        /// The rest of what may go wrong.
        Closing { close: Later<Response> },
    }
}

impl<S, R> Future for SessionFuture<S, R>
where
    S: Service<R>,
    S::Response: IntoResponse,
{
    type Output = Result<Response, S::Error>;

    #[inline(never)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.step.as_mut().project() {
                StepProj::Loading { load, call } => {
                    let loaded = ready!(load.as_mut().poll(cx));
                    let ((mut service, request), ()) = match (call.take(), loaded) {
                        (Some(call), Ok(())) => (call, ()),
                        (_, Err(error)) => return Poll::Ready(Ok(error.into_response())),
                        (None, Ok(())) => return Poll::Pending,
                    };
                    let future = service.call(request);
                    this.step.set(Step::Handling { future });
                }
                StepProj::Handling { future } => {
                    let mut response = ready!(future.poll(cx))?.into_response();
                    let Some(state) = this.state.take() else { return Poll::Ready(Ok(response)) };
                    let next = match end(state, &mut response) {
                        None => return Poll::Ready(Ok(response)),
                        Some(Rest::Commit(state)) => {
                            let commit = Committing::new(state.clone());
                            Step::Committing { commit, state: Some(state), response: Some(response) }
                        }
                        Some(Rest::Discard(state)) => Step::Closing { close: discarding(state, response) },
                        Some(Rest::Fail(state, error)) => {
                            Step::Closing { close: failing(state, response, error) }
                        }
                    };
                    this.step.set(next);
                }
                StepProj::Committing { commit, state, response } => {
                    let committed = ready!(Pin::new(commit).poll(cx));
                    let (Some(response), Some(state)) = (response.take(), state.take()) else {
                        return Poll::Pending;
                    };
                    match committed {
                        Ok(_) => {
                            let response = close(&state, response);
                            State::give_back(state);
                            return Poll::Ready(Ok(response));
                        }
                        Err(error) => {
                            this.step.set(Step::Closing { close: failing(state, response, error) });
                        }
                    }
                }
                StepProj::Closing { close } => return close.as_mut().poll(cx).map(Ok),
            }
        }
    }
}

impl<S: Service<R>, R> fmt::Debug for SessionFuture<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionFuture")
    }
}

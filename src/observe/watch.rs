//! The store as it does: how long its calls take, how they end, whether it is there.

#[cfg(feature = "inspector")]
use std::sync::OnceLock;
use std::{
    future::Future,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, ready},
};
#[cfg(any(feature = "metrics", feature = "inspector"))]
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::sync::watch;
use tracing::Span;

#[cfg(feature = "inspector")]
use super::journal::Journal;
#[cfg(feature = "metrics")]
use crate::metrics::StoreMeters;
use crate::{
    error::Operation,
    id::StoreKey,
    store::{Connection, StoreError},
};

/// Stands beside an engine and looks on.
#[derive(Clone)]
pub(crate) struct Watch {
    store: &'static str,
    #[cfg(any(feature = "metrics", feature = "inspector"))]
    inner: Arc<Inner>,
}

#[cfg(any(feature = "metrics", feature = "inspector"))]
struct Inner {
    connection: Option<watch::Receiver<Connection>>,
    /// Whether somebody follows the connection.
    followed: AtomicBool,
    #[cfg(feature = "metrics")]
    meters: StoreMeters,
    /// Kept from the moment that an inspector is made.
    #[cfg(feature = "inspector")]
    journal: OnceLock<Arc<Journal>>,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Watch {
    #[cfg_attr(
        not(any(feature = "metrics", feature = "inspector")),
        allow(unused_variables, reason = "nobody follows it")
    )]
    pub(crate) fn new(store: &'static str, connection: Option<&watch::Receiver<Connection>>) -> Self {
        Self {
            store,
            #[cfg(any(feature = "metrics", feature = "inspector"))]
            inner: Arc::new(Inner {
                connection: connection.cloned(),
                followed: AtomicBool::new(false),
                #[cfg(feature = "metrics")]
                meters: StoreMeters::new(store),
                #[cfg(feature = "inspector")]
                journal: OnceLock::new(),
            }),
        }
    }

    /// Whether somebody follows the calls one by one. Asked for first: where `tracing` is built with `log`, a span makes its
    /// fields also if nobody listens.
    pub(crate) fn is_traced() -> bool {
        tracing::enabled!(tracing::Level::DEBUG)
    }

    /// Looks on while the store is asked for something.
    pub(crate) fn call<F>(&self, operation: Operation, key: &StoreKey, call: F) -> Watched<'_, F> {
        let span = if Self::is_traced() {
            let (store, operation, session) = (self.store, operation.name(), key.handle());
            tracing::debug_span!("session_store", store, operation, session)
        } else {
            Span::none()
        };
        Watched { span, measure: self.measure(operation), call }
    }

    /// Measures how long the store takes.
    #[cfg_attr(
        not(any(feature = "metrics", feature = "inspector")),
        allow(unused_variables, clippy::unused_self, reason = "nobody wants to know")
    )]
    pub(crate) fn measure(&self, operation: Operation) -> Measure<'_> {
        Measure {
            #[cfg(any(feature = "metrics", feature = "inspector"))]
            watch: self,
            #[cfg(any(feature = "metrics", feature = "inspector"))]
            operation,
            #[cfg(any(feature = "metrics", feature = "inspector"))]
            began: Instant::now(),
            watches: PhantomData,
        }
    }
}

/// A measurement that has begun.
pub(crate) struct Measure<'a> {
    #[cfg(any(feature = "metrics", feature = "inspector"))]
    watch: &'a Watch,
    #[cfg(any(feature = "metrics", feature = "inspector"))]
    operation: Operation,
    #[cfg(any(feature = "metrics", feature = "inspector"))]
    began: Instant,
    watches: PhantomData<&'a Watch>,
}

impl Measure<'_> {
    /// The store has answered.
    #[cfg_attr(
        not(any(feature = "metrics", feature = "inspector")),
        allow(unused_variables, clippy::unused_self, reason = "nobody wants to know")
    )]
    pub(crate) fn ended(&self, error: Option<&StoreError>) {
        #[cfg(any(feature = "metrics", feature = "inspector"))]
        self.watch.measured(self.operation, self.began.elapsed(), error);
    }
}

pin_project_lite::pin_project! {
    /// A call that is looked at. By hand, since an `async fn` would hold the call twice.
    pub(crate) struct Watched<'a, F> {
        span: Span,
        measure: Measure<'a>,
        #[pin]
        call: F,
    }
}

impl<T, F: Future<Output = Result<T, StoreError>>> Future for Watched<'_, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let done = {
            let _within = this.span.enter();
            ready!(this.call.poll(cx))
        };
        this.measure.ended(done.as_ref().err());
        Poll::Ready(done)
    }
}

#[cfg(any(feature = "metrics", feature = "inspector"))]
impl Watch {
    fn measured(&self, operation: Operation, took: Duration, error: Option<&StoreError>) {
        self.follow();
        #[cfg(feature = "metrics")]
        self.inner.meters.call(operation, took, error);
        #[cfg(feature = "inspector")]
        if let Some(journal) = self.journal() {
            journal.measured(operation, took, error.is_some());
        }
    }

    /// Sees to it that the meters and the journal know whether the store is there, also while nobody calls.
    fn follow(&self) {
        if self.inner.followed.load(Relaxed) || self.inner.followed.swap(true, Relaxed) {
            return;
        }
        let runtime = tokio::runtime::Handle::try_current();
        let (Some(mut connection), Ok(runtime)) = (self.inner.connection.clone(), runtime) else {
            self.status(true);
            return;
        };
        let mut connected = *connection.borrow_and_update() == Connection::Connected;
        self.status(connected);
        let watch = self.clone();
        runtime.spawn(async move {
            while connection.changed().await.is_ok() {
                let now = *connection.borrow_and_update() == Connection::Connected;
                if now != connected {
                    connected = now;
                    watch.status(connected);
                }
            }
        });
    }

    fn status(&self, connected: bool) {
        #[cfg(feature = "metrics")]
        self.inner.meters.status(connected);
        #[cfg(feature = "inspector")]
        if let Some(journal) = self.journal() {
            journal.status(connected);
        }
    }
}

#[cfg(feature = "inspector")]
impl Watch {
    /// What has been written down, if an inspector wants it.
    pub(crate) fn journal(&self) -> Option<&Arc<Journal>> {
        self.inner.journal.get()
    }

    /// Begins to write down, or goes on.
    pub(crate) fn open_journal(&self, clock: &crate::clock::SharedClock) -> Arc<Journal> {
        self.inner.journal.get_or_init(|| Arc::new(Journal::new(clock.clone()))).clone()
    }

    pub(crate) fn store(&self) -> &'static str {
        self.store
    }

    /// `None`: the store is a part of this process.
    pub(crate) fn connection(&self) -> Option<Connection> {
        self.inner.connection.as_ref().map(|connection| *connection.borrow())
    }
}

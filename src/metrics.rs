//! Figures for Prometheus and the like, through the facade of the crate [`metrics`](https://docs.rs/metrics); feature `metrics`.
//!
//! Install a recorder before the first request; there is nothing else to do. Without one, an event costs a few
//! nanoseconds.
//!
//! ```
//! use axum::{Router, routing::get};
//! use axum_generic_session::metrics::{SIZE_BUCKETS, SIZE_BYTES, STORE_BUCKETS, STORE_SECONDS};
//! use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let prometheus = PrometheusBuilder::new()
//!     .set_buckets_for_metric(Matcher::Full(STORE_SECONDS.into()), &STORE_BUCKETS)?
//!     .set_buckets_for_metric(Matcher::Full(SIZE_BYTES.into()), &SIZE_BUCKETS)?
//!     .install_recorder()?;
//! let operators: Router = Router::new().route("/metrics", get(async move || prometheus.render()));
//! # let _ = operators;
//! # Ok(()) }
//! ```
//!
//! | name | kind | labels | counts |
//! |---|---|---|---|
//! | [`CREATED`] | counter | `session` | sessions that began |
//! | [`LOADED`] | counter | `session` | sessions read from the store |
//! | [`SAVED`] | counter | `session` | changes written |
//! | [`TOUCHED`] | counter | `session` | lives extended without a change |
//! | [`ROTATED`] | counter | `session` | changes of an id: `renew`, `regenerate` |
//! | [`DESTROYED`] | counter | `session` | sessions ended on purpose; those that expire are not told |
//! | [`UNKNOWN`] | counter | `session` | requests with the id of no session: expired, ended, or made up |
//! | [`INVALID`] | counter | `session` | sessions that `valid` or `max_lifetime` has ended |
//! | [`MERGED`] | counter | `session` | conflicts of two requests, merged and tried again |
//! | [`REFUSED`] | counter | `session`, `reason` | commits answered with 409; `gone`: the session had ended, `conflict`: it was not to be merged |
//! | [`ERRORS`] | counter | `session`, `kind` | loads and commits that failed |
//! | [`SIZE_BYTES`] | histogram, bytes | `session` | the encoded session at each write of it |
//! | [`STORE_SECONDS`] | histogram, seconds | `store`, `operation` | calls of the store, the wait for a lost connection and the second try included |
//! | [`STORE_ERRORS`] | counter | `store`, `operation`, `kind` | calls of the store that failed |
//! | [`STORE_CONNECTED`] | gauge | `store` | 1, or 0 while the store cannot be reached |
//! | [`STORE_DISCONNECTS`] | counter | `store` | connections lost |
//!
//! Labels have few values. `session` is the cookie's name. `store` is the store's word for itself (`redis`, `memory`).
//! `operation` is one of `get`, `set`, `touch`, `destroy`, `rotate`. `kind` is one of `unavailable`, `in_doubt`, `read_only`,
//! `full`, `too_large`, `corrupt`, `denied`, `misconfigured`, and for a session also of `data`, `hook`, `id`, `cookie`, `closed`.
//! No label holds an id, a handle or a visitor's name.

use std::time::Duration;

use ::metrics::{Key, Label, Level, Metadata, Unit, with_recorder};

use crate::{error::Operation, observe::What, store::StoreError};

/// Counter: sessions that began. Labels: `session`.
pub const CREATED: &str = "axum_generic_session_created_total";
/// Counter: sessions read from the store. Labels: `session`.
pub const LOADED: &str = "axum_generic_session_loaded_total";
/// Counter: changes written to the store. Labels: `session`.
pub const SAVED: &str = "axum_generic_session_saved_total";
/// Counter: lives extended without a change. Labels: `session`.
pub const TOUCHED: &str = "axum_generic_session_touched_total";
/// Counter: changes of an id. Labels: `session`.
pub const ROTATED: &str = "axum_generic_session_rotated_total";
/// Counter: sessions ended on purpose. Labels: `session`.
pub const DESTROYED: &str = "axum_generic_session_destroyed_total";
/// Counter: requests with the id of no session. Labels: `session`.
pub const UNKNOWN: &str = "axum_generic_session_unknown_total";
/// Counter: sessions that `valid` or `max_lifetime` has ended. Labels: `session`.
pub const INVALID: &str = "axum_generic_session_invalid_total";
/// Counter: conflicts of two requests that were merged. Labels: `session`.
pub const MERGED: &str = "axum_generic_session_merged_total";
/// Counter: commits answered with 409. Labels: `session`, `reason`.
pub const REFUSED: &str = "axum_generic_session_refused_total";
/// Counter: loads and commits that failed. Labels: `session`, `kind`.
pub const ERRORS: &str = "axum_generic_session_errors_total";
/// Histogram in bytes: the encoded session at each write. Labels: `session`.
pub const SIZE_BYTES: &str = "axum_generic_session_size_bytes";
/// Histogram in seconds: calls of the store. Labels: `store`, `operation`.
pub const STORE_SECONDS: &str = "axum_generic_session_store_seconds";
/// Counter: calls of the store that failed. Labels: `store`, `operation`, `kind`.
pub const STORE_ERRORS: &str = "axum_generic_session_store_errors_total";
/// Gauge: 1, or 0 while the store cannot be reached. Labels: `store`.
pub const STORE_CONNECTED: &str = "axum_generic_session_store_connected";
/// Counter: connections to the store that were lost. Labels: `store`.
pub const STORE_DISCONNECTS: &str = "axum_generic_session_store_disconnects_total";

/// All names.
pub const ALL: [&str; 16] = [
    CREATED,
    LOADED,
    SAVED,
    TOUCHED,
    ROTATED,
    DESTROYED,
    UNKNOWN,
    INVALID,
    MERGED,
    REFUSED,
    ERRORS,
    SIZE_BYTES,
    STORE_SECONDS,
    STORE_ERRORS,
    STORE_CONNECTED,
    STORE_DISCONNECTS,
];

/// Buckets that suit [`STORE_SECONDS`], in seconds: from a map in memory to the default time limit of a call.
pub const STORE_BUCKETS: [f64; 12] =
    [0.000_01, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25, 1.0, 2.0];
/// Buckets that suit [`SIZE_BYTES`], in bytes: up to the default `max_size`.
pub const SIZE_BUCKETS: [f64; 8] = [128.0, 512.0, 1024.0, 4096.0, 16384.0, 65536.0, 262_144.0, 1_048_576.0];

static METADATA: Metadata<'static> = Metadata::new("axum_generic_session", Level::INFO, Some(module_path!()));

/// Tells the recorder what each metric means. A layer does so when it is built; call it if the recorder was
/// installed later than that.
pub fn describe() {
    let counters = [
        (CREATED, "Sessions that began"),
        (LOADED, "Sessions read from the store"),
        (SAVED, "Changes of sessions written to the store"),
        (TOUCHED, "Lives of sessions extended without a change"),
        (ROTATED, "Sessions that got a new id"),
        (DESTROYED, "Sessions ended on purpose"),
        (UNKNOWN, "Requests with the id of no session"),
        (INVALID, "Sessions that the valid hook or the absolute timeout has ended"),
        (MERGED, "Conflicts of two requests that were merged"),
        (REFUSED, "Commits answered with 409"),
        (ERRORS, "Loads and commits that failed"),
        (STORE_ERRORS, "Calls of the session store that failed"),
        (STORE_DISCONNECTS, "Connections to the session store that were lost"),
    ];
    with_recorder(|recorder| {
        for (name, text) in counters {
            recorder.describe_counter(name.into(), Some(Unit::Count), text.into());
        }
        let size = "Size of the encoded session at each write";
        recorder.describe_histogram(SIZE_BYTES.into(), Some(Unit::Bytes), size.into());
        let calls = "Time that calls of the session store take";
        recorder.describe_histogram(STORE_SECONDS.into(), Some(Unit::Seconds), calls.into());
        let connected = "Whether the session store can be reached: 1 or 0";
        recorder.describe_gauge(STORE_CONNECTED.into(), None, connected.into());
    });
}

fn count(key: &Key) {
    with_recorder(|recorder| recorder.register_counter(key, &METADATA).increment(1));
}

fn record(key: &Key, value: f64) {
    with_recorder(|recorder| recorder.register_histogram(key, &METADATA).record(value));
}

/// What is counted for a layer. The keys are made once: an event allocates nothing of ours.
pub(crate) struct SessionMeters {
    session: Label,
    counters: Vec<Option<Key>>,
    size: Key,
}

impl SessionMeters {
    pub(crate) fn new(cookie: &str) -> Self {
        describe();
        let session = Label::new("session", cookie.to_owned());
        let key = |name| Key::from_parts(name, vec![session.clone()]);
        let counters = What::ALL.map(|what| name_of(what).map(key)).into();
        Self { counters, size: key(SIZE_BYTES), session }
    }

    pub(crate) fn count(&self, what: What) {
        if let Some(Some(key)) = self.counters.get(what as usize) {
            count(key);
        }
    }

    pub(crate) fn size(&self, bytes: usize) {
        record(&self.size, bytes as f64);
    }

    pub(crate) fn refusal(&self, reason: &'static str) {
        self.count_with(REFUSED, Label::from_static_parts("reason", reason));
    }

    pub(crate) fn error(&self, kind: &'static str) {
        self.count_with(ERRORS, Label::from_static_parts("kind", kind));
    }

    fn count_with(&self, name: &'static str, label: Label) {
        count(&Key::from_parts(name, vec![self.session.clone(), label]));
    }
}

/// The counter that is counted up by an event alone; the others have labels of their own.
fn name_of(what: What) -> Option<&'static str> {
    match what {
        What::Created => Some(CREATED),
        What::Loaded => Some(LOADED),
        What::Saved => Some(SAVED),
        What::Touched => Some(TOUCHED),
        What::Rotated => Some(ROTATED),
        What::Destroyed => Some(DESTROYED),
        What::Unknown => Some(UNKNOWN),
        What::Invalid => Some(INVALID),
        What::Merged => Some(MERGED),
        What::Gone | What::Conflict | What::Failed => None,
    }
}

/// What is counted for a store.
pub(crate) struct StoreMeters {
    store: Label,
    calls: [Key; Operation::ALL.len()],
    connected: Key,
    disconnects: Key,
}

impl StoreMeters {
    pub(crate) fn new(store: &'static str) -> Self {
        let store = Label::from_static_parts("store", store);
        let calls = Operation::ALL.map(|operation| {
            let operation = Label::from_static_parts("operation", operation.name());
            Key::from_parts(STORE_SECONDS, vec![store.clone(), operation])
        });
        Self {
            calls,
            connected: Key::from_parts(STORE_CONNECTED, vec![store.clone()]),
            disconnects: Key::from_parts(STORE_DISCONNECTS, vec![store.clone()]),
            store,
        }
    }

    pub(crate) fn call(&self, operation: Operation, took: Duration, error: Option<&StoreError>) {
        record(&self.calls[operation as usize], took.as_secs_f64());
        if let Some(error) = error {
            let operation = Label::from_static_parts("operation", operation.name());
            let kind = Label::from_static_parts("kind", error.kind().name());
            count(&Key::from_parts(STORE_ERRORS, vec![self.store.clone(), operation, kind]));
        }
    }

    pub(crate) fn status(&self, connected: bool) {
        let value = f64::from(u8::from(connected));
        with_recorder(|recorder| recorder.register_gauge(&self.connected, &METADATA).set(value));
        if !connected {
            count(&self.disconnects);
        }
    }
}

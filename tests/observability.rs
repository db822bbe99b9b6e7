//! The log and the metrics: under the names that are documented, with nothing in them that is nobody's business, and
//! the dashboard over them.
#![cfg(all(feature = "metrics", feature = "memory-store", feature = "testing"))]

mod site;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Body, http::Request, routing::get};
use axum_generic_session::{
    MemoryStore, Operation, Rolling, SessionId, SessionLayer, Store, StoreKey, Verdict,
    metrics::{self, SIZE_BUCKETS, SIZE_BYTES, STORE_BUCKETS, STORE_SECONDS},
    store::{Applied, StoreErrorKind, Tag, When},
    testing::{Client, Fault},
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusRecorder};
use site::{COOKIE, Site, in_another_tab};
use tracing::{
    Event, Id, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Record},
};

const SECRET: &str = "hunter2";

/// A site where everything happens that can happen to sessions; the cookies that visitors had.
async fn everything() -> (Site, Vec<String>) {
    let site = Site::with(|layer| {
        layer
            .rolling(Rolling::EveryRequest)
            .max_lifetime(Duration::from_secs(7 * 86_400))
            .discard_corrupt(true)
            .error_handler(|failure| async move {
                match failure.operation() {
                    Operation::Touch => Verdict::Continue,
                    _ => Verdict::Fail,
                }
            })
    });
    let mut cookies = Vec::new();
    let mut visitor = site.known(SECRET).await;
    cookies.push(visitor.cookie(COOKIE).unwrap().to_owned());
    let _ = visitor.get("/read").await.expect_status(200);
    let _ = visitor.get("/renew").await.expect_status(200);
    cookies.push(visitor.cookie(COOKIE).unwrap().to_owned());
    // Two at once: merged, the same key changed by both.
    let gate = site.store.hold_answer(Operation::Get);
    let late = in_another_tab(&visitor, "/set/a/1");
    gate.reached().await;
    let _ = visitor.get("/set/a/2").await.expect_status(200);
    gate.open();
    let _ = late.await.unwrap().expect_status(200);
    // A touch, and a save, after the logout.
    for path in ["/read", "/set/a/3"] {
        let mut visitor = site.known(SECRET).await;
        let gate = site.store.hold_answer(Operation::Get);
        let late = in_another_tab(&visitor, path);
        gate.reached().await;
        let _ = visitor.get("/logout").await.expect_status(200);
        gate.open();
        let _ = late.await.unwrap();
    }
    // A login by somebody else at the same time is never merged.
    let mut visitor = site.known(SECRET).await;
    let gate = site.store.hold_answer(Operation::Get);
    let late = in_another_tab(&visitor, "/set/a/4");
    gate.reached().await;
    let id = SessionId::parse(visitor.cookie(COOKIE).unwrap()).unwrap();
    let mut record = site.record(id.expose()).await.unwrap();
    (record.principal, record.tag) = (Some("somebody else".into()), Tag::random());
    site.store.inner().set(&site.key(id.expose()), &record, When::Present).await.unwrap();
    gate.open();
    let _ = late.await.unwrap().expect_status(409);
    // An unknown id, one that cannot be read, one that is too old, and outages.
    let request = Request::get("/read").header("cookie", "axum.sid=unknown-id").body(Body::empty());
    let _ = site.visitor().send(request).await.expect_status(200);
    (record.data, record.tag) = (SECRET.into(), Tag::random());
    site.store.inner().set(&site.key(id.expose()), &record, When::Present).await.unwrap();
    let _ = visitor.get("/read").await.expect_status(200);
    let mut old = site.known(SECRET).await;
    for _ in 0..10 {
        site.clock.advance(Duration::from_secs(80_000));
        let _ = old.get("/read").await.expect_status(200);
    }
    let mut late = site.known(SECRET).await;
    cookies.push(late.cookie(COOKIE).unwrap().to_owned());
    for (operation, path, status) in [(Operation::Get, "/read", 503), (Operation::Touch, "/read", 200)] {
        site.store.fail(operation, Fault::before(StoreErrorKind::Unavailable(Applied::No)).times(2));
        let _ = late.get(path).await.expect_status(status);
        site.store.heal();
    }
    site.store.disconnect();
    tokio::task::yield_now().await;
    site.store.reconnect();
    tokio::task::yield_now().await;
    let _ = late.get("/read").await.expect_status(200);
    (site, cookies)
}

/// Nothing of these may be seen: ids, keys, data.
fn assert_hidden(text: &str, cookies: &[String]) {
    for cookie in cookies {
        let key = StoreKey::hashed("axum:sess:", &SessionId::parse(cookie).unwrap());
        for needle in [cookie, key.as_str(), key.as_str().trim_start_matches("axum:sess:"), SECRET] {
            assert!(!text.contains(needle), "{needle} in {text}");
        }
    }
}

fn recorder() -> PrometheusRecorder {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Full(STORE_SECONDS.into()), &STORE_BUCKETS)
        .unwrap()
        .set_buckets_for_metric(Matcher::Full(SIZE_BYTES.into()), &SIZE_BUCKETS)
        .unwrap()
        .build_recorder()
}

/// The value of a line of the exposition.
fn value(scraped: &str, line: &str) -> f64 {
    let found = scraped.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(' '));
    found.unwrap_or_else(|| panic!("{line} in:\n{scraped}")).parse().expect("a number")
}

#[tokio::test]
async fn prometheus_scrapes_every_metric() {
    let recorder = recorder();
    let prometheus = recorder.handle();
    let _here = ::metrics::set_default_local_recorder(&recorder);
    let (site, cookies) = everything().await;
    let operators = Router::new().route("/metrics", get(async move || prometheus.render()));
    let scraped = Client::new(operators).get("/metrics").await.expect_status(200).text();
    assert_hidden(&scraped, &cookies);

    let session = |name: &str| value(&scraped, &format!("{name}{{session=\"axum.sid\"}}"));
    assert_eq!(session(metrics::ROTATED), 1.0);
    assert_eq!(session(metrics::MERGED), 1.0);
    assert_eq!(session(metrics::CREATED), 6.0);
    assert_eq!(session(metrics::INVALID), 1.0);
    assert!(session(metrics::UNKNOWN) >= 1.0);
    assert!(session(metrics::DESTROYED) >= 2.0);
    assert!(session(metrics::TOUCHED) >= 1.0);
    let refused = |why: &str| {
        value(&scraped, &format!("{}{{session=\"axum.sid\",reason=\"{why}\"}}", metrics::REFUSED))
    };
    assert_eq!((refused("gone"), refused("conflict")), (1.0, 1.0));
    let errors =
        |kind: &str| value(&scraped, &format!("{}{{session=\"axum.sid\",kind=\"{kind}\"}}", metrics::ERRORS));
    assert_eq!((errors("unavailable"), errors("corrupt")), (2.0, 1.0));
    assert_eq!(value(&scraped, &format!("{}{{store=\"memory\"}}", metrics::STORE_CONNECTED)), 1.0);
    assert!(
        scraped
            .contains(&format!("{STORE_SECONDS}_bucket{{store=\"memory\",operation=\"rotate\",le=\"2\"}} 1"))
    );
    assert!(scraped.contains(&format!("{SIZE_BYTES}_bucket{{session=\"axum.sid\",le=\"1048576\"}}")));

    // Each that is documented is there, described, and no other.
    let described: BTreeSet<_> =
        scraped.lines().filter_map(|l| l.strip_prefix("# HELP ")?.split(' ').next()).collect();
    assert_eq!(described, metrics::ALL.into_iter().collect());
    let labels = scraped.lines().filter_map(|l| Some(l.split_once('{')?.1.split_once('}')?.0));
    let names: BTreeSet<_> =
        labels.flat_map(|l| l.split(',')).filter_map(|l| Some(l.split_once('=')?.0)).collect();
    assert_eq!(names, ["kind", "le", "operation", "reason", "session", "store"].into());
    drop(site);
}

#[tokio::test]
async fn a_layer_of_another_name_counts_under_that() {
    let recorder = recorder();
    let _here = ::metrics::set_default_local_recorder(&recorder);
    let site = Site::new();
    let admin = site.layer.clone().name("admin.sid");
    for layer in [site.layer.clone(), admin.clone(), admin.defer(true)] {
        let _ = Client::new(site.under(layer)).get("/set/a/1").await.expect_status(200);
    }
    let scraped = recorder.handle().render();
    assert_eq!(value(&scraped, &format!("{}{{session=\"axum.sid\"}}", metrics::CREATED)), 1.0);
    assert_eq!(value(&scraped, &format!("{}{{session=\"admin.sid\"}}", metrics::CREATED)), 2.0);
}

#[tokio::test]
async fn a_request_that_does_not_use_its_session_is_not_counted() {
    let recorder = recorder();
    let _here = ::metrics::set_default_local_recorder(&recorder);
    let app = Router::new()
        .route("/", get(async |_: axum_generic_session::Session| "untouched"))
        .layer(SessionLayer::new(MemoryStore::new()).defer(true));
    let mut visitor = Client::new(app);
    visitor.set_cookie(COOKIE, SessionId::random().expose());
    let _ = visitor.get("/").await.expect_status(200);
    let scraped = recorder.handle().render();
    assert!(!scraped.lines().any(|line| !line.starts_with('#') && !line.is_empty()), "{scraped}");
}

#[test]
fn the_dashboard_draws_each_metric_and_no_other() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/grafana/axum-generic-session.json");
    let text = std::fs::read_to_string(file).expect("the dashboard");
    let dashboard: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let mut used = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        assert!(ids.insert(panel["id"].as_u64().expect("a number")), "two panels of one id");
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = target["expr"].as_str().expect("an expression");
            for name in expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
                if name.starts_with("axum_generic_session_") {
                    let histogram = [SIZE_BYTES, STORE_SECONDS].into_iter().find(|h| name.starts_with(h));
                    let rendered =
                        histogram.map(|h| ["_bucket", "_sum", "_count"].map(|part| format!("{h}{part}")));
                    assert!(rendered.is_none_or(|parts| parts.iter().any(|part| part == name)), "{name}");
                    used.insert(histogram.unwrap_or(name).to_owned());
                }
            }
            let open = expression.matches(['(', '{', '[']).count();
            assert_eq!(open, expression.matches([')', '}', ']']).count(), "{expression}");
        }
    }
    assert_eq!(used, metrics::ALL.map(str::to_owned).into());
}

/// Notes each event and span of this crate with the names of its fields, and all that they say.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<(BTreeMap<String, BTreeSet<String>>, String)>>);

#[derive(Default)]
struct Fields {
    message: Option<String>,
    names: Vec<&'static str>,
    text: String,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let value = format!("{value:?}");
        self.text += &format!("{field}={value} ");
        match field.name() {
            "message" => self.message = Some(value),
            name => self.names.push(name),
        }
    }
}

impl Notes {
    fn note(&self, metadata: &Metadata<'_>, name: &str, fields: &Fields) {
        if metadata.target().starts_with("axum_generic_session") {
            let mut notes = self.0.lock().unwrap();
            let level = metadata.level().as_str().to_lowercase();
            notes
                .0
                .entry(format!("{level} {name}"))
                .or_default()
                .extend(fields.names.iter().map(|n| (*n).to_owned()));
            notes.1 += &fields.text;
        }
    }
}

impl Subscriber for Notes {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut fields = Fields::default();
        span.record(&mut fields);
        self.note(span.metadata(), span.metadata().name(), &fields);
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        self.note(event.metadata(), fields.message.as_deref().unwrap_or_default(), &fields);
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn the_log_is_as_the_guide_says() {
    let notes = Notes::default();
    let _listening = tracing::subscriber::set_default(notes.clone());
    let (_site, cookies) = everything().await;
    let (seen, text) = &*notes.0.lock().unwrap();
    assert_hidden(text, &cookies);

    // The rows `| event | level | fields |`; the first table lists the fields.
    let guide = include_str!("../docs/guide/observability.md");
    let words = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<BTreeSet<_>>();
    let rows = guide.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let mut documented = BTreeMap::new();
    let mut fields = BTreeSet::new();
    for (name, rest) in rows {
        match rest.split_once(" | ") {
            Some((level, cell)) if ["trace", "debug", "info", "warn", "error"].contains(&level) => {
                documented.insert(format!("{level} {name}"), words(cell));
            }
            _ => drop(fields.insert(name.to_owned())),
        }
    }
    documented.insert("debug session_store".into(), words("`store`, `operation`, `session`"));
    for (event, names) in seen {
        let known = documented.get(event).unwrap_or_else(|| panic!("{event} is not in the guide"));
        assert_eq!(names, known, "{event}");
        assert!(names.is_subset(&fields), "{event}: {names:?}");
    }
    // All but what needs a predecessor.
    let missing: Vec<_> = documented.keys().filter(|event| !seen.contains_key(*event)).collect();
    assert_eq!(missing, ["debug session taken over"]);
}

//! The metrics, as Prometheus gets them, and the dashboard over them.
#![cfg(all(feature = "metrics", feature = "memory-store", feature = "testing"))]

mod scene;
mod site;

use std::collections::BTreeSet;

use axum::{Router, routing::get};
use axum_generic_session::{
    MemoryStore, Session, SessionId, SessionLayer,
    metrics::{self, SIZE_BUCKETS, SIZE_BYTES, STORE_BUCKETS, STORE_SECONDS},
    testing::Client,
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusRecorder};
use scene::{assert_hidden, everything};
use site::{COOKIE, Site};

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
        .route("/", get(async |_: Session| "untouched"))
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

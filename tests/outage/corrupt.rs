//! Records that cannot be read.

use axum::{Router, body::Bytes, routing::get};
use axum_generic_session::{
    MemoryStore, Operation, Rolling, Session, SessionId, SessionLayer, Store, StoreKey, Verdict,
    store::{Record, Tag, When},
    testing::{Client, Fault},
};
use serde_json::json;

use super::{
    KINDS,
    figures::{Figure, size},
    site::{COOKIE, Site},
};

/// What is under the visitor's id becomes `data`.
async fn overwrite(site: &Site, id: &str, data: &[u8]) -> Record {
    let mut record = site.record(id).await.unwrap();
    record.tag = Tag::random();
    record.data = Bytes::copy_from_slice(data);
    site.store.inner().set(&site.key(id), &record, When::Present).await.unwrap();
    record
}

/// What a record may have become that was `good` once: cut off, of another kind, or of another version.
fn corrupted(good: &[u8]) -> Vec<Vec<u8>> {
    let mut corrupt: Vec<Vec<u8>> = (0..good.len()).map(|end| good[..end].to_vec()).collect();
    let bodies = ["null", "[]", "1", "\"x\"", "{\"a\":}", "{\"a\":1}{}", "{\"a\":\"\u{1}\"}"];
    corrupt.extend(bodies.map(|body| format!("{{\"v\":1,\"created\":0}}\n{body}").into_bytes()));
    let headers = [
        "{}",
        "{\"v\":2,\"created\":0}",
        "{\"v\":1}",
        "{\"v\":1,\"created\":-1}",
        "",
        "{\"v\":1,\"created\":1e99}",
    ];
    corrupt.extend(headers.map(|header| format!("{header}\n{{}}").into_bytes()));
    corrupt.extend([
        b"\xff\xfe\n{}".to_vec(),
        b"{\"v\":1,\"created\":0}\n{\"a\":\"\xff\"}".to_vec(),
        vec![0; 64],
    ]);
    corrupt
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_an_error_and_never_overwritten() {
    let site = Site::with(|layer| layer.rolling(Rolling::EveryRequest));
    let mut visitor = site.known("alice").await;
    let id = visitor.cookie(COOKIE).unwrap().to_owned();
    let good = site.record(&id).await.unwrap().data;
    for data in corrupted(&good) {
        let stored = overwrite(&site, &id, &data).await;
        for path in ["/read", "/set/a/1", "/count", "/renew", "/logout", "/regenerate", "/"] {
            let answer = visitor.get(path).await.expect_status(500);
            assert_eq!((answer.text().as_str(), answer.set_cookies().len()), ("", 0), "{path}");
        }
        assert_eq!(site.record(&id).await, Some(stored), "{:?}", String::from_utf8_lossy(&data));
    }
}

/// B6. A load that fails, or that finds what cannot be read, changes nothing.
#[tokio::test]
async fn no_failed_load_changes_what_is_stored() {
    let figure = Figure::of("B6", "memory");
    let loads = size(10_000, 100_000);
    let mut sites = Vec::new();
    for deferred in [false, true] {
        let rolling = Rolling::EveryRequest;
        let site = Site::with(|layer| layer.rolling(rolling).defer(deferred));
        let visitor = site.known("alice").await;
        let id = visitor.cookie(COOKIE).unwrap().to_owned();
        let good = site.record(&id).await.unwrap();
        let corrupt = corrupted(&good.data);
        sites.push((site, visitor, id, good.data, corrupt));
    }
    let paths = ["/read", "/set/a/1", "/count", "/remove/user", "/login/bob"];
    let mut changed = 0;
    for n in 0..loads {
        let (site, visitor, id, good, corrupt) = &mut sites[n % 2];
        let (kind, status) = KINDS[n / 2 % KINDS.len()];
        let (data, status) = if n % 3 == 0 {
            site.store.fail(Operation::Get, Fault::before(kind));
            (&**good, status)
        } else {
            (&*corrupt[n / 2 % corrupt.len()], 500)
        };
        let stored = overwrite(site, id, data).await;
        let answer = visitor.get(paths[n % paths.len()]).await.expect_status(status);
        assert_eq!((answer.text().as_str(), answer.set_cookies().len()), ("", 0));
        site.store.heal();
        changed += usize::from(site.record(id).await != Some(stored) || site.store.inner().len() != 1);
    }
    figure.count("failed_loads", loads).count("changed", changed).report();
    assert_eq!(changed, 0);
}

#[tokio::test]
async fn no_flipped_bit_of_a_record_is_a_panic() {
    let site = Site::new();
    let mut visitor = site.known("alice").await;
    let id = visitor.cookie(COOKIE).unwrap().to_owned();
    let good = site.record(&id).await.unwrap().data;
    for bit in 0..good.len() * 8 {
        let mut data = good.to_vec();
        data[bit / 8] ^= 1 << (bit % 8);
        let stored = overwrite(&site, &id, &data).await;
        let status = visitor.get("/read").await.status.as_u16();
        assert!([200, 500].contains(&status), "bit {bit}: {status}");
        assert_eq!(site.record(&id).await, Some(stored), "bit {bit}");
    }
}

#[tokio::test]
async fn a_layer_may_discard_what_cannot_be_read() {
    let site = Site::with(|layer| layer.discard_corrupt(true));
    for (path, left) in [("/read", None), ("/set/a/1", Some(json!({"a": "1"}))), ("/", None)] {
        let mut visitor = site.known("alice").await;
        let id = visitor.cookie(COOKIE).unwrap().to_owned();
        overwrite(&site, &id, b"garbage").await;
        let answer = visitor.get("/set/a/1/then/500").await.expect_status(500);
        assert_eq!((answer.set_cookies().len(), site.record(&id).await.is_some()), (0, true), "not on a 5xx");
        let _ = visitor.get(path).await.expect_status(200);
        assert_eq!(site.record(&id).await, None, "{path}");
        assert_eq!(site.data_of(&visitor).await, left, "{path}");
    }
}

/// The memory store is asked without waiting for it, so there the rule is kept in a place of its own.
#[tokio::test]
async fn who_goes_on_without_what_cannot_be_read_does_not_write_over_it_in_memory_either() {
    let store = MemoryStore::new();
    let layer = SessionLayer::new(store.clone()).error_handler(|_| async { Verdict::Continue });
    let set = get(async |session: Session| session.insert("a", 1).await);
    let mut visitor = Client::new(Router::new().route("/set", set).layer(layer));
    let _ = visitor.get("/set").await.expect_status(200);
    let id = SessionId::parse(visitor.cookie("axum.sid").unwrap()).unwrap();
    let key = StoreKey::hashed("axum:sess:", &id);
    let record = store.get(&key).await.unwrap().unwrap();
    let garbage = Record { tag: Tag::random(), data: Bytes::from_static(b"garbage"), ..record };
    store.set(&key, &garbage, When::Present).await.unwrap();
    let answer = visitor.get("/set").await.expect_status(200);
    assert_eq!((answer.set_cookies().len(), store.get(&key).await.unwrap()), (0, Some(garbage)));
}

//! The Redis store over TLS, with certificates made for the test.
#![cfg(feature = "redis-rustls")]
#![allow(clippy::unwrap_used, reason = "a test")]

mod servers;

use std::{path::Path, process::Command, time::Duration};

use axum::body::Bytes;
use axum_generic_session::{
    Clock, RedisStore, SessionId, StoreKey, SystemClock,
    redis::{Client, TlsCertificates},
    store::{Connection, Record, Store, StoreErrorKind, Tag, When, Written},
};
use servers::redis::Redis;

/// A certificate authority, and a certificate of it for 127.0.0.1.
fn make_certificates(folder: &Path) {
    let extensions = "basicConstraints=CA:FALSE\nsubjectAltName=IP:127.0.0.1\n";
    std::fs::write(folder.join("extensions"), extensions).unwrap();
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    for arguments in [
        format!("req -x509 {key} -keyout ca.key -out ca.pem -days 2 -subj /CN=test-ca"),
        format!("req {key} -keyout server.key -out server.csr -subj /CN=test"),
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out server.pem"
            .to_owned(),
    ] {
        let done = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output().unwrap();
        assert!(done.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&done.stderr));
    }
}

#[tokio::test]
async fn a_server_with_a_certificate_is_trusted_by_it_alone() {
    let folder = tempfile::tempdir().unwrap();
    make_certificates(folder.path());
    let file = |name: &str| folder.path().join(name).display().to_string();
    let port = servers::free_port().to_string();
    let mut server = Redis::with(&[
        "--tls-port",
        &port,
        "--tls-cert-file",
        &file("server.pem"),
        "--tls-key-file",
        &file("server.key"),
        "--tls-ca-cert-file",
        &file("ca.pem"),
        "--tls-auth-clients",
        "no",
    ]);
    let url = format!("rediss://127.0.0.1:{port}");

    // The system does not know this authority; and that is said, not panicked.
    let error = RedisStore::connect(&url).await.unwrap_err();
    assert!(error.is_unavailable() || error.kind() == StoreErrorKind::Misconfigured, "{error}");
    assert!(error.to_string().contains("certificate"), "{error}");

    let ca = std::fs::read(folder.path().join("ca.pem")).unwrap();
    let trusting =
        Client::build_with_tls(url, TlsCertificates { client_tls: None, root_cert: Some(ca) }).unwrap();
    let builder = RedisStore::builder(trusting.get_connection_info().clone());
    let store = builder.time_limit(Duration::from_secs(60)).connect().await.unwrap();
    let key = StoreKey::hashed("test:", &SessionId::random());
    let expires_at = SystemClock.now().saturating_add(Duration::from_secs(3600));
    let record = Record { tag: Tag::random(), expires_at, principal: None, data: Bytes::from_static(b"{}") };
    assert!(store.set(&key, &record, When::Absent).await.unwrap() == Written::Done);
    assert!(store.get(&key).await.unwrap().is_some_and(|found| found == record));

    let mut status = store.connection().unwrap();
    server.kill();
    status.wait_for(|now| *now != Connection::Connected).await.unwrap();
    server.launch();
    status.wait_for(|now| *now == Connection::Connected).await.unwrap();
    assert!(store.set(&key, &record, When::Absent).await.unwrap() == Written::Done);
}

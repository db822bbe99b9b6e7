//! No page shows an id that could be used, whatever the layer's settings and with all values shown.

use axum_generic_session::{Inspector, Key, MemoryStore, SessionId, SessionLayer, StoreKey, testing::Client};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{AT, links, mounted, site::Site, token};

/// Whatever would help somebody who has it: the cookie, the id in it, the store's key, digests of them.
fn needles(prefix: &str, cookie: &str, hashed: bool) -> Vec<String> {
    // Signed or not, as a cookie jar, koa or express write it.
    let plain = cookie.replace("%3A", ":");
    let signed = cookie.len() > 44 && !plain.starts_with("s:");
    let id = match plain.strip_prefix("s:") {
        Some(rest) => rest.split('.').next().unwrap(),
        None if signed => &cookie[44..],
        None => cookie,
    };
    let parsed = SessionId::parse(id).unwrap();
    let key = if hashed { StoreKey::hashed(prefix, &parsed) } else { StoreKey::plain(prefix, &parsed) };
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let name = key.as_str().strip_prefix(prefix).unwrap().to_owned();
    vec![
        cookie.to_owned(),
        id.to_owned(),
        name,
        hex(&key.digest()),
        URL_SAFE_NO_PAD.encode(key.digest()),
        hex(id.as_bytes()),
        URL_SAFE_NO_PAD.encode(id),
    ]
}

#[tokio::test]
async fn no_page_shows_an_id_or_what_leads_to_one() {
    let site = Site::new();
    let key = Key::from(&[7; 64]);
    let store = || MemoryStore::new().clock(site.clock.clone());
    let layers = [
        ("axum.sid", "axum:sess:", true, SessionLayer::new(store())),
        ("axum.sid", "axum:sess:", true, SessionLayer::new(store()).keys([&key])),
        ("axum.sid", "axum:sess:", false, SessionLayer::new(store()).hash_ids(false)),
        ("koa.sid", "koa:sess:", false, SessionLayer::koa(store(), &["old secret"])),
        ("connect.sid", "sess:", false, SessionLayer::express(store(), &["old secret"])),
    ];
    for (cookie, prefix, hashed, layer) in layers {
        let layer = layer.clock(site.clock.clone());
        let mut operator = Client::new(mounted(&Inspector::new(&layer).unwrap().show_values(true)));
        let mut hidden = Vec::new();
        let mut visitor = Client::new(site.under(layer)).clock(site.clock.clone());
        for path in ["/set/a/1", "/renew", "/count", "/login/alice", "/logout", "/set/b/1"] {
            let _ = visitor.get(path).await.expect_status(200);
            if let Some(value) = visitor.cookie(cookie) {
                hidden.extend(needles(prefix, value, hashed));
            }
            let overview = operator.get(AT).await.expect_status(200).text();
            let mut seen = overview.clone();
            for link in links(&overview) {
                let page = operator.get(&link).await.expect_status(200).text();
                assert!(page.contains("End this session"));
                // The one secret that has its place there, and opens no session.
                seen += &page.replace(&token(&page), "");
            }
            for needle in &hidden {
                assert!(!seen.contains(&**needle), "{needle} after {path} with {cookie}:\n{seen}");
            }
        }
        assert!(hidden.len() > 20, "there were ids to hide");
        // What is shown opens nothing.
        for link in links(&operator.get(AT).await.text()) {
            let handle = link.rsplit('/').next().unwrap();
            let mut thief = Client::new(site.under(SessionLayer::new(store())));
            thief.set_cookie(cookie, handle);
            let _ = thief.get("/read").await.expect_status(200);
        }
        let debug = format!("{:?}", Inspector::new(&SessionLayer::new(store()).hash_ids(false)).unwrap());
        assert_eq!(debug, "Inspector { cookie: \"axum.sid\", show_values: false, .. }");
    }
}

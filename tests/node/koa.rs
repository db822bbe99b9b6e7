//! koa-generic-session 2 with koa-redis beside [`SessionLayer::koa`]: nothing of koa's is changed.

use std::time::{Duration, Instant};

use axum_generic_session::{
    Clock, CookieOptions, Map, MaxAge, RedisStore, SameSite, SessionId, SessionLayer, Store, StoreKey,
    SystemClock,
    store::{Layout, Legacy, Predecessor, StoreError},
};
use serde_json::{Value, json};

use crate::{
    pair::{DAY, KEYS, Pair, Peer},
    site::{Front, Site, data, set, undated},
};

pub static KOA: Peer = Peer {
    name: "koa",
    cookie: "koa.sid",
    prefix: "koa:sess:",
    layer: |store, keys| SessionLayer::koa(store, keys),
};

#[tokio::test(flavor = "multi_thread")]
async fn each_goes_on_where_the_other_stopped() {
    KOA.each_goes_on_where_the_other_stopped().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_rotated_without_logging_anybody_out() {
    KOA.keys_are_rotated_without_logging_anybody_out().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_on_one_side_is_a_logout_on_the_other() {
    KOA.a_logout_on_one_side_is_a_logout_on_the_other(&["koa.sid", "koa.sid.sig"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_id_on_one_side_is_the_new_id_on_the_other() {
    KOA.a_new_id_on_one_side_is_the_new_id_on_the_other().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_what_the_other_wrote_writes_nothing_and_sends_nothing() {
    let Pair { site, front, node: _node, .. } = KOA.beside_axum(json!({ "keys": KEYS })).await;
    for (writer, reader) in [("axum", "koa"), ("koa", "axum")] {
        let mut visitor = front.visitor();
        let _ = visitor.get(&set(writer, &json!({ "user": "ada" }))).await.expect_status(200);
        site.writes();
        let answer = visitor.get(&format!("/{reader}")).await.expect_status(200);
        assert_eq!(data(&answer), json!({ "user": "ada" }), "{reader}");
        assert_eq!(answer.set_cookies(), [""; 0], "{reader}");
        assert_eq!(site.writes(), 0, "{reader}");
    }
}

/// What a visitor gets and Redis keeps, when one session is made, changed, and ended.
async fn record(site: &Site, front: &Front, app: &str, (prefix, seconds): (&str, i64)) -> Vec<String> {
    let mut seen = Vec::new();
    let mut visitor = front.visitor();
    for request in [set(app, &json!({ "n": 1 })), set(app, &json!({ "n": 2 })), format!("/{app}?destroy=1")] {
        let since = Instant::now();
        let answer = visitor.get(&request).await.expect_status(200);
        // koa's removal has the path `/` and no other attributes, whatever the cookie had.
        let lines = answer.set_cookies().into_iter().map(|line| match line.split_once("; ") {
            Some((pair, attributes)) if attributes.contains("1970") => pair.to_owned(),
            _ => undated(&line),
        });
        seen.extend(lines);
        if !site.keys().is_empty() {
            seen.extend([site.key(prefix), undated(&site.raw(prefix))]);
            assert!(site.lives(prefix, seconds, since), "{app} {prefix}");
        }
    }
    assert_eq!(site.keys(), [""; 0], "the logout of {app}");
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn cookies_and_records_are_the_same_to_the_byte() {
    let site = Site::start().await;
    let cookie = || CookieOptions::new().secure(false).same_site(None);
    let layer = |keys: &[&str]| {
        SessionLayer::koa(site.store.clone(), keys).gen_id(|_| async { Ok("an-id-of-16_byte".to_owned()) })
    };
    let half = Duration::from_millis(90_500);
    let table: [(Value, (&str, i64), SessionLayer); 7] = [
        (json!({}), ("koa:sess:", DAY), layer(&KEYS)),
        (
            json!({ "cookie": { "maxAge": 90_500 } }),
            ("koa:sess:", 91),
            layer(&KEYS).cookie(cookie().max_age(half)),
        ),
        (
            json!({ "ttl": 90_500, "prefix": "app:", "key": "app.sid" }),
            ("app:", 91),
            layer(&KEYS)
                .ttl(half)
                .prefix("app:")
                .name("app.sid")
                .cookie(cookie().max_age(Duration::from_secs(86_400))),
        ),
        (
            json!({ "ttl": 60_000, "cookie": { "maxAge": null } }),
            ("koa:sess:", 60),
            layer(&KEYS).ttl(Duration::from_secs(60)).cookie(cookie().max_age(MaxAge::BrowserSession)),
        ),
        (json!({ "cookie": { "signed": false } }), ("koa:sess:", DAY), layer(&KEYS).unsigned()),
        (json!({ "prefix": "" }), ("", DAY), layer(&KEYS).prefix("")),
        (
            json!({ "cookie": { "sameSite": "lax", "httpOnly": false } }),
            ("koa:sess:", DAY),
            layer(&KEYS).cookie(
                cookie().same_site(SameSite::Lax).http_only(false).max_age(Duration::from_secs(86_400)),
            ),
        ),
    ];
    for (options, kept, layer) in table {
        // Without a signature there are no keys either: with them, koa's logout resets a `.sig` that it never set.
        let keys = (options["cookie"]["signed"] != false).then_some(KEYS);
        let koa =
            site.app("koa", json!({ "keys": keys, "options": options, "gensid": "an-id-of-16_byte" })).await;
        let front = Front::default().app("koa", &koa).axum(layer);
        let theirs = record(&site, &front, "koa", kept).await;
        assert_eq!(record(&site, &front, "axum", kept).await, theirs, "{options}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_signature_is_no_session_on_either_side() {
    let Pair { site, front, node: _node, .. } = KOA.beside_axum(json!({ "keys": KEYS })).await;
    let mut visitor = front.visitor();
    let _ = visitor.get(&set("koa", &json!({ "user": "ada" }))).await.expect_status(200);
    let id = visitor.cookie("koa.sid").expect("a cookie").to_owned();
    for signature in ["", "AAAA", "6TLf_kCKGSBwVJ0mCsQy9BemihY"] {
        for app in ["koa", "axum"] {
            let mut thief = front.visitor();
            thief.set_cookie("koa.sid", &id);
            thief.set_cookie("koa.sid.sig", signature);
            assert_eq!(data(&thief.get(&format!("/{app}")).await), json!({}), "{app} {signature:?}");
        }
    }
    assert_eq!(site.keys().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn how_long_a_visitor_is_remembered_travels_with_the_session() {
    let Pair { site, front, node: _node, .. } = KOA.beside_axum(json!({ "keys": KEYS })).await;
    for (writer, other) in [("koa", "axum"), ("axum", "koa")] {
        let mut visitor = front.visitor();
        let request = format!("{}&age=2592000000", set(writer, &json!({ "user": "ada" })));
        let since = Instant::now();
        let lines = visitor.get(&request).await.expect_status(200).set_cookies();
        assert!(site.lives("koa:sess:", 30 * DAY, since), "{writer}");
        // A write of the other side keeps it, and begins it anew.
        let raw = site.raw("koa:sess:");
        let since = Instant::now();
        let again = visitor.get(&set(other, &json!({ "n": 1 }))).await.expect_status(200).set_cookies();
        assert!(site.lives("koa:sess:", 30 * DAY, since), "{other}");
        assert_eq!(site.raw("koa:sess:"), raw.replace("\"ada\"", "\"ada\",\"n\":1"), "{other}");
        assert_eq!(
            lines.iter().map(|l| undated(l)).collect::<Vec<_>>(),
            again.iter().map(|l| undated(l)).collect::<Vec<_>>()
        );
        let _ = visitor.get(&format!("/{other}?destroy=1")).await.expect_status(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_koa_keeps_for_ever_gets_an_end_when_axum_saves_it() {
    // `ctx.session = {...}` and `maxAge: null` make entries without an end: koa's quirk, which axum does not share.
    let Pair { site, front, node: _node, .. } =
        KOA.beside_axum(json!({ "keys": KEYS, "options": { "cookie": { "maxAge": null } } })).await;
    let mut visitor = front.visitor();
    let _ = visitor.get(&set("koa", &json!({ "user": "ada" }))).await.expect_status(200);
    assert_eq!(site.ttl("koa:sess:"), -1);
    let since = Instant::now();
    let _ = visitor.get(&set("axum", &json!({ "n": 1 }))).await.expect_status(200);
    assert!(site.lives("koa:sess:", DAY, since));
    assert_eq!(data(&visitor.get("/koa").await), json!({ "user": "ada", "n": 1 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn koa_session_ts_is_the_same_with_another_prefix() {
    let site = Site::start().await;
    let koa = site.node("koa-session-ts.js", json!({ "keys": KEYS })).await;
    let layer = SessionLayer::koa(site.store.clone(), &KEYS).prefix("koa:sess");
    let front = Front::default().app("koa", &koa).axum(layer);
    for (writer, other) in [("koa", "axum"), ("axum", "koa")] {
        let mut visitor = front.visitor();
        let _ = visitor.get(&set(writer, &json!({ "user": "ada" }))).await.expect_status(200);
        site.writes();
        assert_eq!(data(&visitor.get(&format!("/{other}")).await), json!({ "user": "ada" }), "{other}");
        assert_eq!(site.writes(), 0, "{other}");
        let _ = visitor.get(&set(other, &json!({ "n": 1 }))).await.expect_status(200);
        assert_eq!(
            data(&visitor.get(&format!("/{writer}")).await),
            json!({ "user": "ada", "n": 1 }),
            "{writer}"
        );
        let _ = visitor.get(&format!("/{other}?destroy=1")).await.expect_status(200);
        assert_eq!(site.keys(), [""; 0], "{other}");
    }
}

/// The records of koa, for a site that has left it: as in the migration guide.
struct Koa(RedisStore);

impl Koa {
    fn key(id: &SessionId) -> StoreKey {
        StoreKey::plain("koa:sess:", id).with_layout(Layout::Plain)
    }
}

impl Predecessor for Koa {
    async fn find(&self, id: &SessionId) -> Result<Option<Legacy>, StoreError> {
        let Some(record) = self.0.get(&Self::key(id)).await? else { return Ok(None) };
        let mut data: Map = serde_json::from_slice(&record.data).map_err(StoreError::corrupt)?;
        data.remove("cookie");
        let end = record.expires_at.min(SystemClock.now().saturating_add(Duration::from_secs(86_400)));
        Legacy::new(&data, end).map(Some)
    }

    async fn remove(&self, id: &SessionId) -> Result<(), StoreError> {
        self.0.destroy(&Self::key(id)).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_koa_is_gone_its_visitors_stay() {
    for maker in ["koa", "axum"] {
        let Pair { site, front, node: _node, .. } = KOA.beside_axum(json!({ "keys": KEYS })).await;
        let mut visitor = front.visitor();
        let _ = visitor.get(&set(maker, &json!({ "user": "ada" }))).await.expect_status(200);
        let layer = SessionLayer::new(site.store.clone()).name("koa.sid").take_over(Koa(site.store.clone()));
        let mut visitor = Front::default().axum(layer).take_over(&visitor);
        for _ in 0..2 {
            assert_eq!(data(&visitor.get("/axum").await), json!({ "user": "ada" }), "{maker}");
        }
        assert!(site.lives("axum:sess:", DAY, Instant::now() - Duration::from_secs(60)));
        assert_eq!(site.keys().len(), 1, "{maker}");
        let mut copy = visitor.clone();
        let _ = visitor.get("/axum?destroy=1").await.expect_status(200);
        assert_eq!(data(&copy.get("/axum").await), json!({}), "{maker}");
    }
}

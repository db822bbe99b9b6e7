//! express-session with connect-redis beside [`SessionLayer::express`]: nothing of express's is changed.

use std::time::{Duration, Instant};

use axum_generic_session::{CookieOptions, MaxAge, Priority, Rolling, SameSite, SessionLayer};
use serde_json::{Value, json};

use crate::{
    pair::{DAY, KEYS, Pair, Peer},
    site::{Front, Site, data, set, undated},
};

pub static EXPRESS: Peer = Peer {
    name: "express",
    cookie: "connect.sid",
    prefix: "sess:",
    layer: |store, keys| SessionLayer::express(store, keys),
};

#[tokio::test(flavor = "multi_thread")]
async fn each_goes_on_where_the_other_stopped() {
    EXPRESS.each_goes_on_where_the_other_stopped().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_rotated_without_logging_anybody_out() {
    EXPRESS.keys_are_rotated_without_logging_anybody_out().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_on_one_side_is_a_logout_on_the_other() {
    EXPRESS.a_logout_on_one_side_is_a_logout_on_the_other(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_id_on_one_side_is_the_new_id_on_the_other() {
    EXPRESS.a_new_id_on_one_side_is_the_new_id_on_the_other().await;
}

/// What a visitor gets and Redis keeps when a session is made and changed; and the cookie that the change sent.
async fn record(
    site: &Site,
    front: &Front,
    app: &str,
    (prefix, seconds): (&str, i64),
) -> (Vec<String>, Vec<String>) {
    let mut visitor = front.visitor();
    let mut seen = Vec::new();
    let mut lines = Vec::new();
    for n in [1, 2] {
        let since = Instant::now();
        let answer = visitor.get(&set(app, &json!({ "n": n }))).await.expect_status(200);
        assert!(site.lives(prefix, seconds, since), "{app} {prefix}");
        seen.append(&mut lines);
        lines = answer.set_cookies().iter().map(|line| undated(line)).collect();
        let raw = undated(&site.raw(prefix));
        seen.extend([site.key(prefix), if app == "express" { as_given(&raw) } else { raw }]);
    }
    let _ = visitor.get(&format!("/{app}?destroy=1")).await.expect_status(200);
    assert_eq!(site.keys(), [""; 0], "the logout of {app}");
    (seen, lines)
}

/// express reads its clock twice while it makes a cookie, and again whenever it begins its life anew: where a millisecond
/// passes in between, `originalMaxAge` is by as much less than the `maxAge` that it was given, here always in half seconds.
fn as_given(raw: &str) -> String {
    let Some((before, rest)) = raw.split_once("\"originalMaxAge\":") else { return raw.to_owned() };
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let Ok(millis) = rest[..digits].parse::<u64>() else { return raw.to_owned() };
    format!("{before}\"originalMaxAge\":{}{}", millis.next_multiple_of(500), &rest[digits..])
}

#[tokio::test(flavor = "multi_thread")]
async fn cookies_and_records_are_the_same_to_the_byte() {
    let site = Site::start().await;
    let cookie = || CookieOptions::new().secure(false).same_site(None);
    let layer = || SessionLayer::express(site.store.clone(), &KEYS);
    let table: [(Value, Value, (&str, i64), SessionLayer); 6] = [
        (json!({}), json!({}), ("sess:", DAY), layer()),
        (
            json!({ "cookie": { "maxAge": 90_500 } }),
            json!({}),
            ("sess:", 91),
            layer().cookie(cookie().max_age(Duration::from_millis(90_500))),
        ),
        (
            json!({ "name": "app.sid" }),
            json!({ "prefix": "app:", "ttl": 60 }),
            ("app:", 60),
            layer()
                .name("app.sid")
                .prefix("app:")
                .ttl(Duration::from_secs(60))
                .cookie(cookie().max_age(MaxAge::BrowserSession)),
        ),
        (
            json!({ "cookie": { "httpOnly": false, "sameSite": "strict", "priority": "high", "domain": "example.com" } }),
            json!({}),
            ("sess:", DAY),
            layer().cookie(
                cookie()
                    .max_age(MaxAge::BrowserSession)
                    .http_only(false)
                    .same_site(SameSite::Strict)
                    .priority(Priority::High)
                    .domain("example.com"),
            ),
        ),
        (
            json!({ "cookie": { "maxAge": 3_600_000, "sameSite": "lax", "path": "/" } }),
            json!({}),
            ("sess:", 3600),
            layer().cookie(cookie().max_age(Duration::from_secs(3600)).same_site(SameSite::Lax)),
        ),
        (json!({}), json!({ "prefix": "" }), ("", DAY), layer().prefix("")),
    ];
    for (row, (options, store, kept, layer)) in table.into_iter().enumerate() {
        // Ids with every character that a cookie may hold and `encodeURIComponent` escapes or not.
        let ids = ["an-id-of-16_byte", "#$%&'()*+-./0:<=>?@A[]^_`a{|}~!", "%41%"];
        for id in ids.into_iter().take(if row == 0 { 3 } else { 1 }) {
            let settings = json!({ "keys": KEYS, "options": options, "store": store, "genid": id });
            let express = site.app("express", settings).await;
            let layer = layer.clone().gen_id(move |_| async move { Ok(id.to_owned()) });
            let front = Front::default().app("express", &express).axum(layer);
            let (theirs, resent) = record(&site, &front, "express", kept).await;
            let (ours, resent_by_us) = record(&site, &front, "axum", kept).await;
            assert_eq!(ours, theirs, "{options} {id}");
            // A cookie that does not end needs not be sent again, and express does not.
            assert!(
                resent.is_empty() || resent == resent_by_us,
                "{options} {id}: {resent:?} {resent_by_us:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_prolongs_the_stored_session_and_does_nothing_else() {
    let Pair { site, front, node: _node, .. } = EXPRESS.beside_axum(json!({ "keys": KEYS })).await;
    let mut visitor = front.visitor();
    let _ = visitor.get(&set("express", &json!({ "user": "ada" }))).await.expect_status(200);
    let raw = site.raw("sess:");
    for app in ["express", "axum"] {
        site.expire_soon("sess:");
        site.writes();
        let since = Instant::now();
        let answer = visitor.get(&format!("/{app}")).await.expect_status(200);
        assert_eq!(data(&answer), json!({ "user": "ada" }));
        assert_eq!((answer.set_cookies(), site.writes()), (vec![], 0), "{app}");
        assert!(site.lives("sess:", DAY, since), "{app}");
        assert_eq!(site.raw("sess:"), raw, "{app}");
    }
    assert_eq!(visitor.get("/axum").await.header("cache-control"), "", "nothing was sent that is private");
}

#[tokio::test(flavor = "multi_thread")]
async fn rolling_and_disable_touch_mean_the_same() {
    let site = Site::start().await;
    let hour = CookieOptions::new().secure(false).same_site(None).max_age(Duration::from_secs(3600));
    let layer = SessionLayer::express(site.store.clone(), &KEYS).cookie(hour);
    let cases = [
        (json!({ "rolling": true }), json!({}), Rolling::EveryRequest, 3600, 1),
        (json!({}), json!({ "disableTouch": true }), Rolling::Off, 100, 0),
    ];
    for (mut options, store, rolling, ttl, cookies) in cases {
        options["cookie"] = json!({ "maxAge": 3_600_000 });
        let express = site.app("express", json!({ "keys": KEYS, "options": options, "store": store })).await;
        let front = Front::default().app("express", &express).axum(layer.clone().rolling(rolling));
        let mut visitor = front.visitor();
        let _ = visitor.get(&set("express", &json!({ "user": "ada" }))).await.expect_status(200);
        let mut lines = Vec::new();
        for app in ["express", "axum"] {
            let since = Instant::now();
            site.expire_soon("sess:");
            site.writes();
            let answer = visitor.get(&format!("/{app}")).await.expect_status(200);
            assert_eq!(site.writes(), 0, "{app} {options} {store}");
            assert!(site.lives("sess:", ttl, since), "{app} {options} {store}");
            lines.push(answer.set_cookies().iter().map(|line| undated(line)).collect::<Vec<_>>());
        }
        assert_eq!(lines[0], lines[1], "{options} {store}");
        assert_eq!(lines[0].len(), cookies, "{options} {store}");
        let _ = visitor.get("/express?destroy=1").await.expect_status(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn save_uninitialized_is_allow_empty() {
    let site = Site::start().await;
    let express =
        site.app("express", json!({ "keys": KEYS, "options": { "saveUninitialized": true } })).await;
    let layer = SessionLayer::express(site.store.clone(), &KEYS).allow_empty(true);
    let front = Front::default().app("express", &express).axum(layer);
    for app in ["express", "axum"] {
        let mut visitor = front.visitor();
        assert_eq!(visitor.get(&format!("/{app}")).await.set_cookies().len(), 1, "{app}");
        let raw = r#"{"cookie":{"originalMaxAge":null,"expires":null,"httpOnly":true,"path":"/"}}"#;
        assert_eq!(site.raw("sess:"), raw, "{app}");
        let _ = visitor.get("/express?destroy=1").await.expect_status(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_signature_is_no_session_on_either_side() {
    let Pair { site, front, node: _node, .. } = EXPRESS.beside_axum(json!({ "keys": KEYS })).await;
    let mut visitor = front.visitor();
    let _ = visitor.get(&set("express", &json!({ "user": "ada" }))).await.expect_status(200);
    let good = visitor.cookie("connect.sid").expect("a cookie").to_owned();
    let (id, signature) = good.split_once('.').expect("a signature");
    let plain = id.trim_start_matches("s%3A");
    for forged in [
        plain.to_owned(),
        id.to_owned(),
        format!("{id}."),
        format!("{plain}.{signature}"),
        format!("{good}A"),
    ] {
        for app in ["express", "axum"] {
            let mut thief = front.visitor();
            thief.set_cookie("connect.sid", &forged);
            assert_eq!(data(&thief.get(&format!("/{app}")).await), json!({}), "{app}");
        }
    }
    assert_eq!(site.keys().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn how_long_a_visitor_is_remembered_travels_with_the_session() {
    let Pair { site, front, node: _node, .. } = EXPRESS.beside_axum(json!({ "keys": KEYS })).await;
    for (writer, other) in [("express", "axum"), ("axum", "express")] {
        let mut visitor = front.visitor();
        let request = format!("{}&age=2592000000", set(writer, &json!({ "user": "ada" })));
        let since = Instant::now();
        let made = visitor.get(&request).await.expect_status(200).set_cookies();
        assert!(site.lives("sess:", 30 * DAY, since), "{writer}");
        // A write of the other side keeps it, and begins it anew; so does a read, in the store.
        let raw = as_given(&undated(&site.raw("sess:")));
        let since = Instant::now();
        let changed = visitor.get(&set(other, &json!({ "n": 1 }))).await.expect_status(200).set_cookies();
        assert!(site.lives("sess:", 30 * DAY, since), "{other}");
        let now = as_given(&undated(&site.raw("sess:")));
        assert_eq!(now, raw.replace("\"ada\"", "\"ada\",\"n\":1"), "{other}");
        assert_eq!(undated(&made[0]), undated(&changed[0]), "{other}");
        for app in ["express", "axum"] {
            site.expire_soon("sess:");
            let since = Instant::now();
            let _ = visitor.get(&format!("/{app}")).await.expect_status(200);
            assert!(site.lives("sess:", 30 * DAY, since), "{app}");
        }
        // And back to a cookie that lasts until the browser is closed.
        let since = Instant::now();
        let _ = visitor.get(&format!("/{writer}?age=null&set=%7B%22n%22:2%7D")).await.expect_status(200);
        assert!(site.lives("sess:", DAY, since), "{writer}");
        assert!(site.raw("sess:").contains(r#""originalMaxAge":null,"expires":null"#), "{writer}");
        let _ = visitor.get("/express?destroy=1").await.expect_status(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fixed_end_is_refused_in_words() {
    let Pair { site: _site, front, node: _node, .. } = EXPRESS.beside_axum(json!({ "keys": KEYS })).await;
    let answer = front.visitor().get("/axum?until=99999999999999&set=%7B%22n%22:1%7D").await;
    assert_eq!(answer.status, 500);
}

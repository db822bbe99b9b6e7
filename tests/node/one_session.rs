//! koa, express and axum on one cookie and one record: express as it is, axum with [`SessionLayer::express`], koa with
//! the options of `examples/node-migration/one-session.js`.

use std::time::Instant;

use axum::{Router, routing::get};
use axum_generic_session::{Error, Map, Session, SessionLayer, testing::Client};
use serde_json::json;

use crate::{
    pair::DAY,
    servers::node::Node,
    site::{Front, Site, data, set, undated},
};

const APPS: [&str; 3] = ["koa", "express", "axum"];

/// All three, with these keys each.
async fn three(site: &Site, keys: [&[&str]; 3]) -> (Front, [Node; 2]) {
    let koa = site.app("koa", json!({ "keys": keys[0], "one": true })).await;
    let express = site.app("express", json!({ "keys": keys[1] })).await;
    let layer = SessionLayer::express(site.store.clone(), keys[2]);
    let front = Front::default().app("koa", &koa).app("express", &express).axum(layer);
    (front, [koa, express])
}

/// Login in koa, cart in express, theme in axum.
async fn sign_in(visitor: &mut Client) {
    let _ = visitor.get("/koa?regenerate=1&set=%7B%22user%22:%22ada%22%7D").await.expect_status(200);
    let _ = visitor.get(&set("express", &json!({ "cart": ["tea"] }))).await.expect_status(200);
    let _ = visitor.get(&set("axum", &json!({ "theme": "dark" }))).await.expect_status(200);
}

async fn is_signed_in(visitor: &mut Client, why: &str) {
    for app in APPS {
        let seen = data(&visitor.get(&format!("/{app}")).await);
        assert_eq!(seen, json!({ "user": "ada", "cart": ["tea"], "theme": "dark" }), "{app}: {why}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_goes_round_all_three_through_a_rotation_of_the_keys() {
    let site = Site::start().await;
    let (old, both, swapped, new): (&[_], &[_], &[_], &[_]) =
        (&["old"], &["old", "new"], &["new", "old"], &["new"]);
    let (front, nodes) = three(&site, [old, old, old]).await;
    let mut visitor = front.visitor();
    sign_in(&mut visitor).await;
    is_signed_in(&mut visitor, "one session").await;
    let key = site.key("sess:");
    drop(nodes);
    // First every application learns the new key, then every one signs with it, then every one forgets the old;
    // in each of these one after the other.
    let steps = [
        [both, old, old],
        [both, both, old],
        [both, both, both],
        [swapped, both, both],
        [swapped, swapped, both],
        [swapped, swapped, swapped],
        [new, swapped, swapped],
        [new, new, new],
    ];
    for keys in steps {
        let (front, _nodes) = three(&site, keys).await;
        visitor = front.take_over(&visitor);
        is_signed_in(&mut visitor, &format!("{keys:?}")).await;
    }
    assert_eq!(site.key("sess:"), key, "the same session all the way");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_anywhere_is_a_logout_everywhere() {
    let site = Site::start().await;
    let (front, _nodes) = three(&site, [&["key"]; 3]).await;
    for out in APPS {
        let mut visitor = front.visitor();
        sign_in(&mut visitor).await;
        let mut thief = visitor.clone();
        let _ = visitor.get(&format!("/{out}?destroy=1")).await.expect_status(200);
        assert_eq!(site.keys(), [""; 0], "{out}");
        for visitor in [&mut visitor, &mut thief] {
            for app in APPS {
                assert_eq!(data(&visitor.get(&format!("/{app}")).await), json!({}), "{app} after {out}");
            }
        }
        assert_eq!(site.keys(), [""; 0], "{out}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn koa_writes_what_express_would() {
    let site = Site::start().await;
    let (front, _nodes) = three(&site, [&["key"]; 3]).await;
    for age in ["", "&age=2592000000"] {
        let mut seen = Vec::new();
        for app in APPS {
            let mut visitor = front.visitor();
            let since = Instant::now();
            let made = visitor.get(&format!("/{app}?set=%7B%22n%22:1%7D{age}")).await.expect_status(200);
            let cookie = made.set_cookies().iter().map(|l| undated(l)).collect::<Vec<_>>();
            let id = made.json()["id"].as_str().expect("an id").to_owned();
            // The id and its signature are the visitor's own.
            let attributes: Vec<_> =
                cookie.iter().map(|l| l.split_once("; ").map(|p| p.1.to_owned())).collect();
            assert_eq!(site.key("sess:"), format!("sess:{id}"));
            seen.push((attributes, undated(&site.raw("sess:"))));
            assert!(site.lives("sess:", if age.is_empty() { DAY } else { 30 * DAY }, since), "{app} {age}");
            let _ = visitor.get(&format!("/{app}?destroy=1")).await.expect_status(200);
        }
        assert_eq!(seen[0], seen[1], "koa {age}");
        assert_eq!(seen[2], seen[1], "axum {age}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_reads_it_does_not_write() {
    let site = Site::start().await;
    let (front, _nodes) = three(&site, [&["key"]; 3]).await;
    let mut visitor = front.visitor();
    sign_in(&mut visitor).await;
    let raw = site.raw("sess:");
    site.writes();
    for _ in 0..2 {
        is_signed_in(&mut visitor, "read").await;
    }
    assert_eq!((site.writes(), site.raw("sess:")), (0, raw));
}

#[tokio::test(flavor = "multi_thread")]
async fn visitors_with_koas_own_cookie_move_in() {
    let site = Site::start().await;
    let before = site.app("koa", json!({ "keys": ["key"] })).await;
    let express = site.app("express", json!({ "keys": ["key"] })).await;
    let front = Front::default().app("koa", &before).app("express", &express);
    let mut visitor = front.visitor();
    // As it was: two applications, two cookies, two sessions.
    let _ = visitor.get(&set("koa", &json!({ "user": "ada", "n": 1 }))).await.expect_status(200);
    let _ = visitor.get(&set("express", &json!({ "cart": ["tea"], "n": 2 }))).await.expect_status(200);
    assert_eq!(site.keys().len(), 2);
    drop(before);

    let koa = site.app("koa", json!({ "keys": ["key"], "one": true, "moveIn": true })).await;
    let layer = SessionLayer::express(site.store.clone(), &["key"]);
    let front = Front::default().app("koa", &koa).app("express", &express).axum(layer);
    let mut visitor = front.take_over(&visitor);
    let mut late = visitor.clone();
    let all = json!({ "user": "ada", "cart": ["tea"], "n": 1 });
    for app in APPS {
        assert_eq!(data(&visitor.get(&format!("/{app}")).await), all, "{app}");
    }
    assert_eq!((visitor.cookie("koa.sid"), visitor.cookie("koa.sid.sig")), (None, None));
    // A request that was sent with the old cookies comes after the move.
    assert_eq!(data(&late.get("/koa").await), all);
    assert!(site.lives("sess:", DAY, Instant::now() - std::time::Duration::from_secs(60)));

    let mut thief = front.visitor();
    thief.set_cookie("koa.sid", &site.key("sess:")["sess:".len()..]);
    let _ = visitor.get("/axum?destroy=1").await.expect_status(200);
    for app in APPS {
        for visitor in [&mut visitor, &mut late, &mut thief] {
            assert_eq!(data(&visitor.get(&format!("/{app}")).await), json!({}), "{app}");
        }
    }
    assert_eq!(site.keys(), [""; 0]);
}

/// The sessions of express, where axum carries both as they are.
enum Shop {}

#[tokio::test(flavor = "multi_thread")]
async fn or_axum_carries_the_sessions_of_both() {
    async fn both(koa: Session, express: Session<Map, Shop>) -> Result<String, Error> {
        Ok(format!("{:?} {:?}", koa.get().await?.get("user"), express.get().await?.get("cart")))
    }
    async fn logout(koa: Session, express: Session<Map, Shop>) -> Result<(), Error> {
        koa.destroy()?;
        express.destroy()
    }
    let site = Site::start().await;
    let koa = site.app("koa", json!({ "keys": ["key"] })).await;
    let express = site.app("express", json!({ "keys": ["key"] })).await;
    let app = Router::new()
        .route("/both", get(both))
        .route("/logout", get(logout))
        .layer(SessionLayer::koa(site.store.clone(), &["key"]))
        .layer(SessionLayer::express(site.store.clone(), &["key"]).kind::<Shop>());
    let mut visitor = Front::default().app("koa", &koa).app("express", &express).routes(app).visitor();
    let _ = visitor.get(&set("koa", &json!({ "user": "ada" }))).await.expect_status(200);
    let _ = visitor.get(&set("express", &json!({ "cart": 1 }))).await.expect_status(200);
    assert_eq!(visitor.get("/both").await.text(), r#"Some(String("ada")) Some(Number(1))"#);
    let _ = visitor.get("/logout").await.expect_status(200);
    assert_eq!(site.keys(), [""; 0]);
    assert_eq!(visitor.cookie_header("/"), None);
}

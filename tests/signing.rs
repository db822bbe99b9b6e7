//! Signed cookies: who verifies, what is refused before any store call, and how keys are changed.
#![cfg(all(feature = "memory-store", feature = "testing"))]

mod figures;
mod site;

use axum::{body::Body, http::Request, http::header::COOKIE as COOKIE_HEADER};
use axum_generic_session::{CookieOptions, Key, SessionLayer, store::ThreeMethodStore, testing::Client};
use figures::{Figure, size};
use serde_json::json;
use site::{COOKIE, Cache, Probe, Site};
use std::time::Duration;

fn key(n: u8) -> Key {
    Key::from(&[n; 64])
}

fn signed(keys: &[Key]) -> Site {
    Site::with(|layer| layer.keys(keys))
}

/// The same site after a deploy with other keys.
fn deploy(site: &Site, keys: &[Key], visitor: &Client) -> Client {
    let mut next = Client::new(site.under(site.layer.clone().keys(keys))).clock(site.clock.clone());
    next.set_cookie(COOKIE, visitor.cookie(COOKIE).unwrap());
    next
}

/// What the session of a raw `Cookie` header holds, if the layer takes the header for somebody's.
async fn read(visitor: &mut Client, header: &[u8]) -> serde_json::Value {
    visitor.clear_cookies();
    let request = Request::get("/read").header(COOKIE_HEADER, header).body(Body::empty());
    let answer = visitor.send(request).await.expect_status(200);
    assert!(answer.set_cookies().is_empty(), "reading sets no cookie, whatever was sent");
    answer.json()
}

#[tokio::test]
async fn a_signed_cookie_carries_its_signature_in_front_of_the_id() {
    let site = signed(&[key(1)]);
    let mut visitor = site.known("alice").await;
    let cookie = visitor.cookie(COOKIE).unwrap().to_owned();
    assert_eq!(cookie.len(), 44 + 32);
    assert_eq!(visitor.get("/read").await.json(), json!({"user": "alice"}));
    assert_eq!(visitor.get("/id").await.text(), cookie[44..]);
    assert!(site.data(&cookie[44..]).await.is_some(), "the store key is made of the id alone");
}

#[tokio::test]
async fn keys_are_changed_without_logging_anybody_out() {
    let site = signed(&[key(1)]);
    let old = site.known("alice").await;
    let mut both = deploy(&site, &[key(2), key(1)], &old);
    let answer = both.get("/read").await;
    assert_eq!(answer.json(), json!({"user": "alice"}));
    assert_eq!(answer.set_cookies().len(), 1, "an old key's cookie is sent anew");
    let moved = both.cookie(COOKIE).unwrap().to_owned();
    assert_ne!(Some(&*moved), old.cookie(COOKIE));
    assert_eq!(moved[44..], old.cookie(COOKIE).unwrap()[44..], "the same session");
    assert!(both.get("/read").await.set_cookies().is_empty(), "once");
    let calls = site.store.take_calls();
    assert_eq!((calls.get, calls.total()), (2, 2), "which costs no write");

    let mut new = deploy(&site, &[key(2)], &both);
    assert_eq!(new.get("/read").await.json(), json!({"user": "alice"}));
    let mut late = deploy(&site, &[key(2)], &old);
    assert_eq!(late.get("/read").await.json(), json!({}));
    assert_eq!(
        site.store.take_calls().total(),
        1,
        "a key that is gone verifies nothing, and costs no store call"
    );
}

#[tokio::test]
async fn every_listed_key_verifies_and_the_first_signs() {
    let keys: Vec<_> = (1..=5).map(key).collect();
    for n in 1..=5 {
        let site = signed(&[key(n)]);
        let before = site.known("alice").await;
        let mut visitor = deploy(&site, &keys, &before);
        assert_eq!(visitor.get("/read").await.json(), json!({"user": "alice"}), "key {n}");
        assert_eq!(visitor.cookie(COOKIE) == before.cookie(COOKIE), n == 1, "key {n}");
    }
}

#[tokio::test]
async fn a_resent_cookie_promises_no_more_than_is_left() {
    let site = Site::with(|layer| layer.keys([&key(1)]).ttl(Duration::from_secs(100)));
    let old = site.known("alice").await;
    site.clock.advance(Duration::from_secs(70));
    let mut both = deploy(&site, &[key(2), key(1)], &old);
    let line = both.get("/read").await.set_cookies().remove(0);
    assert!(line.contains("; Max-Age=30; "), "{line}");
}

#[tokio::test]
async fn a_resent_cookie_of_a_store_that_does_not_tell_the_end_has_the_usual_one() {
    let site = Site::new();
    let cache = Cache::new(site.clock.clone());
    let layer = |keys: &[&str]| {
        SessionLayer::koa(ThreeMethodStore::new(cache.clone()).clock(site.clock.clone()), keys)
            .clock(site.clock.clone())
            .ttl(Duration::from_secs(60))
            .cookie(CookieOptions::new().secure(false).max_age(Duration::from_secs(60)))
    };
    let mut old = Client::new(site.under(layer(&["one"]))).clock(site.clock.clone());
    let _ = old.get("/set/user/alice").await.expect_status(200);
    let mut both = Client::new(site.under(layer(&["two", "one"]))).clock(site.clock.clone());
    for name in ["koa.sid", "koa.sid.sig"] {
        both.set_cookie(name, old.cookie(name).unwrap());
    }
    let lines = both.get("/read").await.set_cookies();
    assert_eq!(lines.len(), 2);
    assert!(lines.iter().all(|line| line.contains("expires=Tue, 14 Nov 2023 22:14:20 GMT")), "{lines:?}");
}

/// B13. Many forged cookies go in one request, before a good one of somebody else: each is looked at, and none is taken.
#[tokio::test]
async fn no_single_byte_of_a_cookie_can_be_changed() {
    const AT_ONCE: usize = 120;
    let figure = Figure::of("B13", "memory");
    let site = signed(&[key(2), key(1)]);
    let other = Site::with(|layer| layer.keys([&key(1)]));
    let bob = site.known("bob").await;
    let good = format!("{COOKIE}={}", bob.cookie(COOKIE).unwrap());
    let mut visitor = site.visitor();
    // All bytes that may stand in a header: `http` refuses the others.
    let bytes: Vec<u8> = (0..=0xff).filter(|b| *b == b'\t' || (*b >= 0x20 && *b != 0x7f)).collect();
    let (cookies, mut forgeries) = (size(100, 1000), 0);
    for round in 0..cookies {
        let owner = if round % 2 == 0 { site.known("alice").await } else { other.known("alice").await };
        let cookie = owner.cookie(COOKIE).unwrap().as_bytes().to_vec();
        let _ = site.store.take_calls();
        let mut requests = 0;
        for at in 0..cookie.len() {
            for some in bytes.chunks(AT_ONCE) {
                let mut header = Vec::with_capacity(AT_ONCE * (cookie.len() + 12));
                for byte in some.iter().filter(|byte| **byte != cookie[at]) {
                    header.extend(COOKIE.as_bytes());
                    header.push(b'=');
                    header.extend(&cookie[..at]);
                    header.push(*byte);
                    header.extend(&cookie[at + 1..]);
                    header.extend(b"; ");
                    forgeries += 1;
                }
                header.extend(good.as_bytes());
                requests += 1;
                assert_eq!(read(&mut visitor, &header).await, json!({"user": "bob"}), "byte {at}, {some:?}");
            }
        }
        assert_eq!(site.store.take_calls().total(), requests, "bob is looked up, and nobody else");
    }
    figure.count("cookies", cookies).count("forgeries", forgeries).count("accepted", 0).report();
}

#[tokio::test]
async fn nothing_weaker_than_a_signature_is_taken() {
    let site = signed(&[key(1)]);
    let owner = site.known("alice").await;
    let cookie = owner.cookie(COOKIE).unwrap().to_owned();
    let (signature, id) = cookie.split_at(44);
    let stranger = signed(&[key(9)]).known("alice").await;
    let mut visitor = site.visitor();
    let mut forged = vec![
        id.to_owned(),
        format!("{}{id}", "A".repeat(44)),
        format!("{}={id}", "A".repeat(43)),
        format!("{signature}{signature}{id}"),
        format!("{signature}{id}{id}"),
        format!("{id}{signature}"),
        format!("s:{id}.{signature}"),
        signature.to_owned(),
        stranger.cookie(COOKIE).unwrap().to_owned(),
        cookie.to_uppercase(),
    ];
    forged.extend((0..cookie.len()).map(|end| cookie[..end].to_owned()));
    for value in forged {
        assert_eq!(read(&mut visitor, format!("{COOKIE}={value}").as_bytes()).await, json!({}), "{value}");
    }
    assert_eq!(site.store.take_calls().total(), 0);
    for value in [format!("\"{cookie}\""), cookie.replace('=', "%3D").replace('+', "%2B").replace('/', "%2f")]
    {
        let read = read(&mut visitor, format!("{COOKIE}={value}").as_bytes()).await;
        assert_eq!(read, json!({"user": "alice"}), "quoted or escaped, as other software writes it: {value}");
    }
}

#[tokio::test]
async fn of_several_cookies_of_the_name_the_first_with_a_good_signature_counts() {
    let site = signed(&[key(1)]);
    let owner = site.known("alice").await;
    let mut visitor = site.visitor();
    let header = format!("{COOKIE}=planted; other=1; {COOKIE}={}; {COOKIE}=x", owner.cookie(COOKIE).unwrap());
    assert_eq!(read(&mut visitor, header.as_bytes()).await, json!({"user": "alice"}));
}

#[tokio::test]
async fn the_signatures_of_the_node_libraries_are_as_strict() {
    for preset in ["koa", "express"] {
        let site = Site::new();
        let store = site.store.clone();
        let layer = if preset == "koa" {
            SessionLayer::koa(store, &["new", "old"])
        } else {
            SessionLayer::express(store, &["new", "old"])
        };
        let app = site.under(layer);
        let mut owner = Client::new(app.clone());
        let _ = owner.get("/set/user/alice").await.expect_status(200);
        let header = owner.cookie_header("/").unwrap();
        let mut visitor = Client::new(app);
        assert_eq!(read(&mut visitor, header.as_bytes()).await, json!({"user": "alice"}));
        let _ = site.store.take_calls();
        for at in 0..header.len() {
            let mut forged = header.clone().into_bytes();
            forged[at] = if forged[at] == b'x' { b'y' } else { b'x' };
            assert_eq!(read(&mut visitor, &forged).await, json!({}), "{preset}: byte {at} of {header}");
        }
        assert_eq!(site.store.take_calls().total(), 0, "{preset}");
    }
}

#[tokio::test]
async fn a_cookie_that_is_sent_again_is_signed_as_it_was_at_first() {
    fn native(store: Probe) -> SessionLayer {
        SessionLayer::new(store).keys([&key(1), &key(2)])
    }
    type Layer = fn(Probe) -> SessionLayer;
    let layers: [(&str, Layer); 4] = [
        ("native", native),
        ("an id with a sign of its own", |store| native(store).gen_id(|_| async { Ok("100%".to_owned()) })),
        ("koa", |store| SessionLayer::koa(store, &["new", "old"])),
        ("express", |store| SessionLayer::express(store, &["new", "old"])),
    ];
    for (what, layer) in layers {
        let site = Site::new();
        let app = site.under(layer(site.store.clone()));
        let mut owner = Client::new(app.clone());
        let first = owner.get("/set/user/alice").await.expect_status(200);
        // The pairs of name and value, however long they last.
        let pairs = |cookies: Vec<String>| -> Vec<String> {
            cookies.iter().filter_map(|line| Some(line.split_once(';')?.0.to_owned())).collect()
        };
        let pairs_at_first = pairs(first.set_cookies());
        let header = pairs_at_first.join("; ");
        let (names, quoted): (Vec<_>, Vec<_>) = pairs_at_first
            .iter()
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (format!("{name}=planted"), format!("{name}=\"{value}\"")))
            .unzip();
        let planted = format!("{}; {header}; {}", names.join("; "), names.join("; "));
        for (name, header) in ["bob", "carol", "dave"].into_iter().zip([header, quoted.join("; "), planted]) {
            let mut visitor = Client::new(app.clone());
            let request =
                Request::get(format!("/set/user/{name}")).header(COOKIE_HEADER, &header).body(Body::empty());
            let answer = visitor.send(request).await.expect_status(200);
            assert_eq!(pairs(answer.set_cookies()), pairs_at_first, "{what}: {header}");
        }
        assert_eq!(owner.get("/read").await.json(), json!({"user": "dave"}), "{what}");
    }
    // What was escaped on the way is sent as it is written here.
    let site = signed(&[key(1)]);
    let owner = site.known("alice").await;
    let cookie = owner.cookie(COOKIE).unwrap();
    let escaped: String = cookie.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let mut visitor = site.visitor();
    let header = format!("{COOKIE}={escaped}");
    let request = Request::get("/set/user/bob").header(COOKIE_HEADER, header).body(Body::empty());
    let _ = visitor.send(request).await.expect_status(200);
    assert_eq!(visitor.cookie(COOKIE), Some(cookie));
}

#[tokio::test]
async fn an_id_of_the_applications_own_may_hold_any_character_that_a_cookie_may() {
    for id in ["100%", "%41%2", "a=b", "!#$&'()*+-./:<=>?@[]^_`{|}~"] {
        let site =
            Site::with(|layer| layer.keys([&key(1)]).gen_id(move |_| async move { Ok(id.to_owned()) }));
        let mut visitor = site.known("alice").await;
        assert_eq!(visitor.get("/read").await.json(), json!({"user": "alice"}), "{id}");
        assert_eq!(visitor.get("/id").await.text(), id);
    }
}

#[tokio::test]
async fn a_session_that_is_prolonged_in_silence_gets_a_cookie_only_for_a_new_key() {
    let site = Site::new();
    let node = |secrets: &[&str]| site.under(SessionLayer::express(site.store.clone(), secrets));
    let mut visitor = Client::new(node(&["old"]));
    let first = visitor.get("/set/user/alice").await.expect_status(200).set_cookies();
    assert_eq!(visitor.get("/read").await.expect_status(200).set_cookies(), [""; 0]);
    let mut moved = Client::new(node(&["new", "old"]));
    moved.set_cookie("connect.sid", visitor.cookie("connect.sid").unwrap());
    let again = moved.get("/read").await.expect_status(200).set_cookies();
    let [before, after] = [&first, &again].map(|lines| lines[0].split_once('.').unwrap());
    assert_eq!((again.len(), after.0), (1, before.0), "the same id");
    assert_ne!(after.1, before.1, "under another signature");
    assert_eq!(moved.get("/read").await.expect_status(200).set_cookies(), [""; 0]);
    assert_eq!(site.store.calls().touch, 3, "each request has prolonged it");
}

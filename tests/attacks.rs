//! What attackers send: ids of their choice, replays, floods of cookies; and what went wrong elsewhere, by advisory.
#![cfg(all(feature = "memory-store", feature = "testing"))]

mod figures;
mod site;

use axum::{body::Body, extract::Request, http::header, routing::get};
use axum_generic_session::{
    Error, Key, Map, Rolling, Session, SessionId, Store,
    store::{Record, Tag, When},
    testing::{Answer, Client},
};
use figures::{Figure, size};
use serde_json::json;
use site::{COOKIE, Site};
use std::time::{Duration, Instant};

/// Sends a raw `Cookie` header.
async fn send(visitor: &mut Client, path: &str, cookie: &[u8]) -> Answer {
    visitor.clear_cookies();
    visitor.send(Request::get(path).header(header::COOKIE, cookie).body(Body::empty())).await
}

/// Ids as an attacker makes them up: of the right form, of other forms, of other sites.
fn made_up(n: u64) -> String {
    let random = SessionId::random();
    match n % 6 {
        0 | 1 => random.expose().to_owned(),
        2 => format!("{n}"),
        3 => format!("{}{}", random.expose(), "A".repeat((n % 224) as usize)),
        4 => format!("s:{}.{}", random.expose(), random.expose()),
        _ => format!("../{}'or'1'='1", random.expose()),
    }
}

/// B12.
#[tokio::test]
async fn unknown_ids_are_looked_up_once_each_and_never_adopted() {
    let figure = Figure::of("B12", "memory");
    let ids = size(10_000, 1_000_000);
    let site = Site::new();
    let mut visitor = site.visitor();
    let mut adopted = 0;
    for n in 0..ids {
        let id = made_up(n as u64);
        let cookie = format!("{COOKIE}={id}");
        if n % 10 > 0 {
            let answer = send(&mut visitor, "/read", cookie.as_bytes()).await.expect_status(200);
            assert_eq!(
                (answer.json(), answer.set_cookies().len()),
                (json!({}), 0),
                "the cookie is left alone: {id}"
            );
            continue;
        }
        let answer = send(&mut visitor, "/set/user/mallory", cookie.as_bytes()).await.expect_status(200);
        assert_eq!(answer.set_cookies().len(), 1);
        let taken = visitor.cookie(COOKIE) == Some(&*id) || site.record(&id).await.is_some();
        adopted += usize::from(taken);
        let _ = visitor.get("/logout").await;
    }
    figure.count("ids", ids).count("adopted", adopted).report();
    assert_eq!(adopted, 0);
    let calls = site.store.calls();
    assert_eq!((calls.set, site.store.inner().len()), (ids / 10, 0));
    assert_eq!(calls.get, ids + ids / 10, "the logouts read too");
}

/// B12: those that were good once, and those that are somebody's but not signed.
#[tokio::test]
async fn expired_and_forged_ids_are_never_adopted() {
    let ids = size(2_000, 20_000);
    let key = Key::from(&[1; 64]);
    for signed in [false, true] {
        let figure = Figure::of(if signed { "B12 forged" } else { "B12 expired" }, "memory");
        let site = Site::with(|layer| {
            let layer = layer.ttl(Duration::from_secs(60));
            if signed { layer.keys([&key]) } else { layer }
        });
        let mut adopted = 0;
        for n in 0..ids {
            let owner = site.known("alice").await;
            let mut id = owner.cookie(COOKIE).unwrap().to_owned();
            if signed {
                // The signature of one's own session before the id of somebody else's.
                let mine = site.known("mallory").await.cookie(COOKIE).unwrap().to_owned();
                let (signature, _) = mine.split_at(mine.len() - 32);
                id = format!("{signature}{}", &id[id.len() - 32..]);
            } else {
                site.clock.advance(Duration::from_secs(60 + n as u64 % 3));
            }
            let mut visitor = site.visitor();
            let cookie = format!("{COOKIE}={id}");
            let answer = send(&mut visitor, "/read", cookie.as_bytes()).await.expect_status(200);
            let seen = answer.json() != json!({});
            let _ = send(&mut visitor, "/set/user/mallory", cookie.as_bytes()).await.expect_status(200);
            adopted += usize::from(seen || visitor.cookie(COOKIE) == Some(&*id));
        }
        figure.count("ids", ids).count("adopted", adopted).report();
        assert_eq!(adopted, 0);
    }
}

/// The memory that this process holds, in bytes, where the system tells it.
fn resident() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<usize>().ok()? * 1024)
}

/// B24. A flood of cookies that are nobody's leaves nothing behind.
#[tokio::test]
async fn a_flood_of_bad_cookies_writes_nothing_and_keeps_nothing() {
    const RATE: usize = 10_000;
    let figure = Figure::of("B24", "memory");
    let seconds = size(3, 60);
    let (length, enough) = (Duration::from_secs(seconds as u64), seconds * RATE);
    let sites = [Site::new(), Site::with(|layer| layer.keys([&Key::from(&[1; 64])]))];
    let mut visitors = [sites[0].visitor(), sites[1].visitor()];
    let bomb = format!("{COOKIE}={}", "A".repeat(15_000));
    let many = format!("{COOKIE}=x y; ").repeat(150);
    let (mut sent, mut failed, mut before) = (0, 0, None);
    let start = Instant::now();
    while sent < enough {
        let made_up = format!("{COOKIE}={}", made_up(sent as u64));
        let cookie = match sent % 40 {
            0 => &bomb,
            1 => &many,
            _ => &made_up,
        };
        let answer =
            send(&mut visitors[sent % 2], ["/read", "/", "/remove/a"][sent % 3], cookie.as_bytes()).await;
        failed += usize::from(answer.status.is_server_error());
        assert_eq!(answer.set_cookies(), [""; 0]);
        sent += 1;
        if sent == 5000 {
            // What a process takes once is taken by now.
            before = resident();
        }
        // No faster than the bar says, and as long as a slow machine needs for the same number.
        let due = length.mul_f64(sent as f64 / enough as f64);
        if let Some(early) = due.checked_sub(start.elapsed()).filter(|_| sent % (RATE / 100) == 0) {
            tokio::time::sleep(early).await;
        }
    }
    let grown = before.zip(resident()).map(|(before, now)| now.saturating_sub(before));
    let calls = sites.each_ref().map(|site| site.store.calls());
    let writes = calls.iter().map(|calls| calls.total() - calls.get).sum::<usize>();
    let figure = figure.count("cookies", sent).count("writes", writes).count("answers_5xx", failed);
    match grown {
        Some(grown) => figure.count("kib_more", grown / 1024).report(),
        None => figure.report(),
    }
    assert_eq!((writes, failed, sites[0].store.inner().len(), calls[1].total()), (0, 0, 0, 0));
    assert!(grown.is_none_or(|grown| grown < 10 << 20), "{grown:?} bytes more than at the beginning");
}

#[tokio::test]
async fn where_ids_are_signed_made_up_ones_cost_no_store_call() {
    let site = Site::with(|layer| layer.keys([&Key::from(&[1; 64])]));
    let mut visitor = site.visitor();
    for n in 0..10_000 {
        let _ = send(&mut visitor, "/read", format!("{COOKIE}={}", made_up(n)).as_bytes())
            .await
            .expect_status(200);
    }
    assert_eq!(site.store.calls().total(), 0);
}

/// CVE-2015-5143, CVE-2015-5963: junk ids and logouts of nobody must not make rows.
#[tokio::test]
async fn nobodys_logout_writes_nothing() {
    let site = Site::with(|layer| layer.rolling(Rolling::EveryRequest));
    for cookie in ["", "axum.sid=unknown", "axum.sid=", "axum.sid", "=", ";;;"] {
        for path in ["/logout", "/regenerate", "/renew", "/read", "/remove/a", "/"] {
            let answer = send(&mut site.visitor(), path, cookie.as_bytes()).await.expect_status(200);
            // A logout takes away the cookie that the client has sent, whatever it was.
            let clears = cookie == "axum.sid=unknown" && matches!(path, "/logout" | "/regenerate");
            assert_eq!(answer.set_cookies().len(), usize::from(clears), "{cookie:?} {path}");
        }
    }
    let calls = site.store.calls();
    assert_eq!(calls.total(), calls.get, "reads at most");
}

/// CVE-2019-16782, CVE-2019-25025: what a dump of the store shows must open nothing.
#[tokio::test]
async fn a_stored_key_sent_as_a_cookie_finds_nothing() {
    let site = Site::new();
    let owner = site.known("alice").await;
    let key = site.key(owner.cookie(COOKIE).unwrap());
    let digest = key.as_str().strip_prefix("axum:sess:").unwrap();
    for stolen in [key.as_str(), digest, &key.handle()] {
        let answer = send(&mut site.visitor(), "/read", format!("{COOKIE}={stolen}").as_bytes()).await;
        assert_eq!(answer.expect_status(200).json(), json!({}), "{stolen}");
    }
}

/// CVE-2024-38513, CVE-2023-29019: an id planted before the login must open nothing after it.
#[tokio::test]
async fn a_planted_id_is_worth_nothing_after_the_login() {
    let site = Site::new();
    // The attacker's own guest session, planted in the victim's browser.
    let mut attacker = site.visitor();
    let _ = attacker.get("/set/cart/book").await;
    let planted = attacker.cookie(COOKIE).unwrap().to_owned();
    let mut victim = site.visitor();
    victim.set_cookie(COOKIE, &planted);
    let _ = victim.get("/login/alice").await.expect_status(200);
    assert_ne!(victim.cookie(COOKIE), Some(&*planted));
    assert_eq!(attacker.get("/read").await.json(), json!({}));
    assert_eq!(site.record(&planted).await, None);
    // An id that was never anybody's, planted.
    let mut victim = site.visitor();
    victim.set_cookie(COOKIE, "planted-and-unknown");
    let _ = victim.get("/login/alice").await.expect_status(200);
    let mut attacker = site.visitor();
    attacker.set_cookie(COOKIE, "planted-and-unknown");
    assert_eq!(attacker.get("/read").await.json(), json!({}));
}

/// CVE-2024-31999, CVE-2023-20862, CVE-2025-46336: a cookie from before opens nothing afterwards.
#[tokio::test]
async fn replayed_cookies_of_ended_sessions_open_nothing() {
    let site = Site::with(|layer| layer.ttl(Duration::from_secs(60)));
    for ending in ["/logout", "/renew", "/login/bob", "/regenerate", "wait"] {
        for _ in 0..100 {
            let mut owner = site.known("alice").await;
            let id = owner.cookie(COOKIE).unwrap().to_owned();
            if ending == "wait" {
                site.clock.advance(Duration::from_secs(60));
            } else {
                let _ = owner.get(ending).await.expect_status(200);
            }
            let mut replayer = site.visitor();
            for path in ["/read", "/set/a/1"] {
                let answer =
                    send(&mut replayer, path, format!("{COOKIE}={id}").as_bytes()).await.expect_status(200);
                assert!(!answer.text().contains("alice"), "{ending}");
            }
            assert_eq!(site.record(&id).await, None, "{ending}");
        }
    }
}

/// CVE-2023-20862: emptying a session is saved.
#[tokio::test]
async fn an_emptied_session_is_empty_in_the_store_too() {
    let site = Site::new().page("/clear", get(|s: Session| async move { s.clear().await }));
    let mut visitor = site.known("alice").await;
    let _ = visitor.get("/clear").await.expect_status(200);
    assert_eq!(site.data_of(&visitor).await.unwrap(), json!({}));
    assert_eq!(visitor.get("/read").await.json(), json!({}));
}

/// CVE-2024-35220: loading extends nothing, and an expired record is absent even if the store still has it.
#[tokio::test]
async fn an_expired_session_is_not_loaded_nor_extended() {
    let site = Site::with(|layer| layer.ttl(Duration::from_secs(60)).rolling(Rolling::EveryRequest));
    let owner = site.known("alice").await;
    let id = owner.cookie(COOKIE).unwrap();
    let end = site.record(id).await.unwrap().expires_at;
    site.clock.set(end);
    assert_eq!(site.store.inner().len(), 1, "it has not been swept");
    let answer =
        send(&mut site.visitor(), "/read", format!("{COOKIE}={id}").as_bytes()).await.expect_status(200);
    assert_eq!((answer.json(), answer.set_cookies().len()), (json!({}), 0));
    let calls = site.store.calls();
    assert_eq!((calls.get, calls.total()), (1, 1));
}

#[tokio::test]
async fn odd_cookie_headers_are_nobodys_and_never_an_error() {
    let site = Site::new();
    let owner = site.known("alice").await;
    let good = format!("{COOKIE}={}", owner.cookie(COOKIE).unwrap());
    let long = "x".repeat(64 * 1024);
    let many = |n: usize| (0..n).map(|n| format!("c{n}={n}; ")).collect::<String>();
    let nobody: [Vec<u8>; 14] = [
        format!("{COOKIE}={long}").into(),
        format!("{long}={long}").into(),
        format!("{COOKIE}={}", "x".repeat(257)).into(),
        format!("{COOKIE}=a b").into(),
        format!("{COOKIE}=a,b").into(),
        format!("{COOKIE}=\"").into(),
        format!("{COOKIE}=\"\"").into(),
        format!("{COOKIE}=a\\b").into(),
        format!("{COOKIE}=é").into(),
        [COOKIE.as_bytes(), b"=\xff\xfe\x80"].concat(),
        [b"\xff=\xff; ", COOKIE.as_bytes(), b"=\xc3\x28"].concat(),
        format!("{}={}", COOKIE.to_uppercase(), owner.cookie(COOKIE).unwrap()).into(),
        format!("x{good}").into(),
        format!("{}{good}", many(1000)).into(),
    ];
    for cookie in nobody {
        for path in ["/read", "/set/a/1", "/logout"] {
            let answer = send(&mut site.visitor(), path, &cookie).await.expect_status(200);
            assert!(!answer.text().contains("alice"));
        }
    }
    let somebody = [
        good.clone(),
        format!("{}{good}", many(150)),
        format!("{COOKIE}=; {good}"),
        format!("{COOKIE}=no good; {good}; {COOKIE}=late"),
        format!("a=b=c; {good};;"),
        format!("  {} ;x", good.replace('=', " = ")),
        good.replacen('=', "=\"", 1) + "\"",
    ];
    for cookie in somebody {
        let answer = send(&mut site.visitor(), "/read", cookie.as_bytes()).await.expect_status(200);
        assert_eq!(answer.json(), json!({"user": "alice"}), "{cookie}");
    }
    let request = Request::get("/read").header(header::COOKIE, "a=1").header(header::COOKIE, good);
    let answer = site.visitor().send(request.body(Body::empty())).await;
    assert_eq!(answer.json(), json!({"user": "alice"}), "HTTP/2 may split the header");
}

#[tokio::test]
async fn nul_and_line_breaks_never_reach_the_store_nor_a_header() {
    let site = Site::new();
    for id in ["a\0b", "a\r\nSet-Cookie: x=y", "a\nb", "\u{7f}"] {
        assert_eq!(SessionId::parse(id), None);
        let request =
            Request::get("/read").header(header::COOKIE, format!("{COOKIE}={id}")).body(Body::empty());
        assert!(request.is_err(), "http itself refuses it");
    }
    let mut visitor = site.visitor();
    let _ = visitor.get("/set/a/x%0D%0ASet-Cookie:%20evil=1%00").await.expect_status(200);
    assert_eq!(visitor.get("/read").await.json(), json!({"a": "x\r\nSet-Cookie: evil=1\0"}), "data are data");
}

/// `constructor`, `__proto__` and the like are keys as any other.
#[tokio::test]
async fn keys_with_a_meaning_elsewhere_have_none_here() {
    let site = Site::new();
    let mut visitor = site.visitor();
    for key in ["__proto__", "constructor", "v", "created", "cookie", "$where", "toString", "a.b", "*"] {
        let _ = visitor.get(&format!("/set/{key}/x")).await.expect_status(200);
    }
    assert_eq!(visitor.get("/read").await.json().as_object().unwrap().len(), 9);
}

/// A record that was copied under another key is that session's data and nothing more: no id is read from it.
#[tokio::test]
async fn a_record_says_nothing_about_whose_it_is() {
    let site = Site::new();
    let mut visitor = site.known("alice").await;
    let record = Record { tag: Tag::random(), ..site.record(visitor.cookie(COOKIE).unwrap()).await.unwrap() };
    let mut other = site.known("bob").await;
    let bobs = other.cookie(COOKIE).unwrap().to_owned();
    site.store.inner().set(&site.key(&bobs), &record, When::Present).await.unwrap();
    let _ = other.get("/set/a/1").await.expect_status(200);
    assert_eq!(other.cookie(COOKIE), Some(&*bobs));
    assert_eq!(visitor.get("/read").await.json(), json!({"user": "alice"}));
}

/// Data that some type does not fit are an error for those who ask for that type, and stay.
#[tokio::test]
async fn data_of_another_type_are_an_error_and_stay() {
    #[derive(Default, serde::Serialize, serde::Deserialize)]
    struct Odd {
        user: u64,
    }
    let site = Site::new()
        .page("/odd", get(|s: Session<Odd>| async move { s.get().await.map(|odd| odd.user.to_string()) }))
        .page("/odder", get(|s: Session<Odd>| async move { s.update(|odd| odd.user += 1).await }))
        .page(
            "/deep",
            get(|s: Session<Map>| async move {
                let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
                s.insert("deep", serde_json::value::RawValue::from_string(deep).unwrap()).await?;
                Ok::<_, Error>(())
            }),
        );
    let mut visitor = site.known("alice").await;
    for path in ["/odd", "/odder"] {
        let answer = visitor.get(path).await.expect_status(500);
        assert_eq!((answer.text().as_str(), answer.set_cookies().len()), ("", 0));
    }
    assert_eq!(site.data_of(&visitor).await.unwrap(), json!({"user": "alice"}));
    let status = visitor.get("/deep").await.status.as_u16();
    let again = visitor.get("/set/a/1").await.status.as_u16();
    assert_eq!((status, again), (200, 200), "an answer, not a crash");
    let _ = visitor.get("/read").await.expect_status(500);
}

//! How long sessions live, by a clock that is moved by hand: idle, absolute, rolling, "remember me", clock jumps.
#![cfg(all(feature = "memory-store", feature = "testing"))]

mod figures;
mod site;

use axum::routing::get;
use axum_generic_session::{
    Clock, CookieOptions, MaxAge, Rolling, Session, SessionLayer, Timestamp,
    store::{Store, ThreeMethodStore},
    testing::Client,
};
use figures::{Figure, size};
use serde_json::json;
use site::{COOKIE, Cache, Site, object};
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const MILLI: Duration = Duration::from_millis(1);

async fn is_alive(visitor: &mut Client) -> bool {
    visitor.get("/read").await.expect_status(200).json() != json!({})
}

/// How long the store still keeps the visitor's session.
async fn left(site: &Site, visitor: &Client) -> Duration {
    let record = site.record(visitor.cookie(COOKIE).unwrap()).await.unwrap();
    record.expires_at.saturating_since(site.clock.now())
}

fn max_age(line: &str) -> Option<u64> {
    line.split("; ").find_map(|part| part.strip_prefix("Max-Age=")?.parse().ok())
}

#[tokio::test]
async fn an_idle_session_ends_to_the_millisecond() {
    let site = Site::with(|layer| layer.ttl(30 * MINUTE));
    let mut visitor = site.known("alice").await;
    let id = visitor.cookie(COOKIE).unwrap().to_owned();
    site.clock.advance(30 * MINUTE - MILLI);
    assert!(is_alive(&mut visitor).await);
    site.clock.advance(MILLI);
    assert_eq!(visitor.cookie_header("/"), None, "the browser has forgotten it");
    visitor.set_cookie(COOKIE, &id);
    assert!(!is_alive(&mut visitor).await, "and so has the store");
}

#[tokio::test]
async fn saving_prolongs_and_reading_does_not() {
    let site = Site::with(|layer| layer.ttl(30 * MINUTE));
    let mut visitor = site.known("alice").await;
    for n in 0..5 {
        site.clock.advance(20 * MINUTE);
        let line = visitor.get(&format!("/set/n/{n}")).await.set_cookies().remove(0);
        assert_eq!(max_age(&line), Some(1800));
    }
    for _ in 0..2 {
        site.clock.advance(10 * MINUTE);
        assert!(is_alive(&mut visitor).await);
    }
    site.clock.advance(10 * MINUTE);
    assert!(!is_alive(&mut visitor).await);
}

#[tokio::test]
async fn rolling_with_every_request_prolongs_store_and_cookie_alike() {
    let site = Site::with(|layer| layer.ttl(30 * MINUTE).rolling(Rolling::EveryRequest));
    let mut visitor = site.known("alice").await;
    for path in ["/read", "/", "/untouched", "/read", "/"] {
        site.clock.advance(29 * MINUTE);
        let answer = visitor.get(path).await.expect_status(200);
        assert_eq!(max_age(&answer.set_cookies()[0]), Some(1800), "{path}");
        assert_eq!(left(&site, &visitor).await, 30 * MINUTE);
    }
    assert_eq!(site.store.calls().set, 0, "a prolonged session is not rewritten");
    assert_eq!(site.data_of(&visitor).await.unwrap(), json!({"user": "alice"}));
}

#[tokio::test]
async fn of_a_deferred_site_only_the_pages_that_use_the_session_prolong_it() {
    let site = Site::with(|layer| layer.defer(true).ttl(30 * MINUTE).rolling(Rolling::EveryRequest));
    let mut visitor = site.known("alice").await;
    site.clock.advance(20 * MINUTE);
    assert_eq!(visitor.get("/untouched").await.set_cookies(), [""; 0]);
    assert_eq!(left(&site, &visitor).await, 10 * MINUTE);
    let _ = visitor.get("/read").await;
    assert_eq!(left(&site, &visitor).await, 30 * MINUTE);
}

#[tokio::test]
async fn rolling_after_a_fraction_prolongs_once_in_a_while() {
    let site = Site::with(|layer| layer.ttl(100 * MINUTE).rolling(Rolling::After(0.25)));
    let mut visitor = site.known("alice").await;
    for minute in 1..=100 {
        site.clock.advance(MINUTE);
        let prolonged = !visitor.get("/read").await.set_cookies().is_empty();
        assert_eq!(prolonged, minute % 25 == 0, "minute {minute}");
    }
    assert_eq!(site.store.calls().touch, 4);
    site.clock.advance(100 * MINUTE - MILLI);
    assert!(is_alive(&mut visitor).await);
}

#[tokio::test]
async fn rolling_works_where_the_engine_does_not_tell_the_end() {
    let site = Site::new();
    let store = ThreeMethodStore::new(Cache::new(site.clock.clone())).clock(site.clock.clone());
    let layer = SessionLayer::koa(store, &["key"]).clock(site.clock.clone()).rolling(Rolling::After(0.5));
    let mut visitor = Client::new(site.under(layer)).clock(site.clock.clone());
    let _ = visitor.get("/set/user/alice").await;
    for _ in 0..5 {
        site.clock.advance(20 * HOUR);
        assert!(is_alive(&mut visitor).await, "a visitor who comes every day stays");
    }
}

#[tokio::test]
async fn the_absolute_limit_ends_a_busy_session() {
    let site =
        Site::with(|layer| layer.ttl(30 * MINUTE).rolling(Rolling::EveryRequest).max_lifetime(2 * HOUR));
    let mut visitor = site.known("alice").await;
    for minute in 1..120 {
        site.clock.advance(MINUTE);
        // Reading, writing and renewing: nothing moves the limit.
        let path = ["/read", "/set/n/1", "/renew"][minute % 3];
        let answer = visitor.get(path).await.expect_status(200);
        let remaining = (120 - minute as u32) * MINUTE;
        assert_eq!(left(&site, &visitor).await, remaining.min(30 * MINUTE), "minute {minute}");
        let line = answer.set_cookies().pop();
        assert_eq!(
            line.and_then(|l| max_age(&l)),
            Some(remaining.min(30 * MINUTE).as_secs()),
            "minute {minute}"
        );
    }
    let id = visitor.cookie(COOKIE).unwrap().to_owned();
    site.clock.advance(MINUTE);
    visitor.set_cookie(COOKIE, &id);
    assert!(!is_alive(&mut visitor).await);
}

#[tokio::test]
async fn a_regenerated_session_begins_its_life_anew() {
    let site = Site::with(|layer| layer.max_lifetime(2 * HOUR)).page(
        "/anew",
        get(|s: Session| async move {
            s.regenerate()?;
            s.insert("user", "alice").await
        }),
    );
    let mut visitor = site.known("alice").await;
    site.clock.advance(HOUR);
    let _ = visitor.get("/anew").await.expect_status(200);
    assert_eq!(left(&site, &visitor).await, 2 * HOUR);
}

#[tokio::test]
async fn a_limit_that_a_deploy_has_lowered_ends_older_sessions() {
    let site = Site::with(|layer| layer.ttl(DAY));
    let old = site.known("alice").await;
    site.clock.advance(2 * HOUR);
    let strict = site.layer.clone().max_lifetime(HOUR);
    let id = old.cookie(COOKIE).unwrap();
    let mut visitor = Client::new(site.under(strict)).clock(site.clock.clone());
    visitor.set_cookie(COOKIE, id);
    assert!(!is_alive(&mut visitor).await);
    assert_eq!(site.data(id).await, None, "and takes them out of the store");
    visitor.set_cookie(COOKIE, id);
    let _ = visitor.get("/set/a/1").await.expect_status(200);
    assert_eq!(left(&site, &visitor).await, HOUR, "what comes after is a new session with a whole life");
}

#[tokio::test]
async fn remember_me_is_the_visitors_own_max_age() {
    let site = Site::with(|layer| layer.ttl(30 * MINUTE)).page(
        "/remember",
        get(|s: Session| async move { s.update_cookie(|c| c.max_age = MaxAge::For(30 * DAY)).await }),
    );
    let (mut forgotten, mut remembered) = (site.known("bob").await, site.known("alice").await);
    let line = remembered.get("/remember").await.set_cookies().remove(0);
    assert_eq!(max_age(&line), Some(30 * 86_400));
    assert_eq!(left(&site, &remembered).await, 30 * DAY);
    site.clock.advance(30 * DAY - MILLI);
    assert!(is_alive(&mut remembered).await);
    assert!(!is_alive(&mut forgotten).await);
    let _ = remembered.get("/set/n/1").await;
    assert_eq!(left(&site, &remembered).await, 30 * DAY, "each save counts it anew");
}

#[tokio::test]
async fn a_visitors_session_may_end_at_a_moment_or_now() {
    let until = |end: Timestamp| {
        get(move |s: Session| async move { s.update_cookie(|c| c.max_age = MaxAge::Until(end)).await })
    };
    let site = Site::new();
    let noon = site.clock.now().saturating_add(HOUR);
    let site = site.page("/noon", until(noon)).page("/past", until(Timestamp::EPOCH)).page(
        "/zero",
        get(|s: Session| async move { s.update_cookie(|c| c.max_age = MaxAge::For(Duration::ZERO)).await }),
    );
    let mut visitor = site.known("alice").await;
    site.clock.advance(20 * MINUTE);
    let line = visitor.get("/noon").await.set_cookies().remove(0);
    assert_eq!((max_age(&line), left(&site, &visitor).await), (Some(2400), 40 * MINUTE));
    site.clock.advance(20 * MINUTE);
    let _ = visitor.get("/set/n/1").await;
    assert_eq!(left(&site, &visitor).await, 20 * MINUTE, "saving does not move it");
    for path in ["/past", "/zero"] {
        let mut visitor = site.known("bob").await;
        let id = visitor.cookie(COOKIE).unwrap().to_owned();
        let line = visitor.get(path).await.expect_status(200).set_cookies().remove(0);
        assert!(line.starts_with("axum.sid=; "), "{path}: {line}");
        assert_eq!(site.data(&id).await, None, "{path}");
    }
}

#[tokio::test]
async fn the_time_to_live_may_depend_on_the_session() {
    let site = Site::with(|layer| {
        layer.ttl(DAY).ttl_with(|session| {
            let role = session.value::<String>("role").ok()??;
            Some(if role == "admin" { 5 * MINUTE } else { HOUR })
        })
    });
    let mut visitor = site.known("alice").await;
    assert_eq!(left(&site, &visitor).await, DAY);
    for (role, expected) in [("admin", 5 * MINUTE), ("clerk", HOUR)] {
        let line = visitor.get(&format!("/set/role/{role}")).await.set_cookies().remove(0);
        assert_eq!(
            (left(&site, &visitor).await, max_age(&line)),
            (expected, Some(expected.as_secs())),
            "{role}"
        );
    }
}

#[tokio::test]
async fn the_time_to_live_may_depend_on_the_whole_session_and_its_cookie() {
    #[derive(Default, serde::Serialize, serde::Deserialize)]
    struct User {
        role: String,
    }
    let site = Site::with(|layer| {
        layer.ttl_with(|session| match session.get::<User>().ok()?.role.as_str() {
            "admin" if session.cookie().secure => Some(5 * MINUTE),
            _ => None,
        })
    });
    let mut visitor = site.known("alice").await;
    assert_eq!(left(&site, &visitor).await, DAY);
    let _ = visitor.get("/set/role/admin").await.expect_status(200);
    assert_eq!(left(&site, &visitor).await, 5 * MINUTE);
}

#[tokio::test]
async fn a_cookie_for_the_browsers_session_still_has_an_end_on_the_server() {
    let browser = CookieOptions::new().max_age(MaxAge::BrowserSession);
    let site = Site::with(|layer| layer.cookie(browser).ttl(HOUR).rolling(Rolling::EveryRequest));
    let mut visitor = site.known("alice").await;
    site.clock.advance(50 * MINUTE);
    let line = visitor.get("/read").await.set_cookies().remove(0);
    assert_eq!(max_age(&line), None);
    site.clock.advance(HOUR);
    assert!(visitor.cookie_header("/").is_some(), "the browser is still open");
    assert!(!is_alive(&mut visitor).await);
}

#[tokio::test]
async fn no_lifetime_is_too_long() {
    let site =
        Site::with(|layer| layer.ttl(Duration::MAX).rolling(Rolling::After(0.5)).max_lifetime(Duration::MAX));
    let mut visitor = site.known("alice").await;
    let record = site.record(visitor.cookie(COOKIE).unwrap()).await.unwrap();
    assert_eq!(record.expires_at, Timestamp::MAX);
    for _ in 0..100 {
        site.clock.advance(DAY);
        assert!(is_alive(&mut visitor).await);
    }
    assert_eq!(site.store.calls().touch, 0, "what never ends needs no prolonging");
    site.clock.set(Timestamp::MAX);
    let _ = visitor.get("/set/n/1").await.expect_status(200);
}

#[tokio::test]
async fn a_clock_that_jumps_revives_nothing_and_extends_no_absolute_limit() {
    let start = Site::new().clock.now();
    let at = |hours: i64| Timestamp::from_millis(start.as_millis().saturating_add_signed(hours * 3_600_000));
    for jump in [-24, -1, 1, 24] {
        let site =
            Site::with(|layer| layer.ttl(2 * HOUR).rolling(Rolling::EveryRequest).max_lifetime(12 * HOUR));
        let (mut visitor, mut leaver) = (site.known("alice").await, site.known("bob").await);
        let left_behind = leaver.cookie(COOKIE).unwrap().to_owned();
        let _ = leaver.get("/logout").await.expect_status(200);
        site.clock.set(at(jump));
        let _ = visitor.get("/read").await.expect_status(200);
        let _ = visitor.get("/set/n/1").await.expect_status(200);
        site.clock.set(at(0));
        leaver.set_cookie(COOKIE, &left_behind);
        assert!(!is_alive(&mut leaver).await, "{jump}: a logout is for good");
        let record = site.record(visitor.cookie(COOKIE).unwrap()).await;
        let Some(record) = record else {
            assert_eq!(jump, -24, "saved with a life that is over by now: gone, which is the safe side");
            continue;
        };
        let envelope = String::from_utf8_lossy(&record.data).into_owned();
        let kept = object(&record)["user"] == "alice";
        assert_eq!(kept, jump != 24, "{jump}: it ended in the meantime, and another one began");
        let created = if kept { start } else { at(jump) };
        let header = format!("{{\"v\":1,\"created\":{}", created.as_millis());
        assert!(envelope.starts_with(&header), "{jump}: {envelope}");
        assert!(record.expires_at <= created.saturating_add(12 * HOUR), "{jump}: beyond the absolute limit");
    }
}

/// B25. A visitor who comes at random moments is let in until the idle or the absolute limit and not a second longer;
/// and a clock that jumps a day ahead, back to now, or a day back gives nobody an ended session back.
#[tokio::test]
async fn every_session_ends_at_its_limit_and_a_clock_that_jumps_revives_none() {
    const IDLE: u64 = 30 * 60;
    const ABSOLUTE: u64 = 8 * 60 * 60;
    let figure = Figure::of("B25", "memory");
    let mut random = 1_u64;
    let mut up_to = |limit: u64| {
        // xorshift: the same visits in every run.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % limit
    };
    let lives = size(1_000, 100_000);
    let (mut visits, mut wrong, mut revived) = (0, 0, 0);
    for _ in 0..lives {
        let site = Site::with(|layer| {
            let layer = layer.ttl(Duration::from_secs(IDLE)).max_lifetime(Duration::from_secs(ABSOLUTE));
            layer.rolling(Rolling::EveryRequest)
        });
        let mut visitor = site.known("alice").await;
        let id = visitor.cookie(COOKIE).unwrap().to_owned();
        // In seconds: how old the session is, and for how long nobody has used it. The clock moves by milliseconds.
        let mut age = 0;
        loop {
            // Near the limit as often as far from it.
            let near = IDLE.min(ABSOLUTE - age);
            let away = match up_to(8) {
                0 => near.saturating_sub(1),
                1 => near,
                2 => near + up_to(IDLE),
                _ => 1 + up_to(IDLE - 1),
            };
            site.clock.advance(Duration::from_secs(away));
            age += away;
            let ended = away >= IDLE || age >= ABSOLUTE;
            visitor.set_cookie(COOKIE, &id);
            let path = ["/read", "/set/n/1", "/"][visits % 3];
            let answer = if ended { visitor.get("/read").await } else { visitor.get(path).await };
            visits += 1;
            if ended {
                wrong += usize::from(answer.expect_status(200).json() != json!({}));
                break;
            }
            let answer = answer.expect_status(200);
            wrong += usize::from(path == "/read" && answer.json() == json!({}));
            wrong += usize::from(site.record(&id).await.is_none());
        }
        let now = site.clock.now().as_millis();
        for moment in [now + 86_400_000, now, now - 86_400_000] {
            site.clock.set(Timestamp::from_millis(moment));
            visitor.set_cookie(COOKIE, &id);
            revived += usize::from(is_alive(&mut visitor).await);
        }
    }
    let figure = figure.count("lives", lives).count("visits", visits);
    figure.count("wrong", wrong).count("revived", revived).report();
    assert_eq!((wrong, revived), (0, 0));
}

#[tokio::test]
async fn what_has_expired_while_a_request_was_at_work_does_not_come_back() {
    let site = Site::with(|layer| layer.ttl(HOUR));
    let clock = site.clock.clone();
    let slow = get(move |s: Session| async move {
        s.get().await?;
        clock.advance(HOUR);
        s.insert("n", 1).await
    });
    let site = site.page("/slow", slow);
    let mut visitor = site.known("alice").await;
    let key = site.key(visitor.cookie(COOKIE).unwrap());
    let answer = visitor.get("/slow").await.expect_status(409);
    assert!(answer.set_cookies().is_empty());
    assert_eq!(site.store.inner().get(&key).await.unwrap(), None);
}

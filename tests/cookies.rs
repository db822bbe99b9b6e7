//! The session cookie: attributes, removal, limits, and what else lives in the same response.
#![cfg(all(feature = "memory-store", feature = "testing"))]

mod figures;
mod site;

use axum::{
    extract::FromRef,
    http::header::SET_COOKIE,
    response::{AppendHeaders, IntoResponse},
    routing::get,
};
use axum_extra::extract::cookie::{Cookie, CookieJar, SignedCookieJar};
use axum_generic_session::{
    CookieOptions, Error, Key, MaxAge, MemoryStore, Priority, SameSite, Session, SessionLayer,
    testing::{Client, ManualClock},
};
use figures::{Figure, size};
use proptest::{prelude::*, test_runner::TestRunner};
use site::{COOKIE, Site, attributes};
use std::{cell::Cell, time::Duration};

const EPOCH: &str = "Expires=Thu, 01 Jan 1970 00:00:00 GMT";

/// The attributes of the cookie that a first value brings, and of its removal.
async fn set_and_removed(cookie: CookieOptions) -> (String, String) {
    let site = Site::with(|layer| layer.cookie(cookie));
    let mut visitor = site.visitor();
    let set = visitor.get("/set/a/1").await.expect_status(200).set_cookies().remove(0);
    let removed = visitor.get("/logout").await.expect_status(200).set_cookies().remove(0);
    assert_eq!(visitor.cookie_header("/"), None, "removed: {removed}");
    assert!(removed.starts_with("axum.sid=; "), "{removed}");
    (attributes(&set).join("; "), attributes(&removed).join("; "))
}

#[tokio::test]
async fn the_defaults_are_the_safe_ones() {
    let (set, removed) = set_and_removed(CookieOptions::new()).await;
    assert_eq!(set, "Path=/; Max-Age=86400; SameSite=Lax; Secure; HttpOnly");
    assert_eq!(removed, format!("Path=/; Max-Age=0; {EPOCH}; SameSite=Lax; Secure; HttpOnly"));
}

#[tokio::test]
async fn a_removal_carries_the_attributes_of_what_it_removes() {
    let new = CookieOptions::new;
    let table = [
        (new().domain("example.com"), "Path=/; Domain=example.com", "SameSite=Lax; Secure; HttpOnly"),
        (new().http_only(false), "Path=/", "SameSite=Lax; Secure"),
        (new().secure(false), "Path=/", "SameSite=Lax; HttpOnly"),
        (new().same_site(None), "Path=/", "Secure; HttpOnly"),
        (new().same_site(SameSite::Strict), "Path=/", "SameSite=Strict; Secure; HttpOnly"),
        (new().same_site(SameSite::None), "Path=/", "SameSite=None; Secure; HttpOnly"),
        (new().partitioned(true), "Path=/", "SameSite=Lax; Secure; HttpOnly; Partitioned"),
        (new().priority(Priority::High), "Path=/", "SameSite=Lax; Secure; HttpOnly; Priority=High"),
    ];
    for (options, front, back) in table {
        let (set, removed) = set_and_removed(options).await;
        assert_eq!(set, format!("{front}; Max-Age=86400; {back}"));
        assert_eq!(removed, format!("{front}; Max-Age=0; {EPOCH}; {back}"));
    }
}

#[tokio::test]
async fn max_age_follows_the_settings() {
    let seconds = Duration::from_secs;
    let line = |settings: fn(SessionLayer) -> SessionLayer| async move {
        let answer = Site::with(settings).visitor().get("/set/a/1").await;
        answer.set_cookies().remove(0)
    };
    let short = line(|layer| layer.ttl(Duration::from_secs(90))).await;
    assert!(short.contains("; Max-Age=90; "), "{short}");
    let rounded = line(|layer| layer.ttl(Duration::from_millis(1500))).await;
    assert!(rounded.contains("; Max-Age=2; "), "never less than the session: {rounded}");
    let browser = line(|layer| layer.cookie(CookieOptions::new().max_age(MaxAge::BrowserSession))).await;
    assert!(!browser.contains("Max-Age") && !browser.contains("Expires"), "{browser}");
    for endless in [seconds(500 * 86_400), Duration::MAX] {
        let site = Site::with(|layer| layer.ttl(endless));
        let line = site.visitor().get("/set/a/1").await.set_cookies().remove(0);
        assert!(line.contains("; Max-Age=34560000; "), "400 days: {line}");
    }
}

#[tokio::test]
async fn prefixed_names_make_the_round_trip() {
    for name in ["__Host-sid", "__Secure-sid", "__hOsT-sid", "a:b!#$%&'*+-.^_`|~"] {
        let site = Site::with(|layer| layer.name(name));
        let mut visitor = site.visitor();
        assert!(visitor.get("/count").await.set_cookies()[0].starts_with(&format!("{name}=")));
        assert_eq!(visitor.get("/count").await.text(), "2", "{name}");
    }
}

#[tokio::test]
async fn the_cookies_path_is_where_there_is_a_session() {
    let there = |s: Option<Session>| async move { s.is_some().to_string() };
    let site = Site::with(|layer| layer.cookie(site::at_path("/app")))
        .page("/app", get(there))
        .page("/app/deep/er", get(there))
        .page("/apple", get(there))
        .page("/app/set", get(|s: Session| async move { s.insert("a", 1).await }));
    let mut visitor = site.visitor();
    for (path, expected) in
        [("/app", "true"), ("/app/deep/er", "true"), ("/app?x=/", "true"), ("/apple", "false")]
    {
        assert_eq!(visitor.get(path).await.expect_status(200).text(), expected, "{path}");
    }
    assert!(visitor.get("/app/set").await.set_cookies()[0].contains("; Path=/app; "));
    let answer = visitor.get("/read").await.expect_status(500);
    assert_eq!(
        (answer.text().as_str(), answer.set_cookies().len()),
        ("", 0),
        "a session where there is none"
    );
}

#[tokio::test]
async fn a_visitors_own_settings_are_sent_and_removed_as_they_are() {
    let site = Site::new().page(
        "/own",
        get(|s: Session| async move {
            s.insert("a", 1).await?;
            s.update_cookie(|c| {
                c.same_site = Some(SameSite::Strict);
                c.max_age = MaxAge::BrowserSession;
                c.domain = Some("example.com".into());
            })
            .await
        }),
    );
    let mut visitor = site.visitor();
    let own = visitor.get("/own").await.expect_status(200).set_cookies().remove(0);
    assert_eq!(attributes(&own).join("; "), "Path=/; Domain=example.com; SameSite=Strict; Secure; HttpOnly");
    let later = visitor.get("/set/b/2").await.set_cookies().remove(0);
    assert_eq!(attributes(&later), attributes(&own), "they are kept with the session");
    let renewed = visitor.get("/renew").await.set_cookies().remove(0);
    assert_eq!(attributes(&renewed), attributes(&own), "and under a new id");
    let removed = visitor.get("/logout").await.set_cookies().remove(0);
    let expected =
        format!("Path=/; Domain=example.com; Max-Age=0; {EPOCH}; SameSite=Strict; Secure; HttpOnly");
    assert_eq!(attributes(&removed).join("; "), expected);
}

#[derive(Clone)]
struct Shared(Key);

impl FromRef<Shared> for Key {
    fn from_ref(shared: &Shared) -> Self {
        shared.0.clone()
    }
}

#[tokio::test]
async fn the_applications_own_cookies_survive_beside_the_session() {
    async fn page(
        session: Session,
        jar: CookieJar,
        signed: SignedCookieJar,
    ) -> Result<impl IntoResponse, Error> {
        let seen = [jar.get("lang"), jar.get("raw")].iter().flatten().count();
        let mine = signed.get("mine").map_or(0, |cookie| cookie.value().parse::<u32>().unwrap());
        let id = signed.get(COOKIE).map(|cookie| cookie.value().to_owned());
        let same = id.is_none() || id == Some(session.id().await?.expose().to_owned());
        session.insert("seen", seen).await?;
        session.insert("mine", mine + 1).await?;
        Ok((
            AppendHeaders([(SET_COOKIE, "raw=1; Path=/"), (SET_COOKIE, "raw2=2")]),
            jar.add(Cookie::new("lang", "é ü")),
            signed.add(Cookie::new("mine", (mine + 1).to_string())),
            format!("{seen} {mine} {same}"),
        ))
    }
    let key = Key::generate();
    let layer = SessionLayer::new(MemoryStore::new()).keys([&key]);
    let app = axum::Router::new().route("/", get(page)).with_state(Shared(key)).layer(layer);
    let mut visitor = Client::new(app);
    for expected in ["0 0 true", "2 1 true", "2 2 true"] {
        let answer = visitor.get("/").await.expect_status(200);
        assert_eq!(answer.text(), expected, "one key signs both, and each reads the other's");
        let mut names: Vec<_> =
            answer.set_cookies().iter().map(|c| c.split('=').next().unwrap().to_owned()).collect();
        names.sort();
        assert_eq!(names, [COOKIE, "lang", "mine", "raw", "raw2"]);
    }
}

#[tokio::test]
async fn a_handlers_cookie_of_the_same_name_gives_way_unless_told_otherwise() {
    async fn page(session: Session) -> Result<impl IntoResponse, Error> {
        session.insert("a", 1).await?;
        Ok(AppendHeaders([(SET_COOKIE, "axum.sid=mine"), (SET_COOKIE, "axum.sid2=other")]))
    }
    for (overwrite, expected) in
        [(true, vec!["axum.sid2=other"]), (false, vec!["axum.sid=mine", "axum.sid2=other"])]
    {
        let site = Site::with(|layer| layer.cookie(CookieOptions::new().overwrite(overwrite)))
            .page("/page", get(page));
        let lines = site.visitor().get("/page").await.set_cookies();
        let (last, others) = lines.split_last().unwrap();
        assert_eq!(others, expected);
        assert!(last.starts_with("axum.sid=") && last.contains("Max-Age=86400"), "{last}");
    }
}

fn any_options() -> impl Strategy<Value = CookieOptions> {
    let path = prop_oneof![
        6 => Just("/".to_owned()),
        6 => "/[a-zA-Z0-9._~!$&'()*+,=:@/-]{0,40}",
        2 => (900..1100_usize).prop_map(|n| format!("/{}", "p".repeat(n))),
        1 => "/[ -~]{0,9}",
        1 => "[ -~]{0,4}"
    ];
    let domain = prop::option::of(
        prop_oneof![4 => "[a-z]{1,9}\\.[a-z]{2,3}", 4 => "\\.?[a-zA-Z0-9-]{1,20}", 1 => "[ -~]{0,9}"],
    );
    let same_site =
        prop::option::of(prop_oneof![Just(SameSite::Lax), Just(SameSite::Strict), Just(SameSite::None)]);
    let max_age = prop_oneof![
        4 => Just(MaxAge::Ttl),
        2 => Just(MaxAge::BrowserSession),
        1 => any::<u64>().prop_map(|ms| MaxAge::For(Duration::from_millis(ms))),
        4 => (0..35_000_000_000_u64).prop_map(|ms| MaxAge::For(Duration::from_millis(ms))),
    ];
    let priority =
        prop::option::of(prop_oneof![Just(Priority::Low), Just(Priority::Medium), Just(Priority::High)]);
    let flags = (any::<bool>(), prop::bool::weighted(0.9), any::<bool>());
    (path, domain, same_site, max_age, priority, flags).prop_map(
        |(path, domain, same_site, max_age, priority, flags)| {
            let mut options =
                CookieOptions::new().path(path).same_site(same_site).max_age(max_age).priority(priority);
            options.domain = domain.map(Into::into);
            options.http_only(flags.0).secure(flags.1).partitioned(flags.2)
        },
    )
}

/// What a browser understands is what was meant.
fn assert_understood(line: &str, name: &str, options: &CookieOptions, removal: bool) {
    assert!(line.len() <= 4096, "{} bytes: {line}", line.len());
    let cookie = Cookie::parse(line).expect(line);
    assert_eq!(cookie.name(), name);
    assert_eq!(cookie.path(), Some(&*options.path));
    assert_eq!(
        cookie.domain(),
        options.domain.as_deref().map(|d| d.strip_prefix('.').unwrap_or(d)),
        "{line}"
    );
    assert_eq!(cookie.secure().unwrap_or(false), options.secure, "{line}");
    assert_eq!(cookie.http_only().unwrap_or(false), options.http_only, "{line}");
    assert_eq!(cookie.partitioned().unwrap_or(false), options.partitioned, "{line}");
    assert_eq!(cookie.same_site(), options.same_site, "{line}");
    let age = cookie.max_age().map(|age| age.whole_seconds());
    assert!(age.is_none_or(|age| (0..=34_560_000).contains(&age)), "{line}");
    match options.max_age {
        _ if removal => assert_eq!((age, cookie.value()), (Some(0), "")),
        MaxAge::BrowserSession => assert_eq!(age, None, "{line}"),
        MaxAge::For(for_) => assert_eq!(age, Some(for_.as_millis().div_ceil(1000) as i64), "{line}"),
        MaxAge::Ttl | MaxAge::Until(_) => assert_eq!(age, Some(86_400), "{line}"),
    }
}

fn any_name() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => "[a-zA-Z0-9!#$&'*+.^_`|~:-]{1,30}",
        2 => "__Host-[a-z]{1,9}",
        1 => "__[sS]ecure-[a-z]",
        1 => "[ -~]{0,9}",
        1 => (2000..3100_usize).prop_map(|n| "n".repeat(n)),
    ]
}

/// The cookies of a session and of its end under these settings; `None` if the layer refuses them, or if no request
/// can name the path: some characters must be escaped there, and then do not match.
async fn sent_and_understood(options: &CookieOptions, name: &str, signed: bool) -> Option<()> {
    // A clock that stands: a millisecond between the save and the answer would be one less of the cookie.
    let clock = ManualClock::new();
    let store = MemoryStore::new().clock(clock.clone());
    let layer = SessionLayer::new(store).clock(clock.clone()).name(name.to_owned()).cookie(options.clone());
    let layer = if signed { layer.keys([&Key::from(&[7; 64])]) } else { layer };
    if let Err(why) = layer.check() {
        assert!(why.to_string().len() > 40, "a refusal is a sentence: {why}");
        return None;
    }
    let path = options.path.to_string();
    let uri = path.parse::<axum::http::Uri>().ok()?;
    if uri.path() != path || uri.query().is_some() {
        return None;
    }
    let page = |s: Session| async move { s.insert("a", 1).await };
    let logout = |s: Session| async move { s.destroy() };
    let app = axum::Router::new().fallback(get(page).delete(logout)).layer(layer);
    let mut visitor = Client::new(app).clock(clock);
    let set = visitor.get(&path).await.expect_status(200).set_cookies();
    assert_understood(&set[0], name, options, false);
    let request = axum::http::Request::delete(&path).body(axum::body::Body::empty());
    let removed = visitor.send(request).await.expect_status(200).set_cookies();
    assert_understood(&removed[0], name, options, true);
    assert_eq!(visitor.cookie_header(&path), None);
    Some(())
}

/// B28.
#[test]
fn every_cookie_that_the_layer_accepts_is_one_that_browsers_understand() {
    let figure = Figure::of("B28", "any");
    let cases = size(20_000, 1_000_000);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let understood = Cell::new(0);
    let settings = (any_options(), any_name(), any::<bool>());
    let tried = TestRunner::new(site::cases(u32::try_from(cases).unwrap())).run(
        &settings,
        |(options, name, signed)| {
            let sent = runtime.block_on(sent_and_understood(&options, &name, signed));
            understood.set(understood.get() + 2 * usize::from(sent.is_some()));
            Ok(())
        },
    );
    tried.unwrap_or_else(|why| panic!("{why}"));
    figure.count("settings", cases).count("cookies", understood.get()).count("misunderstood", 0).report();
    assert!(understood.get() > cases / 2, "most settings are refused: nothing was tested");
}

//! What an attacker's browser, or no browser at all, gets.

use axum::Router;
use axum_generic_session::testing::{Answer, Client};

use crate::{
    proxy,
    site::{PASSWORD, Site},
};

/// A client of HTTP, for what no browser would send.
fn client(site: &Site) -> Client {
    Client::new(Router::new().fallback_service(proxy::to(site.port())))
}

/// The token in the forms of the page at `path`.
async fn token(client: &mut Client, path: &str) -> String {
    let page = client.get(path).await.expect_status(200).text();
    let (_, rest) = page.split_once("name=\"csrf\" value=\"").expect("a form");
    rest.split_once('"').expect("a value").0.to_owned()
}

async fn sign_in(client: &mut Client, rest: &str) -> Answer {
    let token = token(client, "/signin").await;
    client.post("/signin", &format!("csrf={token}&name=ada&{rest}")).await
}

/// A client as whom `ada` has just signed up.
async fn ada(site: &Site) -> Client {
    let mut client = client(site);
    let token = token(&mut client, "/signup").await;
    let form = format!("csrf={token}&name=ada&password={PASSWORD}").replace(' ', "+");
    assert_eq!(client.post("/signup", &form).await.status, 303);
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn no_change_without_the_token_of_this_very_session() {
    let site = Site::start(&[]).await;
    let (mut ada, mut eve) = (ada(&site).await, client(&site));
    let hers = token(&mut eve, "/").await;
    for (path, form) in [
        ("/cart", "tea=sencha&change=add"),
        ("/theme", "theme=dark"),
        ("/checkout", ""),
        ("/devices/end", "handle=x"),
        ("/devices/end-others", ""),
        ("/account/password", "old=kettle+whistles+softly&new=steam+rises+slowly"),
        ("/signin", "name=ada&password=kettle+whistles+softly"),
        ("/signup", "name=eve&password=kettle+whistles+softly"),
        ("/signout", ""),
    ] {
        for csrf in ["", "csrf=&", "csrf=guess&", &format!("csrf={hers}&")] {
            let answer = ada.post(path, &format!("{csrf}{form}")).await.expect_status(403);
            assert!(answer.text().contains("That page was too old"), "{path}");
            // And from one who brings no session along.
            client(&site).post(path, &format!("{csrf}{form}")).await.expect_refused(path);
        }
    }
    let page = ada.get("/account").await.expect_status(200).text();
    assert!(page.contains("Hello, ada") && !page.contains("data-theme") && !page.contains("class=\"count\""));
    assert_eq!(sign_in(&mut client(&site), "password=kettle+whistles+softly").await.status, 303);
    site.stop().await;
}

trait Refused {
    fn expect_refused(&self, path: &str);
}

impl Refused for Answer {
    /// Members' changes ask for a login first.
    fn expect_refused(&self, path: &str) {
        match self.status.as_u16() {
            303 => assert!(self.header("location").starts_with("/signin?next="), "{path}"),
            status => {
                assert_eq!((status, self.text().contains("This needs a cookie")), (403, true), "{path}")
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_and_a_token_from_before_the_login_are_dead() {
    let site = Site::start(&[]).await;
    ada(&site).await;
    let mut victim = client(&site);
    let token = token(&mut victim, "/signin").await;
    let planted = victim.cookie("axum.sid").expect("a session").to_owned();
    let form = format!("csrf={token}&name=ada&password=kettle+whistles+softly");
    assert_eq!(victim.post("/signin", &form).await.status, 303);
    assert_ne!(victim.cookie("axum.sid"), Some(planted.as_str()));
    assert_eq!(victim.post("/theme", &format!("csrf={token}&theme=dark")).await.status, 403);
    let mut attacker = client(&site);
    attacker.set_cookie("axum.sid", &planted);
    assert_eq!(attacker.get("/account").await.status, 303);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_back_after_the_login_stays_on_the_site() {
    let site = Site::start(&[]).await;
    ada(&site).await;
    for (next, goes) in [
        ("/cart", "/cart"),
        ("/account?tab=1", "/account?tab=1"),
        ("https://evil.example", "/account"),
        ("//evil.example", "/account"),
        ("/\\evil.example", "/account"),
        ("\\\\evil.example", "/account"),
        ("/\t/evil.example", "/account"),
        ("/\n/evil.example", "/account"),
        ("javascript:alert(1)", "/account"),
        ("", "/account"),
    ] {
        let next: String = url::form_urlencoded::byte_serialize(next.as_bytes()).collect();
        let answer =
            sign_in(&mut client(&site), &format!("password=kettle+whistles+softly&next={next}")).await;
        assert_eq!((answer.status.as_u16(), answer.header("location").as_str()), (303, goes), "{next}");
    }
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_ends_after_ten_times() {
    let site = Site::start(&[]).await;
    ada(&site).await;
    for _ in 0..10 {
        assert_eq!(sign_in(&mut client(&site), "password=a+guess").await.status, 422);
    }
    // Not by session, and not only for that name; the right password does not tell either.
    let answer = sign_in(&mut client(&site), "password=kettle+whistles+softly").await.expect_status(429);
    assert!(answer.text().contains("Wait five minutes"));
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_are_kept_by_nobody_and_run_nothing_but_their_own() {
    let site = Site::start(&[]).await;
    let mut ada = ada(&site).await;
    for path in ["/", "/cart", "/account", "/signin", "/away", "/nothing-here"] {
        let answer = ada.get(path).await;
        assert!(answer.header("cache-control").contains("no-store"), "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        let policy = answer.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"), "{policy}");
        let page = answer.text();
        assert!(!page.contains("style=") && !page.contains("<style") && !page.contains("onclick"), "{path}");
        assert!(page.matches("<script").count() <= 1, "{path}");
    }
    for path in ["/style.css", "/script.js", "/icon.svg", "/away", "/nothing-here"] {
        assert!(client(&site).get(path).await.set_cookies().is_empty(), "{path} has no session");
    }
    // What a visitor types comes back as text.
    let mut eve = client(&site);
    let token = token(&mut eve, "/signup").await;
    let form = format!("csrf={token}&name=%22%3E%3Cscript%3Ealert(1)%3C/script%3E&password=x");
    let page = eve.post("/signup", &form).await.expect_status(422).text();
    assert!(page.contains("&quot;&gt;&lt;script&gt;alert(1)"), "{page}");
    let flood = format!("csrf={token}&name=eve&password={}", "x".repeat(20_000));
    let status = eve.post("/signup", &flood).await.status.as_u16();
    assert!(matches!(status, 400 | 413), "{status}");
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_has_neither_passwords_nor_ids() {
    let site = Site::start(&[]).await;
    let ada = ada(&site).await;
    let files: Vec<u8> = ["account.db", "account.db-wal"]
        .iter()
        .flat_map(|name| std::fs::read(site.folder().join(name)).unwrap_or_default())
        .collect();
    let has = |text: &str| files.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(has("$argon2id$v=19$m=19456,t=2,p=1$"));
    assert!(!has(PASSWORD) && !has("kettle+whistles"));
    assert!(!has(ada.cookie("axum.sid").expect("a session")));
    let first = site.words().lines().next().expect("a line").to_owned();
    assert_eq!(
        first,
        format!("{}  (plain http, for development; sessions and users in account.db)", site.url(""))
    );
    site.stop().await;
}

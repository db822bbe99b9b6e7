//! A real browser at the example `node-migration`: one script starts Redis, koa, express and axum behind one address,
//! and a visitor goes round all of it.
#![cfg(feature = "redis-store")]

#[path = "../servers/mod.rs"]
mod servers;

use std::{net::TcpListener, path::Path, process::Command};

use fantoccini::{Client, Locator};
use servers::{Server, browser::Browser, example, free_port, node};

/// `run.sh`, and everything that it has started.
struct Site {
    server: Server,
    port: u16,
}

impl Site {
    fn start() -> Self {
        let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
        let port = std::iter::repeat_with(free_port)
            .find(|port| (1..4).all(|n| free(port + n)))
            .expect("four ports");
        let mut server = Server::prepare();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/node-migration/run.sh");
        let mut run = Command::new(script);
        run.arg(port.to_string())
            .env("NODE_PATH", node::packages())
            .env("AXUM_APP", example::program("node-migration"));
        server.start(&mut run);
        server.wait_until("the example", || (0..4).all(|n| Server::listens(port + n)));
        Self { server, port }
    }

    fn url(&self, path: &str) -> String {
        format!("http://localhost:{}{path}", self.port)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // The script ends what it has started, if it is asked to.
        self.server.stop("TERM");
    }
}

async fn text(visitor: &Client, css: &str) -> String {
    let element = visitor.wait().for_element(Locator::Css(css)).await.expect(css);
    element.text().await.expect("its text")
}

/// Presses a button, and waits for the page that comes.
async fn press(visitor: &Client, form: &str, button: &str) {
    let page = visitor.find(Locator::Css("html")).await.expect("a page");
    let button = visitor.find(Locator::Css(&format!("form[action='{form}'] {button}"))).await.expect(form);
    button.click().await.expect("a click");
    // The old page is gone when its elements are.
    while page.tag_name().await.is_ok() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

async fn write(visitor: &Client, name: &str, words: &str) {
    let field = visitor.wait().for_element(Locator::Css(&format!("input[name={name}]"))).await.expect(name);
    field.send_keys(words).await.expect("a field");
}

/// What the home page, which is axum's, knows of the visitor.
async fn home(visitor: &Client, site: &Site) -> [String; 3] {
    visitor.goto(&site.url("/")).await.expect("the home page");
    [text(visitor, "h1").await, text(visitor, "#cart").await, text(visitor, "#theme").await]
}

async fn round(visitor: &Client, site: &Site) {
    assert_eq!(home(visitor, site).await, ["Hello stranger", "0 in your cart", "light"]);
    assert!(
        visitor.get_all_cookies().await.expect("cookies").is_empty(),
        "nothing was stored, no cookie was set"
    );

    // A guest's cart in express, a login in koa, a theme in axum.
    visitor.goto(&site.url("/cart")).await.expect("the cart");
    write(visitor, "thing", "tea").await;
    press(visitor, "/cart", "button").await;
    assert_eq!(text(visitor, "h1").await, "Cart of a guest: 1");
    let guest = visitor.get_named_cookie("connect.sid").await.expect("a cookie");
    visitor.goto(&site.url("/account")).await.expect("the account");
    write(visitor, "user", "Ada <3").await;
    press(visitor, "/account/login", "button").await;
    let member = visitor.get_named_cookie("connect.sid").await.expect("a cookie");
    assert_ne!(guest.value(), member.value(), "a new id at the login");
    assert_eq!(
        (member.http_only(), member.same_site().map(|s| s.to_string())),
        (Some(true), Some("Lax".into()))
    );
    press(visitor, "/theme", "button[value=dark]").await;
    assert_eq!(home(visitor, site).await, ["Hello Ada <3", "1 in your cart", "dark"]);

    // And round again.
    visitor.goto(&site.url("/cart")).await.expect("the cart");
    assert_eq!(text(visitor, "h1").await, "Cart of a member: 1");
    write(visitor, "thing", "milk").await;
    press(visitor, "/cart", "button").await;
    assert_eq!(text(visitor, "h1").await, "Cart of a member: 2");
    visitor.goto(&site.url("/account")).await.expect("the account");
    assert_eq!(text(visitor, "h1").await, "Your account");
    assert_eq!(home(visitor, site).await, ["Hello Ada <3", "2 in your cart", "dark"]);
    let cookies = visitor.get_all_cookies().await.expect("cookies");
    assert_eq!(
        cookies.iter().map(|c| c.name()).collect::<Vec<_>>(),
        ["connect.sid"],
        "one cookie for all three"
    );
    assert_eq!(cookies[0].value(), member.value());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_goes_round_koa_express_and_axum_and_stays_signed_in() {
    let (site, browser) =
        tokio::task::spawn_blocking(|| (Site::start(), Browser::start())).await.expect("the servers");
    for (page, logout) in [("/account", "/account/logout"), ("/", "/logout")] {
        let visitor = browser.open().await;
        round(&visitor, &site).await;
        visitor.goto(&site.url(page)).await.expect("a page");
        press(&visitor, logout, "button").await;
        assert_eq!(home(&visitor, &site).await, ["Hello stranger", "0 in your cart", "light"]);
        visitor.goto(&site.url("/cart")).await.expect("the cart");
        assert_eq!(text(&visitor, "h1").await, "Cart of a guest: 0");
        visitor.goto(&site.url("/account")).await.expect("the account");
        assert_eq!(text(&visitor, "h1").await, "Sign in");
        visitor.close().await.expect("a closed browser");
    }
    // Not in the executor's thread: it waits for processes to end.
    tokio::task::spawn_blocking(move || drop((site, browser))).await.expect("the end");
}

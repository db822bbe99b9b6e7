//! The example as a program, and its visitors.

use std::{
    future::Future,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use axum::http::Method;
use fantoccini::{Client, Locator, cookies::Cookie, wd::WebDriverCompatibleCommand};
use serde_json::{Value, json};

use crate::servers::{Server, browser::Browser, example};

pub const PASSWORD: &str = "kettle whistles softly";

/// No page of a loopback server takes longer, on the busiest machine.
const HANGS: Duration = Duration::from_secs(60);

/// The running example, and a chromedriver.
pub struct Site {
    server: Server,
    browser: Browser,
}

impl Site {
    pub async fn start(flags: &[&str]) -> Self {
        let flags: Vec<String> = flags.iter().map(|&flag| flag.to_owned()).collect();
        let start = move || {
            let mut server = Server::prepare();
            let port = server.port;
            server.start(
                Command::new(example::program("account")).args(["--port", &port.to_string()]).args(flags),
            );
            server.wait_until("the example", || Server::listens(port));
            Self { server, browser: Browser::start() }
        };
        tokio::task::spawn_blocking(start).await.expect("the servers")
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.server.port)
    }

    pub fn port(&self) -> u16 {
        self.server.port
    }

    /// Where its file is.
    pub fn folder(&self) -> &Path {
        self.server.folder()
    }

    /// What the program has printed.
    pub fn words(&self) -> String {
        std::fs::read_to_string(self.server.log()).expect("a log")
    }

    pub async fn visitor(&self) -> Visitor<'_> {
        self.visitor_with(json!({})).await
    }

    /// A browser with these preferences.
    pub async fn visitor_with(&self, preferences: Value) -> Visitor<'_> {
        let visitor = Visitor { client: self.browser.open_with(preferences).await, site: self };
        visitor.goto("/").await;
        visitor
    }

    /// A browser in which somebody has just made an account.
    pub async fn member(&self, name: &str) -> Visitor<'_> {
        let visitor = self.visitor().await;
        visitor.goto("/signup").await;
        visitor.write("name", name).await;
        visitor.write("password", PASSWORD).await;
        visitor.press("form.card button").await;
        assert_eq!(visitor.text("h1").await, format!("Hello, {name}"));
        visitor
    }

    /// Not in the executor's thread: it waits for processes to end.
    pub async fn stop(self) {
        tokio::task::spawn_blocking(move || drop(self)).await.expect("the end");
    }
}

/// A browser at the site.
pub struct Visitor<'a> {
    pub client: Client,
    site: &'a Site,
}

impl Visitor<'_> {
    pub async fn goto(&self, path: &str) {
        self.client.goto(&self.site.url(path)).await.expect(path);
    }

    /// Where the visitor is.
    pub async fn path(&self) -> String {
        let url = self.client.current_url().await.expect("an address");
        url.query().map_or(url.path().to_owned(), |query| format!("{}?{query}", url.path()))
    }

    pub async fn text(&self, css: &str) -> String {
        let element = self.client.wait().for_element(Locator::Css(css)).await.expect(css);
        element.text().await.expect("its text")
    }

    pub async fn texts(&self, css: &str) -> Vec<String> {
        let mut texts = Vec::new();
        for element in self.client.find_all(Locator::Css(css)).await.expect(css) {
            texts.push(element.text().await.expect("its text"));
        }
        texts
    }

    pub async fn attribute(&self, css: &str, name: &str) -> Option<String> {
        let element = self.client.wait().for_element(Locator::Css(css)).await.expect(css);
        element.attr(name).await.expect("an attribute")
    }

    pub async fn write(&self, name: &str, words: &str) {
        let field = self.client.wait().for_element(Locator::Css(&format!("input[name={name}]"))).await;
        field.expect(name).send_keys(words).await.expect("a field");
    }

    pub async fn tick(&self, css: &str) {
        self.client.find(Locator::Css(css)).await.expect(css).click().await.expect("a click");
    }

    /// Presses a button, or follows a link, and waits for the page that comes.
    pub async fn press(&self, css: &str) {
        let page = self.client.find(Locator::Css("html")).await.expect("a page");
        self.tick(css).await;
        // The old page is gone when its elements are.
        until("the next page", || async { page.tag_name().await.is_err() }).await;
    }

    pub async fn sign_in(&self, name: &str, password: &str) {
        self.write("name", name).await;
        self.write("password", password).await;
        self.press("form.card button").await;
    }

    pub async fn sign_out(&self) {
        self.press("nav form button").await;
    }

    pub async fn is_signed_in(&self) -> bool {
        self.goto("/account").await;
        self.path().await == "/account"
    }

    pub async fn cookie(&self) -> Cookie<'static> {
        self.client.get_named_cookie("axum.sid").await.expect("a cookie")
    }

    /// What a script in the page gives.
    pub async fn run(&self, script: &str) -> Value {
        self.client.execute(script, Vec::new()).await.expect(script)
    }

    /// A command of Chromium's own protocol.
    pub async fn devtools(&self, command: &str, parameters: Value) {
        let command = DevTools(json!({ "cmd": command, "params": parameters }));
        self.client.issue_cmd(command).await.expect("a command of Chromium");
    }

    pub async fn close(self) {
        self.client.close().await.expect("a closed browser");
    }
}

/// Waits for what will be so.
pub async fn until<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let start = Instant::now();
    while !is_so().await {
        assert!(start.elapsed() < HANGS, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// chromedriver's way to Chromium's own protocol.
#[derive(Debug)]
struct DevTools(Value);

impl WebDriverCompatibleCommand for DevTools {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/goog/cdp/execute", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &url::Url) -> (Method, Option<String>) {
        (Method::POST, Some(self.0.to_string()))
    }
}

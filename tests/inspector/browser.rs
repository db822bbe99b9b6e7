//! The example in real headless Chromium: wide and narrow, light and dark, with a keyboard, without JavaScript.

use std::{process::Command, time::Duration};

use fantoccini::{Client, Locator};
use serde_json::{Value, json};

use crate::servers::{Server, browser::Browser, example::program, free_port};

/// The example, and a browser.
struct Stage {
    example: Server,
    browser: Browser,
    port: u16,
}

impl Stage {
    async fn set() -> Self {
        let start = || {
            let mut example = Server::prepare();
            let port = free_port();
            example.start(Command::new(program("inspector")).arg(port.to_string()));
            example.wait_until("the example", || Server::listens(port));
            Self { example, browser: Browser::start(), port }
        };
        tokio::task::spawn_blocking(start).await.expect("the servers")
    }

    fn url(&self, path: &str) -> String {
        format!("http://localhost:{}/sessions{path}", self.port)
    }

    async fn clear(self) {
        // Not in the executor's thread: it waits for processes to end.
        let Self { example, browser, .. } = self;
        tokio::task::spawn_blocking(move || drop((example, browser))).await.expect("the end");
    }
}

async fn run(page: &Client, script: &str) -> Value {
    page.execute(script, Vec::new()).await.expect("a script")
}

async fn count(page: &Client, css: &str) -> usize {
    page.find_all(Locator::Css(css)).await.expect(css).len()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_looks_around_and_signs_somebody_out() {
    let stage = Stage::set().await;
    let page = stage.browser.open().await;
    for (width, height) in [(1280, 900), (390, 800), (320, 700)] {
        page.set_window_size(width, height).await.expect("a size");
        for path in ["", "?minutes=60"] {
            page.goto(&stage.url(path)).await.expect("the page");
            assert_eq!(count(&page, "figure svg[role=img][aria-label]").await, 4, "at {width}");
            assert_eq!(count(&page, "main h1").await, 1);
            assert!(count(&page, "table.list tbody tr").await >= 20);
            // Nothing is wider than the window, and the style sheet has come.
            let overhang = run(
                &page,
                "return document.documentElement.scrollWidth - document.documentElement.clientWidth",
            )
            .await;
            assert_eq!(overhang, json!(0), "at {width}{path}");
            let background = "return getComputedStyle(document.querySelector('.tile')).borderTopLeftRadius";
            assert_eq!(run(&page, background).await, json!("11px"));
            // The plots are drawn, and their colours are those of the style sheet.
            let colour = "return getComputedStyle(document.querySelector('figure rect.c1')).fill";
            assert_ne!(run(&page, colour).await, json!("rgb(0, 0, 0)"));
            assert!(count(&page, "figure rect").await > 10);
        }
    }

    // It looks after itself, unless it is told not to.
    page.set_window_size(1280, 900).await.expect("a size");
    page.goto(&stage.url("")).await.expect("the page");
    run(&page, "window.kept = true; document.querySelector('#main').dataset.old = 'yes'").await;
    page.wait()
        .at_most(Duration::from_secs(60))
        .for_element(Locator::Css("#main:not([data-old])"))
        .await
        .expect("fresh content");
    assert_eq!(run(&page, "return window.kept").await, json!(true), "without a reload");
    let pause = page.find(Locator::Css("#pause")).await.expect("a button");
    pause.click().await.expect("a click");
    assert_eq!(pause.attr("aria-pressed").await.expect("its state").as_deref(), Some("true"));

    // One session, by the keyboard.
    let link = page.find(Locator::Css("table.list a")).await.expect("a session");
    let handle = link.text().await.expect("its handle");
    link.send_keys("\u{e007}").await.expect("the key Enter");
    page.wait()
        .for_url(&stage.url(&format!("/session/{handle}")).parse().expect("an address"))
        .await
        .expect("its page");
    assert_eq!(
        page.find(Locator::Css("h1")).await.expect("a title").text().await.expect("text"),
        format!("Session {handle}")
    );
    assert!(count(&page, "table.data .masked").await >= 1);
    assert_eq!(count(&page, "table.data pre").await, 0);
    let button = page.find(Locator::Css(".danger button")).await.expect("a button");
    assert!(!button.is_displayed().await.expect("its state"), "no click ends a session by mistake");
    page.find(Locator::Css(".danger summary")).await.expect("a fold").click().await.expect("a click");
    button.click().await.expect("a click");
    let note = page.wait().for_element(Locator::Css("p.note")).await.expect("a note");
    assert_eq!(note.text().await.expect("text"), format!("Session {handle} was signed out."));
    page.goto(&stage.url(&format!("/session/{handle}"))).await.expect("a page");
    assert_eq!(
        page.find(Locator::Css("h1")).await.expect("a title").text().await.expect("text"),
        "Not found"
    );

    // The policy let everything pass that the pages need.
    let blocked =
        "return performance.getEntriesByType('resource').filter(r => r.responseStatus >= 400).length";
    assert_eq!(run(&page, blocked).await, json!(0));
    page.close().await.expect("a closed browser");
    stage.clear().await;
}

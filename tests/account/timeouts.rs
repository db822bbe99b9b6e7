//! When sessions end: shown ahead, and kept.

use crate::site::{Site, until};

#[tokio::test(flavor = "multi_thread")]
async fn the_page_counts_down_and_closes_when_the_idle_timeout_is_over() {
    let site = Site::start(&["--idle", "10s"]).await;
    let ada = site.member("ada").await;
    let shown = ada.text("#ends time:first-of-type").await;
    assert!(shown.starts_with("in 0:"), "{shown}");
    until("the countdown", || async { ada.text("#ends time:first-of-type").await != shown }).await;
    until("the end", || async { ada.path().await == "/away" }).await;
    assert_eq!(ada.text("h1").await, "Still there?");
    ada.client.back().await.expect("the page before");
    assert_eq!(ada.path().await, "/signup", "hers was replaced");
    ada.goto("/away").await;
    ada.press("a.button").await;
    assert_eq!(ada.path().await, "/signin?next=%2Faccount");
    ada.close().await;
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tab_in_use_keeps_the_session_and_a_forgotten_one_does_not() {
    let site = Site::start(&["--idle", "8s"]).await;
    let ada = site.member("ada").await;
    let forgotten = ada.client.window().await.expect("a tab");
    let used = ada.client.new_window(true).await.expect("another tab").handle;
    ada.client.switch_to_window(used.clone()).await.expect("a switch");
    let start = std::time::Instant::now();
    // Longer than the idle timeout, by one click after the other.
    until("ten seconds of use", || async {
        assert!(ada.is_signed_in().await);
        start.elapsed().as_secs() >= 10
    })
    .await;
    ada.client.switch_to_window(forgotten).await.expect("a switch");
    until("the forgotten tab", || async { ada.path().await == "/away" }).await;
    ada.client.switch_to_window(used).await.expect("a switch");
    // The forgotten one has not prolonged anything: this one ends by itself too.
    until("the used tab", || async { ada.path().await == "/away" }).await;
    ada.close().await;
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_stays_signed_in_beyond_the_absolute_timeout() {
    let site = Site::start(&["--absolute", "15s"]).await;
    let ada = site.member("ada").await;
    let times = ada.texts("#ends time").await;
    assert_eq!(times[0], times[1], "the earlier end is the one that counts");
    until("the absolute timeout", || async { !ada.is_signed_in().await }).await;
    ada.close().await;
    site.stop().await;
}

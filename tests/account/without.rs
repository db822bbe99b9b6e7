//! Browsers that lack something.

use serde_json::json;

use crate::site::{PASSWORD, Site};

#[tokio::test(flavor = "multi_thread")]
async fn without_cookies_the_site_says_what_it_needs() {
    let site = Site::start(&[]).await;
    let visitor = site.visitor_with(json!({ "profile.default_content_setting_values.cookies": 2 })).await;
    assert_eq!(visitor.text("h1").await, "Good tea, in small tins", "who only looks needs none");
    assert!(visitor.client.get_all_cookies().await.expect("cookies").is_empty());
    visitor.press("li:has(.sencha) button").await;
    assert_eq!(visitor.text("h1").await, "This needs a cookie");
    visitor.goto("/signin").await;
    visitor.sign_in("ada", PASSWORD).await;
    assert_eq!(visitor.text("h1").await, "This needs a cookie");
    visitor.close().await;
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_javascript_nothing_is_missing_but_the_counting() {
    let site = Site::start(&["--idle", "2h"]).await;
    site.member("ada").await.close().await;
    let ada = site.visitor_with(json!({ "profile.default_content_setting_values.javascript": 2 })).await;
    ada.press("li:has(.assam) button").await;
    ada.goto("/signin?next=/account").await;
    ada.sign_in("ada", PASSWORD).await;
    assert_eq!(ada.text("h1").await, "Hello, ada");
    let ends = ada.text("#ends").await;
    let is_time = |text: &str| text.len() == 12 && text.starts_with("at ") && text.ends_with(" UTC");
    assert!(is_time(&ada.text("#ends time").await), "{ends}");
    assert!(ends.contains(", and in any case on "), "{ends}");

    ada.press(".theme button[value=dark]").await;
    assert_eq!(ada.attribute("html", "data-theme").await.as_deref(), Some("dark"));
    ada.goto("/cart").await;
    assert_eq!(ada.texts(".amount output").await, ["1"]);
    ada.goto("/account").await;
    assert_eq!(ada.texts(".what b").await.len(), 2);
    ada.press("button.danger").await;
    assert_eq!(ada.text("[role=status]").await, "One other device is signed out.");
    ada.sign_out().await;
    ada.client.back().await.expect("the page before");
    assert_eq!(ada.text("h1").await, "Sign in");
    ada.close().await;
    site.stop().await;
}

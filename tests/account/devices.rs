//! One member, several browsers at once.

#[cfg(feature = "redis-store")]
use crate::site::until;
use crate::site::{PASSWORD, Site};

#[tokio::test(flavor = "multi_thread")]
async fn one_browser_signs_the_other_out() {
    let site = Site::start(&[]).await;
    let (desk, sofa, phone) = (site.member("ada").await, site.visitor().await, site.visitor().await);
    let agent = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
                 Version/18.0 Mobile/15E148 Safari/604.1";
    phone.devtools("Network.setUserAgentOverride", serde_json::json!({ "userAgent": agent })).await;
    for browser in [&sofa, &phone] {
        browser.goto("/signin").await;
        browser.sign_in("ada", PASSWORD).await;
    }
    desk.goto("/account").await;
    let names = ["Safari on iPhone", "Chrome on Linux", "Chrome on Linux this one"];
    assert_eq!(desk.texts(".what b").await, names, "the newest login first");
    let told = desk.texts(".what span.quiet").await;
    assert!(told.iter().all(|text| text.starts_with("Signed in ") && text.contains(" · seen ")), "{told:?}");

    desk.press("li:first-child form button").await;
    assert_eq!(desk.text("[role=status]").await, "That device is signed out.");
    assert_eq!(desk.texts(".what b").await, names[1..]);
    assert!(!phone.is_signed_in().await);
    assert!(sofa.is_signed_in().await, "the others are not meant");

    desk.press("button.danger").await;
    assert_eq!(desk.text("[role=status]").await, "One other device is signed out.");
    assert!(!sofa.is_signed_in().await);
    assert!(desk.is_signed_in().await);

    // One that is still in the list of a page, and gone.
    phone.goto("/signin").await;
    phone.sign_in("ada", PASSWORD).await;
    desk.goto("/account").await;
    phone.sign_out().await;
    desk.press("li:first-child form button").await;
    assert_eq!(desk.text("[role=status]").await, "That device was signed out already.");
    for browser in [desk, sofa, phone] {
        browser.close().await;
    }
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_signs_out_the_device_of_somebody_else() {
    let site = Site::start(&[]).await;
    let (ada, eve, also_eve) = (site.member("ada").await, site.member("eve").await, site.visitor().await);
    also_eve.goto("/signin").await;
    also_eve.sign_in("eve", PASSWORD).await;
    // The handle of ada's only session, from the page of a second login of hers.
    let second = site.visitor().await;
    second.goto("/signin").await;
    second.sign_in("ada", PASSWORD).await;
    second.goto("/account").await;
    let handle = second.attribute("input[name=handle]", "value").await.expect("a handle");

    eve.goto("/account").await;
    eve.run(&format!("document.querySelector('input[name=handle]').value = '{handle}'")).await;
    eve.press("form[action='/devices/end'] button").await;
    assert_eq!(eve.text("[role=status]").await, "That device was signed out already.");
    assert!(ada.is_signed_in().await);
    assert!(also_eve.is_signed_in().await);
    for browser in [ada, eve, also_eve, second] {
        browser.close().await;
    }
    site.stop().await;
}

#[cfg(feature = "redis-store")]
#[tokio::test(flavor = "multi_thread")]
async fn all_of_it_with_the_sessions_in_redis_and_an_outage_is_not_a_logout() {
    let redis = tokio::task::spawn_blocking(crate::servers::redis::Redis::start).await.expect("a Redis");
    let site = Site::start(&["--redis", &redis.url()]).await;
    assert!(site.words().contains("sessions in Redis, users in account.db"));
    let (desk, sofa) = (site.member("ada").await, site.visitor().await);
    sofa.press("li:has(.sencha) button").await;
    sofa.goto("/signin").await;
    sofa.sign_in("ada", PASSWORD).await;
    assert_eq!(sofa.text(".count").await, "1", "the guest's cart");

    redis.signal("STOP");
    sofa.goto("/account").await;
    assert_eq!(sofa.text("h1").await, "Back in a minute");
    redis.signal("CONT");
    until("Redis is back", || sofa.is_signed_in()).await;
    assert_eq!(sofa.texts(".what b").await, ["Chrome on Linux this one", "Chrome on Linux"]);
    sofa.press("button.danger").await;
    assert_eq!(sofa.text("[role=status]").await, "One other device is signed out.");
    assert!(!desk.is_signed_in().await);
    desk.close().await;
    sofa.close().await;
    site.stop().await;
    tokio::task::spawn_blocking(move || drop(redis)).await.expect("the end");
}

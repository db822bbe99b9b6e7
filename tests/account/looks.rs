//! How it looks: dark and light, wide and narrow. The pictures of the README are made here.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::site::{PASSWORD, Site, Visitor};

const PAGES: [&str; 7] =
    ["/", "/cart", "/signin", "/signup", "/account", "/account/password", "/no-such-page"];

async fn size(visitor: &Visitor<'_>, width: u32, height: u32) {
    let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
    visitor.devtools("Emulation.setDeviceMetricsOverride", metrics).await;
}

async fn prefers(visitor: &Visitor<'_>, scheme: &str) {
    let feature = json!({ "name": "prefers-color-scheme", "value": scheme });
    visitor.devtools("Emulation.setEmulatedMedia", json!({ "features": [feature] })).await;
}

/// Leaves a picture where `ACCOUNT_SCREENSHOTS` says.
async fn picture(visitor: &Visitor<'_>, name: &str) {
    let Some(folder) = std::env::var_os("ACCOUNT_SCREENSHOTS") else { return };
    visitor.run("return document.fonts.ready.then(() => true)").await;
    let png = visitor.client.screenshot().await.expect("a picture");
    let folder = PathBuf::from(folder);
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join(format!("account-{name}.png")), png).expect("a file");
}

async fn paper(visitor: &Visitor<'_>) -> Value {
    visitor.run("return getComputedStyle(document.documentElement).backgroundColor").await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_page_is_wider_than_a_narrow_screen() {
    let site = Site::start(&[]).await;
    let ada = site.member("ada-lovelace-with-a-long-name-ab").await;
    for tea in ["sencha", "darjeeling"] {
        ada.goto("/").await;
        ada.press(&format!("li:has(.{tea}) button")).await;
    }
    let guest = site.visitor().await;
    for (visitor, width) in [(&ada, 320), (&guest, 320), (&ada, 600), (&ada, 1100)] {
        size(visitor, width, 700).await;
        for page in PAGES {
            visitor.goto(page).await;
            let wide = visitor.run("return document.documentElement.scrollWidth").await;
            assert!(wide.as_u64().is_some_and(|wide| wide <= u64::from(width)), "{page}: {wide} of {width}");
            // Nothing is cut off either, and what is pressed is large enough for a finger.
            let small = "return [...document.querySelectorAll('nav a, nav button, main button, .button')]
                .filter((e) => e.getBoundingClientRect().height < 24).map((e) => e.outerHTML)";
            assert_eq!(visitor.run(small).await, json!([]), "{page} at {width}");
        }
    }
    ada.close().await;
    guest.close().await;
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dark_by_the_system_or_by_choice() {
    let site = Site::start(&[]).await;
    let visitor = site.visitor().await;
    prefers(&visitor, "light").await;
    let light = paper(&visitor).await;
    prefers(&visitor, "dark").await;
    let dark = paper(&visitor).await;
    assert_ne!(light, dark, "as the system prefers");
    visitor.press("button[value=light]").await;
    assert_eq!(paper(&visitor).await, light, "the choice beats the system");
    assert_eq!(visitor.attribute("button[value=light]", "aria-pressed").await.as_deref(), Some("true"));
    visitor.goto("/signup?next=/cart").await;
    visitor.press("button[value=dark]").await;
    assert_eq!(visitor.path().await, "/signup?next=/cart", "back to the page it was chosen on");
    visitor.write("name", "ada").await;
    visitor.write("password", PASSWORD).await;
    visitor.press("form.card button").await;
    prefers(&visitor, "light").await;
    assert_eq!(paper(&visitor).await, dark, "kept by the login");
    visitor.press("button[value=auto]").await;
    assert_eq!(paper(&visitor).await, light);
    visitor.close().await;
    site.stop().await;
}

/// Contrast of text and what is behind it, for each element that has text of its own; WCAG asks for 4.5.
const PALE: &str = r#"
const context = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
const rgba = (color) => { context.clearRect(0, 0, 1, 1); context.fillStyle = color; context.fillRect(0, 0, 1, 1);
  return [...context.getImageData(0, 0, 1, 1).data]; };
const light = (color) => rgba(color).slice(0, 3).map((c) => c / 255)
  .map((c) => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
  .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
const behind = (e) => { for (; e; e = e.parentElement) {
  const color = getComputedStyle(e).backgroundColor; if (rgba(color)[3] === 255) return color; } return 'white'; };
return [...document.querySelectorAll('body *')]
  .filter((e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()))
  .map((e) => { const [a, b] = [light(getComputedStyle(e).color), light(behind(e))].sort((a, b) => b - a);
    return [(a + 0.05) / (b + 0.05), e.outerHTML.slice(0, 80)]; })
  .filter(([contrast]) => contrast < 4.5);
"#;

#[tokio::test(flavor = "multi_thread")]
async fn everything_can_be_read_and_reached() {
    let site = Site::start(&[]).await;
    let ada = site.member("ada").await;
    let sofa = site.visitor().await;
    sofa.goto("/signin").await;
    sofa.sign_in("ada", PASSWORD).await;
    ada.goto("/").await;
    ada.press("li:has(.sencha) button").await;
    for scheme in ["light", "dark"] {
        prefers(&ada, scheme).await;
        for page in PAGES {
            ada.goto(page).await;
            assert_eq!(ada.run(PALE).await, json!([]), "{page}, {scheme}");
            let nameless = "return [...document.querySelectorAll('input:not([type=hidden])')]
                .filter((e) => e.labels.length === 0).length";
            assert_eq!(ada.run(nameless).await, 0, "{page}: each field has a label");
            let landmarks = "return ['main', 'header', 'h1'].map((e) => document.querySelectorAll(e).length)";
            assert_eq!(ada.run(landmarks).await, json!([1, 1, 1]), "{page}");
        }
    }
    ada.close().await;
    sofa.close().await;
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures() {
    let site = Site::start(&[]).await;
    let phone = site.member("ada").await;
    let agent = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Safari/604.1";
    phone.devtools("Network.setUserAgentOverride", json!({ "userAgent": agent })).await;
    phone.sign_out().await;
    phone.goto("/signin").await;
    phone.sign_in("ada", PASSWORD).await;
    let desk = site.visitor().await;
    for visitor in [&desk, &phone] {
        visitor.devtools("Emulation.setScrollbarsHidden", json!({ "hidden": true })).await;
    }
    size(&desk, 1100, 940).await;
    prefers(&desk, "light").await;
    for tea in ["sencha", "oolong", "sencha"] {
        desk.press(&format!("li:has(.{tea}) button")).await;
    }
    desk.goto("/").await;
    picture(&desk, "wide-light").await;
    desk.goto("/signin").await;
    desk.sign_in("ada", PASSWORD).await;
    desk.goto("/account").await;
    prefers(&desk, "dark").await;
    picture(&desk, "wide-dark").await;
    prefers(&phone, "light").await;
    size(&phone, 320, 640).await;
    phone.goto("/account").await;
    picture(&phone, "narrow").await;
    desk.close().await;
    phone.close().await;
    site.stop().await;
}

//! The flows of one visitor: looking round, signing up, in and out, the cart, the password.

use crate::site::{PASSWORD, Site};

#[tokio::test(flavor = "multi_thread")]
async fn a_guests_cart_survives_the_login_and_is_ordered_once() {
    let site = Site::start(&[]).await;
    site.member("ada").await.close().await;
    let ada = site.visitor().await;
    let as_guest = ada.cookie().await;
    for tea in ["sencha", "oolong", "sencha"] {
        ada.press(&format!("li:has(.{tea}) button")).await;
    }
    assert_eq!(ada.text("[role=status]").await, "Sencha Asatsuyu is in your cart.");
    ada.press("nav a[href='/cart']").await;
    assert!(ada.client.find(fantoccini::Locator::Css("[role=status]")).await.is_err(), "said once");
    assert_eq!(ada.texts(".amount output").await, ["2", "1"]);
    assert_eq!(ada.text(".total b").await, "€ 48.20");
    ada.press("li:has(.oolong) button[value=less]").await;
    ada.press("li:has(.sencha) button[value=more]").await;
    assert_eq!(ada.texts(".amount output").await, ["3"]);

    ada.press(".total button").await;
    assert_eq!(ada.path().await, "/signin?next=%2Fcart");
    ada.sign_in("ADA", PASSWORD).await;
    assert_eq!(ada.path().await, "/cart", "back to where the visitor was");
    assert_eq!(ada.text("[role=status]").await, "Good to see you, ada.");
    assert_eq!(ada.texts(".amount output").await, ["3"], "the guest's cart");
    assert_ne!(ada.cookie().await.value(), as_guest.value(), "a new id at the login");

    ada.press(".total button").await;
    let thanks = "Thank you, ada: 3 tins would be on the way now, if this were a shop.";
    assert_eq!(ada.text("[role=status]").await, thanks);
    ada.goto("/cart").await;
    assert_eq!(ada.text("main .quiet").await, "Nothing in it yet.");
    ada.close().await;
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_up_says_what_is_wrong_and_signing_in_does_not() {
    let site = Site::start(&[]).await;
    let visitor = site.member("grace").await;
    assert_eq!(visitor.text("[role=status]").await, "Welcome, grace. This is your account.");
    visitor.sign_out().await;
    assert_eq!(visitor.text("[role=status]").await, "You are signed out. See you soon.");

    for (name, password, why) in [
        ("Grace", PASSWORD, "That name is taken."),
        ("grace<b>", PASSWORD, "A name has 2 to 32 letters, digits, or any of - _ ."),
        ("alan", "short", "A password has 10 to 128 characters."),
    ] {
        visitor.goto("/signup").await;
        // The server decides, whatever the browser checks.
        visitor.run("document.querySelector('form.card').noValidate = true").await;
        visitor.sign_in(name, password).await;
        assert_eq!(visitor.text("[role=alert]").await, why);
        assert_eq!(visitor.attribute("#name", "value").await.as_deref(), Some(name), "is not lost");
    }

    let mut answers = Vec::new();
    for (name, password) in [("grace", "not her password"), ("nobody", PASSWORD), ("", "x")] {
        visitor.goto("/signin").await;
        visitor.run("document.querySelector('form.card').noValidate = true").await;
        visitor.sign_in(name, password).await;
        answers.push(visitor.text("[role=alert]").await);
    }
    assert_eq!(answers, ["That is not a name and password we know."; 3]);
    visitor.goto("/signin").await;
    visitor.sign_in("grace", PASSWORD).await;
    assert_eq!(visitor.text("h1").await, "Hello, grace");
    visitor.goto("/signin?next=/cart").await;
    assert_eq!(visitor.path().await, "/cart", "who is signed in is not asked again");
    visitor.close().await;
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_wants_to_be_remembered_has_a_cookie_that_outlives_the_browser() {
    let site = Site::start(&[]).await;
    let ada = site.member("ada").await;
    assert_eq!(ada.texts("dd").await[2], "no");
    assert!(ada.cookie().await.expires().is_none_or(|end| end.is_session()), "until the browser is closed");
    ada.sign_out().await;
    ada.goto("/signin").await;
    ada.tick("input[name=remember]").await;
    ada.sign_in("ada", PASSWORD).await;
    assert_eq!(ada.texts("dd").await[2], "yes");
    let cookie = ada.cookie().await;
    let end = cookie.expires().and_then(|end| end.datetime()).expect("an end");
    let days = (end - time::OffsetDateTime::now_utc()).whole_days();
    assert!((29..=30).contains(&days), "{days} days");
    assert_eq!(ada.texts("dd time").await, ["in 30 days", "in 90 days"]);

    // The next visitor of this browser is not.
    ada.sign_out().await;
    assert!(ada.cookie().await.expires().is_none_or(|end| end.is_session()));
    ada.close().await;
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_logout_the_back_button_shows_nothing() {
    let site = Site::start(&[]).await;
    let ada = site.member("ada").await;
    ada.goto("/account/password").await;
    ada.goto("/account").await;
    ada.sign_out().await;
    for _ in 0..2 {
        ada.client.back().await.expect("the page before");
        assert_eq!(ada.text("h1").await, "Sign in");
        assert!(!ada.client.source().await.expect("a page").contains("Hello, ada"));
    }
    ada.close().await;
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_password_ends_every_other_session() {
    let site = Site::start(&[]).await;
    let (ada, other) = (site.member("ada").await, site.visitor().await);
    other.goto("/signin").await;
    other.sign_in("ada", PASSWORD).await;
    let before = ada.cookie().await;

    ada.goto("/account/password").await;
    ada.write("old", "not her password").await;
    ada.write("new", "steam rises slowly").await;
    ada.press("form.card button").await;
    assert_eq!(ada.text("[role=alert]").await, "That is not the password you have.");
    assert!(other.is_signed_in().await);
    ada.write("old", PASSWORD).await;
    ada.write("new", "steam rises slowly").await;
    ada.press("form.card button").await;
    assert_eq!(ada.text("[role=status]").await, "Your password is changed. One other device is signed out.");
    assert_ne!(ada.cookie().await.value(), before.value(), "a new id");

    assert!(!other.is_signed_in().await);
    other.sign_in("ada", PASSWORD).await;
    assert_eq!(other.text("[role=alert]").await, "That is not a name and password we know.");
    other.goto("/signin").await;
    other.sign_in("ada", "steam rises slowly").await;
    assert_eq!(other.text("h1").await, "Hello, ada");
    ada.close().await;
    other.close().await;
    site.stop().await;
}

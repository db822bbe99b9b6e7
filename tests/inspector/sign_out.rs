//! The button: only from a form of this process, on a page of its own origin.

use axum::{
    body::Body,
    http::{Request, header},
};
use axum_generic_session::{
    Inspector, Operation,
    store::StoreErrorKind,
    testing::{Answer, Client, Fault},
};

use crate::{AT, links, mounted, operator, site::Site, tile, token};

/// A visitor with a session, an operator, the page of that session and its token.
async fn scene() -> (Site, Client, Client, String, String) {
    let site = Site::new();
    let mut operator = operator(&site);
    let visitor = site.known("alice").await;
    let page = links(&operator.get(AT).await.text()).remove(0);
    let token = token(&operator.get(&page).await.text());
    (site, visitor, operator, page, token)
}

async fn press(operator: &mut Client, page: &str, body: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::post(format!("{page}/end"))
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(header::HOST, "shop.example");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    operator.send(request.body(Body::from(body.to_owned()))).await
}

#[tokio::test]
async fn it_signs_the_visitor_out() {
    let (site, mut visitor, mut operator, page, token) = scene().await;
    let form = format!("token={token}");
    let answer = press(&mut operator, &page, &form, &[("sec-fetch-site", "same-origin")]).await;
    assert_eq!((answer.status.as_u16(), answer.header("cache-control").as_str()), (303, "no-store"));
    let handle = page.rsplit('/').next().unwrap();
    assert_eq!(answer.header("location"), format!("../../overview?ended={handle}"));
    let overview = operator.get(&format!("{AT}/overview?ended={handle}")).await.expect_status(200).text();
    assert!(overview.contains("was signed out"));
    assert!(links(&overview).is_empty(), "it is not listed any more");
    let _ = operator.get(&page).await.expect_status(404);

    assert_eq!(site.data_of(&visitor).await, None);
    let _ = visitor.get("/set/a/1").await.expect_status(200);
    assert_eq!(site.data_of(&visitor).await.unwrap(), serde_json::json!({ "a": "1" }), "a new session");
    // Pressed twice, by two operators.
    let _ = press(&mut operator, &page, &form, &[]).await.expect_status(404);
}

#[tokio::test]
async fn what_comes_from_elsewhere_is_refused() {
    let (site, visitor, mut operator, page, token) = scene().await;
    let form = format!("token={token}");
    let another = {
        let mut other = Client::new(mounted(&Inspector::new(&site.layer).unwrap()));
        crate::token(&other.get(&page).await.text())
    };
    assert_ne!(another, token);
    let short = &form[..form.len() - 1];
    let large = format!("{form}&x={}", "x".repeat(2000));
    for (body, headers) in [
        ("", &[][..]),
        ("token=", &[]),
        (short, &[]),
        (&format!("token={another}"), &[]),
        (&large, &[]),
        (&form, &[("sec-fetch-site", "cross-site")]),
        (&form, &[("sec-fetch-site", "same-site")]),
        (&form, &[("sec-fetch-site", "none")]),
        (&form, &[("origin", "https://evil.example")]),
        (&form, &[("origin", "null")]),
        (&form, &[("origin", "https://shop.example.evil.example")]),
        (&form, &[("sec-fetch-site", "cross-site"), ("origin", "https://shop.example")]),
    ] {
        let answer = press(&mut operator, &page, body, headers).await.expect_status(403);
        assert_eq!(answer.header("x-frame-options"), "DENY");
        assert!(!answer.text().contains(&token), "no token for whoever has none");
    }
    let _ = operator.get(&format!("{page}/end?{form}")).await.expect_status(405);
    assert!(site.data_of(&visitor).await.is_some(), "still signed in");

    for headers in [&[("origin", "https://shop.example")][..], &[]] {
        let visitor = site.known("bob").await;
        let newest = links(&operator.get(AT).await.text()).into_iter().find(|link| *link != page).unwrap();
        let _ = press(&mut operator, &newest, &form, headers).await.expect_status(303);
        assert_eq!(site.data_of(&visitor).await, None);
    }
}

#[tokio::test]
async fn one_that_fails_says_so() {
    let (site, visitor, mut operator, page, token) = scene().await;
    site.store.fail(Operation::Destroy, Fault::before(StoreErrorKind::ReadOnly));
    let answer = press(&mut operator, &page, &format!("token={token}"), &[]).await.expect_status(503);
    assert!(answer.text().contains("the session store is read-only"), "{}", answer.text());
    site.store.heal();
    assert!(site.data_of(&visitor).await.is_some());
    let overview = operator.get(AT).await.text();
    assert_eq!(links(&overview), [page], "it is still listed");
    assert_eq!(tile(&overview, "Live"), "1");
}

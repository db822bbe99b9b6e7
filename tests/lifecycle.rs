//! One visitor, one request after the other: what each method of a session does.
#![cfg(all(feature = "memory-store", feature = "testing"))]

mod site;

use axum::{Json, routing::get};
use axum_generic_session::{CookieOptions, Error, Loaded, Map, MaxAge, Saved, Session, testing};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use site::{COOKIE, Site};
use std::time::Duration;

#[derive(Default, Serialize, Deserialize, Clone)]
struct Cart {
    items: Vec<String>,
    coupon: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Prefs {
    theme: String,
}

impl Default for Prefs {
    fn default() -> Self {
        Self { theme: "light".into() }
    }
}

#[tokio::test]
async fn a_session_begins_with_the_first_value_and_comes_back() {
    let site = Site::new();
    let mut visitor = site.visitor();
    for path in ["/", "/untouched", "/read"] {
        assert_eq!(visitor.get(path).await.expect_status(200).set_cookies(), [""; 0], "{path}");
    }
    let answer = visitor.get("/set/a/1").await.expect_status(200);
    assert_eq!(answer.set_cookies().len(), 1);
    assert_eq!(visitor.get("/read").await.json(), json!({"a": "1"}));
    assert_eq!(site.visitor().get("/read").await.json(), json!({}), "somebody else");
    assert_eq!(site.store.inner().len(), 1);
}

#[tokio::test]
async fn an_update_changes_fields_and_leaves_the_rest() {
    let site = Site::new()
        .page(
            "/add",
            get(|cart: Session<Cart>| async move {
                cart.update(|cart| {
                    cart.items.push("book".into());
                    cart.items.len()
                })
                .await
                .map(|n| n.to_string())
            }),
        )
        .page(
            "/dark",
            get(|prefs: Session<Prefs>| async move { prefs.update(|p| p.theme = "dark".into()).await }),
        )
        .page(
            "/theme",
            get(|prefs: Session<Prefs>| async move { prefs.get().await.map(|p| p.theme.clone()) }),
        );
    let mut visitor = site.visitor();
    assert_eq!(visitor.get("/theme").await.text(), "light", "the default of a visitor without a session");
    assert_eq!(visitor.get("/add").await.text(), "1");
    assert_eq!(visitor.get("/theme").await.text(), "light", "the default of a field that is not stored");
    visitor.get("/dark").await;
    assert_eq!(visitor.get("/add").await.text(), "2");
    let stored = site.data_of(&visitor).await.unwrap();
    assert_eq!(
        stored,
        json!({"items": ["book", "book"], "theme": "dark"}),
        "what no update changed is not stored"
    );
}

#[tokio::test]
async fn writing_what_is_there_already_is_no_change() {
    let site = Site::new().page(
        "/undo",
        get(|s: Session| async move {
            s.insert("user", "mallory").await?;
            s.remove("nothing").await?;
            s.insert("new", 1).await?;
            s.remove("new").await?;
            s.insert("user", "alice").await
        }),
    );
    let mut visitor = site.known("alice").await;
    for path in ["/set/user/alice", "/undo", "/remove/nothing"] {
        assert_eq!(visitor.get(path).await.expect_status(200).set_cookies(), [""; 0], "{path}");
    }
    assert_eq!(site.store.calls().set, 0);
}

#[tokio::test]
async fn all_handles_of_a_request_are_one_session() {
    let site = Site::new().page(
        "/both",
        get(|a: Session<Cart>, b: Session<Prefs>, c: Session| async move {
            a.update(|cart| cart.items.push("pen".into())).await?;
            b.update(|prefs| prefs.theme = "dark".into()).await?;
            let view = c.view::<Cart>();
            assert_eq!(view.get().await?.items, ["pen"]);
            let (x, y) = tokio::join!(a.get(), c.value::<String>("theme"));
            assert_eq!((x?.items.len(), y?.as_deref()), (1, Some("dark")));
            Ok::<_, Error>(Json(c.get().await?.as_ref().clone()))
        }),
    );
    let mut visitor = site.known("alice").await;
    let expected = json!({"user": "alice", "items": ["pen"], "theme": "dark"});
    assert_eq!(visitor.get("/both").await.json(), expected);
    assert_eq!(site.data_of(&visitor).await.unwrap(), expected);
    let calls = site.store.calls();
    assert_eq!((calls.get, calls.set, calls.total()), (1, 1, 2));
}

#[tokio::test]
async fn set_replaces_every_key_and_an_emptied_session_goes_on_empty() {
    let site = Site::new()
        .page("/replace", get(|s: Session<Cart>| async move { s.set(Cart::default()).await }))
        .page("/clear", get(|s: Session| async move { s.clear().await }));
    let mut visitor = site.known("alice").await;
    visitor.get("/replace").await;
    assert_eq!(site.data_of(&visitor).await.unwrap(), json!({"items": [], "coupon": null}));
    let before = visitor.cookie(COOKIE).map(str::to_owned);
    let answer = visitor.get("/clear").await.expect_status(200);
    assert_eq!(answer.set_cookies().len(), 1, "saved, and told");
    assert_eq!(site.data_of(&visitor).await.unwrap(), json!({}));
    assert_eq!(visitor.cookie(COOKIE).map(str::to_owned), before);
}

#[tokio::test]
async fn destroy_ends_the_session_here_and_in_the_store() {
    let site = Site::new();
    let mut visitor = site.known("alice").await;
    let old = visitor.cookie(COOKIE).unwrap().to_owned();
    let answer = visitor.get("/logout").await.expect_status(200);
    assert!(answer.set_cookies()[0].starts_with("axum.sid=; "), "{:?}", answer.set_cookies());
    assert_eq!(visitor.cookie(COOKIE), None);
    assert_eq!(site.data(&old).await, None);
    visitor.set_cookie(COOKIE, &old);
    assert_eq!(visitor.get("/read").await.json(), json!({}), "a replayed cookie finds nothing");
}

#[tokio::test]
async fn what_is_written_after_a_destroy_is_a_new_session() {
    let site = Site::new().page(
        "/flash",
        get(|s: Session| async move {
            s.destroy()?;
            assert!(s.is_new().await?);
            assert_eq!(s.get().await?.len(), 0);
            s.insert("flash", "bye").await
        }),
    );
    let mut visitor = site.known("alice").await;
    let old = visitor.cookie(COOKIE).unwrap().to_owned();
    let answer = visitor.get("/flash").await.expect_status(200);
    assert_eq!(answer.set_cookies().len(), 1);
    assert_ne!(visitor.cookie(COOKIE), Some(&*old));
    assert_eq!(site.data(&old).await, None);
    assert_eq!(site.data_of(&visitor).await.unwrap(), json!({"flash": "bye"}));
}

#[tokio::test]
async fn regenerate_is_a_new_id_and_an_empty_session() {
    let site = Site::new().page(
        "/again",
        get(|s: Session| async move {
            s.regenerate()?;
            s.insert("user", "alice").await?;
            s.id().await.map(|id| id.expose().to_owned())
        }),
    );
    let mut visitor = site.known("alice").await;
    let old = visitor.cookie(COOKIE).unwrap().to_owned();
    let told = visitor.get("/again").await.expect_status(200).text();
    assert_eq!(visitor.cookie(COOKIE), Some(&*told), "the same data, and yet a new id");
    assert_ne!(told, old);
    assert_eq!(site.data(&old).await, None);
    assert_eq!(site.data(&told).await.unwrap(), json!({"user": "alice"}));
    visitor.get("/regenerate").await;
    assert_eq!((visitor.cookie(COOKIE), site.data(&told).await), (None, None), "nothing written: no session");
}

#[tokio::test]
async fn renew_is_a_new_id_for_the_same_data() {
    let site = Site::new();
    let mut visitor = site.visitor();
    visitor.get("/set/cart/book").await;
    let guest = visitor.cookie(COOKIE).unwrap().to_owned();
    visitor.get("/login/alice").await;
    let member = visitor.cookie(COOKIE).unwrap().to_owned();
    assert_ne!(guest, member);
    assert_eq!(site.data(&guest).await, None);
    assert_eq!(site.data(&member).await.unwrap(), json!({"cart": "book", "user": "alice"}));
    let created = |text: &str| text.split_once('\n').unwrap().0.to_owned();
    let record = site.record(&member).await.unwrap();
    assert_eq!(created(&String::from_utf8_lossy(&record.data)), r#"{"v":1,"created":1700000000000}"#);
}

#[tokio::test]
async fn save_commits_now_and_says_what_it_did() {
    let site = Site::new().page(
        "/saves",
        get(|s: Session| async move {
            let mut told = vec![s.save().await?];
            s.insert("a", 1).await?;
            told.extend([s.save().await?, s.save().await?]);
            s.insert("b", 2).await?;
            told.push(s.save().await?);
            s.renew().await?;
            told.push(s.save().await?);
            s.destroy()?;
            told.push(s.save().await?);
            s.insert("c", 3).await?;
            told.push(s.save().await?);
            Ok::<_, Error>(format!("{told:?}"))
        }),
    );
    let mut visitor = site.visitor();
    let told = visitor.get("/saves").await.expect_status(200);
    use Saved::{Created, Destroyed, Rotated, Unchanged, Updated};
    let expected = [Unchanged, Created, Unchanged, Updated, Rotated, Destroyed, Created];
    assert_eq!(told.text(), format!("{expected:?}"));
    assert_eq!(told.set_cookies().len(), 1, "one cookie, the last session's");
    assert_eq!(site.data_of(&visitor).await.unwrap(), json!({"c": 3}));
    assert_eq!(site.store.inner().len(), 1);
}

#[tokio::test]
async fn force_save_and_prevent_save_are_the_last_word() {
    let site = Site::new()
        .page("/force", get(|s: Session| async move { s.force_save() }))
        .page(
            "/prevent",
            get(|s: Session| async move {
                s.insert("b", 1).await?;
                s.destroy()?;
                s.prevent_save();
                Ok::<_, Error>(())
            }),
        )
        .page(
            "/both",
            get(|s: Session| async move {
                s.prevent_save();
                s.force_save()
            }),
        );
    let mut visitor = site.visitor();
    assert_eq!(visitor.get("/force").await.set_cookies().len(), 1, "a new and empty one too");
    let id = visitor.cookie(COOKIE).unwrap().to_owned();
    assert_eq!(visitor.get("/force").await.set_cookies().len(), 1);
    assert_eq!(visitor.get("/prevent").await.set_cookies(), [""; 0], "not even the logout's");
    assert_eq!(site.data(&id).await.unwrap(), json!({}));
    assert_eq!(visitor.get("/both").await.set_cookies().len(), 1);
}

#[tokio::test]
async fn what_was_held_back_is_still_wanted() {
    let page = |s: Session| async move {
        s.renew().await?;
        s.prevent_save();
        let held = s.save().await?;
        s.force_save();
        Ok::<_, Error>([held, s.save().await?].map(|saved| format!("{saved:?}")).join(" "))
    };
    let site = Site::new().page("/page", get(page));
    let mut visitor = site.known("alice").await;
    assert_eq!(visitor.get("/page").await.expect_status(200).text(), "Unchanged Rotated");
}

#[tokio::test]
async fn the_answer_decides_whether_the_changes_count() {
    let site = Site::new();
    let mut visitor = site.known("alice").await;
    for (status, kept) in [(200, true), (303, true), (404, true), (500, false), (503, false)] {
        let path = format!("/set/last/{status}/then/{status}");
        let answer = visitor.get(&path).await.expect_status(status);
        assert_eq!(answer.set_cookies().len(), usize::from(kept), "{status}");
        let stored = site.data_of(&visitor).await.unwrap()["last"] == json!(status.to_string());
        assert_eq!(stored, kept, "{status}");
    }
    let site = Site::with(|layer| layer.commit_on(|status| status.is_success()));
    let mut visitor = site.visitor();
    assert_eq!(visitor.get("/set/a/1/then/404").await.set_cookies(), [""; 0]);
    assert_eq!(visitor.get("/set/a/1/then/204").await.set_cookies().len(), 1);
}

#[tokio::test]
async fn what_was_saved_stays_though_the_handler_fails() {
    let site = Site::new().page(
        "/half",
        get(|s: Session| async move {
            s.insert("a", 1).await?;
            s.save().await?;
            s.insert("b", 2).await?;
            s.view::<Wrong>().get().await.map(drop)
        }),
    );
    #[derive(Default, Serialize, Deserialize)]
    struct Wrong {
        a: Vec<String>,
    }
    let mut visitor = site.visitor();
    let answer = visitor.get("/half").await.expect_status(500);
    assert_eq!((answer.set_cookies().len(), answer.text().as_str()), (1, ""));
    assert_eq!(site.data_of(&visitor).await.unwrap(), json!({"a": 1}));
}

#[tokio::test]
async fn keys_and_values() {
    let site = Site::new().page(
        "/kv",
        get(|s: Session| async move {
            assert_eq!(s.value::<u8>("n").await?, None);
            s.insert("n", 7).await?;
            s.insert("list", ["a", "b"]).await?;
            assert_eq!(s.value::<u8>("n").await?, Some(7));
            assert!(s.value::<String>("n").await.unwrap_err().is_data());
            assert_eq!(s.value::<Vec<String>>("list").await?.unwrap(), ["a", "b"]);
            assert_eq!(s.take::<u8>("n").await?, Some(7));
            assert_eq!(s.take::<u8>("n").await?, None);
            s.insert("null", Value::Null).await?;
            assert_eq!(s.value::<Option<u8>>("null").await?, Some(None));
            s.insert("a \"quoted\" key, é\n", 1).await
        }),
    );
    let mut visitor = site.visitor();
    let _ = visitor.get("/kv").await.expect_status(200);
    let expected = json!({"list": ["a", "b"], "null": null, "a \"quoted\" key, é\n": 1});
    assert_eq!(visitor.get("/read").await.json(), expected);
}

#[tokio::test]
async fn loaded_gives_the_value_and_the_handle() {
    async fn page(cart: Loaded<Cart>) -> Result<String, Error> {
        cart.session().update(|cart| cart.items.push("ink".into())).await?;
        Ok(format!("{} before, {} now", cart.items.len(), cart.session().get().await?.items.len()))
    }
    let site = Site::deferred().page("/cart", get(page));
    let mut visitor = site.visitor();
    assert_eq!(visitor.get("/cart").await.text(), "0 before, 1 now");
    assert_eq!(visitor.get("/cart").await.text(), "1 before, 2 now");
}

#[tokio::test]
async fn the_id_of_a_new_session_is_the_one_that_it_gets() {
    let site = Site::new().page(
        "/first",
        get(|s: Session| async move {
            assert!(s.is_new().await?);
            s.insert("a", 1).await?;
            let id = s.id().await?;
            assert_eq!(id, s.clone().id().await?, "asked twice");
            s.save().await?;
            assert!(!s.is_new().await?);
            assert_eq!(id, s.id().await?, "saved");
            Ok::<_, Error>(id.expose().to_owned())
        }),
    );
    let mut visitor = site.visitor();
    let told = visitor.get("/first").await.text();
    assert_eq!(visitor.cookie(COOKIE), Some(&*told));
    assert_eq!(visitor.get("/id").await.text(), told);
    let mut nobody = site.visitor();
    assert_eq!(nobody.get("/id").await.set_cookies(), [""; 0], "an id alone is no session");
}

#[tokio::test]
async fn cookie_settings_are_the_visitors_own_and_stay() {
    let site = Site::new().page(
        "/remember",
        get(|s: Session| async move {
            s.update_cookie(|c| c.max_age = MaxAge::For(Duration::from_secs(3600))).await?;
            assert_eq!(s.cookie().await?, CookieOptions::new().max_age(Duration::from_secs(3600)));
            let why = s.update_cookie(|c| c.path = "nowhere".into()).await.unwrap_err();
            assert_eq!(
                why.to_string(),
                "the session's cookie settings: the cookie path \"nowhere\" must start with `/`"
            );
            assert_eq!(s.cookie().await?.path, "/", "a wrong setting changes nothing");
            Ok::<_, Error>(())
        }),
    );
    let mut visitor = site.known("alice").await;
    let answer = visitor.get("/remember").await.expect_status(200);
    assert!(answer.set_cookies()[0].contains("; Max-Age=3600; "), "{:?}", answer.set_cookies());
    let answer = visitor.get("/set/a/1").await;
    assert!(answer.set_cookies()[0].contains("; Max-Age=3600; "), "{:?}", answer.set_cookies());
    assert!(visitor.get("/remember").await.set_cookies().is_empty(), "the same settings are no change");
}

#[tokio::test]
async fn a_handler_is_tested_with_a_session_of_its_own() {
    async fn add(cart: Session<Cart>) -> Result<usize, Error> {
        cart.update(|cart| {
            cart.items.push("book".into());
            cart.items.len()
        })
        .await
    }
    let cart = testing::session(Cart { items: vec!["pen".into()], coupon: None });
    assert!(!cart.is_new().await.unwrap());
    assert_eq!(add(cart.clone()).await.unwrap(), 2);
    assert_eq!(cart.save().await.unwrap(), Saved::Updated);
    assert_eq!(cart.get().await.unwrap().items, ["pen", "book"]);
    cart.renew().await.unwrap();
    assert_eq!(cart.save().await.unwrap(), Saved::Rotated);
    cart.destroy().unwrap();
    assert_eq!(cart.save().await.unwrap(), Saved::Destroyed);
    assert!(testing::session(Map::new()).get().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_panicking_closure_changes_nothing_and_poisons_nothing() {
    let site = Site::new().page(
        "/panics",
        get(|s: Session<Cart>| async move {
            let other = s.clone();
            let panicked = tokio::spawn(async move {
                let half = |cart: &mut Cart| {
                    cart.items.push("half".into());
                    assert!(cart.items.is_empty(), "on purpose");
                };
                other.update(half).await
            });
            assert!(panicked.await.unwrap_err().is_panic());
            s.update(|cart| cart.items.push("whole".into())).await
        }),
    );
    let mut visitor = site.visitor();
    let _ = visitor.get("/panics").await.expect_status(200);
    assert_eq!(site.data_of(&visitor).await.unwrap(), json!({"items": ["whole"]}));
}

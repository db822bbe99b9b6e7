//! The frame of every page, the parts of forms, and what is said when something goes wrong.

use std::{fmt, sync::Arc, time::Duration};

use axum::{
    BoxError,
    extract::FromRequestParts,
    http::{StatusCode, request::Parts},
    response::{IntoResponse, Response},
};
use axum_generic_session::{Error, MaxAge, Session};
use maud::{DOCTYPE, Markup, html};
use time::{OffsetDateTime, format_description::well_known::Rfc3339, macros::format_description};

use crate::{
    Site, cart,
    users::User,
    visit::{self, Shown, Theme, Visit},
};

/// What a page shows of its visitor, whatever else is on it. Maud escapes all of it.
pub(crate) struct Page {
    pub(crate) member: Option<User>,
    path: String,
    shown: Shown,
    in_cart: u32,
    pub(crate) idle_end: Moment,
    pub(crate) absolute_end: Moment,
}

impl FromRequestParts<Arc<Site>> for Page {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, site: &Arc<Site>) -> Result<Self, Response> {
        let session = Session::from_request_parts(parts, site).await.map_err(IntoResponse::into_response)?;
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Self::of(session, site, path).await.map_err(IntoResponse::into_response)
    }
}

impl Page {
    async fn of(session: Session<Visit>, site: &Site, path: String) -> Result<Self, Trouble> {
        let member = visit::member(&session, site).await?;
        let shown = visit::open(&session).await?;
        let in_cart = cart::count(&session).await?;
        let idle = match session.cookie().await?.max_age {
            MaxAge::For(remembered) => remembered,
            _ => site.flags.idle,
        };
        let now = OffsetDateTime::now_utc();
        let absolute_end = shown.began + site.flags.absolute;
        let idle_end = (now + idle).min(absolute_end);
        let [idle_end, absolute_end] = [idle_end, absolute_end].map(|at| Moment { at, now });
        Ok(Self { member, path, shown, in_cart, idle_end, absolute_end })
    }

    /// The page with this title and this content.
    pub(crate) fn render(&self, title: &str, content: Markup) -> Markup {
        frame(
            title,
            self.shown.theme,
            &self.navigation(),
            &self.footer(),
            &html! {
                @if let Some(text) = &self.shown.flash { p.flash role="status" { (text) } }
                (content)
            },
        )
    }

    /// What a form of this page brings along.
    pub(crate) fn token(&self) -> Markup {
        html! { input type="hidden" name="csrf" value=(self.shown.csrf); }
    }

    fn navigation(&self) -> Markup {
        let link = |to: &str, words: Markup| {
            let is_here = self.path.split('?').next() == Some(to);
            html! { a href=(to) aria-current=[is_here.then_some("page")] { (words) } }
        };
        html! {
            nav aria-label="Main" {
                (link("/", html! { "Teas" }))
                (link("/cart", html! { "Cart" @if self.in_cart > 0 { span.count { (self.in_cart) } } }))
                @if let Some(member) = &self.member {
                    (link("/account", html! { "Account" }))
                    form method="post" action="/signout" {
                        (self.token())
                        button.link title={ "Signed in as " (member.name) } { "Sign out" }
                    }
                } @else {
                    (link("/signin", html! { "Sign in" }))
                }
            }
        }
    }

    fn footer(&self) -> Markup {
        html! {
            @if let Some(member) = &self.member {
                p { "Signed in as " b { (member.name) } ". " (self.ends()) }
            } @else {
                p { "One cookie, for your cart and your login. No other." }
            }
            form method="post" action="/theme" {
                (self.token())
                input type="hidden" name="back" value=(self.path);
                div.theme role="group" aria-label="Colours" {
                    @for (theme, value, word) in THEMES {
                        button name="theme" value=(value) aria-pressed=(theme == self.shown.theme) { (word) }
                    }
                }
            }
        }
    }

    /// When the session ends: in words, which the script turns into a countdown.
    pub(crate) fn ends(&self) -> Markup {
        html! {
            span #ends {
                "Without a click you are signed out " (self.idle_end)
                ", and in any case " (self.absolute_end) "."
            }
        }
    }
}

const THEMES: [(Theme, &str, &str); 3] =
    [(Theme::Auto, "auto", "Auto"), (Theme::Light, "light", "Light"), (Theme::Dark, "dark", "Dark")];

/// A moment ahead, for people and for the script.
#[derive(Clone, Copy)]
pub(crate) struct Moment {
    at: OffsetDateTime,
    now: OffsetDateTime,
}

impl maud::Render for Moment {
    fn render(&self) -> Markup {
        let left = (self.at - self.now).max(time::Duration::ZERO);
        let words = if left < Duration::from_secs(24 * 60 * 60) {
            self.at.format(format_description!("at [hour]:[minute] UTC"))
        } else {
            self.at.format(format_description!("on [day padding:none] [month repr:long] [year]"))
        };
        html! {
            time role="timer" datetime=[self.at.format(&Rfc3339).ok()] data-left=(left.as_seconds_f64()) {
                (words.unwrap_or_default())
            }
        }
    }
}

fn frame(title: &str, theme: Theme, navigation: &Markup, footer: &Markup, content: &Markup) -> Markup {
    let theme = match theme {
        Theme::Auto => None,
        Theme::Light => Some("light"),
        Theme::Dark => Some("dark"),
    };
    html! {
        (DOCTYPE)
        html lang="en" data-theme=[theme] {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " – Leaf & Kettle" }
                link rel="stylesheet" href="/style.css";
                link rel="icon" href="/icon.svg" type="image/svg+xml";
                script src="/script.js" defer {}
            }
            body {
                a.skip href="#content" { "Skip to the content" }
                header {
                    a.brand href="/" { img src="/icon.svg" alt="" width="32" height="32"; "Leaf & Kettle" }
                    (navigation)
                }
                main #content { (content) }
                footer { (footer) }
            }
        }
    }
}

/// A labelled input. `about` is what the browser should know of it: name, type, autocomplete, limits.
pub(crate) fn field(label: &str, hint: Option<&str>, about: Input<'_>) -> Markup {
    let Input { name, kind, autocomplete, value, length } = about;
    let hint_id = hint.map(|_| format!("{name}-hint"));
    html! {
        div.field {
            label for=(name) { (label) }
            @if let Some(hint) = hint { small id=[&hint_id] { (hint) } }
            input id=(name) name=(name) type=(kind) autocomplete=(autocomplete) value=[value] required
                minlength=(length.0) maxlength=(length.1) aria-describedby=[&hint_id]
                autocapitalize="none" spellcheck="false";
        }
    }
}

pub(crate) struct Input<'a> {
    pub(crate) name: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) autocomplete: &'a str,
    pub(crate) value: Option<&'a str>,
    pub(crate) length: (usize, usize),
}

/// Why a form comes back.
pub(crate) fn complaint(why: Option<&str>) -> Markup {
    html! { @if let Some(why) = why { p.complaint role="alert" { (why) } } }
}

/// A page without a visitor: for what happens where there is no session, or it cannot be had.
fn plain(status: StatusCode, title: &str, words: &[&str], link: Option<(&str, &str)>) -> Response {
    let nothing = html! {};
    let content = html! {
        section.narrow {
            h1 { (title) }
            @for words in words { p { (words) } }
            @if let Some((to, words)) = link { p { a.button href=(to) { (words) } } }
        }
    };
    (status, frame(title, Theme::Auto, &nothing, &nothing, &content)).into_response()
}

/// Where the script goes when the time is over; another tab may have kept the session alive.
pub(crate) async fn away() -> Response {
    let words = [
        "You have been away for a while, or signed in for as long as we allow. So we closed the page you had open.",
    ];
    plain(StatusCode::OK, "Still there?", &words, Some(("/account", "Continue")))
}

pub(crate) async fn not_found() -> Response {
    plain(StatusCode::NOT_FOUND, "There is no such page", &[], Some(("/", "To the teas")))
}

pub(crate) fn bad_request(why: &impl fmt::Display) -> Response {
    plain(StatusCode::BAD_REQUEST, "That form was not one of ours", &[&why.to_string()], None)
}

pub(crate) fn no_cookies() -> Response {
    let words = [
        "Your browser has sent no cookie, so we could not tell that this was you: either it keeps none for \
         this site, or your session has ended. We use one, to know your cart and your login, and nothing else.",
        "Allow cookies for this site, go back, reload the page, and try again.",
    ];
    plain(StatusCode::FORBIDDEN, "This needs a cookie", &words, Some(("/", "To the teas")))
}

pub(crate) fn stale_form() -> Response {
    let words = [
        "You have signed in or out since, or it was open for so long that your session has ended.",
        "Nothing was changed.",
    ];
    plain(StatusCode::FORBIDDEN, "That page was too old", &words, Some(("/", "Start again")))
}

fn our_fault(status: StatusCode) -> Response {
    plain(status, "Something went wrong", &["It was not you. Please try again."], None)
}

/// Draws a page for the errors of sessions, wherever they come from: a handler, or the layer itself.
pub(crate) async fn explain(response: Response) -> Response {
    let Some(error) = response.extensions().get::<Error>() else { return response };
    let mut page = if error.is_gone() {
        let words = ["Your session ended while this request was under way, perhaps from another device."];
        plain(error.status(), "You have been signed out", &words, Some(("/signin", "Sign in")))
    } else if error.is_unavailable() {
        let words = ["We cannot reach our own memory right now. You are still signed in; please try again."];
        plain(error.status(), "Back in a minute", &words, None)
    } else {
        our_fault(error.status())
    };
    // What the answer said beside its status: when to try again, for whom it may be kept.
    for (name, value) in response.headers() {
        if !page.headers().contains_key(name) && name != "content-length" {
            page.headers_mut().append(name, value.clone());
        }
    }
    page
}

/// Why a handler gives up: the session's error has its own answer, anything else is ours to mend.
pub(crate) enum Trouble {
    Session(Error),
    Ours(BoxError),
}

impl<E: Into<BoxError>> From<E> for Trouble {
    fn from(error: E) -> Self {
        match error.into().downcast::<Error>() {
            Ok(error) => Self::Session(*error),
            Err(error) => Self::Ours(error),
        }
    }
}

impl IntoResponse for Trouble {
    fn into_response(self) -> Response {
        match self {
            Self::Session(error) => error.into_response(),
            Self::Ours(error) => {
                tracing::error!(%error, "a page failed");
                our_fault(StatusCode::INTERNAL_SERVER_ERROR)
            }
        }
    }
}

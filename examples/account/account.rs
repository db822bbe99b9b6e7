//! Signing up, in and out; "remember me"; a new password.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    extract::{ConnectInfo, Query, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Redirect, Response},
};
use axum_generic_session::{MaxAge, Session};
use maud::{Markup, html};
use serde::Deserialize;

use crate::{
    Site,
    devices::{self, Device},
    pages::{Input, Page, Trouble, complaint, field},
    users::User,
    visit::{self, Checked, Member, NoFields, Visit, local},
};

const NAME: (usize, usize) = (2, 32);
/// In characters. Long is what makes a password good; the upper limit is for our own sake.
const PASSWORD: (usize, usize) = (10, 128);
const PASSWORD_HINT: &str =
    "Ten characters or more. Three words that have nothing to do with each other are good.";

const TOO_MANY: &str = "Too many wrong passwords from your address. Wait five minutes, please.";

#[derive(Deserialize)]
pub(crate) struct Next {
    next: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct Credentials {
    name: String,
    password: String,
    remember: Option<String>,
    next: Option<String>,
}

/// What a member's name may be: it stands in pages and forms, and `ADA` is `ada`.
fn is_name(name: &str) -> bool {
    (NAME.0..=NAME.1).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

fn is_password(password: &str) -> bool {
    (PASSWORD.0..=PASSWORD.1).contains(&password.chars().count())
}

fn name_field(label: &str, hint: Option<&str>, value: &str) -> Markup {
    let about =
        Input { name: "name", kind: "text", autocomplete: "username", value: Some(value), length: NAME };
    field(label, hint, about)
}

/// `new` helps password managers; only a new password has a lower limit that is worth a word.
fn password_field(label: &str, name: &str, new: bool) -> Markup {
    let autocomplete = if new { "new-password" } else { "current-password" };
    let length = if new { PASSWORD } else { (1, PASSWORD.1) };
    let about = Input { name, kind: "password", autocomplete, value: None, length };
    field(label, new.then_some(PASSWORD_HINT), about)
}

/// What signing up and in have in common.
fn credentials(page: &Page, next: Option<&str>, fields: &Markup, button: &str) -> Markup {
    html! {
        (page.token())
        @if let Some(next) = next { input type="hidden" name="next" value=(next); }
        (fields)
        label.check { input type="checkbox" name="remember" value="yes"; "Remember me on this device" }
        button { (button) }
    }
}

/// Where to go on after signing up instead of in, or the other way round.
fn other_door(path: &str, next: Option<&str>) -> String {
    next.map_or(path.to_owned(), |next| {
        let next: String = url::form_urlencoded::byte_serialize(next.as_bytes()).collect();
        format!("{path}?next={next}")
    })
}

fn sign_in_page(page: &Page, next: Option<&str>, name: &str, why: Option<&str>) -> Markup {
    let fields = html! { (name_field("Name", None, name)) (password_field("Password", "password", false)) };
    page.render(
        "Sign in",
        html! {
            section.narrow {
                h1 { "Sign in" }
                @if next.is_some() && why.is_none() { p.quiet { "Sign in to go on." } }
                (complaint(why))
                form.card method="post" action="/signin" { (credentials(page, next, &fields, "Sign in")) }
                p { "New here? " a href=(other_door("/signup", next)) { "Make an account" } }
            }
        },
    )
}

pub(crate) async fn sign_in_form(page: Page, Query(query): Query<Next>) -> Response {
    let next = local(query.next);
    match page.member {
        Some(_) => Redirect::to(next.as_deref().unwrap_or("/account")).into_response(),
        None => sign_in_page(&page, next.as_deref(), "", None).into_response(),
    }
}

pub(crate) async fn sign_in(
    State(site): State<Arc<Site>>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    page: Page,
    session: Session<Visit>,
    Checked(form): Checked<Credentials>,
) -> Result<Response, Trouble> {
    let next = local(form.next);
    if page.member.is_some() {
        // Another member's session is not taken over: it has to end first.
        return Ok(Redirect::to("/account").into_response());
    }
    let again = |status, why| {
        let page = sign_in_page(&page, next.as_deref(), &form.name, Some(why));
        Ok((status, page).into_response())
    };
    if !site.attempts.begin(from) {
        return again(StatusCode::TOO_MANY_REQUESTS, TOO_MANY);
    }
    // A password longer than any that was accepted is not worth hashing. Nothing is said of which half was wrong.
    let user = match form.password.len() <= 4 * PASSWORD.1 {
        true => site.users.verify(form.name.clone(), form.password).await?,
        false => None,
    };
    let Some(user) = user else {
        return again(StatusCode::UNPROCESSABLE_ENTITY, "That is not a name and password we know.");
    };
    site.attempts.succeeded(from);
    let text = format!("Good to see you, {}.", user.name);
    admit(&site, &session, &headers, &user, form.remember.is_some()).await?;
    visit::flash(&session, text).await?;
    Ok(Redirect::to(next.as_deref().unwrap_or("/account")).into_response())
}

/// The login itself, as far as the session goes.
async fn admit(
    site: &Site,
    session: &Session<Visit>,
    headers: &HeaderMap,
    user: &User,
    remember: bool,
) -> Result<(), Trouble> {
    // The id from before is dead when the answer leaves, whoever planted or saw it; so is its token. The cart stays.
    session.renew().await?;
    visit::renew_token(session).await?;
    session.set_principal(user.id.to_string()).await?;
    session.view::<Device>().update(|d| d.device = devices::name(headers)).await?;
    if remember {
        // For this visitor, cookie and store: until then without a click, and after a restart of the browser.
        session.update_cookie(|c| c.max_age = MaxAge::For(site.flags.remember)).await?;
    }
    Ok(())
}

fn sign_up_page(page: &Page, next: Option<&str>, name: &str, why: Option<&str>) -> Markup {
    let hint = "Letters, digits, and any of - _ .";
    let fields =
        html! { (name_field("Name", Some(hint), name)) (password_field("Password", "password", true)) };
    page.render("Make an account", html! {
        section.narrow {
            h1 { "Make an account" }
            (complaint(why))
            form.card method="post" action="/signup" { (credentials(page, next, &fields, "Make an account")) }
            p { "You have one? " a href=(other_door("/signin", next)) { "Sign in" } }
        }
    })
}

pub(crate) async fn sign_up_form(page: Page, Query(query): Query<Next>) -> Response {
    match page.member {
        Some(_) => Redirect::to("/account").into_response(),
        None => sign_up_page(&page, local(query.next).as_deref(), "", None).into_response(),
    }
}

pub(crate) async fn sign_up(
    State(site): State<Arc<Site>>,
    headers: HeaderMap,
    page: Page,
    session: Session<Visit>,
    Checked(form): Checked<Credentials>,
) -> Result<Response, Trouble> {
    let next = local(form.next);
    if page.member.is_some() {
        return Ok(Redirect::to("/account").into_response());
    }
    let again = |why| {
        let page = sign_up_page(&page, next.as_deref(), &form.name, Some(why));
        Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
    };
    if !is_name(&form.name) {
        return again("A name has 2 to 32 letters, digits, or any of - _ .");
    }
    if !is_password(&form.password) {
        return again("A password has 10 to 128 characters.");
    }
    // Nothing limits how many accounts an address makes: a real site asks for an e-mail, and counts here too.
    // That a name is taken cannot be kept from who wants to have it. A site that signs up by e-mail says the same to
    // everybody here, and the rest in the e-mail.
    let Some(user) = site.users.create(form.name.clone(), form.password).await? else {
        return again("That name is taken.");
    };
    admit(&site, &session, &headers, &user, form.remember.is_some()).await?;
    visit::flash(&session, format!("Welcome, {}. This is your account.", user.name)).await?;
    Ok(Redirect::to(next.as_deref().unwrap_or("/account")).into_response())
}

/// What follows belongs to a new session, with a new id. The cart was this member's, and goes too.
pub(crate) async fn sign_out(
    session: Session<Visit>,
    Checked(NoFields {}): Checked<NoFields>,
) -> Result<Redirect, Trouble> {
    session.destroy()?;
    visit::flash(&session, "You are signed out. See you soon.").await?;
    Ok(Redirect::to("/"))
}

pub(crate) async fn show(
    State(site): State<Arc<Site>>,
    Member(member): Member,
    page: Page,
    session: Session<Visit>,
) -> Result<Markup, Trouble> {
    let remembered = matches!(session.cookie().await?.max_age, MaxAge::For(_));
    let devices = devices::section(&site, &member, &page, &session).await?;
    Ok(page.render(
        "Account",
        html! {
            h1 { "Hello, " (member.name) }
            dl.card {
                div { dt { "Signed out if idle" } dd { (page.idle_end) } }
                div { dt { "Signed out in any case" } dd { (page.absolute_end) } }
                div { dt { "Remembered on this device" } dd { @if remembered { "yes" } @else { "no" } } }
            }
            (devices)
            section {
                h2 { "Your password" }
                p.quiet { "A new one signs out every other device." }
                p { a.button.quiet href="/account/password" { "Change it" } }
            }
        },
    ))
}

fn password_page(page: &Page, why: Option<&str>) -> Markup {
    page.render(
        "A new password",
        html! {
            section.narrow {
                h1 { "A new password" }
                (complaint(why))
                form.card method="post" action="/account/password" {
                    (page.token())
                    (password_field("The one you have", "old", false))
                    (password_field("The new one", "new", true))
                    button { "Change it" }
                }
                p { a href="/account" { "Back to your account" } }
            }
        },
    )
}

pub(crate) async fn password_form(_: Member, page: Page) -> Markup {
    password_page(&page, None)
}

#[derive(Deserialize)]
pub(crate) struct Passwords {
    old: String,
    new: String,
}

pub(crate) async fn change_password(
    State(site): State<Arc<Site>>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    Member(member): Member,
    page: Page,
    session: Session<Visit>,
    Checked(form): Checked<Passwords>,
) -> Result<Response, Trouble> {
    let again = |status, why| Ok((status, password_page(&page, Some(why))).into_response());
    if !is_password(&form.new) {
        return again(StatusCode::UNPROCESSABLE_ENTITY, "A password has 10 to 128 characters.");
    }
    if !site.attempts.begin(from) {
        return again(StatusCode::TOO_MANY_REQUESTS, TOO_MANY);
    }
    if site.users.verify(member.name, form.old).await?.is_none() {
        return again(StatusCode::UNPROCESSABLE_ENTITY, "That is not the password you have.");
    }
    site.attempts.succeeded(from);
    site.users.set_password(member.id, form.new).await?;
    // Who knew the old one is out, wherever they are; and this session's id changes, in case it was seen.
    let ended = site.sessions.of(member.id.to_string()).end_others(&session).await?;
    session.renew().await?;
    visit::renew_token(&session).await?;
    let others = devices::count(ended).map_or(String::new(), |devices| format!(" {devices} signed out."));
    visit::flash(&session, format!("Your password is changed.{others}")).await?;
    Ok(Redirect::to("/account").into_response())
}

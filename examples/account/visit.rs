//! What the session knows of every visitor, and the extractors made of it: [`Member`], [`Checked`].

use std::sync::Arc;

use axum::{
    Form,
    extract::{FromRequest, FromRequestParts, Request},
    http::{Method, header, request::Parts},
    response::{IntoResponse, Redirect, Response},
};
use axum_generic_session::{Error, Session};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::Rng;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use subtle::ConstantTimeEq;
use time::OffsetDateTime;

use crate::{
    Site,
    pages::{self, Trouble},
    users::User,
};

/// One view of the session; the cart and the device are others, each in its own file.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Visit {
    /// In every form of this session's pages; another site cannot know it.
    csrf: String,
    /// When the session began, in seconds since 1970: from then on the absolute timeout counts.
    began: i64,
    theme: Theme,
    /// Shown once, on the next page.
    flash: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Theme {
    /// What the system prefers.
    #[default]
    Auto,
    Light,
    Dark,
}

/// What a page takes from it.
pub(crate) struct Shown {
    pub(crate) csrf: String,
    pub(crate) began: OffsetDateTime,
    pub(crate) theme: Theme,
    pub(crate) flash: Option<String>,
}

/// Gives a page its token, and the flash message, which is gone with that.
///
/// Every page here has a form, so every visitor gets a session with the first one. Where most pages have none, call
/// this for those that do: who only looks then costs the store nothing.
pub(crate) async fn open(session: &Session<Visit>) -> Result<Shown, Error> {
    let shown = |visit: &mut Visit| {
        if visit.csrf.is_empty() {
            visit.csrf = token();
            visit.began = OffsetDateTime::now_utc().unix_timestamp();
        }
        Shown {
            csrf: visit.csrf.clone(),
            began: OffsetDateTime::from_unix_timestamp(visit.began).unwrap_or(OffsetDateTime::UNIX_EPOCH),
            theme: visit.theme,
            flash: visit.flash.take(),
        }
    };
    session.update(shown).await
}

/// A sentence for the next page.
pub(crate) async fn flash(session: &Session<Visit>, text: impl Into<String>) -> Result<(), Error> {
    let text = text.into();
    session.update(|v| v.flash = Some(text)).await
}

/// A token that nobody has seen: at the login, with the new id.
pub(crate) async fn renew_token(session: &Session<Visit>) -> Result<(), Error> {
    session.update(|v| v.csrf = token()).await
}

fn token() -> String {
    URL_SAFE_NO_PAD.encode(rand::thread_rng().r#gen::<[u8; 24]>())
}

/// Who is signed in, if anybody is: the session has the id, the database the person. Somebody who has left the site is
/// nobody from then on, whatever sessions are still there.
pub(crate) async fn member(session: &Session<Visit>, site: &Site) -> Result<Option<User>, Trouble> {
    match session.principal().await? {
        Some(id) => site.users.find(id).await,
        None => Ok(None),
    }
}

/// A signed-in user; a handler that asks for one is reached by no one else.
pub(crate) struct Member(pub(crate) User);

impl FromRequestParts<Arc<Site>> for Member {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, site: &Arc<Site>) -> Result<Self, Response> {
        let session = Session::from_request_parts(parts, site).await.map_err(IntoResponse::into_response)?;
        let member = member(&session, site).await.map_err(IntoResponse::into_response)?;
        member.map(Self).ok_or_else(|| {
            // A form that was sent too late is not sent again after the login: its page is opened.
            let back = match (&parts.method, parts.uri.path_and_query()) {
                (&Method::GET, Some(path)) => path.as_str(),
                (_, _) if parts.uri.path() == "/checkout" => "/cart",
                _ => "/account",
            };
            let query: String = url::form_urlencoded::byte_serialize(back.as_bytes()).collect();
            Redirect::to(&format!("/signin?next={query}")).into_response()
        })
    }
}

/// A form that comes from a page of this very session; every change asks for one.
///
/// `SameSite=Lax` already keeps the cookie from forms of other sites, in browsers of this decade and not from sibling
/// domains; the token holds without that.
pub(crate) struct Checked<T>(pub(crate) T);

/// The fields beside the token are text: that is what serde gives a flattened struct of a form.
#[derive(Deserialize)]
struct WithToken<T> {
    #[serde(default)]
    csrf: String,
    #[serde(flatten)]
    fields: T,
}

/// A form of one button.
#[derive(Deserialize)]
pub(crate) struct NoFields {}

impl<T: DeserializeOwned> FromRequest<Arc<Site>> for Checked<T> {
    type Rejection = Response;

    async fn from_request(request: Request, site: &Arc<Site>) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let session = Session::<Visit>::from_request_parts(&mut parts, site).await;
        let visit =
            session.map_err(IntoResponse::into_response)?.get().await.map_err(IntoResponse::into_response)?;
        let has_cookie = parts
            .headers
            .get_all(header::COOKIE)
            .iter()
            .any(|cookies| cookies.to_str().is_ok_and(|cookies| cookies.contains("axum.sid=")));
        let form = Form::<WithToken<T>>::from_request(Request::from_parts(parts, body), site).await;
        let Form(form) = form.map_err(|why| pages::bad_request(&why))?;
        // A session without a token has no form, so an empty one is no match.
        let is_ours = bool::from(form.csrf.as_bytes().ct_eq(visit.csrf.as_bytes())) && !visit.csrf.is_empty();
        match (is_ours, has_cookie) {
            (true, _) => Ok(Self(form.fields)),
            // Each page sets the cookie. One that comes back without it comes from a browser that keeps none.
            (false, false) => Err(pages::no_cookies()),
            (false, true) => Err(pages::stale_form()),
        }
    }
}

/// A path of this site, to go back to: nothing that a browser takes for another one's address.
pub(crate) fn local(path: Option<String>) -> Option<String> {
    // Browsers drop tabs and line ends, and read `\` as `/`: `/\t/evil.example` is `//evil.example`.
    let is_plain = |path: &String| path.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    path.filter(|path| path.starts_with('/') && !path.starts_with("//") && is_plain(path))
}

#[derive(Deserialize)]
pub(crate) struct ThemeForm {
    theme: Theme,
    back: Option<String>,
}

pub(crate) async fn set_theme(
    session: Session<Visit>,
    Checked(form): Checked<ThemeForm>,
) -> Result<Redirect, Error> {
    session.update(|v| v.theme = form.theme).await?;
    Ok(Redirect::to(&local(form.back).unwrap_or_else(|| "/".into())))
}

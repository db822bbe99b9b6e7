//! What keeps others from reading the pages and from pressing their buttons.

use axum::{
    body::to_bytes,
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, header},
    response::Response,
};

use crate::id::SessionId;

/// A form has one field. More than this is none of ours, in bytes.
const MAX_FORM: usize = 1024;

/// What nobody guesses: made anew by each process.
pub(super) fn token() -> String {
    SessionId::random().expose().to_owned()
}

/// Nothing from elsewhere, nothing within the page, in no frame and in no cache. `same-origin`, since with
/// `no-referrer` browsers send `Origin: null` with our own forms.
pub(super) async fn headers(mut response: Response) -> Response {
    let all = [
        (header::CACHE_CONTROL, "no-store"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; \
             form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        ),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("x-robots-tag"), "noindex, nofollow"),
    ];
    for (name, value) in all {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Whether the request was sent by a form that this process has made.
pub(super) async fn is_ours(token: &str, request: Request) -> bool {
    if !is_same_origin(request.headers()) {
        return false;
    }
    let Ok(body) = to_bytes(request.into_body(), MAX_FORM).await else { return false };
    let fields = body.split(|byte| *byte == b'&');
    let mut sent = fields.filter_map(|field| field.strip_prefix(b"token="));
    sent.next().is_some_and(|sent| is_equal(sent, token.as_bytes()))
}

/// By what the browser says. One that says nothing, or no browser, still needs the token.
fn is_same_origin(headers: &HeaderMap) -> bool {
    let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    if let Some(site) = text(&HeaderName::from_static("sec-fetch-site")) {
        return site == "same-origin";
    }
    let Some(origin) = text(&header::ORIGIN) else { return true };
    let host = origin.split_once("://").map(|(_, host)| host);
    host.is_some() && host == text(&header::HOST)
}

/// In a time that does not tell where they differ.
fn is_equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

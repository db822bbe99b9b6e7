//! What the response tells the client, and caches.

use axum::{
    http::{
        HeaderMap, HeaderName, HeaderValue,
        header::{CACHE_CONTROL, COOKIE, VARY},
    },
    response::Response,
};

use crate::{
    state::{Due, Frame, Owed},
    transport::{Issue, is_there},
};

/// Puts into the response what the client must know. Not under the data's lock: a transport may be the application's own.
pub(super) fn tell(frame: &Frame, due: Option<Due>, response: &mut Response) {
    let config = &*frame.config;
    let headers = response.headers_mut();
    if config.cache_headers && (frame.is_used() || due.is_some()) {
        for name in config.carrier.vary() {
            add_vary(headers, name);
        }
    }
    let Some(Due { owed, way, whose }) = due else { return };
    if config.cache_headers {
        make_private(headers);
    }
    match (owed, whose) {
        (Owed::Cookie { options, life, at }, Some((id, signed))) => {
            config.carrier.write(headers, way, &Issue { id: &id, signed, own: options.as_deref(), life, at });
        }
        (Owed::Removal { options }, _) => config.carrier.clear(headers, way, options.as_deref()),
        // There is no session any more.
        (Owed::Cookie { .. }, None) => {}
    }
}

fn add_vary(headers: &mut HeaderMap, name: &HeaderName) {
    let there = is_there(headers, &VARY)
        && headers.get_all(VARY).iter().any(|value| {
            value.as_bytes().split(|b| *b == b',').any(|part| {
                let part = part.trim_ascii();
                part == b"*" || part.eq_ignore_ascii_case(name.as_str().as_bytes())
            })
        });
    if !there {
        // As nearly always, a constant.
        let value = if *name == COOKIE { HeaderValue::from_static("cookie") } else { name.clone().into() };
        headers.append(VARY, value);
    }
}

/// No shared cache may keep an answer with a visitor's cookie in it. What the handler said more strictly stays;
/// what it said against that goes.
fn make_private(headers: &mut HeaderMap) {
    if !is_there(headers, &CACHE_CONTROL) {
        headers.append(CACHE_CONTROL, HeaderValue::from_static("private"));
        return;
    }
    let mut kept = vec!["private"];
    let all: Vec<_> = headers.get_all(CACHE_CONTROL).iter().filter_map(|v| v.to_str().ok()).collect();
    for directive in all.iter().flat_map(|v| v.split(',')).map(str::trim).filter(|d| !d.is_empty()) {
        let name = directive.split('=').next().unwrap_or(directive);
        let is = |word: &str| name.eq_ignore_ascii_case(word);
        // `private="x-field"` is a promise about one field only.
        if directive == name && (is("no-store") || is("private")) {
            return;
        }
        if !is("public") && !is("s-maxage") {
            kept.push(directive);
        }
    }
    if let Ok(value) = HeaderValue::from_str(&kept.join(", ")) {
        headers.insert(CACHE_CONTROL, value);
    }
}

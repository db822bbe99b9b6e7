//! Cookies in the headers: found in those of a request, added to those of a response.

use std::borrow::Cow;

use axum::http::{
    HeaderMap, HeaderValue,
    header::{COOKIE, Entry, SET_COOKIE},
};
use memchr::memchr;

/// How much of a `Cookie` header is looked at, in bytes and in cookies: no more than servers let through, and
/// no more than a browser sends.
const COOKIE_HEADER_LIMIT: usize = 16 * 1024;
const COOKIE_COUNT_LIMIT: usize = 200;

/// All `Cookie` headers as one: HTTP/2 may split them.
pub(super) fn cookie_header(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut all = headers.get_all(COOKIE).iter();
    let first = all.next()?;
    let Some(second) = all.next() else { return Some(first.clone()) };
    let mut joined = first.as_bytes().to_vec();
    for value in std::iter::once(second).chain(all) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(value.as_bytes());
    }
    HeaderValue::from_maybe_shared(axum::body::Bytes::from(joined)).ok()
}

/// The values of those pairs of a `Cookie` header whose name is wanted. They lose the quotes around them.
pub(super) fn cookies(header: &[u8], wanted: impl Fn(&[u8]) -> bool) -> impl Iterator<Item = &[u8]> {
    let header = &header[..header.len().min(COOKIE_HEADER_LIMIT)];
    pairs(header).take(COOKIE_COUNT_LIMIT).filter_map(move |pair| {
        let (name, value) = split(pair, b'=')?;
        if !wanted(name.trim_ascii()) {
            return None;
        }
        let value = value.trim_ascii();
        Some(value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value))
    })
}

fn pairs(header: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(header);
    std::iter::from_fn(move || {
        let (pair, others) = match split(rest?, b';') {
            Some((pair, others)) => (pair, Some(others)),
            None => (rest?, None),
        };
        rest = others;
        Some(pair)
    })
}

/// What is before the first `byte`, and what is behind it.
fn split(text: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    let at = memchr(byte, text)?;
    Some((&text[..at], &text[at + 1..]))
}

/// `decodeURIComponent`, for the cookies that express writes; most values have nothing to decode.
pub(super) fn percent_decoded(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(text.into());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        if *first == b'%' {
            let code = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(code, 16).ok()?);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok().map(Into::into)
}

pub(super) fn append_cookie(headers: &mut HeaderMap, name: &str, text: String, overwrite: bool) {
    let Ok(mut value) = HeaderValue::try_from(text) else { return };
    // Not printed by whoever logs the response, and in HTTP/2 in no table that requests share.
    value.set_sensitive(true);
    let mut lines = match headers.entry(SET_COOKIE) {
        Entry::Vacant(none) => {
            none.insert(value);
            return;
        }
        Entry::Occupied(lines) => lines,
    };
    if overwrite && lines.iter().any(|line| is_cookie_named(line, name)) {
        let others: Vec<_> = lines.iter().filter(|line| !is_cookie_named(line, name)).cloned().collect();
        lines.remove();
        for other in others {
            headers.append(SET_COOKIE, other);
        }
        headers.append(SET_COOKIE, value);
    } else {
        lines.append(value);
    }
}

fn is_cookie_named(value: &HeaderValue, name: &str) -> bool {
    value.as_bytes().strip_prefix(name.as_bytes()).is_some_and(|rest| rest.first() == Some(&b'='))
}

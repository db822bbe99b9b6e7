//! Cookies in the headers: found in those of a request, added to those of a response.

use std::borrow::Cow;

use axum::http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{COOKIE, SET_COOKIE},
};
use memchr::memchr;

/// How much of a `Cookie` header is looked at, in bytes and in cookies: no more than servers let through, and
/// no more than a browser sends.
const COOKIE_HEADER_LIMIT: usize = 16 * 1024;
const COOKIE_COUNT_LIMIT: usize = 200;

/// All `Cookie` headers as one: HTTP/2 may split them.
pub(super) fn cookie_header(headers: &HeaderMap) -> Option<Cow<'_, HeaderValue>> {
    // Where no header stands there twice, this one does not.
    if headers.keys_len() == headers.len() {
        return headers.get(COOKIE).map(Cow::Borrowed);
    }
    let mut all = headers.get_all(COOKIE).iter();
    let first = all.next()?;
    let Some(second) = all.next() else { return Some(Cow::Borrowed(first)) };
    let mut joined = first.as_bytes().to_vec();
    for value in std::iter::once(second).chain(all) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(value.as_bytes());
    }
    HeaderValue::from_maybe_shared(axum::body::Bytes::from(joined)).ok().map(Cow::Owned)
}

/// The values of those pairs of a `Cookie` header whose name is `name` with `suffix` behind it. They lose the quotes around
/// them.
pub(super) struct Cookies<'a> {
    header: Option<&'a [u8]>,
    left: usize,
    name: &'a [u8],
    suffix: &'static [u8],
}

impl<'a> Cookies<'a> {
    #[inline]
    pub(super) fn named(name: &'a str, suffix: &'static str, header: &'a [u8]) -> Self {
        let header = &header[..header.len().min(COOKIE_HEADER_LIMIT)];
        let (name, suffix) = (name.as_bytes(), suffix.as_bytes());
        Self { header: Some(header), left: COOKIE_COUNT_LIMIT, name, suffix }
    }

    /// The value of a pair, if its name is the one that is meant.
    #[inline]
    fn value(&self, pair: &'a [u8]) -> Option<&'a [u8]> {
        let mut rest = pair.trim_ascii_start().strip_prefix(self.name)?;
        // To compare nothing was measured at 50 to 100 ns with glibc's AVX-512, perhaps since its address is that of no page.
        if !self.suffix.is_empty() {
            rest = rest.strip_prefix(self.suffix)?;
        }
        let value = rest.trim_ascii_start().strip_prefix(b"=")?.trim_ascii();
        Some(value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value))
    }
}

impl<'a> Iterator for Cookies<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        while self.left > 0
            && let Some(header) = self.header
        {
            self.left -= 1;
            let pair = match memchr(b';', header) {
                Some(end) => {
                    self.header = Some(&header[end + 1..]);
                    &header[..end]
                }
                None => {
                    self.header = None;
                    header
                }
            };
            let value = self.value(pair);
            if value.is_some() {
                return value;
            }
        }
        None
    }
}

/// `decodeURIComponent`, for the cookies that express writes; most values have nothing to decode. What comes out need be no
/// text.
pub(super) fn percent_decoded(value: &[u8]) -> Option<Cow<'_, [u8]>> {
    if memchr(b'%', value).is_none() {
        return Some(value.into());
    }
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value;
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
    Some(bytes.into())
}

pub(super) fn append_cookie(headers: &mut HeaderMap, name: &str, text: String, overwrite: bool) {
    let Ok(mut value) = HeaderValue::try_from(text) else { return };
    // Not printed by whoever logs the response, and in HTTP/2 in no table that requests share.
    value.set_sensitive(true);
    let overwrite = overwrite && is_there(headers, &SET_COOKIE);
    if overwrite && headers.get_all(SET_COOKIE).iter().any(|line| is_cookie_named(line, name)) {
        let lines = headers.get_all(SET_COOKIE).iter();
        let others: Vec<_> = lines.filter(|line| !is_cookie_named(line, name)).cloned().collect();
        headers.remove(SET_COOKIE);
        for other in others {
            headers.append(SET_COOKIE, other);
        }
    }
    headers.append(SET_COOKIE, value);
}

/// Responses have few headers: to look at each name is faster than to hash one.
pub(crate) fn is_there(headers: &HeaderMap, name: &HeaderName) -> bool {
    headers.keys().any(|there| there == name)
}

fn is_cookie_named(value: &HeaderValue, name: &str) -> bool {
    value.as_bytes().strip_prefix(name.as_bytes()).is_some_and(|rest| rest.first() == Some(&b'='))
}

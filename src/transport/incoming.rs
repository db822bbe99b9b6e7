//! The way in: from a request's headers to the id that they name, verified where it is signed.

use std::borrow::Cow;

use axum::http::{HeaderMap, HeaderValue, header::AUTHORIZATION};

use super::{
    Captured, Carrier, Presented, Signature, Way,
    cookies::{Cookies, cookie_header, percent_decoded},
    presented::FromCookie,
};
use crate::{id::SessionId, keyring::Scheme};

impl Carrier {
    /// Takes from the headers what [`read`](Self::read) may need.
    #[inline]
    pub(crate) fn capture(&self, headers: &HeaderMap) -> Captured {
        // As nearly always: made in its place.
        if let [Way::Cookie] = *self.transport.0 {
            return Captured { cookie: self.cookie(headers), others: Vec::new() };
        }
        self.capture_each(headers)
    }

    #[cold]
    fn capture_each(&self, headers: &HeaderMap) -> Captured {
        let mut captured = Captured::default();
        for (i, way) in self.transport.0.iter().enumerate() {
            if let Way::Cookie = way {
                captured.cookie = self.cookie(headers);
            } else {
                captured.others.extend(way.text(headers).map(|text| (i, text)));
            }
        }
        captured
    }

    /// What the request's cookies say.
    #[inline]
    fn cookie(&self, headers: &HeaderMap) -> FromCookie {
        let Some(header) = cookie_header(headers) else { return FromCookie::Nothing };
        if self.keys.is_some() {
            return FromCookie::Signed(header.into_owned());
        }
        let header = header.as_bytes();
        // No id has a semicolon in it: if all of the rest is one, there is no other cookie to look at.
        let rest = header.strip_prefix(self.name.as_bytes()).and_then(|rest| rest.strip_prefix(b"="));
        let id = rest.and_then(SessionId::of_octets);
        let id = id.or_else(|| self.named("", header).find_map(SessionId::of_octets));
        id.map_or(FromCookie::Nothing, FromCookie::Id)
    }

    /// The id of the request: the first that is well-formed and, in a cookie, bears a good signature.
    #[inline]
    pub(crate) fn read(&self, captured: &Captured) -> Option<Presented> {
        match (&*self.transport.0, &captured.cookie) {
            ([Way::Cookie], FromCookie::Nothing) => None,
            ([Way::Cookie], FromCookie::Id(id)) => {
                Some(Presented { id: id.clone(), signature: Signature::None, way: 0 })
            }
            _ => self.read_each(captured),
        }
    }

    fn read_each(&self, captured: &Captured) -> Option<Presented> {
        (0..self.transport.0.len()).find_map(|way| match self.transport.0[way] {
            Way::Cookie => match &captured.cookie {
                FromCookie::Nothing => None,
                FromCookie::Id(id) => Some(Presented { id: id.clone(), signature: Signature::None, way }),
                FromCookie::Signed(header) => {
                    let (id, signature) = self.verified(header.as_bytes())?;
                    Some(Presented { id, signature, way })
                }
            },
            Way::Header(_) | Way::Bearer | Way::Custom(_) => {
                let (_, text) = captured.others.iter().find(|(i, _)| *i == way)?;
                Some(Presented { id: SessionId::parse(text)?, signature: Signature::None, way })
            }
        })
    }

    #[inline]
    fn named<'a>(&'a self, suffix: &'static str, header: &'a [u8]) -> Cookies<'a> {
        Cookies::named(&self.name, suffix, header)
    }

    /// The first whose signature is good.
    #[inline]
    fn verified(&self, header: &[u8]) -> Option<(SessionId, Signature)> {
        let keys = self.keys.as_ref()?;
        let values = || self.named("", header);
        if keys.scheme() == Scheme::Keygrip {
            let signatures = || self.named(".sig", header);
            return values().find_map(|value| {
                let (key, signature) = signatures().find_map(|signature| {
                    Some((keys.open_detached(&self.name, value, signature)?, signature))
                })?;
                Some((SessionId::of_octets(value)?, Signature::of(key, Some(signature), header)))
            });
        }
        values().find_map(|value| {
            let plain = percent_decoded(value)?;
            let (id, key) = keys.open(&plain)?;
            // As it was written, if there was nothing to decode, as always with the `cookie` crate.
            let signed = Some(value).filter(|_| matches!(plain, Cow::Borrowed(_)));
            let signed = signed.filter(|_| keys.scheme() == Scheme::CookieJar);
            Some((SessionId::of_octets(id)?, Signature::of(key, signed, header)))
        })
    }
}

impl Way {
    /// What the request brings in another way than by a cookie.
    #[cold]
    fn text(&self, headers: &HeaderMap) -> Option<String> {
        match self {
            Self::Cookie => None,
            Self::Header(name) => headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned),
            Self::Bearer => headers.get(AUTHORIZATION).and_then(bearer).map(str::to_owned),
            Self::Custom(custom) => custom.read(headers),
        }
    }
}

/// RFC 9110 section 11.1: the scheme in any case.
fn bearer(value: &HeaderValue) -> Option<&str> {
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

//! What a request brought: taken from its headers, and looked at as far as nothing has to be verified.

use std::ops::Range;

use axum::http::HeaderValue;

use crate::id::SessionId;

/// What the request brought to name its session.
#[derive(Default)]
pub(crate) struct Captured {
    pub(super) cookie: FromCookie,
    /// Of the other ways: their numbers, and what they brought.
    pub(super) others: Vec<(usize, String)>,
}

#[derive(Default)]
pub(super) enum FromCookie {
    #[default]
    Nothing,
    /// Not signed, so that there is nothing to verify.
    Id(SessionId),
    /// The header, to be looked at when somebody asks: a signature that is not needed is not verified.
    Signed(HeaderValue),
}

/// An id that has been found, and verified where it is signed.
#[derive(Clone, Debug)]
pub(crate) struct Presented {
    pub(crate) id: SessionId,
    pub(crate) signature: Signature,
    /// Which way it came.
    pub(crate) way: usize,
}

/// What is known of the signature that an id came with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Signature {
    /// There was none to verify; or it is made anew whenever the cookie is.
    None,
    /// By a key that no longer signs: to be sent anew.
    Stale,
    /// By the key that signs, so that what stands here in the `Cookie` header can be sent again as it is.
    At(u32, u32),
}

/// A piece of the `Cookie` header, signed as it would be now.
pub(crate) struct Signed(HeaderValue, Range<u32>);

impl Captured {
    /// What stands in the `Cookie` header as the key that signs has made it.
    pub(crate) fn signed(&self, signature: Signature) -> Option<Signed> {
        match (&self.cookie, signature) {
            (FromCookie::Signed(header), Signature::At(from, to)) => Some(Signed(header.clone(), from..to)),
            _ => None,
        }
    }
}

impl Signed {
    pub(super) fn as_str(&self) -> Option<&str> {
        let Self(header, Range { start, end }) = self;
        str::from_utf8(header.as_bytes().get(*start as usize..*end as usize)?).ok()
    }
}

impl Signature {
    /// The cookie is about to be sent: whether it had to be.
    pub(crate) fn renew(&mut self) -> bool {
        let stale = *self == Self::Stale;
        if stale {
            *self = Self::None;
        }
        stale
    }

    /// Of the key with this number, which made `signed`, a piece of the header.
    pub(super) fn of(key: usize, signed: Option<&[u8]>, header: &[u8]) -> Self {
        let Some(signed) = signed.filter(|_| key == 0) else {
            return if key == 0 { Self::None } else { Self::Stale };
        };
        let from = signed.as_ptr().addr() - header.as_ptr().addr();
        // Of a header as long as that, nothing would have been looked at.
        Self::At(from as u32, (from + signed.len()) as u32)
    }
}

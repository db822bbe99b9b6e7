//! What a session holds: as it is stored, what has been changed since, and what the client is owed for it.

use std::mem;

use axum::http::{Extensions, HeaderMap};

use super::{ForcedId, Intent};
use crate::{
    clock::Timestamp,
    codec::{Content, Head},
    config::Config,
    cookie::{CookieLife, CookieOptions},
    id::{SessionId, StoreKey},
    object::{Object, give_back, merge},
    store::Tag,
    transport::{Captured, Presented, Signature, Signed},
};

/// What the request brought to name its session.
pub(crate) enum Brought {
    Captured(Captured),
    Forced(SessionId),
}

impl Brought {
    #[inline]
    pub(crate) fn by(config: &Config, headers: &HeaderMap, extensions: &Extensions) -> Self {
        match extensions.get::<ForcedId>() {
            None => Self::Captured(config.carrier.capture(headers)),
            Some(ForcedId(id)) => Self::Forced(id.clone()),
        }
    }
}

/// Where in the store the session is.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) id: SessionId,
    pub(crate) key: StoreKey,
    pub(crate) tag: Tag,
    pub(crate) expires_at: Timestamp,
    pub(crate) signature: Signature,
}

impl Origin {
    /// Of a session of which nobody knows yet whether it is there.
    #[inline]
    pub(crate) fn new(id: SessionId, key: StoreKey, signature: Signature) -> Self {
        Self { id, key, tag: [0; 8].into(), expires_at: Timestamp::EPOCH, signature }
    }
}

/// What the client is owed once the response leaves.
#[derive(Clone)]
pub(crate) enum Owed {
    /// The id of where the session is. `at`: the moment that a life is counted from.
    Cookie {
        options: Option<Box<CookieOptions>>,
        life: CookieLife,
        at: Timestamp,
    },
    Removal {
        options: Option<Box<CookieOptions>>,
    },
}

/// What the client is told, and of which session.
pub(crate) struct Due {
    pub(crate) owed: Owed,
    pub(crate) way: usize,
    /// Of the session that a cookie is for, where there still is one.
    pub(crate) whose: Option<(SessionId, Option<Signed>)>,
}

/// What has been changed and is not stored.
#[derive(Clone, Default)]
pub(crate) struct Edits {
    pub(crate) object: Option<Object>,
    pub(crate) cookie: Option<Option<Box<CookieOptions>>>,
    pub(crate) principal: Option<Option<Box<str>>>,
    /// The whole session was replaced: on a conflict it is not merged.
    pub(crate) replaced: bool,
}

#[derive(Default)]
pub(crate) struct Data {
    /// None until somebody asks for the session.
    pub(super) brought: Option<Brought>,
    pub(crate) origin: Option<Origin>,
    /// As stored.
    pub(crate) base: Content,
    pub(crate) base_principal: Option<Box<str>>,
    pub(crate) edits: Edits,
    /// Counts the edits, so that a commit sees those that came while it waited for the store.
    pub(crate) edition: u64,
    /// The edition that last replaced the whole session.
    pub(crate) replaced_in: u64,
    /// The request brought an id of no session.
    pub(crate) unknown: bool,
    /// Drawn for a session that is not stored yet.
    pub(crate) new_id: Option<SessionId>,
    pub(crate) owed: Option<Owed>,
    /// Which way of the transport the id came.
    pub(crate) way: usize,
    epoch: u32,
}

impl Edits {
    /// Nothing has been changed. `false` also where what was changed is as it was.
    pub(crate) fn is_empty(&self) -> bool {
        self.object.is_none() && self.cookie.is_none() && self.principal.is_none()
    }
}

impl Data {
    /// The id that the request brought. Whether there is such a session, only the store can tell.
    #[inline]
    pub(super) fn presented(&self, config: &Config) -> Option<Presented> {
        match self.brought.as_ref()? {
            Brought::Captured(captured) => config.carrier.read(captured),
            Brought::Forced(id) => Some(Presented { id: id.clone(), signature: Signature::None, way: 0 }),
        }
    }

    /// What the request brought that is signed as it would be now.
    fn signed(&self, signature: Signature) -> Option<Signed> {
        match self.brought.as_ref()? {
            Brought::Captured(captured) => captured.signed(signature),
            Brought::Forced(_) => None,
        }
    }

    pub(crate) fn object(&self) -> &Object {
        self.edits.object.as_ref().unwrap_or(&self.base.object)
    }

    pub(crate) fn object_mut(&mut self) -> &mut Object {
        self.edition += 1;
        self.edits.object.get_or_insert_with(|| self.base.object.copy())
    }

    pub(crate) fn cookie(&self) -> Option<&CookieOptions> {
        self.edits.cookie.as_ref().unwrap_or(&self.base.head.cookie).as_deref()
    }

    pub(crate) fn principal(&self) -> Option<&str> {
        self.edits.principal.as_ref().unwrap_or(&self.base_principal).as_deref()
    }

    /// Whether anything is not as it is stored; by value, so that what was undone is no change.
    pub(crate) fn is_changed(&self) -> bool {
        let Edits { object, cookie, principal, .. } = &self.edits;
        object.as_ref().is_some_and(|object| !self.base.object.same(object))
            || cookie.as_ref().is_some_and(|cookie| *cookie != self.base.head.cookie)
            || principal.as_ref().is_some_and(|principal| *principal != self.base_principal)
    }

    /// Whether nobody has put anything into it. Settings of the visitor's own are something: they must be there when
    /// the data come.
    pub(crate) fn is_empty(&self) -> bool {
        self.object().is_empty() && self.principal().is_none() && self.cookie().is_none()
    }

    pub(crate) fn set_cookie(&mut self, own: Option<Box<CookieOptions>>) {
        self.edits.cookie = Some(own);
        self.edition += 1;
    }

    pub(crate) fn set_principal(&mut self, principal: Option<Box<str>>) {
        self.edits.principal = Some(principal);
        self.edition += 1;
    }

    /// Puts another object in the session's place.
    pub(crate) fn replace(&mut self, object: Object) {
        self.edits.object = Some(object);
        self.edits.replaced = true;
        self.edition += 1;
        self.replaced_in = self.edition;
    }

    /// Goes back to an earlier object, and keeps what has been changed since `seen`. No edition of its own: who undoes
    /// has the turn to commit, so that nothing is on its way to the store.
    pub(crate) fn undo(&mut self, seen: &Object, before: &Object) {
        self.edits.object = Some(merge(seen, self.object(), before).object);
    }

    /// What the client is to be told of the session as it stands now.
    #[inline]
    pub(crate) fn take_due(&mut self) -> Option<Due> {
        let owed = self.owed.take()?;
        let whose = match (&owed, &self.origin) {
            (Owed::Cookie { .. }, Some(origin)) => Some((origin.id.clone(), self.signed(origin.signature))),
            _ => None,
        };
        Some(Due { owed, way: self.way, whose })
    }

    /// What has been changed is what is stored now.
    pub(crate) fn take_edits_over(&mut self) {
        let Edits { object, cookie, principal, replaced } = &mut self.edits;
        if let Some(object) = object.take() {
            self.base.object = object;
        }
        empty(cookie);
        empty(principal);
        *replaced = false;
    }

    /// As new. Each field is named, so that none is left out; what is nothing already, as most is after most requests, is
    /// only looked at.
    pub(super) fn forget(&mut self) {
        let Self {
            brought,
            origin,
            base,
            base_principal,
            edits,
            edition,
            replaced_in,
            unknown,
            new_id,
            owed,
            way,
            epoch,
        } = self;
        let Content { head: Head { created, since, cookie, stored_cookie }, object } = base;
        let Edits { object: own_object, cookie: own_cookie, principal, replaced } = edits;
        if *edition > 0 {
            // What has been changed lies in room of its own.
            give_back(mem::take(object));
        } else if !object.is_blank() {
            *object = Object::default();
        }
        empty(brought);
        empty(origin);
        empty(cookie);
        empty(stored_cookie);
        empty(base_principal);
        empty(own_object);
        empty(own_cookie);
        empty(principal);
        empty(new_id);
        empty(owed);
        (*created, *since, *replaced, *unknown) = (None, None, false, false);
        (*edition, *replaced_in, *way, *epoch) = (0, 0, 0, 0);
    }

    /// Whether they stand after all intents so far.
    pub(super) fn follows(&self, intent: Intent) -> bool {
        self.epoch == intent.epoch
    }

    /// Drops what was there before the last ending.
    pub(super) fn follow(&mut self, intent: Intent) {
        if !self.follows(intent) {
            self.start_anew(intent.epoch);
        }
    }

    /// Forgets everything but where the old session is.
    #[cold]
    fn start_anew(&mut self, epoch: u32) {
        self.edits = Edits {
            object: Some(Object::default()),
            cookie: Some(None),
            principal: Some(None),
            replaced: true,
        };
        self.new_id = None;
        self.edition += 1;
        self.replaced_in = self.edition;
        self.epoch = epoch;
    }
}

#[inline(always)]
fn empty<T>(field: &mut Option<T>) {
    if field.is_some() {
        *field = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cookie::MaxAge;

    #[test]
    fn all_is_forgotten() {
        let text = || axum::body::Bytes::from_static(b"{\"a\":1}");
        let object = || Object::parse(text()).expect("an object");
        let (id, own) =
            (SessionId::random(), || Some(Box::new(CookieOptions::new().max_age(MaxAge::BrowserSession))));
        let at = Timestamp::from_millis(7);
        let full = |edition| Data {
            brought: Some(Brought::Forced(id.clone())),
            origin: Some(Origin::new(id.clone(), StoreKey::hashed("", &id), Signature::None)),
            base: Content {
                head: Head {
                    created: Some(at),
                    since: Some(at),
                    cookie: own(),
                    stored_cookie: Some(Box::new(object())),
                },
                object: object(),
            },
            base_principal: Some("ada".into()),
            edits: Edits {
                object: Some(object()),
                cookie: Some(own()),
                principal: Some(Some("bob".into())),
                replaced: true,
            },
            edition,
            replaced_in: edition,
            unknown: true,
            new_id: Some(id.clone()),
            owed: Some(Owed::Removal { options: own() }),
            way: 1,
            epoch: 1,
        };
        for edition in [0, 1] {
            let mut data = full(edition);
            data.forget();
            assert!(data.brought.is_none() && data.origin.is_none());
            let Head { created, since, cookie, stored_cookie } = &data.base.head;
            assert!(created.is_none() && since.is_none() && cookie.is_none() && stored_cookie.is_none());
            assert!(data.base.object.is_blank() && data.base_principal.is_none());
            assert!(data.edits.is_empty() && !data.edits.replaced);
            assert_eq!((data.edition, data.replaced_in, data.unknown), (0, 0, false));
            assert!(data.new_id.is_none() && data.owed.is_none());
            assert_eq!((data.way, data.epoch), (0, 0));
        }
    }
}

//! The sessions of a principal as a layer sees them: found, put into order, ended. Beside `commit` and `takeover` the
//! only place that writes to the store, and all that it writes is ends.

use std::{cmp::Reverse, fmt};

use crate::{
    clock::Timestamp,
    codec::Content,
    config::{Config, KeepNewest},
    id::{StoreKey, handle},
    store::{Owner, SharedByPrincipal, StoreError, Which},
};

/// A layer whose store finds sessions by their principal: one that
/// [`SessionLayer::by_principal`](crate::SessionLayer::by_principal) has made.
#[derive(Clone)]
pub struct Listing(pub(crate) SharedByPrincipal);

/// A layer whose store may be any: what [`SessionLayer::new`](crate::SessionLayer::new) makes.
#[derive(Clone, Copy, Debug)]
pub struct NoListing;

/// What a layer must be for lists of sessions: [`Listing`].
#[diagnostic::on_unimplemented(
    message = "the sessions of this layer cannot be found by principal",
    label = "only a layer made by `SessionLayer::by_principal(store)` has this",
    note = "write `SessionLayer::by_principal(store)` in place of `SessionLayer::new(store)`"
)]
pub trait CanList {
    #[doc(hidden)]
    fn listing(&self) -> &Listing;
}

impl CanList for Listing {
    fn listing(&self) -> &Listing {
        self
    }
}

impl fmt::Debug for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listing").finish_non_exhaustive()
    }
}

/// A session that was found.
pub(crate) struct Seen {
    pub(crate) digest: [u8; 32],
    pub(crate) expires_at: Timestamp,
    pub(crate) created: Timestamp,
    /// When it came to belong to the principal.
    pub(crate) since: Timestamp,
    pub(crate) content: Content,
}

/// The principal's sessions, the newest login first.
pub(crate) async fn find(
    config: &Config,
    store: &SharedByPrincipal,
    principal: &str,
) -> Result<Vec<Seen>, StoreError> {
    let owner = Owner { prefix: config.prefix.as_str(), principal };
    let found = config.engine.sessions_of(&config.limits, store, owner).await?;
    let mut seen = Vec::with_capacity(found.len());
    for found in found {
        let content = match config.codec.decode(found.record.data.clone(), &config.cookie) {
            Ok(content) => content,
            Err(why) => {
                // Nobody can use it, so nobody misses it in a list.
                tracing::error!(
                    session = %handle(&found.digest),
                    error = %why,
                    "a stored session cannot be read; it is left out of its owner's list"
                );
                continue;
            }
        };
        let created = content.head.created.unwrap_or(Timestamp::EPOCH);
        if config.lifetime.is_over(created, config.clock.now()) {
            continue;
        }
        let since = content.head.since.unwrap_or(created);
        seen.push(Seen {
            digest: found.digest,
            expires_at: found.record.expires_at,
            created,
            since,
            content,
        });
    }
    seen.sort_by_key(|seen| Reverse((seen.since, seen.digest)));
    Ok(seen)
}

/// Ends those of the principal's sessions that are meant, and says how many they were.
pub(crate) async fn end(
    config: &Config,
    store: &SharedByPrincipal,
    principal: &str,
    which: Which,
) -> Result<u64, StoreError> {
    let owner = Owner { prefix: config.prefix.as_str(), principal };
    let ended = config.engine.destroy_of(&config.limits, store, owner, which).await;
    ended.inspect(|number| config.observer.destroyed_of(*number))
}

/// The moment of a login: after that of every login before it, whatever the clocks of their nodes say.
pub(crate) async fn login_moment(config: &Config, principal: &str) -> Timestamp {
    let now = config.clock.now();
    let Some(KeepNewest { store, .. }) = &config.keep_newest else { return now };
    match find(config, store, principal).await {
        Ok(seen) => {
            let last = seen.first().map_or(0, |seen| seen.since.as_millis());
            now.max(Timestamp::from_millis(last + 1))
        }
        // If the store is away, the login itself will say so.
        Err(_) => now,
    }
}

/// After a login, which is in the store: ends what it is one too many for.
///
/// All logins agree which sessions are the newest, so two at one time cannot end each other; and the last to look sees
/// them all, so none stays beyond the number.
pub(crate) async fn keep_newest(config: &Config, principal: &str, key: &StoreKey) {
    let Some(KeepNewest { sessions, store }) = &config.keep_newest else { return };
    let ended = async {
        let mut ended = 0;
        for surplus in find(config, store, principal).await?.iter().skip(*sessions) {
            ended += end(config, store, principal, Which::Only(surplus.digest)).await?;
        }
        Ok::<_, StoreError>(ended)
    };
    match ended.await {
        Ok(0) => {}
        Ok(ended) => {
            tracing::debug!(session = %key.handle(), ended, "a login has ended older sessions of its principal");
        }
        Err(error) => tracing::error!(
            session = %key.handle(),
            %error,
            "a login has succeeded, but older sessions of its principal could not be ended; the next login will try again"
        ),
    }
}

//! Taking over the sessions of a [`Predecessor`](crate::store::Predecessor): a part of loading, and with `commit` the
//! only place that writes to the store.

use std::{future::Future, sync::Arc};

use crate::{
    codec::Head,
    config::Config,
    cookie::CookieLife,
    engine::Repeat,
    id::{SessionId, StoreKey},
    lifetime::Life,
    store::{Record, StoreError, When, Written},
};

/// What the layer's store does not know, the predecessor may: moved over, it is the record under `key`.
///
/// A task of its own, since a visitor who hangs up between the two writes would leave a second session behind.
pub(crate) async fn take_over(
    config: &Arc<Config>,
    id: &SessionId,
    key: &StoreKey,
) -> Result<Option<Record>, StoreError> {
    if config.predecessor.is_none() {
        return Ok(None);
    }
    let (config, id, key) = (config.clone(), id.clone(), key.clone());
    let moving = tokio::spawn(async move { move_over(&config, &id, &key).await });
    moving.await.unwrap_or_else(|lost| Err(StoreError::in_doubt(lost)))
}

async fn move_over(config: &Config, id: &SessionId, key: &StoreKey) -> Result<Option<Record>, StoreError> {
    let Some(old) = &config.predecessor else { return Ok(None) };
    let Some(legacy) = limited(config, old.0.find(id)).await? else {
        // Another request may have moved it between the two looks.
        return config.engine.get(&config.limits, key).await;
    };
    let now = config.clock.now();
    let limit = config.lifetime.max_lifetime.map_or(legacy.expires_at, |max| now.saturating_add(max));
    let end = legacy.expires_at.min(limit);
    if end <= now {
        return Ok(None);
    }
    let head = Head { created: Some(now), ..Head::default() };
    let life = Life { store: end, cookie: CookieLife::Until(end) };
    let data =
        config.codec.encode(&head, &legacy.object, &config.cookie, life).map_err(StoreError::corrupt)?;
    let record = Record { tag: config.codec.tag(&data), expires_at: end, principal: None, data };
    match config.engine.set(&config.limits, key, &record, When::Absent, Repeat::Harmless).await? {
        Written::Done => {}
        // Another request of this visitor's was faster.
        Written::Conflict(Some(moved)) => return Ok(Some(moved)),
        Written::Conflict(None) | Written::Gone => return config.engine.get(&config.limits, key).await,
    }
    let left = leave(config, id).await;
    if let Ok(true) = left {
        config.observer.taken_over(key);
        return Ok(Some(record));
    }
    // Not there any more: another request has moved it since it was found, and ended it. Or not to be removed: in both
    // places, it would come back after a logout; next time, from the beginning.
    if let Err(error) = config.engine.destroy(&config.limits, key).await {
        let session = key.handle();
        tracing::error!(%session, %error, "a session that was taken over while it ended, or only copied, is left");
        return Err(left.err().unwrap_or(error));
    }
    left.map(|_| None)
}

/// Removes the session from the predecessor's; `false` if it was not there any more.
async fn leave(config: &Config, id: &SessionId) -> Result<bool, StoreError> {
    let Some(old) = &config.predecessor else { return Ok(false) };
    let there = limited(config, old.0.find(id)).await?.is_some();
    forget(config, id).await?;
    Ok(there)
}

/// Ends a session, first at the predecessor's: who has found it there then knows it, and who finds it later cannot.
pub(crate) async fn end(config: &Config, id: &SessionId) -> Result<(), StoreError> {
    forget(config, id).await?;
    config.engine.destroy(&config.limits, &config.key(id)).await
}

/// Sees to it that the predecessor has no session of this id.
async fn forget(config: &Config, id: &SessionId) -> Result<(), StoreError> {
    match &config.predecessor {
        Some(old) => limited(config, old.0.remove(id)).await,
        None => Ok(()),
    }
}

async fn limited<T>(
    config: &Config,
    call: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let late = || Err(StoreError::in_doubt("the predecessor's store did not answer in time"));
    tokio::time::timeout(config.limits.operation, call).await.unwrap_or_else(|_| late())
}

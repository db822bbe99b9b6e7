//! The hooks of the recorded applications, steered by the request's query.

use std::{sync::Arc, time::Duration};

use axum::http::request::Parts;
use axum_generic_session::{MaxAge, SessionId, SessionLayer, Snapshot, Verdict};
use serde_json::{Value, json};
use tokio::task::yield_now;

use crate::{journal::Journal, query::Query};

/// Which hooks a layer has.
#[derive(Clone, Default)]
pub(crate) struct Hooks {
    pub(crate) valid: bool,
    pub(crate) before_save: bool,
    pub(crate) ttl: bool,
    /// An error handler that lets everything go on.
    pub(crate) swallow: bool,
    /// Ids of the application's own, and which parameter is put at their end.
    pub(crate) gen_sid: Option<&'static str>,
}

impl Hooks {
    pub(crate) fn install(&self, mut layer: SessionLayer, journal: &Arc<Journal>) -> SessionLayer {
        if self.valid {
            let journal = journal.clone();
            layer = layer.valid(move |candidate| {
                let count = candidate.session().value::<Value>("count").ok().flatten();
                journal.note(json!({ "hook": "valid", "count": count }));
                let word = Query::of(candidate.parts()).get("valid");
                async move {
                    match word.as_deref() {
                        Some("throw") => Err("valid failed".into()),
                        Some("async-false") => {
                            yield_now().await;
                            Ok(false)
                        }
                        word => Ok(word != Some("false")),
                    }
                }
            });
        }
        if self.before_save {
            let journal = journal.clone();
            layer = layer.before_save(move |draft| {
                journal.note(json!({ "hook": "beforeSave" }));
                let word = Query::of(draft.parts()).get("before_save");
                async move {
                    match word.as_deref() {
                        Some("throw") => Err("beforeSave failed".into()),
                        Some("reject") => Err("beforeSave rejected".into()),
                        Some("late") => {
                            yield_now().await;
                            Ok(draft.insert("late", true)?)
                        }
                        _ => Ok(draft.insert("path", draft.parts().uri.path())?),
                    }
                }
            });
        }
        if let Some(append) = self.gen_sid {
            let journal = journal.clone();
            layer = layer.gen_id(move |parts: Arc<Parts>| {
                journal.note(json!({ "hook": "genSid" }));
                let query = Query::of(&parts);
                async move {
                    match query.get("gensid").as_deref() {
                        Some("throw") => Err("genSid failed".into()),
                        Some("empty") => Ok(String::new()),
                        Some("fixed") => Ok("fixed-sid".to_owned()),
                        Some("unicode") => Ok("sid€".to_owned()),
                        _ => {
                            let end = query.get(append).unwrap_or_default();
                            Ok(format!("{}{end}", SessionId::random().expose()))
                        }
                    }
                }
            });
        }
        if self.swallow {
            layer = layer.error_handler(|_| async { Verdict::Continue });
        }
        if self.ttl { layer.ttl_with(ttl) } else { layer }
    }
}

/// `session.ttl` if there is one; a minute for a browser's session; else no opinion.
fn ttl(session: &Snapshot) -> Option<Duration> {
    match session.value::<f64>("ttl").ok().flatten() {
        Some(ms) if ms < 0.0 => Some(Duration::ZERO),
        Some(ms) if ms > 0.0 => Duration::try_from_secs_f64(ms / 1000.0).ok(),
        _ if session.cookie().max_age == MaxAge::BrowserSession => Some(Duration::from_secs(60)),
        _ => None,
    }
}

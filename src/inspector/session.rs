//! One session: how old, how large, what is in it, and the button that ends it.

use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use serde_json::Value;

use super::{
    Pages,
    page::{Place, failed, not_found, shell},
    words::{ago, ahead, bytes, number, span},
};
use crate::{
    codec::Content,
    config::Config,
    object::Object,
    observe::journal::Seen,
    store::{Record, StoreErrorKind},
};

pub(super) const UNSEEN: &str =
    "This process has seen no session of this handle lately, or it has ended. Another process may know it.";

pub(super) async fn page(pages: &Pages, place: &Place, handle: &str) -> Response {
    let Some((key, seen)) = pages.shared.journal.find(handle) else {
        return not_found(pages, place, UNSEEN).into_response();
    };
    let Config { engine, limits, codec, cookie, .. } = &*pages.shared.config;
    let (record, content) = match engine.get(limits, &key).await {
        Ok(Some(record)) => {
            let content = codec.decode(record.data.clone(), cookie).ok();
            (Some(record), content)
        }
        Ok(None) => {
            pages.shared.journal.ended(&key);
            return not_found(pages, place, UNSEEN).into_response();
        }
        Err(error) if error.kind() == StoreErrorKind::Corrupt => (None, None),
        Err(error) => return failed(pages, place, &error).into_response(),
    };
    let content = html! {
        div.title {
            h1 { "Session " code { (handle) } }
            details.danger {
                summary { "Sign out…" }
                form method="post" action={ (place.root) "session/" (handle) "/end" } {
                    input type="hidden" name="token" value=(pages.shared.token);
                    p { "Whoever uses this session is signed out at once, on every page and device that shares it." }
                    button type="submit" { "End this session" }
                }
            }
        }
        (facts(pages, &seen, record.as_ref(), content.as_ref()))
        section.card {
            h2 { "Data" }
            @match &content {
                Some(content) => (data(&content.object, pages.show_values)),
                None => p.bad { "What is stored cannot be read as a session." },
            }
        }
    };
    shell(pages, place, &format!("Session {handle}"), false, &content).into_response()
}

fn facts(pages: &Pages, seen: &Seen, record: Option<&Record>, content: Option<&Content>) -> Markup {
    let now = pages.shared.journal.now();
    let created = content.and_then(|content| content.head.created);
    let principal = record.and_then(|record| record.principal.as_deref());
    html! {
        section.card {
            dl.facts {
                div { dt { "Age" } dd { (created.map_or("not known".into(), |at| span(now.saturating_since(at)))) } }
                div { dt { "Seen" } dd { (ago(now, seen.last)) } }
                @if let Some(record) = record {
                    div { dt { "Expires" } dd { (ahead(now, record.expires_at)) } }
                    div { dt { "Size" } dd { (bytes(record.data.len())) } }
                }
                div { dt { "Reads, writes" } dd { (number(seen.loads.into())) ", " (number(seen.writes.into())) " here" } }
                div { dt { "Belongs to" } dd {
                    @match principal {
                        Some(principal) if pages.show_values => (principal),
                        Some(_) => "somebody (hidden)",
                        None => "nobody",
                    }
                } }
                @if content.is_some_and(|content| content.head.cookie.is_some()) {
                    div { dt { "Cookie" } dd { "settings of its own" } }
                }
            }
        }
    }
}

fn data(object: &Object, show: bool) -> Markup {
    html! {
        @if object.is_empty() {
            p.dim { "There is nothing in it." }
        } @else {
            table.data {
                thead { tr { th scope="col" { "Key" } th scope="col" { "Type" } th scope="col" { "Size" } th scope="col" { "Value" } } }
                tbody {
                    @for (key, text) in object.iter() {
                        tr {
                            th scope="row" { code { (key) } }
                            td { (kind(text)) }
                            td { (bytes(text.len())) }
                            td {
                                @if show { pre { (pretty(text)) } }
                                @else { span.masked title="not shown" { span aria-hidden="true" { "••••••" } span.hidden { "hidden" } } }
                            }
                        }
                    }
                }
            }
            @if !show {
                p.dim { "Values are hidden. " code { "Inspector::show_values(true)" } " shows them." }
            }
        }
    }
}

/// What kind of JSON value begins like this.
fn kind(text: &[u8]) -> &'static str {
    match text.trim_ascii_start().first() {
        Some(b'{') => "object",
        Some(b'[') => "array",
        Some(b'"') => "text",
        Some(b't' | b'f') => "yes or no",
        Some(b'n') => "null",
        _ => "number",
    }
}

fn pretty(text: &[u8]) -> String {
    let value = serde_json::from_slice::<Value>(text).and_then(|value| serde_json::to_string_pretty(&value));
    value.unwrap_or_else(|_| String::from_utf8_lossy(text).into_owned())
}

//! What all pages have in common.

use axum::{
    extract::{OriginalUri, Request},
    http::StatusCode,
    response::Html,
};
use maud::{DOCTYPE, Markup, html};

use super::Pages;
use crate::store::{Connection, StoreError};

/// Where a page is, seen from itself.
pub(super) struct Place {
    /// From the page to where the pages are, relative: it is right whatever a proxy has put before the path.
    pub(super) root: String,
    query: String,
}

impl Place {
    pub(super) fn of(request: &Request) -> Self {
        let inner = request.uri().path();
        let outer = request.extensions().get::<OriginalUri>().map_or(inner, |uri| uri.0.path());
        let query = request.uri().query().unwrap_or_default().to_owned();
        Self { root: root(inner, outer), query }
    }

    /// The first page, under the one name by which it is found wherever the router is nested.
    pub(super) fn overview(&self) -> String {
        format!("{}overview", self.root)
    }

    /// A parameter of the address.
    pub(super) fn asks(&self, name: &str) -> Option<&str> {
        let pairs = self.query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.filter(|(n, _)| *n == name).map(|(_, value)| value).next()
    }
}

fn root(inner: &str, outer: &str) -> String {
    match inner.trim_start_matches('/') {
        // Without a slash at its end, the last part of the address is what the browser replaces.
        "" if !outer.ends_with('/') => format!("{}/", outer.rsplit('/').next().unwrap_or_default()),
        "" => "./".into(),
        below => match below.matches('/').count() {
            0 => "./".into(),
            depth => "../".repeat(depth),
        },
    }
}

/// A page around `content`. One that is `live` looks after itself.
pub(super) fn shell(pages: &Pages, place: &Place, title: &str, live: bool, content: &Markup) -> Html<String> {
    let config = &pages.shared.config;
    let watch = config.engine.watch();
    let root = &place.root;
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                title { (title) " · " (config.carrier.name) }
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="robots" content="noindex, nofollow";
                meta name="color-scheme" content="light dark";
                link rel="stylesheet" href={ (root) "style.css" };
                @if live {
                    noscript { meta http-equiv="refresh" content="10"; }
                    script src={ (root) "live.js" } defer {}
                }
            }
            body {
                a.skip href="#main" { "To the content" }
                header.bar {
                    a.home href=(place.overview()) { "Sessions" }
                    code title="the cookie's name" { (config.carrier.name) }
                    span.grow {}
                    (status(watch.store(), watch.connection()))
                    @if live { button #pause type="button" hidden aria-pressed="false" { "Pause" } }
                }
                main #main { (content) }
                footer { "What this process has seen. Sessions go by their handles; ids cannot be seen here." }
            }
        }
    };
    Html(page.into_string())
}

fn status(store: &str, connection: Option<Connection>) -> Markup {
    let (class, text) = match connection {
        Some(Connection::Disconnected { since }) => {
            ("bad", format!("disconnected for {}", super::words::span(since.elapsed())))
        }
        Some(Connection::Connected) => ("good", "connected".to_owned()),
        None => ("good", "ready".to_owned()),
    };
    html! { span #status class={ "status " (class) } { i aria-hidden="true" {} (store) " " (text) } }
}

fn message(pages: &Pages, place: &Place, title: &str, text: &str) -> Html<String> {
    let content = html! {
        section.card.message {
            h1 { (title) }
            p { (text) }
            p { a href=(place.overview()) { "Back to all sessions" } }
        }
    };
    shell(pages, place, title, false, &content)
}

pub(super) fn not_found(pages: &Pages, place: &Place, text: &str) -> (StatusCode, Html<String>) {
    (StatusCode::NOT_FOUND, message(pages, place, "Not found", text))
}

pub(super) fn refused(pages: &Pages, place: &Place, text: &str) -> (StatusCode, Html<String>) {
    (StatusCode::FORBIDDEN, message(pages, place, "Refused", text))
}

pub(super) fn failed(pages: &Pages, place: &Place, error: &StoreError) -> (StatusCode, Html<String>) {
    // The kind, and not what the driver says: that is for the log.
    tracing::error!(error = %error, kind = error.kind().name(), "the inspector's call of the store failed");
    let text = format!("{}. The log has the cause.", error.kind());
    (StatusCode::SERVICE_UNAVAILABLE, message(pages, place, "The store", &text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_is_relative() {
        for (inner, outer, expected) in [
            ("/", "/", "./"),
            ("/", "/operators/sessions", "sessions/"),
            ("/", "/operators/sessions/", "./"),
            ("/session/x", "/operators/sessions/session/x", "../"),
            ("/session/x/end", "/session/x/end", "../../"),
            ("/nothing", "/operators/nothing", "./"),
        ] {
            assert_eq!(root(inner, outer), expected, "{outer}");
        }
    }
}

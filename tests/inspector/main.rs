//! The inspector, over HTTP and in a real browser: what it shows, what it must never show, and who may press its button.
#![cfg(all(feature = "inspector", feature = "memory-store", feature = "testing"))]

mod browser;
mod secrets;
mod shown;
mod sign_out;

#[path = "../servers/mod.rs"]
mod servers;
#[path = "../site/mod.rs"]
mod site;

use axum::Router;
use axum_generic_session::{Inspector, testing::Client};
use site::Site;

/// Where the pages are, in these tests.
const AT: &str = "/operators/sessions";

/// An operator at the inspector of this site.
fn operator(site: &Site) -> Client {
    Client::new(mounted(&Inspector::new(&site.layer).expect("the settings are sound")))
}

fn mounted(inspector: &Inspector) -> Router {
    Router::new().nest(AT, inspector.router())
}

/// The addresses of the sessions that a page links to, each once.
fn links(page: &str) -> Vec<String> {
    let mut links: Vec<_> = page
        .split("href=\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next()?.strip_prefix("sessions/session/"))
        .map(|handle| format!("{AT}/session/{handle}"))
        .collect();
    links.sort();
    links.dedup();
    links
}

/// The figure under this name.
fn tile(page: &str, name: &str) -> String {
    let after =
        page.split(&format!("<dt>{name}</dt><dd>")).nth(1).unwrap_or_else(|| panic!("{name} in {page}"));
    after.split('<').next().unwrap_or_default().to_owned()
}

/// What stands in the form of a session's page.
fn token(page: &str) -> String {
    let after = page.split("name=\"token\" value=\"").nth(1).expect("a form");
    after.split('"').next().expect("its end").to_owned()
}

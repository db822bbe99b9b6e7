//! Where a member is signed in, and ending it: one device, or all others.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, header::USER_AGENT},
    response::Redirect,
};
use axum_generic_session::{Session, Timestamp};
use maud::{Markup, html};
use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, macros::format_description};

use crate::{
    Site,
    pages::{Page, Trouble},
    users::User,
    visit::{self, Checked, Member, NoFields, Visit},
};

/// What the list shows of a session, beside what the store knows: written at the login.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Device {
    pub(crate) device: String,
}

const UNKNOWN: &str = "A device we do not know";

/// A device as its owner would call it, by what the browser says of itself.
pub(crate) fn name(headers: &HeaderMap) -> String {
    let agent = headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    // In this order, since each claims to be those that come after it.
    let known = |names: &[(&str, &'static str)]| {
        names.iter().find(|(sign, _)| agent.contains(sign)).map(|(_, name)| *name)
    };
    let browser = known(&[
        ("Edg", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("FxiOS/", "Firefox"),
        ("CriOS/", "Chrome"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
    ]);
    let system = known(&[
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Android", "Android"),
        ("Windows", "Windows"),
        ("Mac OS X", "macOS"),
        ("CrOS", "ChromeOS"),
        ("Linux", "Linux"),
    ]);
    match (browser, system) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(one), None) | (None, Some(one)) => one.to_owned(),
        (None, None) => UNKNOWN.to_owned(),
    }
}

/// `None` for none.
pub(crate) fn count(devices: u64) -> Option<String> {
    match devices {
        0 => None,
        1 => Some("One other device is".into()),
        _ => Some(format!("{devices} other devices are")),
    }
}

/// Not "14:03": the reader's clock may be in another zone.
fn ago(moment: Timestamp) -> String {
    let moment = i128::from(moment.as_millis()) * 1_000_000;
    let moment = OffsetDateTime::from_unix_timestamp_nanos(moment).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    match (OffsetDateTime::now_utc() - moment).whole_minutes() {
        ..1 => "just now".to_owned(),
        1 => "a minute ago".to_owned(),
        minutes @ 2..60 => format!("{minutes} minutes ago"),
        minutes @ 60..120 => format!("{} hour ago", minutes / 60),
        minutes @ 120..1440 => format!("{} hours ago", minutes / 60),
        _ => {
            moment.format(format_description!("on [day padding:none] [month repr:long]")).unwrap_or_default()
        }
    }
}

/// The list on the account's page.
pub(crate) async fn section(
    site: &Site,
    member: &User,
    page: &Page,
    session: &Session<Visit>,
) -> Result<Markup, Trouble> {
    let this = session.handle().await?;
    let devices = site.sessions.of(member.id.to_string()).list::<Device>().await?;
    Ok(html! {
        section {
            h2 { "Your devices" }
            p.quiet { "Where you are signed in. One you do not know? Sign it out, and change your password." }
            ul.rows {
                @for device in &devices {
                    @let is_this = this.as_ref() == Some(&device.handle);
                    @let name = device.value.as_ref().map_or(UNKNOWN, |d| d.device.as_str());
                    li {
                        (picture(name))
                        div.what {
                            b { (name) @if is_this { " " span.badge { "this one" } } }
                            span.quiet { "Signed in " (ago(device.since)) " · seen " (ago(device.last_seen)) }
                        }
                        @if is_this {
                            form method="post" action="/signout" { (page.token()) button.quiet { "Sign out" } }
                        } @else {
                            form method="post" action="/devices/end" {
                                (page.token())
                                input type="hidden" name="handle" value=(device.handle);
                                button.quiet aria-label={ "Sign out " (name) ", " (device.handle) } { "Sign out" }
                            }
                        }
                    }
                }
            }
            @if devices.len() > 1 {
                form method="post" action="/devices/end-others" {
                    (page.token())
                    button.danger { "Sign out all others" }
                }
            }
        }
    })
}

/// A telephone or a computer.
fn picture(name: &str) -> Markup {
    let is_small = ["iPhone", "iPad", "Android"].iter().any(|system| name.ends_with(system));
    html! {
        svg.icon viewBox="0 0 24 24" aria-hidden="true" {
            @if is_small {
                rect x="6.5" y="3" width="11" height="18" rx="1.5" {} path d="M11 18h2" {}
            } @else {
                rect x="4" y="5" width="16" height="10.5" rx="1.5" {} path d="M2.5 19h19" {}
            }
        }
    }
}

#[derive(Deserialize)]
pub(crate) struct Which {
    handle: String,
}

/// The handle is looked for among this member's sessions only: nobody else's can be named.
pub(crate) async fn end(
    State(site): State<Arc<Site>>,
    Member(member): Member,
    session: Session<Visit>,
    Checked(form): Checked<Which>,
) -> Result<Redirect, Trouble> {
    let text = match site.sessions.of(member.id.to_string()).end(&form.handle).await? {
        true => "That device is signed out.",
        false => "That device was signed out already.",
    };
    visit::flash(&session, text).await?;
    Ok(Redirect::to("/account"))
}

pub(crate) async fn end_others(
    State(site): State<Arc<Site>>,
    Member(member): Member,
    session: Session<Visit>,
    Checked(NoFields {}): Checked<NoFields>,
) -> Result<Redirect, Trouble> {
    let ended = site.sessions.of(member.id.to_string()).end_others(&session).await?;
    let text =
        count(ended).map_or("There is no other device.".into(), |devices| format!("{devices} signed out."));
    visit::flash(&session, text).await?;
    Ok(Redirect::to("/account"))
}

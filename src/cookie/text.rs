//! The text of `Set-Cookie`: the usual one, koa's and express's.

use std::fmt::Write as _;

use ::cookie::SameSite;
use time::{OffsetDateTime, format_description::BorrowedFormatItem, macros::format_description};

use super::{CookieOptions, MAX_AGE_LIMIT, Priority};
use crate::clock::Timestamp;

/// How a cookie says when it ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Style {
    /// `Max-Age`, the attributes in the usual capitals.
    MaxAge,
    /// koa's `cookies`: `Expires` only, attributes in lower case and in its order.
    Koa,
    /// express's `cookie`: `Expires` only, attributes in its order.
    Express,
}

/// The life of one `Set-Cookie`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CookieLife {
    /// Until the browser is closed.
    BrowserSession,
    /// Until this moment.
    Until(Timestamp),
    /// Take the cookie away.
    Removal,
}

/// The text of a `Set-Cookie`.
pub(crate) fn set_cookie(
    name: &str,
    value: &str,
    options: &CookieOptions,
    life: CookieLife,
    now: Timestamp,
    style: Style,
) -> String {
    let mut text = String::with_capacity(name.len() + value.len() + 128);
    text.push_str(name);
    text.push('=');
    text.push_str(value);
    match style {
        Style::MaxAge => write_attributes(&mut text, options, life, now),
        Style::Koa => write_koa_attributes(&mut text, options, life),
        Style::Express => write_express_attributes(&mut text, options, life),
    }
    text
}

fn write_attributes(text: &mut String, options: &CookieOptions, life: CookieLife, now: Timestamp) {
    push(text, "; Path=", &options.path);
    if let Some(domain) = &options.domain {
        push(text, "; Domain=", domain);
    }
    match life {
        CookieLife::BrowserSession => {}
        CookieLife::Until(end) => {
            let seconds = end.saturating_since(now).min(MAX_AGE_LIMIT).as_millis().div_ceil(1000);
            // Writing to a `String` does not fail.
            let _ = write!(text, "; Max-Age={seconds}");
        }
        // Both, since old browsers know only `Expires` and a removal must not fail.
        CookieLife::Removal => text.push_str("; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT"),
    }
    if let Some(same_site) = options.same_site {
        push(text, "; SameSite=", same_site_name(same_site));
    }
    for (word, on) in [
        ("; Secure", options.secure),
        ("; HttpOnly", options.http_only),
        ("; Partitioned", options.partitioned),
    ] {
        if on {
            text.push_str(word);
        }
    }
    if let Some(priority) = options.priority {
        push(text, "; Priority=", priority_name(priority));
    }
}

fn write_koa_attributes(text: &mut String, options: &CookieOptions, life: CookieLife) {
    push(text, "; path=", &options.path);
    push_expires(text, "; expires=", life);
    if let Some(domain) = &options.domain {
        push(text, "; domain=", domain);
    }
    if let Some(priority) = options.priority {
        push(text, "; priority=", &priority_name(priority).to_ascii_lowercase());
    }
    if let Some(same_site) = options.same_site {
        push(text, "; samesite=", &same_site_name(same_site).to_ascii_lowercase());
    }
    for (word, on) in [
        ("; secure", options.secure),
        ("; httponly", options.http_only),
        ("; partitioned", options.partitioned),
    ] {
        if on {
            text.push_str(word);
        }
    }
}

fn write_express_attributes(text: &mut String, options: &CookieOptions, life: CookieLife) {
    if let Some(domain) = &options.domain {
        push(text, "; Domain=", domain);
    }
    push(text, "; Path=", &options.path);
    push_expires(text, "; Expires=", life);
    for (word, on) in [
        ("; HttpOnly", options.http_only),
        ("; Secure", options.secure),
        ("; Partitioned", options.partitioned),
    ] {
        if on {
            text.push_str(word);
        }
    }
    if let Some(priority) = options.priority {
        push(text, "; Priority=", priority_name(priority));
    }
    if let Some(same_site) = options.same_site {
        push(text, "; SameSite=", same_site_name(same_site));
    }
}

fn push(text: &mut String, name: &str, value: &str) {
    text.push_str(name);
    text.push_str(value);
}

fn push_expires(text: &mut String, name: &str, life: CookieLife) {
    let end = match life {
        CookieLife::BrowserSession => return,
        CookieLife::Until(end) => end,
        CookieLife::Removal => Timestamp::EPOCH,
    };
    text.push_str(name);
    text.push_str(&http_date(end));
}

/// RFC 9110 section 5.6.7: `Sun, 06 Nov 1994 08:49:37 GMT`.
fn http_date(moment: Timestamp) -> String {
    const FORMAT: &[BorrowedFormatItem<'_>] = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    let seconds = i64::try_from(moment.as_millis() / 1000).unwrap_or(i64::MAX);
    OffsetDateTime::from_unix_timestamp(seconds)
        .ok()
        .and_then(|date| date.format(FORMAT).ok())
        // `Timestamp::MAX` is the last second that has such a date.
        .unwrap_or_else(|| "Fri, 31 Dec 9999 23:59:59 GMT".into())
}

fn same_site_name(same_site: SameSite) -> &'static str {
    match same_site {
        SameSite::Strict => "Strict",
        SameSite::Lax => "Lax",
        SameSite::None => "None",
    }
}

fn priority_name(priority: Priority) -> &'static str {
    match priority {
        Priority::Low => "Low",
        Priority::Medium => "Medium",
        Priority::High => "High",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_style_writes_every_attribute_in_its_order() {
        let now = Timestamp::from_millis(784_111_777_000);
        let plain = CookieOptions::new().secure(false).http_only(false).same_site(None);
        let full = CookieOptions::new()
            .path("/app")
            .domain("example.com")
            .same_site(SameSite::Strict)
            .partitioned(true)
            .priority(Priority::Low);
        let until = |ms| CookieLife::Until(now.saturating_add(Duration::from_millis(ms)));
        let (browser, removal) = (CookieLife::BrowserSession, CookieLife::Removal);
        let table = [
            (Style::MaxAge, &plain, browser, "; Path=/"),
            (Style::MaxAge, &plain, until(0), "; Path=/; Max-Age=0"),
            (Style::MaxAge, &plain, until(1), "; Path=/; Max-Age=1"),
            (Style::MaxAge, &plain, until(34_560_000_001), "; Path=/; Max-Age=34560000"),
            (
                Style::MaxAge,
                &full,
                removal,
                "; Path=/app; Domain=example.com; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; \
                 SameSite=Strict; Secure; HttpOnly; Partitioned; Priority=Low",
            ),
            (Style::Koa, &plain, browser, "; path=/"),
            (
                Style::Koa,
                &full,
                until(999),
                "; path=/app; expires=Sun, 06 Nov 1994 08:49:37 GMT; domain=example.com; priority=low; \
                 samesite=strict; secure; httponly; partitioned",
            ),
            (Style::Koa, &plain, removal, "; path=/; expires=Thu, 01 Jan 1970 00:00:00 GMT"),
            (Style::Express, &plain, browser, "; Path=/"),
            (
                Style::Express,
                &full,
                until(1000),
                "; Domain=example.com; Path=/app; Expires=Sun, 06 Nov 1994 08:49:38 GMT; HttpOnly; Secure; \
                 Partitioned; Priority=Low; SameSite=Strict",
            ),
            (Style::Express, &plain, removal, "; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT"),
        ];
        for (style, options, life, expected) in table {
            let line = set_cookie("sid", "abc", options, life, now, style);
            assert_eq!(line, format!("sid=abc{expected}"), "{style:?} {life:?}");
        }
        assert_eq!(http_date(Timestamp::MAX), "Fri, 31 Dec 9999 23:59:59 GMT");
    }

    #[test]
    fn words_are_those_of_the_attributes() {
        use Priority::{High, Low, Medium};
        use SameSite::{Lax, None, Strict};
        assert_eq!([Strict, Lax, None].map(same_site_name), ["Strict", "Lax", "None"]);
        assert_eq!([Low, Medium, High].map(priority_name), ["Low", "Medium", "High"]);
    }
}

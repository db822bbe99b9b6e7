//! The text of `Set-Cookie`: the usual one, koa's and express's.

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

/// What a `Set-Cookie` says behind the value. All of it but when the cookie ends is the same for each visitor without settings
/// of their own, and is made once.
#[derive(Clone, Debug)]
pub(crate) struct Attributes {
    style: Style,
    /// Those that stand before the end, and behind it.
    before: Box<str>,
    after: Box<str>,
}

impl Attributes {
    pub(crate) fn of(options: &CookieOptions, style: Style) -> Self {
        let (mut before, mut after) = (String::new(), String::new());
        match style {
            Style::MaxAge => {
                push(&mut before, "; Path=", &options.path);
                push_some(&mut before, "; Domain=", options.domain.as_deref());
                push_some(&mut after, "; SameSite=", options.same_site.map(same_site_name));
                push_if(&mut after, "; Secure", options.secure);
                push_if(&mut after, "; HttpOnly", options.http_only);
                push_if(&mut after, "; Partitioned", options.partitioned);
                push_some(&mut after, "; Priority=", options.priority.map(priority_name));
            }
            Style::Koa => {
                let (priority, same_site) =
                    (options.priority.map(priority_name), options.same_site.map(same_site_name));
                push(&mut before, "; path=", &options.path);
                push_some(&mut after, "; domain=", options.domain.as_deref());
                push_some(&mut after, "; priority=", priority.map(str::to_ascii_lowercase).as_deref());
                push_some(&mut after, "; samesite=", same_site.map(str::to_ascii_lowercase).as_deref());
                push_if(&mut after, "; secure", options.secure);
                push_if(&mut after, "; httponly", options.http_only);
                push_if(&mut after, "; partitioned", options.partitioned);
            }
            Style::Express => {
                push_some(&mut before, "; Domain=", options.domain.as_deref());
                push(&mut before, "; Path=", &options.path);
                push_if(&mut after, "; HttpOnly", options.http_only);
                push_if(&mut after, "; Secure", options.secure);
                push_if(&mut after, "; Partitioned", options.partitioned);
                push_some(&mut after, "; Priority=", options.priority.map(priority_name));
                push_some(&mut after, "; SameSite=", options.same_site.map(same_site_name));
            }
        }
        Self { style, before: before.into(), after: after.into() }
    }

    /// The text of a `Set-Cookie`.
    pub(crate) fn set_cookie(&self, name: &str, value: &str, life: CookieLife, now: Timestamp) -> String {
        let mut digits = itoa::Buffer::new();
        let date = match life {
            CookieLife::Until(end) if self.style != Style::MaxAge => http_date(end),
            CookieLife::Removal => http_date(Timestamp::EPOCH),
            CookieLife::Until(_) | CookieLife::BrowserSession => String::new(),
        };
        let (word, end) = match (self.style, life) {
            (_, CookieLife::BrowserSession) => ("", ""),
            (Style::MaxAge, CookieLife::Until(end)) => {
                let age = end.saturating_since(now).min(MAX_AGE_LIMIT);
                ("; Max-Age=", digits.format(age.as_secs() + u64::from(age.subsec_nanos() > 0)))
            }
            // Both, since old browsers know only `Expires` and a removal must not fail.
            (Style::MaxAge, CookieLife::Removal) => ("; Max-Age=0; Expires=", &*date),
            (Style::Koa, _) => ("; expires=", &*date),
            (Style::Express, _) => ("; Expires=", &*date),
        };
        // Exactly as long as it will be: of a text with room left a header would allocate a second thing.
        [name, "=", value, &self.before, word, end, &self.after].concat()
    }
}

fn push(text: &mut String, name: &str, value: &str) {
    text.push_str(name);
    text.push_str(value);
}

fn push_some(text: &mut String, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        push(text, name, value);
    }
}

fn push_if(text: &mut String, word: &str, on: bool) {
    if on {
        text.push_str(word);
    }
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
            let line = Attributes::of(options, style).set_cookie("sid", "abc", life, now);
            assert_eq!(line.len(), line.capacity(), "{line}");
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

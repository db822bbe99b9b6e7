//! How long a session lives: one computation that feeds the store and the cookie.

use std::{fmt, sync::Arc, time::Duration};

use crate::{
    clock::Timestamp,
    cookie::{CookieLife, CookieOptions, MaxAge},
    hooks::Snapshot,
    object::Object,
};

/// What a session without any other setting gets, as in the originals.
pub(crate) const DEFAULT_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// Whether using a session prolongs its life.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub enum Rolling {
    /// Only saving does.
    #[default]
    Off,
    /// Every request that uses the session does (with `defer(false)`: every request).
    EveryRequest,
    /// A request does once this fraction of the life has passed, from 0.0 to 1.0. At 0.5 a busy visitor costs one
    /// touch per half life instead of one per request.
    After(f64),
}

type TtlOf = Arc<dyn Fn(&Snapshot) -> Option<Duration> + Send + Sync>;

/// The layer's rules of life.
#[derive(Clone, Default)]
pub(crate) struct Lifetime {
    pub(crate) ttl: Option<Duration>,
    pub(crate) ttl_of: Option<TtlOf>,
    pub(crate) max_lifetime: Option<Duration>,
    pub(crate) rolling: Rolling,
    /// Rolling prolongs the stored session only; the cookie stays as it is.
    pub(crate) silent: bool,
    /// Redis clients of Node count the life in seconds, rounded up.
    pub(crate) whole_seconds: bool,
}

/// When a session ends, and its cookie.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Life {
    pub(crate) store: Timestamp,
    pub(crate) cookie: CookieLife,
}

impl Lifetime {
    /// The life of a session that is saved or touched `now`.
    pub(crate) fn of(
        &self,
        now: Timestamp,
        created: Timestamp,
        session: &Object,
        layer: &CookieOptions,
        visitor: Option<&CookieOptions>,
    ) -> Life {
        let max_age = visitor.unwrap_or(layer).max_age;
        // A visitor's own max-age ("remember me") is a decision about the session, not only its cookie.
        let own = visitor.is_some_and(|v| v.max_age != layer.max_age).then_some(max_age);
        let stated = match (own, max_age) {
            (Some(MaxAge::Until(end)), _) => Some(end),
            (Some(MaxAge::For(age)), _) => Some(now.saturating_add(age)),
            _ => None,
        };
        let computed = self
            .ttl_of
            .as_ref()
            .and_then(|ttl_of| ttl_of(&Snapshot::new(session.clone(), visitor.unwrap_or(layer).clone())))
            .map(|ttl| now.saturating_add(ttl));
        let fixed = self.ttl.map(|ttl| now.saturating_add(ttl));
        let by_cookie = match max_age {
            MaxAge::For(age) => Some(now.saturating_add(age)),
            MaxAge::Until(end) => Some(end),
            MaxAge::Ttl | MaxAge::BrowserSession => None,
        };
        let end =
            computed.or(stated).or(fixed).or(by_cookie).unwrap_or_else(|| now.saturating_add(DEFAULT_TTL));
        let limit = self.max_lifetime.map_or(Timestamp::MAX, |max| created.saturating_add(max));
        let cookie = match max_age {
            MaxAge::BrowserSession => CookieLife::BrowserSession,
            MaxAge::Ttl => CookieLife::Until(end.min(limit)),
            MaxAge::For(age) => CookieLife::Until(now.saturating_add(age).min(limit)),
            MaxAge::Until(end) => CookieLife::Until(end.min(limit)),
        };
        let mut store = end.min(limit);
        if self.whole_seconds && store > now {
            let seconds = store.saturating_since(now).as_millis().div_ceil(1000);
            store = now.saturating_add(Duration::from_secs(u64::try_from(seconds).unwrap_or(u64::MAX)));
        }
        Life { store, cookie }
    }

    /// Whether a session that began then is past the absolute limit.
    pub(crate) fn is_over(&self, created: Timestamp, now: Timestamp) -> bool {
        self.max_lifetime.is_some_and(|max| created.saturating_add(max) <= now)
    }

    /// When a session that ends at `end` was last given the life that it would be given `now`.
    pub(crate) fn last_extended(
        &self,
        now: Timestamp,
        created: Timestamp,
        end: Timestamp,
        session: &Object,
        layer: &CookieOptions,
        visitor: Option<&CookieOptions>,
    ) -> Timestamp {
        // As if it began now: the absolute limit is no part of the life that a use gives.
        let life = self.of(now, now, session, layer, visitor).store.saturating_since(now);
        let life = u64::try_from(life.as_millis()).unwrap_or(u64::MAX);
        Timestamp::from_millis(end.as_millis().saturating_sub(life)).min(now).max(created)
    }

    /// Whether a use of the session `now` prolongs it: it would end at `end`, and at `fresh` if it did.
    pub(crate) fn is_rolling_due(&self, now: Timestamp, end: Timestamp, fresh: Timestamp) -> bool {
        match self.rolling {
            Rolling::Off => false,
            Rolling::EveryRequest => true,
            // An engine that does not tell when the session ends would else never be asked to prolong it.
            Rolling::After(_) if end == Timestamp::MAX && fresh < end => true,
            Rolling::After(fraction) => {
                let life = fresh.saturating_since(now).as_secs_f64();
                let left = end.saturating_since(now).as_secs_f64();
                left <= life * (1.0 - fraction)
            }
        }
    }

    /// Whether a session that has been loaded neither ends nor has to be prolonged while it is in use.
    pub(crate) fn is_steady(&self) -> bool {
        self.rolling == Rolling::Off && self.ttl_of.is_none() && self.max_lifetime.is_none()
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        if let Rolling::After(fraction) = self.rolling
            && !(0.0..=1.0).contains(&fraction)
        {
            return Err(format!(
                "`Rolling::After({fraction})` must be a fraction from 0.0 to 1.0 of the life"
            ));
        }
        for (what, value) in [("ttl", self.ttl), ("max_lifetime", self.max_lifetime)] {
            if value == Some(Duration::ZERO) {
                return Err(format!(
                    "`{what}` is zero, so every session would be born dead: give it a duration"
                ));
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Lifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lifetime")
            .field("ttl", &self.ttl)
            .field("ttl_of", &self.ttl_of.is_some())
            .field("max_lifetime", &self.max_lifetime)
            .field("rolling", &self.rolling)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000_000);

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn at(n: u64) -> Timestamp {
        NOW.saturating_add(seconds(n))
    }

    fn life(
        lifetime: &Lifetime,
        layer: &CookieOptions,
        visitor: Option<&CookieOptions>,
        created: Timestamp,
    ) -> Life {
        lifetime.of(NOW, created, &Object::default(), layer, visitor)
    }

    #[test]
    fn one_expiry_feeds_store_and_cookie() {
        let layer = CookieOptions::new();
        let hour = Lifetime { ttl: Some(seconds(3600)), ..Lifetime::default() };
        let until = |n| Life { store: at(n), cookie: CookieLife::Until(at(n)) };
        assert_eq!(life(&Lifetime::default(), &layer, None, NOW), until(86_400));
        assert_eq!(life(&hour, &layer, None, NOW), until(3600));
        assert_eq!(life(&Lifetime::default(), &layer.clone().max_age(seconds(60)), None, NOW), until(60));
        let remembered = layer.clone().max_age(seconds(30 * 86_400));
        assert_eq!(life(&hour, &layer, Some(&remembered), NOW), until(30 * 86_400));
        let ends = layer.clone().max_age(MaxAge::Until(at(7)));
        assert_eq!(life(&hour, &layer, Some(&ends), NOW), until(7));
        let browser = layer.clone().max_age(MaxAge::BrowserSession);
        let expected = Life { store: at(3600), cookie: CookieLife::BrowserSession };
        assert_eq!(life(&hour, &browser, None, NOW), expected);
    }

    #[test]
    fn nothing_outlives_the_absolute_limit() {
        let layer = CookieOptions::new();
        let created = Timestamp::from_millis(NOW.as_millis() - 50_000);
        let lifetime = Lifetime { max_lifetime: Some(seconds(60)), ..Lifetime::default() };
        let expected = Life { store: at(10), cookie: CookieLife::Until(at(10)) };
        assert_eq!(life(&lifetime, &layer, None, created), expected);
        let remembered = layer.clone().max_age(Duration::MAX);
        assert_eq!(life(&lifetime, &layer, Some(&remembered), created), expected);
    }

    #[test]
    fn a_function_of_the_session_comes_first() {
        let short: TtlOf = Arc::new(|s| s.value("ttl").ok().flatten().map(Duration::from_secs));
        let lifetime = Lifetime { ttl: Some(seconds(9)), ttl_of: Some(short), ..Lifetime::default() };
        let mut object = Object::default();
        let with = |object: &Object| lifetime.of(NOW, NOW, object, &CookieOptions::new(), None).store;
        assert_eq!(with(&object), at(9));
        object.put("ttl", b"5");
        assert_eq!(with(&object), at(5));
    }

    #[test]
    fn rolling_waits_for_its_fraction() {
        let rolling = |rolling| Lifetime { rolling, ..Lifetime::default() };
        let due = |l: Lifetime, left| l.is_rolling_due(NOW, at(left), at(100));
        assert!(!due(rolling(Rolling::Off), 1));
        assert!(due(rolling(Rolling::EveryRequest), 100));
        for (fraction, left, expected) in
            [(0.5, 51, false), (0.5, 50, true), (0.0, 100, true), (1.0, 1, false)]
        {
            assert_eq!(due(rolling(Rolling::After(fraction)), left), expected, "{fraction} {left}");
        }
        let untold = |fresh| rolling(Rolling::After(0.5)).is_rolling_due(NOW, Timestamp::MAX, fresh);
        assert!(untold(at(100)));
        assert!(!untold(Timestamp::MAX));
    }

    #[test]
    fn seconds_are_rounded_up_where_they_must_be_whole_and_only_there() {
        let layer = CookieOptions::new();
        let store = |whole_seconds, ttl, visitor: Option<&CookieOptions>| {
            let ttl = Some(Duration::from_millis(ttl));
            life(&Lifetime { ttl, whole_seconds, ..Lifetime::default() }, &layer, visitor, NOW).store
        };
        assert_eq!(store(false, 1500, None), NOW.saturating_add(Duration::from_millis(1500)));
        assert_eq!(store(true, 1500, None), at(2));
        assert_eq!(store(true, 2000, None), at(2));
        let past = Timestamp::from_millis(NOW.as_millis() - 5);
        let over = layer.clone().max_age(MaxAge::Until(past));
        assert_eq!(store(true, 1500, Some(&over)), past, "what is over stays over");
    }

    #[test]
    fn the_absolute_limit_is_reached_at_its_moment() {
        let limited = Lifetime { max_lifetime: Some(seconds(60)), ..Lifetime::default() };
        assert!(!limited.is_over(NOW, at(59)));
        assert!(limited.is_over(NOW, at(60)));
        assert!(!Lifetime::default().is_over(NOW, Timestamp::MAX));
    }

    #[test]
    fn the_last_use_is_a_life_before_the_end_but_not_before_the_beginning_nor_ahead() {
        let lifetime = Lifetime { ttl: Some(seconds(100)), ..Lifetime::default() };
        let used = |created, end| {
            lifetime.last_extended(at(50), created, end, &Object::default(), &CookieOptions::new(), None)
        };
        assert_eq!(used(NOW, at(130)), at(30));
        assert_eq!(used(at(40), at(130)), at(40));
        assert_eq!(used(NOW, at(500)), at(50));
    }

    #[test]
    fn whatever_moves_the_end_is_not_steady() {
        let default = Lifetime::default();
        assert!(default.is_steady());
        assert!(!Lifetime { rolling: Rolling::EveryRequest, ..default.clone() }.is_steady());
        assert!(!Lifetime { ttl_of: Some(Arc::new(|_| None)), ..default.clone() }.is_steady());
        assert!(!Lifetime { max_lifetime: Some(seconds(1)), ..default }.is_steady());
    }

    #[test]
    fn what_no_session_could_live_by_is_refused() {
        let default = Lifetime::default();
        assert_eq!(default.check(), Ok(()));
        for fraction in [0.0, 1.0] {
            let rolling = Rolling::After(fraction);
            assert_eq!(Lifetime { rolling, ..default.clone() }.check(), Ok(()), "{fraction}");
        }
        for wrong in [
            Lifetime { rolling: Rolling::After(-0.1), ..default.clone() },
            Lifetime { rolling: Rolling::After(1.1), ..default.clone() },
            Lifetime { ttl: Some(Duration::ZERO), ..default.clone() },
            Lifetime { max_lifetime: Some(Duration::ZERO), ..default },
        ] {
            assert!(wrong.check().is_err(), "{wrong:?}");
        }
        assert!(format!("{:?}", Lifetime::default()).contains("max_lifetime: None"));
    }
}

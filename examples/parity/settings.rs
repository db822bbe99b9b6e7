//! The settings that the transcripts were recorded with, by name, as layers of this crate.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue};
use axum_generic_session::{
    CookieOptions, IdTransport, MaxAge, Priority, Rolling, SameSite, SessionId, SessionLayer, Store,
    Transport,
};

use crate::hooks::Hooks;

/// Where the sessions are kept.
pub(crate) enum Keeper {
    /// A store that tells whether it is there.
    Recording,
    /// One that does not.
    Silent,
    /// This crate's `MemoryStore`.
    BuiltIn,
}

/// One application.
pub(crate) struct Setting {
    pub(crate) name: String,
    pub(crate) keys: &'static [&'static str],
    /// Whether the application draws its own error pages.
    pub(crate) own_error_page: bool,
    pub(crate) keeper: Keeper,
    /// From the outermost to the innermost.
    pub(crate) layers: Vec<Options>,
}

type Change = fn(SessionLayer) -> SessionLayer;

/// What one layer is told, beside koa's defaults.
#[derive(Clone)]
pub(crate) struct Options {
    pub(crate) key: &'static str,
    pub(crate) prefix: &'static str,
    pub(crate) signed: bool,
    pub(crate) cookie: CookieOptions,
    pub(crate) hooks: Hooks,
    defer: bool,
    /// The other options.
    change: Change,
}

impl Default for Options {
    fn default() -> Self {
        let day = Duration::from_secs(24 * 60 * 60);
        Self {
            key: "koa.sid",
            prefix: "koa:sess:",
            signed: true,
            cookie: CookieOptions::new().secure(false).same_site(None).max_age(day),
            hooks: Hooks::default(),
            defer: false,
            change: |layer| layer,
        }
    }
}

impl Options {
    fn with(change: Change) -> Self {
        Self { change, ..Self::default() }
    }

    fn with_cookie(change: impl FnOnce(CookieOptions) -> CookieOptions) -> Self {
        let options = Self::default();
        Self { cookie: change(options.cookie), ..options }
    }

    fn with_hooks(change: impl FnOnce(&mut Hooks)) -> Self {
        let mut options = Self::default();
        change(&mut options.hooks);
        options
    }

    /// The layer over a store.
    pub(crate) fn layer(&self, store: impl Store, keys: &[&str]) -> SessionLayer {
        let layer = SessionLayer::koa(store, keys).name(self.key).prefix(self.prefix).defer(self.defer);
        let layer = (self.change)(layer.cookie(self.cookie.clone()));
        if self.signed { layer } else { layer.unsigned() }
    }
}

impl Setting {
    /// The setting of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let mut setting = Self {
            name: name.to_owned(),
            keys: &["keys", "keykeys"],
            own_error_page: true,
            keeper: Keeper::Recording,
            layers: Vec::new(),
        };
        if let Some(suite) = name.strip_prefix("suite-") {
            setting.layers = suite_layers(suite)?;
            return Some(setting);
        }
        let (base, defer) = name.strip_suffix("-defer").map_or((name, false), |base| (base, true));
        let (base, defer) = if base == "defer" { ("default", true) } else { (base, defer) };
        let mut options = single_layer(base)?;
        options.defer = defer;
        match base {
            "rotated-keys" => setting.keys = &["newest", "older", "oldest"],
            "no-catch" => setting.own_error_page = false,
            "memory" => setting.keeper = Keeper::Silent,
            "bare" => setting.keeper = Keeper::BuiltIn,
            _ => {}
        }
        setting.layers.push(options.clone());
        if base == "double" {
            setting.layers.push(Options { prefix: "inner:", ..options });
        }
        Some(setting)
    }
}

fn single_layer(base: &str) -> Option<Options> {
    Some(match base {
        // A life of zero is refused by `SessionLayer::check`, and koa takes it for none: it is left out.
        "default" | "bare" | "memory" | "no-catch" | "double" | "rotated-keys" | "ttl-zero" => {
            Options::default()
        }
        "key" => Options { key: "sid:app", ..Options::default() },
        "prefix" => Options { prefix: "custom:", ..Options::default() },
        "prefix-empty" => Options { prefix: "", ..Options::default() },
        "unsigned" => Options { signed: false, ..Options::default() },
        "allow-empty" => Options::with(|layer| layer.allow_empty(true)),
        "rolling" => Options::with(|layer| layer.rolling(Rolling::EveryRequest)),
        "rolling-allow-empty" => {
            Options::with(|layer| layer.rolling(Rolling::EveryRequest).allow_empty(true))
        }
        "ttl-number" => Options::with(|layer| layer.ttl(Duration::from_secs(1))),
        "reconnect" => Options::with(|layer| layer.reconnect_timeout(Duration::from_millis(100))),
        "reconnect-slow" => Options::with(|layer| layer.reconnect_timeout(Duration::from_secs(1))),
        "header-sid" => Options::with(|layer| layer.transport(Transport::custom(HeaderSid))),
        "path" => Options::with_cookie(|cookie| cookie.path("/session")),
        "browser" => Options::with_cookie(|cookie| cookie.max_age(MaxAge::BrowserSession)),
        // A date in the layer's options is refused: it would lie in the past some day.
        "expires" => Options::with_cookie(|cookie| cookie.max_age(Duration::from_secs(3600))),
        "attrs" => {
            Options::with_cookie(|cookie| cookie.secure(true).domain("example.test").same_site(SameSite::Lax))
        }
        // `Partitioned` without `Secure` is refused, since browsers drop such a cookie.
        "attrs-plain" => Options::with_cookie(|cookie| {
            let cookie = cookie.domain("example.test").same_site(SameSite::Strict).priority(Priority::High);
            cookie.partitioned(true).secure(true).http_only(false)
        }),
        "ttl-fn" => Options::with_hooks(|hooks| hooks.ttl = true),
        "before-save" => Options::with_hooks(|hooks| hooks.before_save = true),
        "valid" => Options::with_hooks(|hooks| hooks.valid = true),
        "gen-sid" => Options::with_hooks(|hooks| hooks.gen_sid = Some("append")),
        "error-handler" => Options::with_hooks(|hooks| hooks.swallow = true),
        _ => return None,
    })
}

/// The servers of the originals' own tests.
fn suite_layers(name: &str) -> Option<Vec<Options>> {
    let mut plain = Options { key: "koss:test_sid", ..Options::default() };
    // They mean 86,400 seconds and say milliseconds.
    plain.cookie = plain.cookie.path("/session").max_age(Duration::from_millis(86_400));
    let short = Options { prefix: "koss:test", ..plain.clone() };
    let patience: Change = |layer| layer.reconnect_timeout(Duration::from_millis(100));
    Some(match name {
        "eager" => {
            let gen_sid = Hooks { gen_sid: Some("test_sid_append"), ..Hooks::default() };
            let hooks = Hooks { before_save: true, valid: true, ..gen_sid.clone() };
            let change: Change =
                |layer| layer.ttl(Duration::from_secs(1)).reconnect_timeout(Duration::from_millis(100));
            vec![Options { hooks, change, ..short }, Options { hooks: gen_sid, ..plain }]
        }
        "defer" => {
            let inner = Options { defer: true, ..plain };
            vec![Options { change: patience, ..inner.clone() }, inner]
        }
        "rolling" => {
            let change: Change = |layer| layer.ttl(Duration::from_secs(1)).rolling(Rolling::EveryRequest);
            vec![Options { change, ..short }]
        }
        "override" => {
            let change: Change = |layer| layer.ttl(Duration::from_secs(1));
            vec![Options { change, ..short }]
        }
        _ => return None,
    })
}

/// The id in the header `x-session-id`, in both directions.
struct HeaderSid;

const HEADER: &str = "x-session-id";

impl IdTransport for HeaderSid {
    fn read(&self, headers: &HeaderMap) -> Option<String> {
        Some(headers.get(HEADER)?.to_str().ok()?.to_owned())
    }

    fn write(&self, headers: &mut HeaderMap, id: &SessionId) {
        if let Ok(value) = HeaderValue::from_str(id.expose()) {
            headers.insert(HEADER, value);
        }
    }

    fn clear(&self, headers: &mut HeaderMap) {
        headers.insert(HEADER, HeaderValue::from_static("reset"));
    }
}

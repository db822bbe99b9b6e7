//! The first page: how many, how often, how fast, and which.

use std::time::Duration;

use axum::response::Html;
use maud::{Markup, html};

use super::{
    Pages,
    page::{Place, shell},
    plot::{Series, bars, lines},
    words::{ago, ahead, bytes, latency, number, span},
};
use crate::{
    error::Operation,
    observe::{
        What,
        journal::{Calls, Copied, Entry, Happened, STEP, Seen, Step},
    },
    store::Guarantee,
};

/// Sessions that are listed.
const LISTED: usize = 30;
/// Events that are listed.
const EVENTS: usize = 30;
/// Where the plot of latencies begins, in seconds.
const LOWEST: f64 = 0.000_01;
/// The windows that may be looked at, in minutes; the first is the default.
const WINDOWS: [u64; 2] = [10, 60];

pub(super) fn page(pages: &Pages, place: &Place) -> Html<String> {
    let copied = pages.shared.journal.copied();
    let asked = place.asks("minutes").and_then(|minutes| minutes.parse().ok());
    let minutes = asked.filter(|minutes| WINDOWS.contains(minutes)).unwrap_or(WINDOWS[0]);
    let steps = (minutes * 60 / STEP.as_secs()) as usize;
    let window = &copied.steps[copied.steps.len().saturating_sub(steps)..];
    let span = format!("{minutes} min");
    let content = html! {
        h1.hidden { "Sessions" }
        @if let Some(handle) = place.asks("ended").filter(|text| is_handle(text)) {
            p.note role="status" { "Session " code { (handle) } " was signed out." }
        }
        (tiles(pages, &copied, window))
        nav.windows aria-label="Time shown" {
            @for choice in WINDOWS {
                a href={ (place.overview()) "?minutes=" (choice) } aria-current=[(choice == minutes).then_some("true")] {
                    (choice) " min"
                }
            }
        }
        div.plots {
            (plot_of_lives(&span, window))
            (plot_of_use(&span, window))
            (plot_of_trouble(&span, window))
            (plot_of_latency(&span, window))
        }
        div.halves {
            (store(pages, window))
            (shapes(&copied))
        }
        div.lists {
            (sessions(place, &copied))
            (events(place, &copied))
        }
    };
    shell(pages, place, "Sessions", true, &content)
}

/// Nobody else's words are shown as ours.
fn is_handle(text: &str) -> bool {
    text.len() == 8 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

fn sum(window: &[Step], what: &[What]) -> u64 {
    window.iter().flat_map(|step| what.iter().map(|w| u64::from(step.count(*w)))).sum()
}

fn tiles(pages: &Pages, copied: &Copied, window: &[Step]) -> Markup {
    let held = pages.shared.config.engine.store().0.held();
    let (live, where_from) = match held {
        Some(held) => (held, "in the store"),
        None => (copied.sessions.len(), "seen by this process"),
    };
    let tile = |name: &str, hint: &str, count: u64, class: &str| {
        html! {
            div class={ "tile " (class) } {
                dt { (name) }
                dd { (number(count)) small { (hint) } }
            }
        }
    };
    let trouble = |count: u64| if count > 0 { "warn" } else { "" };
    let (merged, refused) = (sum(window, &[What::Merged]), sum(window, &[What::Gone, What::Conflict]));
    let failed = sum(window, &[What::Failed]);
    html! {
        dl.tiles {
            (tile("Live", where_from, live as u64, "first"))
            (tile("Created", "new sessions", sum(window, &[What::Created]), ""))
            (tile("Loads", "read from the store", sum(window, &[What::Loaded]), ""))
            (tile("Saves", "changes written", sum(window, &[What::Saved, What::Created, What::Rotated]), ""))
            (tile("Conflicts", "merged", merged, ""))
            (tile("Refusals", "answered 409", refused, trouble(refused)))
            (tile("Errors", "loads, commits", failed, if failed > 0 { "bad" } else { "" }))
        }
    }
}

fn series(name: &'static str, class: &'static str, window: &[Step], what: &[What]) -> Series {
    let values = window.iter().map(|step| what.iter().map(|w| step.count(*w)).sum());
    Series::counts(name, class, values.collect())
}

fn plot_of_lives(span: &str, window: &[Step]) -> Markup {
    let all = [
        series("created", "c1", window, &[What::Created]),
        series("new id", "c2", window, &[What::Rotated]),
        series("ended", "c4", window, &[What::Destroyed]),
    ];
    bars("Begun and ended", span, &all)
}

fn plot_of_use(span: &str, window: &[Step]) -> Markup {
    let all = [
        series("loaded", "c1", window, &[What::Loaded]),
        series("saved", "c2", window, &[What::Saved]),
        series("extended", "c3", window, &[What::Touched]),
    ];
    bars("Reads and writes", span, &all)
}

fn plot_of_trouble(span: &str, window: &[Step]) -> Markup {
    let all = [
        series("merged", "c2", window, &[What::Merged]),
        series("unknown id", "c4", window, &[What::Unknown, What::Invalid]),
        series("refused", "c3", window, &[What::Gone, What::Conflict]),
        series("failed", "c5", window, &[What::Failed]),
    ];
    bars("Conflicts and errors", span, &all)
}

/// The calls of a step, of all operations.
fn together(step: &Step) -> Calls {
    let mut all = Calls::default();
    for operation in Operation::ALL {
        all.merge(step.calls(operation));
    }
    all
}

fn plot_of_latency(span: &str, window: &[Step]) -> Markup {
    let mut all = Calls::default();
    let steps: Vec<_> = window.iter().map(together).collect();
    steps.iter().for_each(|step| all.merge(step));
    let series = |name, class, share| {
        let values = steps.iter().map(|step| step.quantile(share).as_secs_f64()).collect();
        Series { name, class, values, total: latency(all.quantile(share)) }
    };
    let all = [series("median", "c1", 0.5), series("95 %", "c3", 0.95), series("longest", "c4", 1.0)];
    lines("Store latency", span, &all, LOWEST, |at| latency(Duration::from_secs_f64(at)))
}

fn store(pages: &Pages, window: &[Step]) -> Markup {
    let store = &pages.shared.config.engine.store().0;
    let promise = match store.guarantee() {
        Guarantee::Atomic => "conditional writes",
        Guarantee::LastWriteWins => "last write wins",
    };
    html! {
        section.card {
            h2 { "Store" }
            p.dim { (store.name()) ", " (promise) }
            table.figures {
                thead { tr { th scope="col" { "Call" } th scope="col" { "Number" } th scope="col" { "Failed" }
                    th scope="col" { "Median" } th scope="col" { "95 %" } th scope="col" { "Longest" } } }
                tbody {
                    @for operation in Operation::ALL {
                        @let calls = window.iter().fold(Calls::default(), |mut all, step| {
                            all.merge(step.calls(operation));
                            all
                        });
                        tr {
                            th scope="row" { (operation.name()) }
                            td { (number(calls.count.into())) }
                            td class=[(calls.errors > 0).then_some("bad")] { (number(calls.errors.into())) }
                            td { (latency(calls.quantile(0.5))) }
                            td { (latency(calls.quantile(0.95))) }
                            td { (latency(calls.longest)) }
                        }
                    }
                }
            }
        }
    }
}

fn shapes(copied: &Copied) -> Markup {
    let size = |seen: &Seen| seen.sight.bytes as u64;
    let age = |seen: &Seen| {
        seen.sight.created.map_or(u64::MAX, |created| copied.now.saturating_since(created).as_secs())
    };
    let sizes = [("under 256 B", 256), ("under 1 KB", 1024), ("under 4 KB", 4096), ("under 16 KB", 16_384)];
    let ages = [("under 1 min", 60), ("under 10 min", 600), ("under 1 h", 3600), ("under 1 day", 86_400)];
    html! {
        section.card {
            div.halves {
                div { h2 { "Sizes" } (classes(copied, &sizes, "more", size)) }
                div { h2 { "Ages" } (classes(copied, &ages, "more, or unknown", age)) }
            }
        }
    }
}

fn classes(copied: &Copied, ends: &[(&str, u64)], rest: &str, of: impl Fn(&Seen) -> u64) -> Markup {
    let mut counts = vec![0_usize; ends.len() + 1];
    for (_, seen) in &copied.sessions {
        let value = of(seen);
        counts[ends.iter().position(|(_, end)| value < *end).unwrap_or(ends.len())] += 1;
    }
    let most = counts.iter().copied().max().unwrap_or_default().max(1);
    let names = ends.iter().map(|(name, _)| *name).chain([rest]);
    html! {
        table.classes {
            @for (name, count) in names.zip(counts) {
                tr {
                    th scope="row" { (name) }
                    td { svg aria-hidden="true" viewBox="0 0 100 10" preserveAspectRatio="none" {
                        rect.c1 x="0" y="0" height="10" width=(count * 100 / most) {}
                    } }
                    td { (number(count as u64)) }
                }
            }
        }
    }
}

fn sessions(place: &Place, copied: &Copied) -> Markup {
    let now = copied.now;
    html! {
        section.card {
            h2 { "Seen last" }
            @if copied.sessions.is_empty() {
                p.dim { "No session has passed by yet." }
            } @else {
                table.list {
                    thead { tr {
                        th scope="col" { "Session" } th scope="col" { "Seen" } th scope="col" { "Age" }
                        th scope="col" { "Expires" } th scope="col" { "Size" } th scope="col" { "Reads" }
                        th scope="col" { "Writes" }
                    } }
                    tbody {
                        @for (key, seen) in copied.sessions.iter().take(LISTED) {
                            @let handle = key.handle();
                            tr {
                                th scope="row" { a href={ (place.root) "session/" (handle) } { code { (handle) } } }
                                td data-name="seen" { (ago(now, seen.last)) }
                                td data-name="age" {
                                    (seen.sight.created.map_or("–".into(), |at| span(now.saturating_since(at))))
                                }
                                td data-name="expires" { (ahead(now, seen.sight.expires_at)) }
                                td data-name="size" { (bytes(seen.sight.bytes)) }
                                td data-name="reads" { (number(seen.loads.into())) }
                                td data-name="writes" { (number(seen.writes.into())) }
                            }
                        }
                    }
                }
                @if copied.sessions.len() > LISTED {
                    p.dim { "And " (number((copied.sessions.len() - LISTED) as u64)) " more." }
                }
            }
        }
    }
}

fn events(place: &Place, copied: &Copied) -> Markup {
    html! {
        section.card {
            h2 { "Events" }
            @if copied.events.is_empty() {
                p.dim { "Nothing has happened yet." }
            }
            ol.events {
                @for Entry { at, what, key } in copied.events.iter().take(EVENTS) {
                    @let (class, text) = told(*what);
                    li {
                        time { (ago(copied.now, *at)) }
                        i class=(class) aria-hidden="true" {}
                        span { (text) }
                        @if let Some(key) = key {
                            @let handle = key.handle();
                            @if copied.sessions.iter().any(|(live, _)| live == key) {
                                a href={ (place.root) "session/" (handle) } { code { (handle) } }
                            } @else {
                                code { (handle) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// An event's colour and words.
fn told(what: Happened) -> (&'static str, String) {
    match what {
        Happened::Session(what) => {
            let (class, text) = match what {
                What::Created => ("c1", "created"),
                What::Loaded => ("c1", "loaded"),
                What::Saved => ("c1", "saved"),
                What::Touched => ("c1", "extended"),
                What::Rotated => ("c2", "has a new id"),
                What::Destroyed => ("c4", "ended"),
                What::Unknown => ("c4", "no such session"),
                What::Invalid => ("c3", "found invalid"),
                What::Merged => ("c2", "conflict, merged"),
                What::Gone | What::Conflict => ("c3", "refused"),
                What::Failed => ("c5", "cannot be read, discarded"),
            };
            (class, text.to_owned())
        }
        Happened::Failed(What::Gone, _) => ("c3", "a save was refused: the session had ended".into()),
        Happened::Failed(What::Conflict, _) => ("c3", "a save was refused: somebody else had saved".into()),
        Happened::Failed(_, kind) => ("c5", format!("a load or a commit failed: {}", kind.replace('_', " "))),
        Happened::Connected(true) => ("c1", "the store is there".into()),
        Happened::Connected(false) => ("c5", "the connection to the store is lost".into()),
    }
}

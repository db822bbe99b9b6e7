//! The log is as the guide says: events, levels and fields, and nothing in them that is nobody's business. The one test
//! of its process, since an event that another thread meets first would not be heard here.
#![cfg(all(feature = "memory-store", feature = "testing"))]

mod scene;
mod site;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use scene::{assert_hidden, everything};
use tracing::{
    Event, Id, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Record},
};

/// Notes each event and span of this crate with the names of its fields, and all that they say.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<(Told, String)>>);

/// `level message`, and the fields.
type Told = BTreeMap<String, BTreeSet<String>>;

#[derive(Default)]
struct Fields {
    message: Option<String>,
    names: Vec<&'static str>,
    text: String,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let value = format!("{value:?}");
        self.text += &format!("{field}={value} ");
        match field.name() {
            "message" => self.message = Some(value),
            name => self.names.push(name),
        }
    }
}

impl Notes {
    fn note(&self, metadata: &Metadata<'_>, name: &str, fields: &Fields) {
        if metadata.target().starts_with("axum_generic_session") {
            let mut notes = self.0.lock().unwrap();
            let level = metadata.level().as_str().to_lowercase();
            notes
                .0
                .entry(format!("{level} {name}"))
                .or_default()
                .extend(fields.names.iter().map(|n| (*n).to_owned()));
            notes.1 += &fields.text;
        }
    }
}

impl Subscriber for Notes {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut fields = Fields::default();
        span.record(&mut fields);
        self.note(span.metadata(), span.metadata().name(), &fields);
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        self.note(event.metadata(), fields.message.as_deref().unwrap_or_default(), &fields);
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn the_log_is_as_the_guide_says() {
    let notes = Notes::default();
    let _listening = tracing::subscriber::set_default(notes.clone());
    let (_site, cookies) = everything().await;
    let (seen, text) = &*notes.0.lock().unwrap();
    assert_hidden(text, &cookies);

    // The rows `| event | level | fields |`; the first table lists the fields.
    let guide = include_str!("../docs/guide/observability.md");
    let words = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<BTreeSet<_>>();
    let rows = guide.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let mut documented = BTreeMap::new();
    let mut fields = BTreeSet::new();
    for (name, rest) in rows {
        match rest.split_once(" | ") {
            Some((level, cell)) if ["trace", "debug", "info", "warn", "error"].contains(&level) => {
                documented.insert(format!("{level} {name}"), words(cell));
            }
            _ => drop(fields.insert(name.to_owned())),
        }
    }
    documented.insert("debug session_store".into(), words("`store`, `operation`, `session`"));
    for (event, names) in seen {
        let known = documented.get(event).unwrap_or_else(|| panic!("{event} is not in the guide"));
        assert_eq!(names, known, "{event}");
        assert!(names.is_subset(&fields), "{event}: {names:?}");
    }
    // All but what needs a predecessor, or a store that finds sessions by their principal.
    let missing: Vec<_> = documented.keys().filter(|event| !seen.contains_key(*event)).collect();
    let others = [
        "debug a login has ended older sessions of its principal",
        "debug session taken over",
        "debug sessions of a principal destroyed",
    ];
    assert_eq!(missing, others);
}

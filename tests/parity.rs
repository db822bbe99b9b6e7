//! The recordings of koa-generic-session, played against `examples/parity`.
//!
//! Every difference is listed in `parity-accept.json`, with the step and the field, and argued under a heading of
//! `docs/differences.md`. One that is not listed fails this test, and so does one that is listed and not there.
#![cfg(all(feature = "memory-store", feature = "testing"))]

#[path = "servers/example.rs"]
mod example;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde::Deserialize;

#[derive(Deserialize)]
struct Accepted {
    why: String,
}

#[test]
fn behaves_as_recorded_except_where_it_is_argued() {
    let node = Node::find();
    let server = example::program("parity");
    let played = Path::new(env!("CARGO_TARGET_TMPDIR")).join("parity");
    let _ = fs::remove_dir_all(&played);
    let directory = server.parent().expect("a directory");
    let file = server.file_name().expect("a name").to_string_lossy();
    let app = format!("./{file} {{config}} 0");
    node.run(directory, "record.js", &["--app", &app, "--out", &text(&played)]);
    for (fields, accepted) in [
        ("status,body,set_cookie,dump", "tests/parity-accept.json"),
        ("headers", "tests/parity-accept-headers.json"),
    ] {
        let (recorded, accepted) =
            (text(&of_project("tests/oracle/transcripts")), text(&of_project(accepted)));
        let played = text(&played);
        let arguments = [&*recorded, &played, "--fields", fields, "--accept", &accepted];
        node.run(directory, "compare.js", &arguments);
    }
}

#[test]
fn every_difference_is_argued() {
    let argued = fs::read_to_string(of_project("docs/differences.md")).expect("docs/differences.md");
    let argued: BTreeSet<_> =
        argued.lines().filter_map(|line| line.strip_prefix("## ")).map(anchor).collect();
    let mut given = BTreeSet::new();
    for list in ["tests/parity-accept.json", "tests/parity-accept-headers.json"] {
        let list = fs::read(of_project(list)).expect(list);
        let accepted: Vec<Accepted> = serde_json::from_slice(&list).expect("an accept list");
        given.extend(accepted.iter().flat_map(|entry| entry.why.split(", ")).map(str::to_owned));
    }
    let unargued: Vec<_> = given.difference(&argued).collect();
    assert!(unargued.is_empty(), "docs/differences.md has no heading for {unargued:?}");
}

/// What a link to a heading says.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

fn of_project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn text(path: &Path) -> String {
    path.to_str().expect("a path that is text").to_owned()
}

/// Node.js, for the player.
struct Node;

impl Node {
    fn find() -> Self {
        let version = Command::new("node").arg("--version").output();
        let version = version.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        let major =
            version.as_ref().ok().and_then(|v| v.strip_prefix('v')?.split('.').next()?.parse::<u32>().ok());
        assert!(
            major.is_some_and(|major| major >= 20),
            "the recordings in tests/oracle are played by Node.js 20 or later, and `node --version` says {version:?}: \
             install it (Debian: `apt install nodejs`), or put it on the PATH"
        );
        Self
    }

    /// Runs a script of `tests/oracle`; it says itself what is wrong.
    fn run(&self, directory: &Path, script: &str, arguments: &[&str]) {
        let script = of_project("tests/oracle").join(script);
        let output = Command::new("node").arg(&script).args(arguments).current_dir(directory).output();
        let Output { status, stdout, stderr } = output.expect("node was found above");
        let said = String::from_utf8_lossy(&stdout);
        assert!(status.success(), "{script:?}: {status}\n{said}{}", String::from_utf8_lossy(&stderr));
    }
}

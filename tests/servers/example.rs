//! An example as a program of its own.

use std::{
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use serde_json::Value;

/// The example's program as its sources are now. With all features, as CI has just built it.
pub fn program(name: &str) -> PathBuf {
    let mut build = Command::new(env!("CARGO"));
    build.current_dir(env!("CARGO_MANIFEST_DIR")).stderr(Stdio::inherit());
    build.args(["build", "--all-features", "--quiet", "--message-format", "json", "--example", name]);
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    let Output { status, stdout, .. } = build.output().expect("cargo");
    assert!(status.success(), "{build:?}: {status}");
    let messages = String::from_utf8_lossy(&stdout);
    let built =
        messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).find_map(|message| {
            let is_it = message["target"]["name"] == name && message["target"]["kind"][0] == "example";
            is_it.then(|| message["executable"].as_str().map(PathBuf::from)).flatten()
        });
    built.expect("cargo names the program that it has built")
}

//! This program once more, to do one thing in a process of its own.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    process::{Child, Command, Stdio},
};

use serde::de::DeserializeOwned;

use crate::{
    apps::{Mode, Peer},
    instructions, memory, server,
};

/// What the first argument of a child is.
pub const CHILD: &str = "--child";

/// Starts a child. It tells what it found out in one line of JSON.
pub fn start(what: &str, arguments: &[&str]) -> Child {
    let this = env::current_exe().expect("the path of this program");
    let mut command = Command::new(this);
    command.arg(CHILD).arg(what).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    command.spawn().expect("a second process of this program")
}

pub fn first_line<T: DeserializeOwned>(child: &mut Child) -> T {
    let stdout = child.stdout.as_mut().expect("its output is a pipe");
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).expect("a line from the child");
    serde_json::from_str(&line).expect("a line of JSON")
}

/// Starts a child and waits for its answer and its end.
pub fn ask<T: DeserializeOwned>(what: &str, arguments: &[&str]) -> T {
    let mut child = start(what, arguments);
    let answer = first_line(&mut child);
    let status = child.wait().expect("the child's end");
    assert!(status.success(), "{what} {arguments:?}: {status}");
    answer
}

/// The child's side.
pub fn run(arguments: &[String]) {
    let (what, rest) = arguments.split_first().expect("what to do");
    let number = |i: usize| rest.get(i).and_then(|n| n.parse::<usize>().ok()).expect("a number");
    let peer = || rest.first().and_then(|word| Peer::of_word(word)).expect("a peer");
    let mode = || rest.get(1).and_then(|word| Mode::of_word(word)).expect("where the layer stands");
    if what == "requests" {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        return instructions::requests(&runtime, peer(), rest.get(1).expect("a scenario"));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a runtime");
    match what.as_str() {
        "footprint" => tell(&runtime.block_on(memory::footprint(peer(), number(1)))),
        "sweep" => tell(&runtime.block_on(memory::pause(number(0)))),
        "serve" => runtime.block_on(server::serve(peer(), mode())),
        other => panic!("there is no `{other}` to do"),
    }
}

pub fn tell(answer: &impl serde::Serialize) {
    let text = serde_json::to_string(answer).expect("JSON");
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}").expect("an open pipe");
    out.flush().expect("an open pipe");
}

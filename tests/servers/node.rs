//! Applications of Node, with the packages of `examples/node-migration/package-lock.json`.

use std::{
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use serde_json::{Value, json};

use super::Server;

/// A running application.
pub struct Node {
    server: Server,
}

impl Node {
    /// Starts a script of this project with its settings as the first argument, `port` among them. It answers `/up`
    /// when it is.
    pub fn start(script: &str, mut settings: Value) -> Self {
        let mut server = Server::prepare();
        settings["port"] = json!(server.port);
        let script = project().join(script);
        let mut node = Command::new("node");
        server.start(node.arg(script).arg(settings.to_string()).env("NODE_PATH", packages()));
        let port = server.port;
        server.wait_until("the application of Node", || get(port, "/up").is_some());
        Self { server }
    }

    pub fn port(&self) -> u16 {
        self.server.port
    }

    /// Waits until a request stands at this gate.
    pub fn reached(&self, gate: &str) {
        assert!(get(self.port(), &format!("/gate/reached?name={gate}")).is_some(), "nobody came to {gate}");
    }

    /// Lets the requests at this gate go on.
    pub fn open(&self, gate: &str) {
        assert!(get(self.port(), &format!("/gate/open?name={gate}")).is_some(), "{gate} does not open");
    }

    /// What it has printed.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.server.log()).unwrap_or_default()
    }
}

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A request on a connection of its own; `None` if there was no `200 OK`.
fn get(port: u16, path: &str) -> Option<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.starts_with("HTTP/1.1 200").then_some(())
}

/// The folder with the installed packages: `npm ci` runs when there is none for the lock file as it is now.
pub fn packages() -> &'static Path {
    static PACKAGES: OnceLock<PathBuf> = OnceLock::new();
    PACKAGES.get_or_init(|| {
        let from = project().join("examples/node-migration");
        let lock = std::fs::read(from.join("package-lock.json")).expect("a lock file");
        let version = lock.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let build = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let folder = build.join(format!("node-{version:016x}"));
        if !folder.exists() {
            // Whoever is the first to have all of it, moves it into place.
            let own = tempfile::Builder::new().prefix("npm-").tempdir_in(build).expect("a folder");
            for file in ["package.json", "package-lock.json"] {
                std::fs::copy(from.join(file), own.path().join(file)).expect("a copy");
            }
            let mut npm = Command::new("npm");
            npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(own.path());
            let done = npm.output().expect("npm runs");
            assert!(done.status.success(), "npm ci: {}", String::from_utf8_lossy(&done.stderr));
            if std::fs::rename(own.path(), &folder).is_err() {
                assert!(folder.exists(), "the packages are in {}", folder.display());
            }
        }
        folder.join("node_modules")
    })
}

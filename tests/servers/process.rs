//! A server's process: a folder, a port and a child of its own.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rand::Rng;

/// How long a server may take until it answers; generous, since CI machines are shared.
const START_LIMIT: Duration = Duration::from_secs(60);

/// A port that was free a moment ago, outside the range from which the kernel takes ports for outgoing
/// connections: a client that dials a stopped server again and again would, one day, reach itself.
pub fn free_port() -> u16 {
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    std::iter::repeat_with(|| rand::thread_rng().gen_range(10_000..32_000)).find(free).expect("a free port")
}

/// Whether this process may act as another user, as the servers that refuse to run as root need.
pub fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().expect("id runs");
    id.stdout.starts_with(b"0\n")
}

/// A child process in a folder of its own. Killed, and its folder removed, on drop.
pub struct Server {
    child: Option<Child>,
    folder: tempfile::TempDir,
    pub port: u16,
}

impl Server {
    /// An empty folder and a port, nothing running yet.
    pub fn prepare() -> Self {
        let folder = tempfile::Builder::new().prefix("ags-").tempdir().expect("a temporary folder");
        Self { child: None, folder, port: free_port() }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where the server's own words go; printed when it does not start.
    pub fn log(&self) -> PathBuf {
        self.folder().join("server.log")
    }

    /// Starts `command`, its output to the log.
    pub fn start(&mut self, command: &mut Command) {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log()).expect("a log file");
        let child = command
            .current_dir(self.folder())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|e| panic!("{command:?} does not start: {e}"));
        self.child = Some(child);
    }

    /// Waits until `ready` says so; panics with the server's log if it ends or takes too long.
    pub fn wait_until(&mut self, what: &str, mut ready: impl FnMut() -> bool) {
        let start = Instant::now();
        while !ready() {
            let ended = self.child.as_mut().is_some_and(|c| c.try_wait().expect("its state").is_some());
            if ended || start.elapsed() > START_LIMIT {
                let log = std::fs::read_to_string(self.log()).unwrap_or_default();
                panic!("{what} did not start{}:\n{log}", if ended { " (it ended)" } else { "" });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Whether something listens on the port.
    pub fn listens(port: u16) -> bool {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_ok()
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("a running server").id()
    }

    /// Sends a signal by name (`STOP`, `CONT`, `TERM`).
    pub fn signal(&self, name: &str) {
        let done = Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status();
        assert!(done.expect("kill runs").success());
    }

    /// Asks the server to end with a signal, and waits until it has.
    pub fn stop(&mut self, signal: &str) {
        if self.child.is_some() {
            self.signal(signal);
        }
        let start = Instant::now();
        while let Some(child) = self.child.as_mut() {
            match child.try_wait().expect("its state") {
                Some(_) => self.child = None,
                None if start.elapsed() > START_LIMIT => self.kill(),
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    /// kill -9, and the folder stays: what a crash of the machine leaves.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

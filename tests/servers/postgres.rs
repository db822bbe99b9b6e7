//! A PostgreSQL server of the test's own. Debian: `postgresql`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use super::{Server, is_root};

pub struct Postgres {
    server: Server,
    settings: Vec<String>,
}

impl Postgres {
    /// A server that acknowledges nothing before it is on disk, with these settings (`name=value`) besides.
    pub fn start(settings: &[&str]) -> Self {
        let server = Server::prepare();
        if is_root() {
            run(Command::new("chown").arg("postgres:").arg(server.folder()));
        }
        let mut postgres = Self { server, settings: settings.iter().map(|&s| s.to_owned()).collect() };
        let data = postgres.data();
        run(postgres
            .command("initdb")
            .args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync", "-D"])
            .arg(data));
        postgres.restart();
        postgres
    }

    /// The server that the tests of this crate share as long as one of them runs. Each uses a schema of its own.
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let server = Arc::new(Self::start(&["fsync=off", "max_connections=300"]));
            *shared = Arc::downgrade(&server);
            server
        })
    }

    pub fn port(&self) -> u16 {
        self.server.port
    }

    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port())
    }

    /// What the server has logged, such as its statements with `log_statement=all`.
    pub fn log(&self) -> String {
        fs::read_to_string(self.server.log()).expect("its log")
    }

    /// kill -9 of the whole server, as a crash of the machine would end it.
    pub fn kill(&mut self) {
        self.server.kill();
        // Its children notice by themselves, and until then a new server refuses to start.
        while processes_in(&self.data()) {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    /// Starts it (again) on the same port.
    pub fn restart(&mut self) {
        let port = self.port().to_string();
        let mut command = self.command("postgres");
        command
            .arg("-D")
            .arg(self.data())
            .args(["-p", &port, "-c", "listen_addresses=127.0.0.1", "-c"])
            .arg(format!("unix_socket_directories={}", self.server.folder().display()))
            // In the folder, not in /dev/shm, where a killed server would leave it behind.
            .args(["-c", "dynamic_shared_memory_type=mmap"]);
        for setting in &self.settings {
            command.args(["-c", setting]);
        }
        self.server.start(&mut command);
        let ready = bin("pg_isready");
        self.server.wait_until("postgres", || {
            let answer = Command::new(&ready).args(["-q", "-h", "127.0.0.1", "-p", &port]).status();
            answer.expect("pg_isready runs").success()
        });
    }

    fn data(&self) -> PathBuf {
        self.server.folder().join("data")
    }

    /// PostgreSQL refuses to run as root.
    fn command(&self, program: &str) -> Command {
        let mut command = if is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]).arg(bin(program));
            command
        } else {
            Command::new(bin(program))
        };
        command.current_dir(self.server.folder());
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // SIGINT is PostgreSQL's fast shutdown.
        self.server.stop("INT");
    }
}

/// Debian keeps the server's programs off the PATH, by version.
fn bin(program: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions.map(|entry| entry.path().join("bin").join(program)).filter(|p| p.exists()).max();
    newest.unwrap_or_else(|| program.into())
}

fn processes_in(folder: &Path) -> bool {
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    processes.map(|entry| entry.path().join("cwd")).any(|cwd| fs::read_link(cwd).is_ok_and(|at| at == folder))
}

fn run(command: &mut Command) {
    let done = command.output().unwrap_or_else(|e| panic!("{command:?} does not start: {e}"));
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
}

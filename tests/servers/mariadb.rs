//! A MariaDB server of the test's own. Debian: `mariadb-server`.

use std::{
    fs,
    process::Command,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use super::{Server, is_root};

pub struct MariaDb {
    server: Server,
    settings: Vec<String>,
}

impl MariaDb {
    /// A server that acknowledges nothing before it is on disk, with these settings (`name=value`) besides.
    pub fn start(settings: &[&str]) -> Self {
        let server = Server::prepare();
        let mut install = Command::new("mariadb-install-db");
        install
            .arg("--no-defaults")
            .arg(format!("--datadir={}", server.folder().join("data").display()))
            // Two that install at the same time would remove each other's temporary tables in /tmp.
            .arg(format!("--tmpdir={}", server.folder().display()))
            .args(["--auth-root-authentication-method=normal", "--skip-test-db"]);
        if is_root() {
            install.arg("--user=root");
        }
        let done = install.output().expect("mariadb-install-db runs");
        assert!(done.status.success(), "{install:?}: {}", String::from_utf8_lossy(&done.stderr));
        fs::write(server.folder().join("init.sql"), "CREATE DATABASE IF NOT EXISTS app;\n").expect("a file");
        let mut mariadb = Self { server, settings: settings.iter().map(|&s| s.to_owned()).collect() };
        mariadb.restart();
        mariadb
    }

    /// The server that the tests of this crate share as long as one of them runs. Each uses a table of its own.
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<MariaDb>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let quick = ["innodb_flush_log_at_trx_commit=0", "max_connections=300"];
            let server = Arc::new(Self::start(&quick));
            *shared = Arc::downgrade(&server);
            server
        })
    }

    pub fn port(&self) -> u16 {
        self.server.port
    }

    pub fn url(&self) -> String {
        format!("mysql://root@127.0.0.1:{}/app", self.port())
    }

    /// kill -9, as a crash of the machine would end it.
    pub fn kill(&mut self) {
        self.server.kill();
    }

    /// Starts it (again) on the same port.
    pub fn restart(&mut self) {
        let port = self.port();
        let folder = self.server.folder().to_owned();
        let mut command = Command::new("mariadbd");
        command
            .arg("--no-defaults")
            .arg(format!("--datadir={}", folder.join("data").display()))
            .arg(format!("--tmpdir={}", folder.display()))
            .arg(format!("--socket={}", folder.join("socket").display()))
            .arg(format!("--pid-file={}", folder.join("pid").display()))
            .arg(format!("--init-file={}", folder.join("init.sql").display()))
            .arg(format!("--port={port}"))
            .args(["--bind-address=127.0.0.1", "--innodb-buffer-pool-size=32M"])
            .env("TZ", "America/New_York");
        if is_root() {
            command.arg("--user=root");
        }
        command.args(self.settings.iter().map(|setting| format!("--{setting}")));
        self.server.start(&mut command);
        self.server.wait_until("mariadbd", || Server::listens(port));
    }
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        self.server.stop("TERM");
    }
}

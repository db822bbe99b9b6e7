//! A real browser: Chromium without a window, driven through chromedriver. Debian: `chromium`, `chromium-driver`.

use std::process::Command;

use fantoccini::{Client, ClientBuilder};
use serde_json::{Value, json};

use super::Server;

/// chromedriver, with a folder for the profiles of its browsers.
pub struct Browser {
    server: Server,
}

impl Browser {
    pub fn start() -> Self {
        let mut server = Server::prepare();
        let port = server.port;
        server.start(Command::new("chromedriver").arg(format!("--port={port}")));
        server.wait_until("chromedriver", || Server::listens(port));
        Self { server }
    }

    /// A browser without cookies; close it when it has served.
    pub async fn open(&self) -> Client {
        self.open_with(json!({})).await
    }

    /// The same, with these of Chromium's preferences: `{ "profile.default_content_setting_values.cookies": 2 }`.
    pub async fn open_with(&self, preferences: Value) -> Client {
        let profile = tempfile::tempdir_in(self.server.folder()).expect("a folder").keep();
        let arguments = [
            "--headless=new",
            // Test machines run as root and have little shared memory.
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            &format!("--user-data-dir={}", profile.display()),
        ];
        let wanted = json!({ "goog:chromeOptions": { "args": arguments, "prefs": preferences } });
        let mut builder = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new());
        builder.capabilities(wanted.as_object().expect("an object").clone());
        let driver = format!("http://127.0.0.1:{}", self.server.port);
        builder.connect(&driver).await.unwrap_or_else(|error| {
            let log = std::fs::read_to_string(self.server.log()).unwrap_or_default();
            panic!("Chromium does not start: {error}\n{log}")
        })
    }
}

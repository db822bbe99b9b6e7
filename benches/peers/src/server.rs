//! A whole server over loopback: one process serves on one thread, this one asks over kept connections.

use std::{
    fs, hint,
    io::{self, ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    process::Child,
    time::{Duration, Instant},
};

use crate::{
    apps::{Mode, Peer, Size, any},
    child,
    report::{Cell, Row, Target, median},
};

const CONNECTIONS: usize = 32;

/// In the child: serves until its input is closed.
pub async fn serve(peer: Peer, mode: Mode) {
    let app = any(peer, mode).await;
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    child::tell(&listener.local_addr().expect("an address"));
    let (gone, parent) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read(&mut [0]);
        drop(gone);
    });
    app.serve(listener, Box::pin(async { drop(parent.await) })).await;
}

struct Server {
    peer: Peer,
    process: Child,
    connections: Vec<Connection>,
}

struct Connection {
    stream: TcpStream,
    cookie: String,
    buffer: Vec<u8>,
}

impl Server {
    fn start(peer: Peer, mode: Mode) -> Self {
        let mut process = child::start("serve", &[peer.word(), mode.word()]);
        let address: SocketAddr = child::first_line(&mut process);
        let connections = (0..CONNECTIONS).map(|_| Connection::open(address)).collect();
        Self { peer, process, connections }
    }

    /// Requests per second, and microseconds of the server's processor per request.
    fn load(&mut self, path: &str, slice: Duration) -> (f64, f64) {
        let requests: Vec<_> = self.connections.iter().map(|c| c.request(path)).collect();
        let (cpu, began) = (self.cpu(), Instant::now());
        let mut done = 0;
        while began.elapsed() < slice {
            for (connection, request) in self.connections.iter_mut().zip(&requests) {
                connection.stream.write_all(request).expect("an open connection");
            }
            for connection in &mut self.connections {
                connection.response();
                done += 1;
            }
        }
        let (elapsed, cpu) = (began.elapsed(), self.cpu() - cpu);
        (f64::from(done) / elapsed.as_secs_f64(), cpu.as_secs_f64() * 1e6 / f64::from(done))
    }

    /// What the server's threads have used of the processor.
    fn cpu(&self) -> Duration {
        let threads = fs::read_dir(format!("/proc/{}/task", self.process.id())).expect("a running server");
        let of_thread = |thread: io::Result<fs::DirEntry>| {
            let told = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
            told.split_whitespace().next()?.parse::<u64>().ok()
        };
        Duration::from_nanos(threads.filter_map(of_thread).sum())
    }

    fn stop(mut self) {
        drop(self.process.stdin.take());
        self.connections.clear();
        self.process.wait().expect("the server's end");
    }
}

impl Connection {
    fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("a server");
        stream.set_nodelay(true).expect("a socket");
        // Who asks does not sleep: to wake it would be half of what the server does.
        stream.set_nonblocking(true).expect("a socket");
        let mut connection = Self { stream, cookie: String::new(), buffer: Vec::new() };
        let request = connection.request(Size::Small.fill());
        connection.stream.write_all(&request).expect("an open connection");
        let head = connection.response();
        let cookies = head.lines().filter_map(|line| line.strip_prefix("set-cookie: ")?.split(';').next());
        connection.cookie = cookies.collect::<Vec<_>>().join("; ");
        if connection.cookie.is_empty() {
            // Who has no sessions is asked no shorter question.
            connection.cookie = "sid=k3JYx0bq0T5uQH2m8s1LrWvZ4nCdEfGa".to_owned();
        }
        connection
    }

    fn request(&self, path: &str) -> Vec<u8> {
        let cookie =
            if self.cookie.is_empty() { String::new() } else { format!("cookie: {}\r\n", self.cookie) };
        let agent = "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0";
        format!("GET {path} HTTP/1.1\r\nhost: shop.example\r\nuser-agent: {agent}\r\naccept: text/html\r\n{cookie}\r\n")
            .into_bytes()
    }

    /// Reads one response and gives its head.
    fn response(&mut self) -> String {
        self.buffer.clear();
        let mut chunk = [0; 2048];
        loop {
            let read = match self.stream.read(&mut chunk) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    hint::spin_loop();
                    continue;
                }
                read => read.expect("an open connection"),
            };
            assert!(read > 0, "the server has hung up");
            self.buffer.extend_from_slice(&chunk[..read]);
            let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
            let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
            let length: usize = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok())
                .unwrap_or(0);
            if self.buffer.len() >= end + 4 + length {
                return head;
            }
        }
    }
}

pub fn rows(rounds: usize, slice: Duration) -> Vec<Row> {
    let (read, change) =
        (("read", "/read", "/read", Some(0.95)), ("change", "/change", "/change", Some(0.9)));
    // Plain axum sends the headers that a change of the session has to send: what they cost on any server.
    let headers = ("change, of plain axum with the same headers", "/change", "/headers", None);
    let mut rows = rows_of("server", Mode::Deferred, &[read, change, headers], rounds, slice);
    rows.extend(rows_of("server, layer around", Mode::Around, &[read, change], rounds, slice));
    rows
}

/// What is asked: its name, the path, that of who has no sessions, and the target.
type Question = (&'static str, &'static str, &'static str, Option<f64>);

fn rows_of(prefix: &str, mode: Mode, questions: &[Question], rounds: usize, slice: Duration) -> Vec<Row> {
    eprintln!("{prefix}");
    let mut rates = vec![vec![(Vec::new(), Vec::new()); Peer::ALL.len()]; questions.len()];
    for round in 0..rounds {
        // New servers each round: no peer keeps a lucky place in memory.
        let mut servers: Vec<_> = Peer::ALL.into_iter().map(|peer| Server::start(peer, mode)).collect();
        for (&(_, path, plain, _), rates) in questions.iter().zip(&mut rates) {
            for turn in 0..servers.len() {
                let i = (round + turn) % Peer::ALL.len();
                let path = if servers[i].peer.has_sessions() { path } else { plain };
                servers[i].load(path, slice / 10);
                let (rate, cpu) = servers[i].load(path, slice);
                rates[i].0.push(rate);
                rates[i].1.push(cpu);
            }
        }
        servers.into_iter().for_each(Server::stop);
    }
    let mut rows = Vec::new();
    for (&(what, _, _, target), rates) in questions.iter().zip(&rates) {
        // Round by round, as what slows a machine down for a while does so to all peers.
        let of_plain =
            |i: usize| median(rates[i].0.iter().zip(&rates[0].0).map(|(rate, plain)| rate / plain));
        let row = |name: String, unit, target, of: &dyn Fn(usize) -> f64| {
            let cells = Peer::ALL.into_iter().enumerate().map(|(i, peer)| Cell::of(peer, of(i)));
            Row::new(name, unit, target, cells.collect())
        };
        rows.push(row(format!("{prefix}, {what}"), "requests/s", Target::NONE, &|i| {
            median(rates[i].0.clone())
        }));
        rows.push(row(
            format!("{prefix}, {what}: of plain axum"),
            "times",
            target.map_or(Target::NONE, Target::value),
            &of_plain,
        ));
        rows.push(row(format!("{prefix}, {what}: processor"), "us/request", Target::NONE, &|i| {
            median(rates[i].1.clone())
        }));
    }
    rows
}

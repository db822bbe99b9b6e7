//! A TCP proxy that misbehaves on command: the faults of a network, at the very byte.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream, tcp::OwnedReadHalf},
    sync::watch,
    task::JoinHandle,
};

/// Passes everything on, until it is told otherwise. All of it ends when it is dropped.
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    server: Mutex<SocketAddr>,
    orders: Mutex<Orders>,
    /// Connections from before the last change are reset.
    epoch: watch::Sender<u64>,
    /// While true, bytes wait, in both directions.
    hole: watch::Sender<bool>,
    /// How many connections a trap has ended.
    cuts: watch::Sender<usize>,
}

/// What there is for others when a trap has ended a connection.
#[derive(Clone, Copy, Default)]
pub enum After {
    #[default]
    Pass,
    BlackHole,
    Refuse,
}

#[derive(Default)]
struct Orders {
    refuse: bool,
    delay: Duration,
    trap: Option<Trap>,
    after: After,
    accepted: usize,
}

/// What to do to the connection whose request contains `needle`.
#[derive(Clone)]
struct Trap {
    needle: &'static [u8],
    what: Cut,
}

#[derive(Clone, Copy)]
enum Cut {
    /// Send only so many bytes of it, then reset both sides.
    Request(usize),
    /// Send it, let the server answer, pass on so many bytes of the answer, then reset both sides.
    Reply(usize),
}

impl Proxy {
    pub async fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let shared = Arc::new(Shared {
            server: Mutex::new(([127, 0, 0, 1], server).into()),
            orders: Mutex::default(),
            epoch: watch::Sender::new(0),
            hole: watch::Sender::new(false),
            cuts: watch::Sender::new(0),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { port, shared, accepting }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// New connections go there; the old ones stay where they are. A name that has moved.
    pub fn lead_to(&self, server: u16) {
        self.shared.server.lock().expect("no panic holds it").set_port(server);
    }

    /// Holds each piece back for so long, in both directions.
    pub fn delay(&self, delay: Duration) {
        self.shared.orders().delay = delay;
    }

    /// Resets every connection, and every new one too while `refuse` is true.
    pub fn refuse(&self, refuse: bool) {
        self.shared.orders().refuse = refuse;
        self.reset();
    }

    /// Resets every connection; new ones are welcome.
    pub fn reset(&self) {
        self.shared.epoch.send_modify(|epoch| *epoch += 1);
    }

    /// Swallows nothing and passes nothing on: connections stay open, and bytes wait for the end of it.
    pub fn black_hole(&self, on: bool) {
        self.shared.hole.send_replace(on);
    }

    /// The next request that contains `needle` (any, if that is empty) gets `bytes` bytes far, and its connection is reset.
    pub fn cut_request(&self, needle: &'static str, bytes: usize) {
        self.set_trap(needle, Cut::Request(bytes));
    }

    /// The next request that contains `needle` is carried out; of its reply, `bytes` bytes arrive.
    pub fn cut_reply(&self, needle: &'static str, bytes: usize) {
        self.set_trap(needle, Cut::Reply(bytes));
    }

    fn set_trap(&self, needle: &'static str, what: Cut) {
        self.shared.orders().trap = Some(Trap { needle: needle.as_bytes(), what });
    }

    /// And from that very moment on, it is like this for others.
    pub fn and_then(&self, after: After) {
        self.shared.orders().after = after;
    }

    /// How many connections have been cut so.
    pub fn cuts(&self) -> usize {
        *self.shared.cuts.borrow()
    }

    /// Comes back when that many have been cut in all.
    pub async fn cut(&self, count: usize) {
        self.shared.cuts.subscribe().wait_for(|cuts| *cuts >= count).await.expect("the proxy is there");
    }

    /// How many connections have been accepted.
    pub fn accepted(&self) -> usize {
        self.shared.orders().accepted
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.reset();
    }
}

impl Shared {
    fn orders(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().expect("no panic holds it")
    }

    /// The trap, if this piece of a request walks into it. One piece may hold several requests.
    fn spring(&self, piece: &[u8]) -> Option<Cut> {
        let mut orders = self.orders();
        let needle = orders.trap.as_ref()?.needle;
        if !needle.is_empty() && !piece.windows(needle.len()).any(|window| window == needle) {
            return None;
        }
        orders.trap.take().map(|trap| trap.what)
    }

    /// A trap is about to end a connection.
    fn cut(&self) {
        let mut orders = self.orders();
        match std::mem::take(&mut orders.after) {
            After::Pass => {}
            After::BlackHole => drop(self.hole.send_replace(true)),
            After::Refuse => orders.refuse = true,
        }
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Waits out the black hole and the delay.
    async fn hold(&self) {
        let delay = self.orders().delay;
        tokio::time::sleep(delay).await;
        let _ = self.hole.subscribe().wait_for(|on| !on).await;
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        shared.orders().accepted += 1;
        let refused = shared.orders().refuse;
        if refused {
            kill(&client);
            continue;
        }
        let mut epoch = shared.epoch.subscribe();
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let socket = TcpSocket::new_v4().expect("a socket");
            let address = *shared.server.lock().expect("no panic holds it");
            let Ok(server) = socket.connect(address).await else { return kill(&client) };
            client.set_nodelay(true).ok();
            server.set_nodelay(true).ok();
            kill_on_close(&client);
            kill_on_close(&server);
            tokio::select! {
                () = pass(client, server, &shared) => {}
                _ = epoch.changed() => {}
            }
        });
    }
}

/// Carries bytes until either side, or a trap, ends it.
async fn pass(client: TcpStream, server: TcpStream, shared: &Shared) {
    let (from_client, mut to_client) = client.into_split();
    let (from_server, mut to_server) = server.into_split();
    let (trapped, reply_limit) = watch::channel(None);
    let requests = async {
        let mut from_client = from_client;
        while let Some(piece) = read(&mut from_client).await {
            shared.hold().await;
            match shared.spring(&piece) {
                Some(Cut::Request(bytes)) => {
                    let _ = to_server.write_all(&piece[..bytes.min(piece.len())]).await;
                    return shared.cut();
                }
                Some(Cut::Reply(bytes)) => {
                    trapped.send_replace(Some(bytes));
                }
                None => {}
            }
            if to_server.write_all(&piece).await.is_err() {
                return;
            }
        }
    };
    let replies = async {
        let mut from_server = from_server;
        while let Some(piece) = read(&mut from_server).await {
            shared.hold().await;
            let limit = *reply_limit.borrow();
            let piece = &piece[..limit.unwrap_or(piece.len()).min(piece.len())];
            let passed = to_client.write_all(piece).await;
            if limit.is_some() {
                return shared.cut();
            }
            if passed.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = requests => {}
        () = replies => {}
    }
}

async fn read(from: &mut OwnedReadHalf) -> Option<Vec<u8>> {
    let mut piece = vec![0; 64 * 1024];
    let length = from.read(&mut piece).await.ok()?;
    piece.truncate(length);
    (length > 0).then_some(piece)
}

/// Closing this socket is then a reset, as of a machine that has lost its memory.
#[allow(deprecated, reason = "a linger time of zero does not block")]
fn kill_on_close(stream: &TcpStream) {
    stream.set_linger(Some(Duration::ZERO)).ok();
}

fn kill(stream: &TcpStream) {
    kill_on_close(stream);
}

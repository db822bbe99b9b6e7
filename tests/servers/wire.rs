//! The wire between a client and a server on loopback, and what can happen to it.

use std::sync::Arc;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf},
    sync::watch,
    task::AbortHandle,
};

/// What becomes of the bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// They pass.
    Pass,
    /// What the server says next is not delivered, and its connection is cut: the answer to a request that
    /// has been carried out.
    CutReply,
    /// What the client says next is not delivered, and its connection is cut.
    CutRequest,
    /// Nothing is delivered and nothing is closed, as by a firewall that forgets.
    Vanish,
    /// Connections are closed as soon as they are made.
    Refuse,
}

#[derive(Clone, Copy)]
struct State {
    now: Fate,
    /// What comes after a cut.
    then: Fate,
    cuts: usize,
}

/// A TCP proxy before a server.
pub struct Wire {
    pub port: u16,
    state: Arc<watch::Sender<State>>,
    accepting: AbortHandle,
}

impl Wire {
    /// A wire to `port`, on a port of its own.
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let own = listener.local_addr().expect("its address").port();
        let state = Arc::new(watch::Sender::new(State { now: Fate::Pass, then: Fate::Pass, cuts: 0 }));
        let line = Line(Arc::clone(&state));
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if line.0.borrow().now != Fate::Refuse {
                    tokio::spawn(line.clone().carry(client, port));
                }
            }
        });
        Self { port: own, state, accepting: accepting.abort_handle() }
    }

    pub fn set(&self, fate: Fate) {
        self.once(fate, Fate::Pass);
    }

    /// One cut, and then another fate until the next call.
    pub fn once(&self, cut: Fate, then: Fate) {
        self.state.send_modify(|state| (state.now, state.then) = (cut, then));
    }

    /// How many connections have been cut.
    pub fn cuts(&self) -> usize {
        self.state.borrow().cuts
    }

    /// Comes back when that many connections have been cut in all.
    pub async fn cut(&self, count: usize) {
        self.state.subscribe().wait_for(|state| state.cuts >= count).await.expect("the wire");
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

#[derive(Clone)]
struct Line(Arc<watch::Sender<State>>);

impl Line {
    async fn carry(self, client: TcpStream, port: u16) {
        let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
        client.set_nodelay(true).ok();
        server.set_nodelay(true).ok();
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        // The first direction that ends takes the other with it.
        tokio::select! {
            () = self.copy(from_client, to_server, Fate::CutRequest) => {}
            () = self.copy(from_server, to_client, Fate::CutReply) => {}
        }
    }

    async fn copy(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf, cut: Fate) {
        let mut bytes = vec![0; 65_536];
        let mut watch = self.0.subscribe();
        loop {
            let Ok(count @ 1..) = from.read(&mut bytes).await else { return };
            let mut hit = false;
            self.0.send_if_modified(|state| {
                hit = state.now == cut;
                if hit {
                    (state.now, state.cuts) = (state.then, state.cuts + 1);
                }
                hit
            });
            if hit || watch.wait_for(|state| state.now != Fate::Vanish).await.is_err() {
                return;
            }
            if to.write_all(&bytes[..count]).await.is_err() {
                return;
            }
        }
    }
}

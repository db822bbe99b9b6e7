//! The wire between a client and a server on loopback, and what can happen to it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

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
    /// The next request passes; when the answer comes the connection is cut instead.
    CutReply,
    /// The next request is not delivered, the connection is cut.
    CutRequest,
    /// Nothing is delivered and nothing is closed, as by a firewall that forgets.
    Vanish,
    /// Connections are closed as soon as they are made.
    Refuse,
}

/// A TCP proxy before a server. Its connections end with it.
pub struct Wire {
    pub port: u16,
    fate: Arc<watch::Sender<Fate>>,
    cuts: Arc<AtomicUsize>,
    accepting: AbortHandle,
}

impl Wire {
    /// A wire to `port`, on a port of its own.
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let own = listener.local_addr().expect("its address").port();
        let fate = Arc::new(watch::Sender::new(Fate::Pass));
        let cuts = Arc::new(AtomicUsize::new(0));
        let line = Line { fate: Arc::clone(&fate), cuts: Arc::clone(&cuts) };
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *line.fate.borrow() == Fate::Refuse {
                    continue;
                }
                tokio::spawn(line.clone().carry(client, port));
            }
        });
        Self { port: own, fate, cuts, accepting: accepting.abort_handle() }
    }

    pub fn set(&self, fate: Fate) {
        self.fate.send_replace(fate);
    }

    /// How many connections have been cut. A cut happens once; then bytes pass again.
    pub fn cuts(&self) -> usize {
        self.cuts.load(Ordering::SeqCst)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

#[derive(Clone)]
struct Line {
    fate: Arc<watch::Sender<Fate>>,
    cuts: Arc<AtomicUsize>,
}

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
        loop {
            let Ok(count @ 1..) = from.read(&mut bytes).await else { return };
            let mut hit = false;
            self.fate.send_if_modified(|fate| {
                hit = *fate == cut;
                if hit {
                    *fate = Fate::Pass;
                }
                hit
            });
            if hit {
                self.cuts.fetch_add(1, Ordering::SeqCst);
                return;
            }
            let mut fate = self.fate.subscribe();
            if fate.wait_for(|fate| *fate != Fate::Vanish).await.is_err()
                || to.write_all(&bytes[..count]).await.is_err()
            {
                return;
            }
        }
    }
}

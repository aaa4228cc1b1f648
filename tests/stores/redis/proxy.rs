//! A proxy between the store and its server.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What happens to the server's answers. A piece is what arrives at once.
#[derive(Clone, Debug)]
pub(crate) enum Mode {
    Pass,
    /// Nothing is passed on, and connections stay open.
    Stall,
    /// Connections are closed, and new ones closed at once.
    Refuse,
    /// So many pieces are passed on, so many bytes of the next one, and the connection is closed.
    Cut {
        pieces: usize,
        bytes: usize,
    },
    /// So many pieces are passed on, and this in the place of the next one. The connection stays open.
    Replace {
        pieces: usize,
        with: Vec<u8>,
    },
    /// So many bytes at a time, with a millisecond in between.
    Throttle(usize),
}

/// A proxy in this process.
pub(crate) struct Proxy {
    port: u16,
    mode: watch::Sender<Mode>,
    accepted: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
}

impl Proxy {
    pub(crate) async fn start(upstream: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mode = watch::Sender::new(Mode::Pass);
        let accepted = Arc::new(AtomicUsize::new(0));
        let open = Arc::new(AtomicUsize::new(0));
        let (modes, counter, opened) = (mode.clone(), accepted.clone(), open.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::SeqCst);
                let (modes, opened) = (modes.clone(), opened.clone());
                tokio::spawn(async move {
                    opened.fetch_add(1, Ordering::SeqCst);
                    connection(client, upstream, modes).await;
                    opened.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { port, mode, accepted, open }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Whether what was set to happen once has happened.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(*self.mode.borrow(), Mode::Pass)
    }

    /// How many connections were accepted so far.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// How many connections are open.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }
}

async fn connection(client: TcpStream, upstream: u16, modes: watch::Sender<Mode>) {
    if matches!(*modes.borrow(), Mode::Refuse) {
        return;
    }
    let Ok(server) = TcpStream::connect(("127.0.0.1", upstream)).await else {
        return;
    };
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    let (mut from_client, to_client) = client.into_split();
    let (from_server, mut to_server) = server.into_split();
    let mut changes = modes.subscribe();
    tokio::select! {
        _ = tokio::io::copy(&mut from_client, &mut to_server) => {}
        _ = answers(from_server, to_client, &modes) => {}
        _ = changes.wait_for(|mode| matches!(mode, Mode::Refuse)) => {}
    }
}

async fn answers(
    mut server: OwnedReadHalf,
    mut client: OwnedWriteHalf,
    modes: &watch::Sender<Mode>,
) -> std::io::Result<()> {
    let mut changes = modes.subscribe();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = server.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        let piece = &buffer[..read];
        let mode = modes.borrow().clone();
        match mode {
            Mode::Pass => client.write_all(piece).await?,
            Mode::Stall => {
                let _ = changes.wait_for(|mode| !matches!(mode, Mode::Stall)).await;
                client.write_all(piece).await?;
            }
            Mode::Refuse => return Ok(()),
            Mode::Cut { pieces: 0, bytes } => {
                modes.send_replace(Mode::Pass);
                client.write_all(&piece[..bytes.min(read)]).await?;
                return Ok(());
            }
            Mode::Cut { pieces, bytes } => {
                modes.send_replace(Mode::Cut { pieces: pieces - 1, bytes });
                client.write_all(piece).await?;
            }
            Mode::Replace { pieces: 0, with } => {
                modes.send_replace(Mode::Pass);
                client.write_all(&with).await?;
            }
            Mode::Replace { pieces, with } => {
                modes.send_replace(Mode::Replace { pieces: pieces - 1, with });
                client.write_all(piece).await?;
            }
            Mode::Throttle(bytes) => {
                for piece in piece.chunks(bytes) {
                    client.write_all(piece).await?;
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        }
    }
}

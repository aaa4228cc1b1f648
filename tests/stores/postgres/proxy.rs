//! Something between the store and the server that breaks connections on demand.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What happens to connections.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    None,
    /// Bytes are taken and not passed on, on the connections that there are now. New ones work.
    Stall,
    /// As above, and new ones are not answered either.
    StallAll,
    /// Connections are reset, and so are new ones.
    Reset,
    /// A connection is reset once it has passed on this many bytes of answers.
    CutAnswerAfter(usize),
    /// The answer becomes bytes that mean nothing.
    Garbage(u8),
    /// The message with this text reaches the server, and its answer does not come back. Only once.
    CutAnswerTo(&'static str),
    /// As above, but the connection stays open and falls silent.
    #[allow(dead_code, reason = "for queues")]
    StallAnswerTo(&'static str),
}

#[derive(Clone)]
pub(crate) struct Proxy {
    port: u16,
    fault: Arc<watch::Sender<Fault>>,
    once: Arc<Mutex<Option<&'static str>>>,
}

impl Proxy {
    pub(crate) async fn start(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let proxy =
            Self { port, fault: Arc::new(watch::channel(Fault::None).0), once: Arc::default() };
        let faults = proxy.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let faults = faults.clone();
                tokio::spawn(async move {
                    let _ = faults.connection(client, server).await;
                });
            }
        });
        proxy
    }

    pub(crate) fn url(&self) -> String {
        super::server::url(self.port)
    }

    pub(crate) fn set(&self, fault: Fault) {
        if let Fault::CutAnswerTo(text) | Fault::StallAnswerTo(text) = fault {
            *self.once.lock().unwrap() = Some(text);
        }
        self.fault.send_replace(fault);
    }

    async fn connection(&self, mut client: TcpStream, server: u16) -> io::Result<()> {
        let mut fault = self.fault.subscribe();
        while *fault.borrow_and_update() == Fault::StallAll {
            fault.changed().await.map_err(io::Error::other)?;
        }
        // `Stall` is for connections that were there before it.
        let (mut stalled, born_in) = (false, *fault.borrow());
        let mut server = TcpStream::connect(("127.0.0.1", server)).await?;
        let (mut sent, mut cut_next) = (0, false);
        let (mut question, mut answer) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
        loop {
            let now = *fault.borrow_and_update();
            match now {
                Fault::Reset => return reset(&client),
                Fault::StallAll => stalled = true,
                Fault::Stall if born_in != Fault::Stall => stalled = true,
                _ => {}
            }
            if stalled {
                // Silence, for longer than any test waits.
                tokio::time::sleep(Duration::from_secs(600)).await;
            }
            tokio::select! {
                read = client.read(&mut question) => {
                    let question = &question[..read?];
                    if question.is_empty() {
                        return Ok(());
                    }
                    cut_next |= self.is_cut(question);
                    server.write_all(question).await?;
                }
                read = server.read(&mut answer) => {
                    let read = read?;
                    if read == 0 {
                        return Ok(());
                    }
                    let mut answer = answer[..read].to_vec();
                    if cut_next && matches!(now, Fault::StallAnswerTo(_)) {
                        stalled = true;
                        continue;
                    }
                    if cut_next {
                        return reset(&client);
                    }
                    match now {
                        Fault::CutAnswerAfter(count) if sent + answer.len() >= count => {
                            client.write_all(&answer[..count.saturating_sub(sent)]).await?;
                            return Ok(());
                        }
                        Fault::Garbage(seed) => {
                            for (byte, number) in answer.iter_mut().zip(1_u8..=255) {
                                *byte = seed.wrapping_mul(number).wrapping_add(number);
                            }
                        }
                        _ => {}
                    }
                    sent += answer.len();
                    client.write_all(&answer).await?;
                }
                changed = fault.changed() => changed.map_err(io::Error::other)?,
            }
        }
    }

    fn is_cut(&self, question: &[u8]) -> bool {
        let mut once = self.once.lock().unwrap();
        let Some(text) = *once else { return false };
        let hit = question.windows(text.len()).any(|part| part == text.as_bytes());
        if hit {
            *once = None;
        }
        hit
    }
}

/// The peer sees a reset and no orderly end.
fn reset(client: &TcpStream) -> io::Result<()> {
    client.set_zero_linger()
}

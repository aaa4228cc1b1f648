//! A pooler in miniature that gives every transaction another connection, and clears everything that a
//! session could have kept in between: what PgBouncer does in its transaction mode, at its worst.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;

pub(crate) struct Pooler {
    port: u16,
}

impl Pooler {
    pub(crate) async fn start(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let sessions: Arc<Mutex<VecDeque<TcpStream>>> = Arc::default();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let sessions = sessions.clone();
                tokio::spawn(async move {
                    let _ = serve(client, server, &sessions).await;
                });
            }
        });
        Self { port }
    }

    pub(crate) fn url(&self) -> String {
        super::server::url(self.port)
    }
}

async fn serve(
    mut client: TcpStream,
    server: u16,
    sessions: &Mutex<VecDeque<TcpStream>>,
) -> io::Result<()> {
    // The first message has no type. Every client brings one more session.
    let start = read_body(&mut client).await?;
    let mut session = TcpStream::connect(("127.0.0.1", server)).await?;
    session.write_all(&start).await?;
    relay_answers(&mut session, Some(&mut client)).await?;
    sessions.lock().await.push_back(session);
    loop {
        let mut question = read_message(&mut client).await?;
        if question[0] == b'X' {
            return Ok(());
        }
        let mut session = take(sessions).await;
        loop {
            let ends = matches!(question[0], b'Q' | b'S');
            session.write_all(&question).await?;
            if ends && relay_answers(&mut session, Some(&mut client)).await? {
                break;
            }
            question = read_message(&mut client).await?;
        }
        session.write_all(&simple_query("DISCARD ALL")).await?;
        relay_answers(&mut session, None).await?;
        sessions.lock().await.push_back(session);
    }
}

async fn take(sessions: &Mutex<VecDeque<TcpStream>>) -> TcpStream {
    loop {
        if let Some(session) = sessions.lock().await.pop_front() {
            return session;
        }
        tokio::task::yield_now().await;
    }
}

/// Passes answers on until the server waits for a question. Whether no transaction is open then.
async fn relay_answers(
    session: &mut TcpStream,
    mut client: Option<&mut TcpStream>,
) -> io::Result<bool> {
    loop {
        let answer = read_message(session).await?;
        if let Some(client) = &mut client {
            client.write_all(&answer).await?;
        }
        if answer[0] == b'Z' {
            return Ok(answer[5] == b'I');
        }
    }
}

async fn read_message(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut message = vec![stream.read_u8().await?];
    message.extend(read_body(stream).await?);
    Ok(message)
}

async fn read_body(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let len = stream.read_u32().await?;
    let mut body = vec![0; len as usize];
    body[..4].copy_from_slice(&len.to_be_bytes());
    stream.read_exact(&mut body[4..]).await?;
    Ok(body)
}

fn simple_query(text: &str) -> Vec<u8> {
    let mut message = vec![b'Q'];
    message.extend((text.len() as u32 + 5).to_be_bytes());
    message.extend(text.as_bytes());
    message.push(0);
    message
}

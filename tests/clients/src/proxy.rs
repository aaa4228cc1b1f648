//! A TCP proxy that delays what it passes on, in both directions.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::Error;

/// Pieces on the way in one direction: with those of 64 KiB, 4 MiB.
const ON_THE_WAY: usize = 64;

pub(crate) async fn start(server: SocketAddr, delay: Duration) -> Result<SocketAddr, Error> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(async move {
                if let Ok(server) = TcpStream::connect(server).await {
                    connect(client, server, delay).await;
                }
            });
        }
    });
    Ok(address)
}

/// The connection is over when the server has ended it. A reset on one side becomes one on the other, because bytes
/// of the client are left unread.
async fn connect(client: TcpStream, server: TcpStream, delay: Duration) {
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let upload = tokio::spawn(pass_on(from_client, to_server, delay));
    let is_reset = pass_on(from_server, to_client, delay).await.is_err();
    if is_reset {
        upload.abort();
    }
    let _ = upload.await;
}

/// Ends with the reader. The halves are dropped when both directions are over.
async fn pass_on(
    mut reader: OwnedReadHalf,
    mut writer: OwnedWriteHalf,
    delay: Duration,
) -> Result<(OwnedReadHalf, OwnedWriteHalf), std::io::Error> {
    let (sender, mut receiver) = mpsc::channel::<(Instant, Bytes)>(ON_THE_WAY);
    let reader_ref = &mut reader;
    let read = async move {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match reader_ref.read(&mut buffer).await {
                Ok(0) => return Ok(()),
                Ok(length) => {
                    let piece = Bytes::copy_from_slice(&buffer[..length]);
                    if sender.send((Instant::now() + delay, piece)).await.is_err() {
                        return Ok(());
                    }
                }
                Err(error) => return Err(error),
            }
        }
    };
    // Drops the receiver at its end, so that the other half ends too.
    let write = async move {
        while let Some((due, piece)) = receiver.recv().await {
            sleep_until(due).await;
            writer.write_all(&piece).await?;
        }
        writer.shutdown().await?;
        Ok::<_, std::io::Error>(writer)
    };
    let (read, write) = tokio::join!(read, write);
    read?;
    Ok((reader, write?))
}

//! A server that is none, and answers what no server would.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower_webhook::key::KeyStore;
use tower_webhook::store::PostgresKeyStore;

use super::support::{id, owner, record};

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut message = vec![kind];
    message.extend((body.len() as u32 + 4).to_be_bytes());
    message.extend(body);
    message
}

/// The description of this many columns of text.
fn columns(count: u16) -> Vec<u8> {
    let mut body = count.to_be_bytes().to_vec();
    for _ in 0..count {
        body.extend(b"record\0\0\0\0\0\0\0\0\0\0\x19\xff\xff\xff\xff\xff\xff\0\0");
    }
    message(b'T', &body)
}

fn end() -> Vec<u8> {
    [message(b'C', b"SELECT 1\0"), message(b'Z', b"I")].concat()
}

/// The statement is parsed, and has one parameter and one column, of type `text`.
fn parsed() -> Vec<u8> {
    let parameters = message(b't', b"\0\x01\0\0\0\x19");
    [message(b'1', b""), parameters, columns(1), message(b'Z', b"I")].concat()
}

/// A server that accepts every client and answers every query with this.
async fn server(answer: Vec<u8>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(serve(client, answer.clone()));
        }
    });
    port
}

async fn serve(mut client: TcpStream, answer: Vec<u8>) -> std::io::Result<()> {
    let len = client.read_u32().await? as usize;
    client.read_exact(&mut vec![0; len - 4]).await?;
    let greeting = [message(b'R', &[0; 4]), message(b'Z', b"I")].concat();
    client.write_all(&greeting).await?;
    let mut parses = false;
    loop {
        let mut head = [0; 5];
        client.read_exact(&mut head).await?;
        let len = u32::from_be_bytes(head[1..].try_into().unwrap()) as usize;
        client.read_exact(&mut vec![0; len - 4]).await?;
        match head[0] {
            b'P' => parses = true,
            b'S' if parses => {
                parses = false;
                client.write_all(&parsed()).await?;
            }
            b'S' => client.write_all(&[message(b'2', b""), answer.clone()].concat()).await?,
            b'Q' => client.write_all(&answer).await?,
            b'X' => return Ok(()),
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_no_server_would_give_is_an_error() {
    let good = record("k1", "ann", 0).encode();
    let field = |len: u32, text: &str| [&len.to_be_bytes(), text.as_bytes()].concat();
    let whole = field(good.len() as u32, &good);
    let answers = [
        // Fewer fields than columns, and more; a null.
        [columns(1), message(b'D', &[0, 0]), end()].concat(),
        [columns(3), message(b'D', &[&[0, 1], &whole[..]].concat()), end()].concat(),
        [columns(1), message(b'D', b"\0\x01\xff\xff\xff\xff"), end()].concat(),
        // A field that is longer than its message, or of a length that is no number.
        [columns(1), message(b'D', &[&[0, 1], &field(1 << 20, "x")[..]].concat()), end()].concat(),
        [columns(1), message(b'D', b"\0\x01\x80\0\0\0"), end()].concat(),
        [columns(1), message(b'D', b"\0\x01"), end()].concat(),
        // Messages that are shorter than their own head, or that never end.
        [columns(1), b"D\0\0\0\0".to_vec(), end()].concat(),
        [columns(1), b"D\0\0\0\x03".to_vec(), end()].concat(),
        [columns(1), b"D\x7f\xff\xff\xff".to_vec(), vec![b'x'; 1 << 20]].concat(),
        // Messages of no known kind, and of one that does not belong here.
        [message(0xff, b"x"), end()].concat(),
        [message(b'R', &[0, 0, 0, 5]), end()].concat(),
        [message(b'E', b""), end()].concat(),
        [message(b'E', b"C\0M"), end()].concat(),
        [message(b'T', &[0xff, 0xff]), end()].concat(),
        // The record of another key, and one that is none.
        [columns(1), message(b'D', &[&[0, 1], &field(2, "{}")[..]].concat()), end()].concat(),
        {
            let other = record("k2", "bob", 0).encode();
            let other = field(other.len() as u32, &other);
            [columns(1), message(b'D', &[&[0, 1], &other[..]].concat()), end()].concat()
        },
    ];
    for (number, answer) in answers.into_iter().enumerate() {
        let port = server(answer).await;
        let store = PostgresKeyStore::new(
            sqlx::postgres::PgPoolOptions::new()
                .test_before_acquire(false)
                .connect_lazy(&super::server::url(port))
                .unwrap(),
        );
        let store = store.with_deadline(Duration::from_millis(400));
        let started = Instant::now();
        assert!(store.find(&id("k1")).await.is_err(), "{number}");
        assert!(store.list(&owner("ann"), None, 10).await.is_err(), "{number}");
        // Some of the answers are those of a change. None is a panic.
        let _ = store.insert(record("k1", "ann", 0)).await;
        assert!(started.elapsed() < Duration::from_secs(3), "{number}");
    }

    // The same server with an answer in order.
    let port = server([columns(1), message(b'D', &[&[0, 1], &whole[..]].concat()), end()].concat());
    let store = PostgresKeyStore::connect(&super::server::url(port.await)).await.unwrap();
    assert_eq!(store.find(&id("k1")).await.unwrap().unwrap().encode(), good);
}

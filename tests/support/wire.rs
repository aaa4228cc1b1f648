//! Servers and clients on loopback sockets.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::StreamBody;
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tower::Service;
use tower_webhook::BoxError;

/// Longer than any test waits for an answer that comes.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// What a future yields, which must not take long.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, future).await.expect("an answer that does not come")
}

/// Serves HTTP/1.1 and HTTP/2 with extended `CONNECT`, until the test is over.
pub(crate) async fn serve<S, B>(service: S) -> SocketAddr
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = TowerToHyperService::new(service.clone());
            tokio::spawn(async move {
                let mut builder = auto::Builder::new(TokioExecutor::new());
                builder.http2().enable_connect_protocol();
                let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    address
}

/// What the server says to `sent` until it closes the connection.
pub(crate) async fn exchange(address: SocketAddr, sent: impl AsRef<[u8]>) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(sent.as_ref()).await.unwrap();
    let mut received = Vec::new();
    // The server may reset a connection on which bytes are left.
    let _ = soon(stream.read_to_end(&mut received)).await;
    String::from_utf8(received).unwrap()
}

/// Reads one response of HTTP/1.1 with `Content-Length`, and leaves the connection open.
pub(crate) async fn read_response(stream: &mut TcpStream) -> String {
    soon(async {
        let mut received = Vec::new();
        loop {
            let byte = stream.read_u8().await.expect("the connection was closed");
            received.push(byte);
            if received.ends_with(b"\r\n\r\n") {
                break;
            }
        }
        let mut text = String::from_utf8(received).unwrap();
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length = length.map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.unwrap();
        text.push_str(std::str::from_utf8(&body).unwrap());
        text
    })
    .await
}

/// A body that the test sends piece by piece. It ends when the sender is dropped.
pub(crate) fn upload() -> (
    mpsc::UnboundedSender<Frame<Bytes>>,
    impl http_body::Body<Data = Bytes, Error = Infallible> + Send + Unpin + 'static,
) {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let stream =
        futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx).map(|frame| frame.map(Ok)));
    (sender, StreamBody::new(stream))
}

/// An HTTP/2 connection.
pub(crate) async fn connect_http2<B>(address: SocketAddr) -> http2::SendRequest<B>
where
    B: http_body::Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let stream = TcpStream::connect(address).await.unwrap();
    let (client, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    client
}

/// A body of these frames.
pub(crate) fn frames(
    frames: impl IntoIterator<Item = Frame<Bytes>>,
) -> impl http_body::Body<Data = Bytes, Error = Infallible> + Send + Unpin + 'static {
    let frames: Vec<_> = frames.into_iter().map(Ok).collect();
    StreamBody::new(futures_util::stream::iter(frames))
}

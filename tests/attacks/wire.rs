//! Rows over loopback sockets: one axum server, HTTP/1.1 byte for byte, HTTP/2 by hyper's client.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower::util::BoxCloneSyncService;
use tower_service::Service;

use super::request::{Payload, Sent, Step, Watch};

/// Any of the services under test.
pub(super) type Subject = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// A server whose service can be exchanged between requests.
pub(super) struct Server {
    address: std::net::SocketAddr,
    subject: Arc<Mutex<Option<Subject>>>,
}

#[derive(Clone)]
struct Switch(Arc<Mutex<Option<Subject>>>);

impl Service<Request<Body>> for Switch {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = <Subject as Service<Request<Body>>>::Future;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let mut subject = self.0.lock().unwrap().clone().unwrap();
        Box::pin(async move { subject.call(request).await })
    }
}

impl Server {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let subject = Arc::new(Mutex::new(None));
        let app = Router::new().fallback_service(Switch(Arc::clone(&subject)));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { address, subject }
    }

    pub(super) fn serve(&self, subject: Subject) {
        *self.subject.lock().unwrap() = Some(subject);
    }

    pub(super) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// `None` if the connection ends without an answer.
    pub(super) async fn over_http_1(&self, sent: &Sent) -> Option<Response<Bytes>> {
        let mut stream = self.connect().await;
        // The server may answer, and close, before it has read everything.
        let _ = stream.write_all(&bytes_of(sent)).await;
        read_response(&mut stream, &mut Vec::new(), sent.method == "HEAD").await
    }

    /// `None` if the stream or the connection ends without an answer.
    pub(super) async fn over_http_2(&self, sent: &Sent) -> Option<Response<Bytes>> {
        let io = TokioIo::new(self.connect().await);
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
        let driver = tokio::spawn(connection);
        let mut request = Request::new(sent.test_body(&Watch::default()));
        *request.method_mut() = sent.method.parse().unwrap();
        *request.uri_mut() = format!("http://localhost{}", sent.target).parse().unwrap();
        for (name, value) in &sent.headers {
            let name: HeaderName = name.parse().unwrap();
            request.headers_mut().append(name, HeaderValue::from_bytes(value).unwrap());
        }
        let response = sender.send_request(request).await.ok();
        let response = match response {
            Some(response) => {
                let (parts, body) = response.into_parts();
                let body = body.collect().await.ok();
                body.map(|body| Response::from_parts(parts, body.to_bytes()))
            }
            None => None,
        };
        driver.abort();
        response
    }
}

/// The request as HTTP/1.1 writes it, in the spelling of the row.
pub(super) fn bytes_of(sent: &Sent) -> Vec<u8> {
    let mut bytes =
        format!("{} {} HTTP/1.1\r\nHost: localhost\r\n", sent.method, sent.target).into_bytes();
    for (name, value) in sent.lines() {
        bytes.extend_from_slice(&[name.as_bytes(), b": ", &value, b"\r\n"].concat());
    }
    let chunk = |data: &[u8]| [format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat();
    match &sent.body {
        Payload::Whole(body) => {
            bytes.extend_from_slice(b"\r\n");
            bytes.extend_from_slice(body);
        }
        Payload::Steps(steps) => {
            bytes.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n");
            let mut end = b"0\r\n".to_vec();
            for step in steps {
                match step {
                    Step::Data(data) => bytes.extend_from_slice(&chunk(data)),
                    Step::Trailer(name, value) => {
                        end.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
                    }
                    Step::Endless(data) => bytes.extend_from_slice(&chunk(data).repeat(64)),
                    Step::Silence => return bytes,
                    Step::Error | Step::Panic => unreachable!("no such thing on a socket"),
                }
            }
            bytes.extend_from_slice(&end);
            bytes.extend_from_slice(b"\r\n");
        }
    }
    bytes
}

/// Reads one response with a length. What was read beyond it stays in the buffer.
pub(super) async fn read_response(
    stream: &mut TcpStream,
    read: &mut Vec<u8>,
    is_head: bool,
) -> Option<Response<Bytes>> {
    let end = loop {
        if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        read_some(stream, read).await?;
    };
    let head = String::from_utf8(read[..end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap();
    let mut headers = HeaderMap::new();
    for line in lines.filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(": ").unwrap();
        headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }
    let length = headers.get("content-length").filter(|_| !is_head);
    let length: usize = length.map_or(0, |length| length.to_str().unwrap().parse().unwrap());
    while read.len() < end + length {
        read_some(stream, read).await?;
    }
    let mut response = Response::new(Bytes::copy_from_slice(&read[end..end + length]));
    *response.status_mut() = StatusCode::from_bytes(status.as_bytes()).unwrap();
    *response.headers_mut() = headers;
    read.drain(..end + length);
    Some(response)
}

async fn read_some(stream: &mut TcpStream, read: &mut Vec<u8>) -> Option<()> {
    let mut buffer = [0; 4096];
    let length = stream.read(&mut buffer).await.ok().filter(|length| *length > 0)?;
    read.extend_from_slice(&buffer[..length]);
    Some(())
}

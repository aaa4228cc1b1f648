use ::hyper::body::Incoming;
use ::hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

type Calls = Arc<AtomicUsize>;

fn service(
    layer: &BodyBufferLayer,
) -> (
    impl Service<
        Request<Incoming>,
        Response = Response<crate::rejection::ResponseBody<Full<Bytes>>>,
        Error = Infallible,
        Future: Send,
    > + Clone
    + Send
    + use<>,
    Calls,
) {
    let calls = Calls::default();
    let counted = Arc::clone(&calls);
    let service = layer.layer(tower::service_fn(move |request| {
        counted.fetch_add(1, Ordering::SeqCst);
        echo(request)
    }));
    (service, calls)
}

/// A server for one connection.
async fn serve(layer: BodyBufferLayer) -> (TcpStream, Calls) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    let (service, calls) = service(&layer);
    tokio::spawn(
        http1::Builder::new()
            .serve_connection(TokioIo::new(server), TowerToHyperService::new(service)),
    );
    (client, calls)
}

/// What the server says to `sent` until it closes the connection.
async fn exchange(layer: BodyBufferLayer, sent: &str) -> (String, usize) {
    let (mut client, calls) = serve(layer).await;
    client.write_all(sent.as_bytes()).await.unwrap();
    let mut received = Vec::new();
    // The server may reset a connection on which bytes are left.
    let _ = tokio::time::timeout(SECOND * 5, client.read_to_end(&mut received)).await.unwrap();
    (String::from_utf8(received).unwrap(), calls.load(Ordering::SeqCst))
}

fn post(head: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{head}\r\n\r\n{body}")
}

#[tokio::test]
async fn chunked_and_counted_bodies_give_the_same() {
    for (head, body) in [
        ("content-length: 10", "0123456789"),
        ("transfer-encoding: chunked", "4\r\n0123\r\n6\r\n456789\r\n0\r\n\r\n"),
    ] {
        let (received, calls) = exchange(layer(), &post(head, body)).await;

        assert!(received.starts_with("HTTP/1.1 200 OK"), "{received}");
        assert!(received.ends_with("\r\n\r\n0123456789"), "{received}");
        assert_eq!(calls, 1);
    }
}

#[tokio::test]
async fn a_request_without_a_body_has_an_empty_one() {
    let (received, calls) = exchange(layer(), &post("x-own: 1", "")).await;

    assert!(received.starts_with("HTTP/1.1 200 OK"), "{received}");
    assert_eq!(calls, 1);
}

#[tokio::test]
async fn one_byte_too_many_is_413_however_it_is_sent() {
    for (head, body) in [
        ("content-length: 11", "0123456789!"),
        ("transfer-encoding: chunked", "4\r\n0123\r\n7\r\n456789!\r\n0\r\n\r\n"),
    ] {
        let (received, calls) = exchange(layer(), &post(head, body)).await;

        assert!(received.starts_with("HTTP/1.1 413"), "{received}");
        assert!(received.to_ascii_lowercase().contains("connection: close"), "{received}");
        assert_eq!(calls, 0);
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_not_asked_for() {
    let head = "expect: 100-continue\r\ncontent-length: 11";
    let (received, calls) = exchange(layer(), &post(head, "")).await;

    assert!(received.starts_with("HTTP/1.1 413"), "{received}");
    assert!(!received.contains("100 Continue"), "{received}");
    assert_eq!(calls, 0);

    let head = "expect: 100-continue\r\ncontent-length: 10";
    let (received, calls) = exchange(layer(), &post(head, "0123456789")).await;

    assert!(received.starts_with("HTTP/1.1 100 Continue"), "{received}");
    assert!(received.contains("HTTP/1.1 200 OK"), "{received}");
    assert_eq!(calls, 1);
}

#[tokio::test]
async fn the_body_of_a_refused_request_is_not_the_next_request() {
    let inside = "GET /inside HTTP/1.1\r\nhost: a\r\n\r\n";
    for head in [
        format!("content-length: {}", inside.len()),
        "content-length: 5\r\ncontent-encoding: gzip".to_owned(),
        "transfer-encoding: chunked".to_owned(),
    ] {
        let chunk = format!("{:x}\r\n{inside}\r\n0\r\n\r\n", inside.len());
        let body = if head.starts_with("transfer") { &chunk } else { inside };
        let sent = format!("POST / HTTP/1.1\r\nhost: a\r\n{head}\r\n\r\n{body}{inside}");
        let (received, calls) = exchange(layer().with_identity_coding_only(), &sent).await;

        assert!(received.starts_with("HTTP/1.1 41"), "{received}");
        assert_eq!(received.matches("HTTP/1.1").count(), 1, "{received}");
        assert_eq!(calls, 0);
    }
}

#[tokio::test]
async fn a_connection_is_kept_after_a_body_that_was_read() {
    let one =
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n";
    let (received, calls) =
        exchange(layer(), &(one.to_owned() + &post("content-length: 2", "cd"))).await;

    assert_eq!(received.matches("HTTP/1.1 200 OK").count(), 2, "{received}");
    assert_eq!(calls, 2);
}

#[tokio::test]
async fn silence_is_408() {
    let layer = layer().with_deadline(Duration::from_millis(50));
    let (received, calls) = exchange(layer, &post("content-length: 4", "ab")).await;

    assert!(received.starts_with("HTTP/1.1 408"), "{received}");
    assert_eq!(calls, 0);
}

#[tokio::test]
async fn half_a_body_never_reaches_the_service_inside() {
    for (head, half) in [
        ("content-length: 4", "ab"),
        ("transfer-encoding: chunked", "4\r\nab"),
        ("transfer-encoding: chunked", "2\r\nab\r\n"),
        ("transfer-encoding: chunked", "2\r\nab\r\nzz\r\n"),
    ] {
        let (mut client, calls) = serve(layer()).await;
        client.write_all(post(head, half).as_bytes()).await.unwrap();
        client.shutdown().await.unwrap();
        let mut received = String::new();
        let _ = client.read_to_string(&mut received).await;

        assert!(!received.contains(" 200 "), "{received}");
        assert_eq!(calls.load(Ordering::SeqCst), 0);
    }
}

#[tokio::test]
async fn http_2_is_refused_by_the_stream_and_not_by_the_connection() {
    let (client, server) = tokio::io::duplex(64 * 1024);
    let (service, calls) = service(&layer());
    tokio::spawn(
        http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(server), TowerToHyperService::new(service)),
    );
    let (mut client, connection) =
        ::hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(client))
            .await
            .unwrap();
    tokio::spawn(connection);
    for (body, status) in [("0123456789!", 413), ("0123456789", 200)] {
        for steps in [&[body.as_bytes()][..], &[&body.as_bytes()[..4], &body.as_bytes()[4..]]] {
            let frames: Vec<_> = steps
                .iter()
                .map(|data| {
                    Ok::<_, Infallible>(http_body::Frame::data(Bytes::copy_from_slice(data)))
                })
                .collect();
            let body = http_body_util::StreamBody::new(futures_util::stream::iter(frames));
            let request = Request::post("http://a/").body(body).unwrap();

            let response = client.send_request(request).await.unwrap();

            assert_eq!(response.status(), status);
            assert!(!response.headers().contains_key(CONNECTION));
        }
    }
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

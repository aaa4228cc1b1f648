//! What gRPC clients make of refusals.

use bytes::{Buf, BufMut, Bytes};
use http::uri::PathAndQuery;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tonic::client::{Grpc, GrpcService};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::MetadataValue;
use tonic::transport::Endpoint;
use tonic::{Code, Request, Status};
use tonic_web::GrpcWebClientLayer;
use tower::ServiceBuilder;

use crate::Error;
use crate::server::Server;

/// A call, and the code of its end.
struct Case {
    method: &'static str,
    headers: Vec<(&'static str, String)>,
    message: Bytes,
    expected: Code,
}

fn cases(key: &str) -> Vec<Case> {
    let good = || vec![("x-api-key", key.to_owned())];
    let case = |method, headers, expected| {
        let message = Bytes::from_static(b"hello");
        Case { method, headers, message, expected }
    };
    let two = vec![("x-api-key", key.to_owned()), ("authorization", format!("Bearer {key}"))];
    let mut large = case("/echo.Echo/Tiny", good(), Code::ResourceExhausted);
    large.message = vec![0; 100].into();
    vec![
        case("/echo.Echo/Unary", good(), Code::Ok),
        case("/echo.Echo/Tiny", good(), Code::Ok),
        case("/echo.Echo/Unary", vec![], Code::Unauthenticated),
        case("/echo.Echo/Unary", vec![("x-api-key", "wrong".to_owned())], Code::Unauthenticated),
        case("/echo.Echo/Admin", good(), Code::PermissionDenied),
        case("/echo.Echo/Unary", two, Code::InvalidArgument),
        case("/echo.Echo/Down", good(), Code::Unavailable),
        case("/echo.Echo/Get", good(), Code::Unimplemented),
        large,
    ]
}

pub(crate) async fn check(server: &Server) -> Result<(), Error> {
    let url = format!("http://{}", server.address);
    for case in cases(&server.key) {
        let channel = Endpoint::from_shared(url.clone())?.connect().await?;
        call("tonic over HTTP/2", Grpc::new(channel), &case).await?;

        let client = Client::builder(TokioExecutor::new()).build_http();
        let web = ServiceBuilder::new().layer(GrpcWebClientLayer::new()).service(client);
        call("gRPC-web over HTTP/1.1", Grpc::with_origin(web, url.parse()?), &case).await?;
    }
    println!("gRPC: every code is as expected");
    Ok(())
}

async fn call<S>(form: &str, mut client: Grpc<S>, case: &Case) -> Result<(), Error>
where
    S: GrpcService<tonic::body::Body>,
    S::Error: Into<Error>,
    S::ResponseBody: http_body::Body<Data = Bytes> + Send + 'static,
    <S::ResponseBody as http_body::Body>::Error: Into<Error> + Send,
{
    client.ready().await.map_err(Into::into)?;
    let mut request = Request::new(case.message.clone());
    for (name, value) in &case.headers {
        request.metadata_mut().insert(*name, MetadataValue::try_from(value)?);
    }
    let answer = client.unary(request, PathAndQuery::from_static(case.method), Messages).await;
    let (code, text) = match answer {
        Ok(response) if *response.get_ref() == case.message => (Code::Ok, String::new()),
        Ok(_) => return Err(format!("{form}, {}: another message", case.method).into()),
        Err(status) => (status.code(), status.message().to_owned()),
    };
    println!("{form}, {}: {code:?} {text:?}", case.method);
    if code != case.expected || (code != Code::Ok && text.is_empty()) {
        return Err(format!("{form}, {}: not {:?}", case.method, case.expected).into());
    }
    Ok(())
}

/// Messages as they are.
#[derive(Clone, Copy)]
struct Messages;

impl Codec for Messages {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Messages {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(message);
        Ok(())
    }
}

impl Decoder for Messages {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

//! Bodies: a key in one, one that is replayed, one that becomes an envelope.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use tower::{Layer, Service, service_fn};
use tower_webhook::body::{BodyBufferLayer, BufferedBody, ReplayBody};
use tower_webhook::content::{self, ContentLimits, FieldValue, MediaType};
use tower_webhook::envelope::{EnvelopeBuilder, EnvelopeInput};

use crate::support::{Body, no_more_than, request, wait};

/// A list of commits and a key behind it, of about so many KiB.
fn body(kibibytes: usize) -> Bytes {
    let commit =
        r#"{"id":"f00","message":"say \"hi\"","author":{"name":"ann"},"added":[1,2.50,null]},"#;
    let commits = commit.repeat(kibibytes * 1024 / commit.len());
    format!(r#"{{"commits":[{commits}0],"api_key":"k1"}}"#).into()
}

const LIMITS: ContentLimits =
    ContentLimits::new().with_json(content::json::JsonLimits::new().with_nodes(usize::MAX));

#[test]
fn a_key_in_a_body_takes_as_many_allocations_at_any_size() {
    let counts = [1, 64, 1024].map(|kibibytes| {
        let body = body(kibibytes);
        let mut found = Vec::new();
        let info = allocation_counter::measure(|| {
            found = content::find_field(&MediaType::Json, &body, "api_key", &LIMITS).unwrap();
        });
        assert_eq!(found, [FieldValue::Text("k1".into())]);
        info.count_total
    });

    no_more_than([3, 3, 3], counts);
}

#[test]
fn an_envelope_takes_as_many_allocations_at_any_size() {
    let counts = [1, 64, 1024].map(|kibibytes| {
        let (head, _) = request(None).into_parts();
        let (body, builder) = (body(kibibytes), EnvelopeBuilder::new().with_limits(LIMITS));
        let mut envelope = None;
        let info = allocation_counter::measure(|| {
            envelope = Some(builder.build(&EnvelopeInput::new(&head, &body)).unwrap());
        });
        assert!(envelope.unwrap().json().unwrap().len() == body.len());
        info.count_total
    });

    no_more_than([8, 8, 8], counts);
}

#[test]
fn a_body_of_a_single_frame_is_replayed_without_a_copy() {
    let body = body(64);
    let sent = body.as_ptr();
    let mut service =
        BodyBufferLayer::new().layer(service_fn(move |request: Request<ReplayBody>| async move {
            let buffered = request.extensions().get::<BufferedBody>().unwrap().bytes();
            let replayed = request.into_body().frame().await.unwrap().unwrap().into_data().unwrap();
            assert_eq!(buffered.as_ptr(), sent);
            assert_eq!(replayed.as_ptr(), sent);
            Ok::<_, Infallible>(Response::new(Body::default()))
        }));

    let request = request(None).map(|_| Body::new(body.clone()));
    let mut response = None;
    let info =
        allocation_counter::measure(|| response = Some(wait(service.call(request)).unwrap()));

    assert_eq!(response.unwrap().status(), 200);
    assert!(info.bytes_total < 1024, "{}", info.bytes_total);
    assert!(info.count_total <= 2, "{}", info.count_total);
}

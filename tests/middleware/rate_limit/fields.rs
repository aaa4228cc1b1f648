//! What responses say about the limits.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::Full;
use sfv::{List, ListEntry, Parser};
use tokio::time::advance;

use super::{Answer, KINDS, Kind, Spy, call, layer, limited, limits, post};
use crate::support::Keys;

/// A List of Strings with parameters (RFC 9651), as `key;q=5;w=60`.
fn items(headers: &HeaderMap, name: &str) -> Vec<String> {
    let lines = headers.get_all(name).iter().map(|line| line.as_bytes());
    let joined = lines.collect::<Vec<_>>().join(&b", "[..]);
    let list: List = Parser::new(&joined).parse().unwrap();
    let item = |entry: &ListEntry| {
        let ListEntry::Item(item) = entry else { panic!("an inner list") };
        let name = item.bare_item.as_string().unwrap().as_str();
        let parameters = item.params.iter().map(|(key, value)| {
            format!(";{}={}", key.as_str(), i64::from(value.as_integer().unwrap()))
        });
        format!("{name}{}", parameters.collect::<String>())
    };
    list.iter().map(item).collect()
}

#[tokio::test(start_paused = true)]
async fn a_429_has_structured_fields() {
    let keys = Keys::new().await;
    for kind in KINDS {
        let auth = limited(&keys, &Spy::default());
        let first = call(kind, &auth, post("/once", &keys.text)).await;
        assert_eq!(first.status(), 200);
        assert!(first.headers().get("ratelimit").is_none());
        advance(Duration::from_millis(500)).await;
        let refused = call(kind, &auth, post("/once", &keys.text)).await;
        assert_eq!(refused.status(), 429);
        let policy = items(refused.headers(), "ratelimit-policy");
        assert_eq!(policy, ["key;q=5;w=60", "hook;q=1;w=60"], "{kind:?}");
        let limit = items(refused.headers(), "ratelimit");
        assert_eq!(limit, ["key;r=4", "hook;r=0;t=60"], "{kind:?}");
        assert_eq!(refused.headers()["retry-after"], "60");
    }
}

#[tokio::test(start_paused = true)]
async fn every_response_has_them_by_a_setting() {
    let keys = Keys::new().await;
    for kind in KINDS {
        for answer in [Answer::Ready, Answer::Later] {
            let spy = Spy::default().answers(answer);
            let shown = limits(&spy).with_fields_on_every_response();
            let auth = layer(&keys).with_rate_limits(shown).unwrap();
            let context = format!("{kind:?} {answer:?}");
            for (remaining, limit) in ["key;r=4", "key;r=3", "key;r=2"].into_iter().enumerate() {
                let response = call(kind, &auth, post("/deploy", &keys.text)).await;
                assert_eq!(response.status(), 200, "{context} {remaining}");
                assert_eq!(items(response.headers(), "ratelimit"), [limit], "{context}");
                let policy = items(response.headers(), "ratelimit-policy");
                assert_eq!(policy, ["key;q=5;w=60"], "{context}");
            }
            // A refusal after the limit.
            if kind != Kind::Plain {
                let mut request = post("/deploy", &keys.text);
                *request.body_mut() = Full::from(vec![0; 2000]);
                let response = call(kind, &auth, request).await;
                assert_eq!(response.status(), 413, "{context}");
                assert_eq!(items(response.headers(), "ratelimit"), ["key;r=1"], "{context}");
            } else {
                call(kind, &auth, post("/deploy", &keys.text)).await;
            }
            let last = call(kind, &auth, post("/deploy", &keys.text)).await;
            assert_eq!(items(last.headers(), "ratelimit"), ["key;r=0;t=12"], "{context}");
            let refused = call(kind, &auth, post("/deploy", &keys.text)).await;
            assert_eq!(refused.status(), 429, "{context}");
            assert_eq!(items(refused.headers(), "ratelimit"), ["key;r=0;t=12"], "{context}");
            // A refusal before it.
            let response = call(kind, &auth, post("/deploy", "junk")).await;
            assert!(response.headers().get("ratelimit").is_none(), "{context}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_grpc_call_is_told_when_to_come_back() {
    let keys = Keys::new().await;
    for kind in KINDS {
        let auth = limited(&keys, &Spy::default()).with_grpc_rejections();
        for _ in 0..5 {
            call(kind, &auth, post("/deploy", &keys.text)).await;
        }
        let request = Request::post("/deploy").header("x-api-key", &keys.text);
        let request = request.header("content-type", "application/grpc");
        let request = request.body(Full::<Bytes>::default()).unwrap();
        let response = call(kind, &auth, request).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["grpc-status"], "8");
        assert_eq!(response.headers()["grpc-message"], "Too many requests");
        assert_eq!(response.headers()["grpc-retry-pushback-ms"], "12000");
        assert!(response.body().is_empty());
    }
}

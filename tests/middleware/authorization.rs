//! Schemes of the app in `Authorization`, and what a challenge offers.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::{Layer, ServiceExt};
use tower_webhook::auth::AuthLayer;
use tower_webhook::credential::{Placement, PlacementKind};
use tower_webhook::identity::Identity;

use crate::support::{Keys, Recorder};

fn scheme(name: &str) -> Placement {
    Placement::authorization(name).unwrap()
}

fn header(name: &str) -> Placement {
    Placement::header(name).unwrap()
}

async fn send(
    layer: &AuthLayer,
    fields: &[(&str, &str)],
) -> (Response<Full<Bytes>>, Vec<Request<Bytes>>) {
    let inner = Recorder::default();
    let mut request = Request::post("/?b=1&token=ignored");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::<Bytes>::default()).unwrap();
    let response = layer.layer(inner.clone()).oneshot(request).await.unwrap();
    let (parts, _) = response.into_parts();
    (Response::from_parts(parts, Full::default()), inner.take())
}

fn challenges(response: &Response<Full<Bytes>>) -> Vec<String> {
    let values = response.headers().get_all("www-authenticate").iter();
    values.map(|value| value.to_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_scheme_of_the_app_is_read_and_taken_out() {
    let keys = Keys::new().await;
    for name in ["ApiKey", "Token", "x-key"] {
        let layer = AuthLayer::token(&keys.manager, [scheme(name)]).unwrap();
        for (sent, blanks) in [(name.to_owned(), " "), (name.to_uppercase(), "   ")] {
            let value = format!("{sent}{blanks}{}", keys.text);
            let (response, seen) = send(&layer, &[("authorization", &value)]).await;
            assert_eq!(response.status(), 200, "{value}");
            assert_eq!(seen.len(), 1);
            assert!(!seen[0].headers().contains_key("authorization"));
            let identity = Identity::of(seen[0].extensions()).unwrap().unwrap();
            assert_eq!(identity.placement(), Some(PlacementKind::Authorization));
        }
        for value in [name.to_owned(), format!("Bearer {}", keys.text), format!("{name} junk")] {
            let (response, seen) = send(&layer, &[("authorization", &value)]).await;
            assert_eq!(response.status(), 401, "{value}");
            assert_eq!(challenges(&response), [format!("{name} realm=\"webhook\"")]);
            assert!(seen.is_empty());
        }
    }
}

#[tokio::test]
async fn schemes_in_one_list_are_read_beside_each_other() {
    let keys = Keys::new().await;
    let placements = [Placement::bearer(), scheme("ApiKey"), Placement::basic(), header("x-key")];
    let layer = AuthLayer::token(&keys.manager, placements).unwrap();
    let key = keys.text.as_str();
    let (bearer, own) = (format!("Bearer {key}"), format!("apikey {key}"));
    let joined = format!("{own}, {bearer}");
    let cases: [(&[(&str, &str)], u16); 7] = [
        (&[("authorization", &bearer)], 200),
        (&[("authorization", &own)], 200),
        (&[("authorization", &own), ("authorization", "Bearer")], 200),
        (&[("authorization", &own), ("authorization", &bearer)], 400),
        (&[("authorization", &joined)], 400),
        (&[("authorization", &own), ("x-key", key)], 400),
        (&[], 401),
    ];
    for (fields, expected) in cases {
        let (response, seen) = send(&layer, fields).await;
        assert_eq!(response.status(), expected, "{fields:?}");
        assert_eq!(seen.len(), usize::from(expected == 200), "{fields:?}");
        let offered: &[&str] = match expected {
            401 => &[
                r#"Bearer realm="webhook""#,
                r#"ApiKey realm="webhook""#,
                r#"Basic realm="webhook", charset="UTF-8""#,
            ],
            _ => &[],
        };
        assert_eq!(challenges(&response), offered, "{fields:?}");
    }
}

#[tokio::test]
async fn without_a_scheme_a_challenge_says_where_the_key_goes() {
    let keys = Keys::new().await;
    let cases = [
        (header("X-Hook-Key"), r#"in="header", name="x-hook-key""#),
        (Placement::query("hook key").unwrap(), r#"in="query", name="hook key""#),
        (Placement::cookie("sid").unwrap(), r#"in="cookie", name="sid""#),
        (Placement::path("/never/{secret}").unwrap(), r#"in="path", name="secret""#),
    ];
    for (placement, expected) in cases {
        let layer = AuthLayer::token(&keys.manager, [placement, header("x-other")]).unwrap();
        let (response, _) = send(&layer, &[]).await;
        assert_eq!(response.status(), 401);
        assert_eq!(challenges(&response), [format!("ApiKey realm=\"webhook\", {expected}")]);
    }
}

#[tokio::test]
async fn a_place_whose_condition_fails_is_emptied_and_no_credential() {
    let keys = Keys::new().await;
    let stream = Placement::query("token").unwrap().only_if(|head| {
        head.headers().get("accept").is_some_and(|accept| accept == "text/event-stream")
    });
    let layer = AuthLayer::token(&keys.manager, [header("x-key"), stream]).unwrap();
    let cases: [(&[(&str, &str)], u16); 4] = [
        (&[], 401),
        (&[("x-key", &keys.text)], 200),
        (&[("accept", "text/event-stream")], 401),
        (&[("accept", "text/event-stream"), ("x-key", &keys.text)], 400),
    ];
    for (fields, expected) in cases {
        let (response, seen) = send(&layer, fields).await;
        assert_eq!(response.status(), expected, "{fields:?}");
        for request in seen {
            assert_eq!(request.uri(), "/?b=1");
        }
    }
}

#[tokio::test]
async fn a_mixed_field_counts_where_its_condition_holds() {
    use tower_webhook::RequestHead;
    use tower_webhook::auth::{Authentication, Authenticator, Policy, User};
    use tower_webhook::credential::PresentedCredential;

    struct Never;

    #[async_trait::async_trait]
    impl Authenticator for Never {
        async fn authenticate(
            &self,
            _head: RequestHead<'_>,
            _candidate: Option<&PresentedCredential<'_>>,
        ) -> Result<Authentication, tower_webhook::BoxError> {
            Ok(Authentication::Accepted(User::new(crate::support::owner("alice"))))
        }
    }

    let keys = Keys::new().await;
    let user = header("x-user").only_if(|head| head.headers().contains_key("x-on"));
    let layer = AuthLayer::new(Policy::token())
        .unwrap()
        .with_keys(&keys.manager, [header("x-key")])
        .unwrap()
        .with_authenticator(Never, [user])
        .unwrap();
    let key = ("x-key", keys.text.as_str());
    let (response, seen) = send(&layer, &[key, ("x-user", "u")]).await;
    assert_eq!(response.status(), 200);
    assert!(!seen[0].headers().contains_key("x-user"));
    let (response, _) = send(&layer, &[key, ("x-user", "u"), ("x-on", "1")]).await;
    assert_eq!(response.status(), 400);
}

//! Who is calling, what they may do, and the order in which that is asked.

use http::header::ALLOW;

use super::*;

#[tokio::test]
async fn a_token_in_the_carrier_of_keys_is_unknown() {
    let site = Site::new().await;
    for (header, value, expected) in [
        ("x-auth-token", "token-bill", 200),
        ("st2-api-key", "key-bill", 200),
        ("St2-Api-Key", "key-null", 200),
        ("x-auth-token", "key-bill", 401),
        ("st2-api-key", "token-bill", 401),
        ("x-auth-token", "both", 200),
        ("st2-api-key", "both", 401),
        ("x-auth-token", "token-zero", 401),
        ("x-auth-token", "token-ghost", 401),
        ("st2-api-key", "key-off", 401),
        ("x-auth-token", "TOKEN-BILL", 401),
        ("x-auth-token", "token-bill, token-bill", 401),
        ("authorization", "Bearer token-bill", 401),
        ("cookie", "auth-token=token-bill", 401),
    ] {
        let answer = site.call(&[(header, value)], "GET", "/v1/webhooks", "").await;
        assert_eq!(answer.status, expected, "{header} {value}");
        let missing = "Unauthorized - One of Token or API key required.";
        match (expected, header) {
            (401, "authorization" | "cookie") => assert_eq!(answer.fault(), missing),
            (401, _) => assert_eq!(answer.text, r#"{"faultstring":"Unauthorized"}"#),
            _ => {}
        }
    }
}

#[tokio::test]
async fn the_first_carrier_that_is_not_empty_decides() {
    let site = Site::new().await;
    let token = "x-auth-token";
    let key = "st2-api-key";
    let cases: [(Headers<'_>, &str, u16); 14] = [
        (&[(token, "token-bill"), (key, "bad")], "?x-auth-token=bad&st2-api-key=bad", 200),
        (&[(token, "bad"), (key, "key-bill")], "?x-auth-token=token-bill", 401),
        (&[(token, ""), (key, "key-bill")], "?x-auth-token=bad", 200),
        (&[(key, "bad")], "?x-auth-token=token-bill", 401),
        (&[], "?st2-api-key=bad&x-auth-token=token-bill", 200),
        (&[], "?st2-api-key=key-bill&x-auth-token=bad", 401),
        (&[], "?st2-api-key=key-bill&x-auth-token=", 200),
        (&[], "?x-auth-token&st2-api-key=%6bey-bill", 200),
        (&[], "?X-Auth-Token=token-bill", 401),
        (&[(token, "token-bill"), (token, "token-bill")], "", 400),
        (&[(token, "token-bill"), (token, "")], "", 200),
        (&[(token, "token-bill")], "?x-auth-token=a&x-auth-token=b", 200),
        (&[(key, "key-bill"), (key, "bad")], "?x-auth-token=token-bill", 400),
        (&[], "?st2-api-key=key-bill&st2%2Dapi-key=key-bill", 400),
    ];
    for (headers, query, expected) in cases {
        let answer = site.call(headers, "GET", &format!("/v1/webhooks{query}"), "").await;
        assert_eq!(answer.status, expected, "{headers:?} {query}");
        if expected == 400 {
            assert_eq!(answer.text, r#"{"faultstring":"More than one credential."}"#);
        }
    }
    let many = format!("/v1/webhooks?{}x-auth-token=token-bill", "a=b&".repeat(5_000));
    assert_eq!(site.call(&[], "GET", &many, "").await.status, 200);
}

#[tokio::test]
async fn an_unknown_address_and_a_wrong_method_need_no_credential() {
    let site = Site::new().await;
    for (method, target) in [
        ("POST", "/v1/webhooks"),
        ("POST", "/v1/webhooks/"),
        ("GET", "/v1/rules/a/b"),
        ("GET", "/"),
        ("OPTIONS", "/v1/nope"),
        ("GET", "/v1/webhooks/%ff"),
    ] {
        let answer = site.call(&[], method, target, "").await;
        assert_eq!(
            (answer.status.as_u16(), answer.fault().as_str()),
            (404, "The resource could not be found.")
        );
    }
    for (method, target, allow) in [
        ("PUT", "/v1/webhooks/", "GET"),
        ("HEAD", "/v1/webhooks/sample", "GET, POST"),
        ("OPTIONS", "/webhooks/sample", "GET, POST"),
        ("post", "/v1/webhooks/sample", "GET, POST"),
        ("PATCH", "/v1/webhooks/nope", "GET, POST"),
        ("DELETE", "/v1/rules/", "GET, POST"),
        ("POST", "/v1/rules/r1", "GET, PUT, DELETE"),
        ("PUT", "/v1/apikeys", "GET, POST"),
        ("PATCH", "/v1/apikeys/1", "GET, PUT, DELETE"),
        ("POST", "/v1/triggerinstances", "GET"),
    ] {
        let answer = site.call(&[], method, target, "").await;
        assert_eq!(
            (answer.status.as_u16(), &answer.headers[ALLOW]),
            (405, &allow.parse().unwrap()),
            "{method} {target}"
        );
        assert_eq!(answer.text.is_empty(), method == "HEAD");
    }
    assert_eq!(site.count_events().await, 0);
}

#[tokio::test]
async fn checks_come_in_their_order() {
    let site = Site::new().await;
    let sender = &[("st2-api-key", "key-send")][..];
    let unknown = &[("st2-api-key", "key-none")][..];
    let bad = &[("st2-api-key", "bad")][..];
    let twice = &[BILL, BILL][..];
    let large = "x".repeat(1_048_577);
    for (by, target, body, expected) in [
        (&[][..], "/v1/webhooks/nope", large.as_str(), 401),
        (bad, "/v1/webhooks/nope", &large, 401),
        (twice, "/v1/webhooks/nope", &large, 400),
        (unknown, "/v1/webhooks/nope", &large, 403),
        (sender, "/v1/webhooks/nope", &large, 403),
        (&[BILL], "/v1/webhooks/nope", &large, 413),
        (&[BILL], "/v1/webhooks/nope", "{", 400),
        (&[BILL], "/v1/webhooks/nope", "1", 400),
        (&[BILL], "/v1/webhooks/nope", "{}", 404),
        (unknown, "/v1/webhooks?limit=x", "", 404),
        (unknown, "/v1/rules", &large, 403),
        (&[BILL], "/v1/rules", &large, 413),
        (unknown, "/v1/apikeys", "{", 403),
        (&[BILL], "/v1/apikeys", &large, 413),
    ] {
        assert_eq!(site.call(by, "POST", target, body).await.status, expected, "{by:?} {target}");
    }
    for (by, target, body, expected) in [
        (unknown, "/v1/rules/nope", "{", 403),
        (&[BILL][..], "/v1/rules/nope", "{", 400),
        (&[BILL], "/v1/rules/nope", "[]", 400),
        (&[BILL], "/v1/rules/nope", r#"{"name":1}"#, 404),
        (unknown, "/v1/apikeys/nope", "{", 403),
        (&[BILL], "/v1/apikeys/nope", "[]", 400),
        (&[BILL], "/v1/apikeys/nope", r#"{"key_hash":"x"}"#, 404),
    ] {
        assert_eq!(site.call(by, "PUT", target, body).await.status, expected, "{by:?} {target}");
    }
    let denied = site.call(unknown, "POST", "/v1/webhooks/No%22pe/", "").await;
    let text = "User \"bill\" doesn't have required permission \"webhook_send\" on resource \"webhook:No\"pe\"";
    assert_eq!(denied.fault(), text);
    assert_eq!(site.count_events().await, 0);
}

#[tokio::test]
async fn every_permission_is_asked_for_by_its_name() {
    let site = Site::new().await;
    for (method, target, permission) in [
        ("GET", "/v1/webhooks", "\"webhook_list\""),
        ("GET", "/webhooks/a/b/", "\"webhook_view\" on resource \"webhook:a/b\""),
        ("POST", "/v1/webhooks/st2/", "\"webhook_send\" on resource \"webhook:st2\""),
        ("GET", "/v1/rules", "\"rule_list\""),
        ("POST", "/v1/rules", "\"rule_create\""),
        ("GET", "/v1/rules/r1", "\"rule_view\""),
        ("PUT", "/v1/rules/r1", "\"rule_modify\""),
        ("DELETE", "/v1/rules/r1", "\"rule_delete\""),
        ("GET", "/v1/apikeys?limit=x", "\"api_key_list\""),
        ("POST", "/v1/apikeys", "\"api_key_create\""),
        ("GET", "/v1/apikeys/1", "\"api_key_view\""),
        ("PUT", "/v1/apikeys/1", "\"api_key_modify\""),
        ("DELETE", "/v1/apikeys/1", "\"api_key_delete\""),
        ("GET", "/v1/triggerinstances?limit=x", "\"trigger_instance_list\""),
    ] {
        let answer = site.call(&[("st2-api-key", "key-none")], method, target, "").await;
        assert_eq!(answer.status, 403);
        assert_eq!(
            answer.fault(),
            format!("User \"bill\" doesn't have required permission {permission}")
        );
    }
}

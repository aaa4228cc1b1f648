//! What the configuration turns on beyond version 0.2.0.

use super::*;

async fn with(member: &str, value: Value) -> Server {
    let mut server = Server::start().await;
    let mut config = config();
    config[member] = value;
    server.restart(&config).await;
    server
}

#[tokio::test]
async fn without_a_setting_there_is_no_document() {
    let server = Server::start().await;
    server.send("GET", "/openapi.json", &[], "").await.refuses(404, "Not Found");
}

#[tokio::test]
async fn the_document_has_every_address_and_where_its_key_is() {
    let server = with("openapi", json!(true)).await;
    let answer = server.send("GET", "/openapi.json", &[], "").await;
    assert_eq!(answer.status, StatusCode::OK);
    server.send("POST", "/openapi.json", &[], "").await.refuses(405, "Method Not Allowed");
    let document = answer.json();
    let paths = document["paths"].as_object().unwrap();

    let at = |path: &str, method: &str| {
        let operation = &paths[path][method];
        assert!(operation.is_object(), "{method} {path}");
        operation
    };
    assert_eq!(at("/webhook/extend/{id}", "patch")["security"], json!([{"bearer": []}]));
    for path in ["/webhook/walker/header", "/webhook/walker/header/{node}"] {
        assert_eq!(at(path, "post")["security"], json!([{"header-test-key": []}]));
    }
    let key = json!({"type": "apiKey", "in": "header", "name": "test-key"});
    assert_eq!(document["components"]["securitySchemes"]["header-test-key"], key);
    // A key in the path is a parameter, and an open walker has none.
    let in_path = at("/webhook/walker/path/{node}/{key}", "post");
    assert_eq!(in_path["parameters"][1]["name"], "key");
    assert_eq!(in_path["security"], json!([{}]));
    assert_eq!(at("/webhook/walker/open", "post")["security"], json!([{}]));
    assert!(!paths.contains_key("/webhook/walker/open/{node}"));
    // A walker that is not called from outside is not there.
    assert!(!answer.text.contains("/plain"));

    let query = &at("/webhook/walker/query", "get")["parameters"];
    let field =
        json!({"name": "k", "in": "query", "required": false, "schema": {"type": "string"}});
    assert_eq!(*query, json!([field]));
    let body = &at("/webhook/walker/fields", "post")["requestBody"]["content"];
    assert_eq!(body["application/json"]["schema"]["required"], json!(["a"]));
    assert!(!answer.text.contains("token-of-ann"));
}

const LIMITED: &str = r#"{"name":"limited","rate_limit_per_minute":2}"#;

#[tokio::test]
async fn a_key_has_the_limit_that_it_was_made_with() {
    let server = with("rate_limits", json!(true)).await;
    let (_, limited) = server.key(ANN, LIMITED).await;
    let (_, free) = server.key(ANN, r#"{"name":"free","rate_limit_per_minute":null}"#).await;
    for _ in 0..2 {
        assert_eq!(server.call(&limited).await.status, StatusCode::OK);
    }
    let refused = server.call(&limited).await;
    refused.refuses(429, "Too Many Requests");
    assert!(refused.header("retry-after").is_some());
    // One count for all walkers, and for this key alone.
    let elsewhere = [("x-api-key", limited.as_str())];
    let elsewhere = server.send("POST", "/webhook/walker/nothing", &elsewhere, "").await;
    assert_eq!(elsewhere.status, StatusCode::TOO_MANY_REQUESTS);
    for _ in 0..3 {
        assert_eq!(server.call(&free).await.status, StatusCode::OK);
    }
    let listed = server.keys(ANN).await;
    assert_eq!(listed[0]["rate_limit_per_minute"], 2);
    assert!(listed[1].get("rate_limit_per_minute").is_none());
    for (limit, fault) in
        [("0", "greater_than"), ("-1", "greater_than"), ("1.5", "int_type"), ("\"2\"", "int_type")]
    {
        let body = format!(r#"{{"name":"x","rate_limit_per_minute":{limit}}}"#);
        let answer = server.manage(ANN, "POST", "/webhook/generate-key", &body).await;
        answer.faults(fault, &json!(["body", "rate_limit_per_minute"]));
    }
}

#[tokio::test]
async fn without_a_setting_a_limit_is_a_member_that_is_not_known() {
    let server = Server::start().await;
    let (_, key) = server.key(ANN, r#"{"name":"a","rate_limit_per_minute":"x"}"#).await;
    for _ in 0..3 {
        assert_eq!(server.call(&key).await.status, StatusCode::OK);
    }
    assert!(server.keys(ANN).await[0].get("rate_limit_per_minute").is_none());
}

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

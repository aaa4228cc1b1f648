//! Calls of walkers.

use super::*;

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const JSON: (&str, &str) = ("content-type", "application/json");
const MULTIPART: (&str, &str) = ("content-type", "multipart/form-data; boundary=b");

async fn with_key() -> (Server, String) {
    let server = Server::start().await;
    let (_, key) = server.key(ANN, r#"{"name":"x"}"#).await;
    (server, key)
}

impl Server {
    async fn post(&self, target: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let target = format!("/webhook/walker/{target}");
        self.send("POST", &target, headers, body.to_owned()).await
    }
}

fn part(head: &str, content: &str) -> String {
    format!("--b\r\nContent-Disposition: form-data; {head}\r\n\r\n{content}\r\n")
}

#[tokio::test]
async fn the_key_is_looked_for_in_its_place_only() {
    let (server, key) = with_key().await;
    let k = key.as_str();
    let json = format!(r#"{{"k":"{k}","test-key":"{k}"}}"#);
    let bearer = format!("Bearer {k}");
    let missing = "Not authenticated";
    let headers = [("test_key", k), ("x-api-key", k), ("authorization", &bearer), ("cookie", k)];
    server.post(&format!("header?test-key={k}"), &headers, &json).await.refuses(401, missing);
    server.post(&format!("query?K={k}&k="), &[("k", k)], &json).await.refuses(401, missing);
    server.post(&format!("body?k={k}"), &[("k", k)], "").await.refuses(401, missing);
    server.post(&format!("path?k={k}"), &[("k", k)], &json).await.refuses(404, "Not Found");

    server.post("header", &[("test-key", &bearer)], "").await.refuses(401, "Unauthorized");
    server.post("header", &[("TEST-Key", k), ("test-key", "")], "").await.ok();
    server.post(&format!("query?k=&%6B={}", k.replace(':', "%3a")), &[], "").await.ok();
    server.post(&format!("path/{}", k.replace(':', "%3A")), &[], "").await.ok();
    server.post(&format!("%70ath/{k}"), &[], "").await.ok();
    server.post("body", &[], &json).await.ok();
}

impl Answer {
    #[track_caller]
    fn ok(&self) {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text);
    }
}

#[tokio::test]
async fn a_repeated_key_is_refused_before_it_is_looked_up() {
    let (server, key) = with_key().await;
    let k = key.as_str();
    for (first, second) in [(k, k), (k, "bad"), ("bad", "bad")] {
        let headers = [("test-key", first), ("test-key", second)];
        server.post("header", &headers, "").await.refuses(400, "Bad Request");
        let target = format!("query?k={first}&k={second}");
        server.post(&target, &[], "").await.refuses(400, "Bad Request");
        let form = format!("k={first}&k={second}");
        server.post("body", &[FORM], &form).await.refuses(400, "Bad Request");
        let json = format!(r#"{{"k":"{first}","\u006b":"{second}"}}"#);
        server.post("body", &[FORM], &json).await.refuses(400, "Bad Request");
        server.post("body", &[JSON], &json).await.refuses(400, "Bad Request");
    }
    let other = format!(r#"{{"k":"{k}","a":1,"a":2}}"#);
    assert_eq!(server.post("body", &[JSON], &other).await.status, StatusCode::UNAUTHORIZED);
    server
        .post("header", &[("test-key", &format!("{k}, {k}"))], "")
        .await
        .refuses(401, "Unauthorized");
    assert!(server.log().is_empty());
}

#[tokio::test]
async fn many_parameters_are_no_fault() {
    let (server, key) = with_key().await;
    let target = format!("query?{}k={key}", "a=1&".repeat(2_000));
    server
        .post(&target, &[], &"a=1&".repeat(200_000))
        .await
        .faults("json_invalid", &json!(["body", 0]));
    let form = format!("{}k={key}", "a=1&".repeat(200_000));
    server.post("body", &[FORM], &form).await.ok();
    let list = format!(r#"{{"a":[{}0],"k":"{key}"}}"#, "0,".repeat(400_000));
    server.post("body", &[JSON], &list).await.ok();
}

#[tokio::test]
async fn the_key_is_no_field() {
    let (server, key) = with_key().await;
    let reports = |fields: Value| json!({"status": 200, "reports": [fields]});
    let none = json!({"k": "none", "a": "-"});

    let json = format!(r#"{{"a":1.0,"k":"{key}"}}"#);
    let answer = server.post("body", &[], &json).await;
    assert!(answer.text.contains(r#""a":1.0,"#), "{}", answer.text);
    let form = format!("k=&k={key}&k=");
    server.post("body", &[FORM], &form).await.is(200, &reports(none.clone()));
    let key_part = part("name=\"k\"", &key);
    let file = part("name=\"k\"; filename=\"x\"", "1");
    let inside = part("name=\"body\"", r#"{"k":"","a":"-"}"#);
    let body = format!("{key_part}{file}{inside}--b--\r\n");
    server.post("body", &[MULTIPART], &body).await.is(200, &reports(none));

    // The same name elsewhere is an ordinary field.
    let answer = server.post(&format!("query?k={key}"), &[], r#"{"k":"v"}"#).await;
    answer.is(200, &reports(json!({"k": "v"})));
    let target = format!("/webhook/walker/query?k=&k={key}&a");
    let answer = server.send("GET", &target, &[], r#"{"k":"v"}"#).await;
    answer.is(200, &reports(json!({"k": "none"})));
    let headers = [("x-api-key", key.as_str())];
    let answer = server.post("fields", &headers, r#"{"a":[],"X-API-KEY":1}"#).await;
    answer.is(200, &reports(json!({"a": [], "X-API-KEY": 1})));
    // GET has its fields in the query, also where the key is in the body.
    let body = format!(r#"{{"k":"{key}","a":1}}"#);
    let answer = server.send("GET", "/webhook/walker/body?k=v&a=1", &[], body).await;
    answer.is(200, &reports(json!({"k": "v", "a": "1"})));
    assert!(server.log().iter().all(|line| !line.to_string().contains(&key)));
    assert_eq!(server.log().len(), 7);
}

#[tokio::test]
async fn a_key_may_be_called_like_the_json_part() {
    let (server, key) = with_key().await;
    let body = [part("name=\"body\"", &key), part("name=\"a\"", "1")].concat();
    let answer = server.post("part", &[MULTIPART], &format!("{body}--b--\r\n")).await;
    answer.is(200, &json!({"status": 200, "reports": [{"a": "1", "body": "none"}]}));
}

#[tokio::test]
async fn each_check_comes_before_the_next() {
    let server = Server::start().await;
    let (_, elsewhere) = server.key(ANN, r#"{"name":"1","walkers":["Header","other"]}"#).await;
    let (_, roots) = server.key(ANN, r#"{"name":"2","walkers":["fields"],"nodes":["root"]}"#).await;
    let (_, all) = server.key(ANN, r#"{"name":"3"}"#).await;
    let (_, blank) = server.key(ANN, r#"{"name":"4","walkers":[""]}"#).await;
    let (_, no_node) = server.key(ANN, r#"{"name":"5","nodes":[""]}"#).await;
    let large = "x".repeat(1024 * 1024 + 1);
    let call = async |node: &str, key: &str, body: &str| {
        server.post(&format!("fields{node}"), &[("x-api-key", key)], body).await
    };
    let node = format!("/n:Nd:{BOBS_NODE}");
    call("/unknown", "bad", &large).await.refuses(401, "Unauthorized");
    call("/unknown", &elsewhere, &large).await.refuses(403, "Forbidden");
    call("/unknown", &blank, &large).await.refuses(403, "Forbidden");
    call("/unknown", &roots, &large).await.refuses(404, "Not Found");
    call(&node, &roots, &large).await.refuses(403, "Forbidden");
    call("", &no_node, &large).await.refuses(403, "Forbidden");
    let text = format!("You don't have access on target entry n:Nd:{BOBS_NODE}!");
    call(&node, &all, &large).await.is(403, &json!({"detail": {"error": text}}));
    let text = format!("You don't have access on target entry n::{BOBS_ROOT}!");
    let root = format!("/n:root:{BOBS_ROOT}");
    call(&root, &roots, &large).await.is(403, &json!({"detail": {"error": text}}));
    assert_eq!(call("", &roots, &large).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    call("", &roots, "{").await.faults("json_invalid", &json!(["body", 1]));
    call("", &roots, "{}").await.faults("missing", &json!(["body", "a"]));
    let full = format!("{}{}", r#"{"a":1}"#, " ".repeat(1024 * 1024 - 7));
    call("", &roots, &full).await.ok();
    assert_eq!(server.log().len(), 1);
    assert_eq!(server.log()[0]["node"], format!("n::{ANNS_ROOT}"));
}

#[tokio::test]
async fn a_key_in_the_body_is_read_within_the_limit() {
    let (server, key) = with_key().await;
    let large = "x".repeat(1024 * 1024 + 1);
    let answer = server.post("body", &[], &large).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    let target = "/webhook/walker/body";
    let answer = server.send("PUT", target, &[], large.clone()).await;
    answer.refuses(405, "Method Not Allowed");
    let full = format!(r#"{{"k":"{key}"}}{}"#, " ".repeat(1024 * 1024 - key.len() - 8));
    server.post("body", &[], &full).await.ok();
    // Open walkers, those without fields and GET have the limit as well.
    for target in ["open", "open%20body", "open%2Fpath/x"] {
        let answer = server.post(target, &[], &large).await;
        assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "{target}");
    }
    let headers = [("x-api-key", key.as_str())];
    for method in ["GET", "POST"] {
        let target = "/webhook/walker/nothing";
        let answer = server.send(method, target, &headers, large.clone()).await;
        assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
        server.send(method, target, &headers, "{broken").await.is(200, &json!({"status": 200}));
    }
}

#[tokio::test]
async fn a_node_stands_between_the_walker_and_the_key_in_the_path() {
    let (server, key) = with_key().await;
    let (_, other) = server.key(BOB, r#"{"name":"x"}"#).await;
    let reported =
        |reference: &str| json!({"status": 200, "reports": [{"id": reference, "context": {}}]});
    let root = format!("n::{ANNS_ROOT}");
    let node = format!("n:Nd:{ANNS_NODE}");
    server.post(&format!("path/{key}"), &[], "").await.is(200, &reported(&root));
    for name in [&node, &format!("n:other:{ANNS_NODE}"), &format!("n%3A%3A{ANNS_NODE}")] {
        server.post(&format!("path/{name}/{key}"), &[], "").await.is(200, &reported(&node));
    }
    server.post(&format!("path/n:x:{ANNS_ROOT}/{key}"), &[], "").await.is(200, &reported(&root));
    server.post(&format!("path/zzz/{key}"), &[], "").await.refuses(404, "Not Found");
    server.post(&format!("path/zzz/{key}x"), &[], "").await.refuses(401, "Unauthorized");
    server.post(&format!("path//{key}"), &[], "").await.refuses(404, "Not Found");
    server.post(&format!("path/{key}/"), &[], "").await.refuses(404, "Not Found");
    server.post("path/%ff", &[], "").await.refuses(404, "Not Found");
    let answer = server.post(&format!("path/{node}/{other}"), &[], "").await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    let answer = server.send("GET", "/webhook/walker/path/x", &[], "").await;
    assert_eq!(answer.header("allow"), Some("POST"));
}

#[tokio::test]
async fn an_open_walker_needs_no_key() {
    let server = Server::start().await;
    let twice = [("x-api-key", "a"), ("x-api-key", "b"), ("authorization", "c")];
    server.post("open", &twice, "").await.is(200, &json!({"status": 200, "reports": [null]}));
    assert_eq!(server.log()[0], json!({"walker": "open", "node": null, "fields": {}}));
    server.post(&format!("open/n::{ANNS_ROOT}"), &[], "").await.refuses(404, "Not Found");

    let answer = server.post("open%2fpath/any%20text", &[], "").await;
    assert_eq!(answer.text, r#"{"status":200,"reports":[1]}"#);
    server.post("open%2Fpath", &[], "").await.refuses(404, "Not Found");
    server.post(&format!("open%2Fpath/n::{ANNS_ROOT}/x"), &[], "").await.refuses(404, "Not Found");

    let none = json!({"status": 200, "reports": [{"k": "none"}]});
    let target = "/webhook/walker/open%20query?k=a&k=b";
    server.send("GET", target, &[], "").await.is(200, &none);
    let parts = [part("name=\"k\"", "a"), part("name=\"k\"; filename=\"f\"", "b")].concat();
    for (header, body) in [
        (JSON, r#"{"k":"a"}"#),
        (FORM, r#"{"k":"a"}"#),
        (FORM, "k=a&k=b"),
        (MULTIPART, &format!("{parts}--b--\r\n")),
    ] {
        server.post("open%20body", &[header], body).await.is(200, &none);
    }
    let twice = server.post("open%20body", &[JSON], r#"{"k":"a","k":"b"}"#).await;
    assert_eq!(twice.json()["detail"][0]["type"], "json_invalid");
}

#[tokio::test]
async fn an_answer_has_the_walkers_status_and_nothing_of_its_error() {
    let (server, key) = with_key().await;
    let headers = [("x-api-key", key.as_str())];
    server
        .post("raises", &headers, "")
        .await
        .is(500, &json!({"errors": ["Internal Server Error"]}));
    server.post("refuses", &headers, "").await.is(401, &json!({"status": 401}));
    let answer = server.send("PUT", "/webhook/walker/forbids", &headers, "").await;
    answer.is(405, &json!({"status": 405}));
    assert_eq!(answer.header("allow"), Some("PUT, PATCH"));
    assert_eq!(server.log().len(), 3, "a walker that fails was run");
}

#[tokio::test]
async fn every_bad_key_has_the_same_answer() {
    let server = Server::start().await;
    let (id, deleted) = server.key(ANN, r#"{"name":"x"}"#).await;
    let ids = json!({ "ids": [id] }).to_string();
    server.manage(ANN, "DELETE", "/webhook/delete", &ids).await.ok();
    let (_, good) = server.key(ANN, r#"{"name":"x"}"#).await;
    let long = "x".repeat(4_000);
    let flipped = format!("{}!", &good[..good.len() - 1]);
    let text = server.call("bad").await.text;
    for key in [&deleted, &long, &flipped, &format!("{good}x"), "\u{e9}", "a b", "token-of-ann"] {
        let answer = server.call(key).await;
        answer.refuses(401, "Unauthorized");
        assert_eq!(answer.text, text);
    }
}

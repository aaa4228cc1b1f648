//! What a stack is given, and which bodies are refused.

use serde_json::json;

use super::*;

fn hook(query: &str) -> Builder {
    post(&format!("/blockstacks/hook/1{query}"))
}

async fn input(server: &Server, request: Builder, body: impl Into<Body>) -> Value {
    let answer = server.call(request.body(body.into()).unwrap()).await;
    let result = answer.result();
    assert_eq!(server.inputs(), [json!({"stack": 1, "input": result})]);
    result
}

#[tokio::test]
async fn the_envelope_always_has_four_members() {
    let server = Server::new().await;
    let empty = json!({"GET": {}, "POST": {}, "JSON": {}, "HEADERS": {}});
    assert_eq!(input(&server, hook(""), Body::empty()).await, empty);
    let answer = server.send(get("/blockstacks/hook/2?&&")).await;
    assert_eq!(answer.result(), empty);
}

#[tokio::test]
async fn fields_are_texts_or_arrays_of_texts() {
    let server = Server::new().await;
    let request = hook("?a=1&b=1&b=&b=2&c&&d=%FF+%2B&=x&Token=t&tok%65n=s&a%5B%5D=1");
    let request = request.header("content-type", "Application/X-WWW-Form-URLencoded; charset=x");
    let envelope = input(&server, request, "a=2&token=kept&b=x&token=twice&c=%zz").await;
    let get = json!({
        "a": "1", "b": ["1", "", "2"], "c": "", "d": "\u{fffd} +", "": "x", "Token": "t", "a[]": "1",
    });
    assert_eq!(envelope["GET"], get);
    let post = json!({"a": "2", "token": ["kept", "twice"], "b": "x", "c": "%zz"});
    assert_eq!(envelope["POST"], post);
    assert_eq!(envelope["JSON"], json!({}));
}

#[tokio::test]
async fn multipart_has_fields_and_files() {
    let server = Server::new().await;
    let part = |head: &str, content: &[u8]| {
        [b"--x\r\nContent-Disposition: form-data; ", head.as_bytes(), b"\r\n\r\n", content, b"\r\n"]
            .concat()
    };
    let parts = [
        part("name=a", b"1"),
        part("name=\"a\"", b"\xff"),
        part("name=token", b"kept"),
        part("name=f; filename=\"n.txt\"\r\nContent-Type: text/plain", b"four"),
        part("name=g; filename=\"\u{e9}\"", b""),
    ];
    let body = |end: &str| [&parts.concat(), end.as_bytes()].concat();
    let request = || hook("?q=1").header("content-type", "Multipart/Form-Data; boundary=x");
    let envelope = input(&server, request(), body("--x--\r\n")).await;
    let post = json!({
        "a": ["1", "\u{fffd}"],
        "token": "kept",
        "f": {"filename": "n.txt", "content_type": "text/plain", "size": 4},
        "g": {"filename": "\u{e9}", "content_type": "application/octet-stream", "size": 0},
    });
    assert_eq!(envelope["POST"], post);
    assert_eq!(envelope["GET"], json!({"q": "1"}));

    for (media, end) in [
        ("multipart/form-data; boundary=x", ""),
        ("multipart/form-data; boundary=y", "--x--\r\n"),
        ("multipart/form-data", "--x--\r\n"),
    ] {
        let request = hook("").header("content-type", media).body(Body::from(body(end))).unwrap();
        assert_eq!(server.call(request).await.refusal(), (400, 1), "{media}");
    }
    assert!(server.inputs().is_empty());
}

#[tokio::test]
async fn json_is_shown_if_it_is_an_object_that_is_labelled_as_json() {
    let server = Server::new().await;
    for (media, body, expected) in [
        ("application/json", "{\"a\":\r\n [1, null]}", Some(json!({"a": [1, null]}))),
        ("APPLICATION/Json;charset=x", "{\"token\":1}", Some(json!({"token": 1}))),
        ("application/vnd.a+json; q", "{\"a\":1}", Some(json!({"a": 1}))),
        ("application/json", "[1]", None),
        ("application/json", "5", None),
        ("application/json", "null", None),
        ("application/json", "\"{}\"", None),
        ("application/json", "", None),
        ("text/plain", "{\"a\":1}", None),
        ("text/json", "{", None),
        ("application/jsonp", "{", None),
        ("nonsense", "{", None),
        ("", "{", None),
    ] {
        let envelope = server.send_body(hook("").header("content-type", media), body).await.body;
        assert!(
            envelope.starts_with(r#"{"status":0,"result":{"GET":{},"POST":{},"JSON":{"#),
            "{envelope}"
        );
        let input = &server.inputs();
        assert_eq!(input[0]["input"]["JSON"], expected.unwrap_or(json!({})), "{media} {body}");
        assert_eq!(input[0]["input"]["HEADERS"], json!({"content-type": media}));
    }
    // A body with a GET is treated in the same way.
    let request = get("/blockstacks/hook/2").header("content-type", "application/json");
    let answer = server.send_body(request, r#"{"a":1}"#).await;
    assert_eq!(answer.result()["JSON"], json!({"a": 1}));
    let request = get("/blockstacks/hook/2").header("content-type", "application/json");
    assert_eq!(server.send_body(request, "{").await.refusal(), (400, 2));
}

#[tokio::test]
async fn json_is_read_strictly() {
    let server = Server::new().await;
    let deep =
        |open: &str, close: &str, depth: usize| open.repeat(depth) + "1" + &close.repeat(depth);
    let refused: [&[u8]; 25] = [
        b" ",
        b"{",
        b"{}x",
        b"{} {}",
        b"\xef\xbb\xbf{}",
        b"{\"a\":\"\xff\"}",
        br#"{"a":"\ud800"}"#,
        br#"{"a":"\udc00\ud800"}"#,
        b"{\"a\":NaN}",
        b"{\"a\":-Infinity}",
        b"{/**/}",
        b"{\"a\":1,}",
        b"[1,]",
        b"{'a':1}",
        b"{a:1}",
        b"{\"a\":01}",
        b"{\"a\":+1}",
        b"{\"a\":1.}",
        b"{\"a\":\"\n\"}",
        br#"{"a":1,"a":1}"#,
        br#"{"a":1,"\u0061":1}"#,
        br#"{"x":[{"":1,"":2}]}"#,
        &deep("[", "]", 129).into_bytes(),
        &deep("{\"a\":", "}", 129).into_bytes(),
        &deep("[", "]", 100_000).into_bytes(),
    ];
    for body in refused {
        let request = hook("").header("content-type", "application/json");
        let answer = server.call(request.body(Body::from(body.to_vec())).unwrap()).await;
        assert_eq!(answer.refusal(), (400, 2), "{:?}", &body[..body.len().min(20)]);
        let request = post("/blockstacks").alice().body(Body::from(body.to_vec())).unwrap();
        assert_eq!(server.call(request).await.refusal(), (400, 2));
    }
    assert!(server.inputs().is_empty());
    let request = hook("").header("content-type", "application/json");
    let accepted = server.send_body(request, &deep("{\"a\":", "}", 128)).await;
    assert_eq!(accepted.status, 200);
    assert!(accepted.body.contains(&deep("{\"a\":", "}", 128)));
}

#[tokio::test]
async fn numbers_keep_their_digits() {
    let server = Server::new().await;
    let numbers = "[12345678901234567890,123456789012345678901234567890,1e400,1.10,-0,0.0]";
    let hostile = r#"{"$serde_json::private::Number":"1","$serde_json::private::RawValue":"[]"}"#;
    let body = format!(r#"{{"n":{numbers},"h":{hostile}}}"#);
    let answer = server.send_json(hook(""), &body).await;
    assert!(answer.body.contains(&format!(r#""JSON":{body},"#)), "{}", answer.body);
    let log = std::fs::read_to_string(server.folder.join("log")).unwrap();
    assert!(log.contains(&body));

    let definition = format!(
        r#"{{"name":"n","webhook":"public","blocks":[["const",{{"value":{body}}}],["const",{{"value":{body}}}]]}}"#
    );
    let id =
        server.send_json(post("/blockstacks").alice(), &definition).await.json()["id"].to_string();
    let server = server.restarted(CONFIG).await;
    let answer = server.send(post(&format!("/blockstacks/hook/{id}"))).await;
    assert_eq!(answer.body, format!(r#"{{"status":0,"result":{body}}}"#));
    let answer = server.send(get(&format!("/blockstacks/byid/{id}")).alice()).await;
    assert!(
        answer.body.contains(&format!(r#""conversion":{{"value":{body}}}"#)),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn headers_are_joined_and_credentials_are_taken_out() {
    let server = Server::new().await;
    let latin = http::HeaderValue::from_bytes(b"caf\xe9").unwrap();
    let utf8 = http::HeaderValue::from_bytes("caf\u{e9}".as_bytes()).unwrap();
    let request = hook("?token=a&token=b")
        .header("X-Many", "1")
        .header("x-many", "2, 3")
        .header("x-latin", latin)
        .header("x-utf8", utf8)
        .header("x-empty", "")
        .header("host", "example.org")
        .header("content-encoding", "gzip")
        .header("x-webhook-token", "a")
        .header("x-webhook-token", "b")
        .header("authorization", "Bearer a")
        .header("proxy-authorization", "Basic a")
        .header("cookie", "auth_tkt=a; b=1")
        .header("content-length", "2")
        .header("connection", "keep-alive")
        .header("keep-alive", "timeout=5")
        .header("proxy-connection", "keep-alive")
        .alice();
    let envelope = input(&server, request, "{}").await;
    assert_eq!(envelope["GET"], json!({}));
    let headers = json!({
        "x-many": "1, 2, 3", "x-latin": "caf\u{e9}", "x-utf8": "caf\u{e9}", "x-empty": "", "host": "example.org",
        "content-encoding": "gzip", "proxy-connection": "keep-alive",
    });
    assert_eq!(envelope["HEADERS"], headers);
}

#[tokio::test]
async fn a_body_of_one_mebibyte_is_checked_after_the_credential() {
    let server = Server::new().await;
    let big = "x".repeat(1024 * 1024 + 1);
    let addresses = [
        (hook(""), (413, 4)),
        (post("/blockstacks/hook/3"), (401, 3)),
        (post("/blockstacks/hook/4").alice().alice(), (400, 1)),
        (post("/blockstacks/hook/4").bob(), (403, 1)),
        (post("/blockstacks/hook/5"), (404, 6)),
        (get("/blockstacks/hook/1"), (405, 1)),
        (post("/blockstacks/exec/5"), (401, 3)),
        (post("/blockstacks/exec/99").alice(), (404, 6)),
        (post("/blockstacks/exec/5").bob(), (403, 1)),
        (post("/blockstacks/exec/5").alice(), (413, 4)),
        (post("/blockstacks"), (401, 3)),
        (post("/blockstacks").alice(), (413, 4)),
        (request("PUT", "/blockstacks/99").alice(), (404, 6)),
        (request("PUT", "/blockstacks/5").bob(), (403, 1)),
        (request("PUT", "/blockstacks/5").alice(), (413, 4)),
        (post("/authenticate"), (413, 4)),
    ];
    for (request, expected) in addresses {
        let shown = format!("{request:?}");
        assert_eq!(server.send_body(request, &big).await.refusal(), expected, "{shown}");
    }
    assert!(server.inputs().is_empty());

    let answer = server.send_body(hook(""), &big[1..]).await;
    assert_eq!(answer.status, 200);
    // As many fields as fit, and as many bytes as they can become.
    let media = "application/x-www-form-urlencoded";
    for body in ["a&".repeat(512 * 1024), "\u{1}&".repeat(512 * 1024), "\u{1}".repeat(1024 * 1024)]
    {
        let answer = server.send_body(hook("").header("content-type", media), &body).await;
        assert_eq!(answer.json()["status"], 0, "{}", &answer.body[..100]);
    }
    let query = "a=1&".repeat(5_000) + "token=same-Token";
    let answer = server.send(post(&format!("/blockstacks/hook/3?{query}"))).await;
    assert_eq!(answer.result()["GET"]["a"].as_array().unwrap().len(), 5_000);
    let nodes = format!(r#"{{"a":[{}1]}}"#, "1,".repeat(500_000));
    assert_eq!(server.send_json(hook(""), &nodes).await.json()["status"], 0);
}

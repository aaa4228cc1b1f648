//! Addresses, verbs, the order of checks, running stacks.

use super::*;
use crate::rules::Address;

#[test]
fn segments_are_decoded_once_and_an_id_has_one_form() {
    let hook = |id: &str| Address::parse(&format!("/api/v1/blockstacks/hook/{id}"));
    for id in ["7", "%37"] {
        assert_eq!(hook(id), Some(Address::Hook(Some(7))), "{id}");
    }
    let texts = ["01", "+1", "-1", "1.0", "1e0", "0x1", "abc", "0", "%EF%BC%91", "1%20", "%2537"];
    for id in texts.into_iter().chain(["9223372036854775808", "1%00", "token_refresh", "1;x"]) {
        assert_eq!(hook(id), Some(Address::Hook(None)), "{id}");
    }
    let parse = Address::parse;
    assert_eq!(hook("9223372036854775807"), Some(Address::Hook(Some(i64::MAX))));
    assert_eq!(parse("/api/v1/block%73tacks"), Some(Address::Stacks));
    assert_eq!(parse("/%61pi/v1/authenticate"), Some(Address::Authenticate));
    assert_eq!(parse("/api/v1/blockstacks/12"), Some(Address::Stack(Some(12))));
    let name = Address::ByName("a/b c+é%41".to_owned());
    assert_eq!(parse("/api/v1/blockstacks/byname/a%2Fb%20c+%C3%A9%2541"), Some(name));
}

#[test]
fn what_is_no_address_is_none() {
    for path in [
        "",
        "*",
        "/",
        "/api/v1",
        "/api/v1/",
        "/api/v2/blockstacks",
        "/blockstacks",
        "/api/v1/Blockstacks",
        "/api/v1/blockstacks/",
        "/api/v1/blockstacks/hook/",
        "/api/v1/blockstacks/hook/1/",
        "/api/v1/blockstacks/hook//1",
        "/api/v1//blockstacks/hook/1",
        "//api/v1/blockstacks/hook/1",
        "/api/v1/blockstacks/./hook/1",
        "/api/v1/blockstacks/x/../hook/1",
        "/api/v1/blockstacks/byname/",
        "/api/v1/blockstacks/byname/a/b",
        "/api/v1/blockstacks/byname/%FF",
        "/api/v1/blockstacks/hook/token_refresh/",
        "/api/v1/blockstacks/hook/token_refresh/3/",
        "/api/v1/authenticate/",
        "/api/v1%2Fauthenticate",
        "/api/v1/authenticate%2F",
    ] {
        assert_eq!(Address::parse(path), None, "{path}");
    }
}

#[tokio::test]
async fn unknown_and_unoffered_hooks_are_one_for_every_verb() {
    let server = Server::new().await;
    let unknown = server.send(post("/blockstacks/hook/99")).await;
    assert_eq!(unknown.refusal(), (404, 6));
    assert_eq!(unknown.json()["msg"], "The specified object does not exist.");
    for path in ["/blockstacks/hook/5", "/blockstacks/hook/abc", "/nope", "/blockstacks/hook/1/"] {
        for method in ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "post"] {
            // For every caller, any number of times.
            let request = request(method, path).alice().alice().header("x-webhook-token", "a");
            let answer = server.send(request).await;
            assert_eq!((answer.status, &answer.body), (404, &unknown.body), "{method} {path}");
            assert_eq!(answer.headers, unknown.headers);
        }
    }
    assert!(server.inputs().is_empty());
}

#[tokio::test]
async fn a_hook_has_one_verb_which_is_judged_before_the_credential() {
    let server = Server::new().await;
    for (id, verb) in [(1, "POST"), (2, "GET"), (3, "POST"), (4, "POST")] {
        let methods =
            ["GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "post", "get", "PROPFIND"];
        for method in methods.into_iter().filter(|method| *method != verb) {
            let request = request(method, &format!("/blockstacks/hook/{id}?token=a&token=b"));
            let answer = server.send(request.alice().bob()).await;
            assert_eq!((answer.status, answer.headers["allow"].as_bytes()), (405, verb.as_bytes()));
            if method == "HEAD" {
                assert_eq!(answer.body, "");
            } else {
                assert_eq!(answer.code(), 1);
            }
        }
    }
    assert!(server.inputs().is_empty());
}

#[tokio::test]
async fn every_address_has_its_verbs() {
    let server = Server::new().await;
    let served = [
        ("/blockstacks/exec/5", vec!["GET", "POST"]),
        ("/blockstacks/exec/99", vec!["GET", "POST"]),
        ("/blockstacks/hook/token_refresh/3", vec!["GET", "POST"]),
        ("/blockstacks", vec!["GET", "POST"]),
        ("/blockstacks/byid/1", vec!["GET"]),
        ("/blockstacks/byname/token", vec!["GET"]),
        ("/blockstacks/1", vec!["PUT"]),
        ("/authenticate", vec!["POST"]),
    ];
    for (path, verbs) in served {
        for method in ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "get"] {
            if !verbs.contains(&method) {
                let answer = server.send(request(method, path).alice().alice()).await;
                assert_eq!(answer.status, 405, "{method} {path}");
                assert_eq!(answer.headers["allow"], verbs.join(", "));
            }
        }
    }
    assert!(server.inputs().is_empty());
}

#[tokio::test]
async fn blocks_hand_on_their_output_and_a_failure_ends_the_stack() {
    let server = Server::new().await;

    let answer = server.send_json(post("/blockstacks/hook/6"), "{}").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"status":1,"err":"bo\"om"}"#));
    assert_eq!(answer.headers["content-type"], "application/json");
    let answer = server.send(get("/blockstacks/exec/6").alice()).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"error":"bo\"om"}"#));
    let answer = server.send(get("/blockstacks/exec/5").alice()).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"success":[51,52]}"#));
    let token = server.token(10).await;
    let answer = server.send(post("/blockstacks/hook/10").header("x-webhook-token", token)).await;
    assert_eq!(answer.body, r#"{"status":0,"result":null}"#);
    let stacks: Vec<_> = server.inputs().iter().map(|input| input["stack"].as_u64()).collect();
    assert_eq!(stacks, [Some(6), Some(6), Some(5), Some(10)]);
}

#[tokio::test]
async fn exec_checks_user_stack_owner_and_body_in_this_order() {
    let server = Server::new().await;
    let path = |id: &str| format!("/blockstacks/exec/{id}");
    for id in ["5", "99", "abc"] {
        assert_eq!(server.send_json(post(&path(id)), "{").await.refusal(), (401, 3));
        let answer = server.send_json(post(&path(id)).basic("alice:wrong"), "{").await;
        assert_eq!(answer.refusal(), (401, 3));
        let answer = server.send_json(post(&path(id)).alice().alice(), "{").await;
        assert_eq!(answer.refusal(), (400, 1));
    }
    for id in ["99", "abc", "01"] {
        let answer = server.send_json(post(&path(id)).alice(), "{").await;
        assert_eq!(answer.refusal(), (404, 6));
    }
    assert_eq!(server.send_json(post(&path("5")).bob(), "{").await.refusal(), (403, 1));
    assert_eq!(server.send_json(post(&path("5")).alice(), "{").await.refusal(), (400, 2));
    // The token of the hook is no credential here.
    let request = post("/blockstacks/exec/3").header("x-webhook-token", "same-Token");
    assert_eq!(server.send(request).await.refusal(), (401, 3));
    assert!(server.inputs().is_empty());

    // Any stack of the owner, with the envelope of a hook.
    let request = post("/blockstacks/exec/3?a=1&token=x&token=y").header("x-webhook-token", "a");
    let request = request.header("x-webhook-token", "b").header("x-own", "1").alice();
    let answer = server.send_json(request, r#"{"token": 1}"#).await;
    assert_eq!(answer.body, r#"{"success":[31]}"#);
    let input = &server.inputs()[0]["input"];
    assert_eq!(input["GET"], serde_json::json!({"a": "1"}));
    assert_eq!(input["JSON"], serde_json::json!({"token": 1}));
    let headers = serde_json::json!({"content-type": "application/json", "x-own": "1"});
    assert_eq!(input["HEADERS"], headers);
}

//! What is shown of stacks, how they are made and changed, and their tokens.

use serde_json::json;
use tokio::task::JoinSet;

use super::*;

fn put(id: u64) -> Builder {
    request("PUT", &format!("/blockstacks/{id}"))
}

fn page_of(ids: impl IntoIterator<Item = u64>) -> Vec<Value> {
    ids.into_iter().map(Value::from).collect()
}

fn ids(list: &Value) -> Vec<Value> {
    list["stacks"].as_array().unwrap().iter().map(|stack| stack["id"].clone()).collect()
}

#[tokio::test]
async fn the_owner_sees_everything_and_others_the_outline() {
    let server = Server::new().await;
    let owners = json!({
        "id": 3, "owner": 101, "name": "token", "webhook": "token", "webhook_method": "POST",
        "webhook_token": "same-Token", "jobs": [],
        "blocks": [{"id": 31, "type": "echo", "conversion": {}, "state": {"input": {}, "output": {}}}],
    });
    let others = json!({
        "id": 3, "owner": 101, "name": "token", "webhook": "token", "webhook_method": "POST",
        "blocks": [{"id": 31, "type": "echo"}],
    });
    let answer = server.send(get("/blockstacks/byid/3").alice()).await;
    assert_eq!(answer.json(), owners);
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert_eq!(answer.headers["content-type"], "application/json");
    for request in [get("/blockstacks/byid/3"), get("/blockstacks/byid/3").bob()] {
        assert_eq!(server.send(request).await.json(), others);
    }
    let stack = server.stack(5).await;
    let nothing = [&stack["webhook"], &stack["webhook_method"], &stack["webhook_token"]];
    assert_eq!(nothing, [&Value::Null; 3]);
    let stack = server.stack(6).await;
    assert_eq!(stack["blocks"][1]["conversion"], json!({"message": "bo\"om"}));
    // A token that there is none of is no `Cache-Control` either way.
    assert_eq!(server.stack(4).await["webhook_token"], Value::Null);
}

#[tokio::test]
async fn a_private_stack_is_for_its_owner() {
    let server = Server::new().await;
    for path in ["/blockstacks/byid/8", "/blockstacks/byname/name%2Fof%20bob"] {
        assert_eq!(server.send(get(path)).await.refusal(), (401, 3));
        assert_eq!(server.send(get(path).alice()).await.refusal(), (403, 1));
        assert_eq!(server.send(get(path).bob()).await.json()["id"], 8);
    }
    let unknown =
        ["/byid/99", "/byid/abc", "/byid/01", "/byname/x", "/byname/Token", "/byname/name"];
    for path in unknown {
        let path = format!("/blockstacks{path}");
        assert_eq!(server.send(get(&path)).await.refusal(), (404, 6));
        assert_eq!(server.send(get(&path).alice()).await.refusal(), (404, 6));
    }
}

#[tokio::test]
async fn of_several_stacks_of_one_name_the_callers_own_comes_first() {
    let server = Server::new().await;
    let id = |answer: Answer| answer.json()["id"].clone();
    let path = "/blockstacks/byname/token";
    assert_eq!(id(server.send(get(path)).await), 3);
    assert_eq!(id(server.send(get(path).alice()).await), 3);
    assert_eq!(id(server.send(get(path).bob()).await), 7);
    assert_eq!(id(server.send(get(path).basic("carol:pä:ss wörd")).await), 3);
    // A private one of the caller comes before a public one.
    let body = r#"{"name":"public post","blocks":[["echo",{}]]}"#;
    let own = id(server.send_json(post("/blockstacks").bob(), body).await);
    let path = "/blockstacks/byname/public%20post";
    assert_eq!(id(server.send(get(path).bob()).await), own);
    assert_eq!(id(server.send(get(path)).await), 1);
}

#[tokio::test]
async fn lists_have_pages_of_25() {
    let server = Server::new().await;
    let list = server.send(get("/blockstacks")).await;
    assert_eq!(ids(&list.json()), page_of([1, 3, 7]));
    assert!(!list.body.contains("webhook_token") && !list.body.contains("secret of bob"));
    let list = server.send(get("/blockstacks?page=1").bob()).await;
    assert_eq!(ids(&list.json()), page_of([1, 3, 7, 8]));
    assert_eq!(list.json()["stacks"][2]["webhook_token"], "other é, token");
    assert_eq!(list.json()["stacks"][1].get("webhook_token"), None);
    assert_eq!(list.headers["cache-control"], "no-store");

    for number in 0..45 {
        let body = format!(r#"{{"name":"n{number}","blocks":[["echo",{{}}]]}}"#);
        assert_eq!(server.send_json(post("/blockstacks").alice(), &body).await.status, 200);
    }
    let page = async |page: &str| server.send(get(&format!("/blockstacks?{page}")).alice()).await;
    let first = page("a=b&p%61ge=1").await.json();
    let head = [&first["count"], &first["pagesize"], &first["page"]];
    assert_eq!(head, [&json!(53), &json!(25), &json!(1)]);
    assert_eq!(ids(&first), page_of((1..8).chain([10]).chain(11..28)));
    let third = page("page=3").await.json();
    assert_eq!((ids(&third).len(), &third["count"]), (3, &json!(53)));
    for huge in ["4", "9223372036854775807", "123456789012345678901234567890"] {
        let answer = page(&format!("page={huge}")).await;
        assert!(answer.body.contains(&format!(r#""page":{huge},"#)), "{}", answer.body);
        assert_eq!(answer.json()["stacks"], json!([]));
    }
    for bad in ["0", "", "-1", "+1", "%2B1", "1.0", "1e1", "x", "01", "%20", "1&page=1", "%D9%A1"] {
        assert_eq!(page(&format!("page={bad}")).await.refusal(), (400, 1), "{bad}");
    }
    assert_eq!(page("page").await.refusal(), (400, 1));
}

#[tokio::test]
async fn a_malformed_definition_is_refused_and_changes_nothing() {
    let server = Server::new().await;
    let before = server.stack(1).await;
    let members = [
        (r#""name":"""#, 4),
        (r#""name":null"#, 4),
        (r#""name":["x"]"#, 4),
        (r#""blocks":[]"#, 4),
        (r#""blocks":null"#, 4),
        (r#""blocks":{}"#, 4),
        (r#""blocks":["echo"]"#, 4),
        (r#""blocks":[[]]"#, 4),
        (r#""blocks":[["echo"]]"#, 4),
        (r#""blocks":[["echo",[]]]"#, 4),
        (r#""blocks":[["echo",null]]"#, 4),
        (r#""blocks":[["echo",{"a":1}]]"#, 4),
        (r#""blocks":[["echo",{"value":1}]]"#, 4),
        (r#""blocks":[["echo",{},{},{}]]"#, 4),
        (r#""blocks":[["echo",{},null]]"#, 4),
        (r#""blocks":[["echo",{},[]]]"#, 4),
        (r#""blocks":[["echo",{},{"x":1}]]"#, 4),
        (r#""blocks":[["echo",{},{"name":1}]]"#, 4),
        (r#""blocks":[["echo",{},{"state":1}]]"#, 4),
        (r#""blocks":[[1,{}]]"#, 4),
        (r#""blocks":[["const",{}]]"#, 4),
        (r#""blocks":[["const",{"value":1,"message":"m"}]]"#, 4),
        (r#""blocks":[["fail",{}]]"#, 4),
        (r#""blocks":[["fail",{"message":1}]]"#, 4),
        (r#""blocks":[["fail",{"message":null}]]"#, 4),
        (r#""blocks":[["echo",{}],["fail",{"message":"m"}],["Echo",{}]]"#, 22),
        (r#""blocks":[["twitter",{"query":"x"}]]"#, 22),
        (r#""blocks":[["",{}]]"#, 22),
        (r#""webhook":"bogus""#, 4),
        (r#""webhook":"Public""#, 4),
        (r#""webhook":"""#, 4),
        (r#""webhook":true"#, 4),
        (r#""webhook":{"public":null}"#, 4),
        (r#""webhook_method":"post""#, 4),
        (r#""webhook_method":"PUT""#, 4),
        (r#""webhook_method":null"#, 4),
        (r#""webhook_method":["POST"]"#, 4),
        (r#""enabled":null"#, 4),
        (r#""enabled":1"#, 4),
        (r#""needs_approval":"true""#, 4),
        (r#""schedule_id":1"#, 4),
        (r#""webhook_token":"mine-mine-mine-mine-mine""#, 4),
        (r#""webhook_token":null"#, 4),
        (r#""id":5"#, 4),
        (r#""owner":101"#, 4),
        (r#""public":true"#, 4),
        (r#""Name":"x""#, 4),
        (r#""$serde_json::private::RawValue":"x""#, 4),
    ];
    for (member, code) in members {
        let answer = server.send_json(put(1).alice(), &format!("{{{member}}}")).await;
        assert_eq!(answer.refusal(), (400, code), "{member}");
        let whole = match member.split_once(':').unwrap().0 {
            r#""name""# => format!(r#"{{"blocks":[["echo",{{}}]],{member}}}"#),
            r#""blocks""# => format!(r#"{{"name":"new",{member}}}"#),
            _ => format!(r#"{{"name":"new","blocks":[["echo",{{}}]],{member}}}"#),
        };
        let answer = server.send_json(post("/blockstacks").alice(), &whole).await;
        assert_eq!(answer.refusal(), (400, code), "{whole}");
    }
    for body in ["[]", "5", "null", r#"["new",[["echo",{}]]]"#] {
        assert_eq!(server.send_json(put(1).alice(), body).await.refusal(), (400, 4));
        assert_eq!(server.send_json(post("/blockstacks").alice(), body).await.refusal(), (400, 4));
    }
    for body in [r#"{"name":"new"}"#, r#"{"blocks":[["echo",{}]]}"#, "{}"] {
        assert_eq!(server.send_json(post("/blockstacks").alice(), body).await.refusal(), (400, 4));
    }
    for (media, body) in [("text/plain", "{}"), ("application/json", ""), ("application/json", "{")]
    {
        let request = |request: Builder| request.alice().header("content-type", media);
        assert_eq!(server.send_body(request(put(1)), body).await.refusal(), (400, 2));
        assert_eq!(server.send_body(request(post("/blockstacks")), body).await.refusal(), (400, 2));
    }
    // A name that is taken, beside a change that would do.
    let taken = r#"{"webhook":"token","webhook_method":"GET","name":"token"}"#;
    assert_eq!(server.send_json(put(1).alice(), taken).await.refusal(), (409, 10));
    assert_eq!(server.stack(1).await, before);
    assert_eq!(server.send(get("/blockstacks").alice()).await.json()["count"], 8);
    // No caller learns about bodies.
    for body in ["{", "[]", "{}"] {
        assert_eq!(server.send_json(post("/blockstacks"), body).await.refusal(), (401, 3));
        assert_eq!(server.send_json(put(1), body).await.refusal(), (401, 3));
        assert_eq!(server.send_json(put(99), body).await.refusal(), (401, 3));
        assert_eq!(server.send_json(put(99).alice(), body).await.refusal(), (404, 6));
        assert_eq!(server.send_json(put(1).bob(), body).await.refusal(), (403, 1));
    }
}

#[tokio::test]
async fn a_new_stack_is_private_and_has_what_was_asked_for() {
    let server = Server::new().await;
    let body = r#"{"name":"é\u0000\"","blocks":[["echo",{},{"name":"n","state":{"input":1}}],["const",{"value":null},{}],
        ["fail",{"message":""}]],"webhook":null,"enabled":false,"needs_approval":true,"schedule_id":null}"#;
    let answer = server.send_body(post("/blockstacks").alice(), body).await;
    let id = answer.json()["id"].as_u64().unwrap();
    assert_eq!(answer.body, format!(r#"{{"id":{id}}}"#));
    let path = format!("/blockstacks/byid/{id}");
    assert_eq!(server.send(get(&path)).await.status, 401);
    let stack = server.send(get(&path).alice()).await.json();
    assert_eq!((&stack["name"], &stack["owner"]), (&json!("é\0\""), &json!(101)));
    let blocks = stack["blocks"].as_array().unwrap();
    let types: Vec<_> = blocks.iter().map(|block| &block["type"]).collect();
    assert_eq!(types, ["echo", "const", "fail"]);
    assert_eq!(blocks[1]["conversion"], json!({"value": null}));
    let numbers: std::collections::HashSet<_> =
        blocks.iter().map(|block| block["id"].as_u64()).collect();
    assert_eq!(numbers.len(), 3);
    let change = server.send_json(put(id).alice(), "{}").await.json();
    assert_eq!((&change["needs_approval"], &change["is_approved"]), (&json!(true), &json!(false)));

    // The name is taken for this owner alone.
    assert_eq!(server.send_body(post("/blockstacks").alice(), body).await.refusal(), (409, 10));
    assert_eq!(server.send_body(post("/blockstacks").bob(), body).await.status, 200);
    assert_eq!(server.send_json(put(id).alice(), r#"{"name":"\u00e9\u0000\""}"#).await.status, 200);
}

#[tokio::test]
async fn a_change_touches_what_it_names() {
    let server = Server::new().await;
    let change = server.send_json(put(3).alice(), r#"{"webhook":null}"#).await;
    let expected = json!({
        "id": 3, "owner": 101, "name": "token", "is_approved": true, "needs_approval": false, "webhook": null,
        "webhook_method": "POST", "webhook_token": "same-Token", "instances": [31], "jobs": [],
    });
    assert_eq!(change.json(), expected);
    assert_eq!(change.headers["cache-control"], "no-store");
    let call = || post("/blockstacks/hook/3").header("x-webhook-token", "same-Token");
    assert_eq!(server.send(call()).await.status, 404);
    for mode in ["public", "user", "token"] {
        let change = server.send_json(put(3).alice(), &format!(r#"{{"webhook":"{mode}"}}"#)).await;
        assert_eq!(change.json()["webhook_token"], "same-Token");
    }
    assert_eq!(server.send(call()).await.status, 200);

    let body =
        r#"{"name":"renamed","webhook_method":"GET","blocks":[["const",{"value":1}],["echo",{}]]}"#;
    let change = server.send_json(put(3).alice(), body).await.json();
    assert_eq!(change["instances"].as_array().unwrap().len(), 2);
    assert_ne!(change["instances"][0], 31);
    let call = get("/blockstacks/hook/3").header("x-webhook-token", "same-Token");
    assert_eq!(server.send(call).await.result(), 1);
    let answer = server.send(get("/blockstacks/exec/3").alice()).await;
    assert_eq!(answer.json()["success"], change["instances"]);

    // The first mode brings a method, and the mode `token` a token.
    let change = server.send_json(put(5).alice(), r#"{"webhook":"public"}"#).await.json();
    assert_eq!(
        (&change["webhook_method"], &change["webhook_token"]),
        (&json!("POST"), &Value::Null)
    );
    let change = server.send_json(put(5).alice(), r#"{"webhook":"token"}"#).await.json();
    let token = change["webhook_token"].as_str().unwrap();
    assert!(token.len() >= 22 && token.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    assert_eq!(server.token(5).await, token);
    let call = post("/blockstacks/hook/5").header("x-webhook-token", token);
    assert_eq!(server.send(call).await.status, 200);
    assert_ne!(server.token(10).await, token);
}

#[tokio::test]
async fn a_refresh_is_for_the_owner_in_every_mode() {
    let server = Server::new().await;
    let path = |id: &str| format!("/blockstacks/hook/token_refresh/{id}");
    for id in ["3", "99", "abc"] {
        assert_eq!(server.send(get(&path(id))).await.refusal(), (401, 3));
        assert_eq!(server.send(get(&path(id)).alice().alice()).await.refusal(), (400, 1));
    }
    assert_eq!(server.send(get(&path("99")).alice()).await.refusal(), (404, 6));
    assert_eq!(server.send(get(&path("01")).alice()).await.refusal(), (404, 6));
    assert_eq!(server.send(get(&path("3")).bob()).await.refusal(), (403, 1));
    let by_token = get(&path("3")).header("x-webhook-token", "same-Token");
    assert_eq!(server.send(by_token).await.refusal(), (401, 3));
    assert_eq!(server.token(3).await, "same-Token");

    for (method, id) in [("GET", 3), ("POST", 3), ("GET", 4), ("POST", 5), ("GET", 10)] {
        let answer = server.send_json(request(method, &path(&id.to_string())).alice(), "{").await;
        assert_eq!(answer.headers["cache-control"], "no-store");
        let token = server.token(id).await;
        assert_eq!(answer.body, format!(r#"{{"token":"{token}"}}"#));
        assert_eq!(token.len(), 43);
    }
    let call = |token: &str| post("/blockstacks/hook/3").header("x-webhook-token", token);
    assert_eq!(server.send(call("same-Token")).await.refusal(), (401, 3));
    assert_eq!(server.send(call(&server.token(3).await)).await.status, 200);
}

#[tokio::test]
async fn of_racing_refreshes_exactly_one_token_works() {
    let server = std::sync::Arc::new(Server::new().await);
    // 3 has a token, 4 has had none, 10 will have one that no caller has seen.
    for (id, mode) in [(3, "token"), (4, "user"), (10, "token")] {
        let mut calls = JoinSet::new();
        for _ in 0..20 {
            let server = std::sync::Arc::clone(&server);
            calls.spawn(async move {
                let refresh = get(&format!("/blockstacks/hook/token_refresh/{id}")).alice();
                let answer = server.send(refresh).await.json();
                let shown = server.token(id).await;
                (answer["token"].as_str().unwrap().to_owned(), shown)
            });
        }
        let (tokens, shown): (Vec<_>, Vec<_>) = calls.join_all().await.into_iter().unzip();
        let distinct: std::collections::HashSet<_> = tokens.iter().collect();
        assert_eq!(distinct.len(), 20);
        // Every token that the owner was shown is one that a refresh has answered with.
        assert!(shown.iter().all(|token| distinct.contains(token)));
        server.send_json(put(u64::from(id)).alice(), r#"{"webhook":"token"}"#).await;
        let current = server.token(id).await;
        for token in &tokens {
            let call = post(&format!("/blockstacks/hook/{id}")).header("x-webhook-token", token);
            let expected = if *token == current { 200 } else { 401 };
            assert_eq!(server.send(call).await.status, expected, "{mode}");
        }
        assert!(tokens.contains(&current));
    }
}

#[tokio::test]
async fn of_racing_changes_to_one_name_exactly_one_succeeds() {
    let server = std::sync::Arc::new(Server::new().await);
    let mut calls = JoinSet::new();
    for number in 0..20 {
        let server = std::sync::Arc::clone(&server);
        calls.spawn(async move {
            let create = r#"{"name":"one","blocks":[["echo",{}]],"webhook":"token"}"#;
            if number % 2 == 0 {
                server.send_json(post("/blockstacks").alice(), create).await.status
            } else {
                let id = [1, 2, 3, 4, 5][number / 2 % 5];
                server.send_json(put(id).alice(), r#"{"name":"one"}"#).await.status
            }
        });
    }
    let statuses = calls.join_all().await;
    assert!(statuses.iter().all(|status| matches!(status, 200 | 409)));
    // The winner of a change may win twice: its second change changes nothing.
    let list = server.send(get("/blockstacks").alice()).await.json();
    let named = list["stacks"].as_array().unwrap().iter().filter(|stack| stack["name"] == "one");
    assert_eq!(named.count(), 1);
    assert!(statuses.iter().filter(|status| **status == 200).count() <= 2);
}

#[tokio::test]
async fn simultaneous_first_looks_see_one_token() {
    let server = std::sync::Arc::new(Server::new().await);
    let mut calls = JoinSet::new();
    for _ in 0..20 {
        let server = std::sync::Arc::clone(&server);
        calls.spawn(async move { server.token(10).await });
    }
    let tokens: std::collections::HashSet<_> = calls.join_all().await.into_iter().collect();
    assert_eq!(tokens.len(), 1);
}

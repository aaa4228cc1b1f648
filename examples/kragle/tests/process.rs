//! The configuration, the data folder, and what outlives a restart.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use super::*;

#[test]
fn a_configuration_that_contradicts_itself_is_refused() {
    assert!(Config::parse(CONFIG).is_ok());
    assert!(Config::parse(include_str!("../demo.json")).is_ok());
    let user = r#"{"id":1,"username":"a","email":"a@x","password":"hidden"}"#;
    let stack = r#"{"id":1,"owner":1,"name":"s","blocks":[{"id":1,"type":"echo"}]}"#;
    let config = |users: &str, stacks: &str| {
        Config::parse(&format!(r#"{{"users":[{users}],"stacks":[{stacks}]}}"#)).map(drop)
    };
    assert!(config(user, stack).is_ok());
    assert!(config(user, "").is_ok());
    let edited = |from: &str, to: &str| {
        assert!(stack.contains(from), "{from}");
        config(user, &stack.replace(from, to))
    };
    let with = |member: &str| edited(r#""owner":1"#, &format!(r#""owner":1,{member}"#));
    for member in [
        r#""webhook":null,"webhook_method":null,"webhook_token":null"#,
        r#""webhook":"token","webhook_method":"GET","webhook_token":"x""#,
        r#""public":false"#,
    ] {
        assert!(with(member).is_ok(), "{member}");
    }
    let also = |other: &str| config(&format!("{user},{other}"), stack);
    let two = |other: &str| config(user, &format!("{stack},{other}"));
    assert!(also(r#"{"id":2,"username":"b","email":"b@x","password":"hidden"}"#).is_ok());
    assert!(
        two(&stack.replace(r#""id":1,"owner""#, r#""id":2,"owner""#).replace(r#""s""#, r#""t""#))
            .is_ok()
    );
    let refused = [
        also(r#"{"id":1,"username":"b","email":"b@x","password":"hidden"}"#),
        also(r#"{"id":2,"username":"a","email":"b@x","password":"hidden"}"#),
        also(r#"{"id":2,"username":"b","email":"a@x","password":"hidden"}"#),
        also(r#"{"id":2,"username":"a@x","email":"b@x","password":"hidden"}"#),
        also(r#"{"id":2,"username":"b","email":"b@x"}"#),
        also(r#"{"id":2,"username":"b","email":"b@x","password":7471}"#),
        also(r#"{"id":2,"username":"b","email":"b@x","password":"hidden","x":1}"#),
        also(r#"{"id":0,"username":"b","email":"b@x","password":"hidden"}"#),
        two(&stack.replace(r#""s""#, r#""t""#)),
        two(&stack.replace(r#""id":1,"owner""#, r#""id":2,"owner""#)),
        edited(r#""owner":1"#, r#""owner":2"#),
        edited(r#""owner":1"#, r#""owner":"1""#),
        edited(r#""name":"s""#, r#""name":"""#),
        edited(r#""echo""#, r#""twitter""#),
        edited(r#""echo""#, r#""const""#),
        edited(r#""echo""#, r#""echo","message":"m""#),
        edited(r#"{"id":1,"type":"echo"}"#, ""),
        edited(r#"{"id":1,"type":"echo"}"#, r#"["echo",{}]"#),
        with(r#""webhook":"bogus""#),
        with(r#""webhook_method":"PUT""#),
        with(r#""webhook_token":"""#),
        with(r#""webhook_token":5"#),
        with(r#""public":null"#),
        with(r#""x":1"#),
        with(r#""name":"twice""#),
        config(&format!("{user},"), stack),
        Config::parse("").map(drop),
        Config::parse("[]").map(drop),
        Config::parse("{}").map(drop),
    ];
    for (index, refused) in refused.into_iter().enumerate() {
        let text = refused.expect_err(&index.to_string()).to_string();
        assert!(!text.contains("hidden") && !text.contains("7471"), "{text}");
    }
}

#[tokio::test]
async fn the_store_wins_over_the_configuration() {
    let server = Server::new().await;
    let generated = server.token(10).await;
    let refresh = server.send(get("/blockstacks/hook/token_refresh/3").alice()).await.json();
    let change = r#"{"name":"renamed","webhook":"user","blocks":[["const",{"value":2}]]}"#;
    server.send_json(request("PUT", "/blockstacks/1").alice(), change).await;
    let body = r#"{"name":"new","blocks":[["echo",{}]],"webhook":"token"}"#;
    let new =
        server.send_json(post("/blockstacks").alice(), body).await.json()["id"].as_u64().unwrap();
    let new = u32::try_from(new).unwrap();
    let before = (server.stack(1).await, server.stack(3).await, server.stack(new).await);

    // Users are read at every start.
    let config = CONFIG.replace("\"builder\"", "\"rebuilt\"").replace("same-Token", "another");
    let server = server.restarted(&config).await;

    assert_eq!((server.stack(1).await, server.stack(3).await, server.stack(new).await), before);
    assert_eq!(server.token(10).await, generated);
    assert_eq!(before.1["webhook_token"], refresh["token"]);
    for old in ["same-Token", "another"] {
        let call = post("/blockstacks/hook/3").header("x-webhook-token", old);
        assert_eq!(server.send(call).await.refusal(), (401, 3));
    }
    let call = post("/blockstacks/hook/3").header("x-webhook-token", server.token(3).await);
    assert_eq!(server.send(call).await.status, 200);
    assert_eq!(server.send(get("/blockstacks").bob()).await.refusal(), (401, 3));
    assert_eq!(server.send(get("/blockstacks").basic("bob:rebuilt")).await.status, 200);
    // Numbers are not given twice.
    let body = r#"{"name":"newer","blocks":[["echo",{}]]}"#;
    let newer = server.send_json(post("/blockstacks").alice(), body).await.json();
    assert_eq!(newer, json!({"id": new + 1}));
    let newest = server.stack(new + 1).await["blocks"][0]["id"].clone();
    assert!(newest.as_u64() > before.2["blocks"][0]["id"].as_u64());
}

#[tokio::test]
async fn an_import_that_was_cut_short_begins_again() {
    let server = Server::new().await;
    let stacks = server.folder.join("data/stacks.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&stacks);
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    // The tokens are there, and the transaction with the stacks was not.
    for statement in ["DELETE FROM stacks", "DELETE FROM next_block"] {
        sqlx::query(statement).execute(&pool).await.unwrap();
    }
    pool.close().await;

    let server = server.restarted(&CONFIG.replace("same-Token", "another")).await;

    assert_eq!(server.token(3).await, "another");
    let call = |token| post("/blockstacks/hook/3").header("x-webhook-token", token);
    assert_eq!(server.send(call("another")).await.status, 200);
    assert_eq!(server.send(call("same-Token")).await.status, 401);
}

#[tokio::test]
async fn no_secret_lies_in_the_data_folder() {
    let server = Server::new().await;
    let login = r#"{"username":"alice","password":"wonderland"}"#;
    let login = server.send_json(post("/authenticate"), login).await;
    let ticket = login.headers["set-cookie"].to_str().unwrap()[9..60].to_owned();
    let generated = server.token(10).await;
    let refreshed = server.send(get("/blockstacks/hook/token_refresh/7").bob()).await.json();
    let refreshed = refreshed["token"].as_str().unwrap();
    let secrets =
        ["same-Token", "other é, token", "wonderland", "builder", &generated, refreshed, &ticket];

    let mut files = 0;
    for file in std::fs::read_dir(server.folder.join("data")).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{file:?}");
        let bytes = std::fs::read(file.path()).unwrap();
        files += 1;
        for secret in secrets {
            let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
            let base64 = STANDARD.encode(secret);
            for form in [secret, &hex, &hex.to_uppercase(), base64.trim_end_matches('=')] {
                assert!(
                    !bytes.windows(form.len()).any(|window| window == form.as_bytes()),
                    "{form}"
                );
            }
        }
    }
    assert!(files >= 4);
}

#[tokio::test]
async fn a_refusal_is_the_same_text_in_every_situation() {
    let server = Server::new().await;
    let answer = server.send(post("/blockstacks/hook/3?token=a&token=b")).await;
    let expected = json!({
        "title": "Bad Request", "status": 400, "code": 1,
        "msg": "You have made a bad request - Please check your query params and try again.",
    });
    assert_eq!(answer.json(), expected);
    assert!(!answer.headers.contains_key("set-cookie"));
    let one = server.send(get("/blockstacks/exec/5").bob()).await;
    let two = server.send(get("/blockstacks/byid/8").alice()).await;
    let three = server.send_json(request("PUT", "/blockstacks/9").alice(), "{}").await;
    assert!(one.status == 403 && one.body == two.body && two.body == three.body);
}

//! Tokens, users, logins.

use super::*;

fn token_hook(query: &str) -> Builder {
    post(&format!("/blockstacks/hook/3{query}"))
}

#[tokio::test]
async fn a_token_has_three_carriers_and_no_other() {
    let server = Server::new().await;
    let good = [
        token_hook("").header("x-webhook-token", "same-Token"),
        token_hook("").header("X-WEBHOOK-TOKEN", "  same-Token "),
        token_hook("").header("authorization", "Bearer same-Token"),
        token_hook("").header("authorization", "bEARER same-Token"),
        token_hook("?token=same-Token"),
        token_hook("?a=1&%74oken=same%2DToken"),
        // Empty ones are absent.
        token_hook("?token=&token").header("x-webhook-token", "same-Token"),
        token_hook("?token=same-Token")
            .header("x-webhook-token", "")
            .header("authorization", "Bearer"),
        // A user credential is no carrier.
        token_hook("?token=same-Token").alice(),
        token_hook("?token=same-Token").header("cookie", "auth_tkt=a; auth_tkt=b"),
    ];
    for request in good {
        let shown = format!("{request:?}");
        let answer = server.send(request).await;
        assert!(!format!("{:?}", answer.result()).contains("same-Token"), "{shown}");
    }
    assert_eq!(server.inputs().len(), 10);

    let missing = server.send(token_hook("")).await;
    assert_eq!(missing.refusal(), (401, 3));
    let mut challenges = missing.headers.get_all("www-authenticate").iter();
    assert!(challenges.any(|challenge| challenge.as_bytes().starts_with(b"Bearer ")));
    let bad = [
        token_hook("?Token=same-Token"),
        token_hook("?token%20=same-Token"),
        token_hook("?token=").header("authorization", "Token same-Token"),
        token_hook("").header("authorization", "same-Token"),
        token_hook("").header("cookie", "token=same-Token; x-webhook-token=same-Token"),
        token_hook("").basic("token:same-Token"),
        token_hook("").header("x-webhook-token", "same-token"),
        token_hook("").header("x-webhook-token", "same-Token,same-Token"),
        token_hook("").header("x-webhook-token", "wrong"),
        token_hook("?token=%FF"),
        token_hook("").header("x-webhook-token", "a".repeat(300)),
        // The owner is not enough.
        token_hook("").alice(),
        // Another hook's token.
        token_hook("?token=other%20%C3%A9,%20token"),
    ];
    for request in bad {
        let shown = format!("{request:?}");
        let answer = server.send(request).await;
        assert_eq!((answer.status, &answer.body), (401, &missing.body), "{shown}");
    }
    let request = token_hook("").header("content-type", "application/x-www-form-urlencoded");
    let answer = server.call(request.body(Body::from("token=same-Token")).unwrap()).await;
    assert_eq!(answer.body, missing.body);
    let answer = server.send_json(token_hook(""), r#"{"token":"same-Token"}"#).await;
    assert_eq!(answer.body, missing.body);
    assert!(server.inputs().is_empty());
}

#[tokio::test]
async fn a_token_may_be_any_text() {
    let server = Server::new().await;
    let hook = |query: &str| post(&format!("/blockstacks/hook/7{query}"));

    assert_eq!(server.send(hook("?token=other+%C3%A9%2C+token")).await.status, 200);
    let header = http::HeaderValue::from_bytes("other é, token".as_bytes()).unwrap();
    assert_eq!(server.send(hook("").header("x-webhook-token", header)).await.status, 200);
    assert_eq!(server.send(hook("?token=same-Token")).await.refusal(), (401, 3));
}

#[tokio::test]
async fn two_tokens_are_always_refused() {
    let server = Server::new().await;
    let repeated = [
        token_hook("")
            .header("x-webhook-token", "same-Token")
            .header("x-webhook-token", "same-Token"),
        token_hook("?token=same-Token&token=x"),
        token_hook("?token=x").header("x-webhook-token", "same-Token"),
        token_hook("?token=same-Token").header("authorization", "Bearer same-Token"),
        token_hook("").header("authorization", "Bearer x").header("x-webhook-token", "same-Token"),
        token_hook("")
            .header("authorization", "Bearer same-Token")
            .header("authorization", "Bearer x"),
        // Two such headers are a repeat, with any schemes.
        token_hook("").header("authorization", "Bearer same-Token").alice(),
        token_hook("?token=same-Token").bob().alice(),
        token_hook("?token=same-Token").alice().header("authorization", "Digest a"),
    ];
    let mut bodies = Vec::new();
    for request in repeated {
        let answer = server.send(request).await;
        assert_eq!(answer.refusal(), (400, 1));
        bodies.push(answer.body);
    }
    assert!(bodies.windows(2).all(|pair| pair[0] == pair[1]));
    assert!(server.inputs().is_empty());
}

#[tokio::test]
async fn a_user_hook_asks_for_its_owner() {
    let server = Server::new().await;
    let hook = || post("/blockstacks/hook/4");
    let ticket = log_in(&server, r#"{"username":"alice","password":"wonderland"}"#).await;
    let cookie = |value: &str| format!("a=1; auth_tkt={value}; b=2");

    let good = [
        hook().alice(),
        hook().basic("alice@example.org:wonderland"),
        hook().header("cookie", cookie(&ticket)),
        hook().header("cookie", "x=1").header("cookie", cookie(&ticket)),
        // Other schemes are no user credentials, and tokens do not count.
        hook().header("cookie", cookie(&ticket)).header("authorization", "Bearer x"),
        hook().header("cookie", format!("auth_tkt=; auth_tkt={ticket}")),
        hook().alice().header("x-webhook-token", "a").header("x-webhook-token", "b"),
        hook().alice().header("authorization", ""),
        hook().header("authorization", "bearer").alice(),
        hook().header("cookie", cookie(&ticket)).header("authorization", "Basic "),
    ];
    for request in good {
        let result = server.send(request).await.result();
        let headers = result["HEADERS"].as_object().unwrap();
        assert!(headers.is_empty(), "{headers:?}");
    }
    let carol = post("/blockstacks/hook/9").basic("carol:pä:ss wörd");
    assert_eq!(server.send(carol).await.status, 200);
    assert_eq!(server.inputs().len(), 11);

    let missing = server.send(hook()).await;
    assert_eq!(missing.refusal(), (401, 3));
    let mut challenges = missing.headers.get_all("www-authenticate").iter();
    assert!(challenges.any(|challenge| challenge.as_bytes().starts_with(b"Basic ")));
    let altered = ticket.chars().rev().collect::<String>();
    let latin = b"carol:p\xe4:ss w\xf6rd";
    let bad = [
        hook().basic("alice:wrong"),
        hook().basic("alice:Wonderland"),
        hook().basic("alice:wonderland "),
        hook().basic("Alice:wonderland"),
        hook().basic("stranger:wonderland"),
        hook().basic("alice"),
        hook().basic("alice:"),
        hook().basic(":wonderland"),
        hook().basic(":"),
        hook().basic(latin),
        hook().header("authorization", "Basic ???"),
        hook().header("authorization", "Bearer x"),
        hook().header("cookie", cookie("x")),
        hook().header("cookie", cookie(&altered)),
        hook().header("cookie", format!("AUTH_TKT={ticket}")),
        hook().header("x-webhook-token", "same-Token"),
        post("/blockstacks/hook/4?user=alice&password=wonderland"),
    ];
    for request in bad {
        let shown = format!("{request:?}");
        let answer = server.send(request).await;
        assert_eq!((answer.status, &answer.body), (401, &missing.body), "{shown}");
    }
    let inline = r#"{"user":"alice","password":"wonderland","payload":{}}"#;
    assert_eq!(server.send_json(hook(), inline).await.body, missing.body);
    assert_eq!(server.send(hook().bob()).await.refusal(), (403, 1));

    let repeated = [
        hook().alice().alice(),
        hook().alice().header("authorization", "Bearer x"),
        hook().header("authorization", "Digest a").header("authorization", "Digest a"),
        hook().alice().header("cookie", cookie(&ticket)),
        hook().header("cookie", format!("auth_tkt={ticket}; auth_tkt={ticket}")),
        hook().header("cookie", cookie("x")).header("cookie", cookie(&ticket)),
    ];
    for request in repeated {
        let shown = format!("{request:?}");
        assert_eq!(server.send(request).await.refusal(), (400, 1), "{shown}");
    }
    assert!(server.inputs().is_empty());
}

async fn log_in(server: &Server, body: &str) -> String {
    let answer = server.send_json(post("/authenticate"), body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.headers["cache-control"], "no-store");
    let cookie = answer.headers["set-cookie"].to_str().unwrap();
    let (ticket, attributes) = cookie.strip_prefix("auth_tkt=").unwrap().split_once(';').unwrap();
    assert_eq!(attributes, " Path=/; Max-Age=43200; HttpOnly; SameSite=Strict");
    ticket.to_owned()
}

#[tokio::test]
async fn a_login_takes_a_name_or_an_address_and_a_password() {
    let server = Server::new().await;
    let first = log_in(&server, r#"{"username":"alice","password":"wonderland"}"#).await;
    let second = log_in(&server, r#"{"email":"alice@example.org","password":"wonderland"}"#).await;
    assert_ne!(first, second);
    log_in(&server, r#"{"username":"carol","email":"stranger","password":"p\u00e4:ss wörd"}"#)
        .await;

    for (body, expected) in [
        (r#"{"username":"alice","password":"wrong"}"#, (401, 3)),
        (r#"{"username":"stranger","password":"wonderland"}"#, (401, 3)),
        (r#"{"username":"bob","email":"alice@example.org","password":"wonderland"}"#, (401, 3)),
        (r#"{"username":"","password":""}"#, (401, 3)),
        (r#"{"username":"alice"}"#, (400, 4)),
        (r#"{"password":"wonderland"}"#, (400, 4)),
        (r#"{"username":5,"password":"wonderland"}"#, (400, 4)),
        (r#"{"username":null,"email":"alice@example.org","password":"wonderland"}"#, (400, 4)),
        (r#"{"username":"alice","password":null}"#, (400, 4)),
        (r#"["alice",null,"wonderland"]"#, (400, 4)),
        ("5", (400, 4)),
        ("", (400, 2)),
        (" ", (400, 2)),
        ("{", (400, 2)),
        (r#"{"username":"alice","password":"wonderland","password":"wonderland"}"#, (400, 2)),
        (r#"{"username":"alice","password":"wonderland","passwor\u0064":"x"}"#, (400, 2)),
    ] {
        let answer = server.send_json(post("/authenticate"), body).await;
        assert_eq!(answer.refusal(), expected, "{body}");
        assert!(!answer.headers.contains_key("set-cookie"));
    }

    let good = r#"{"username":"alice","password":"wonderland"}"#;
    let login = |media: Option<&str>| {
        let request = post("/authenticate").alice().bob();
        let request =
            media.into_iter().fold(request, |request, media| request.header("content-type", media));
        request.body(Body::from(good)).unwrap()
    };
    assert_eq!(server.call(login(None)).await.status, 200);
    assert_eq!(server.call(login(Some("application/vnd.x+JSON; a=b"))).await.status, 200);
    for media in ["text/plain", "application/x-www-form-urlencoded", "x"] {
        assert_eq!(server.call(login(Some(media))).await.refusal(), (400, 2), "{media}");
    }
}

#[tokio::test]
async fn an_optional_user_has_to_be_good_if_there_is_one() {
    let server = Server::new().await;
    for path in ["/blockstacks", "/blockstacks/byid/1", "/blockstacks/byname/token"] {
        assert_eq!(server.send(get(path)).await.status, 200);
        assert_eq!(server.send(get(path).alice()).await.status, 200);
        let ignored =
            get(path).header("authorization", "Bearer x").header("cookie", "a=1; auth_tkt=");
        assert_eq!(server.send(ignored).await.status, 200);
        for bad in [
            get(path).basic("alice:wrong"),
            get(path).basic(":"),
            get(path).header("authorization", "Basic ?"),
        ] {
            assert_eq!(server.send(bad).await.refusal(), (401, 3));
        }
        let cookie = get(path).header("cookie", "auth_tkt=x");
        assert_eq!(server.send(cookie).await.refusal(), (401, 3));
        assert_eq!(server.send(get(path).alice().alice()).await.refusal(), (400, 1));
        let both = get(path).alice().header("cookie", "auth_tkt=x");
        assert_eq!(server.send(both).await.refusal(), (400, 1));
    }
    // The user comes before the stack and before the page.
    for path in ["/blockstacks/byid/99", "/blockstacks/byname/x", "/blockstacks?page=x"] {
        assert_eq!(server.send(get(path).basic("alice:wrong")).await.refusal(), (401, 3));
    }
}

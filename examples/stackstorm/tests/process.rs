//! What a start takes over, and what it leaves in the folder.

use std::fs;

use serde_json::json;

use super::*;

#[tokio::test]
async fn the_configuration_is_imported_once() {
    let mut site = Site::new().await;
    assert_eq!(site.delete("/v1/rules/r1").await.status, 204);
    let id = site.post("/v1/apikeys", "{}").await.id();
    let keys = site.get("/v1/apikeys").await.json();
    let first = keys[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(site.delete(&format!("/v1/apikeys/{first}")).await.status, 204);

    let config = CONFIG.replace("token-anna", "token-late").replace("git.any", "git.other");
    let config = config.replace(r#"["bill", "anna"]"#, r#"["bill", "anna", "ghost"]"#);
    site.restart(&config, None).await.unwrap();
    assert_eq!(site.get("/v1/rules/r1").await.status, 404);
    assert_eq!(site.get(&format!("/v1/apikeys/{id}")).await.status, 200);
    assert_eq!(site.get(&format!("/v1/apikeys/{first}")).await.status, 404);
    for (token, expected) in
        [("token-anna", 200), ("token-late", 401), ("token-zero", 401), ("token-ghost", 200)]
    {
        let answer = site.call(&[("x-auth-token", token)], "GET", "/v1/webhooks", "").await;
        assert_eq!(answer.status, expected, "{token}");
    }
    assert_eq!(site.post("/v1/webhooks/st2", r#"{"trigger":"git.other"}"#).await.status, 202);
    assert_eq!(site.post("/v1/webhooks/st2", r#"{"trigger":"git.any"}"#).await.status, 400);
}

#[tokio::test]
async fn rule_files_are_brought_in_at_every_start() {
    let mut site = Site::new().await;
    let folder = site.folder.join("rules");
    fs::create_dir(&folder).unwrap();
    let before = site.get("/v1/rules/r1").await.json();
    let file = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
    let yaml = |name: &str, url: &str| {
        format!("name: {name}\ntrigger:\n  type: core.st2.webhook\n  parameters: {{url: {url}}}\n")
    };
    file("a.yaml", &yaml("r1", "from/file"));
    file("b.yml", &format!("# new\n{}", yaml("new", "new")));
    file("c.json", "not: a rule");
    let config = site.config.clone();
    site.restart(&config, Some(folder.clone())).await.unwrap();
    let after = site.get("/v1/rules/r1").await.json();
    assert_eq!(after["id"], before["id"]);
    assert_eq!(
        (&after["description"], &after["trigger"]["parameters"]["url"]),
        (&json!(""), &json!("from/file"))
    );
    assert_eq!(site.get("/v1/webhooks/new").await.status, 200);
    assert_eq!(site.get("/v1/webhooks/sample").await.status, 404);

    assert_eq!(site.delete("/v1/rules/new").await.status, 204);
    site.restart(&config, Some(folder.clone())).await.unwrap();
    assert_eq!(site.get("/v1/rules/new").await.status, 200);

    // Each list holds the one before it nine times.
    let nested = |depth: u32| {
        format!("a{}: &a{} [{}]\n", depth + 1, depth + 1, format!("*a{depth},").repeat(9))
    };
    let endless =
        format!("a0: &a0 [x]\n{}{}", (0..9).map(nested).collect::<String>(), yaml("x", "x"));
    for text in [
        "",
        "- a",
        "name: [",
        "name: x\nname: y\ntrigger: {type: git.any}",
        "name: x\ntrigger: {type: no.such}",
        "name: 1\ntrigger: {type: git.any}",
        "name: x\ntrigger: {type: git.any}\n---\nname: y\ntrigger: {type: git.any}",
        &yaml("r1", "twice"),
        &endless,
    ] {
        file("d.yaml", text);
        assert!(site.restart(&config, Some(folder.clone())).await.is_err(), "{text}");
    }
    fs::remove_file(folder.join("d.yaml")).unwrap();
    fs::create_dir(folder.join("d.yaml")).unwrap();
    assert!(site.restart(&config, Some(folder.clone())).await.is_err());
    assert!(site.restart(&config, Some(folder.join("none"))).await.is_err());
}

#[tokio::test]
async fn no_credential_is_readable_in_the_folder() {
    let site = Site::new().await;
    let made = site.post("/v1/apikeys", "{}").await.json();
    let key = made["key"].as_str().unwrap();
    assert_eq!(
        site.call(&[("st2-api-key", key)], "POST", "/v1/webhooks/sample", "{}").await.status,
        202
    );
    for entry in fs::read_dir(&site.folder).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        for secret in [key, "token-bill", "key-bill", "key-send"] {
            assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()));
        }
    }
}

#[tokio::test]
async fn the_hints_work_in_every_state() {
    let site = Site::with(crate::DEMO).await;
    let mut calls = 0;
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let hints = [crate::HINTS; 2].concat();
    for line in hints.lines().filter_map(|line| line.trim().strip_prefix("curl -s -K ")) {
        let (file, rest) = line.split_once(' ').unwrap();
        let file = fs::read_to_string(file.replace("{examples}", examples)).unwrap();
        let header = file.lines().find_map(|line| line.strip_prefix("header = \"")).unwrap();
        let (name, value) = header.trim_end_matches('"').split_once(": ").unwrap();
        let target = rest.split("{address}").nth(1).unwrap().trim_end_matches('\'');
        let body = rest.split_once("--json '").map(|(_, rest)| rest.split('\'').next().unwrap());
        let method = if body.is_some() { "POST" } else { "GET" };
        let answer = site.call(&[(name, value)], method, target, body.unwrap_or_default()).await;
        assert!(answer.status.is_success(), "{line}: {}", answer.text);
        calls += 1;
    }
    assert_eq!(calls, 6);
}

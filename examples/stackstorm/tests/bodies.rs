//! Which bodies are read, and what becomes of what they say.

use super::*;

#[tokio::test]
async fn bodies_of_get_and_delete_are_not_parsed() {
    let site = Site::new().await;
    assert_eq!(site.call(&[BILL], "GET", "/v1/webhooks", "{").await.status, 200);
    assert_eq!(site.call(&[BILL], "DELETE", "/v1/rules/r2", "{").await.status, 204);
}

#[tokio::test]
async fn numbers_keep_their_digits_wherever_they_go() {
    let site = Site::new().await;
    let digits = r#"{"a":[1.10,12345678901234567890,1e400,-0],"$serde_json::private::Number":"1"}"#;

    let answer = site.post("/v1/webhooks/sample", digits).await;
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (202, digits));
    let generic = format!(r#"{{"trigger":"git.any","payload":{digits}}}"#);
    assert_eq!(site.post("/v1/webhooks/st2", &generic).await.text, generic);
    let events = site.get("/v1/triggerinstances").await.text;
    assert!(events.contains(&format!(r#""payload":{digits}"#)));
    assert!(events.contains(&format!(r#""body":{digits}"#)));

    let record = format!(
        r#"{{"name":"n","criteria":{digits},"action":{digits},"trigger":{{"type":"git.any","parameters":{digits}}}}}"#
    );
    assert_eq!(site.post("/v1/rules", &record).await.status, 201);
    assert_eq!(site.get("/v1/rules/n").await.text.matches(digits).count(), 3);

    let answer = site.post("/v1/apikeys", &format!(r#"{{"metadata":{digits}}}"#)).await;
    let shown = site.get(&format!("/v1/apikeys/{}", answer.id())).await.text;
    assert!(answer.text.contains(digits) && shown.contains(digits));
    assert!(site.get("/v1/apikeys").await.text.contains(r#"{"n": 1.10}"#));
}

#[tokio::test]
async fn rules_and_keys_are_read_from_json_alone() {
    let site = Site::new().await;
    for content_type in
        ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=b"]
    {
        let by = [BILL, ("content-type", content_type)];
        for (method, target) in
            [("POST", "/v1/rules"), ("PUT", "/v1/rules/r1"), ("POST", "/v1/apikeys")]
        {
            let answer = site.call(&by, method, target, "{}").await;
            let named = content_type.split(';').next().unwrap();
            assert_eq!(answer.status, 400);
            let text =
                format!("Failed to parse request body: Unsupported Content-Type: \"{named}\"");
            assert_eq!(answer.fault(), text);
        }
    }
    assert_eq!(site.get("/v1/apikeys").await.json().as_array().unwrap().len(), 8);
}

#[tokio::test]
async fn a_body_may_hold_a_mebibyte() {
    let site = Site::new().await;
    let metadata = |length: usize| format!(r#"{{"metadata":{{"a":"{}"}}}}"#, "x".repeat(length));
    let largest = 1_048_576 - metadata(0).len();
    assert_eq!(site.post("/v1/apikeys", &metadata(largest)).await.status, 201);
    let refused = site.post("/v1/apikeys", &metadata(largest + 1)).await;
    assert_eq!((refused.status.as_u16(), refused.fault().is_empty()), (413, false));
    let deep = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(site.post("/v1/webhooks/sample", &deep(128)).await.status, 202);
    assert_eq!(site.post("/v1/webhooks/sample", &deep(129)).await.status, 400);
    let wide = format!("[{}1]", "1,".repeat(500_000));
    assert_eq!(site.post("/v1/webhooks/sample", &wide).await.status, 202);
    let form = [BILL, ("content-type", "application/x-www-form-urlencoded")];
    let fields = "a=1&".repeat(200_000);
    assert_eq!(site.call(&form, "POST", "/v1/webhooks/sample", &fields).await.status, 202);
}

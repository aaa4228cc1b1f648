//! JSON bodies of a given size.

/// Deliveries of GitHub in a list, with a key behind them, of about so many bytes.
#[must_use]
pub fn json(key: &str, bytes: usize) -> Vec<u8> {
    let push = include_str!("../../examples/payloads/github-push.json");
    let value: serde_json::Value = serde_json::from_str(push).expect("the payload is JSON");
    let commit = value["commits"][0].to_string();
    let mut text = String::from(r#"{"ref":"refs/heads/main","commits":["#);
    text.push_str(&commit);
    while text.len() + commit.len() < bytes {
        text.push(',');
        text.push_str(&commit);
    }
    text.push_str(r#"],"note":""#);
    let rest = bytes.saturating_sub(text.len() + key.len() + 16);
    text.push_str(&"x".repeat(rest));
    text.push_str(r#"","api_key":""#);
    text.push_str(key);
    text.push_str("\"}");
    text.into_bytes()
}
